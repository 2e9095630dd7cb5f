package conformance

import (
	"context"
	"sync"
	"testing"
	"time"

	"errand/shared/task"
)

// follow watches in the background and sends the records to the channel. It closes the
// channel when the watch has ended.
func follow(ctx context.Context, t *testing.T, s Stored, id string) <-chan task.Record {
	out := make(chan task.Record)
	go func() {
		defer close(out)
		for r, err := range s.Watch(ctx, id) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("Watch(%s): %v", id, err)
				}
				return
			}
			select {
			case out <- r:
			case <-ctx.Done():
			}
		}
	}()
	return out
}

// await returns the first record for which ok holds. Attempts rise in every law, so await also
// checks that no older record follows a newer one.
func await(t *testing.T, seen <-chan task.Record, ok func(task.Record) bool) task.Record {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for last := -1; ; {
		select {
		case r, open := <-seen:
			switch {
			case !open:
				t.Fatal("the watch ended early")
			case r.Attempt <= last:
				t.Fatalf("the watch yielded attempt %d after %d", r.Attempt, last)
			case ok(r):
				return r
			}
			last = r.Attempt
		case <-late.C:
			t.Fatalf("the watch did not yield the newest record; its last is attempt %d", last)
		}
	}
}

func attemptIs(n int) func(task.Record) bool {
	return func(r task.Record) bool { return r.Attempt == n }
}

// commitTo commits attempts after that of last, up to n.
func commitTo(t *testing.T, s Stored, last task.Record, n int) task.Record {
	t.Helper()
	for i := last.Attempt + 1; i <= n; i++ {
		last = commit(t, s, edited(last, attempt(i)))
	}
	return last
}

func watchMissing(t *testing.T, s Stored, _ *clock) {
	n := 0
	for _, err := range s.Watch(t.Context(), "nothing") {
		n++
		wantError(t, "Watch of a missing record", err, task.ErrNotFound)
	}
	if n != 1 {
		t.Errorf("Watch of a missing record yields %d times, want once", n)
	}
}

// watchArmedBeforeFirst: a watch does not miss a commit after its first value, or while the
// first value is read.
func watchArmedBeforeFirst(t *testing.T, s Stored, _ *clock) {
	last := create(t, s, record("a"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := []int{}

	for r, err := range s.Watch(ctx, "a") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, r.Attempt); len(got) == 2 {
			break
		}

		same(t, "the first value", last, r)
		last = commitTo(t, s, last, 1)
	}

	if len(got) != 2 || got[1] != 1 {
		t.Fatalf("the watch yielded the attempts %v, want 0 and 1", got)
	}

	// Watches begin at all moments of a commit.
	const watchers = 64

	for i := 2; i < 12; i++ {
		ctx, stop := context.WithTimeout(t.Context(), patience)
		var wg sync.WaitGroup

		for w := range watchers {
			wg.Go(func() {
				time.Sleep(time.Duration(w) * 50 * time.Microsecond) // only spreads the beginnings
				for r, err := range s.Watch(ctx, "a") {
					if err != nil {
						t.Errorf("Watch: %v", err)
						return
					}

					if r.Attempt == i {
						return
					}
				}

				t.Errorf("a watch begun about the time of a commit did not see it")
			})
		}

		last = commitTo(t, s, last, i)
		wg.Wait()
		stop()
	}
}

func watchSeesNewest(t *testing.T, s Stored, _ *clock) {
	last := create(t, s, record("a"))
	other := create(t, s, record("b"))
	seen := follow(t.Context(), t, s, "a")
	for range 5 {
		last = commitTo(t, s, last, last.Attempt+20)
		other = commitTo(t, s, other, other.Attempt+1)
		same(t, "the newest value", last, await(t, seen, attemptIs(last.Attempt)))
	}
}

func watchEndsWithContext(t *testing.T, s Stored, _ *clock) {
	create(t, s, record("a"))
	ctx, cancel := context.WithCancel(t.Context())
	seen := follow(ctx, t, s, "a")
	await(t, seen, attemptIs(0))
	cancel()
	select {
	case r, open := <-seen:
		if open {
			t.Errorf("the watch yielded attempt %d after its context ended", r.Attempt)
		}
	case <-time.After(patience):
		t.Error("the watch did not end with its context")
	}
	for range s.Watch(ctx, "a") {
		t.Log("a watch that begins with an ended context may yield the error")
	}
}

// watchSlowDelaysNoOther: a slow watcher delays neither writes nor other watchers, and
// receives the newest record when it goes on.
func watchSlowDelaysNoOther(t *testing.T, s Stored, _ *clock) {
	last := create(t, s, record("a"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow, quick := follow(ctx, t, s, "a"), follow(ctx, t, s, "a")
	await(t, slow, attemptIs(0))
	last = commitTo(t, s, last, 50)
	await(t, quick, attemptIs(50))
	await(t, slow, attemptIs(last.Attempt))
}

// watchJoinsOthers: a thousand watches join the first watch of a record. They see its newest
// version, and go on after the first watch has ended.
func watchJoinsOthers(t *testing.T, s Stored, _ *clock) {
	const watchers = 1000
	last := create(t, s, record("a"))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	first := follow(ctx, t, s, "a")
	await(t, first, attemptIs(0))
	last = commitTo(t, s, last, 3)
	await(t, first, attemptIs(3))

	all := make([]<-chan task.Record, watchers)
	for i := range all {
		all[i] = follow(t.Context(), t, s, "a")
	}
	for _, seen := range all {
		await(t, seen, attemptIs(3))
	}
	leave()
	last = commitTo(t, s, last, 4)
	for _, seen := range all {
		same(t, "the newest value", last, await(t, seen, attemptIs(4)))
	}
}

// watchOfExpired: an expired record cannot be watched, even if others watch it already.
func watchOfExpired(t *testing.T, s Stored, c *clock) {
	create(t, s, record("a", func(r *task.Record) { r.Expires = epoch.Add(time.Hour) }))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	began := make(chan struct{})
	go func() {
		for range s.Watch(ctx, "a") {
			close(began)
			<-ctx.Done()
			return
		}
	}()
	select {
	case <-began:
	case <-time.After(patience):
		t.Fatal("the watch yielded no record")
	}
	c.set(epoch.Add(time.Hour))
	for r, err := range s.Watch(t.Context(), "a") {
		if err == nil {
			t.Fatalf("Watch of an expired record yielded %+v", r)
		}
		wantError(t, "Watch of an expired record", err, task.ErrNotFound)
	}
}

// watchEndsWhenPurged: all watches of a deleted record end with ErrNotFound.
//
// The record is deleted only after two separate changes were seen. A listener may begin with
// the first change, and Firestore's emulator does not report a deletion to a listener that
// is just beginning.
func watchEndsWhenPurged(t *testing.T, s Stored, _ *clock) {
	last := create(t, s, record("a"))
	var all []<-chan error
	var seen []<-chan task.Record

	for range 20 {
		out, ended := make(chan task.Record), make(chan error, 1)

		go func() {
			var err error
			for r, e := range s.Watch(t.Context(), "a") {
				if err = e; e == nil {
					out <- r
				}
			}

			ended <- err
		}()

		all, seen = append(all, ended), append(seen, out)
	}

	for n := range 3 {
		if n > 0 {
			last = commit(t, s, edited(last, func(r *task.Record) {
				if r.Attempt = n; n == 2 {
					r.Expires = epoch.Add(time.Hour)
				}
			}))
		}

		for _, w := range seen {
			await(t, w, attemptIs(n))
		}
	}

	if n, err := purge(t.Context(), s, epoch.Add(2*time.Hour), 1); n != 1 || err != nil {
		t.Fatalf("Purge = %d, %v, want 1", n, err)
	}

	for _, ended := range all {
		select {
		case err := <-ended:
			wantError(t, "Watch of a purged record", err, task.ErrNotFound)
		case <-time.After(patience):
			t.Fatal("the watch of a purged record did not end")
		}
	}
}
