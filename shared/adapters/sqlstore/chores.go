package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"errand/shared/task"
)

// purgeChunk limits the records, and the entries, that one write deletes, because the writes
// of clients wait meanwhile.
const purgeChunk = 64

// Due lists records with pending work in the queue. Times are rounded down to whole
// microseconds.
func (db *DB) Due(ctx context.Context, queue string, of task.Shard, before time.Time, after task.Ref, limit int) ([]task.Ref, error) {
	return sharded(of, after, limit, refOf, func(after task.Ref, limit int) ([]task.Ref, error) {
		return db.due(ctx, queue, before, after, limit)
	})
}

func refOf(r task.Ref) task.Ref { return r }

// sharded reads a list of the records of all shards, page by page, and returns the first ones
// of one shard.
func sharded[T any](of task.Shard, after task.Ref, limit int, ref func(T) task.Ref, read func(after task.Ref, limit int) ([]T, error)) ([]T, error) {
	if of.Of <= 1 {
		return read(after, limit)
	}

	var some []T
	for limit > 0 {
		page, err := read(after, limit*of.Of)
		if err != nil {
			return nil, err
		}

		for _, e := range page {
			if of.Has(task.Bucket(ref(e).ID)) {
				some = append(some, e)
			}
			if len(some) == limit {
				return some, nil
			}
		}
		if len(page) < limit*of.Of {
			break
		}
		after = ref(page[len(page)-1])
	}
	return some, nil
}

// due lists records of all shards.
func (db *DB) due(ctx context.Context, queue string, before time.Time, after task.Ref, limit int) ([]task.Ref, error) {
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

// Expired lists expired records. A row whose id or version is damaged is listed without it.
func (db *DB) Expired(ctx context.Context, of task.Shard, before time.Time, after task.Ref, limit int) ([]task.Lapsed, error) {
	_ = db.Room(ctx) // so that the reserve is taken back without a message, too
	return sharded(of, after, limit, func(l task.Lapsed) task.Ref { return l.Ref }, func(after task.Ref, limit int) ([]task.Lapsed, error) {
		return db.expired(ctx, before, after, limit)
	})
}

// expired lists records of all shards.
func (db *DB) expired(ctx context.Context, before time.Time, after task.Ref, limit int) ([]task.Lapsed, error) {
	var list []task.Lapsed
	where, args := "expires < ?", []any{before.UnixMilli()}
	if after != (task.Ref{}) {
		where += " AND (expires, id) > (?, ?)"
		args = append(args, after.At.UnixMilli(), after.ID)
	}

	err := db.readList(ctx, "", func(ctx context.Context, c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) error {
			var l task.Lapsed
			ms, _ := row[0].(int64)
			l.At = time.UnixMilli(ms).UTC()
			l.ID, _ = row[1].(string)
			l.Version, _ = row[2].(int64)
			list = append(list, l)
			return nil
		}, "SELECT expires, id, version FROM task INDEXED BY task_expires WHERE "+where+
			" ORDER BY expires, id LIMIT ?", append(args, int64(max(limit, 0)))...)
	})
	if err != nil {
		return nil, fmt.Errorf("listing expired tasks: %w", err)
	}
	return list, nil
}

// Replaced looks at the version of the record that has the id.
func (db *DB) Replaced(ctx context.Context, l task.Lapsed) (replaced bool, err error) {
	err = db.read(ctx, false, func(c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) error {
			version, _ := row[0].(int64)
			replaced = version != l.Version
			return nil
		}, "SELECT version FROM task WHERE id = ?", l.ID)
	})
	if err != nil {
		return false, fmt.Errorf("looking for a later task %s: %w", l.ID, err)
	}
	return replaced, nil
}

// Remove deletes expired records. The file does not shrink: SQLite uses its free pages again.
// Tracking them, to shrink the file, would slow every write down. On Postgres it leaves out
// records that another process is deleting or changing, and waits for no lock.
func (db *DB) Remove(ctx context.Context, list []task.Lapsed) (total int, err error) {
	for some := range slices.Chunk(list, purgeChunk) {
		op := &write{}
		n := 0 // after an error the writer may still set it
		op.sqlite = func(w *writer) (err error) {
			n, op.gone, err = w.purge(some)
			return err
		}
		op.postgres = func() statement { return purging(op, some, &n) }
		if err := db.submit(ctx, op); err != nil {
			return total, fmt.Errorf("purging tasks: %w", err)
		}
		total += n
	}
	return total, nil
}

// purge also returns the ids of the deleted records, apart from those of damaged rows.
func (w *writer) purge(list []task.Lapsed) (n int, gone []string, err error) {
	for _, l := range list {
		where, key := "WHERE id = ?", any(l.ID)
		if l.ID == "" {
			where, key = "INDEXED BY task_expires WHERE typeof(id) <> 'text' AND expires = ?", l.At.UnixMilli()
		}
		rows, err := w.conn.find(where+" AND iif(typeof(version) = 'integer', version, 0) = ?", key, l.Version)
		if err != nil {
			return 0, nil, err
		}
		for _, row := range rows {
			if err := w.drop(row); err != nil {
				return 0, nil, err
			}
			if n++; l.ID != "" {
				gone = append(gone, l.ID)
			}
		}
	}
	return n, gone, nil
}

// purging is the same in one statement.
func purging(op *write, list []task.Lapsed, n *int) statement {
	ids, versions := make([]string, len(list)), make([]int64, len(list))
	for i, l := range list {
		ids[i], versions[i] = l.ID, l.Version
	}
	return statement{
		text: `
			DELETE FROM task USING (SELECT t.id FROM task AS t JOIN unnest(?1::text[], ?2::bigint[]) AS l (id, version)
				ON t.id = l.id AND t.version = l.version FOR UPDATE OF t SKIP LOCKED) AS old
			WHERE task.id = old.id RETURNING ` + rowColumns + `, task.id`,
		args: []any{ids, versions},

		took: func(s sums, rows [][]driver.Value) error {
			*n, op.gone = len(rows), nil
			for _, row := range rows {
				s.leave(rowIn(row))
				id, _ := row[4].(string)
				op.gone = append(op.gone, id)
			}
			return nil
		},
	}
}
