package conformance

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/bus"
	"errand/shared/serve"
)

// Bus runs the laws of bus.Publisher. open returns a publisher on a topic with at least one
// push subscription to h, and closes it by t.Cleanup.
func Bus(t *testing.T, open func(t *testing.T, h http.Handler) bus.Publisher) {
	for _, law := range []struct {
		name string
		run  func(*testing.T, func(*testing.T, http.Handler) bus.Publisher)
	}{
		{"PublishDeliversEveryEvent", publishDeliversEveryEvent},
		{"EventRoundTrips", eventRoundTrips},
		{"RedeliversUntil2xx", redeliversUntil2xx},
		{"PublishDoesNotWait", publishDoesNotWait},
		{"PublishingNothingIsNoError", publishingNothingIsNoError},
		{"EventBelongsToTheTrace", eventBelongsToTheTrace},
		{"OddEventIsDelivered", oddEventIsDelivered},
	} {
		t.Run(law.name, func(t *testing.T) { law.run(t, open) })
	}
}

func publishDeliversEveryEvent(t *testing.T, open func(*testing.T, http.Handler) bus.Publisher) {
	const tasks, notes = 20, 5
	seen := make(chan delivery, 10*tasks*notes)
	b := open(t, recorder(t, seen, nil))
	owed := map[string]bool{}
	for i := range tasks {
		var events []bus.Event
		for n := range notes {
			e := event(fmt.Sprintf("task-%d", i), n+1)
			owed[e.ID()] = true
			events = append(events, e)
		}
		publish(t, b, events...)
	}
	for len(owed) > 0 {
		delete(owed, parseEvent(t, receive(t, seen)).ID())
	}
}

func eventRoundTrips(t *testing.T, open func(*testing.T, http.Handler) bus.Publisher) {
	seen := make(chan delivery, 10)
	b := open(t, recorder(t, seen, nil))
	state := event("a", 1)
	artifact := event("a", 2)
	artifact.Kind, artifact.State, artifact.Artifact = bus.KindArtifact, "", "ärtifact \"1\""
	for _, want := range []bus.Event{state, artifact} {
		publish(t, b, want)
		d := receive(t, seen)
		if d.method != http.MethodPost || d.path != bus.PathEvents {
			t.Errorf("the delivery is %s %s, want POST %s", d.method, d.path, bus.PathEvents)
		}
		if diff := cmp.Diff(want, parseEvent(t, d)); diff != "" {
			t.Errorf("delivered event (-want +got):\n%s", diff)
		}
	}
}

func redeliversUntil2xx(t *testing.T, open func(*testing.T, http.Handler) bus.Publisher) {
	var calls atomic.Int32
	seen := make(chan delivery, 10)
	b := open(t, recorder(t, seen, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	want := event("a", 1)
	publish(t, b, want)
	for range 3 {
		if diff := cmp.Diff(want, parseEvent(t, receive(t, seen))); diff != "" {
			t.Errorf("delivered event (-want +got):\n%s", diff)
		}
	}
}

func publishDoesNotWait(t *testing.T, open func(*testing.T, http.Handler) bus.Publisher) {
	seen, release := make(chan delivery, 10), make(chan struct{})
	b := open(t, recorder(t, seen, func(http.ResponseWriter, *http.Request) { <-release }))
	published := make(chan error, 1)
	go func() { published <- b.Publish(t.Context(), event("a", 1)) }()
	receive(t, seen)
	select {
	case err := <-published:
		if err != nil {
			t.Errorf("Publish: %v", err)
		}
	case <-time.After(patience):
		t.Error("Publish waits for the delivery")
	}
	close(release)
}

func publishingNothingIsNoError(t *testing.T, open func(*testing.T, http.Handler) bus.Publisher) {
	publish(t, open(t, http.NotFoundHandler()))
}

func eventBelongsToTheTrace(t *testing.T, open func(*testing.T, http.Handler) bus.Publisher) {
	seen := make(chan delivery, 10)
	b := open(t, recorder(t, seen, nil))
	want := event("a", 1)
	if err := b.Publish(serve.WithTrace(t.Context(), trace), want); err != nil {
		t.Fatal(err)
	}
	want.Trace = trace
	if diff := cmp.Diff(want, parseEvent(t, receive(t, seen))); diff != "" {
		t.Errorf("delivered event (-want +got):\n%s", diff)
	}
}

// An executor may give its artifacts ids that a topic refuses. The event is published without
// such an id, because its publication would otherwise be retried for ever.
func oddEventIsDelivered(t *testing.T, open func(*testing.T, http.Handler) bus.Publisher) {
	seen := make(chan delivery, 10)
	b := open(t, recorder(t, seen, nil))
	for i, id := range []string{strings.Repeat("x", 5000), "half \xc3"} {
		e := event("a", i+1)
		e.Kind, e.State, e.Artifact = bus.KindArtifact, "", id
		publish(t, b, e)
		e.Artifact = ""
		if diff := cmp.Diff(e, parseEvent(t, receive(t, seen))); diff != "" {
			t.Errorf("delivered event (-want +got):\n%s", diff)
		}
	}
}

func event(task string, note int) bus.Event {
	return bus.Event{
		Task: task, Context: "context of " + task, Notification: note, Kind: bus.KindState,
		State: "TASK_STATE_COMPLETED", Time: time.Date(2026, 8, 1, 12, 0, note, 123456789, time.UTC),
	}
}

func publish(t *testing.T, b bus.Publisher, events ...bus.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Publish(ctx, events...); err != nil {
		t.Fatalf("Publish of %d events = %v", len(events), err)
	}
}

func parseEvent(t *testing.T, d delivery) bus.Event {
	t.Helper()
	e, err := bus.Parse(d.body)
	if err != nil {
		t.Fatalf("Parse(%s) = %v", d.body, err)
	}
	return e
}
