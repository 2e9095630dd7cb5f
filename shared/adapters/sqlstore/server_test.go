package sqlstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/conformance"
	"errand/shared/lab/postgres"
)

// openServer opens a store on a database.
func openServer(t testing.TB, s sqlstore.Server, opts sqlstore.Options) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.OpenServer(t.Context(), s, opts)
	return opened(t, db, err)
}

// connected is a session beside the store, which ends with the test.
func connected(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // a failed test may have broken it
	return c
}

// run runs statements in a session.
func run(t testing.TB, c *pgx.Conn, statements string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// empty deletes all that the laws before have stored. A new database takes longer.
const empty = "TRUNCATE task, kv, tally, stored"

func TestServerStore(t *testing.T) {
	for name, with := range map[string]struct {
		opts  sqlstore.Options
		alone bool
	}{
		"Shared": {}, "AloneWithoutCache": {opts: sqlstore.Options{CacheRecords: -1}, alone: true},
	} {
		t.Run(name, func(t *testing.T) {
			url := postgres.Database(t)
			conformance.Store(t, func(t *testing.T, now func() time.Time) conformance.Stored {
				with.opts.Now = now
				db := openServer(t, sqlstore.Server{Spec: url, Alone: with.alone}, with.opts)
				script(t, url, empty)
				return db
			})
		})
	}
}

func TestServerStoreSkipsUnreadable(t *testing.T) {
	url := postgres.Database(t)
	conformance.StoreWithUnreadable(t, func(t *testing.T, now func() time.Time) (conformance.Stored, func(string, []byte)) {
		db := openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{Now: now, CacheRecords: -1})
		script(t, url, empty)
		return db, func(id string, head []byte) {
			script(t, url, fmt.Sprintf("UPDATE task SET head = '\\x%x' WHERE id = '%s'", head, id))
		}
	})
}

// script runs statements on a database.
func script(t testing.TB, url, text string) {
	t.Helper()
	c := connected(t, url)
	defer c.Close(t.Context())
	run(t, c, text)
}

func TestServerKV(t *testing.T) {
	url := postgres.Database(t)
	openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{})
	conformance.KV(t, func(t *testing.T, now func() time.Time) func() conformance.Database {
		script(t, url, empty)
		return func() conformance.Database {
			return openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{Now: now})
		}
	})
}
