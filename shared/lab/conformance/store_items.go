package conformance

import (
	"slices"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// This file holds the laws of task.Items, and of the lists that have items or leave them out.

var nightly = task.BatchID(someone, "nightly")

// item returns the item of a line after the changes.
func item(batch string, line int, change ...func(*task.Record)) task.Record {
	of := func(r *task.Record) { r.Lane, r.Task.ContextID = task.Bulk, batch }
	return record(task.ItemID(batch, line), append([]func(*task.Record){of}, change...)...)
}

func in(state a2a.TaskState) func(*task.Record) {
	return func(r *task.Record) { r.Task.Status.State = state }
}

// ended commits the end of a task.
func ended(t *testing.T, s Stored, r task.Record, state a2a.TaskState, expires time.Time) task.Record {
	t.Helper()
	return commit(t, s, edited(r, func(r *task.Record) { r.Task.Status.State, r.Expires = state, expires }))
}

// open checks the open items of a batch up to a line.
func open(t *testing.T, s Stored, when, batch string, upTo int, want ...int) {
	t.Helper()
	o := task.Open{N: len(want)}
	if len(want) > 0 {
		o.Lowest = want[0]
	}
	if got, err := s.Open(t.Context(), batch, upTo); err != nil || got != o {
		t.Errorf("%s: Open(%d) = %+v, %v, want %+v", when, upTo, got, err, o)
	}
	all, err := s.OpenLines(t.Context(), batch, 0, 1000)
	got := slices.DeleteFunc(all, func(line int) bool { return line > upTo })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: OpenLines = %v up to %d, %v, want %v", when, got, upTo, err, want)
	}
}

// openItems: an item is open from its creation until it ends in any way, and is counted right
// at once.
func openItems(t *testing.T, s Stored, c *clock) {
	open(t, s, "before the first item", nightly, 100)
	create(t, s, record(nightly, func(r *task.Record) { r.Lane, r.Task.ContextID = task.Batches, nightly }))
	open(t, s, "with the batch's own task", nightly, 100)

	made := map[int]task.Record{}
	for _, line := range []int{10, 9, 2, 1, 100, 11} {
		made[line] = create(t, s, item(nightly, line))
	}
	create(t, s, record("other", func(r *task.Record) { r.Task.ContextID = "c" + nightly }))
	open(t, s, "made", nightly, 1000, 1, 2, 9, 10, 11, 100)
	open(t, s, "made", nightly, 100, 1, 2, 9, 10, 11, 100)
	open(t, s, "made", nightly, 99, 1, 2, 9, 10, 11)
	open(t, s, "made", nightly, 9, 1, 2, 9)
	open(t, s, "made", nightly, 0)

	waiting := []a2a.TaskState{a2a.TaskStateWorking, a2a.TaskStateInputRequired, a2a.TaskStateAuthRequired, a2a.TaskStateSubmitted}
	for _, state := range waiting {
		made[1] = commit(t, s, edited(made[1], in(state)))
		open(t, s, string(state), nightly, 1000, 1, 2, 9, 10, 11, 100)
	}

	end := c.now().Add(time.Hour)
	ended(t, s, made[2], a2a.TaskStateCompleted, end)
	open(t, s, "2 completed", nightly, 1000, 1, 9, 10, 11, 100)
	ended(t, s, made[1], a2a.TaskStateFailed, end)
	open(t, s, "1 failed", nightly, 1000, 9, 10, 11, 100)
	ended(t, s, made[100], a2a.TaskStateRejected, end)
	open(t, s, "100 rejected", nightly, 1000, 9, 10, 11)
	next, _, err := made[9].Cancel(task.Defaults().At(c.now()), text("c", "bye"), nil)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, next)
	open(t, s, "9 canceled", nightly, 1000, 10, 11)
	gone := removed(t, s, made[10], c.now())
	open(t, s, "10 deleted", nightly, 1000, 11)

	create(t, s, item(nightly, 3, in(a2a.TaskStateCompleted), func(r *task.Record) { r.Expires = end }))
	open(t, s, "3 ended from its beginning", nightly, 1000, 11)
	_, err = s.Commit(t.Context(), made[10])
	wantError(t, "Commit of an old version", err, task.ErrConflict)
	open(t, s, "after a refused commit", nightly, 1000, 11)

	c.set(gone.Expires.Add(time.Hour))
	if n, err := purge(t.Context(), s, c.now(), 100); err != nil || n < 4 {
		t.Fatalf("Purge = %d, %v, want at least 4", n, err)
	}
	open(t, s, "purged", nightly, 1000, 11)
	create(t, s, item(nightly, 2))
	open(t, s, "2 made again", nightly, 1000, 2, 11)
}

// openOfOneBatch: an owner's batches do not count each other's items, and no one else's.
func openOfOneBatch(t *testing.T, s Stored, _ *clock) {
	batches := []string{nightly, task.BatchID(someone, "nightly~1"), task.BatchID("other", "nightly")}
	for i, batch := range batches {
		for line := range i + 1 {
			create(t, s, item(batch, line+1))
		}
	}
	for i, batch := range batches {
		open(t, s, "others have items", batch, 100, []int{1, 2, 3}[:i+1]...)
	}
	for _, none := range []string{"", "x", task.BatchID(someone, "never"), nightly[:8]} {
		open(t, s, "no batch", none, 100)
	}
}

// openLinesPages: pages of lines are complete and in order, also where lines have more digits.
func openLinesPages(t *testing.T, s Stored, _ *clock) {
	var want []int
	for _, line := range []int{1, 7, 8, 9, 10, 11, 99, 100, 101, 999, 1000, 999_999, 1_000_000} {
		r := create(t, s, item(nightly, line))
		if line%3 == 0 {
			ended(t, s, r, a2a.TaskStateCompleted, epoch.Add(time.Hour))
			continue
		}
		want = append(want, line)
	}

	for _, limit := range []int{1, 2, 100} {
		var got []int
		for after := 0; ; {
			page, err := s.OpenLines(t.Context(), nightly, after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("OpenLines(%d, %d) = %v, %v", after, limit, page, err)
			}
			if len(page) == 0 {
				break
			}
			got, after = append(got, page...), page[len(page)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d are %v, want %v", limit, got, want)
		}
	}
	if page, err := s.OpenLines(t.Context(), nightly, 0, 0); err != nil || len(page) != 0 {
		t.Errorf("OpenLines without a limit = %v, %v, want none", page, err)
	}
}
