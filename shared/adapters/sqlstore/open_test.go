package sqlstore_test

import (
	"testing"
	"time"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// Opening ends the leases of the previous process (R3), so that their turns can be claimed at
// once.
func TestOpenEndsLeases(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	now := time.Now()
	const leased = 250 // several batches
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
	refs, err := db.Due(t.Context(), task.Turns, soon, task.Ref{}, 1000)
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

// The file opens although it has a record of a newer version of the program. The record is
// read, and its lease ends by time.
func TestOpenWithNewerRecord(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	create(t, db, "a")
	err := db.Script(t.Context(), `UPDATE task SET leased = 1,
		head = CAST(replace(CAST(head AS TEXT), '"schema":1', '"schema":99') AS BLOB)`)
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
