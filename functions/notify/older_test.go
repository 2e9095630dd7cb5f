package notify_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/keys"
	"errand/shared/secret"
	"errand/shared/task"
)

// Webhooks in a file of schema 2 go on. A webhook that is behind is served, with the token that
// was sealed then. A dead webhook is found and re-driven.
func TestWebhooksOfAnOlderFileGoOn(t *testing.T) {
	files := map[string][]byte{}
	for _, name := range []string{"schema2.sqlite", "schema2.keys"} {
		var err error
		if files[name], err = os.ReadFile("../../shared/adapters/sqlstore/testdata/" + name); err != nil {
			t.Fatal(err)
		}
	}

	synctest.Test(t, func(t *testing.T) {
		killed := time.Date(2026, time.November, 29, 13, 22, 30, 0, time.UTC)
		time.Sleep(time.Until(killed))
		path := filepath.Join(t.TempDir(), "older.db")
		if err := os.WriteFile(path, files["schema2.sqlite"], 0o600); err != nil {
			t.Fatal(err)
		}

		w := &world{t: t, client: &receivers{}}
		w.keys = keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) { return secret.NewValue(files["schema2.keys"]) }})
		w.open(path)

		p, err := w.Store.Dead(t.Context(), task.DeadQuery{All: true, Limit: 10})
		if err != nil || len(p.Records) != 1 {
			t.Fatalf("Dead = %v, %v, want one task", p.Records, err)
		}

		dead := p.Records[0]
		w.update(dead.ID(), func(r task.Record) (task.Record, bool, error) {
			return r.Redrive(w.Moment(), dead.Webhooks[0].ID, dead.Webhooks[0].Gen, 0)
		})

		w.deliver(dead.ID())
		due, err := w.Store.Due(t.Context(), task.Deliveries, task.Shard{}, killed.Add(time.Hour), task.Ref{}, 10)
		if err != nil || len(due) != 1 {
			t.Fatalf("Due = %v, %v, want one task", due, err)
		}

		time.Sleep(time.Until(due[0].At) + time.Second)
		w.deliver(due[0].ID)

		for url, id := range map[string]string{"http://127.0.0.1:9412/gone": dead.ID(), "http://127.0.0.1:9412/busy": due[0].ID} {
			if diff := cmp.Diff([]string{id + "/1", id + "/2"}, w.client.ids(url)); diff != "" {
				t.Errorf("%s was told (-want +got):\n%s", url, diff)
			}
		}

		for _, c := range w.client.calls("http://127.0.0.1:9412/busy") {
			if c.header.Get("X-A2A-Notification-Token") != "secret-token" {
				t.Errorf("%s came with %v", c.id, c.header)
			}
		}
	})
}
