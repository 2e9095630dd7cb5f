package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// Each operation runs a fixed number of statements, with any content of the file. The
// number for a write includes the two that begin and commit its group.
func TestStatementsOfEachOperation(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{CacheRecords: -1})
	batch := task.BatchID("someone", "nightly")
	for i := range 300 {
		create(t, db, fmt.Sprint("filler-", i))
		create(t, db, task.ItemID(batch, i+1))
	}

	ctx, all := t.Context(), task.Query{Owner: "someone", Limit: 50}
	r, err := db.Create(ctx, accepted(t, "a", time.Now()))
	if err != nil {
		t.Fatal(err)
	}

	list := func(change func(*task.Query)) func() error {
		q := all
		change(&q)
		return func() error { _, err := db.List(ctx, q); return err }
	}

	for _, op := range []struct {
		name string
		want int
		run  func() error
	}{
		{"create", 4, func() error { _, err := db.Create(ctx, accepted(t, "b", time.Now())); return err }},
		{"create again", 4, func() error {
			if _, err := db.Create(ctx, accepted(t, "b", time.Now())); !errors.Is(err, task.ErrExists) {
				return fmt.Errorf("%v, want ErrExists", err)
			}
			return nil
		}},
		{"commit of the same size", 4, func() (err error) { r, err = db.Commit(ctx, r); return err }},
		{"load", 1, func() error { _, err := db.Load(ctx, "a"); return err }},
		{"first page", 2, list(func(q *task.Query) { q.Count = true })},
		{"first page of a context and state", 3, list(func(q *task.Query) {
			q.Count, q.Context, q.State = true, hashed("a"), a2a.TaskStateSubmitted
		})},
		{"first page of nothing", 3, list(func(q *task.Query) { q.Count, q.Context = true, "nowhere" })},
		{"first page since", 2, list(func(q *task.Query) { q.Count, q.Since = true, time.Now().Add(-time.Hour) })},
		{"later page", 1, list(func(q *task.Query) { q.After = task.Ref{At: time.Now(), ID: "a"} })},
		{"due", 1, func() error { _, err := db.Due(ctx, task.Turns, task.Shard{}, time.Now(), task.Ref{}, 10); return err }},
		{"dead letters", 1, func() error { _, err := db.Dead(ctx, task.DeadQuery{All: true, Limit: 10}); return err }},
		{"first page of a batch", 2, list(func(q *task.Query) { q.Count, q.Context = true, batch })},
		{"create an item", 4, func() error { _, err := db.Create(ctx, accepted(t, task.ItemID(batch, 301), time.Now())); return err }},
		{"open items", 1, func() error {
			if o, err := db.Open(ctx, batch, 1000); err != nil || o != (task.Open{N: 301, Lowest: 1}) {
				return fmt.Errorf("%+v, %w", o, err)
			}
			return nil
		}},
		{"lines of open items", 1, func() error { _, err := db.OpenLines(ctx, batch, 0, 100); return err }},
		{"purge of nothing", 4, func() error { _, err := db.Purge(ctx, time.Now(), 10); return err }},
	} {
		before := db.Ran(ctx)
		if err := op.run(); err != nil {
			t.Errorf("%s: %v", op.name, err)
		}

		const own = 2 // of Ran itself
		if got := db.Ran(ctx) - before - own; got != op.want {
			t.Errorf("%s runs %d statements, want %d", op.name, got, op.want)
		}
	}
}

// A total reads only the owner's rows. Expired tasks of others cost nothing.
func TestTotalReadsRowsOfOneOwner(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{})
	for _, q := range []task.Query{{}, {Context: "c"}, {State: a2a.TaskStateWorking}, {Context: "c", State: a2a.TaskStateWorking}} {
		plan, err := db.Plan(t.Context(), sqlstore.Tallied(q), "someone", q.Context, int64(0), string(q.State))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"SEARCH task USING COVERING INDEX task_expired (owner=? AND expires<?)", "SEARCH tally USING PRIMARY KEY (owner=? AND context=?"} {
			if !strings.Contains(plan, want) {
				t.Errorf("%+v: the plan has no %q:\n%s", q, want, plan)
			}
		}
		if strings.Contains(plan, "SCAN task") || strings.Contains(plan, "SCAN tally") {
			t.Errorf("%+v: the plan scans a whole table:\n%s", q, plan)
		}
	}
}

// Open items are found by the batch and the line in an index that has no other rows. So are the
// dead webhooks of an owner, items included.
func TestOpenItemsAreReadFromTheirIndex(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{})
	for _, q := range []struct{ query, want string }{
		{sqlstore.CountOpen, "SEARCH task USING INDEX task_open (<expr>=? AND <expr><?)\n"},
		{sqlstore.ListOpen, "SEARCH task USING INDEX task_open (<expr>=? AND <expr>>?)\n"},
	} {
		plan, err := db.Plan(t.Context(), q.query, "batch", int64(1), int64(2))
		if err != nil || plan != q.want {
			t.Errorf("the plan is %q, %v, want %q", plan, err, q.want)
		}
	}
	where := db.DeadOf(task.DeadQuery{Owner: "someone"})
	plan, err := db.Plan(t.Context(), "SELECT id, version, head FROM task "+where+" AND (stamp, id) < (?, ?) ORDER BY stamp DESC, id DESC LIMIT ?",
		"someone", int64(0), int64(0), "x", int64(1))
	if want := "SEARCH task USING INDEX task_dead_owner (<expr>=? AND (stamp,id)<(?,?))\n"; err != nil || plan != want {
		t.Errorf("the plan is %q, %v, want %q", plan, err, want)
	}
}

// Totals are exact while contexts grow from a few tasks, which are counted, to many, which
// have tallies. They stay exact while tasks change, expire, are purged and created again.
func TestTalliesOfGrowingContexts(t *testing.T) {
	states := []a2a.TaskState{a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateCompleted, a2a.TaskStateRejected}
	random := rand.New(rand.NewPCG(3, 4))
	now := time.Now()
	db := open(t, file(t), sqlstore.Options{Now: func() time.Time { return now }})
	there := map[string]task.Record{}
	alive := func(r task.Record) bool { return r.Expires.IsZero() || r.Expires.UnixMilli() > now.UnixMilli() }

	for step := range 1500 {
		id := fmt.Sprint("t", random.IntN(300))
		old, known := there[id]
		known = known && alive(old)
		r := plain(id, step) // a fresh one, because a stored record keeps its encoding
		r.Task.ContextID = []string{"large", "large", "small-" + id[len(id)-1:], ""}[random.IntN(4)]
		if known {
			r.Task.ContextID = old.Task.ContextID
		}
		if r.Task.Status.State = states[random.IntN(len(states))]; r.State().Terminal() {
			r.Expires = now.Add(time.Hour)
		}

		var err error
		if r.Version = old.Version; known {
			r, err = db.Commit(t.Context(), r)
		} else {
			r, err = db.Create(t.Context(), r)
		}

		if err != nil {
			t.Fatal(err)
		}

		there[id] = r
		if step%400 == 399 {
			now = now.Add(time.Hour)
		}

		if step%400 == 200 {
			if _, err := db.Purge(t.Context(), now, 1000); err != nil {
				t.Fatal(err)
			}
		}

		if step%50 != 0 {
			continue
		}

		for _, context := range []string{"", "large", "small-1"} {
			for _, state := range append(states, "") {
				want := 0
				for _, r := range there {
					if alive(r) && (context == "" || context == r.Task.ContextID) && (state == "" || state == r.State()) {
						want++
					}
				}

				q := task.Query{Owner: "someone", Context: context, State: state, Limit: 1, Count: true}
				if p, err := db.List(t.Context(), q); err != nil || p.Total != want {
					t.Fatalf("step %d: List(%+v) counts %d, %v, want %d", step, q, p.Total, err, want)
				}
			}
		}
	}

	rows, err := db.Number(t.Context(), "SELECT count(*) FROM tally WHERE context = 'large'")
	if err != nil || rows == 0 {
		t.Errorf("the large context has %d rows of tallies, %v", rows, err)
	}

	for id, old := range there {
		if !alive(old) || !old.Expires.IsZero() {
			continue
		}

		r := plain(id, 0)
		r.Version, r.Task.ContextID, r.Expires = old.Version, old.Task.ContextID, now
		if _, err := db.Commit(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}

	now = now.AddDate(1, 0, 0)
	if _, err := db.Purge(t.Context(), now.Add(time.Second), 1000); err != nil {
		t.Fatal(err)
	}
	if rows, err = db.Number(t.Context(), "SELECT count(*) FROM tally"); err != nil || rows != 0 {
		t.Errorf("after the purge of all tasks there are %d tallies, %v, want none", rows, err)
	}
}

// A count that reads every record ends in time with the error ErrCount, and later calls work.
// The other counts do not read every record.
func TestCountEndsInTime(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{CountFor: time.Nanosecond})
	create(t, db, "a")
	q := task.Query{Owner: "someone", Limit: 10, Count: true, Since: time.Now().Add(-time.Hour)}
	for range 10 { // more than the number of readers
		if _, err := db.List(t.Context(), q); !errors.Is(err, task.ErrCount) {
			t.Fatalf("List with a count that takes too long: %v, want %v", err, task.ErrCount)
		}
	}
	q.Since = time.Time{}
	if p, err := db.List(t.Context(), q); err != nil || p.Total != 1 || len(p.Records) != 1 {
		t.Errorf("List = %d records of %d, %v, want 1 of 1", len(p.Records), p.Total, err)
	}

	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := db.List(gone, q); !errors.Is(err, context.Canceled) {
		t.Errorf("List with a cancelled context: %v", err)
	}
}

// A count has a time of its own, however long the page took. The limits are in the order of
// the defaults.
func TestCountBeginsWithItsOwnTime(t *testing.T) {
	const longest = 100 * time.Millisecond
	calls := 0
	db := open(t, file(t), sqlstore.Options{ListFor: longest, CountFor: longest, Now: func() time.Time {
		if calls++; calls == 2 { // the page is read, and its time ends before the count begins
			time.Sleep(2 * longest)
		}
		return time.Now()
	}})
	create(t, db, "a")

	q := task.Query{Owner: "someone", Limit: 10, Count: true, Since: time.Now().Add(-time.Hour)}
	for {
		calls = 0
		p, err := db.List(t.Context(), q)
		switch {
		case calls < 2 && errors.Is(err, task.ErrSlow): // a busy machine
			continue
		case errors.Is(err, task.ErrCount), err == nil && p.Total == 1:
		default:
			t.Errorf("List counts %d, %v, want 1, or %v", p.Total, err, task.ErrCount)
		}
		return
	}
}

// A file of schema 2 had no tallies.
func TestMigrationTalliesStoredTasks(t *testing.T) {
	var script strings.Builder
	now := time.Now()

	for i := range 30 {
		r := accepted(t, fmt.Sprint("t", i), now)
		r.Task.Status.State = []a2a.TaskState{a2a.TaskStateSubmitted, a2a.TaskStateCompleted, a2a.TaskStateFailed}[i%3]
		enc, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}

		expires := "NULL"
		if i%6 == 1 { // some completed ones have expired and are not purged yet
			expires = fmt.Sprint(now.Add(-time.Hour).UnixMilli())
		}

		fmt.Fprintf(&script, `INSERT INTO task (id, version, owner, context, state, stamp, expires, head, body)
			VALUES ('%s', 1, 'owner%d', 'c%d', '%s', %d, %s, x'%x', x'%x');`, r.ID(), i%2, i%5, r.State(), now.UnixMilli()+int64(i), expires, enc.Head, enc.Body)
	}

	path := file(t)
	if err := sqlstore.OldFile(t.Context(), path, 2, script.String()); err != nil {
		t.Fatal(err)
	}

	db := open(t, path, sqlstore.Options{})
	for _, c := range []struct {
		query task.Query
		want  int
	}{
		{task.Query{Owner: "owner0"}, 15},
		{task.Query{Owner: "owner1"}, 10},
		{task.Query{Owner: "owner1", State: a2a.TaskStateCompleted}, 0},
		{task.Query{Owner: "owner0", State: a2a.TaskStateCompleted}, 5},
		{task.Query{Owner: "owner0", Context: "c0"}, 3},
		{task.Query{Owner: "owner0", Context: "c0", State: a2a.TaskStateFailed}, 1},
		{task.Query{Owner: "owner2"}, 0},
	} {
		c.query.Count, c.query.Limit = true, 1
		if p, err := db.List(t.Context(), c.query); err != nil || p.Total != c.want {
			t.Errorf("List(%+v) counts %d, %v, want %d", c.query, p.Total, err, c.want)
		}
	}

	if n, err := db.Purge(t.Context(), now, 100); err != nil || n != 5 {
		t.Errorf("Purge = %d, %v, want 5", n, err)
	}
	if p, err := db.List(t.Context(), task.Query{Owner: "owner1", Count: true, Limit: 1}); err != nil || p.Total != 10 {
		t.Errorf("after the purge List counts %d, %v, want 10", p.Total, err)
	}
}
