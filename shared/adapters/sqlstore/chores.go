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
	err := db.readList(ctx, "", func(ctx context.Context, c reader) error {
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
		want := min(left, purgeChunk)
		records, entries, err := db.purge(ctx, before, want)
		if err != nil {
			return total, fmt.Errorf("purging: %w", err)
		}
		if total += records; records < want && entries < want {
			break
		}
	}
	return total, nil
}

// purge deletes some records and entries in one write, and returns their numbers. On Postgres
// it leaves out those that another process is deleting or changing, and waits for no lock.
func (db *DB) purge(ctx context.Context, before time.Time, limit int) (int, int, error) {
	op := &write{}
	var records, entries int // after an error the writer may still set them
	op.sqlite = func(w *writer) (err error) {
		if records, op.gone, err = w.purge(before, limit); err == nil {
			entries, err = w.purgeEntries(before, limit)
		}
		return err
	}

	op.postgres = func() statement { return purging(op, before, limit, &records, &entries) }
	if err := db.submit(ctx, op); err != nil {
		return 0, 0, err
	}
	return records, entries, nil
}

// purging is the same in one statement.
func purging(op *write, before time.Time, limit int, records, entries *int) statement {
	return statement{
		text: `
			WITH records AS (
				DELETE FROM task USING (SELECT id FROM task WHERE expires < ?1 ORDER BY expires LIMIT ?2 FOR UPDATE SKIP LOCKED) AS old
				WHERE task.id = old.id RETURNING task.id, ` + rowColumns + `
			), entries AS (
				DELETE FROM kv USING (SELECT key FROM kv WHERE expires < ?1 ORDER BY expires LIMIT ?2 FOR UPDATE SKIP LOCKED) AS old
				WHERE kv.key = old.key RETURNING 1
			)
			SELECT owner, context, state, bytes, id FROM records UNION ALL SELECT NULL, NULL, NULL, count(*), NULL FROM entries`,
		args: []any{before.UnixMilli(), int64(limit)},

		took: func(s sums, rows [][]driver.Value) error {
			*records, op.gone = 0, nil
			for _, row := range rows {
				id, ok := row[4].(string)
				if !ok { // the row about the entries
					n, _ := row[3].(int64)
					*entries = int(n)
					continue
				}
				*records++
				s.leave(rowIn(row))
				op.gone = append(op.gone, id)
			}
			return nil
		},
	}
}

// purge also returns the ids of the deleted records, apart from those of damaged rows.
func (w *writer) purge(before time.Time, limit int) (n int, gone []string, err error) {
	rows, err := w.conn.find("INDEXED BY task_expires WHERE expires < ? ORDER BY expires LIMIT ?", before.UnixMilli(), int64(limit))
	if err != nil {
		return 0, nil, err
	}
	for _, row := range rows {
		if err := w.drop(row); err != nil {
			return 0, nil, err
		}
		if id, ok := row.id.(string); ok {
			gone = append(gone, id)
		}
	}
	return len(rows), gone, nil
}

func (w *writer) purgeEntries(before time.Time, limit int) (int, error) {
	n, err := w.conn.exec(`DELETE FROM kv WHERE rowid IN
		(SELECT rowid FROM kv INDEXED BY kv_expires WHERE expires < ? ORDER BY expires LIMIT ?)`, before.UnixMilli(), int64(limit))
	return int(n), err
}
