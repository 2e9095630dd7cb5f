package sqlstore_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"errand/shared/adapters/sqlstore"
	"errand/shared/kv"
	"errand/shared/lab/conformance"
	"errand/shared/task"
)

func TestKV(t *testing.T) {
	conformance.KV(t, func(t *testing.T, now func() time.Time) func() conformance.Database {
		path := file(t)
		return func() conformance.Database { return open(t, path, sqlstore.Options{Now: now}) }
	})
}

func put(t testing.TB, db *sqlstore.DB, e kv.Entry) kv.Entry {
	t.Helper()
	e, err := db.KV().Put(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// count returns the number of entries in the file, including expired ones.
func count(t testing.TB, db *sqlstore.DB) int64 {
	t.Helper()
	n, err := db.Number(t.Context(), "SELECT count(*) FROM kv")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A model is the simplest implementation of a store of entries.
type model struct {
	now     time.Time
	entries map[string]kv.Entry
}

func (m *model) get(key string) (kv.Entry, error) {
	e, ok := m.entries[key]
	if !ok || !e.Expires.IsZero() && !m.now.Before(e.Expires) {
		return kv.Entry{}, kv.ErrNotFound
	}
	return e, nil
}

// put stores e with the version from the store.
func (m *model) put(e kv.Entry, version int64) error {
	if old, _ := m.get(e.Key); old.Version != e.Version {
		return kv.ErrConflict
	}
	e.Version = version
	m.entries[e.Key] = e
	return nil
}

func (m *model) delete(key string, version int64) error {
	old, err := m.get(key)
	if err == nil && version != 0 && version != old.Version {
		return kv.ErrConflict
	}
	delete(m.entries, key)
	return nil
}

func (m *model) list(prefix, after string, limit int) []kv.Entry {
	var list []kv.Entry
	for key := range m.entries {
		if e, err := m.get(key); err == nil && strings.HasPrefix(key, prefix) && key > after {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b kv.Entry) int { return cmp.Compare(a.Key, b.Key) })
	return list[:min(len(list), limit)]
}

// The store gives the same answers as the model, after any operations in any order.
func TestKVIsTheModel(t *testing.T) {
	m := &model{}
	db := open(t, file(t), sqlstore.Options{Now: func() time.Time { return m.now }})
	begin := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	m.now = begin

	rapid.Check(t, func(rt *rapid.T) {
		*m = model{now: begin, entries: map[string]kv.Entry{}}
		if err := db.Script(t.Context(), "DELETE FROM kv"); err != nil {
			rt.Fatal(err)
		}

		s, versions := db.KV(), []int64{0, 1}
		key := rapid.SampledFrom([]string{"a/a", "a/a/b", "a/a-b", "a/b", "b/a"})
		version := func() int64 {
			return versions[len(versions)-1-min(rapid.IntRange(0, 5).Draw(rt, "versions ago"), len(versions)-1)]
		}

		agree := func(what string, got, want error) {
			if !errors.Is(got, want) {
				rt.Fatalf("%s: %v, want %v", what, got, want)
			}
		}

		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				for k := range maps.Keys(m.entries) {
					got, err := s.Get(t.Context(), k)
					want, werr := m.get(k)
					agree("Get", err, werr)
					if fmt.Sprint(got) != fmt.Sprint(want) {
						rt.Fatalf("Get(%s) = %+v, want %+v", k, got, want)
					}
				}
			},
			"put": func(rt *rapid.T) {
				e := kv.Entry{Key: key.Draw(rt, "key"), Version: version(), Owner: "o", Value: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(rt, "value")}
				if rapid.Bool().Draw(rt, "expires") {
					e.Expires = m.now.Add(time.Duration(rapid.IntRange(-1, 3).Draw(rt, "in")) * time.Millisecond)
				}

				got, err := s.Put(t.Context(), e)
				agree("Put", err, m.put(e, got.Version))
				if err == nil {
					versions = append(versions, got.Version)
				}
			},
			"delete": func(rt *rapid.T) {
				k, v := key.Draw(rt, "key"), version()
				agree("Delete", s.Delete(t.Context(), k, v), m.delete(k, v))
			},
			"list": func(rt *rapid.T) {
				text := rapid.SampledFrom([]string{"", "a", "a/", "a/a", "a/a/", "b/", "c"})
				prefix, after, limit := text.Draw(rt, "prefix"), text.Draw(rt, "after"), rapid.IntRange(1, 6).Draw(rt, "limit")
				got, err := s.List(t.Context(), prefix, after, limit)
				if want := m.list(prefix, after, limit); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					rt.Fatalf("List(%q, %q, %d) = %+v, %v, want %+v", prefix, after, limit, got, err, want)
				}
			},
			"wait": func(rt *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 2).Draw(rt, "ms")) * time.Millisecond)
			},
			"purge": func(rt *rapid.T) {
				if _, err := db.Purge(t.Context(), m.now, rapid.IntRange(0, 2).Draw(rt, "most")); err != nil {
					rt.Fatal(err)
				}
			},
		})
	})
}

// A purge deletes expired records and entries, even if there are more of the other kind than
// it may delete.
func TestPurgeDeletesExpiredEntries(t *testing.T) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	db := open(t, file(t), sqlstore.Options{Now: func() time.Time { return now }})
	kept := put(t, db, kv.Entry{Key: "use/kept"})
	later := put(t, db, kv.Entry{Key: "use/later", Expires: now.Add(time.Hour)})
	const records, entries = 150, 350
	for i := range records {
		r := plain(fmt.Sprint("old-", i), 0)
		r.Expires = now.Add(-time.Hour)
		if _, err := db.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}

	for i := range entries {
		put(t, db, kv.Entry{Key: fmt.Sprint("use/", i), Expires: now.Add(-time.Minute)})
	}

	left := int64(entries + 2)
	for i, limit := range []int{0, 100, 100, 100, 100} {
		n, err := db.Purge(t.Context(), now, limit)
		if want := []int{0, 100, 50, 0, 0}[i]; err != nil || n != want {
			t.Errorf("Purge of at most %d = %d records, %v, want %d", limit, n, err, want)
		}

		left = max(2, left-int64(limit))
		if got := count(t, db); got != left {
			t.Errorf("Purge of at most %d left %d entries, want %d", limit, got, left)
		}
	}

	for _, e := range []kv.Entry{kept, later} {
		if _, err := db.KV().Get(t.Context(), e.Key); err != nil {
			t.Errorf("Get(%s) after Purge: %v", e.Key, err)
		}
	}
}

// Rows whose id or version is damaged are purged too, and no others with them.
func TestPurgeDeletesDamagedRows(t *testing.T) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	db := open(t, file(t), sqlstore.Options{Now: func() time.Time { return now }, CacheRecords: -1})
	for _, id := range []string{"good", "id", "version", "both", "kept"} {
		r := plain(id, 0)
		if r.Expires = now.Add(-time.Hour); id == "kept" {
			r.Expires = now.Add(time.Hour)
		}
		if _, err := db.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Script(t.Context(), `
		UPDATE task SET id = x'00' WHERE id = 'id';
		UPDATE task SET version = 'x' WHERE id = 'version';
		UPDATE task SET id = x'01', version = x'02' WHERE id = 'both';
	`); err != nil {
		t.Fatal(err)
	}

	if n, err := db.PurgeRecords(t.Context(), now, 10); n != 4 || err != nil {
		t.Errorf("PurgeRecords = %d, %v, want 4", n, err)
	}
	if n, err := db.Number(t.Context(), "SELECT count(*) FROM task WHERE id = 'kept'"); n != 1 || err != nil {
		t.Errorf("the other record: %d, %v", n, err)
	}
}

// group runs the calls in one commit and returns their errors.
func group(t *testing.T, db *sqlstore.DB, calls ...func() error) []error {
	t.Helper()
	release := db.Hold(t.Context())
	errs := make([]error, len(calls))
	done := make(chan struct{}, len(calls))
	for i, call := range calls {
		go func() {
			errs[i] = call()
			done <- struct{}{}
		}()
		queued(t, db, i+1)
	}
	release()
	for range calls {
		<-done
	}
	return errs
}

func storing(t *testing.T, db *sqlstore.DB, e kv.Entry) func() error {
	return func() error { _, err := db.KV().Put(t.Context(), e); return err }
}

// A verdict concerns one operation only: the other tasks and entries of its group are stored.
func TestConflictLeavesItsGroup(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{})
	old := put(t, db, kv.Entry{Key: "use/old"})
	errs := group(t, db,
		func() error { _, err := db.Create(t.Context(), plain("new", 1)); return err },
		storing(t, db, kv.Entry{Key: "use/old"}),
		storing(t, db, kv.Entry{Key: "use/new"}),
		storing(t, db, kv.Entry{Key: "use/new"}),
		func() error { return db.KV().Delete(t.Context(), "use/old", old.Version+1) },
		storing(t, db, kv.Entry{Key: "use/old", Version: old.Version, Value: []byte("x")}),
	)
	for i, want := range []error{nil, kv.ErrConflict, nil, kv.ErrConflict, kv.ErrConflict, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("operation %d of the group: %v, want %v", i, errs[i], want)
		}
	}
	if e, err := db.KV().Get(t.Context(), "use/old"); err != nil || string(e.Value) != "x" {
		t.Errorf("Get = %+v, %v", e, err)
	}
	if !isStored(t, db, "new") || count(t, db) != 2 {
		t.Errorf("the group stored the task: %t, and %d entries, want 2", isStored(t, db, "new"), count(t, db))
	}
}

// If a group fails, all its operations return the failure, and no entry is stored.
func TestFailedGroupLeavesNoEntry(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{})
	old := put(t, db, kv.Entry{Key: "use/old"})
	for i, err := range group(t, db,
		storing(t, db, kv.Entry{Key: "use/new"}),
		storing(t, db, kv.Entry{Key: "use/new"}),
		func() error { return db.KV().Delete(t.Context(), "use/old", 0) },
		func() error { return db.Script(t.Context(), "INSERT INTO nowhere VALUES (1)") },
	) {
		if err == nil || errors.Is(err, kv.ErrConflict) {
			t.Errorf("operation %d of a failed group: %v", i, err)
		}
	}
	if e, err := db.KV().Get(t.Context(), "use/old"); err != nil || e.Version != old.Version || count(t, db) != 1 {
		t.Errorf("after a failed group: %+v, %v, %d entries", e, err, count(t, db))
	}
}

// The write of a caller that has left is stored, and a later read finds it.
func TestCallerOfPutMayLeave(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{})
	release := db.Hold(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := db.KV().Put(ctx, kv.Entry{Key: "use/a", Value: []byte("mine")})
		left <- err
	}()
	queued(t, db, 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("Put whose caller has left: %v, want %v", err, context.Canceled)
	}
	release()
	put(t, db, kv.Entry{Key: "use/b"}) // returns after the write of use/a
	if e, err := db.KV().Get(t.Context(), "use/a"); err != nil || string(e.Value) != "mine" {
		t.Errorf("Get = %+v, %v", e, err)
	}
}

// A file of schema 2 had no entries. The migration keeps its tasks. A program that does not
// know entries refuses the file from then on.
func TestMigrationAddsEntries(t *testing.T) {
	r := plain("a", 3)
	enc, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}

	path := file(t)
	err = sqlstore.OldFile(t.Context(), path, 2, fmt.Sprintf(`
		INSERT INTO task (id, version, owner, context, state, stamp, head, body)
		VALUES ('a', 7, 'someone', 'c', 'TASK_STATE_SUBMITTED', %d, x'%x', x'%x')`, time.Now().UnixMilli(), enc.Head, enc.Body))
	if err != nil {
		t.Fatal(err)
	}

	db := open(t, path, sqlstore.Options{})
	got, err := db.Load(t.Context(), "a")
	if err != nil || got.Version != 7 || got.Attempt != 3 {
		t.Errorf("Load = version %d, attempt %d, %v", got.Version, got.Attempt, err)
	}
	if p, err := db.List(t.Context(), task.Query{Owner: "someone", Limit: 1}); err != nil || len(p.Records) != 1 {
		t.Errorf("List = %d records, %v", len(p.Records), err)
	}

	put(t, db, kv.Entry{Key: "use/a"})
	if schema, err := db.Number(t.Context(), "PRAGMA user_version"); err != nil || schema < 3 {
		t.Errorf("the file has schema %d, %v, want 3 or more", schema, err)
	}
}
