package faulty_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/faulty"
	"errand/shared/task"
)

func open(t *testing.T) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func record(id string) task.Record {
	return task.Record{Owner: "me", Task: &a2a.Task{ID: a2a.TaskID(id), ContextID: "c", Status: a2a.TaskStatus{State: a2a.TaskStateSubmitted}}}
}

func create(t *testing.T, s task.Store, id string) task.Record {
	t.Helper()
	r, err := s.Create(t.Context(), record(id))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// calls has one call of each method, on the record r. Each returns the error of the call.
func calls(ctx context.Context, s task.Store, r task.Record) map[faulty.Op]func() error {
	return map[faulty.Op]func() error{
		faulty.Create: func() error { _, err := s.Create(ctx, record("new")); return err },
		faulty.Load:   func() error { _, err := s.Load(ctx, r.ID()); return err },
		faulty.Commit: func() error { _, err := s.Commit(ctx, r); return err },
		faulty.List:   func() error { _, err := s.List(ctx, task.Query{Owner: "me", Limit: 1}); return err },

		faulty.Watch: func() error {
			for _, err := range s.Watch(ctx, r.ID()) {
				return err
			}
			return nil
		},
	}
}

func TestWithoutHooksTheStoreIsUnchanged(t *testing.T) {
	db := open(t)
	r := create(t, db, "a")
	for op, call := range calls(t.Context(), faulty.Store{Store: db}, r) {
		if err := call(); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestRefusingRefusesOneMethodAndDoesNotCallTheStore(t *testing.T) {
	full := errors.New("the disk is full")
	for _, op := range []faulty.Op{faulty.Create, faulty.Load, faulty.Commit, faulty.Watch, faulty.List} {
		db := open(t)
		r := create(t, db, "a")
		for other, call := range calls(t.Context(), faulty.Refusing(db, op, full), r) {
			want := error(nil)
			if other == op {
				want = full
			}
			if err := call(); !errors.Is(err, want) {
				t.Errorf("refusing %s: %s = %v, want %v", op, other, err, want)
			}
		}

		if _, err := db.Load(t.Context(), "new"); (err == nil) != (op != faulty.Create) {
			t.Errorf("refusing %s: Load of the created record = %v", op, err)
		}
		if got, err := db.Load(t.Context(), "a"); err != nil || (got.Version == r.Version) != (op == faulty.Commit) {
			t.Errorf("refusing %s: the record has version %d after %d, %v", op, got.Version, r.Version, err)
		}
	}
}

func TestLosingAppliesTheCallsAndLosesTheirAnswers(t *testing.T) {
	db := open(t)
	s := faulty.Losing(db, faulty.Create, 1)
	if _, err := s.Create(t.Context(), record("a")); !errors.Is(err, faulty.ErrLost) {
		t.Errorf("the first Create = %v, want ErrLost", err)
	}
	if _, err := db.Load(t.Context(), "a"); err != nil {
		t.Errorf("the record of the lost answer: %v", err)
	}
	if _, err := s.Create(t.Context(), record("a")); !errors.Is(err, task.ErrExists) {
		t.Errorf("Create again = %v, want ErrExists", err)
	}
	if _, err := s.Create(t.Context(), record("b")); err != nil {
		t.Errorf("the second record: %v", err)
	}
}

func TestLoadingChangesLoadedRecords(t *testing.T) {
	db := open(t)
	create(t, db, "a")

	r, err := faulty.Loading(db, faulty.Newer).Load(t.Context(), "a")
	if err != nil || r.Schema <= task.Schema {
		t.Errorf("a newer record = schema %d, %v", r.Schema, err)
	}
	if _, err := db.Commit(t.Context(), r); !errors.Is(err, task.ErrNewer) {
		t.Errorf("Commit of a newer record = %v, want ErrNewer", err)
	}

	if _, err := faulty.Loading(db, faulty.Unreadable).Load(t.Context(), "a"); !errors.Is(err, task.ErrUnreadable) {
		t.Errorf("an unreadable record = %v, want ErrUnreadable", err)
	}
	if _, err := faulty.Loading(db, faulty.Newer).Load(t.Context(), "none"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("a missing record = %v, want ErrNotFound", err)
	}
}

// The hooks see each value of a watch and may end it before the first value or after any.
func TestWatchPassesItsValuesToTheHooks(t *testing.T) {
	db := open(t)
	r := create(t, db, "a")
	broken := errors.New("broken")

	for most := range 3 {
		var got []string

		s := faulty.Store{
			Store: db,
			Before: func(c faulty.Call) error {
				if c.Seen == most {
					return broken
				}
				return nil
			},
			After: func(c faulty.Call, r task.Record, err error) (task.Record, error) {
				r.Owner = "another"
				return r, err
			},
		}

		for v, err := range s.Watch(t.Context(), "a") {
			if err != nil {
				got = append(got, err.Error())
				continue
			}

			got = append(got, v.Owner)
			if r, err = db.Commit(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}

		want := append([]string{"another", "another"}[:most:most], "broken")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("values of a watch that breaks after %d (-want +got):\n%s", most, diff)
		}
	}
}
