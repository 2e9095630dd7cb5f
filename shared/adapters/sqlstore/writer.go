package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"errand/shared/task"
)

// A writer owns the connection that writes.
type writer struct {
	db      *DB
	file    *embedded
	conn    *conn
	version int64 // the newest one
	late    bool  // begin had no room, and is still to be done
	sparing bool  // no record is created
	sums    sums  // of the group
	written int64 // bytes since the log was last looked at, about
}

// begin chooses a new range of versions for this opening, and ends the leases of the
// previous process.
//
// A version is never used again, not even for a record that was purged and created again,
// because a caller may still hold the old one.
func (w *writer) begin() error {
	if err := w.conn.script("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	clear(w.sums)
	err := w.endLeases()
	if err == nil {
		err = w.sums.settle(w.conn)
	}
	if err == nil {
		err = w.conn.script("COMMIT")
	}
	if err != nil {
		return errors.Join(err, w.rollback())
	}
	return nil
}

func (w *writer) endLeases() error {
	if _, err := w.conn.exec("UPDATE opened SET n = n + 1"); err != nil {
		return err
	}

	opened, err := w.conn.number("SELECT n FROM opened")
	if err != nil {
		return err
	}

	const perOpening = 1 << 40
	w.version = opened * perOpening
	return ending{
		reader: w.conn, exec: w.conn.exec, sums: w.sums,
		version: func() (int64, error) { w.version++; return w.version, nil },
		skips:   &w.db.skips, log: w.db.opts.Log, now: w.db.opts.Rules.At(w.db.opts.Now()),
	}.end(context.Background())
}

// errSpared refuses a new record while the reserve is being used: it is for the records that
// are there.
var errSpared = fmt.Errorf("%w: no new record takes the reserve", task.ErrFull)

// commit runs the group in one transaction and answers all of it. On a full disk it makes
// room and tries once more, without the new records: a transaction without room leaves
// nothing.
func (e *embedded) commit(group []*write) {
	w, bytes := e.writer, int64(0)
	err := w.attempt(group)
	if noRoom(err) && w.makeRoom() {
		w.sparing = true
		err = w.attempt(group)
		w.sparing = false
	}
	if noRoom(err) {
		err = fmt.Errorf("%w: %w", task.ErrFull, err)
	}

	for _, op := range group {
		bytes += op.bytes
		e.db.done(op, err)
	}
	w.shorten(bytes)
}

// makeRoom gives the reserve up, and moves the log into the file while there is room for that.
// It reports whether either has made room. Otherwise the log would take the whole reserve.
func (w *writer) makeRoom() bool {
	given := w.file.reserve.giveUp(false)
	busy, err := w.conn.number("PRAGMA wal_checkpoint(TRUNCATE)")
	if err != nil && !noRoom(err) {
		w.db.opts.Log.Warn("the log of the database cannot be emptied", "file", w.file.path, "err", err)
	}
	return given || busy == 0 && err == nil
}

// attempt runs the group in one transaction.
func (w *writer) attempt(group []*write) error {
	if w.late {
		if err := w.begin(); err != nil {
			return err
		}
		w.late = false
		w.db.cache.reset() // it may have leases that have ended now
		w.db.opts.Log.Info("there is room on the disk: tasks are written again", "file", w.file.path)
	}

	err := w.applyGroup(group)
	if err == nil {
		for _, op := range group {
			if op.id != "" {
				w.db.cache.writing(op.id)
			}
			for _, id := range op.gone {
				w.db.cache.writing(id)
			}
		}

		if _, err = w.conn.exec("COMMIT"); err != nil {
			err = fmt.Errorf("committing: %w", err)
		}

		w.report(group, err)
	}

	if err != nil {
		if rerr := w.rollback(); rerr != nil {
			w.db.opts.Log.Error("rolling back", "err", rerr)
		}
	}

	return err
}

func (w *writer) applyGroup(group []*write) error {
	if err := w.file.inPlace(); err != nil {
		return err
	}
	if _, err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	clear(w.sums)
	for _, op := range group {
		op.err = op.sqlite(w)
		if op.err != nil && !isVerdict(op.err) {
			return op.err
		}
	}
	return w.sums.settle(w.conn)
}

// report passes the outcome of a commit to the cache and the watchers. After a failed commit
// the outcome is unknown, so the cache forgets the records and the file is read again.
func (w *writer) report(group []*write, err error) {
	for _, op := range group {
		for _, id := range op.gone {
			w.db.cache.forget(id)
			if err == nil {
				w.db.topics.End(id, task.ErrNotFound)
			}
		}

		switch {
		case op.id == "":
		case err != nil:
			w.db.cache.forget(op.id)
		case op.err != nil:
			w.db.cache.keep(op.id)
		default:
			w.db.cache.wrote(op.next)
			w.db.topics.Publish(op.next)
		}
	}
}

// sqliteError is SQLITE_ERROR, the code of ROLLBACK without a transaction.
const sqliteError = 1

// rollback ends a failed transaction. SQLite has already ended it after some
// errors. https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction
func (w *writer) rollback() error {
	err := w.conn.script("ROLLBACK")
	if err != nil && code(err) == sqliteError {
		return nil
	}
	return err
}
