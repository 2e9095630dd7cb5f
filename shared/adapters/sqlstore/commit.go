package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"

	"errand/shared/task"
)

// Commit replaces a stored record.
func (db *DB) Commit(ctx context.Context, r task.Record) (task.Record, error) {
	next, err := db.change(ctx, r, (*writer).commit, committing)
	if err != nil {
		return task.Record{}, fmt.Errorf("committing task %s: %w", r.ID(), err)
	}
	return next, nil
}

func (w *writer) commit(r task.Record, enc *task.Encoded) (task.Record, error) {
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
		w.sums.change(was, "", int64(enc.Size()))
	}
	return r, nil
}

// hide takes the record out of the lists and totals of its owner: the trigger task_hidden
// moves its counts.
func (w *writer) hide(id string, version int64) error {
	_, err := w.conn.exec("UPDATE task SET owner = CAST(owner AS BLOB) WHERE id = ? AND version = ? AND typeof(owner) = 'text'", id, version)
	return err
}

// committing is the same in one statement. A deleted record has the owner NULL, which equals
// no owner of a list or a total. was is the row as the snapshot has it: the one of the
// version, because the condition holds of the newest row too.
func committing(op *write, r task.Record, enc *task.Encoded) statement {
	c := columnsOf(r)
	return statement{
		text: `
			UPDATE task AS t SET version = nextval('task_version'), owner = CASE WHEN ?1 THEN NULL ELSE t.owner END,
				state = ?2, stamp = ?3, due = ?4, lane = ?5, leased = ?6, expires = ?7, dead = ?8, head = ?9, body = ?10
			FROM (SELECT id, ` + rowColumns + ` FROM task) AS was
			WHERE t.id = ?11 AND t.version = ?12 AND was.id = t.id
			RETURNING t.version, was.owner, was.context, was.state, was.bytes`,
		args: []any{r.Deleted, c.state, c.stamp, c.due, c.lane, c.leased, c.expires, c.dead, enc.Head, enc.Body, r.ID(), r.Version},

		took: func(s sums, rows [][]driver.Value) error {
			if len(rows) == 0 {
				return task.ErrConflict
			}
			op.next = r
			op.next.Version, _ = rows[0][0].(int64)
			was := rowIn(rows[0][1:])
			if r.Deleted {
				s.leave(was)
			} else {
				s.change(was, c.state, int64(enc.Size()))
			}
			return nil
		},
	}
}
