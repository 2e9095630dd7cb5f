package sweep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/functions/sweep"
	"errand/shared/adapters/sqlstore"
	"errand/shared/kv"
	"errand/shared/lab/world"
	"errand/shared/task"
)

var errKilled = errors.New("the process was killed")

// A broken store and its entries answer with the error of the hook, which is called before
// each call that a purge makes for tasks, and names it.
type broken struct {
	*sqlstore.DB
	hook func(call string) error
}

func (b broken) Replaced(ctx context.Context, l task.Lapsed) (bool, error) {
	if err := b.hook("Replaced"); err != nil {
		return false, err
	}
	return b.DB.Replaced(ctx, l)
}

func (b broken) Remove(ctx context.Context, list []task.Lapsed) (int, error) {
	if err := b.hook("Remove"); err != nil {
		return 0, err
	}
	return b.DB.Remove(ctx, list)
}

func (b broken) KV() kv.Store { return brokenKV{b.DB.KV(), b.hook} }

type brokenKV struct {
	kv.Store
	hook func(call string) error
}

func (b brokenKV) List(ctx context.Context, prefix, after string, limit int) ([]kv.Entry, error) {
	if err := b.hook("List " + prefix); err != nil {
		return nil, err
	}
	return b.Store.List(ctx, prefix, after, limit)
}

func (b brokenKV) Delete(ctx context.Context, key string, version int64) error {
	if err := b.hook("Delete " + key); err != nil {
		return err
	}
	return b.Store.Delete(ctx, key, version)
}

// step stores steps of tasks, in one commit.
func step(t *testing.T, db *sqlstore.DB, keys ...string) {
	t.Helper()
	var wg sync.WaitGroup
	for _, key := range keys {
		wg.Go(func() {
			if _, err := db.KV().Put(context.Background(), kv.Entry{Key: key, Value: []byte("x")}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// stepsOf lists the keys of all steps.
func stepsOf(t *testing.T, db *sqlstore.DB) (keys []string) {
	t.Helper()
	for after := ""; ; {
		list, err := db.KV().List(t.Context(), "step/", after, kv.LimitCount)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return keys
		}
		for _, e := range list {
			keys, after = append(keys, e.Key), e.Key
		}
	}
}

// stored lists the ids of all records, expired ones too.
func stored(t *testing.T, db *sqlstore.DB) (ids []string) {
	t.Helper()
	list, err := db.Expired(t.Context(), task.Shard{}, start.AddDate(100, 0, 0), task.Ref{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return ids
}

// ended stores tasks that ended at the start.
func ended(t *testing.T, db *sqlstore.DB, ids ...string) {
	t.Helper()
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() { // side by side they share commits
			accept(t, db, id, start)
			finish(t, db, id, start, a2a.TaskStateCompleted)
		})
	}
	wg.Wait()
}

// Tasks and their steps go an hour after the expiry, and not before. Steps of other tasks and
// entries of other kinds stay, and expired entries go at once (R16i).
func TestStepsArePurgedWithTheirTask(t *testing.T) {
	now := start
	clock := func() time.Time { return now }
	db := open(t, clock)
	ended(t, db, "a", "b", "none", "A/b c")
	accept(t, db, "open", start)
	step(t, db, "step/a/l1/000001", "step/a/l1/000002", "step/a/l2/000001", "step/b/l1/000001", "step/open/l1/000001", "use/a/x")
	step(t, db, "step/ab/l1/000001") // of a task that is to come
	if _, err := db.KV().Put(t.Context(), kv.Entry{Key: "card/x", Expires: start.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}

	s := newSweep(db, &world.Jobs{}, clock)
	now = start.Add(rules.Retention + time.Hour)
	run(s, task.Deliveries, now)
	if ids := stored(t, db); len(ids) != 4 || len(stepsOf(t, db)) != 6 {
		t.Errorf("within the hour there are the tasks %q and the steps %q, want all", ids, stepsOf(t, db))
	}
	if n, err := db.KV().Purge(t.Context(), now, 10); n != 0 || err != nil {
		t.Errorf("the sweep has left %d expired entries, %v", n, err)
	}

	now = now.Add(time.Second)
	run(s, task.Deliveries, now)
	if ids := stored(t, db); len(ids) != 0 {
		t.Errorf("after the hour there are the tasks %q", ids)
	}
	if d := cmp.Diff([]string{"step/ab/l1/000001", "step/open/l1/000001"}, stepsOf(t, db)); d != "" {
		t.Errorf("steps that are left (-want +got):\n%s", d)
	}
	if _, err := db.KV().Get(t.Context(), "use/a/x"); err != nil {
		t.Errorf("an entry of another kind: %v", err)
	}
}

// many stores three expired tasks, of which one has more steps than a page has entries.
func many(t *testing.T, db *sqlstore.DB) {
	t.Helper()
	ended(t, db, "a", "b", "none")
	keys := []string{"step/b/l1/000001", "step/b/l2/000001"}
	for i := range 105 {
		keys = append(keys, fmt.Sprintf("step/a/l1/%06d", i))
	}
	step(t, db, keys...)
}

// A purge that dies before any of its calls leaves no step without its record, and the next
// one deletes the rest.
func TestPurgeThatIsKilled(t *testing.T) {
	now := start.Add(rules.Retention + 2*time.Hour)
	clock := func() time.Time { return now }
	killed := 0
	for n := int64(1); ; n += 1 + n/10 {
		db := open(t, clock)
		many(t, db)
		var calls atomic.Int64
		dies := broken{db, func(string) error {
			if calls.Add(1) >= n {
				return errKilled
			}
			return nil
		}}
		run(newSweep(dies, &world.Jobs{}, clock), task.Turns, now)

		ids := stored(t, db)
		for _, key := range stepsOf(t, db) {
			if !slices.Contains(ids, strings.Split(key, "/")[1]) {
				t.Fatalf("killed before call %d, the purge has left %s without its task: %q are left", n, key, ids)
			}
		}

		run(newSweep(db, &world.Jobs{}, clock), task.Turns, now)
		if ids, keys := stored(t, db), stepsOf(t, db); len(ids)+len(keys) > 0 {
			t.Fatalf("after one that was killed before call %d, a purge has left %q and %q", n, ids, keys)
		}
		if calls.Load() < n { // nothing was killed
			break
		}
		killed++
	}
	if killed < 20 {
		t.Errorf("the purge was killed at %d places, too few for this test", killed)
	}
}

// A message that comes again makes a task with the id of the expired one, at any time of a
// purge. The new task and its steps stay, and what is left of the old one goes with the new
// one.
func TestTaskThatBeginsAnewDuringItsPurge(t *testing.T) {
	replaced := 0
	for n := int64(1); ; n += 1 + n/10 {
		now := start.Add(rules.Retention + 2*time.Hour)
		clock := func() time.Time { return now }
		db := open(t, clock)
		many(t, db)
		var calls atomic.Int64
		begun := []string{"step/a/a0/000001", "step/a/z0/000001"} // before and behind those of the old one
		meanwhile := broken{db, func(string) error {
			if calls.Add(1) == n {
				accept(t, db, "a", now)
				step(t, db, begun...)
			}
			return nil
		}}
		run(newSweep(meanwhile, &world.Jobs{}, clock), task.Turns, now)
		if calls.Load() < n {
			break
		}
		replaced++

		if _, err := db.Load(t.Context(), "a"); err != nil {
			t.Fatalf("the task that began before call %d: %v", n, err)
		}
		for _, key := range begun {
			if _, err := db.KV().Get(t.Context(), key); err != nil {
				t.Fatalf("the task that began before call %d has lost %s: %v", n, key, err)
			}
		}

		finish(t, db, "a", now, a2a.TaskStateCompleted)
		now = now.Add(rules.Retention + 2*time.Hour)
		run(newSweep(db, &world.Jobs{}, clock), task.Turns, now)
		if ids, keys := stored(t, db), stepsOf(t, db); len(ids)+len(keys) > 0 {
			t.Fatalf("of tasks one of which began anew before call %d there are left %q and %q", n, ids, keys)
		}
	}
	if replaced < 20 {
		t.Errorf("the task began anew at %d places, too few for this test", replaced)
	}
}

// Tasks whose steps cannot be deleted do not keep the others, even if they are the first
// ones. They are reported, and stay.
func TestStepsThatCannotBeDeleted(t *testing.T) {
	now := start
	clock := func() time.Time { return now }
	db := open(t, clock)
	var want []string
	for i := range 60 {
		want = append(want, fmt.Sprintf("bad%02d", i))
	}
	all := slices.Clone(want)
	for i := range 500 { // with the others more than a page
		all = append(all, fmt.Sprintf("good%03d", i))
	}
	ended(t, db, all...)
	step(t, db, "step/good470/l1/000001", "step/bad07/l1/000001")

	var log bytes.Buffer
	bad := broken{db, func(call string) error {
		if strings.HasPrefix(call, "List step/bad") {
			return errors.New("columns are damaged")
		}
		return nil
	}}
	s := newSweep(bad, &world.Jobs{}, clock, func(c *sweep.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	now = start.Add(rules.Retention + 2*time.Hour)
	run(s, task.Turns, now)

	if d := cmp.Diff(want, stored(t, db)); d != "" {
		t.Errorf("tasks that are left (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"step/bad07/l1/000001"}, stepsOf(t, db)); d != "" {
		t.Errorf("steps that are left (-want +got):\n%s", d)
	}
	if n := strings.Count(log.String(), "cannot be deleted"); n != len(want) || !strings.Contains(log.String(), "purged=500") {
		t.Errorf("%d tasks are reported, want %d and 500 that were purged:\n%s", n, len(want), log.String())
	}
}

// If the entries cannot be reached, the purge ends early and removes no task with steps.
func TestPurgeDuringAnOutage(t *testing.T) {
	now := start
	clock := func() time.Time { return now }
	db := open(t, clock)
	const all = 300
	var ids []string
	for i := range all {
		ids = append(ids, fmt.Sprint("t", i))
	}
	ended(t, db, ids...)

	var asked atomic.Int64
	down := broken{db, func(call string) error {
		if !strings.HasPrefix(call, "List") {
			return nil
		}
		asked.Add(1)
		return errors.New("not reached")
	}}
	now = start.Add(rules.Retention + 2*time.Hour)
	run(newSweep(down, &world.Jobs{}, clock), task.Turns, now)
	if n := asked.Load(); n > 150 {
		t.Errorf("the purge went on for %d tasks, want about 100", n)
	}
	if ids := stored(t, db); len(ids) != all {
		t.Errorf("%d tasks are left, want all %d", len(ids), all)
	}
}
