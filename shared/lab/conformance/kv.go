package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/kv"
	"errand/shared/task"
)

// A Database stores tasks and entries.
type Database interface {
	Stored
	io.Closer
	KV() kv.Store
}

// A kvBench is the entries of a database.
type kvBench struct {
	kv.Store
	db     Database
	clock  *clock
	reopen func() kvBench // opens the database again after Close
}

// KV runs the laws of kv.Store. open returns a function that opens a database. The database
// is empty at first and uses now as its clock for expiry. The function is called again after
// the database was closed. open closes an open database by t.Cleanup.
func KV(t *testing.T, open func(t *testing.T, now func() time.Time) func() Database) {
	for _, law := range []struct {
		name string
		run  func(*testing.T, kvBench)
	}{
		{"CreateOnce", kvCreateOnce},
		{"ReplaceConflict", kvReplaceConflict},
		{"ReplaceOfMissing", kvReplaceOfMissing},
		{"GetMissing", kvGetMissing},
		{"RoundTrip", kvRoundTrip},
		{"TooLarge", kvTooLarge},
		{"BadIsRefused", kvBadIsRefused},
		{"ReadYourWrite", kvReadYourWrite},
		{"VersionsRise", kvVersionsRise},
		{"DeleteVersion", kvDeleteVersion},
		{"DeleteWhatever", kvDeleteWhatever},
		{"DeleteAbsent", kvDeleteAbsent},
		{"ExpiredIsAbsent", kvExpiredIsAbsent},
		{"ExpiryIsReplaced", kvExpiryIsReplaced},
		{"ExpiredIsCreatedOnce", kvExpiredIsCreatedOnce},
		{"PurgeExpiredOnly", kvPurgeExpiredOnly},
		{"StepsAreDeleted", kvStepsAreDeleted},
		{"StepsOfALaterTaskAreKept", kvStepsOfALaterTaskAreKept},
		{"ListOrder", kvListOrder},
		{"ListPrefixAndAfter", kvListPrefixAndAfter},
		{"ListLimit", kvListLimit},
		{"ListBytes", kvListBytes},
		{"ListSkipsExpired", kvListSkipsExpired},
		{"ListWhileWriting", kvListWhileWriting},
		{"EndedContextIsAnError", kvEndedContextIsAnError},
		{"TasksAreApart", kvTasksAreApart},
		{"ReopenedHasAll", kvReopenedHasAll},
		{"ClosedIsAnError", kvClosedIsAnError},
	} {
		t.Run(law.name, func(t *testing.T) {
			c := &clock{t: epoch}
			opened := open(t, c.now)
			var reopen func() kvBench
			reopen = func() kvBench {
				db := opened()
				return kvBench{Store: db.KV(), db: db, clock: c, reopen: reopen}
			}

			law.run(t, reopen())
		})
	}
}

// entry returns a small entry after the changes.
func entry(key, value string, change ...func(*kv.Entry)) kv.Entry {
	return altered(kv.Entry{Key: key, Owner: someone, Value: []byte(value)}, change...)
}

func altered(e kv.Entry, change ...func(*kv.Entry)) kv.Entry {
	for _, c := range change {
		c(&e)
	}
	return e
}

func of(version int64) func(*kv.Entry) { return func(e *kv.Entry) { e.Version = version } }

func until(end time.Time) func(*kv.Entry) { return func(e *kv.Entry) { e.Expires = end } }

// put stores the entry and checks the result.
func put(t *testing.T, s kv.Store, e kv.Entry) kv.Entry {
	t.Helper()
	got, err := s.Put(t.Context(), e)
	if err != nil {
		t.Fatalf("Put(%s, version %d): %v", e.Key, e.Version, err)
	}
	if got.Version <= max(e.Version, 0) {
		t.Fatalf("Put(%s, version %d) returned version %d", e.Key, e.Version, got.Version)
	}
	e.Version = got.Version
	sameEntry(t, "what Put returned", e, got)
	return got
}

// holds checks that the store has this entry.
func holds(t *testing.T, s kv.Store, want kv.Entry) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Key)
	if err != nil {
		t.Fatalf("Get(%s): %v", want.Key, err)
	}
	sameEntry(t, "Get", want, got)
}

// lacks checks with Get and List that the store has no entry with the key.
func lacks(t *testing.T, s kv.Store, key string) {
	t.Helper()
	_, err := s.Get(t.Context(), key)
	wantError(t, "Get("+key+")", err, kv.ErrNotFound)
	if slices.Contains(walkKeys(t, s, key, 10), key) {
		t.Errorf("List has %s, which is absent", key)
	}
}

func sameEntry(t *testing.T, what string, want, got kv.Entry) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); d != "" {
		t.Errorf("%s (-want +got):\n%.2000s", what, d)
	}
}

func kvCreateOnce(t *testing.T, b kvBench) {
	for round := range 5 {
		key := fmt.Sprint("use/", round)
		won := winner(t, 32, kv.ErrConflict, func(i int) error {
			_, err := b.Put(t.Context(), entry(key, fmt.Sprint(i)))
			return err
		})
		got, err := b.Get(t.Context(), key)
		if err != nil || string(got.Value) != fmt.Sprint(won) {
			t.Errorf("Get = %q, %v, but call %d created the entry", got.Value, err, won)
		}
		_, err = b.Put(t.Context(), entry(key, "once more"))
		wantError(t, "Put that creates once more", err, kv.ErrConflict)
		holds(t, b, got)
	}
}

func kvReplaceConflict(t *testing.T, b kvBench) {
	last := put(t, b, entry("use/a", "first"))
	for range 5 {
		won := winner(t, 32, kv.ErrConflict, func(i int) error {
			_, err := b.Put(t.Context(), entry("use/a", fmt.Sprint(i), of(last.Version)))
			return err
		})
		got, err := b.Get(t.Context(), "use/a")
		if err != nil || string(got.Value) != fmt.Sprint(won) || got.Version <= last.Version {
			t.Errorf("Get = %q, version %d, %v, but call %d replaced version %d", got.Value, got.Version, err, won, last.Version)
		}
		_, err = b.Put(t.Context(), entry("use/a", "late", of(last.Version)))
		wantError(t, "Put over an old version", err, kv.ErrConflict)
		holds(t, b, got)
		last = got
	}
}

func kvReplaceOfMissing(t *testing.T, b kvBench) {
	other := put(t, b, entry("use/a", "x"))
	for _, version := range []int64{1, -1, other.Version, other.Version + 1, math.MaxInt64, math.MinInt64} {
		_, err := b.Put(t.Context(), entry("use/b", "x", of(version)))
		wantError(t, fmt.Sprintf("Put over version %d of a missing entry", version), err, kv.ErrConflict)
		if version != other.Version {
			_, err = b.Put(t.Context(), entry("use/a", "y", of(version)))
			wantError(t, fmt.Sprintf("Put over version %d, which never existed", version), err, kv.ErrConflict)
		}
	}
	lacks(t, b, "use/b")
	holds(t, b, other)
}

func kvGetMissing(t *testing.T, b kvBench) {
	put(t, b, entry("use/a/b", "x"))
	for _, key := range []string{"use/a", "use/a/c", "use/a/b/c", "use/" + strings.Repeat("x", kv.LimitKey-4)} {
		lacks(t, b, key)
	}
}

func kvRoundTrip(t *testing.T, b kvBench) {
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	for i, value := range [][]byte{nil, {}, {0}, []byte("text"), binary, []byte("\xff\xfe"), bytes.Repeat([]byte{0}, kv.LimitValue)} {
		for _, owner := range []string{"", someone, "ä \"'%_\x00\n", "NULL", strings.Repeat("o", kv.LimitOwner)} {
			e := entry(fmt.Sprint("use/", i), "", of(0), until(epoch.Add(time.Duration(i)*time.Hour+time.Millisecond)))
			e.Value, e.Owner = value, owner
			if old, err := b.Get(t.Context(), e.Key); err == nil {
				e.Version = old.Version
			}
			holds(t, b, put(t, b, e))
		}
	}
	// The expiry of an entry is stored in whole milliseconds, independent of the time zone.
	e, err := b.Put(t.Context(), entry("use/x", "", until(epoch.Add(time.Hour+1_999_999).In(time.FixedZone("", 7200)))))
	if err != nil || e.Expires != epoch.Add(time.Hour+time.Millisecond) {
		t.Errorf("Put expires %v, %v; want whole milliseconds", e.Expires, err)
	}
	holds(t, b, e)
}

func kvTooLarge(t *testing.T, b kvBench) {
	largest := strings.Repeat("x", kv.LimitValue)
	key := "use/" + strings.Repeat("x", kv.LimitKey-4)
	last := put(t, b, entry(key, largest, func(e *kv.Entry) { e.Owner = strings.Repeat("ä", kv.LimitOwner/2) }))
	if got := list(t, b, key, "", 1); len(got) != 1 {
		t.Errorf("List has %d entries, want the entry of the largest size", len(got))
	}
	_, err := b.Put(t.Context(), entry(key, largest+"x", of(last.Version)))
	wantError(t, "Put over the limit", err, kv.ErrTooLarge)
	holds(t, b, last)
	_, err = b.Put(t.Context(), entry("use/b", largest+"x"))
	wantError(t, "Put over the limit", err, kv.ErrTooLarge)
	lacks(t, b, "use/b")
}

// kvBadIsRefused: every store uses the checks of the port. Tests of the port have all cases.
func kvBadIsRefused(t *testing.T, b kvBench) {
	for _, key := range []string{"", "use", "use//a", "Use/a", "../ä", "use/" + strings.Repeat("x", kv.LimitKey)} {
		_, err := b.Put(t.Context(), entry(key, ""))
		wantError(t, "Put", err, kv.ErrInvalid)
		_, err = b.Get(t.Context(), key)
		wantError(t, "Get", err, kv.ErrInvalid)
		wantError(t, "Delete", b.Delete(t.Context(), key, 0), kv.ErrInvalid)
	}
	_, err := b.Put(t.Context(), entry("use/a", "", func(e *kv.Entry) { e.Owner = "\xff" }))
	wantError(t, "Put of an owner that is not valid UTF-8", err, kv.ErrInvalid)
	_, err = b.List(t.Context(), "A", "", 1)
	wantError(t, "List of a bad prefix", err, kv.ErrInvalid)
	_, err = b.List(t.Context(), "", "A", 1)
	wantError(t, "List after a bad key", err, kv.ErrInvalid)
}

func kvReadYourWrite(t *testing.T, b kvBench) {
	last := put(t, b, entry("use/a", "0"))
	for i := range 50 {
		last = put(t, b, entry("use/a", fmt.Sprint(i), of(last.Version)))
		holds(t, b, last)
		sameEntry(t, "List", last, list(t, b, "use/a", "", 1)[0])
	}
	same := put(t, b, last) // changes only the version
	_, err := b.Put(t.Context(), last)
	wantError(t, "Put over the version before a write without a change", err, kv.ErrConflict)
	holds(t, b, same)
}

// kvVersionsRise: no later entry has an old version again.
func kvVersionsRise(t *testing.T, b kvBench) {
	highest := int64(0)
	for i := range 20 {
		first := put(t, b, entry("use/a", "x", until(b.clock.now().Add(time.Hour))))
		second := put(t, b, first)
		if first.Version <= highest || second.Version <= first.Version {
			t.Fatalf("versions %d and %d follow %d", first.Version, second.Version, highest)
		}
		highest = second.Version
		if i%2 == 0 {
			b.clock.set(second.Expires)
		} else if err := b.Delete(t.Context(), "use/a", 0); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	last := put(t, b, entry("use/a", "y"))
	_, err := b.Put(t.Context(), entry("use/a", "z", of(highest)))
	wantError(t, "Put over a version that was deleted", err, kv.ErrConflict)
	wantError(t, "Delete of a version that was deleted", b.Delete(t.Context(), "use/a", highest), kv.ErrConflict)
	holds(t, b, last)
}

func kvDeleteVersion(t *testing.T, b kvBench) {
	first := put(t, b, entry("use/a", "x"))
	last := put(t, b, entry("use/a", "y", of(first.Version)))
	for _, version := range []int64{first.Version, 1, -1, last.Version + 1, math.MaxInt64, math.MinInt64} {
		wantError(t, fmt.Sprintf("Delete of version %d", version), b.Delete(t.Context(), "use/a", version), kv.ErrConflict)
	}
	holds(t, b, last)
	if err := b.Delete(t.Context(), "use/a", last.Version); err != nil {
		t.Errorf("Delete: %v", err)
	}
	lacks(t, b, "use/a")
	put(t, b, entry("use/a", "z"))
}

func kvDeleteWhatever(t *testing.T, b kvBench) {
	put(t, b, entry("use/a", "x"))
	beside := put(t, b, entry("use/a/b", "x"))
	if err := b.Delete(t.Context(), "use/a", 0); err != nil {
		t.Errorf("Delete: %v", err)
	}
	lacks(t, b, "use/a")
	holds(t, b, beside)
}

func kvDeleteAbsent(t *testing.T, b kvBench) {
	end := epoch.Add(time.Hour)
	gone := put(t, b, entry("use/gone", "x"))
	old := put(t, b, entry("use/old", "x", until(end)))
	if err := b.Delete(t.Context(), gone.Key, gone.Version); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	b.clock.set(end)
	for _, version := range []int64{0, 1, gone.Version, old.Version} {
		for _, key := range []string{gone.Key, old.Key, "use/never"} {
			if err := b.Delete(t.Context(), key, version); err != nil {
				t.Errorf("Delete(%s, %d) of an absent entry: %v", key, version, err)
			}
			lacks(t, b, key)
		}
	}
}

func kvEndedContextIsAnError(t *testing.T, b kvBench) {
	e := put(t, b, entry("use/a", "x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range kvCalls(ctx, b, e) {
		wantError(t, name, call(), context.Canceled)
	}
	holds(t, b, e)
	lacks(t, b, "use/new")
}

// kvCalls has one call of each method, for an existing entry.
func kvCalls(ctx context.Context, s kv.Store, e kv.Entry) map[string]func() error {
	return map[string]func() error{
		"Get":              func() error { _, err := s.Get(ctx, e.Key); return err },
		"Put that creates": func() error { _, err := s.Put(ctx, entry("use/new", "x")); return err },
		"Put over it":      func() error { _, err := s.Put(ctx, e); return err },
		"Delete":           func() error { return s.Delete(ctx, e.Key, e.Version) },
		"Delete of any":    func() error { return s.Delete(ctx, e.Key, 0) },
		"List":             func() error { _, err := s.List(ctx, "use/", "", 1); return err },
		"List of nothing":  func() error { _, err := s.List(ctx, "a/", "b/", 1); return err },
	}
}

// kvTasksAreApart: a task and an entry may have the same name.
func kvTasksAreApart(t *testing.T, b kvBench) {
	for _, id := range []string{"use-a", "a"} {
		create(t, b.db, record(id))
	}
	e := put(t, b, entry("use/a", "x"))
	r := load(t, b.db, "use-a")
	commit(t, b.db, edited(r, attempt(1)))
	holds(t, b, e)
	if p, err := b.db.List(t.Context(), task.Query{Owner: someone, Limit: 10}); err != nil || len(p.Records) != 2 {
		t.Errorf("List = %d tasks, %v, want 2", len(p.Records), err)
	}
	if d := cmp.Diff([]string{"use/a"}, walkKeys(t, b, "", 10)); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	if err := b.Delete(t.Context(), "use/a", 0); err != nil {
		t.Fatal(err)
	}
	load(t, b.db, "use-a")
	load(t, b.db, "a")
}

func kvReopenedHasAll(t *testing.T, b kvBench) {
	kept := put(t, b, entry("use/a", "\x00\xff", until(epoch.Add(time.Hour))))
	replaced := put(t, b, altered(put(t, b, entry("use/b", "")), func(e *kv.Entry) { e.Value = []byte("new") }))
	put(t, b, entry("use/c", "x"))
	if err := b.Delete(t.Context(), "use/c", 0); err != nil {
		t.Fatal(err)
	}
	if err := b.db.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	b = b.reopen()
	holds(t, b, kept)
	holds(t, b, replaced)
	lacks(t, b, "use/c")
	put(t, b, replaced)
}

func kvClosedIsAnError(t *testing.T, b kvBench) {
	e := put(t, b, entry("use/a", "x"))
	if err := b.db.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for name, call := range kvCalls(t.Context(), b, e) {
		if err := call(); err == nil && name != "List of nothing" || errors.Is(err, kv.ErrNotFound) || errors.Is(err, kv.ErrConflict) {
			t.Errorf("%s after Close: %v, want an error that is not a verdict", name, err)
		}
	}
	holds(t, b.reopen(), e)
}
