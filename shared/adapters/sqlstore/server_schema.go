package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
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
`, `
CREATE INDEX task_open ON task (substr(id, 10, 36), CAST(substr(id, 47) AS BIGINT)) WHERE substr(id, 44, 3) = '-b-'
	AND state NOT IN ('TASK_STATE_COMPLETED', 'TASK_STATE_CANCELED', 'TASK_STATE_FAILED', 'TASK_STATE_REJECTED');

-- As in SQLite, but filled by the creation of an item. The version before uses task_dead_owner.
ALTER TABLE task ADD COLUMN whose TEXT COLLATE "C"; -- the owner of an item; or NULL
CREATE INDEX task_dead_whose ON task ((coalesce(whose, owner)), stamp, id) WHERE dead IS NOT NULL;
`}

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
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(lockKey+1)); err != nil {
		return err
	}

	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return e.migrate(ctx, tx) })
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
