package sweep_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/functions/sweep"
	"errand/shared/adapters/local"
	"errand/shared/adapters/sqlstore"
	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/lab/world"
	"errand/shared/task"
)

// An archive has batches that have ended, with their items, steps, states and files.
type archive struct {
	t      *testing.T
	now    time.Time
	db     *sqlstore.DB
	folder string
	desk   *desk.Desk
	files  *files.Store
}

func newArchive(t *testing.T) *archive {
	a := &archive{t: t, now: start, folder: filepath.Join(t.TempDir(), "files")}
	w := world.New(t, world.Config{Now: a.clock})
	a.db, a.desk = w.Store, w.Desk(w.Store)
	a.files = a.open(func() error { return nil })
	return a
}

func (a *archive) clock() time.Time { return a.now }

// open opens the files. Their first use calls the hook.
func (a *archive) open(hook func() error) *files.Store {
	s := files.New(func(context.Context) (files.Place, error) {
		if err := hook(); err != nil {
			return files.Place{}, err
		}
		return local.OpenFolder(local.FolderConfig{Dir: a.folder})
	}, a.clock)
	a.t.Cleanup(func() { _ = s.Close() })
	return s
}

// filesOf are the names of files of a batch.
func filesOf(id string) []string {
	return []string{batch.IndexFile(id), batch.BadFile(id), batch.ResultsFile(id), batch.ErrorsFile(id), batch.ResultsSegment(id, 0)}
}

// add makes a batch of three items, the last of which never ran, and ends it.
func (a *archive) add(name string, deadline time.Duration) (id string) {
	a.t.Helper()
	must := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	ctx, m := a.t.Context(), rules.At(a.now)
	r, _, err := a.desk.Batch(ctx, "alice", batch.Spec{Name: name, At: a.now, Deadline: a.now.Add(deadline), Input: batch.Input{File: "f", Size: 1}})
	must(err)
	id = r.ID()

	for line := 1; line <= 2; line++ {
		item := task.ItemID(id, line)
		must(a.desk.Feed(ctx, desk.Item{Batch: r, Line: line, Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("go"))}))
		world.Finish(a.t, a.db, item, m, nil, task.Outcome{State: a2a.TaskStateCompleted})
		step(a.t, a.db, "step/"+item+"/l1/000001")
	}

	must(a.desk.Withhold(ctx, r, 3, a2a.TaskStateCanceled, "no"))
	world.Update(a.t, a.db, id, func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(m, a2a.NewMessage(a2a.MessageRoleAgent), nil)
	})
	world.Update(a.t, a.db, id, func(r task.Record) (task.Record, bool, error) { return r.Settle(m) })

	for _, name := range filesOf(id) {
		_, err := a.files.Put(ctx, files.Upload{Name: name, Owner: "alice", MediaType: "application/jsonl"}, strings.NewReader("{}\n"))
		must(err)
	}
	_, err = a.db.KV().Put(ctx, kv.Entry{Key: batch.StateKey(id), Owner: "alice", Value: []byte("{}")})
	must(err)
	return id
}

// left names what is left of a batch.
func (a *archive) left(id string) (what []string) {
	a.t.Helper()
	for _, name := range stored(a.t, a.db) {
		if strings.Contains(name, id) {
			what = append(what, name)
		}
	}
	for _, name := range stepsOf(a.t, a.db) {
		if strings.Contains(name, id) {
			what = append(what, name)
		}
	}
	for _, name := range filesOf(id) {
		if _, in, err := a.files.Get(a.t.Context(), name); err == nil {
			what = append(what, name)
			_ = in.Close()
		}
	}
	if _, err := a.db.KV().Get(a.t.Context(), batch.StateKey(id)); err == nil {
		what = append(what, batch.StateKey(id))
	}
	return what
}

// A batch, its items and its files go together, an hour after the batch has expired. Those of
// other batches stay.
func TestBatchIsPurgedWithItsItemsAndFiles(t *testing.T) {
	a := newArchive(t)
	const parts = 4 + 2 + 5 + 1 // records, steps, files and the state
	id, other := a.add("nightly", time.Hour), a.add("weekly", 7*24*time.Hour)
	s := newSweep(a.db, &world.Jobs{}, a.clock, func(c *sweep.Config) { c.Batches = a.files })

	a.now = start.Add(time.Hour + rules.Retention + time.Hour)
	run(s, task.Turns, a.now)
	if left := a.left(id); len(left) != parts {
		t.Errorf("within the hour %q are left", left)
	}
	a.now = a.now.Add(time.Second)
	run(s, task.Turns, a.now)
	if left := a.left(id); len(left) != 0 {
		t.Errorf("after the hour %q are left", left)
	}
	if left := a.left(other); len(left) != parts {
		t.Errorf("of the other batch %q are left", left)
	}
}

// A purge that dies before any of its calls leaves no file of a batch without its record, and the
// next one deletes the rest.
func TestPurgeOfABatchThatIsKilled(t *testing.T) {
	killed := 0
	for n := int64(1); ; n++ {
		a := newArchive(t)
		id := a.add("nightly", time.Hour)
		a.now = a.now.Add(time.Hour + rules.Retention + 2*time.Hour)
		var calls atomic.Int64
		die := func() error {
			if calls.Add(1) >= n {
				return errKilled
			}
			return nil
		}
		dies := broken{a.db, func(string) error { return die() }}
		run(newSweep(dies, &world.Jobs{}, a.clock, func(c *sweep.Config) { c.Batches = a.open(die) }), task.Turns, a.now)

		records := stored(t, a.db)
		for _, what := range a.left(id) {
			if !slices.Contains(records, id) && (strings.HasPrefix(what, batch.Folder(id)) || what == batch.StateKey(id)) {
				t.Fatalf("killed before call %d, the purge has left %s without its batch: %q", n, what, records)
			}
		}
		run(newSweep(a.db, &world.Jobs{}, a.clock, func(c *sweep.Config) { c.Batches = a.files }), task.Turns, a.now)
		if left := a.left(id); len(left) > 0 {
			t.Fatalf("after one that was killed before call %d, a purge has left %q", n, left)
		}
		if calls.Load() < n { // nothing was killed
			break
		}
		killed++
	}
	if killed < 8 {
		t.Errorf("the purge was killed at %d places, too few for this test", killed)
	}
}

// The job that deletes the items of a deleted batch comes back when it is lost, as every job.
func TestLostJobOfADeletedBatch(t *testing.T) {
	a := newArchive(t)
	id := a.add("deleted", time.Hour)
	world.Update(t, a.db, id, func(r task.Record) (task.Record, bool, error) { return r.Delete(rules.At(a.now)) })
	a.now = a.now.Add(10 * time.Minute)
	q := &world.Jobs{}
	s := newSweep(a.db, q, a.clock)

	want := []string{"batches " + id + "/batch 0s"}
	s.Refill(t.Context(), task.Batches)
	if diff := cmp.Diff(want, list(q, a.now)); diff != "" {
		t.Errorf("a process that starts (-want +got):\n%s", diff)
	}
	for _, jobs := range [][]string{want, nil} { // the second sweep knows of the job of the first one
		if code := run(s, task.Batches, a.now); code >= 300 {
			t.Fatalf("the sweep answers %d", code)
		}
		if diff := cmp.Diff(jobs, list(q, a.now)); diff != "" {
			t.Errorf("the sweep (-want +got):\n%s", diff)
		}
	}
}
