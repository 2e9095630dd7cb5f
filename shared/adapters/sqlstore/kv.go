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

// KV returns the store of the entries in the same file.
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
	err := s.db.read(ctx, s.db.loaders, func(c *conn) error {
		return c.query(func(row []driver.Value) (err error) {
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
	err = s.db.submit(ctx, &write{owner: e.Owner, bytes: int64(e.Size()), apply: func(w *writer) (err error) {
		next, err = w.put(e)
		return err
	}})
	if err != nil {
		return kv.Entry{}, fmt.Errorf("storing %s: %w", e.Key, err)
	}
	return next, nil
}

// Delete deletes one entry.
func (s entries) Delete(ctx context.Context, key string, version int64) error {
	if err := kv.CheckKey(key); err != nil {
		return err
	}
	err := s.db.submit(ctx, &write{apply: func(w *writer) error { return w.remove(key, version) }})
	if err != nil {
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
	err = s.db.readList(ctx, "", func(ctx context.Context, c *conn) error {
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

func (w *writer) put(e kv.Entry) (kv.Entry, error) {
	old := e.Version
	w.version++
	e.Version = w.version
	var expires any
	if !e.Expires.IsZero() {
		expires = e.Expires.UnixMilli()
	}

	value, now := e.Value, w.db.opts.Now().UnixMilli()
	if value == nil {
		value = []byte{} // nil is NULL
	}

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

func (w *writer) purgeEntries(before time.Time, limit int) (int, error) {
	n, err := w.conn.exec(`DELETE FROM kv WHERE rowid IN
		(SELECT rowid FROM kv INDEXED BY kv_expires WHERE expires < ? ORDER BY expires LIMIT ?)`, before.UnixMilli(), int64(limit))
	return int(n), err
}
