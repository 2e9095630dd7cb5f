package gcp_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/gcp"
	"errand/shared/gcp/emulator"
	"errand/shared/task"
)

// soon is how long a test waits for what must happen.
const soon = 20 * time.Second

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(soon)
	for !ok() {
		select {
		case <-late:
			t.Fatalf("after %v still not: %s", soon, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// begun watches a record in the background and returns once the first value is
// there; the channel then gives the error with which the watch ended, or nil after
// the first newer version.
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
	case <-time.After(soon):
		t.Fatalf("Watch(%s) gave nothing", id)
	}
	return ended
}

func await(t *testing.T, what string, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(soon):
		t.Fatalf("%s: nothing came", what)
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

// A connection carries 100 streams; whoever watches takes none from those who write,
// and beyond the bound looks once a second.
func TestManyWatchersDelayNoCommit(t *testing.T) {
	const watchers = 500
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	rs := make([]task.Record, watchers)
	ended := make([]<-chan error, watchers)
	ctx, stop := context.WithCancel(t.Context())
	for i := range rs {
		rs[i] = stored(t, f, accepted(t, hashed(fmt.Sprint(i)), time.Now()))
		ended[i] = begun(ctx, t, f, rs[i].ID())
	}
	eventually(t, "all listeners are in use", func() bool { now, _, _ := w.listening(); return now == 90 })

	var longest time.Duration
	for i := range rs {
		before := time.Now()
		rs[i] = change(t, f, rs[i])
		longest = max(longest, time.Since(before))
	}
	if longest > time.Second {
		t.Errorf("with %d watchers a commit took %v", watchers, longest)
	}
	for i := range ended {
		if err := await(t, "a watch of a task that has changed", ended[i]); err != nil {
			t.Errorf("Watch: %v", err)
		}
	}
	stop()
	eventually(t, "no listener is left", func() bool { now, _, _ := w.listening(); return now == 0 })
	// More than 90 only for as long as the end of one is on its way.
	if _, most, _ := w.listening(); most >= streams {
		t.Errorf("there were %d listeners at once; a connection carries %d", most, streams)
	}
	t.Logf("the longest of %d commits took %v", watchers, longest)
}

func TestWatchersOfATaskShareAListener(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	r := stored(t, f, accepted(t, hashed("a"), time.Now()))
	var ended []<-chan error
	for range 50 {
		ended = append(ended, begun(t.Context(), t, f, r.ID()))
	}
	change(t, f, r)
	for _, e := range ended {
		if err := await(t, "a watch", e); err != nil {
			t.Errorf("Watch: %v", err)
		}
	}
	if _, _, total := w.listening(); total != 1 {
		t.Errorf("50 watchers of a task began %d listeners, want 1", total)
	}
}

// A listener that becomes free is taken by a task that is polled.
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

// A listener whose connection breaks is begun again, and misses nothing.
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

// The record is purged after two changes were seen, one after the other. The first one
// may be in what the listener begins with, and the emulator forgets to tell a listener of
// a deletion that comes while it begins.
func TestWatchEndsWhenTheRecordIsPurged(t *testing.T) {
	for name, opts := range map[string]gcp.FirestoreOptions{
		"Listening": {},
		"Polling":   {Listeners: -1, Poll: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, emulator.Firestore(t), opts)
			now := time.Now()
			r := stored(t, f, accepted(t, hashed("a"), now))
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()

			var ended error
			seen := 0
			for last, err := range f.Watch(ctx, r.ID()) {
				if err != nil {
					ended = err
					break
				}
				if last.Version < r.Version { // of what was written, the newest is awaited
					continue
				}
				switch seen++; seen {
				case 1:
					r = change(t, f, r)
				case 2:
					r, err = task.UpdateFrom(ctx, f, r, func(r task.Record) (task.Record, bool, error) {
						return r.Cancel(task.Defaults().At(now), a2a.NewMessage(a2a.MessageRoleAgent), nil)
					})
				default:
					var n int
					if n, err = f.Purge(ctx, r.Expires.Add(time.Second), 1); n != 1 {
						t.Errorf("purged %d, want 1", n)
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if !errors.Is(ended, task.ErrNotFound) {
				t.Errorf("Watch of a purged record ended with %v, want ErrNotFound", ended)
			}
		})
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
		t.Error("the watch of a closed store gave a newer version")
	}
	for _, err := range f.Watch(t.Context(), r.ID()) {
		if err == nil {
			t.Error("Watch of a closed store gave a record")
		}
	}
}
