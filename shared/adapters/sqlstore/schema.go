package sqlstore

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"

	"errand/shared/task"
)

// application marks the file as Errand's ("ERND"), so that the program never writes to the
// database of another one.
// https://www.sqlite.org/pragma.html#pragma_application_id
const application = 0x45524e44

// A migration brings a file from schema i to i+1. It is a script, followed by a function for
// facts that only this program can read from the records.
type migration struct {
	script string
	fill   func(*conn) error // runs after the script; may be nil
}

// migrations are never changed. New ones are appended.
//
// The body is the last of the first columns, and the value of an entry is its last column,
// because the end of a row lies in overflow pages. A read of the columns before them does
// not touch these pages. The index for lists contains all columns of a filter, so that only
// the rows of the page are read.
//
// A later column comes after the body. It must be NULL or 1, because these values are in
// the header of the row, and reading them does not touch the overflow pages.
// https://www.sqlite.org/fileformat2.html#record_format
var migrations = []migration{{script: `
CREATE TABLE opened (n INTEGER NOT NULL);
INSERT INTO opened VALUES (0);
CREATE TABLE task (
	id      TEXT NOT NULL UNIQUE,
	version INTEGER NOT NULL,
	owner   TEXT NOT NULL,
	context TEXT NOT NULL,
	state   TEXT NOT NULL,
	stamp   INTEGER NOT NULL, -- of the status, milliseconds
	due     INTEGER,          -- microseconds; NULL: nothing is owed
	lane    TEXT,             -- of what is owed
	leased  INTEGER,          -- 1, or NULL
	expires INTEGER,          -- milliseconds; NULL: not yet known
	head    BLOB NOT NULL,
	body    BLOB NOT NULL
);
CREATE INDEX task_list    ON task (owner, stamp, state, expires);
CREATE INDEX task_context ON task (owner, context, stamp);
CREATE INDEX task_due     ON task (lane, due, id) WHERE due IS NOT NULL;
CREATE INDEX task_leased  ON task (leased) WHERE leased IS NOT NULL;
CREATE INDEX task_expires ON task (expires) WHERE expires IS NOT NULL;
`}, {script: `
ALTER TABLE task ADD COLUMN dead INTEGER; -- 1: a webhook is dead; or NULL
CREATE INDEX task_dead_owner ON task (owner, stamp, id) WHERE dead IS NOT NULL;
CREATE INDEX task_dead       ON task (stamp, id) WHERE dead IS NOT NULL;
`, fill: fillDead}, {script: `
CREATE TABLE kv (
	key     TEXT NOT NULL UNIQUE,
	version INTEGER NOT NULL,
	owner   TEXT NOT NULL,
	expires INTEGER, -- milliseconds; NULL: never
	value   BLOB NOT NULL
);
CREATE INDEX kv_expires ON kv (expires) WHERE expires IS NOT NULL;
`}, {script: `
-- How many tasks there are of an owner in each state, expired ones included: in all,
-- with context '', and in each context that has ever had 64 of them. Such a context has
-- a row with state '' too, which says that the others are there; what is in a smaller one
-- is counted.
CREATE TABLE tally (
	owner   TEXT NOT NULL,
	context TEXT NOT NULL,
	state   TEXT NOT NULL,
	n       INTEGER NOT NULL,
	PRIMARY KEY (owner, context, state)
) WITHOUT ROWID;

CREATE TRIGGER tally_begun AFTER INSERT ON tally WHEN NEW.state = '' AND NEW.context <> '' BEGIN
	INSERT INTO tally SELECT NEW.owner, NEW.context, s.column1, (SELECT count(*) FROM task INDEXED BY task_context
		WHERE owner = NEW.owner AND context = NEW.context AND state = s.column1)
	FROM (VALUES ('TASK_STATE_SUBMITTED'), ('TASK_STATE_WORKING'), ('TASK_STATE_INPUT_REQUIRED'), ('TASK_STATE_AUTH_REQUIRED'),
		('TASK_STATE_COMPLETED'), ('TASK_STATE_CANCELED'), ('TASK_STATE_FAILED'), ('TASK_STATE_REJECTED')) AS s;
END;

INSERT INTO tally SELECT owner, '', state, count(*) FROM task GROUP BY owner, state;
INSERT INTO tally SELECT owner, context, '', 0 FROM task WHERE context <> '' GROUP BY owner, context HAVING count(*) >= 64;

CREATE TRIGGER task_made AFTER INSERT ON task BEGIN
	INSERT INTO tally VALUES (NEW.owner, '', NEW.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
	UPDATE tally SET n = n + 1 WHERE owner = NEW.owner AND context = NEW.context AND state = NEW.state AND NEW.context <> '';
	INSERT OR IGNORE INTO tally SELECT NEW.owner, NEW.context, '', 0 WHERE NEW.context <> '' AND 64 =
		(SELECT count(*) FROM (SELECT 1 FROM task INDEXED BY task_context WHERE owner = NEW.owner AND context = NEW.context LIMIT 65));
END;

CREATE TRIGGER task_moved AFTER UPDATE OF state ON task WHEN OLD.state <> NEW.state BEGIN
	UPDATE tally SET n = n - 1 WHERE owner = NEW.owner AND context IN ('', NEW.context) AND state = OLD.state;
	INSERT INTO tally VALUES (NEW.owner, '', NEW.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
	UPDATE tally SET n = n + 1 WHERE owner = NEW.owner AND context = NEW.context AND state = NEW.state AND NEW.context <> '';
END;

CREATE TRIGGER task_gone AFTER DELETE ON task BEGIN
	UPDATE tally SET n = n - 1 WHERE owner = OLD.owner AND context IN ('', OLD.context) AND state = OLD.state;
	DELETE FROM tally WHERE owner = OLD.owner AND context IN ('', OLD.context)
		AND 0 = (SELECT sum(t.n) FROM tally AS t WHERE t.owner = OLD.owner AND t.context = tally.context);
END;

-- A total subtracts the expired tasks of its owner, and reads no other owner's.
CREATE INDEX task_expired ON task (owner, expires, context, state) WHERE expires IS NOT NULL;
`}, {script: `
-- Rows of task that could not be read, as they were. Columns without a type keep any value.
CREATE TABLE aside (
	at  INTEGER NOT NULL, -- milliseconds
	why TEXT NOT NULL,
	id, version, owner, context, state, stamp, due, lane, leased, expires, head, body, dead
);

-- The bytes of the records of an owner, deleted ones excluded: of head and body, as they are
-- stored. The writer counts them.
CREATE TABLE stored (
	owner TEXT NOT NULL PRIMARY KEY,
	bytes INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO stored SELECT owner, sum(octet_length(head) + octet_length(body)) FROM task GROUP BY owner;

-- The owner of a deleted task becomes a BLOB, which equals no owner of a list or a total. So
-- the task leaves all of them, and its id stays until the retention ends.
CREATE TRIGGER task_hidden AFTER UPDATE OF owner ON task WHEN OLD.owner <> NEW.owner BEGIN
	UPDATE tally SET n = n - 1 WHERE owner = OLD.owner AND context IN ('', OLD.context) AND state = OLD.state;
	DELETE FROM tally WHERE owner = OLD.owner AND context IN ('', OLD.context)
		AND 0 = (SELECT sum(t.n) FROM tally AS t WHERE t.owner = OLD.owner AND t.context = tally.context);
	INSERT INTO tally VALUES (NEW.owner, '', NEW.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
`}, {script: `
-- A list of a context finds in its index all that its filters ask for, as task_list has it.
DROP INDEX task_context;
CREATE INDEX task_context ON task (owner, context, stamp, state, expires);
`}, {script: `
-- The items of batches that have not ended, by batch and line, which their ids tell.
CREATE INDEX task_open ON task (substr(id, 10, 36), CAST(substr(id, 47) AS BIGINT)) WHERE substr(id, 44, 3) = '-b-'
	AND state NOT IN ('TASK_STATE_COMPLETED', 'TASK_STATE_CANCELED', 'TASK_STATE_FAILED', 'TASK_STATE_REJECTED');

-- The column owner of an item names the list of its batch, which ends with the true owner
-- (task.ItemLister). A virtual column has no place in the row.
ALTER TABLE task ADD COLUMN whose TEXT GENERATED ALWAYS AS (CASE WHEN substr(id, 44, 3) = '-b-' AND typeof(owner) = 'text'
	THEN CAST(substr(CAST(owner AS BLOB), 38) AS TEXT) END) VIRTUAL; -- the owner of an item; or NULL
DROP INDEX task_dead_owner;
CREATE INDEX task_dead_owner ON task (coalesce(whose, owner), stamp, id) WHERE dead IS NOT NULL;
`}}

// fillDead marks the records that had a dead webhook before the column existed. It decodes
// their stored form as all other code does. SQLite's JSON functions would not do, because
// they call a text damaged whose nesting is allowed to clients.
func fillDead(c *conn) error {
	var ids []string
	err := c.query(func(row []driver.Value) error {
		r, err := decodeRecord(row)
		if errors.Is(err, task.ErrUnreadable) {
			return nil // a page of dead webhooks could not show the record
		}
		if err == nil && r.HasDead() {
			ids = append(ids, r.ID())
		}
		return err
	}, "SELECT id, version, head FROM task WHERE instr(head, CAST(? AS BLOB))", `"`+task.WebhookDead+`"`)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := c.exec("UPDATE task SET dead = 1 WHERE id = ?", id); err != nil {
			return err
		}
	}
	return nil
}

var (
	errNotOurs = errors.New("it is not a database of this program: name another file")
	errDamaged = errors.New("it is damaged: replace it by a copy, or name another file")
	errNewer   = errors.New("it was written by a newer version of this program: use that version, or name another file")
)

// setUp configures the writing connection and migrates the file. It does not write to a file
// of another program.
func setUp(c *conn, log *slog.Logger) error {
	app, err := c.number("PRAGMA application_id")
	if err != nil {
		return err
	}

	schema, err := c.number("PRAGMA user_version")
	if err != nil {
		return err
	}

	tables, err := c.number("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}

	switch {
	case app != application && (app != 0 || schema != 0 || tables != 0):
		return errNotOurs
	case schema > int64(len(migrations)):
		return errNewer
	}

	// FULL syncs the log at every commit, so that acknowledged writes survive a power cut.
	if err := c.script(`
		PRAGMA journal_mode = WAL;
		PRAGMA synchronous = FULL;
		PRAGMA cache_size = -4096;
		PRAGMA temp_store = MEMORY;`); err != nil {
		return err
	}

	newest := int64(len(migrations))
	if schema == newest {
		return nil
	}
	if schema > 0 {
		log.Info("migrating the database; this takes a while if it has many tasks", "from", schema, "to", newest)
	}

	return migrate(c, schema, newest)
}

// migrate brings the file from one schema to another, and updates user_version, in one
// transaction. If it fails, the caller closes the connection and the file is unchanged, so
// that the older program can go on with it.
func migrate(c *conn, from, to int64) error {
	if err := c.script("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for i, m := range migrations[from:to] {
		err := c.script(m.script)
		if err == nil && m.fill != nil {
			err = m.fill(c)
		}
		if err != nil {
			return fmt.Errorf("migrating to schema %d: %w", from+int64(i)+1, err)
		}
	}
	return c.script(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT;", application, to))
}
