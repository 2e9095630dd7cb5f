package gcp_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"errand/shared/adapters/gcp"
	"errand/shared/lab/emulator"
	"errand/shared/task"
)

// patience is how long a test waits for an event that is certain to come. It only keeps a
// broken test from hanging, and decides nothing on a busy machine.
const patience = 2 * time.Minute

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(patience)
	for !ok() {
		select {
		case <-late:
			t.Fatalf("after %v this is still not so: %s", patience, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// begun watches a record in the background and returns after the first value. The channel
// then receives nil after the first newer version, or the error that ended the watch.
func begun(ctx context.Context, t *testing.T, f *gcp.Firestore, id string) <-chan error {
	t.Helper()
	first, ended := make(chan struct{}), make(chan error, 1)

	go func() {
		n := 0
		for _, err := range f.Watch(ctx, id) {
			if n++; err != nil {
				ended <- err
			} else if n == 2 {
				ended <- nil
			} else {
				close(first)
				continue
			}

			return
		}

		ended <- ctx.Err()
	}()

	select {
	case <-first:
	case err := <-ended:
		t.Fatalf("Watch(%s) ended with %v", id, err)
	case <-time.After(patience):
		t.Fatalf("Watch(%s) yielded no value", id)
	}

	return ended
}

func await(t *testing.T, what string, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatalf("%s: no event in time", what)
		return nil
	}
}

func change(t *testing.T, f *gcp.Firestore, r task.Record) task.Record {
	t.Helper()
	r, err := task.UpdateFrom(t.Context(), f, r, func(r task.Record) (task.Record, bool, error) {
		return asked(r, r.Asked.Add(time.Second))
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A connection carries 100 streams, so listeners share several connections. Watchers take none of
// the streams for writes: a commit that had to wait for a stream would exceed its deadline.
// Watchers beyond the limit poll once a second.
func TestManyWatchersDelayNoCommit(t *testing.T) {
	t.Parallel()
	const watchers, listeners = 240, 120 // the emulator does not serve many more
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{Listeners: listeners})
	rs := make([]task.Record, watchers)
	ended := make([]<-chan error, watchers)
	ctx, stop := context.WithCancel(t.Context())

	for i := range rs {
		rs[i] = stored(t, f, accepted(t, hashed(fmt.Sprint(i)), time.Now()))
		ended[i] = begun(ctx, t, f, rs[i].ID())
	}

	eventually(t, "all listeners are in use", func() bool { now, _, _ := w.listening(); return now == listeners })

	var longest time.Duration
	for i := range rs {
		before := time.Now()
		rs[i] = change(t, f, rs[i])
		longest = max(longest, time.Since(before))
	}

	for i := range ended {
		if err := await(t, "a watch of a task that has changed", ended[i]); err != nil {
			t.Errorf("Watch: %v", err)
		}
	}

	stop()
	eventually(t, "no listener is left", func() bool { now, _, _ := w.listening(); return now == 0 })

	// There may be more than 90 for a moment, while the end of a listener is on its way.
	if _, most, _ := w.listening(); most >= streams {
		t.Errorf("a connection had %d listeners at the same time; it carries %d streams", most, streams)
	}

	t.Logf("the longest of %d commits took %v", watchers, longest)
}

// Any number of watchers of a task cost as much as one: one listener, one read when the first
// of them begins, and regular reads beside the listener.
func TestThousandWatchersCostWhatOneCosts(t *testing.T) {
	const watchers, recheck = 1000, 200 * time.Millisecond
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{Recheck: recheck})
	r := stored(t, f, accepted(t, hashed("a"), time.Now()))
	reads := func() (n int) { w.with(func() { n = w.reads }); return n }
	before, start := reads(), time.Now()

	var first, second sync.WaitGroup
	first.Add(watchers)

	for range watchers {
		second.Go(func() {
			n := 0
			for _, err := range f.Watch(t.Context(), r.ID()) {
				if n++; n == 1 {
					first.Done()
				}
				if err != nil {
					t.Errorf("Watch: %v", err)
				}
				if n == 2 {
					return
				}
			}
		})
	}

	first.Wait()
	eventually(t, "the task was read again", func() bool { return reads() >= before+3 })
	change(t, f, r)
	second.Wait()
	if n, most := reads()-before, 1+int(time.Since(start)/recheck); n > most {
		t.Errorf("%d watchers read the task %d times, want at most %d", watchers, n, most)
	}
	if _, _, total := w.listening(); total != 1 {
		t.Errorf("%d watchers began %d listeners, want 1", watchers, total)
	}
}

// A listener that silently stops receiving changes only delays a watch: the next read finds
// the change, and the end.
func TestWatchSurvivesADeafListener(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{Recheck: 50 * time.Millisecond})
	changes, ends := stored(t, f, accepted(t, hashed("a"), time.Now())), stored(t, f, canceled(t, hashed("b"), time.Now()))
	changed, ended := begun(t.Context(), t, f, changes.ID()), begun(t.Context(), t, f, ends.ID())
	eventually(t, "both have a listener", func() bool { now, _, _ := w.listening(); return now == 2 })
	w.with(func() { w.deaf = true })

	change(t, f, changes)
	if err := await(t, "the watch of a task that has changed", changed); err != nil {
		t.Errorf("Watch: %v", err)
	}
	// The emulator sometimes cancels a call by itself, so a purge is repeated, as the sweep repeats it.
	eventually(t, "the task is purged", func() bool { _, err := f.Purge(t.Context(), ends.Expires.Add(time.Second), 1); return err == nil })
	if err := await(t, "the watch of a purged task", ended); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("Watch of a purged task ended with %v, want ErrNotFound", err)
	}
}

// A task that is polled takes over a listener that becomes free.
func TestFreeListenerIsTaken(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{Listeners: 1, Poll: 10 * time.Millisecond})
	a := stored(t, f, accepted(t, hashed("a"), time.Now()))
	b := stored(t, f, accepted(t, hashed("b"), time.Now()))
	ctx, stop := context.WithCancel(t.Context())
	begun(ctx, t, f, a.ID())
	eventually(t, "the first task has the listener", func() bool { now, _, _ := w.listening(); return now == 1 })
	ended := begun(t.Context(), t, f, b.ID())
	stop()
	eventually(t, "the second task has it", func() bool { _, _, total := w.listening(); return total == 2 })
	change(t, f, b)
	if err := await(t, "the second watch", ended); err != nil {
		t.Errorf("Watch: %v", err)
	}
}

// A listener whose connection breaks is resumed and misses no change.
func TestBrokenListenerIsTakenUpAgain(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	r := stored(t, f, accepted(t, hashed("a"), time.Now()))
	ended := begun(t.Context(), t, f, r.ID())
	eventually(t, "there is a listener", func() bool { now, _, _ := w.listening(); return now == 1 })
	w.cutListeners()
	eventually(t, "it is broken", func() bool { now, _, _ := w.listening(); return now == 0 })
	change(t, f, r)
	if err := await(t, "the watch of a task that changed meanwhile", ended); err != nil {
		t.Errorf("Watch: %v", err)
	}
}

func TestCloseEndsWatches(t *testing.T) {
	f := open(t, emulator.Firestore(t), gcp.FirestoreOptions{})
	r := stored(t, f, accepted(t, hashed("a"), time.Now()))
	ended := begun(t.Context(), t, f, r.ID())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := await(t, "the watch of a closed store", ended); err == nil {
		t.Error("the watch of a closed store yielded a newer version")
	}
	for _, err := range f.Watch(t.Context(), r.ID()) {
		if err == nil {
			t.Error("Watch of a closed store yielded a record")
		}
	}
}
