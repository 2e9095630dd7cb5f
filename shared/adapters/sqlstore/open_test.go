package sqlstore_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// Opening ends the leases of the previous process (R3), so that their turns can be claimed at
// once.
func TestOpenEndsLeases(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	now := time.Now()
	const leased = 250
	for i := range leased + 10 {
		r, err := db.Create(t.Context(), accepted(t, hashed(string(rune(i))), now))
		if err != nil {
			t.Fatal(err)
		}
		if i >= leased {
			continue
		}

		claim := task.Claim{Lease: task.Lease{Until: now.Add(time.Hour), Queue: "q", Name: "n", Nonce: "x"}}
		r, _, changed, err := r.Claim(task.Defaults().At(now), claim)
		if err != nil || !changed {
			t.Fatalf("Claim: changed %t, %v", changed, err)
		}
		if _, err := db.Commit(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = open(t, path, sqlstore.Options{})
	soon := now.Add(2 * task.Defaults().Patience)
	refs, err := db.Due(t.Context(), task.Turns, task.Shard{}, soon, task.Ref{}, 1000)
	if err != nil || len(refs) != leased+10 {
		t.Fatalf("Due after reopening = %d records, %v, want %d", len(refs), err, leased+10)
	}

	for _, ref := range refs {
		r, err := db.Load(t.Context(), ref.ID)
		if err != nil {
			t.Fatal(err)
		}
		if r.Lease != (task.Lease{}) || !r.Due.At.Truncate(time.Microsecond).Equal(ref.At) {
			t.Errorf("%s: lease %+v, due %v", r.ID(), r.Lease, r.Due)
		}
	}
}

// Opening ends the leases of large records by their heads alone: it allocates far less than
// the records have bytes, and changes nothing else in them.
func TestOpenReadsHeadsOfLeased(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	const leased, each = 24, 400 << 10
	want := map[string]task.Record{}
	for i := range leased {
		r := accepted(t, hashed(string(rune(i))), time.Now())
		r.Task.History = []*a2a.Message{a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(strings.Repeat("x", each)))}
		r.Requests[0].Metadata = task.Object{"of": float64(i), "deep": map[string]any{"er": []any{}}}
		r.Lease = task.Lease{Until: time.Now().Add(time.Hour).UTC(), Queue: "q", Name: "n", Nonce: "x"}
		r, err := db.Create(t.Context(), rewritten(r))
		if err != nil {
			t.Fatal(err)
		}
		want[r.ID()] = r
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	db = open(t, path, sqlstore.Options{})
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > leased*each/4 {
		t.Errorf("opening allocates %d bytes for %d leases of records of %d bytes", used, leased, each)
	}

	for id, w := range want {
		r, err := db.Load(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if r.Lease != (task.Lease{}) || r.Due.At.IsZero() || r.Version == w.Version {
			t.Errorf("lease %+v, due %v, version %d after %d", r.Lease, r.Due, r.Version, w.Version)
		}
		if d := cmp.Diff(w.Request(), r.Request()); d != "" {
			t.Errorf("the request (-before +after):\n%s", d)
		}
		if d := cmp.Diff(w.Task, r.Task); d != "" {
			t.Errorf("the task (-before +after):\n%.500s", d)
		}
		if next, err := db.Commit(t.Context(), rewritten(r)); err != nil || next.Version == r.Version {
			t.Errorf("Commit after opening: %v", err)
		}
	}
}

// Opening counts a death for every turn of the previous process. It blames a turn that a
// worker had died under before, if it ran alone or all turns of the process were blamed.
func TestOpenBlames(t *testing.T) {
	turn := func(deaths, blamed int, alone bool) task.Record {
		return task.Record{Attempt: 3, Deaths: deaths, Blamed: blamed, Lease: task.Lease{
			Until: time.Now().Add(time.Hour).UTC(), Queue: "q", Name: "n", Nonce: "x", Alone: alone,
		}}
	}

	for _, test := range []struct {
		name   string
		turns  []task.Record
		blamed []int // afterwards
	}{
		{"a first death", []task.Record{turn(0, 0, false)}, []int{0}},
		{"the only turn", []task.Record{turn(1, 0, false)}, []int{1}},
		{"one of two", []task.Record{turn(1, 0, false), turn(1, 0, false)}, []int{0, 0}},
		{"one that ran alone for a while, and one beside it", []task.Record{turn(2, 1, false), turn(0, 0, false)}, []int{1, 0}},
		{"two that were blamed", []task.Record{turn(2, 1, false), turn(2, 1, false)}, []int{2, 2}},
		{"one that ran alone", []task.Record{turn(2, 0, true), turn(1, 0, false)}, []int{1, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := file(t)
			db := open(t, path, sqlstore.Options{})
			var ids []string
			for i, r := range test.turns {
				a := accepted(t, hashed(string(rune(i))), time.Now())
				a.Attempt, a.Deaths, a.Blamed, a.Lease = r.Attempt, r.Deaths, r.Blamed, r.Lease
				made, err := db.Create(t.Context(), rewritten(a))
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, made.ID())
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}

			for range 2 { // the next opening finds no leases
				db = open(t, path, sqlstore.Options{})
				for i, id := range ids {
					r, err := db.Load(t.Context(), id)
					if err != nil {
						t.Fatal(err)
					}
					if r.Lease != (task.Lease{}) || r.Deaths != test.turns[i].Deaths+1 || r.Blamed != test.blamed[i] {
						t.Errorf("turn %d: %d deaths, %d blamed, lease %+v, want %d blamed", i, r.Deaths, r.Blamed, r.Lease, test.blamed[i])
					}
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// rewritten returns a copy of a record without its stored form, as after a change by hand.
func rewritten(r task.Record) task.Record {
	return task.Record{
		Schema: r.Schema, Task: r.Task, Owner: r.Owner, Lane: r.Lane, Requests: r.Requests, Turn: r.Turn, Since: r.Since,
		Seq: r.Seq, Epoch: r.Epoch, Attempt: r.Attempt, Deaths: r.Deaths, Blamed: r.Blamed, Lease: r.Lease, Asked: r.Asked, Due: r.Due, Version: r.Version,
	}
}

// The file opens although it has a record of a newer version of the program. The record is
// read, and its lease ends by time.
func TestOpenWithNewerRecord(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	create(t, db, "a")
	err := db.Script(t.Context(), fmt.Sprintf(`UPDATE task SET leased = 1,
		head = CAST(replace(CAST(head AS TEXT), '"schema":%d', '"schema":99') AS BLOB)`, task.Schema))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		db := open(t, path, sqlstore.Options{})
		r, err := db.Load(t.Context(), "a")
		if err != nil || r.Schema != 99 {
			t.Errorf("Load = schema %d, %v, want 99", r.Schema, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVersionsAreNeverUsedAgain(t *testing.T) {
	path := file(t)
	last := int64(0)
	for _, id := range []string{"a", "b", "c"} {
		db := open(t, path, sqlstore.Options{})
		r := create(t, db, id)
		if r.Version <= last {
			t.Errorf("version %d follows %d", r.Version, last)
		}
		last = r.Version
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
