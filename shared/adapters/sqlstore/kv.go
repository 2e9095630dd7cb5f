package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"errand/shared/kv"
)

// entries is the kv.Store of a DB. It has no cache.
type entries struct{ db *DB }

// KV returns the store of the entries in the same database.
func (db *DB) KV() kv.Store { return entries{db} }

// entryColumns are the columns that entryOf reads.
const entryColumns = "key, version, owner, expires, value"

// Get reads one entry.
func (s entries) Get(ctx context.Context, key string) (kv.Entry, error) {
	if err := kv.CheckKey(key); err != nil {
		return kv.Entry{}, err
	}
	var e kv.Entry
	found := false
	err := s.db.read(ctx, false, func(c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) (err error) {
			found = true
			e, err = entryOf(row)
			return err
		}, "SELECT "+entryColumns+" FROM kv WHERE key = ?", key)
	})
	if err == nil && (!found || e.Expired(s.db.opts.Now())) {
		err = kv.ErrNotFound
	}
	if err != nil {
		return kv.Entry{}, fmt.Errorf("reading %s: %w", key, err)
	}
	return e, nil
}

// Put stores one entry.
func (s entries) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	e, err := e.Stored()
	if err != nil {
		return kv.Entry{}, err
	}
	var next kv.Entry
	op := &write{owner: e.Owner, bytes: int64(e.Size()), key: e.Key}
	op.sqlite = func(w *writer) (err error) {
		next, err = w.put(e)
		return err
	}
	op.postgres = func() statement { return putting(e, s.db.opts.Now(), &next) }
	if err := s.db.submit(ctx, op); err != nil {
		return kv.Entry{}, fmt.Errorf("storing %s: %w", e.Key, err)
	}
	return next, nil
}

// Delete deletes one entry.
func (s entries) Delete(ctx context.Context, key string, version int64) error {
	if err := kv.CheckKey(key); err != nil {
		return err
	}
	op := &write{
		key:      key,
		sqlite:   func(w *writer) error { return w.remove(key, version) },
		postgres: func() statement { return removing(key, version, s.db.opts.Now()) },
	}
	if err := s.db.submit(ctx, op); err != nil {
		return fmt.Errorf("deleting %s: %w", key, err)
	}
	return nil
}

// List reads entries in the order of their keys.
func (s entries) List(ctx context.Context, prefix, after string, limit int) ([]kv.Entry, error) {
	from, to, err := kv.Range(prefix, after)
	if err != nil {
		return nil, err
	}
	var list []kv.Entry
	size := 0
	err = s.db.readList(ctx, "", func(ctx context.Context, c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) error {
			e, err := entryOf(row)
			if size += e.Size(); size > kv.LimitList {
				return errPageFull
			}
			list = append(list, e)
			return err
		}, "SELECT "+entryColumns+" FROM kv WHERE key >= ? AND key < ?"+unexpired+" ORDER BY key LIMIT ?",
			from, to, s.db.opts.Now().UnixMilli(), int64(min(max(limit, 1), kv.LimitCount)))
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, fmt.Errorf("listing %s: %w", prefix, err)
	}
	return list, nil
}

// Purge deletes expired entries. On Postgres it leaves out those that another process is
// deleting or changing, and waits for no lock.
func (s entries) Purge(ctx context.Context, before time.Time, limit int) (total int, err error) {
	for left := limit; left > 0; left -= purgeChunk {
		want := int64(min(left, purgeChunk))
		var n int64 // after an error the writer may still set it
		op := &write{
			sqlite: func(w *writer) (err error) {
				n, err = w.purgeEntries(before, want)
				return err
			},
			postgres: func() statement { return purgingEntries(before, want, &n) },
		}
		if err := s.db.submit(ctx, op); err != nil {
			return total, fmt.Errorf("purging entries: %w", err)
		}
		if total += int(n); n < want {
			break
		}
	}
	return total, nil
}

func entryOf(row []driver.Value) (kv.Entry, error) {
	key, ok := row[0].(string)
	version, ok2 := row[1].(int64)
	owner, ok3 := row[2].(string)
	value, ok4 := row[4].([]byte)
	if !ok || !ok2 || !ok3 || !ok4 {
		return kv.Entry{}, fmt.Errorf("columns are %T, %T, %T and %T", row[0], row[1], row[2], row[4])
	}
	e := kv.Entry{Key: key, Owner: owner, Value: value, Version: version}
	if ms, ok := row[3].(int64); ok {
		e.Expires = time.UnixMilli(ms).UTC()
	}
	return e, nil
}

// valuesOf are the columns expires and value of an entry.
func valuesOf(e kv.Entry) (expires any, value []byte) {
	if !e.Expires.IsZero() {
		expires = e.Expires.UnixMilli()
	}
	if value = e.Value; value == nil {
		value = []byte{} // nil is NULL
	}
	return expires, value
}

func (w *writer) put(e kv.Entry) (kv.Entry, error) {
	old := e.Version
	w.version++
	e.Version = w.version
	expires, value := valuesOf(e)
	now := w.db.opts.Now().UnixMilli()

	var n int64
	var err error

	if old == 0 {
		n, err = w.conn.exec(`
			INSERT INTO kv (key, version, owner, expires, value) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET version = excluded.version, owner = excluded.owner,
				expires = excluded.expires, value = excluded.value
			WHERE kv.expires <= ?`, e.Key, e.Version, e.Owner, expires, value, now)
	} else {
		n, err = w.conn.exec(`
			UPDATE kv SET version = ?, owner = ?, expires = ?, value = ?
			WHERE key = ? AND version = ?`+unexpired, e.Version, e.Owner, expires, value, e.Key, old, now)
	}

	if err == nil && n == 0 {
		err = kv.ErrConflict
	}

	return e, err
}

// putting is put for Postgres.
func putting(e kv.Entry, now time.Time, next *kv.Entry) statement {
	expires, value := valuesOf(e)
	text, args := `
		INSERT INTO kv AS k (key, version, owner, expires, value) VALUES (?1, nextval('task_version'), ?2, ?3, ?4)
		ON CONFLICT (key) DO UPDATE SET version = excluded.version, owner = excluded.owner, expires = excluded.expires, value = excluded.value
		WHERE k.expires <= ?5 RETURNING k.version`, []any{e.Key, e.Owner, expires, value, now.UnixMilli()}
	if e.Version != 0 {
		text, args = `
			UPDATE kv SET version = nextval('task_version'), owner = ?2, expires = ?3, value = ?4
			WHERE key = ?1 AND version = ?6 AND (expires IS NULL OR expires > ?5) RETURNING version`, append(args, e.Version)
	}

	return statement{text: text, args: args, took: func(_ sums, rows [][]driver.Value) error {
		if len(rows) == 0 {
			return kv.ErrConflict
		}
		*next = e
		next.Version, _ = rows[0][0].(int64)
		return nil
	}}
}

// remove deletes the entry if it has the version. The version 0 stands for any version. An
// expired entry of another version is left to the purge.
func (w *writer) remove(key string, version int64) error {
	if version == 0 {
		_, err := w.conn.exec("DELETE FROM kv WHERE key = ?", key)
		return err
	}
	n, err := w.conn.exec("DELETE FROM kv WHERE key = ? AND version = ?", key, version)
	if err != nil || n > 0 {
		return err
	}
	n, err = w.conn.number("SELECT count(*) FROM kv WHERE key = ?"+unexpired, key, w.db.opts.Now().UnixMilli())
	if err == nil && n > 0 {
		err = kv.ErrConflict
	}
	return err
}

// removing is remove for Postgres. It locks the entry before it looks, because another process
// may be deleting it.
func removing(key string, version int64, now time.Time) statement {
	return statement{
		text: `
			WITH was AS (SELECT version, expires FROM kv WHERE key = ?1 FOR UPDATE),
			gone AS (DELETE FROM kv USING was WHERE kv.key = ?1 AND (was.version = ?2 OR ?2 = 0) RETURNING 1)
			SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM was WHERE was.expires IS NULL OR was.expires > ?3)`,
		args: []any{key, version, now.UnixMilli()},
		took: func(_ sums, rows [][]driver.Value) error {
			gone, _ := rows[0][0].(int64)
			if there, _ := rows[0][1].(int64); gone == 0 && there > 0 && version != 0 {
				return kv.ErrConflict
			}
			return nil
		},
	}
}

func (w *writer) purgeEntries(before time.Time, limit int64) (int64, error) {
	return w.conn.exec(`DELETE FROM kv WHERE rowid IN
		(SELECT rowid FROM kv INDEXED BY kv_expires WHERE expires < ? ORDER BY expires LIMIT ?)`, before.UnixMilli(), limit)
}

// purgingEntries is purgeEntries for Postgres.
func purgingEntries(before time.Time, limit int64, n *int64) statement {
	return statement{
		text: `
			DELETE FROM kv USING (SELECT key FROM kv WHERE expires < ?1 ORDER BY expires LIMIT ?2 FOR UPDATE SKIP LOCKED) AS old
			WHERE kv.key = old.key RETURNING 1`,
		args: []any{before.UnixMilli(), limit},
		took: func(_ sums, rows [][]driver.Value) error {
			*n = int64(len(rows))
			return nil
		},
	}
}
