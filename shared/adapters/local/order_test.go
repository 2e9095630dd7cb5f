package local_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/local"
	"errand/shared/queue"
)

// hold makes a queue whose only slot for turns is occupied until the test calls release.
// Then h receives the waiting jobs.
func hold(t *testing.T, h http.Handler, c local.QueueConfig, turns local.Limits) (q *local.Queue, release func()) {
	t.Helper()
	g := newGate()
	turns.Slots, turns.Deadline = 1, 24*time.Hour
	c.Lanes = lanes(turns)
	c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-g.opened:
			h.ServeHTTP(w, r)
		default:
			g.ServeHTTP(w, r)
		}
	})
	q = open(t, c)
	addAll(t, q, turn("first"))
	<-g.entered
	return q, func() { close(g.opened) }
}

// An owner's jobs are first in, first out. A sweep belongs to nobody, and waits behind none.
func TestFirstInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		q, release := hold(t, h, local.QueueConfig{}, local.Limits{})
		tick := queue.Job{Queue: "turns", Path: queue.PathSweep, Sweep: time.Now()}
		soon := turn("soon")
		soon.At = time.Now().Add(time.Second)
		addAll(t, q, soon, turn("a"), turn("b"), tick, turn("c"))
		time.Sleep(2 * time.Second) // now the job "soon" is ready too, behind the others
		addAll(t, q, turn("d"))
		release()
		synctest.Wait()
		want := []string{"a", "b", "c", "soon", "d"} // the sweep was delivered before the release
		if diff := cmp.Diff(want, h.tasks()); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestScheduledJobsHoldNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		q := open(t, local.QueueConfig{Handler: h, Lanes: lanes(local.Limits{Slots: 1})})
		var want []seen
		for _, s := range []int{30, 10, 20, 0, 10} {
			job := turn(fmt.Sprintf("after %d s", s))
			job.At = time.Now().Add(time.Duration(s) * time.Second)
			addAll(t, q, job)
		}
		for _, s := range []int{0, 10, 20, 30} { // both jobs for 10 s are one
			want = append(want, seen{Task: fmt.Sprintf("after %d s", s), After: time.Duration(s) * time.Second})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		var got []seen
		for _, s := range h.all() {
			got = append(got, seen{Task: s.Task, After: s.After})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}

func TestWaitingJobStandsForItsLikes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		q, release := hold(t, h, local.QueueConfig{}, local.Limits{Capacity: 4})
		for range 100_000 { // the capacity suffices: all of them are one
			addAll(t, q, turn("a"))
		}
		deliver := queue.Job{Queue: "turns", Path: queue.PathDeliver, Task: "a", Owner: "o"}
		addAll(t, q, deliver, turn("b"))
		addAll(t, q, turn("first")) // the job "first" runs already, so this is another one
		release()
		synctest.Wait()
		want := []string{"a", "a", "b", "first"} // two of a: one for each path
		if diff := cmp.Diff(want, h.tasks()); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}

// A hint that is delivered earlier does not replace a wake-up, because it may find nothing
// to do.
func TestHintDoesNotSwallowAWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		q, release := hold(t, h, local.QueueConfig{}, local.Limits{})
		wake := turn("a")
		wake.At = time.Now().Add(time.Minute)
		addAll(t, q, turn("a"), wake, turn("a"))
		release()
		time.Sleep(time.Hour)
		synctest.Wait()
		var got []time.Duration
		for _, s := range h.all() {
			got = append(got, s.After)
		}
		if diff := cmp.Diff([]time.Duration{0, time.Minute}, got); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}

// A wake-up whose time comes while a hint still waits is coalesced with that hint.
func TestDueWakeUpIsTheHintThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		q, release := hold(t, h, local.QueueConfig{}, local.Limits{Capacity: 2})
		wake := turn("a")
		wake.At = time.Now().Add(time.Minute)
		addAll(t, q, turn("a"), wake)
		time.Sleep(2 * time.Minute)
		addAll(t, q, turn("b"), turn("too many")) // the coalesced job made room for one more
		release()
		time.Sleep(time.Hour)
		synctest.Wait()
		if diff := cmp.Diff([]string{"a", "b"}, h.tasks()); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}

func TestOneSweepWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []time.Time
		q, release := hold(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			var body [200]byte
			n, _ := r.Body.Read(body[:])
			if job, err := queue.Parse(body[:n]); err == nil {
				got = append(got, job.Sweep)
			}
		}), local.QueueConfig{}, local.Limits{})
		second := time.Now().UTC().Add(time.Minute) // the first sweep runs beside the turn
		for range 60 {
			addAll(t, q, queue.Job{Queue: "turns", Path: queue.PathSweep, Sweep: time.Now().UTC()})
			time.Sleep(time.Minute)
		}
		release()
		synctest.Wait()
		if diff := cmp.Diff([]time.Time{second}, got); diff != "" {
			t.Errorf("sweeps (-want +got):\n%s", diff)
		}
	})
}

func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		q := open(t, local.QueueConfig{Handler: g, Lanes: map[string]local.Limits{
			"turns": {Slots: 3}, "deliveries": {Slots: 2},
		}})

		for i := range 10 {
			addAll(t, q, turn(fmt.Sprint(i)))
		}

		synctest.Wait()
		if got := len(g.entered); got != 3 {
			t.Errorf("%d turns run at once, want 3", got)
		}

		for i := range 10 { // a lane full of hanging turns delays no delivery
			addAll(t, q, queue.Job{Queue: "deliveries", Path: queue.PathDeliver, Task: fmt.Sprint(i), Owner: "o"})
		}

		synctest.Wait()
		if got := len(g.entered); got != 3+2 {
			t.Errorf("%d deliveries run at once beside the turns, want 2", got-3)
		}

		close(g.opened)
		synctest.Wait()
		if got := len(g.entered); got != 20 {
			t.Errorf("%d of 20 were delivered", got)
		}
	})
}

// A full lane drops jobs. Whenever it is less than half full again, the jobs are restored
// from the records, until none was dropped.
func TestFullLaneDropsAndRefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		var owed []string
		for i := range 50 {
			owed = append(owed, fmt.Sprint(i))
		}

		var q *local.Queue
		var doneAt []int // the number of deliveries at the start of each refill

		refill := func(ctx context.Context, lane string) {
			time.Sleep(time.Millisecond) // after the delivery that began at the same time
			done := h.tasks()
			doneAt = append(doneAt, len(done))

			for _, id := range owed {
				if slices.Contains(done, id) {
					continue
				}

				job := turn(id)
				job.Queue = lane
				if err := q.Add(ctx, job); err != nil {
					t.Errorf("Add in a refill: %v", err)
				}
			}
		}

		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			time.Sleep(time.Second)
		})

		q, release := hold(t, slow, local.QueueConfig{Refill: refill}, local.Limits{Capacity: 8})
		for _, id := range owed {
			addAll(t, q, turn(id))
		}

		release()
		time.Sleep(time.Hour)
		synctest.Wait()
		if diff := cmp.Diff(owed, h.tasks()); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}

		// When the fifth of eight jobs runs, three wait. Then five more fit, and so on.
		if diff := cmp.Diff([]int{5, 10, 15, 20, 25, 30, 35, 40, 45}, doneAt); diff != "" {
			t.Errorf("deliveries at the refills (-want +got):\n%s", diff)
		}
	})
}

func TestOneRefillAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		var running, calls atomic.Int32

		q, release := hold(t, h, local.QueueConfig{Refill: func(context.Context, string) {
			calls.Add(1)
			if running.Add(1) > 1 {
				t.Error("two refills run at the same time")
			}
			time.Sleep(time.Minute)
			running.Add(-1)
		}}, local.Limits{Capacity: 2})

		fill := func() { addAll(t, q, turn("a"), turn("b"), turn("c"), turn("d")) }
		fill()
		release()
		synctest.Wait()

		for range 3 {
			fill() // the lane overflows again while the refill runs
			time.Sleep(time.Second)
		}

		time.Sleep(time.Hour)
		synctest.Wait()
		if got := calls.Load(); got != 2 {
			t.Errorf("%d refills, want one, and one more for the jobs that were dropped meanwhile", got)
		}
	})
}

func TestRefillEndsWithTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended error
		q, release := hold(t, newLog(nil), local.QueueConfig{Refill: func(ctx context.Context, _ string) {
			<-ctx.Done()
			ended = ctx.Err()
		}}, local.Limits{Capacity: 2})
		addAll(t, q, turn("a"), turn("b"), turn("c"))
		release()
		synctest.Wait()
		shut(t, q)
		if ended == nil {
			t.Error("Close did not end the refill")
		}
	})
}

func TestPanicInRefillIsSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		q, release := hold(t, h, local.QueueConfig{Refill: func(context.Context, string) { panic("a record") }}, local.Limits{Capacity: 1})
		addAll(t, q, turn("a"), turn("b"))
		release()
		synctest.Wait()
		addAll(t, q, turn("c"))
		synctest.Wait()
		if diff := cmp.Diff([]string{"a", "c"}, h.tasks()); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}
