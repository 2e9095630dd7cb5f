package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"

	"errand/shared/task"
)

// sqliteError is SQLITE_ERROR, the code of ROLLBACK without a transaction.
const sqliteError = 1

// Create stores a new record.
func (db *DB) Create(ctx context.Context, r task.Record) (task.Record, error) {
	if _, err := r.ForStore(); err != nil {
		return task.Record{}, err
	}
	next, err := db.write(ctx, r, func(w *writer) (task.Record, error) { return w.create(r) })
	if err != nil {
		return task.Record{}, fmt.Errorf("creating task %s: %w", r.ID(), err)
	}
	return next, nil
}

// Commit replaces a stored record.
func (db *DB) Commit(ctx context.Context, r task.Record) (task.Record, error) {
	if _, err := r.ForStore(); err != nil {
		return task.Record{}, err
	}
	next, err := db.write(ctx, r, func(w *writer) (task.Record, error) { return w.commit(r) })
	if err != nil {
		return task.Record{}, fmt.Errorf("committing task %s: %w", r.ID(), err)
	}
	return next, nil
}

// Load reads one record.
func (db *DB) Load(ctx context.Context, id string) (task.Record, error) {
	r, err := db.load(ctx, id)
	if err == nil {
		err = r.Left(db.opts.Now())
	}
	if err != nil {
		db.skips.Skip(ctx, id, err)
		if !errors.Is(err, task.ErrDeleted) {
			r = task.Record{}
		}
		return r, fmt.Errorf("loading task %s: %w", id, err)
	}
	return r, nil
}

// Watch yields the record and then newer versions of it. It ends with ErrClosed
// when the store is closed.
func (db *DB) Watch(ctx context.Context, id string) iter.Seq2[task.Record, error] {
	return db.topics.Watch(ctx, id)
}

func (db *DB) load(ctx context.Context, id string) (task.Record, error) {
	if err := db.usable(ctx); err != nil {
		return task.Record{}, err
	}
	r, ok, token := db.cache.get(id)
	if ok {
		return r, nil
	}
	err := db.read(ctx, db.loaders, func(c *conn) error {
		return c.query(func(row []driver.Value) (err error) {
			r, err = decodeRecord(row)
			ok = true
			return err
		}, "SELECT id, version, head, body FROM task WHERE id = ?", id)
	})
	if err != nil {
		return task.Record{}, err
	}
	if !ok {
		return task.Record{}, task.ErrNotFound
	}
	db.cache.add(r, token)
	return r, nil
}

// decodeRecord reads the columns id, version, head and, if there are four, body.
func decodeRecord(row []driver.Value) (task.Record, error) {
	id, version, head, err := columnsIn(row)
	if err != nil {
		return task.Record{}, err
	}
	var body []byte
	if len(row) > 3 {
		var ok bool
		if body, ok = row[3].([]byte); !ok {
			return task.Record{}, fmt.Errorf("%w: its body is a %T", task.ErrUnreadable, row[3])
		}
	}
	r, err := task.Decode(head, body, version)
	return own(r, id, err)
}

// decodeListed reads the fields that a list shows from the columns id, version and head.
func decodeListed(row []driver.Value) (task.Record, error) {
	id, version, head, err := columnsIn(row)
	if err != nil {
		return task.Record{}, err
	}
	r, err := task.DecodeListed(head, version)
	return own(r, id, err)
}

// own checks that a record is the one of its row.
func own(r task.Record, id string, err error) (task.Record, error) {
	if err == nil && r.ID() != id {
		err = fmt.Errorf("%w: its head is the one of another task", task.ErrUnreadable)
	}
	return r, err
}

func columnsIn(row []driver.Value) (id string, version int64, head []byte, err error) {
	id, ok := row[0].(string)
	version, ok2 := row[1].(int64)
	head, ok3 := row[2].([]byte)
	if !ok || !ok2 || !ok3 {
		return "", 0, nil, fmt.Errorf("%w: its columns are %T, %T and %T", task.ErrUnreadable, row[0], row[1], row[2])
	}
	return id, version, head, nil
}

// create inserts a record. It may replace an expired one.
func (w *writer) create(r task.Record) (task.Record, error) {
	if w.sparing {
		return task.Record{}, errSpared
	}
	w.version++
	r.Version = w.version
	now := w.db.opts.Now().UnixMilli()

	n, err := w.insert(r, now)
	if err != nil || n > 0 {
		return r, err
	}

	old, err := w.conn.find("WHERE id = ? AND expires <= ?", r.ID(), now)
	if err == nil && len(old) > 0 {
		if err = w.drop(old[0]); err == nil {
			n, err = w.insert(r, now)
		}
	}
	if err == nil && n == 0 {
		err = task.ErrExists
	}
	if err != nil {
		return task.Record{}, err
	}
	return r, nil
}

// insert returns 0 if a record with that id exists, or one under its former id that has not
// expired. The look at the former id is a part of the statement, so it costs no read.
func (w *writer) insert(r task.Record, now int64) (int64, error) {
	enc, err := r.Encode()
	if err != nil {
		return 0, err
	}
	c := columnsOf(r)
	n, err := w.conn.exec(`
		INSERT INTO task (id, version, owner, context, state, stamp, due, lane, leased, expires, dead, head, body)
		SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
			WHERE NOT EXISTS (SELECT 1 FROM task WHERE id = ? AND (expires IS NULL OR expires > ?))
		ON CONFLICT DO NOTHING`,
		r.ID(), r.Version, c.owner, c.context, c.state, c.stamp, c.due, c.lane, c.leased, c.expires, c.dead, enc.Head, enc.Body,
		task.Former(r.ID()), now)
	if n > 0 {
		w.sums.come(placed{owner: c.owner, counted: true, bytes: int64(enc.Size())})
	}
	return n, err
}

func (w *writer) commit(r task.Record) (task.Record, error) {
	enc, err := r.Encode()
	if err != nil {
		return task.Record{}, err
	}
	was, err := w.replaced(r)
	if err != nil {
		return task.Record{}, err
	}

	old := r.Version
	w.version++
	r.Version = w.version
	if r.Deleted {
		if err := w.hide(r.ID(), old); err != nil {
			return task.Record{}, err
		}
	}

	c := columnsOf(r)
	n, err := w.conn.exec(`
		UPDATE task SET version = ?, state = ?, stamp = ?, due = ?, lane = ?, leased = ?, expires = ?, dead = ?,
			head = ?, body = ?
		WHERE id = ? AND version = ?`,
		r.Version, c.state, c.stamp, c.due, c.lane, c.leased, c.expires, c.dead, enc.Head, enc.Body, r.ID(), old)
	if err != nil {
		return task.Record{}, err
	}
	if n == 0 {
		return task.Record{}, task.ErrConflict
	}

	if r.Deleted {
		w.sums.leave(was)
	} else {
		w.sums.change(was, int64(enc.Size()))
	}
	return r, nil
}

// hide takes the record out of the lists and totals of its owner: the trigger task_hidden
// moves its counts.
func (w *writer) hide(id string, version int64) error {
	_, err := w.conn.exec("UPDATE task SET owner = CAST(owner AS BLOB) WHERE id = ? AND version = ? AND typeof(owner) = 'text'", id, version)
	return err
}

// columns are the indexed fields of a record. nil is NULL.
type columns struct {
	owner, context, state            string
	stamp                            int64
	due, lane, leased, expires, dead any
}

func columnsOf(r task.Record) columns {
	i := r.Indexed()
	c := columns{owner: i.Owner, context: i.Context, state: i.State, stamp: i.Stamp.UnixMilli()}
	if !i.Due.IsZero() {
		c.due, c.lane = i.Due.UnixMicro(), i.Lane
	}
	if i.Leased {
		c.leased = int64(1)
	}
	if !i.Expires.IsZero() {
		c.expires = i.Expires.UnixMilli()
	}
	if i.Dead {
		c.dead = int64(1)
	}
	return c
}
