package gcp_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"

	"errand/shared/adapters/gcp"
	"errand/shared/kv"
)

func put(t testing.TB, s kv.Store, e kv.Entry) kv.Entry {
	t.Helper()
	e, err := s.Put(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// meanwhile calls f once, just before the next write of this kind reaches the database. The
// writes of f itself are forwarded.
func (w *wire) meanwhile(kind func(*pb.Write) bool, f func()) {
	done := false
	w.with(func() {
		w.onCommit = func(req *pb.CommitRequest) {
			now := false
			w.with(func() {
				if now = !done && kind(req.Writes[0]); now {
					done = true
				}
			})
			if now {
				f()
			}
		}
	})
}

func isUpdate(p *pb.Write) bool {
	return p.GetUpdate() != nil && p.GetCurrentDocument().GetUpdateTime() != nil
}

func isDelete(p *pb.Write) bool { return p.GetDelete() != "" }

// A creation reads nothing. A replacement reads once, without the value.
func TestEntryCostsFewRequests(t *testing.T) {
	w := newWire(t)
	s := open(t, w.host, gcp.FirestoreOptions{}).KV()
	large := make([]byte, kv.LimitValue)
	e := put(t, s, kv.Entry{Key: "use/a", Value: large})
	asked := func() (queries, loaded int) {
		w.with(func() { queries, loaded = len(w.queries), w.loaded })
		return queries, loaded
	}
	if n, _ := asked(); n != 0 {
		t.Errorf("the creation of an entry made %d queries, want none", n)
	}
	put(t, s, e)
	if n, bytes := asked(); n != 1 || bytes > 4<<10 {
		t.Errorf("the replacement of an entry made %d queries and loaded %d bytes, want one query without the value", n, bytes)
	}
	if documents, requests := w.written(); documents != 2 || requests != 2 {
		t.Errorf("two writes wrote %d documents in %d requests, want 2 in 2", documents, requests)
	}
}

// A list loads no values that it does not return.
func TestListOfEntriesLoadsOnlyItsValues(t *testing.T) {
	w := newWire(t)
	s := open(t, w.host, gcp.FirestoreOptions{}).KV()
	for i := range 20 {
		put(t, s, kv.Entry{Key: fmt.Sprintf("use/%02d", i), Value: make([]byte, 300<<10)})
	}
	w.with(func() { w.loaded = 0 })
	list, err := s.List(t.Context(), "use/", "", kv.LimitCount)
	if err != nil || len(list) != 3 {
		t.Errorf("List = %d entries, %v, want 3", len(list), err)
	}
	w.with(func() {
		if w.loaded > kv.LimitList+16<<10 {
			t.Errorf("a list of at most %d bytes loaded %d bytes", kv.LimitList, w.loaded)
		}
	})
}

// A short list skips expired entries in large steps.
func TestShortListPassesOverManyExpiredEntries(t *testing.T) {
	w := newWire(t)
	now := time.Now()
	s := open(t, w.host, gcp.FirestoreOptions{Now: func() time.Time { return now }}).KV()
	for i := range 150 {
		put(t, s, kv.Entry{Key: fmt.Sprintf("use/%03d", i), Expires: now})
	}
	put(t, s, kv.Entry{Key: "use/z"})
	list, err := s.List(t.Context(), "use/", "", 1)
	if err != nil || len(list) != 1 || list[0].Key != "use/z" {
		t.Errorf("List = %d entries, %v, want the one that has not expired", len(list), err)
	}
	w.with(func() {
		if len(w.queries) != 3 {
			t.Errorf("List made %d queries, want 3", len(w.queries))
		}
	})
}

// If an expired entry is deleted before Put checks it, Put creates the entry.
func TestExpiredEntryIsGoneBeforeTheLook(t *testing.T) {
	w := newWire(t)
	now := time.Now()
	s := open(t, w.host, gcp.FirestoreOptions{Now: func() time.Time { return now }}).KV()
	e := put(t, s, kv.Entry{Key: "use/a", Expires: now})
	w.with(func() {
		w.onQuery = func() {
			if err := s.Delete(t.Context(), e.Key, 0); err != nil {
				t.Errorf("Delete: %v", err)
			}
		}
	})
	put(t, s, kv.Entry{Key: "use/a", Value: []byte("new")})
	documents, _ := w.written()
	if documents != 4 {
		t.Errorf("%d writes were sent, want 4: the old entry, one refused, one deletion, the new entry", documents)
	}
}

// Entries that are deleted, or grow, while a list reads them are not in the list. The list
// goes on after them.
func TestListOfEntriesThatChange(t *testing.T) {
	w := newWire(t)
	s := open(t, w.host, gcp.FirestoreOptions{}).KV()
	a, b := put(t, s, kv.Entry{Key: "use/a"}), put(t, s, kv.Entry{Key: "use/b"})
	put(t, s, kv.Entry{Key: "use/c"})

	reads := func(f func()) {
		once := false
		w.with(func() {
			w.onBodies = func() {
				if !once {
					once = true
					f()
				}
			}
		})
	}

	large := func(e kv.Entry) {
		e.Value = make([]byte, kv.LimitValue)
		put(t, s, e)
	}

	reads(func() { large(a); large(b) })
	list, err := s.List(t.Context(), "use/", "", 3)
	if err != nil || len(list) != 1 || list[0].Key != "use/a" {
		t.Errorf("List of entries that grow = %d entries, %v, want the first", len(list), err)
	}

	reads(func() {
		for _, e := range []kv.Entry{a, b} {
			if err := s.Delete(t.Context(), e.Key, 0); err != nil {
				t.Errorf("Delete: %v", err)
			}
		}
	})

	list, err = s.List(t.Context(), "use/", "", 2)
	if err != nil || len(list) != 1 || list[0].Key != "use/c" {
		t.Errorf("List of entries that are deleted = %d entries, %v, want the one after them", len(list), err)
	}
}

// The client repeats a write whose answer was lost. Put returns ErrConflict, and Delete nil.
func TestLostAnswersOfEntries(t *testing.T) {
	w := newWire(t)
	s := open(t, w.host, gcp.FirestoreOptions{}).KV()
	lose := func() { w.with(func() { w.lose = 1 }) }

	lose()
	if _, err := s.Put(t.Context(), kv.Entry{Key: "use/a", Value: []byte("1")}); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("Put that creates: %v, want ErrConflict", err)
	}

	e, err := s.Get(t.Context(), "use/a")
	if err != nil || string(e.Value) != "1" {
		t.Fatalf("Get = %+v, %v", e, err)
	}

	lose()
	e.Value = []byte("2")
	if _, err := s.Put(t.Context(), e); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("Put that replaces: %v, want ErrConflict", err)
	}
	if e, err = s.Get(t.Context(), "use/a"); err != nil || string(e.Value) != "2" {
		t.Fatalf("Get = %+v, %v", e, err)
	}

	lose()
	if err := s.Delete(t.Context(), "use/a", e.Version); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := s.Get(t.Context(), "use/a"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("Get after Delete: %v", err)
	}
}

func TestReadsOfEntriesThatBreakOffAreRepeated(t *testing.T) {
	w := newWire(t)
	s := open(t, w.host, gcp.FirestoreOptions{}).KV()
	e := put(t, s, kv.Entry{Key: "use/a"})
	for name, call := range map[string]func() error{
		"Get":  func() error { _, err := s.Get(t.Context(), "use/a"); return err },
		"List": func() error { _, err := s.List(t.Context(), "", "", 1); return err },
		"Put":  func() (err error) { e, err = s.Put(t.Context(), e); return err },
	} {
		w.with(func() { w.breaks = 2 })
		if err := call(); err != nil {
			t.Errorf("%s whose connection broke: %v", name, err)
		}
		w.with(func() {
			if w.breaks != 0 {
				t.Errorf("the connection of %s did not break, so the test shows nothing", name)
			}
		})
	}
}

// Another write may come between the check of an entry and the write.
func TestEntryChangesBeforeTheWrite(t *testing.T) {
	now := time.Now()

	store := func(value string, create bool) func(kv.Store, kv.Entry) error {
		return func(s kv.Store, e kv.Entry) error {
			if e.Value = []byte(value); create {
				e.Version, e.Expires = 0, time.Time{}
			}
			_, err := s.Put(t.Context(), e)
			return err
		}
	}

	remove := func(s kv.Store, e kv.Entry) error { return s.Delete(t.Context(), e.Key, e.Version) }
	vanish := func(s kv.Store, e kv.Entry) error { return s.Delete(t.Context(), e.Key, 0) }
	past := now.Add(-time.Hour)
	for name, tt := range map[string]struct {
		expires     time.Time
		write       func(kv.Store, kv.Entry) error
		before      func(*pb.Write) bool // selects the request of write before which theirs happens
		theirs      func(kv.Store, kv.Entry) error
		want        error
		wantContent string // afterwards; empty: no entry
	}{
		"replaced, then replaced": {time.Time{}, store("mine", false), isUpdate, store("theirs", false), kv.ErrConflict, "theirs"},
		"replaced, then deleted":  {time.Time{}, store("mine", false), isUpdate, vanish, kv.ErrConflict, ""},
		"deleted, then replaced":  {time.Time{}, remove, isDelete, store("theirs", false), kv.ErrConflict, "theirs"},
		"deleted, then deleted":   {time.Time{}, remove, isDelete, vanish, nil, ""},
		"expired, then deleted":   {past, store("mine", true), isUpdate, vanish, nil, "mine"},
		"expired, then created":   {past, store("mine", true), isUpdate, store("theirs", true), kv.ErrConflict, "theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			s := open(t, w.host, gcp.FirestoreOptions{Now: func() time.Time { return now }}).KV()
			e := put(t, s, kv.Entry{Key: "use/a", Value: []byte("old"), Expires: tt.expires})
			met := false

			w.meanwhile(tt.before, func() {
				met = true
				if err := tt.theirs(s, e); err != nil {
					t.Errorf("the write in between: %v", err)
				}
			})

			if err := tt.write(s, e); !errors.Is(err, tt.want) || !met {
				t.Errorf("the write: %v, want %v; there was a write in between: %t", err, tt.want, met)
			}

			got, err := s.Get(t.Context(), e.Key)
			if string(got.Value) != tt.wantContent || (err != nil) != (tt.wantContent == "") {
				t.Errorf("Get = %q, %v, want %q", got.Value, err, tt.wantContent)
			}
		})
	}
}
