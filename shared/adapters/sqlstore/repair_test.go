package sqlstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// The file opens although leased records in it cannot be read, and says so once.
func TestOpenWithUnreadableRecords(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	create(t, db, "good")
	for i := range 120 { // more than a batch
		create(t, db, fmt.Sprint("bad", i))
	}
	if err := db.Script(t.Context(), `UPDATE task SET leased = 1, head = '{"schema":1,"id":CANARY' WHERE id <> 'good'`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	var log bytes.Buffer
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		p, err := db.List(t.Context(), task.Query{Owner: "someone", Limit: 100})
		if err != nil || len(p.Records) != 1 || p.Unreadable != 120 {
			t.Errorf("List = %d records, %d unreadable, %v; want 1 and 120", len(p.Records), p.Unreadable, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	said := log.String()
	if n := strings.Count(said, `"task":"bad7"`); n != 1 || strings.Count(said, `"alert":true`) != 120 || strings.Contains(said, "CANARY") {
		t.Errorf("bad7 is logged %d times, want once, with an alert and without content:\n%.600s", n, said)
	}
}

func TestRepair(t *testing.T) {
	path, log := file(t), slog.New(slog.DiscardHandler)
	db := open(t, path, sqlstore.Options{})
	for _, id := range []string{"good", "text", "cut", "alien"} {
		if _, err := db.Create(t.Context(), accepted(t, id, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sqlstore.OpenBench(t.Context(), path, log); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a bench beside an open store: %v", err)
	}

	err := db.Script(t.Context(), `
		UPDATE task SET head = CAST(head AS TEXT), body = CAST(body AS TEXT) WHERE id = 'text';
		UPDATE task SET head = x'7b' WHERE id = 'cut';
		UPDATE task SET head = (SELECT head FROM task WHERE id = 'good') WHERE id = 'alien'`)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	bench := func(do func(*sqlstore.Bench)) {
		t.Helper()
		b, err := sqlstore.OpenBench(t.Context(), path, log)
		if err != nil {
			t.Fatal(err)
		}
		do(b)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}

	must := func(found []sqlstore.Finding, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, f := range found {
			ids = append(ids, fmt.Sprint(f.ID, " ", f.Mendable))
		}
		return strings.Join(ids, ", ")
	}

	bench(func(b *sqlstore.Bench) {
		if got := must(b.Unreadable()); got != "text true, cut false, alien false" {
			t.Errorf("found %s", got)
		}

		found, _ := b.Unreadable()
		for _, f := range found {
			if err := b.Mend(f); err != nil {
				t.Fatal(err)
			}
		}
		if got := must(b.Unreadable()); got != "" {
			t.Errorf("found %s after the repair", got)
		}
	})

	db = open(t, path, sqlstore.Options{})
	for id, want := range map[string]bool{"good": true, "text": true, "cut": false, "alien": false} {
		if got := isStored(t, db, id); got != want {
			t.Errorf("after the repair %s is stored: %t, want %t", id, got, want)
		}
	}

	p, err := db.List(t.Context(), task.Query{Owner: "someone", Limit: 10, Count: true})
	if err != nil || len(p.Records) != 2 || p.Total != 2 {
		t.Errorf("List = %d of %d, %v, want 2 of 2", len(p.Records), p.Total, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	bench(func(b *sqlstore.Bench) {
		aside, err := b.Aside()
		if got := must(aside, err); got != "cut false, alien false" {
			t.Fatalf("aside: %s", got)
		}
		if err := b.Back(aside[0]); err != nil {
			t.Error(err)
		}
		if err := b.Drop(aside[1]); err != nil {
			t.Error(err)
		}
		if got := must(b.Unreadable()) + must(b.Aside()); got != "cut false" {
			t.Errorf("after -back and -drop there are %s", got)
		}
	})
}

// The item of a batch is counted as open, in its batch's list and among its owner's bytes while
// it is in its place, and in none of them while it is aside.
func TestRepairOfItems(t *testing.T) {
	path, batch := file(t), task.BatchID("someone", "nightly")
	db := open(t, path, sqlstore.Options{CacheRecords: -1})
	for line := range 3 {
		create(t, db, task.ItemID(batch, line+1))
	}
	again := func(when, script string, do func(*sqlstore.Bench) error, want ...int) {
		t.Helper()
		if err := errors.Join(db.Script(t.Context(), script), db.Close()); err != nil {
			t.Fatal(err)
		}
		b, err := sqlstore.OpenBench(t.Context(), path, slog.New(slog.DiscardHandler))
		if err == nil {
			err = errors.Join(do(b), b.Close())
		}
		if err != nil {
			t.Fatal(err)
		}

		db = open(t, path, sqlstore.Options{CacheRecords: -1})
		if lines, err := db.OpenLines(t.Context(), batch, 0, 10); err != nil || !slices.Equal(lines, want) {
			t.Errorf("%s: the open lines are %v, %v, want %v", when, lines, err, want)
		}
		p, err := db.List(t.Context(), task.Query{Owner: "someone", Context: batch, Limit: 10, Count: true})
		if err != nil || p.Total != len(want) {
			t.Errorf("%s: the batch's list counts %d, %v, want %d", when, p.Total, err, len(want))
		}
		countsRight(t, db, when)
	}

	damage := fmt.Sprintf(`UPDATE task SET head = CAST(head AS TEXT) WHERE id = '%s'; UPDATE task SET head = substr(head, 2) || x'20' WHERE id = '%s'`,
		task.ItemID(batch, 1), task.ItemID(batch, 2))
	again("mended", damage, func(b *sqlstore.Bench) error {
		found, err := b.Unreadable()
		for _, f := range found {
			err = errors.Join(err, b.Mend(f))
		}
		return err
	}, 1, 3)
	again("back", "", func(b *sqlstore.Bench) error {
		aside, err := b.Aside()
		if len(aside) != 1 {
			return fmt.Errorf("aside: %v, %w", aside, err)
		}
		return b.Back(aside[0])
	}, 1, 2, 3)
}

// A file with damaged pages is neither opened nor repaired, and the error names the remedy.
func TestDamagedPages(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	create(t, db, "good")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	const page = 4096 // the first pages have the schema, and the next ones have the tables and indexes
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 6 * page; i < 9*page; i++ {
		data[i] = 0xff
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}

	const want = "it is damaged: replace it by a copy"
	quiet := slog.New(slog.DiscardHandler)
	if _, err := sqlstore.Open(t.Context(), path, sqlstore.Options{Log: quiet}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Open: %v, want an error with %q", err, want)
	}
	if _, err := sqlstore.OpenBench(t.Context(), path, quiet); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("OpenBench: %v, want an error with %q", err, want)
	}
}
