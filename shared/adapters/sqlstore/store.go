package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"

	"errand/shared/task"
)

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
	return db.engine.newest(ctx, id)
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

// columns are the indexed fields of a record. nil is NULL.
type columns struct {
	owner, context, state            string // owner is the lister
	stamp                            int64
	due, lane, leased, expires, dead any
}

func columnsOf(r task.Record) columns {
	i := r.Indexed()
	c := columns{owner: i.Lister, context: i.Context, state: i.State, stamp: i.Stamp.UnixMilli()}
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
