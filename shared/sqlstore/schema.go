package sqlstore

import (
	"errors"
	"fmt"
)

// application marks the file as Errand's ("ERND"), so that the database of some
// other program is never written to.
// https://www.sqlite.org/pragma.html#pragma_application_id
const application = 0x45524e44

// migrations bring a file from schema i to i+1. They are never changed, only
// added to. Each runs in one transaction together with the mark that it ran.
//
// The body is the last column: a row's tail lies in overflow pages, which a read
// of the columns before it does not touch. The index for lists holds everything
// a filter asks for, so that only the rows of the page are read.
var migrations = []string{`
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
`}

var (
	errNotOurs = errors.New("it is not a database of this program: name another file")
	errNewer   = errors.New("it was written by a newer version of this program: use that version, or name another file")
)

// setUp configures the writing connection and migrates the file. Nothing is
// written to a file that is not ours.
func setUp(c *conn) error {
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
	// FULL syncs the log at every commit: what was acknowledged survives a power
	// cut. A checkpoint every 16 MiB of log, not 4, writes a page that changes
	// often a quarter as many times.
	if err := c.script(`
		PRAGMA journal_mode = WAL;
		PRAGMA synchronous = FULL;
		PRAGMA wal_autocheckpoint = 4096;
		PRAGMA journal_size_limit = 33554432;
		PRAGMA cache_size = -4096;
		PRAGMA temp_store = MEMORY;`); err != nil {
		return err
	}
	for ; schema < int64(len(migrations)); schema++ {
		step := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT;",
			migrations[schema], application, schema+1)
		if err := c.script(step); err != nil {
			return errors.Join(fmt.Errorf("migrating to schema %d: %w", schema+1, err), c.script("ROLLBACK"))
		}
	}
	return nil
}
