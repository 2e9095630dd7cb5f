package gcp_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/gcp"
	"errand/shared/lab/emulator"
	"errand/shared/steps"
	"errand/shared/task"
)

// The client repeats only reads whose answer has not begun. The store repeats the others.
func TestReadsThatBreakOffAreRepeated(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	now := time.Now()
	r := stored(t, f, undelivered(t, accepted(t, hashed("a"), now)))
	for name, read := range map[string]func() error{
		"Load": func() error { _, err := f.Load(t.Context(), r.ID()); return err },
		"List": func() error {
			p, err := f.List(t.Context(), task.Query{Owner: "someone", Limit: 1, Bodies: true, Count: true})
			if err == nil && (len(p.Records) != 1 || p.Total != 1) {
				t.Errorf("List = %d records of %d, want 1 of 1", len(p.Records), p.Total)
			}
			return err
		},
		"Due": func() error {
			refs, err := f.Due(t.Context(), task.Turns, task.Shard{}, now.Add(time.Hour), task.Ref{}, 1)
			if err == nil && len(refs) != 1 {
				t.Errorf("Due = %v, want one", refs)
			}
			return err
		},
		"Dead": func() error {
			p, err := f.Dead(t.Context(), task.DeadQuery{All: true, Limit: 1})
			if err == nil && len(p.Records) != 1 {
				t.Errorf("Dead = %d records, want 1", len(p.Records))
			}
			return err
		},
		"Purge": func() error { _, err := f.Purge(t.Context(), now, 1); return err },
	} {
		w.with(func() { w.breaks = 2 })
		if err := read(); err != nil {
			t.Errorf("%s whose connection broke: %v", name, err)
		}

		w.with(func() {
			if w.breaks != 0 {
				t.Errorf("the connection of %s did not break, so the test shows nothing", name)
			}
		})
	}
}

// A page that finds only expired tasks goes on until it finds others.
func TestListPassesOverManyExpired(t *testing.T) {
	w := newWire(t)
	now := time.Now()
	f := open(t, w.host, gcp.FirestoreOptions{Now: func() time.Time { return now }})
	oldest := stored(t, f, accepted(t, hashed("a"), now.AddDate(-1, 0, 0)))
	for _, id := range []string{"b", "c", "d", "e", "f"} {
		stored(t, f, canceled(t, hashed(id), now.AddDate(0, 0, -40)))
	}

	newest := stored(t, f, accepted(t, hashed("g"), now))
	for limit := 1; limit <= 3; limit++ {
		var got []string
		q := task.Query{Owner: "someone", Limit: limit, Count: true, Bodies: limit == 2}

		for more := true; more; {
			p, err := f.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if p.Total != 2 {
				t.Errorf("List counts %d, want 2", p.Total)
			}

			for _, r := range p.Records {
				got = append(got, r.ID())
				q.After = task.Ref{At: r.Stamp(), ID: r.ID()}
			}

			more = p.More
		}

		if d := cmp.Diff([]string{newest.ID(), oldest.ID()}, got); d != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, d)
		}
	}
}

// If a task moves to the top of the list while its page is read, the page omits the task.
// Otherwise the next page would begin at the top again.
func TestListLeavesOutTasksThatMoveMeanwhile(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	now := time.Now()
	still := stored(t, f, accepted(t, hashed("a"), now))
	moving := stored(t, f, accepted(t, hashed("b"), now.Add(time.Second)))
	var once bool

	w.with(func() {
		w.onBodies = func() {
			if once {
				return
			}

			once = true
			ended := canceled(t, moving.ID(), now.Add(time.Minute))
			ended.Version = moving.Version
			if _, err := f.Commit(t.Context(), ended); err != nil {
				t.Errorf("Commit: %v", err)
			}
		}
	})

	p, err := f.List(t.Context(), task.Query{Owner: "someone", Limit: 1, Bodies: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Records) != 1 || p.Records[0].ID() != still.ID() || p.More {
		t.Errorf("List = %d records, more: %t; want only the task that stayed", len(p.Records), p.More)
	}
}

// Each operation makes a fixed number of requests: one for a write, one for a read by id, one
// for the page of a list. A first page makes two more, for the total and for its expired
// part. The bodies of a page are read by the names of their documents. A look at a batch is two
// queries, for the number of its open items and for the first of them, whatever its size (R19c).
func TestRequestsOfEachOperation(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	ctx, r := t.Context(), stored(t, f, accepted(t, hashed("a"), time.Now()))
	list := func(q task.Query) func() error {
		q.Owner, q.Limit = "someone", 10
		return func() error { _, err := f.List(ctx, q); return err }
	}

	type requests struct{ Writes, Reads, Queries int }
	for _, op := range []struct {
		name string
		want requests
		run  func() error
	}{
		{"create", requests{Writes: 1}, func() error { _, err := f.Create(ctx, accepted(t, hashed("b"), time.Now())); return err }},
		{"commit", requests{Writes: 1}, func() (err error) { r, err = f.Commit(ctx, r); return err }},
		{"load", requests{Reads: 1}, func() error { _, err := f.Load(ctx, r.ID()); return err }},
		{"first page", requests{Queries: 3}, list(task.Query{Count: true})},
		{"later page", requests{Queries: 1}, list(task.Query{After: task.Ref{At: time.Now(), ID: "a"}})},
		{"page of two with bodies", requests{Queries: 1, Reads: 2}, list(task.Query{Bodies: true})},
		{"due", requests{Queries: 1}, func() error { _, err := f.Due(ctx, task.Turns, task.Shard{}, time.Now(), task.Ref{}, 10); return err }},
		{"look at the items of a batch", requests{Queries: 2}, func() error { _, err := f.Open(ctx, task.BatchID("someone", "nightly"), 1_000_000); return err }},
		{"purge of nothing", requests{Queries: 1}, func() error { _, err := f.Purge(ctx, time.Now(), 10); return err }},
		{"purge of entries", requests{}, func() error { _, err := f.KV().Purge(ctx, time.Now(), 10); return err }},
		{"steps of a task without any", requests{Queries: 1}, func() error { return steps.Delete(ctx, f.KV(), r.ID(), nil) }},
		{"look at a later task", requests{Queries: 1}, func() error {
			_, err := f.Replaced(ctx, task.Lapsed{Ref: task.Ref{ID: r.ID()}, Version: r.Version})
			return err
		}},
	} {
		count := func() (n requests) {
			w.with(func() { n = requests{len(w.commits), w.reads, len(w.queries)} })
			return n
		}

		before := count()
		if err := op.run(); err != nil {
			t.Errorf("%s: %v", op.name, err)
		}

		after := count()
		got := requests{after.Writes - before.Writes, after.Reads - before.Reads, after.Queries - before.Queries}
		if got != op.want {
			t.Errorf("%s makes %+v requests, want %+v", op.name, got, op.want)
		}
	}
}

// A count with Since ends in time with ErrCount. A count without Since has no such limit.
func TestCountEndsInTime(t *testing.T) {
	f := open(t, emulator.Firestore(t), gcp.FirestoreOptions{CountFor: time.Nanosecond})
	stored(t, f, accepted(t, hashed("a"), time.Now()))
	q := task.Query{Owner: "someone", Limit: 10, Count: true, Since: time.Now().Add(-time.Hour)}
	if _, err := f.List(t.Context(), q); !errors.Is(err, task.ErrCount) {
		t.Errorf("List with a count that takes too long: %v, want %v", err, task.ErrCount)
	}
	q.Since = time.Time{}
	if p, err := f.List(t.Context(), q); err != nil || p.Total != 1 {
		t.Errorf("List counts %d, %v, want 1", p.Total, err)
	}
}
