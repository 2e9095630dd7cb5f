package local_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/local"
	"errand/shared/bus"
)

func event(note int) bus.Event {
	return bus.Event{
		Task: "a", Context: "c", Notification: note, Kind: bus.KindState,
		State: "TASK_STATE_COMPLETED", Time: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC),
	}
}

func TestEnvelopeOfPubSub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []bus.Push
		ids := map[string]bool{}

		b := openBus(t, local.BusConfig{
			Limits:        local.Limits{Slots: 1},
			Subscriptions: []string{"notify", "audit"},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				var p bus.Push
				if err := json.Unmarshal(body, &p); err != nil {
					t.Errorf("body %s: %v", body, err)
				}

				ids[p.Message.MessageID] = true
				p.Message.MessageID = ""
				got = append(got, p)
			}),
		})
		if err := b.Publish(t.Context(), event(1)); err != nil {
			t.Fatalf("Publish = %v", err)
		}

		synctest.Wait()
		var want []bus.Push

		for _, s := range []string{"notify", "audit"} {
			p := bus.Push{Subscription: s}
			p.Message.Attributes = event(1)
			p.Message.PublishTime = time.Now().UTC()
			want = append(want, p)
		}

		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("envelopes (-want +got):\n%s", diff)
		}
		if len(ids) != 2 || ids[""] {
			t.Errorf("message ids %v, want two", ids)
		}
	})
}

func TestWithoutSubscriptionEventsGoNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		b := openBus(t, local.BusConfig{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) })})
		if err := b.Publish(t.Context(), event(1)); err != nil {
			t.Errorf("Publish = %v", err)
		}
		synctest.Wait()
		if got := calls.Load(); got != 0 {
			t.Errorf("%d deliveries, want none", got)
		}
	})
}

func TestBusRetriesWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var got []time.Duration
		b := openBus(t, local.BusConfig{
			Subscriptions: []string{"notify"},
			Limits:        local.Limits{Attempts: 4},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = append(got, time.Since(start))
				w.WriteHeader(http.StatusServiceUnavailable)
			}),
		})
		if err := b.Publish(t.Context(), event(1)); err != nil {
			t.Fatalf("Publish = %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		const ms = time.Millisecond
		if diff := cmp.Diff([]time.Duration{0, 10 * ms, 30 * ms, 70 * ms}, got); diff != "" {
			t.Errorf("tries (-want +got):\n%s", diff)
		}
	})
}

// A full bus refuses all events of a call, and the turn is retried (R7).
func TestFullBusRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		opened := make(chan struct{})

		b := openBus(t, local.BusConfig{
			Subscriptions: []string{"notify"},
			Limits:        local.Limits{Slots: 1, Capacity: 3},
			Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				calls.Add(1)
				<-opened
			}),
		})

		publish := func(events ...bus.Event) error { return b.Publish(t.Context(), events...) }
		for _, row := range []struct {
			events []bus.Event
			ok     bool
		}{
			{[]bus.Event{event(1)}, true}, // runs at once
			{[]bus.Event{event(2), event(3)}, true},
			{[]bus.Event{event(4), event(5)}, false},
			{[]bus.Event{event(4)}, true},
			{[]bus.Event{event(5)}, false},
			{nil, true},
		} {
			if err := publish(row.events...); (err == nil) != row.ok {
				t.Errorf("Publish(%v) = %v, want success %t", row.events, err, row.ok)
			}
		}

		close(opened)
		synctest.Wait()
		if err := publish(event(5)); err != nil {
			t.Errorf("Publish with room again = %v", err)
		}

		synctest.Wait()
		if got := calls.Load(); got != 5 {
			t.Errorf("%d deliveries, want 5", got)
		}
	})
}

func TestClosedBusRefuses(t *testing.T) {
	b := local.NewBus(local.BusConfig{Handler: http.NotFoundHandler(), Subscriptions: []string{"notify"}})
	shut(t, b)
	if err := b.Publish(t.Context(), event(1)); err == nil {
		t.Error("Publish after Close = nil, want an error")
	}
}

func BenchmarkPublishAndDeliver(b *testing.B) {
	delivered := make(chan struct{}, 1)
	bus := local.NewBus(local.BusConfig{
		Subscriptions: []string{"notify"},
		Handler:       http.HandlerFunc(func(http.ResponseWriter, *http.Request) { delivered <- struct{}{} }),
	})
	b.ReportAllocs()
	for b.Loop() {
		if err := bus.Publish(b.Context(), event(1)); err != nil {
			b.Fatal(err)
		}
		<-delivered
	}
	if err := bus.Close(b.Context()); err != nil {
		b.Fatal(fmt.Errorf("closing: %w", err))
	}
}
