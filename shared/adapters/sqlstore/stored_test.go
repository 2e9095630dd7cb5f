package sqlstore_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// owners are the ones of the tests of stored bytes. The last one is the anonymous one.
var owners = []string{"someone", "b", "c", ""}

// countsRight compares the counted bytes of every owner with a full sum, and finds no owner without rows.
func countsRight(t *testing.T, db *sqlstore.DB, when string) {
	t.Helper()
	for _, owner := range owners {
		want, err := db.Number(t.Context(), fmt.Sprintf(
			"SELECT coalesce(sum(octet_length(head) + octet_length(body)), 0) FROM task WHERE coalesce(whose, owner) = '%s'", owner))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := db.Held(t.Context(), owner, 0); err != nil || got.Bytes != want {
			t.Fatalf("%s: Held of %q = %+v, %v, want %d bytes", when, owner, got, err, want)
		}
	}
	n, err := db.Number(t.Context(), "SELECT count(*) FROM stored WHERE owner NOT IN (SELECT coalesce(whose, owner) FROM task)")
	if err != nil || n != 0 {
		t.Fatalf("%s: %d owners without tasks are counted, %v", when, n, err)
	}
}

// sized is a record of some size, which may have a lease or expire at once.
func sized(id, owner string, random *rand.Rand, now time.Time) task.Record {
	r := task.Record{Schema: task.Schema, Owner: owner, Lane: task.Turns, Task: taskOf(id, now)}
	r.Task.History = []*a2a.Message{a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(strings.Repeat("é", random.IntN(3000))))}
	switch random.IntN(6) {
	case 0:
		r.Task.Status.State, r.Expires = a2a.TaskStateCompleted, now
	case 1:
		r.Task.Status.State, r.Epoch = a2a.TaskStateWorking, 1
		r.Lease = task.Lease{Until: now.Add(time.Hour), Nonce: "x"}
	}
	return r
}

// aWrite decides on one write of a random task by what is stored of it now.
func aWrite(t *testing.T, db *sqlstore.DB, random *rand.Rand) func() error {
	t.Helper()
	n, now := random.IntN(24), time.Now()
	id, owner := fmt.Sprint("t", n), owners[n%len(owners)]
	if n%3 == 0 { // an item of a batch
		id = task.ItemID(task.BatchID(owner, "b"), n+1)
	}
	next := sized(id, owner, random, now)
	create := func() error { _, err := db.Create(t.Context(), next); return err }
	commit := func() error { _, err := db.Commit(t.Context(), next); return err }

	r, err := db.Load(t.Context(), id)
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		t.Fatal(err)
	}

	next.Version = r.Version
	switch kind := random.IntN(10); {
	case kind == 0:
		limit := 1 + random.IntN(10)
		return func() error { _, err := db.Purge(t.Context(), now, limit); return err }

	case errors.Is(err, task.ErrDeleted) && kind < 5: // the row of a deleted task is written again
		next = r
		next.Gens++
		return commit

	case err != nil || kind == 1:
		next.Version = 0
		return create

	case kind == 2:
		next.Version--
		return commit

	case kind < 5:
		if next, _, err = bare(r).Delete(task.Defaults().At(now)); err != nil {
			t.Fatal(err)
		}
		if next.Version = r.Version; kind == 3 {
			next.Expires = now
		}
	}
	return commit
}

// openGroup runs some writes as one group. It stays open, with its statements run, until the
// returned function is called. Or the group fails, because there is no room after a few
// statements, and an empty one stays open. Nothing else writes to the file meanwhile.
func openGroup(t *testing.T, db *sqlstore.DB, random *rand.Rand) (end func()) {
	t.Helper()
	var wg sync.WaitGroup
	release, waiting := db.Hold(t.Context()), 0
	run := func(f func() error) {
		wg.Go(func() {
			err := f()
			if err != nil && !errors.Is(err, task.ErrExists) && !errors.Is(err, task.ErrConflict) && !errors.Is(err, task.ErrFull) {
				t.Error(err)
			}
		})
		waiting++
		queued(t, db, waiting)
	}

	var full atomic.Bool
	if full.Store(random.IntN(3) == 0); full.Load() {
		n := random.IntN(12)
		run(func() error { return db.FillAfter(t.Context(), n, full.Load) })
	}
	for range 1 + random.IntN(12) {
		run(aWrite(t, db, random))
	}

	held := make(chan func(), 1)
	if !full.Load() { // a group that fails reaches no later write
		go func() { held <- db.Hold(t.Context()) }()
		waiting++
		queued(t, db, waiting)
	}
	release()

	if full.Load() {
		wg.Wait()
		full.Store(false)
		held <- db.Hold(t.Context())
	}
	last := <-held
	return func() {
		last()
		wg.Wait()
	}
}

// copied copies the file as a process leaves it that is killed now.
func copied(t *testing.T, path string) string {
	t.Helper()
	to := file(t)
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// talliesRight compares the totals of every owner and of every batch with a full count.
func talliesRight(t *testing.T, db *sqlstore.DB, when string) {
	t.Helper()
	for _, owner := range owners {
		for _, batch := range []string{"", task.BatchID(owner, "b")} {
			lister, _ := task.Query{Owner: owner, Context: batch}.Keys()
			want, err := db.Number(t.Context(), fmt.Sprintf("SELECT count(*) FROM task WHERE owner = '%s' AND (expires IS NULL OR expires > %d)", lister, time.Now().UnixMilli()))
			if err != nil {
				t.Fatal(err)
			}
			p, err := db.List(t.Context(), task.Query{Owner: owner, Context: batch, Limit: 1, Count: true})
			if err != nil || int64(p.Total) != want {
				t.Fatalf("%s: the list of %q counts %d, %v, want %d", when, lister, p.Total, err, want)
			}
		}
	}
	n, err := db.Number(t.Context(), "SELECT count(*) FROM tally WHERE typeof(owner) = 'text' AND owner NOT IN (SELECT owner FROM task)")
	if err != nil || n != 0 {
		t.Fatalf("%s: there are %d tallies without tasks, %v", when, n, err)
	}
}

// opensRight compares the open items of every batch with a full count.
func opensRight(t *testing.T, db *sqlstore.DB, when string) {
	t.Helper()
	for _, owner := range owners {
		batch := task.BatchID(owner, "b")
		var want []int
		for n := range 24 {
			r, err := db.Load(t.Context(), task.ItemID(batch, n+1))
			if err == nil && r.Indexed().Open == batch {
				want = append(want, n+1)
			}
		}
		got, err := db.OpenLines(t.Context(), batch, 0, 100)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s: the open items of %q are %v, %v, want %v", when, owner, got, err, want)
		}
		if o, err := db.Open(t.Context(), batch, 24); err != nil || o.N != len(want) {
			t.Fatalf("%s: Open of %q = %+v, %v, want %d", when, owner, o, err, len(want))
		}
	}
}

// Bytes is the full sum after any sequence of writes in any groups: after refused writes,
// groups without room, restarts, and crashes in the middle of a group. So are the totals of
// owners and batches, and the open items.
func TestBytesAreExact(t *testing.T) {
	for _, records := range []int{0, 3, -1} {
		t.Run(fmt.Sprint("cache ", records), func(t *testing.T) {
			random := rand.New(rand.NewPCG(5, uint64(records+9)))
			path, opts := file(t), sqlstore.Options{CacheRecords: records}
			db := open(t, path, opts)

			for step := range 120 {
				end := openGroup(t, db, random)
				if step%10 == 9 {
					path = copied(t, path)
				}
				end()
				countsRight(t, db, fmt.Sprint("step ", step))
				talliesRight(t, db, fmt.Sprint("step ", step))
				opensRight(t, db, fmt.Sprint("step ", step))

				if step%5 != 4 {
					continue
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = open(t, path, opts)
				countsRight(t, db, fmt.Sprint("opened after step ", step))
			}
		})
	}
}

// Bytes is right of a file that was migrated, and after a repair.
func TestBytesOfOtherWriters(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	var script strings.Builder
	for i := range 12 {
		enc, err := sized(fmt.Sprint("t", i), owners[i%len(owners)], random, time.Now()).Encode()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, `INSERT INTO task (id, version, owner, context, state, stamp, head, body)
			VALUES ('t%d', 1, '%s', 'c', 'TASK_STATE_SUBMITTED', 1, x'%x', x'%x');`, i, owners[i%len(owners)], enc.Head, enc.Body)
	}

	path := file(t)
	if err := sqlstore.OldFile(t.Context(), path, 4, script.String()); err != nil {
		t.Fatal(err)
	}

	again := func(when string) {
		t.Helper()
		db := open(t, path, sqlstore.Options{})
		countsRight(t, db, when)
		if when == "migrated" {
			if err := db.Script(t.Context(), `
				UPDATE task SET head = CAST(head AS TEXT), body = CAST(body AS TEXT) WHERE id = 't0';
				UPDATE task SET head = substr(head, 2) || x'20' WHERE id IN ('t1', 't2', 't6')`); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}

	bench := func(do func(b *sqlstore.Bench) error) {
		t.Helper()
		b, err := sqlstore.OpenBench(t.Context(), path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(do(b), b.Close()); err != nil {
			t.Fatal(err)
		}
	}

	again("migrated")
	bench(func(b *sqlstore.Bench) error {
		found, err := b.Unreadable()
		if len(found) != 4 {
			t.Errorf("found %v", found)
		}
		for _, f := range found {
			err = errors.Join(err, b.Mend(f))
		}
		return err
	})
	again("mended")
	bench(func(b *sqlstore.Bench) error {
		aside, err := b.Aside()
		return errors.Join(err, b.Back(aside[0]), b.Drop(aside[1]))
	})
	again("back")
}
