package conformance

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	gocmp "github.com/google/go-cmp/cmp"

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

// itemsAreListedApart: the items of a batch are in the list whose context is the batch, and in
// no other one of their owner. The batch's own task is in its owner's list. So are the totals.
func itemsAreListedApart(t *testing.T, s Stored, _ *clock) {
	const items = 70 // the tallies of a context begin at 64
	foreign, weekly := task.BatchID("other", "nightly"), task.BatchID(someone, "weekly")
	of := func(owner string) func(*task.Record) { return func(r *task.Record) { r.Owner = owner } }
	states := []a2a.TaskState{a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateCompleted}

	var own, inBatch []task.Record
	for i, id := range []string{nightly, weekly, "plain"} {
		own = append(own, create(t, s, record(id, at(i), func(r *task.Record) { r.Task.ContextID = []string{nightly, weekly, "ctx"}[i] })))
	}
	for i := range items {
		inBatch = append(inBatch, create(t, s, item(nightly, i+1, at(100+i), in(states[i%3]))))
	}
	create(t, s, item(weekly, 1, at(10)))
	create(t, s, item(foreign, 1, at(11), of("other")))
	create(t, s, record(foreign, at(12), of("other"), func(r *task.Record) { r.Task.ContextID = foreign }))

	for _, since := range []time.Time{{}, epoch.Add(time.Millisecond), epoch.Add(110 * time.Millisecond)} {
		for _, state := range append(states, "") {
			for _, q := range []struct {
				query task.Query
				of    []task.Record
			}{
				{task.Query{Owner: someone}, own},
				{task.Query{Owner: someone, Context: "ctx"}, own},
				{task.Query{Owner: someone, Context: nightly}, inBatch},
			} {
				q.query.State, q.query.Since = state, since
				want := matching(q.of, q.query)
				if d := gocmp.Diff(want, listed(t, s, q.query, len(want))); d != "" {
					t.Errorf("List(%+v) (-want +got):\n%s", q.query, d)
				}
			}
		}
	}

	for _, q := range []struct {
		query task.Query
		want  string
	}{
		{task.Query{Owner: someone, Context: weekly}, task.ItemID(weekly, 1)},
		{task.Query{Owner: "other", Context: foreign}, task.ItemID(foreign, 1)},
		{task.Query{Owner: "other"}, foreign},
	} {
		if got := listed(t, s, q.query, 1); len(got) != 1 || got[0] != q.want {
			t.Errorf("List(%+v) = %v, want %s", q.query, got, q.want)
		}
	}
	for _, q := range []task.Query{{Owner: "other", Context: nightly}, {Owner: someone, Context: foreign}, {Owner: "", Context: nightly}, {Owner: nightly}} {
		listed(t, s, q, 0)
	}

	q := task.Query{Owner: someone, Context: nightly, Limit: 7}
	if d := gocmp.Diff(matching(inBatch, q), walk(t, s, q, func(int) {})); d != "" {
		t.Errorf("pages of items (-want +got):\n%s", d)
	}
	q.Bodies = true
	first := page(t, s, q, items).Records[0]
	same(t, "an item in a list", inBatch[items-1], first)
}

// itemsTotalFollows: the totals of a batch and of its owner are exact after any changes of
// items.
func itemsTotalFollows(t *testing.T, s Stored, c *clock) {
	const items = 66
	create(t, s, record("plain"))
	made := map[int]task.Record{}
	for line := 1; line <= items; line++ {
		made[line] = create(t, s, item(nightly, line))
	}
	totals := func(when string, want map[a2a.TaskState]int) {
		t.Helper()
		sum := 0
		for _, state := range []a2a.TaskState{a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateCompleted, a2a.TaskStateCanceled} {
			listed(t, s, task.Query{Owner: someone, Context: nightly, State: state, Limit: 1}, want[state])
			sum += want[state]
		}
		listed(t, s, task.Query{Owner: someone, Context: nightly, Limit: 1}, sum)
		if got := listed(t, s, task.Query{Owner: someone}, 1); got[0] != "plain" {
			t.Errorf("%s: the owner's list has %v, want no item", when, got)
		}
	}
	totals("made", map[a2a.TaskState]int{a2a.TaskStateSubmitted: items})

	end := c.now().Add(time.Hour)
	for line := 1; line <= 10; line++ {
		made[line] = commit(t, s, edited(made[line], in(a2a.TaskStateWorking)))
	}
	for line := 1; line <= 5; line++ {
		made[line] = ended(t, s, made[line], a2a.TaskStateCompleted, end)
	}
	totals("5 completed", map[a2a.TaskState]int{a2a.TaskStateSubmitted: items - 10, a2a.TaskStateWorking: 5, a2a.TaskStateCompleted: 5})
	for _, line := range []int{5, 10, 11} {
		removed(t, s, made[line], c.now())
	}
	totals("3 deleted", map[a2a.TaskState]int{a2a.TaskStateSubmitted: items - 11, a2a.TaskStateWorking: 4, a2a.TaskStateCompleted: 4})

	c.set(end)
	totals("4 expired", map[a2a.TaskState]int{a2a.TaskStateSubmitted: items - 11, a2a.TaskStateWorking: 4})
	create(t, s, item(nightly, 1, func(r *task.Record) { r.Task.Status.State, r.Expires = a2a.TaskStateCanceled, end.Add(time.Minute) }))
	totals("1 made again", map[a2a.TaskState]int{a2a.TaskStateSubmitted: items - 11, a2a.TaskStateWorking: 4, a2a.TaskStateCanceled: 1})
	c.set(end.AddDate(1, 0, 0))
	if n, err := purge(t.Context(), s, c.now(), 100); err != nil || n != 7 {
		t.Errorf("Purge = %d, %v, want 7", n, err)
	}
	totals("purged", map[a2a.TaskState]int{a2a.TaskStateSubmitted: items - 11, a2a.TaskStateWorking: 4})
}

// itemsAreHeld: items do not wait in the count of their owner, and their bytes are the owner's.
func itemsAreHeld(t *testing.T, s Stored, c *clock) {
	var size int64
	held := func(when string, waiting int) {
		t.Helper()
		h, err := s.Held(t.Context(), someone, 100)
		if err != nil || h.Waiting != waiting || h.Bytes >= 0 && h.Bytes != size {
			t.Errorf("%s: Held = %+v, %v, want %d that wait and %d bytes", when, h, err, waiting, size)
		}
	}
	count := func(r task.Record, by int64) task.Record {
		t.Helper()
		enc, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		size += by * int64(enc.Size())
		return r
	}

	count(create(t, s, record("plain")), 1)
	var made []task.Record
	for line := range 4 {
		made = append(made, count(create(t, s, item(nightly, line+1, in(a2a.TaskStateWorking))), 1))
	}
	create(t, s, item(task.BatchID("other", "nightly"), 1, func(r *task.Record) { r.Owner = "other" }))
	held("made", 1)

	count(made[0], -1)
	made[0] = count(commit(t, s, edited(made[0], func(r *task.Record) {
		r.Task.History = append(slices.Clone(r.Task.History), text("more", "and more"))
		r.Task.Status.State, r.Expires = a2a.TaskStateCompleted, c.now().Add(time.Hour)
	})), 1)
	held("one has grown and ended", 1)
	removed(t, s, count(made[1], -1), c.now())
	held("one is deleted", 1)
	count(made[0], -1)
	c.set(c.now().Add(time.Hour))
	count(create(t, s, item(nightly, 1)), 1)
	held("one is made again", 1)
	if _, err := purge(t.Context(), s, c.now().AddDate(1, 0, 0), 100); err != nil {
		t.Fatal(err)
	}
	held("after a purge", 1)
}

// itemsAreDead: the dead webhooks of an owner are those of its tasks and of its items, in one
// order and on the same pages.
func itemsAreDead(t *testing.T, s Stored, c *clock) {
	var mine []task.Record
	foreign := task.BatchID("other", "nightly")
	for i := range 24 {
		r := record(string(rune('a'+i)), at(i/6), dead)
		switch i % 4 {
		case 1:
			r = item(nightly, i, at(i/6), dead)
		case 2:
			r = item(task.BatchID(someone, "weekly"), i, at(i/6), dead)
		case 3:
			r = item(foreign, i, at(i/6), dead, func(r *task.Record) { r.Owner = "other" })
		}
		if create(t, s, r); i%4 < 3 {
			mine = append(mine, r)
		}
	}

	create(t, s, item(nightly, 100, at(50)))
	gone := create(t, s, item(nightly, 101, at(3), dead))
	letters(t, s, ofSomeone, newestFirst(append(mine, gone)...))
	removed(t, s, gone, c.now())

	want := newestFirst(mine...)
	letters(t, s, ofSomeone, want)
	for _, limit := range []int{1, 2, 5, len(want) - 1, len(want), 100} {
		got := walkDead(t, s, task.DeadQuery{Owner: someone, Limit: limit}, len(want))
		if d := gocmp.Diff(want, got); d != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, d)
		}
	}

	if p, err := s.Dead(t.Context(), task.DeadQuery{Owner: "other", Limit: 100}); err != nil || len(p.Records) != 6 {
		t.Errorf("Dead of the other owner = %v, %v, want 6", ids(p), err)
	}
	if p, err := s.Dead(t.Context(), task.DeadQuery{All: true, Limit: 100}); err != nil || len(p.Records) != 24 {
		t.Errorf("Dead of all = %v, %v, want 24", ids(p), err)
	}
	letters(t, s, task.DeadQuery{Owner: nightly}, []string{})
}

// itemsOfAnyOwner: the list, the dead webhooks and the bytes of an owner's items are found by any
// text as the owner.
func itemsOfAnyOwner(t *testing.T, s Stored, _ *clock) {
	owners := []string{"", "a", "A", "a\x00b", "a\x00", "a b", " a", "a/b", "%", "日本", nightly, strings.Repeat("k", 1000)}
	for i, owner := range owners {
		of := func(r *task.Record) { r.Owner = owner }
		create(t, s, item(task.BatchID(owner, "b"), i+1, of, dead))
		create(t, s, record("plain-"+string(rune('a'+i)), of, dead, at(1)))
	}
	for i, owner := range owners {
		batch, plain := task.BatchID(owner, "b"), "plain-"+string(rune('a'+i))
		id := task.ItemID(batch, i+1)
		if got := listed(t, s, task.Query{Owner: owner, Context: batch}, 1); len(got) != 1 || got[0] != id {
			t.Errorf("List of the batch of %.20q = %v, want %s", owner, got, id)
		}
		if got := listed(t, s, task.Query{Owner: owner}, 1); len(got) != 1 || got[0] != plain {
			t.Errorf("List of %.20q = %v, want %s", owner, got, plain)
		}
		letters(t, s, task.DeadQuery{Owner: owner}, []string{plain, id})

		var size int64
		for _, id := range []string{id, plain} {
			enc, err := load(t, s, id).Encode()
			if err != nil {
				t.Fatal(err)
			}
			size += int64(enc.Size())
		}
		if h, err := s.Held(t.Context(), owner, 9); err != nil || h.Waiting != 1 || h.Bytes >= 0 && h.Bytes != size {
			t.Errorf("Held of %.20q = %+v, %v, want 1 that waits and %d bytes", owner, h, err, size)
		}
	}
}

// newestFirst returns the ids of records in the order of a list.
func newestFirst(all ...task.Record) []string {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b task.Record) int {
		return cmp.Or(b.Stamp().Compare(a.Stamp()), strings.Compare(b.ID(), a.ID()))
	})
	return ids(task.Page{Records: all})
}
