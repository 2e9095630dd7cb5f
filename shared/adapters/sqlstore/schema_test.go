package sqlstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// A file of schema 1 had no column for records with a dead webhook.
func TestMigrationFindsDeadWebhooks(t *testing.T) {
	now := time.Now()

	hooked := func(id string, change ...func(*task.Record)) task.Record {
		r := plain(id, 0)
		r.Owner, r.Task = "someone", taskOf(id, now)
		r.Webhooks = []task.Webhook{
			{ID: "1", Gen: 1, URL: "https://example.com/1", State: task.WebhookActive},
			{ID: "2", Gen: 2, URL: "https://example.com/2", State: task.WebhookDead},
		}

		for _, c := range change {
			c(&r)
		}

		return r
	}

	nested := any("leaf")
	for range 2000 { // SQLite's JSON functions accept at most 1,000 levels
		nested = []any{nested}
	}

	var script strings.Builder
	insert := func(id string, head, body []byte) {
		fmt.Fprintf(&script, `INSERT INTO task (id, version, owner, context, state, stamp, head, body)
			VALUES ('%s', 1, 'someone', 'c', 'TASK_STATE_SUBMITTED', %d, x'%x', x'%x');`, id, now.UnixMilli(), head, body)
	}

	for _, r := range []task.Record{
		hooked("dead"),
		hooked("deep", func(r *task.Record) { r.Task.Metadata = map[string]any{"x": nested} }),
		hooked("none", func(r *task.Record) { r.Webhooks = nil }),
		hooked("works", func(r *task.Record) { r.Webhooks = r.Webhooks[:1] }),
		hooked("says", func(r *task.Record) {
			r.Webhooks = nil
			r.Requests = []task.Request{{ID: "m", Metadata: map[string]any{"hooks": []any{map[string]any{"state": "dead"}}}}}
		}),
	} {
		enc, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		insert(r.ID(), enc.Head, enc.Body)
	}

	newer := hooked("newer")
	enc, err := newer.Encode()
	if err != nil {
		t.Fatal(err)
	}

	insert("newer", []byte(strings.Replace(string(enc.Head), `"schema":1`, `"schema":99`, 1)), enc.Body)
	insert("unreadable", []byte(`{"state":"dead"`), enc.Body)

	path := file(t)
	if err := sqlstore.OldFile(t.Context(), path, 1, script.String()); err != nil {
		t.Fatal(err)
	}

	want := []string{"newer", "deep", "dead"}
	for _, opening := range []string{"first", "second"} {
		db := open(t, path, sqlstore.Options{})
		for _, q := range []task.DeadQuery{{Owner: "someone", Limit: 100}, {All: true, Limit: 100}} {
			p, err := db.Dead(t.Context(), q)
			if err != nil {
				t.Fatalf("%s opening: Dead(%+v): %v", opening, q, err)
			}

			var got []string
			for _, r := range p.Records {
				got = append(got, r.ID())
			}

			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s opening: Dead(%+v) (-want +got):\n%s", opening, q, d)
			}
		}

		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A migration that fails at any step leaves the file unchanged, so that the older program can
// go on with it.
func TestFailedMigrationChangesNothing(t *testing.T) {
	path := file(t)
	if err := sqlstore.OldFile(t.Context(), path, 2, "CREATE TABLE tally (unexpected)"); err != nil { // schema 4 creates tally
		t.Fatal(err)
	}

	if db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{}); err == nil {
		t.Fatal("opened", db.Close())
	} else if !strings.Contains(err.Error(), "schema 4") || strings.Contains(err.Error(), "rollback") {
		t.Errorf("the error is %v", err)
	}
	if err := sqlstore.OldFile(t.Context(), path, 0, "CREATE TABLE kv (free)"); err != nil {
		t.Errorf("a part of the migration is left in the file: %v", err)
	}
}
