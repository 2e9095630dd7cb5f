package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"errand/shared/task"
)

func (db *DB) file() *embedded { return db.engine.(*embedded) }

// Script runs statements of a test in a write.
func (db *DB) Script(ctx context.Context, text string) error {
	return db.submit(ctx, &write{sqlite: func(w *writer) error { return w.conn.script(text) }})
}

// Hold keeps the writer busy until release is called, so that all writes meanwhile become
// one group.
func (db *DB) Hold(ctx context.Context) (release func()) {
	held, free := make(chan struct{}), make(chan struct{})
	wait := sync.OnceFunc(func() {
		close(held)
		<-free
	})
	go db.submit(ctx, &write{
		sqlite: func(*writer) error { wait(); return nil },
		postgres: func() statement {
			return statement{text: "SELECT 1", took: func(sums, [][]driver.Value) error { wait(); return nil }}
		},
	})
	<-held
	return func() { close(free) }
}

// Waiting returns the number of writes that wait for the writer.
func (db *DB) Waiting() int { return len(db.writes) }

// Number runs a query with an integer result on the writing connection.
func (db *DB) Number(ctx context.Context, query string) (n int64, err error) {
	err = db.submit(ctx, &write{sqlite: func(w *writer) (err error) {
		n, err = w.conn.number(query)
		return err
	}})
	return n, err
}

// Ran returns the number of statements on all connections since they were opened.
func (db *DB) Ran(ctx context.Context) (n int) {
	_ = db.submit(ctx, &write{sqlite: func(w *writer) error {
		n = w.conn.ran - 1 // without the BEGIN of this group
		return nil
	}})
	for _, pool := range []chan *conn{db.file().loaders, db.file().listers} {
		var all []*conn
		for range readers {
			c := <-pool
			n += c.ran
			all = append(all, c)
		}
		for _, c := range all {
			pool <- c
		}
	}
	return n
}

// OldFile makes a file of an older schema and runs a script on it.
func OldFile(ctx context.Context, path string, schema int64, script string) error {
	c, err := connect(ctx, dsn(path, ""))
	if err != nil {
		return err
	}
	return errors.Join(migrate(c, 0, schema), c.script(script), c.close())
}

// Tallied is the statement of a total.
var Tallied = tallied

// Plan returns SQLite's plan for a statement, with a line for each step.
func (db *DB) Plan(ctx context.Context, query string, args ...any) (string, error) {
	var plan strings.Builder
	err := db.read(ctx, true, func(c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) error {
			fmt.Fprintln(&plan, row[3])
			return nil
		}, "EXPLAIN QUERY PLAN "+query, args...)
	})
	return plan.String(), err
}

// WithSpace returns opts for a disk whose space the test says.
func WithSpace(opts Options, space func(folder string) (free, total int64, err error)) Options {
	opts.space = space
	return opts
}

// FillAfter lets n writing statements run, and fails the later ones as a full disk does,
// while full returns true.
func (db *DB) FillAfter(ctx context.Context, n int, full func() bool) error {
	return db.submit(ctx, &write{sqlite: func(w *writer) error {
		left := n + 1 // the COMMIT of this group
		w.conn.fault = func() error {
			if left--; left < 0 && full() {
				return errNoRoom
			}
			return nil
		}
		return nil
	}})
}

// Forget makes the next Room look again.
func (db *DB) Forget() {
	db.file().reserve.mu.Lock()
	defer db.file().reserve.mu.Unlock()
	db.file().reserve.checked = time.Time{}
}

// WithLog returns opts with a limit of the log's bytes.
func WithLog(opts Options, bytes int64) Options {
	opts.logMost = bytes
	return opts
}

// Listing runs f while one reader for lists is taken on behalf of an owner.
func (db *DB) Listing(ctx context.Context, owner string, f func(ctx context.Context)) error {
	return db.readList(ctx, owner, func(ctx context.Context, c reader) error {
		f(ctx)
		return ctx.Err()
	})
}

// Filter is the condition of a list.
var Filter = filter

// DeadOf is the condition of a list of dead webhooks.
func (db *DB) DeadOf(q task.DeadQuery) string {
	where, _ := deadOf(q, db.engine.owner())
	return where
}

// ServerPlan returns Postgres' plan for a statement, with a line for each step.
func (db *DB) ServerPlan(ctx context.Context, query string, args ...any) (string, error) {
	var plan strings.Builder
	err := db.read(ctx, true, func(c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) error {
			fmt.Fprintln(&plan, row[0])
			return nil
		}, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) "+query, args...)
	})
	return plan.String(), err
}

// Endless is a statement that returns no row and takes a second or more.
func (db *DB) Endless(ctx context.Context, owner string) error {
	return db.readList(ctx, owner, func(ctx context.Context, c reader) error {
		return c.queryWithin(ctx, func([]driver.Value) error { return nil },
			"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000000) SELECT i FROM n WHERE i < 0")
	})
}

// Errors of opening a Postgres database.
var (
	ErrOccupied   = errOccupied
	ErrEncoding   = errEncoding
	ErrNewerThere = errNewerThere
)

// LockKey is the first advisory lock of a Postgres database.
const LockKey = lockKey

// ItemOwner is the owner of a row of Postgres, also of an item's.
const ItemOwner = itemOwner

// ServerSchema is the schema of a Postgres database.
var ServerSchema = int64(len(serverMigrations))

// WithMigrations returns opts of a later version of the program.
func WithMigrations(opts Options, more ...string) Options {
	opts.migrations = append(slices.Clone(serverMigrations), more...)
	return opts
}

// WithRecheck returns opts with the time between two reads of a watched record.
func WithRecheck(opts Options, every time.Duration) Options {
	opts.recheck = every
	return opts
}

// WithManyInContext returns opts with tallies for contexts of so many tasks on Postgres.
func WithManyInContext(opts Options, n int) Options {
	opts.manyInContext = n
	return opts
}

// WithRowFor returns opts with another time that groups wait for rows on Postgres.
func WithRowFor(opts Options, timeout string) Options {
	opts.rowFor = timeout
	return opts
}

// Backend returns the process of the server that last wrote for this store.
func (db *DB) Backend() uint32 { return db.engine.(*server).pid.Load() }

// PurgeRecords deletes expired records, up to the limit.
func (db *DB) PurgeRecords(ctx context.Context, before time.Time, limit int) (int, error) {
	list, err := db.Expired(ctx, task.Shard{}, before, task.Ref{}, limit)
	if err != nil {
		return 0, err
	}
	return db.Remove(ctx, list)
}

// Purge deletes expired records, up to the limit, and then as many expired entries.
func (db *DB) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := db.PurgeRecords(ctx, before, limit)
	if err == nil {
		_, err = db.KV().Purge(ctx, before, limit)
	}
	return n, err
}

// Statements about open items.
const (
	CountOpen = countOpen
	ListOpen  = listOpen
)
