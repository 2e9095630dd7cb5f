package sqlstore

import (
	"context"
	"database/sql/driver"
	"log/slog"

	"errand/shared/task"
)

// An ending ends the leases of the previous process, in a transaction on a database that
// belongs to one process.
type ending struct {
	reader
	exec    func(query string, args ...any) (int64, error)
	version func() (int64, error) // a new version of a record
	sums    sums
	skips   *task.Skips
	log     *slog.Logger
	now     task.Moment
}

func (w ending) end(ctx context.Context) error {
	crew, err := w.crew(ctx)
	if err != nil {
		return err
	}

	for {
		var next leased
		n, err := w.leased(ctx, " LIMIT 1", func(l leased) { next = l })
		if err != nil || n == 0 {
			return err
		}

		if next.unreadable { // no worker can run such a turn
			_, err = w.exec("UPDATE task SET leased = NULL WHERE id = ?", next.row.id)
		} else {
			err = w.one(next, crew)
		}

		if err != nil {
			return err
		}
	}
}

// crew counts the turns of the previous process.
func (w ending) crew(ctx context.Context) (crew task.Crew, err error) {
	_, err = w.leased(ctx, "", func(l leased) {
		if !l.unreadable {
			crew.Add(l.head)
		}
	})
	return crew, err
}

// A leased is a record with a lease, read without its body.
type leased struct {
	row        placed
	head       task.Record
	body       int64 // size of the body
	unreadable bool  // head and body are empty
}

// leased yields the records with leases one by one, because many large ones may have leases,
// and returns their number.
func (w ending) leased(ctx context.Context, limit string, yield func(leased)) (n int, err error) {
	err = w.queryWithin(ctx, func(columns []driver.Value) error {
		l := leased{row: placedIn(columns)}
		head, _ := columns[4].([]byte)
		l.body = l.row.bytes - int64(len(head))
		var err error
		l.head, err = decodeRecord([]driver.Value{l.row.id, columns[3], columns[4]})
		if id, _ := l.row.id.(string); w.skips.Skip(ctx, id, err) {
			l, err = leased{row: l.row, unreadable: true}, nil
		}
		if err == nil {
			n++
			yield(l)
		}
		return err
	}, "SELECT "+placedColumns+", version, head FROM task INDEXED BY task_leased WHERE leased IS NOT NULL"+limit)
	return n, err
}

// one ends a lease.
func (w ending) one(l leased, crew task.Crew) error {
	next, err := l.head.LeaseLost(w.now, crew)
	var enc *task.Encoded
	var size int64
	if err == nil {
		enc, err = next.Encode()
	}

	if err == nil {
		if size = int64(enc.Size()) + l.body; size > task.LimitStore {
			err = task.ErrTooLarge
		}
	}

	if err != nil {
		// The record has a newer schema or is full. Its lease ends by time.
		w.log.Warn("a lease could not be ended", "task", l.head.ID(), "err", err)
		_, err = w.exec("UPDATE task SET leased = NULL WHERE id = ?", l.head.ID())
		return err
	}

	version, err := w.version()
	if err != nil {
		return err
	}
	c := columnsOf(next)
	_, err = w.exec("UPDATE task SET version = ?, due = ?, lane = ?, leased = NULL, head = ? WHERE id = ?",
		version, c.due, c.lane, enc.Head, l.head.ID())
	if err == nil {
		w.sums.change(l.row, "", size)
	}
	return err
}
