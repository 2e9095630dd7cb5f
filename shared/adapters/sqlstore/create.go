package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"

	"errand/shared/task"
)

// Create stores a new record.
func (db *DB) Create(ctx context.Context, r task.Record) (task.Record, error) {
	next, err := db.change(ctx, r, (*writer).create, db.creating)
	if err != nil {
		return task.Record{}, fmt.Errorf("creating task %s: %w", r.ID(), err)
	}
	return next, nil
}

// create inserts a record. It may replace an expired one.
func (w *writer) create(r task.Record, enc *task.Encoded) (task.Record, error) {
	if w.sparing {
		return task.Record{}, errSpared
	}
	w.version++
	r.Version = w.version
	now := w.db.opts.Now().UnixMilli()

	n, err := w.insert(r, enc, now)
	if err != nil || n > 0 {
		return r, err
	}

	old, err := w.conn.find("WHERE id = ? AND expires <= ?", r.ID(), now)
	if err == nil && len(old) > 0 {
		if err = w.drop(old[0]); err == nil {
			n, err = w.insert(r, enc, now)
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
func (w *writer) insert(r task.Record, enc *task.Encoded, now int64) (int64, error) {
	c := columnsOf(r)
	n, err := w.conn.exec(`
		INSERT INTO task (id, version, owner, context, state, stamp, due, lane, leased, expires, dead, head, body)
		SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
			WHERE NOT EXISTS (SELECT 1 FROM task WHERE id = ? AND (expires IS NULL OR expires > ?))
		ON CONFLICT DO NOTHING`,
		r.ID(), r.Version, c.owner, c.context, c.state, c.stamp, c.due, c.lane, c.leased, c.expires, c.dead, enc.Head, enc.Body,
		task.Former(r.ID()), now)
	if n > 0 {
		w.sums.come(placed{lister: c.owner, owner: r.Owner, counted: true, bytes: int64(enc.Size())})
	}
	return n, err
}

// creating is the same in one statement, because each further one would be a round trip. Its
// snapshot is older than the lock of the row, so it replaces only the version that it has seen.
func (db *DB) creating(op *write, r task.Record, enc *task.Encoded) statement {
	c := columnsOf(r)
	return statement{
		text: `
			WITH was AS (SELECT version, ` + rowColumns + ` FROM task WHERE id = ?1)
			INSERT INTO task AS t (id, version, owner, context, state, stamp, due, lane, leased, expires, dead, head, body)
			SELECT ?1, nextval('task_version'), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
				WHERE NOT EXISTS (SELECT 1 FROM task WHERE id = ?13 AND (expires IS NULL OR expires > ?14))
			ON CONFLICT (id) DO UPDATE SET version = excluded.version, owner = excluded.owner, context = excluded.context,
				state = excluded.state, stamp = excluded.stamp, due = excluded.due, lane = excluded.lane, leased = excluded.leased,
				expires = excluded.expires, dead = excluded.dead, head = excluded.head, body = excluded.body
				WHERE t.expires <= ?14 AND t.version = (SELECT version FROM was)
			RETURNING t.version, t.xmax = 0, (SELECT owner FROM was), (SELECT context FROM was), (SELECT state FROM was), (SELECT bytes FROM was)`,
		args: []any{r.ID(), c.owner, c.context, c.state, c.stamp, c.due, c.lane, c.leased, c.expires, c.dead, enc.Head, enc.Body,
			task.Former(r.ID()), db.opts.Now().UnixMilli()},

		took: func(s sums, rows [][]driver.Value) error {
			if len(rows) == 0 {
				return task.ErrExists
			}
			row := rows[0]
			op.next = r
			op.next.Version, _ = row[0].(int64)
			if fresh, _ := row[1].(bool); !fresh {
				s.leave(rowIn(row[2:]))
			}
			s.come(placed{lister: c.owner, owner: r.Owner, counted: true, context: c.context, state: c.state, bytes: int64(enc.Size())})
			return nil
		},
	}
}
