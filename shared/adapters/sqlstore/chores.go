package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"errand/shared/task"
)

// purgeChunk limits the records, and the entries, that one write deletes, because the writes
// of clients wait meanwhile.
const purgeChunk = 64

// Due lists records with pending work in the queue. Times are rounded down to whole
// microseconds.
func (db *DB) Due(ctx context.Context, queue string, before time.Time, after task.Ref, limit int) ([]task.Ref, error) {
	var refs []task.Ref
	where, args := "lane = ? AND due <= ?", []any{queue, before.UnixMicro()}
	if after != (task.Ref{}) {
		where += " AND (due, id) > (?, ?)"
		args = append(args, after.At.UnixMicro(), after.ID)
	}
	err := db.readList(ctx, "", func(ctx context.Context, c *conn) error {
		return c.queryWithin(ctx, func(row []driver.Value) error {
			due, ok := row[0].(int64)
			id, ok2 := row[1].(string)
			if !ok || !ok2 { // no Load finds such a row
				db.skips.Skip(ctx, fmt.Sprintf("%x", row[1]), fmt.Errorf("%w: its columns are %T and %T", task.ErrUnreadable, row[0], row[1]))
				return nil
			}
			refs = append(refs, task.Ref{At: time.UnixMicro(due).UTC(), ID: id})
			return nil
		}, "SELECT due, id FROM task INDEXED BY task_due WHERE due IS NOT NULL AND "+where+
			" ORDER BY due, id LIMIT ?", append(args, int64(max(limit, 0)))...)
	})
	if err != nil {
		return nil, fmt.Errorf("listing due tasks: %w", err)
	}
	return refs, nil
}

// Purge deletes expired records and also expired entries of [DB.KV]. The limit applies to
// each kind, so that neither kind waits for the other. Purge returns the number of records.
// The file does not shrink: SQLite uses its free pages again. Tracking them, to shrink the
// file, would slow every write down.
func (db *DB) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	_ = db.Room(ctx) // so that the reserve is taken back without a message, too
	total := 0
	for left := limit; left > 0; left -= purgeChunk {
		records, entries, want := 0, 0, min(left, purgeChunk)
		err := db.submit(ctx, &write{apply: func(w *writer) (err error) {
			if records, err = w.purge(before, want); err == nil {
				entries, err = w.purgeEntries(before, want)
			}
			return err
		}})
		if err != nil {
			return total, fmt.Errorf("purging: %w", err)
		}
		if total += records; records < want && entries < want {
			break
		}
	}
	return total, nil
}

func (w *writer) purge(before time.Time, limit int) (int, error) {
	rows, err := w.conn.find("INDEXED BY task_expires WHERE expires < ? ORDER BY expires LIMIT ?", before.UnixMilli(), int64(limit))
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if err := w.drop(row); err != nil {
			return 0, err
		}
		if id, ok := row.id.(string); ok {
			w.deleted = append(w.deleted, id)
		}
	}
	return len(rows), nil
}
