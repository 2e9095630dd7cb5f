package conformance

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"errand/shared/task"
)

// removed deletes a record as its owner does.
func removed(t *testing.T, s Stored, r task.Record, now time.Time) task.Record {
	t.Helper()
	next, changed, err := r.Delete(task.Defaults().At(now))
	if err != nil || !changed {
		t.Fatalf("Delete(%s): changed %t, %v", r.ID(), changed, err)
	}
	return commit(t, s, next)
}

// deletedIsGone: no list, total or chore finds a deleted record, in a context of any size.
func deletedIsGone(t *testing.T, s Stored, c *clock) {
	const all, deleted = 70, 3 // the tallies of a context begin at 64
	for _, owner := range []string{someone, ""} {
		for i := range all {
			r := create(t, s, record(fmt.Sprintf("%s-%d", owner[:min(len(owner), 1)], i), func(r *task.Record) {
				r.Owner = owner
				r.Due = task.Due{At: epoch, Lane: task.Turns}
				r.Webhooks = []task.Webhook{{ID: "h", Gen: 1, URL: "https://example.com", State: task.WebhookDead}}
			}))
			if i < deleted {
				removed(t, s, r, c.now())
			}
		}

		for _, q := range []task.Query{
			{}, {Context: "ctx"}, {State: record("x").State()}, {Context: "ctx", State: record("x").State()}, {Since: epoch.Add(-time.Hour)},
		} {
			q.Owner, q.Limit, q.Count = owner, 100, true
			p, err := s.List(t.Context(), q)
			if err != nil || len(p.Records) != all-deleted || p.Total != all-deleted {
				t.Errorf("List(%+v) = %d of %d, %v, want %d", q, len(p.Records), p.Total, err, all-deleted)
			}
		}
		q := task.Query{Owner: owner, Limit: 100, Count: true, State: "TASK_STATE_CANCELED"}
		if p, err := s.List(t.Context(), q); err != nil || len(p.Records) != 0 || p.Total != 0 {
			t.Errorf("List of canceled ones = %d of %d, %v, want none", len(p.Records), p.Total, err)
		}
	}

	const left = 2 * (all - deleted)
	if p, err := s.Dead(t.Context(), task.DeadQuery{All: true, Limit: 100}); err != nil || len(p.Records) != 100 || !p.More {
		t.Errorf("Dead = %d, more %t, %v, want 100 of %d", len(p.Records), p.More, err, left)
	}
	if refs, err := s.Due(t.Context(), task.Turns, task.Shard{}, epoch.Add(time.Hour), task.Ref{}, 1000); err != nil || len(refs) != left {
		t.Errorf("Due = %d, %v, want %d", len(refs), err, left)
	}
}

// deletedKeepsItsID: until the retention ends the id is taken, and says why. Afterwards it is
// free.
func deletedKeepsItsID(t *testing.T, s Stored, c *clock) {
	old := create(t, s, record("a"))
	next := removed(t, s, old, c.now())

	left, err := s.Load(t.Context(), "a")
	wantError(t, "Load", err, task.ErrDeleted)
	if !left.Deleted || left.Owner != someone || len(left.Task.History) > 0 {
		t.Errorf("Load returns %+v", left)
	}
	if known, err := left.Accepted("m-a", "p"); !known || err != nil {
		t.Errorf("its message is known: %t, %v", known, err)
	}

	_, err = s.Create(t.Context(), record("a"))
	wantError(t, "Create", err, task.ErrExists)
	_, err = s.Commit(t.Context(), edited(old, attempt(1)))
	wantError(t, "Commit of the version before", err, task.ErrConflict)

	c.set(next.Expires)
	_, err = s.Load(t.Context(), "a")
	if !errors.Is(err, task.ErrNotFound) || errors.Is(err, task.ErrDeleted) {
		t.Errorf("Load after the retention: %v, want plain ErrNotFound", err)
	}
	c.set(next.Expires.Add(time.Second))
	if n, err := purge(t.Context(), s, c.now(), 10); n != 1 || err != nil {
		t.Errorf("Purge = %d, %v, want 1", n, err)
	}
	create(t, s, record("a"))
	if p, err := s.List(t.Context(), task.Query{Owner: someone, Limit: 10, Count: true}); err != nil || len(p.Records) != 1 || p.Total != 1 {
		t.Errorf("List = %d of %d, %v, want the new record alone", len(p.Records), p.Total, err)
	}
}

func deletedEndsWatches(t *testing.T, s Stored, c *clock) {
	r := create(t, s, record("a"))
	for now, err := range s.Watch(t.Context(), "a") {
		if err != nil {
			wantError(t, "Watch", err, task.ErrDeleted)
			break
		}
		if now.Deleted {
			t.Fatal("a watch yields a deleted record")
		}
		removed(t, s, r, c.now())
	}
	for _, err := range s.Watch(t.Context(), "a") {
		wantError(t, "a later Watch", err, task.ErrDeleted)
	}
}
