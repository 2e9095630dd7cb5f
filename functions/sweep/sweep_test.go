package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/functions/sweep"
	"errand/shared/adapters/sqlstore"
	"errand/shared/desk"
	"errand/shared/kv"
	"errand/shared/lab/faulty"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
)

// start is the time at which a synctest bubble begins, and the other clocks of these tests.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

var rules = task.Defaults()

// list describes the jobs since the last call by lane, task and wait.
func list(q *world.Jobs, now time.Time) []string {
	var out []string
	for _, j := range q.Take() {
		wait := time.Duration(0)
		if !j.At.IsZero() {
			wait = j.At.Sub(now)
		}
		out = append(out, fmt.Sprintf("%s %s%s %v", j.Queue, j.Task, j.Path, wait))
	}
	slices.Sort(out)
	return out
}

// open opens an empty store.
func open(t *testing.T, now func() time.Time) *sqlstore.DB {
	t.Helper()
	return world.New(t, world.Config{Now: now}).Store
}

// A keeper has entries beside its records.
type keeper interface{ KV() kv.Store }

// newSweep makes a sweep with a desk of its own.
func newSweep(store sweep.Store, q queue.Queue, now func() time.Time, edit ...func(*sweep.Config)) *sweep.Sweep {
	quiet := slog.New(slog.DiscardHandler)
	c := sweep.Config{Desk: desk.New(desk.Config{Store: store, Queue: q, Rules: rules, Now: now, Log: quiet}), Store: store, Queue: q}
	if s, ok := store.(keeper); ok {
		c.KV = s.KV()
	}
	for _, f := range edit {
		f(&c)
	}
	return sweep.New(c)
}

// accept stores a task accepted at the given time.
func accept(t *testing.T, db task.Store, id string, at time.Time, hooks ...task.Webhook) task.Record {
	t.Helper()
	return world.Accept(t, db, rules.At(at), task.Acceptance{ID: id, Webhooks: hooks})
}

// claim claims a task's turn.
func claim(t *testing.T, db task.Store, id string, at time.Time, lease time.Duration) {
	t.Helper()
	world.Claim(t, db, id, rules.At(at), lease)
}

// finish ends a task in the state.
func finish(t *testing.T, db task.Store, id string, at time.Time, state a2a.TaskState) {
	t.Helper()
	world.Finish(t, db, id, rules.At(at), nil, task.Outcome{State: state})
}

// run delivers a sweep job.
func run(s *sweep.Sweep, lane string, added time.Time) int {
	return post(s, string(queue.Job{Queue: lane, Path: queue.PathSweep, Sweep: added}.Body()))
}

func post(s *sweep.Sweep, body string) int {
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, queue.PathSweep, strings.NewReader(body)))
	return rec.Code
}

// indebted stores tasks with all kinds of debts at the given time.
func indebted(t *testing.T, db task.Store, now time.Time) {
	hook := task.Webhook{ID: "h", URL: "https://x.test"}
	accept(t, db, "lost", now.Add(-10*time.Minute))
	accept(t, db, "fresh", now.Add(-20*time.Second))
	accept(t, db, "leased", now.Add(-9*time.Minute))
	claim(t, db, "leased", now.Add(-8*time.Minute), time.Hour)
	accept(t, db, "crashed", now.Add(-9*time.Minute))
	claim(t, db, "crashed", now.Add(-8*time.Minute), 5*time.Minute)
	accept(t, db, "expiring", now.Add(-9*time.Minute))
	claim(t, db, "expiring", now.Add(-8*time.Minute), 8*time.Minute+30*time.Second)

	accept(t, db, "done", now.Add(-9*time.Minute))
	finish(t, db, "done", now.Add(-8*time.Minute), a2a.TaskStateCompleted)
	accept(t, db, "asking", now.Add(-9*time.Minute))
	finish(t, db, "asking", now.Add(-8*time.Minute), a2a.TaskStateInputRequired)
	accept(t, db, "untold", now.Add(-9*time.Minute), hook)
	finish(t, db, "untold", now.Add(-8*time.Minute), a2a.TaskStateCompleted)

	for id, wait := range map[string]time.Duration{"retry": 30 * time.Second, "hours": 2 * time.Hour} {
		accept(t, db, id, now.Add(-9*time.Minute), hook)
		finish(t, db, id, now.Add(-8*time.Minute), a2a.TaskStateCompleted)
		world.Update(t, db, id, func(r task.Record) (task.Record, bool, error) {
			return r.Delivered(rules.At(now), []task.Delivery{{Webhook: r.Webhooks[0], Fail: true, Wait: now.Add(wait)}})
		})
	}

	// It owes its notification twice: to the webhook and, above Published, to the topic.
	accept(t, db, "cancelled", now.Add(-9*time.Minute), hook)
	world.Update(t, db, "cancelled", func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(rules.At(now.Add(-8*time.Minute)), a2a.NewMessage(a2a.MessageRoleAgent), nil)
	})

	// The same, but due in the lane of turns, because the webhook waits for its next attempt.
	accept(t, db, "both", now.Add(-9*time.Minute), hook)
	world.Update(t, db, "both", func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(rules.At(now.Add(-8*time.Minute)), a2a.NewMessage(a2a.MessageRoleAgent), nil)
	})

	world.Update(t, db, "both", func(r task.Record) (task.Record, bool, error) {
		return r.Delivered(rules.At(now.Add(-8*time.Minute)), []task.Delivery{{Webhook: r.Webhooks[0], Fail: true, Wait: now.Add(20 * time.Second)}})
	})
}

// A sweep enqueues the records that were due, and only once.
//
// Shows decision 5.
func TestSweepEnqueuesDueRecords(t *testing.T) {
	now := start.Add(10 * time.Minute)
	clock := func() time.Time { return now }
	db := open(t, clock)
	indebted(t, db, now)
	q := &world.Jobs{}
	s := newSweep(db, q, clock)
	run(s, task.Turns, now)
	want := []string{"turns both/turns 0s", "turns crashed/turns 0s", "turns lost/turns 0s"}
	if diff := cmp.Diff(want, list(q, now)); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}

	run(s, task.Deliveries, now)
	want = []string{"deliveries cancelled/deliveries 0s", "deliveries untold/deliveries 0s", "turns cancelled/turns 0s"}
	if diff := cmp.Diff(want, list(q, now)); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}

	// A job that was enqueued is not enqueued again within its patience.
	now = now.Add(59 * time.Second)
	run(s, task.Turns, now)
	if diff := cmp.Diff([]string{"turns expiring/turns 0s", "turns fresh/turns 0s"}, list(q, now)); diff != "" {
		t.Errorf("a minute later (-want +got):\n%s", diff)
	}

	// The next one for the same debts has twice the patience.
	now = now.Add(60 * time.Second)
	run(s, task.Turns, now)
	if diff := cmp.Diff([]string(nil), list(q, now)); diff != "" {
		t.Errorf("almost two minutes later (-want +got):\n%s", diff)
	}

	now = now.Add(time.Second)
	run(s, task.Turns, now.Add(time.Hour)) // a wrong clock
	if diff := cmp.Diff([]string{"turns crashed/turns 0s", "turns lost/turns 0s"}, list(q, now)); diff != "" {
		t.Errorf("two minutes later (-want +got):\n%s", diff)
	}

	// By now a record is due in both lanes. One sweep asks for all that is due.
	run(s, task.Deliveries, now)
	both := slices.DeleteFunc(list(q, now), func(job string) bool { return !strings.Contains(job, "both") })
	if diff := cmp.Diff([]string{"deliveries both/deliveries 0s", "turns both/turns 0s"}, both); diff != "" {
		t.Errorf("in both lanes (-want +got):\n%s", diff)
	}
}

// A sweep goes by the time at which it was enqueued, because the jobs of records that became
// due since may wait behind it.
func TestSweepGoesByTheTimeItWasAdded(t *testing.T) {
	now := start.Add(time.Hour)
	clock := func() time.Time { return now }
	db := open(t, clock)
	accept(t, db, "before", start)
	accept(t, db, "after", start.Add(2*time.Minute))
	q := &world.Jobs{}
	s := newSweep(db, q, clock)
	run(s, task.Turns, start.Add(2*time.Minute))
	if diff := cmp.Diff([]string{"turns before/turns 0s"}, list(q, now)); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

func TestSweepTakesTheOldestFirst(t *testing.T) {
	now := start.Add(time.Hour)
	clock := func() time.Time { return now }
	db := open(t, clock)
	for i := range 40 {
		accept(t, db, fmt.Sprintf("t%02d", i), start.Add(time.Duration(39-i)*time.Second))
	}
	q := &world.Jobs{}
	s := newSweep(db, q, clock, func(c *sweep.Config) { c.Limit = 3 })
	for _, want := range [][]string{{"t37", "t38", "t39"}, {"t34", "t35", "t36"}} {
		run(s, task.Turns, now)
		var got []string
		for _, one := range list(q, now) {
			got = append(got, one[6:9])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
	}
}

// A refill enqueues all debts that are due within a minute, and writes no record.
func TestRefill(t *testing.T) {
	now := start.Add(10 * time.Minute)
	clock := func() time.Time { return now }
	db := open(t, clock)
	indebted(t, db, now)
	before, err := db.Load(t.Context(), "lost")
	if err != nil {
		t.Fatal(err)
	}

	q := &world.Jobs{}
	s := newSweep(db, q, clock, func(c *sweep.Config) { c.Limit = 1 })

	for range 2 { // no record is written, so the second refill finds the same debts
		s.Refill(t.Context(), task.Turns)
		want := []string{
			"deliveries both/deliveries 20s", "turns both/turns 0s", "turns crashed/turns 0s",
			"turns expiring/turns 30s", "turns fresh/turns 0s", "turns lost/turns 0s",
		}
		if diff := cmp.Diff(want, list(q, now)); diff != "" {
			t.Errorf("turns (-want +got):\n%s", diff)
		}

		s.Refill(t.Context(), task.Deliveries)
		want = []string{
			"deliveries cancelled/deliveries 0s", "deliveries retry/deliveries 30s", "deliveries untold/deliveries 0s", "turns cancelled/turns 0s",
		}
		if diff := cmp.Diff(want, list(q, now)); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	}

	if after, err := db.Load(t.Context(), "lost"); err != nil || after.Version != before.Version {
		t.Errorf("the record was written: version %d, then %d, %v", before.Version, after.Version, err)
	}

	q.FailAfter(2)
	s.Refill(t.Context(), task.Turns)
	if n := len(list(q, now)); n != 2 {
		t.Errorf("%d jobs after the queue failed, want 2", n)
	}
}

// A pass ends when the queue fails, instead of a thousand failures. Later sweeps enqueue the
// remaining records.
func TestFailedAddEndsThePass(t *testing.T) {
	now := start.Add(time.Hour)
	clock := func() time.Time { return now }
	db := open(t, clock)
	for i := range 1000 {
		go accept(t, db, fmt.Sprintf("t%d", i), start)
	}

	for n := 0; n < 1000; {
		refs, err := db.Due(t.Context(), task.Turns, task.Shard{}, now, task.Ref{}, 2000)
		if n = len(refs); err != nil {
			t.Fatal(err)
		}
	}

	q := &world.Jobs{}
	q.FailAfter(10)
	s := newSweep(db, q, clock)
	if code := run(s, task.Turns, now); code != http.StatusNoContent {
		t.Errorf("answered %d, want 204", code)
	}

	due, err := db.Due(t.Context(), task.Turns, task.Shard{}, now, task.Ref{}, 2000)
	if err != nil || len(due) < 900 {
		t.Errorf("%d are still due, %v; the pass went on", len(due), err)
	}

	q.FailAfter(-1)
	for range 3 { // the first finds the rest, a later one the records whose job failed
		run(s, task.Turns, now)
		now = now.Add(2 * time.Minute)
	}

	told := map[string]bool{}
	for _, job := range list(q, now) {
		told[job] = true
	}

	if len(told) != 1000 {
		t.Errorf("%d of 1000 put back in the end", len(told))
	}
}

// A hundred concurrent sweeps enqueue each record once.
func TestConcurrentSweeps(t *testing.T) {
	now := start.Add(time.Hour)
	clock := func() time.Time { return now }
	db := open(t, clock)
	for i := range 20 {
		accept(t, db, fmt.Sprintf("t%d", i), start)
	}
	q := &world.Jobs{}
	s := newSweep(db, q, clock)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { run(s, task.Turns, now) })
	}
	wg.Wait()
	if n := len(list(q, now)); n != 20 {
		t.Errorf("%d jobs added for 20 tasks", n)
	}
}

// A record that cannot be read does not block the others.
func TestSpoiledRecords(t *testing.T) {
	now := start.Add(time.Hour)
	clock := func() time.Time { return now }
	db := open(t, clock)
	for i := range 10 {
		accept(t, db, fmt.Sprintf("bad%d", i), start)
	}
	accept(t, db, "good", start.Add(time.Second))
	q := &world.Jobs{}
	spoiled := func(task.Record) (task.Record, error) { return task.Record{}, errors.New("decoding record") }
	s := newSweep(bad(db, spoiled), q, clock, func(c *sweep.Config) { c.Limit = 5 })
	for _, put := range []func(){
		func() { s.Refill(t.Context(), task.Turns) },
		func() { run(s, task.Turns, now) },
	} {
		put()
		if diff := cmp.Diff([]string{"turns good/turns 0s"}, list(q, now)); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
	}
}

// bad returns a store in which the records whose ids begin with bad pass through load.
func bad(db *sqlstore.DB, load func(task.Record) (task.Record, error)) sweep.Store {
	return struct {
		faulty.Store
		task.Chores
		keeper
	}{faulty.Loading(db, func(r task.Record) (task.Record, error) {
		if strings.HasPrefix(r.ID(), "bad") {
			return load(r)
		}
		return r, nil
	}), db, db}
}

// Many records of another version do not block the others.
func TestRecordsOfOtherVersions(t *testing.T) {
	now := start.Add(time.Hour)
	clock := func() time.Time { return now }
	for name, load := range map[string]func(task.Record) (task.Record, error){
		"newer":      faulty.Newer,
		"unreadable": faulty.Unreadable,
	} {
		db := open(t, clock)
		for i := range 150 {
			accept(t, db, fmt.Sprintf("bad%d", i), start)
		}
		accept(t, db, "good", start.Add(time.Second))
		q := &world.Jobs{}
		began := time.Now()
		run(newSweep(bad(db, load), q, clock), task.Turns, now)
		if diff := cmp.Diff([]string{"turns good/turns 0s"}, list(q, now)); diff != "" {
			t.Errorf("%s, after %v (-want +got):\n%s", name, time.Since(began), diff)
		}
	}
}

// A job that cannot be a sweep is dropped.
func TestBadJobs(t *testing.T) {
	db := open(t, nil)
	s := newSweep(db, &world.Jobs{}, time.Now)
	for _, body := range []string{``, `{`, `[]`, `{"id":"t1"}`, `{"queue":"turns"}`, `{"queue":"nope","sweep":"2000-01-01T00:00:00Z"}`, strings.Repeat("x", 1<<20)} {
		if code := post(s, body); code != http.StatusNoContent {
			t.Errorf("%.40q answered %d, want 204", body, code)
		}
	}
}

// Only tasks that expired an hour ago are deleted.
//
// Shows AU12, decision 30.
func TestExpiredTasksAreDeleted(t *testing.T) {
	now := start
	clock := func() time.Time { return now }
	db := open(t, clock)

	for i := range 200 {
		id := fmt.Sprintf("old%d", i)
		accept(t, db, id, start)
		finish(t, db, id, start, a2a.TaskStateCompleted)
	}

	accept(t, db, "young", start)
	finish(t, db, "young", start.Add(2*time.Minute), a2a.TaskStateCompleted)
	accept(t, db, "open", start)
	q := &world.Jobs{}
	q.FailAfter(0)
	s := newSweep(db, q, clock)
	now = start.Add(rules.Retention + time.Hour + time.Minute)
	run(s, task.Deliveries, now)
	now = start // so that the store hides no expired task

	var left []string
	page, err := db.List(t.Context(), task.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}

	for _, r := range page.Records {
		left = append(left, r.ID())
	}

	slices.Sort(left)
	if diff := cmp.Diff([]string{"open", "young"}, left); diff != "" {
		t.Errorf("tasks that are left (-want +got):\n%s", diff)
	}
}

// Run enqueues a sweep in each lane every minute, and ends with its context.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &world.Jobs{}
		s := newSweep(nil, q, time.Now)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() { defer close(ended); s.Run(ctx, time.Minute) }()
		time.Sleep(150 * time.Second)
		stop()
		<-ended
		var got []string
		for _, j := range q.All() {
			got = append(got, fmt.Sprintf("%s %s %v", j.Queue, j.Path, j.Sweep.Sub(start)))
		}

		var want []string
		for _, minute := range []string{"1m0s", "2m0s"} {
			for _, lane := range []string{task.Turns, task.Deliveries, task.Batches, task.Bulk} {
				want = append(want, lane+" /sweep "+minute)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
	})
}
