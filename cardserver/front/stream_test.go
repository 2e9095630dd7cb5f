package front_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/front"
	"errand/shared/lab/faulty"
	"errand/shared/task"
)

const (
	streaming = "SendStreamingMessage"
	subscribe = "SubscribeToTask"
)

// A stream has the task first, then every event in order, and ends with the task.
//
// Shows S3, S8.
func TestStreamOfATask(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		s := w.open(streaming, `{"message":`+message("m", "")+`}`, nil)
		s.await(t, 1)
		id := w.onlyTask(t)
		r := w.say(w.claim(id), chunk("a", "one ", false))
		r = w.say(r, chunk("a", "two", true))
		w.end(r, a2a.TaskStateCompleted)
		want := []string{"task SUBMITTED", "WORKING", "artifact one ", "artifact two", "COMPLETED"}
		if diff := cmp.Diff(want, s.ended(t)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if got := s.header.Get("Content-Type"); got != "text/event-stream" || s.status != 200 {
			t.Errorf("status %d, type %s", s.status, got)
		}
		again := w.open(streaming, `{"message":`+message("m", "")+`}`, nil)
		if diff := cmp.Diff([]string{"task COMPLETED"}, again.ended(t)); diff != "" {
			t.Errorf("the same message again (-want +got):\n%s", diff)
		}
	})
}

func (w *world) onlyTask(t testing.TB) string {
	t.Helper()
	for id := range w.versions(t) {
		return id
	}
	t.Fatal("there is no task")
	return ""
}

// The stream of a message ends when the task needs input, and stays open while the task waits
// for authorization. A subscription ends with the task only.
//
// Shows S7, S11, S12, decision 7.
func TestWhenStreamsEnd(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		for _, row := range []struct {
			state a2a.TaskState
			sent  []string // the words in the stream of the message
		}{
			{a2a.TaskStateInputRequired, []string{"task SUBMITTED", "WORKING", "INPUT_REQUIRED"}},
			{a2a.TaskStateAuthRequired, []string{"task SUBMITTED", "WORKING", "AUTH_REQUIRED", "CANCELED"}},
		} {
			t.Run(row.state.String(), func(t *testing.T) {
				w := b.world(t)
				sent := w.open(streaming, `{"message":`+message("m", "")+`}`, nil)
				sent.await(t, 1)
				id := w.onlyTask(t)
				subscribed := w.open(subscribe, byID(id), nil)
				subscribed.await(t, 1)
				w.end(w.claim(id), row.state)
				late := w.open(subscribe, byID(id), nil)
				late.await(t, 1)

				subscribed.await(t, 2)
				if got := w.call(t, "CancelTask", byID(id)); got.Error != nil { // C6
					t.Fatal(got.body)
				}

				name := short(row.state.String())
				for s, want := range map[*stream][]string{
					sent:       row.sent,
					subscribed: {"task SUBMITTED", "WORKING", name, "CANCELED"},
					late:       {"task " + name, "CANCELED"},
				} {
					if diff := cmp.Diff(want, s.ended(t)); diff != "" {
						t.Errorf("events (-want +got):\n%s", diff)
					}
				}
			})
		}
	})
}

// A subscription begins with a snapshot, and no event between the snapshot and the stream is
// lost.
//
// Shows S5.
func TestSubscribeBeginsWithASnapshot(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		r := w.say(w.insert(anonymous, "m", a2a.TaskStateWorking), chunk("a", "one ", false))
		s := w.open(subscribe, byID(r.ID()), nil)
		s.await(t, 1)
		if !strings.Contains(s.text(), `"text":"one "`) {
			t.Errorf("the snapshot is %s", s.text())
		}
		w.end(r, a2a.TaskStateCompleted, chunk("a", "two", true))
		if diff := cmp.Diff([]string{"task WORKING", "artifact two", "COMPLETED"}, s.ended(t)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// A client that leaves, or does not read, changes nothing for the task and its other clients.
// A late one reads the same.
//
// Shows S9, S10.
func TestStreamsDoNotAffectEachOther(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		r := w.insert(anonymous, "m", a2a.TaskStateWorking)
		gate := make(chan struct{})
		gone, slow, one := w.open(subscribe, byID(r.ID()), nil), w.open(subscribe, byID(r.ID()), gate), w.open(subscribe, byID(r.ID()), nil)
		gate <- struct{}{}
		for _, s := range []*stream{gone, slow, one} {
			s.await(t, 1)
		}

		gone.cancel()
		// The last event is for a client that is still there while the server stops.
		if got := gone.ended(t); !slices.Equal(got, []string{"task WORKING", "error -32603"}) {
			t.Errorf("the stream that was closed said %v", got)
		}

		r = w.say(r, chunk("a", "one", false))
		r = w.say(r, chunk("b", "two", false))
		w.end(r, a2a.TaskStateCompleted)
		want := []string{"task WORKING", "artifact one", "artifact two", "COMPLETED"}
		if diff := cmp.Diff(want, one.ended(t)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}

		close(gate)
		if diff := cmp.Diff(want, slow.ended(t)); diff != "" {
			t.Errorf("the slow one (-want +got):\n%s", diff)
		}
	})
}

// A stream that is behind the record's log is ended and skips nothing (R15).
//
// Shows decision 25.
func TestStreamThatFellBehindIsEnded(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		r := w.insert(anonymous, "m", a2a.TaskStateWorking)
		gate := make(chan struct{})
		slow := w.open(subscribe, byID(r.ID()), gate)
		gate <- struct{}{}
		slow.await(t, 1)
		note := strings.Repeat("x", 9<<10)

		for range 10 { // 90 KiB; the record keeps 64
			r = w.say(r, a2a.NewStatusUpdateEvent(r.Task, a2a.TaskStateWorking, words(note)))
		}

		close(gate)
		got := slow.ended(t)
		if got[len(got)-1] != "error -32603" {
			t.Errorf("the stream said %v, want an error at its end", got)
		}
		if !strings.Contains(slow.text(), "try again") {
			t.Errorf("the client is not told what to do: %s", slow.text()[len(slow.text())-300:])
		}

		again := w.open(subscribe, byID(r.ID()), nil)
		again.await(t, 1)
		w.end(r, a2a.TaskStateCompleted)
		if diff := cmp.Diff([]string{"task WORKING", "COMPLETED"}, again.ended(t)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// A stream ends at its greatest age, without an error.
//
// Shows decision 8.
func TestStreamsEndAtTheirAge(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, func(c *front.Config) { c.StreamAge = time.Millisecond })
		id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
		if diff := cmp.Diff([]string{"task SUBMITTED"}, w.open(subscribe, byID(id), nil).ended(t)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// A watch that breaks off is begun again, and no event is lost in between.
func TestBrokenWatchIsBegunAgain(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		cut := make(chan struct{})
		first := sync.OnceFunc(func() { close(cut) })
		w := b.world(t, func(c *front.Config) {
			c.Store = faulty.Store{Store: c.Store, Before: func(c faulty.Call) error {
				if c.Op != faulty.Watch || c.Seen == 0 {
					return nil
				}
				first()
				return errors.New("cut")
			}}
		})
		r := w.claim(w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID())
		s := w.open(subscribe, byID(r.ID()), nil)
		s.await(t, 1)
		<-cut
		w.end(r, a2a.TaskStateCompleted)
		s.ended(t)
		if !strings.Contains(s.text(), string(a2a.TaskStateCompleted)) {
			t.Errorf("after a cut the stream said %s", s.text())
		}
	})
}

// A stream that ends before its task says so, or its client would take the silence for the
// end.
func TestWatchOfWhatIsGoneIsAnError(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, func(c *front.Config) {
			c.Store = faulty.Refusing(c.Store, faulty.Watch, task.ErrNotFound) // purged between the read and the watch
		})
		s := w.open(subscribe, byID(w.insert(anonymous, "m", a2a.TaskStateWorking).ID()), nil)
		s.ended(t)
		if !strings.Contains(s.text(), "try again") {
			t.Errorf("the client is told %s", s.text())
		}
	})
}

// A server that stops ends its streams, and says so.
func TestStreamsAreToldThatTheServerStops(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		s := w.open(subscribe, byID(w.insert(anonymous, "m", a2a.TaskStateWorking).ID()), nil)
		s.await(t, 1)
		s.cancel()
		s.over(t)
		if !strings.Contains(s.text(), "try again") {
			t.Errorf("the client is told %s", s.text())
		}
	})
}

// A thousand streams of one task have the same events and leave nothing behind (R15).
//
// Shows S9, decision 6.
func TestThousandSubscribersSeeTheSame(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		r := w.insert(anonymous, "m", a2a.TaskStateWorking)
		before := runtime.NumGoroutine()
		streams := make([]*stream, 1000)
		for i := range streams {
			streams[i] = w.open(subscribe, byID(r.ID()), nil)
		}

		all := func() {
			t.Helper()
			for _, s := range streams {
				s.await(t, 1)
			}
		}

		all()
		r = w.say(r, chunk("a", "one", false))
		all() // now all of them follow
		for i := range 10 {
			r = w.say(r, chunk("a", fmt.Sprint(i), true))
		}

		w.end(r, a2a.TaskStateCompleted)
		want := streams[0].ended(t)
		if len(want) != 13 || want[12] != "COMPLETED" {
			t.Errorf("a stream said %v", want)
		}

		for _, s := range streams {
			if diff := cmp.Diff(want, s.ended(t)); diff != "" {
				t.Fatalf("events (-want +got):\n%s", diff)
			}
		}

		w.returned(t, before)
		s := w.open(subscribe, byID(w.insert(anonymous, "next", a2a.TaskStateWorking).ID()), nil)
		s.await(t, 1)
		s.cancel()
		s.ended(t)
		w.returned(t, before)
	})
}

// returned waits until no more goroutines run than before.
func (w *world) returned(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
		}
	}
}
