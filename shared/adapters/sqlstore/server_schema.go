package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// serverMigrations bring a Postgres database from schema i to i+1. They are never changed,
// and new ones are appended. A new one may only add, because processes of the version before
// go on with the database while it runs and after it.
//
// The tables are those of SQLite. Texts are compared byte by byte, because the order of the
// pages of a list depends on it. The owner of a deleted task is NULL. A context has tallies
// once many of its tasks were counted, since a tally of each would cost a row for each.
var serverMigrations = []string{`
CREATE SEQUENCE task_version;
CREATE TABLE task (
	id      TEXT COLLATE "C" PRIMARY KEY,
	version BIGINT NOT NULL,
	owner   TEXT COLLATE "C",          -- NULL: the task is deleted
	context TEXT COLLATE "C" NOT NULL,
	state   TEXT COLLATE "C" NOT NULL,
	stamp   BIGINT NOT NULL,           -- of the status, milliseconds
	due     BIGINT,                    -- microseconds; NULL: nothing is owed
	lane    TEXT COLLATE "C",          -- of what is owed
	leased  BIGINT,                    -- 1, or NULL
	expires BIGINT,                    -- milliseconds; NULL: not yet known
	dead    BIGINT,                    -- 1: a webhook is dead; or NULL
	head    BYTEA NOT NULL,
	body    BYTEA NOT NULL
);
CREATE INDEX task_list       ON task (owner, stamp, id, state);
CREATE INDEX task_context    ON task (owner, context, stamp, id, state);
CREATE INDEX task_due        ON task (lane, due, id) WHERE due IS NOT NULL;
CREATE INDEX task_leased     ON task (id) WHERE leased IS NOT NULL;
CREATE INDEX task_expires    ON task (expires) WHERE expires IS NOT NULL;
CREATE INDEX task_expired    ON task (owner, expires, state) WHERE expires IS NOT NULL;
CREATE INDEX task_dead_owner ON task (owner, stamp, id) WHERE dead IS NOT NULL;
CREATE INDEX task_dead       ON task (stamp, id) WHERE dead IS NOT NULL;
CREATE TABLE kv (
	key     TEXT COLLATE "C" PRIMARY KEY,
	version BIGINT NOT NULL,
	owner   TEXT COLLATE "C" NOT NULL,
	expires BIGINT,                    -- milliseconds; NULL: never
	value   BYTEA NOT NULL
);
CREATE INDEX kv_expires ON kv (expires) WHERE expires IS NOT NULL;
CREATE TABLE tally (
	owner   TEXT COLLATE "C" NOT NULL,
	context TEXT COLLATE "C" NOT NULL, -- as in SQLite   
	state   TEXT COLLATE "C" NOT NULL,
	n       BIGINT NOT NULL,
	PRIMARY KEY (owner, context, state)
) WITH (fillfactor = 50);
CREATE TABLE stored (
	owner TEXT COLLATE "C" PRIMARY KEY,
	bytes BIGINT NOT NULL
) WITH (fillfactor = 50);
`, `-- The owner of an item's row names the list of its batch: an earlier version would take it for an owner.`}

// itemOwner is the true owner of a row, whose column is escaped: of an item as [task.OwnerOf]
// says. 37 characters stand before it, twice as many as hexadecimal digits.
const itemOwner = `CASE WHEN substr(id, 44, 3) <> '-b-' THEN owner
	WHEN left(owner, 1) = chr(27) THEN chr(27) || substr(owner, 76) ELSE substr(owner, 38) END`

// serverIndexes are the indexes that came later, by name. They are not a part of a migration,
// because making one within a transaction keeps all writes waiting. Each start makes those that
// are missing, CONCURRENTLY.
var serverIndexes = []struct{ name, on string }{
	{"task_open", `task (substr(id, 10, 36), CAST(substr(id, 47) AS BIGINT)) WHERE substr(id, 44, 3) = '-b-'
		AND state NOT IN ('TASK_STATE_COMPLETED', 'TASK_STATE_CANCELED', 'TASK_STATE_FAILED', 'TASK_STATE_REJECTED')`},
	{"task_dead_whose", "task ((" + itemOwner + "), stamp, id) WHERE dead IS NOT NULL"},
}

// lockKey is the advisory lock of a database ("ERND"): of the process that is alone, shared
// by the others. The next number is the lock of a migration.
const lockKey = application

var (
	errOccupied   = errors.New("it has tables of another program: name an empty database")
	errEncoding   = errors.New("its encoding is not UTF8: create it with ENCODING 'UTF8'")
	errTaken      = errors.New("another process has the database for itself (ERRAND_QUEUE=local): stop that process, or name another database")
	errTakenMany  = errors.New("other processes have the database, and a local queue wants it alone: stop them, or set ERRAND_QUEUE and ERRAND_BUS to share it with them")
	errNewerThere = errors.New("it was migrated by a newer version of this program: use that version, or name another database")
)

const (
	setUpTries = 4
	lockAgain  = 100 * time.Millisecond
)

// setUp checks that the database is this program's, and migrates it. One process migrates at
// a time, and the others wait.
func (e *server) setUp(ctx context.Context) (err error) {
	c, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()

	// A migration of a large table takes its time.
	if _, err := c.Exec(ctx, "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)"); err != nil {
		return err
	}

	for try := 1; ; try++ {
		err := e.setUpLocked(ctx, c)
		// A process of the first version waits for the lock in a statement, and an index that is
		// being made waits for the end of the statement. Without the lock that process goes on.
		if pg, is := errors.AsType[*pgconn.PgError](err); !is || pg.Code != "40P01" || try == setUpTries {
			return err
		}
	}
}

func (e *server) setUpLocked(ctx context.Context, c *pgx.Conn) (err error) {
	if err := lockMigrations(ctx, c); err != nil {
		return err
	}
	defer func() {
		_, uerr := c.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(lockKey+1))
		err = cmp.Or(err, uerr)
	}()
	if err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return e.migrate(ctx, tx) }); err != nil {
		return err
	}
	return e.index(ctx, c)
}

// lockMigrations asks for the lock again and again, because an index that is being made waits
// for all statements that run.
func lockMigrations(ctx context.Context, c *pgx.Conn) error {
	for {
		var locked bool
		err := c.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(lockKey+1)).Scan(&locked)
		if err != nil || locked {
			return err
		}

		select {
		case <-time.After(lockAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// index makes the indexes that are missing, or whose making has failed. Other processes read
// and write meanwhile.
func (e *server) index(ctx context.Context, c *pgx.Conn) error {
	for _, i := range serverIndexes {
		var valid bool
		err := c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass($1) AND indisvalid)", i.name).Scan(&valid)
		if err != nil {
			return err
		}
		if valid {
			continue
		}

		for _, statement := range []string{"DROP INDEX CONCURRENTLY IF EXISTS " + i.name, "CREATE INDEX CONCURRENTLY " + i.name + " ON " + i.on} {
			if _, err := c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("making the index %s: %w", i.name, err)
			}
		}
	}
	return nil
}

func (e *server) migrate(ctx context.Context, tx pgx.Tx) error {
	var encoding string
	var ours bool
	var tables int
	err := tx.QueryRow(ctx, `
		SELECT current_setting('server_encoding'), to_regclass('errand_schema') IS NOT NULL,
			(SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema())`).Scan(&encoding, &ours, &tables)
	switch {
	case err != nil:
		return err
	case encoding != "UTF8":
		return errEncoding
	case !ours && tables > 0:
		return errOccupied
	}

	if !ours {
		if _, err := tx.Exec(ctx, "CREATE TABLE errand_schema (version BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT now())"); err != nil {
			return err
		}
	}

	var schema int
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM errand_schema").Scan(&schema); err != nil {
		return err
	}
	migrations := e.db.opts.migrations
	if schema > len(migrations) {
		return errNewerThere
	}

	for i, script := range migrations[schema:] {
		version := schema + i + 1
		if schema > 0 {
			e.db.opts.Log.Info("migrating the database; this takes a while if it has many tasks", "to", version)
		}
		if _, err := tx.Exec(ctx, script, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("migrating to schema %d: %w", version, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO errand_schema (version) VALUES ($1)", version); err != nil {
			return err
		}
	}
	return nil
}
