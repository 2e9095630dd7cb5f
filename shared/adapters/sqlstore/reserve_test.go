package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

const mib = 1 << 20

// A disk is a disk of 1 GiB with so many free bytes.
type disk struct{ free int64 }

func (d *disk) space(string) (free, total int64, err error) { return d.free, 1 << 30, nil }

// held is the size of the reserve beside a file.
func held(path string) int64 {
	info, err := os.Stat(path + ".reserve")
	if err != nil {
		return 0
	}
	return info.Size()
}

// A change is one write that a full disk must not stop.
type change struct {
	name string
	do   func(db *sqlstore.DB, id string) error
}

func changes() []change {
	m := task.Defaults().At(time.Now())
	say := a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("stopped"))

	update := func(decide task.Decision) func(*sqlstore.DB, string) error {
		return func(db *sqlstore.DB, id string) error {
			r, err := db.Load(context.Background(), id)
			if err != nil {
				return err
			}

			next, _, err := decide(r)
			if err == nil {
				_, err = db.Commit(context.Background(), next)
			}

			return err
		}
	}

	return []change{
		{"cancel", update(func(r task.Record) (task.Record, bool, error) { return r.Cancel(m, say, nil) })},
		{"delete", update(func(r task.Record) (task.Record, bool, error) { return r.Delete(m) })},
		{"finish", update(func(r task.Record) (task.Record, bool, error) {
			r, _, _, err := r.Claim(m, task.Claim{Lease: task.Lease{Until: m.Now.Add(time.Hour), Nonce: "x"}})
			if err != nil {
				return r, false, err
			}
			return r.Finish(m, task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Outcome{State: a2a.TaskStateCompleted, Message: say})
		})},
	}
}

// The disk is full at each writing statement in turn. With the reserve the change succeeds.
// Without it the change fails whole, and succeeds when there is room again.
func TestFullAtEveryWrite(t *testing.T) {
	for _, with := range []bool{true, false} {
		for _, c := range changes() {
			t.Run(fmt.Sprintf("%s, reserve %t", c.name, with), func(t *testing.T) {
				d, path := &disk{free: 1 << 29}, file(t)
				opts := sqlstore.WithSpace(sqlstore.Options{CacheRecords: -1}, d.space)
				if with {
					opts.Reserve = mib
				}

				db := open(t, path, opts)

				full := false
				for n := range 10 {
					id := fmt.Sprint("t", n)
					before, err := db.Create(t.Context(), accepted(t, id, time.Now()))
					if err != nil {
						t.Fatal(err)
					}

					d.free = 1 << 29
					db.Forget()
					if err := db.Room(t.Context()); err != nil || with && held(path) != mib {
						t.Fatalf("Room: %v, with a reserve of %d", err, held(path))
					}

					was := held(path)
					if err := db.FillAfter(t.Context(), n, func() bool { return full && held(path) == was }); err != nil {
						t.Fatal(err)
					}

					full = true
					err = c.do(db, id)

					switch {
					case with && err != nil:
						t.Errorf("full after %d statements: %v", n, err)
					case !with && err != nil && !errors.Is(err, task.ErrFull):
						t.Errorf("full after %d statements: %v, want ErrFull", n, err)
					case !with && err != nil:
						if now, lerr := db.Load(t.Context(), id); lerr != nil || now.Version != before.Version {
							t.Errorf("a write without room left version %d of %d, %v", now.Version, before.Version, lerr)
						}
					}

					full = false
					if err != nil {
						if err := c.do(db, id); err != nil {
							t.Errorf("with room again: %v", err)
						}
					}
				}
			})
		}
	}
}

// lives are the writes from the acceptance of two tasks to their purge.
func lives(t *testing.T) []change {
	t.Helper()
	var steps []change
	create := change{"create", func(db *sqlstore.DB, id string) error {
		_, err := db.Create(context.Background(), accepted(t, id, time.Now()))
		return err
	}}
	by := map[string]change{}
	for _, c := range changes() {
		by[c.name] = c
	}
	for _, life := range [][]change{{create, by["finish"], by["delete"]}, {create, by["cancel"]}} {
		id := fmt.Sprint("t", len(steps))
		for _, c := range life {
			steps = append(steps, change{c.name, func(db *sqlstore.DB, _ string) error { return c.do(db, id) }})
		}
	}
	return append(steps, change{"purge", func(db *sqlstore.DB, _ string) error {
		n, err := db.PurgeRecords(context.Background(), time.Now().Add(365*24*time.Hour), 10)
		if err == nil && n != 2 {
			err = fmt.Errorf("%d tasks were purged, want 2", n)
		}
		return err
	}})
}

// The disk becomes full at each writing statement of two whole lives in turn, without a
// reserve. The write that is stopped leaves nothing half, and succeeds when there is room.
func TestFullAtEveryWriteOfALife(t *testing.T) {
	const rows = "SELECT coalesce(sum(version), 0) + coalesce((SELECT sum(n) FROM tally), 0) FROM task"
	for n, stopped := 0, true; stopped; n++ {
		if stopped = false; n > 100 {
			t.Fatal("the lives do not end")
		}

		db := open(t, file(t), sqlstore.Options{CacheRecords: -n % 2})
		full := false
		if err := db.FillAfter(t.Context(), n, func() bool { return full }); err != nil {
			t.Fatal(err)
		}

		for _, step := range lives(t) {
			before := reading(t, db, rows)
			full = true
			err := step.do(db, "")
			full = false

			if err != nil {
				stopped = true
				if !errors.Is(err, task.ErrFull) {
					t.Errorf("%s, full after %d statements: %v, want ErrFull", step.name, n, err)
				}
				if after := reading(t, db, rows); after != before {
					t.Errorf("%s, full after %d statements, left %d of %d", step.name, n, after, before)
				}

				if err := step.do(db, ""); err != nil {
					t.Fatalf("%s, with room after %d statements: %v", step.name, n, err)
				}
			}

			countsRight(t, db, fmt.Sprintf("%s, full after %d statements", step.name, n))
		}
	}
}

// reading runs a query with an integer result.
func reading(t *testing.T, db *sqlstore.DB, query string) int64 {
	t.Helper()
	n, err := db.Number(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Messages are refused below the floor and while the reserve is given up. Free pages within
// the file count as room, so that a deletion makes some.
func TestRoom(t *testing.T) {
	d, path := &disk{free: 300 * mib}, file(t)
	db := open(t, path, sqlstore.WithSpace(sqlstore.Options{Reserve: sqlstore.Reserve}, d.space))

	room := func(free int64, want error) {
		t.Helper()
		d.free = free
		db.Forget()
		if err := db.Room(t.Context()); !errors.Is(err, want) {
			t.Errorf("with %d MiB free: %v, want %v", free/mib, err, want)
		}
	}

	room(300*mib, nil)
	if held(path) != sqlstore.Reserve {
		t.Errorf("the reserve has %d bytes", held(path))
	}

	room(64*mib, nil)
	room(64*mib-1, task.ErrFull)

	for i := range 3 {
		r := accepted(t, fmt.Sprint(i), time.Now())
		r.Task.History[0].Parts = a2a.ContentParts{a2a.NewTextPart(strings.Repeat("x", 400<<10))}
		r, err := db.Create(t.Context(), bare(r))
		if err != nil {
			t.Fatal(err)
		}

		next, _, err := r.Delete(task.Defaults().At(time.Now()))
		if err == nil {
			_, err = db.Commit(t.Context(), next)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	room(64*mib-1, nil)

	full := true
	if err := db.FillAfter(t.Context(), 0, func() bool { return full }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Create(t.Context(), accepted(t, "no", time.Now())); !errors.Is(err, task.ErrFull) {
		t.Errorf("Create: %v, want ErrFull", err)
	}

	full = false
	if got := held(path); got != sqlstore.Reserve/8 {
		t.Errorf("after the give-up the reserve has %d bytes, want an eighth", got)
	}

	room(95*mib, task.ErrFull)
	room(96*mib, nil)
	if held(path) != sqlstore.Reserve {
		t.Errorf("the reserve taken back has %d bytes", held(path))
	}
}

// The reserve is for the records that are there: in one group on a full disk they are ended,
// and a new record is refused.
func TestReserveIsNotForNewRecords(t *testing.T) {
	d := &disk{free: 1 << 30}
	path := file(t)
	db := open(t, path, sqlstore.WithSpace(sqlstore.Options{Reserve: sqlstore.Reserve}, d.space))

	for i := range changes() {
		if _, err := db.Create(t.Context(), accepted(t, fmt.Sprint(i), time.Now())); err != nil {
			t.Fatal(err)
		}
	}

	was := held(path)
	const hold = 2 // statements of the group that holds the writer
	if err := db.FillAfter(t.Context(), hold, func() bool { return held(path) == was }); err != nil {
		t.Fatal(err)
	}

	release := db.Hold(t.Context())
	var all sync.WaitGroup

	for i, c := range changes() {
		all.Go(func() {
			if err := c.do(db, fmt.Sprint(i)); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}

	all.Go(func() {
		if _, err := db.Create(t.Context(), accepted(t, "new", time.Now())); !errors.Is(err, task.ErrFull) {
			t.Errorf("Create: %v, want ErrFull", err)
		}
	})

	queued(t, db, len(changes())+1)
	release()
	all.Wait()
	if isStored(t, db, "new") {
		t.Error("the new record is stored")
	}
}

// bare is a record without its stored form, after a test has changed it.
func bare(r task.Record) task.Record {
	return task.Record{Schema: r.Schema, Task: r.Task, Owner: r.Owner, Lane: r.Lane, Requests: r.Requests, Turn: r.Turn,
		Since: r.Since, Seq: r.Seq, Log: r.Log, Asked: r.Asked, Due: r.Due}
}
