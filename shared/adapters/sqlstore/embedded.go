package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"errand/shared/task"
)

// An embedded is the engine on a SQLite file.
type embedded struct {
	db      *DB
	writer  *writer
	path    string
	file    fs.FileInfo // the file that was opened
	lock    *os.File
	reserve *reserve
	reading sync.RWMutex // held by reads, and by the writer while it empties the log
	loaders chan *conn   // free readers of records
	listers chan *conn   // free readers of lists
	opened  int          // number of readers
}

// Open opens the SQLite file at path, or creates it in an existing folder. It returns an
// error while another process, or this one, has the file open. All leases in the file have
// ended when Open returns. On a full disk it opens an existing file to read: the leases are
// ended, and writes succeed, as soon as there is room.
func Open(ctx context.Context, path string, opts Options) (_ *DB, err error) {
	path, err = locate(path)
	if err != nil {
		return nil, err
	}

	lock, err := claim(path)
	if err != nil {
		return nil, err
	}

	db := newDB(opts.withDefaults())
	e := &embedded{
		db: db, path: path, lock: lock, reserve: newReserve(path, db.opts),
		loaders: make(chan *conn, readers), listers: make(chan *conn, readers),
	}

	db.engine = e
	db.topics = task.NewTopics(task.TopicsConfig{Load: db.Load, Now: db.opts.Now})
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(err, e.release(), lock.Close())
	}

	go db.run()
	_ = db.Room(ctx) // takes the reserve; a failure is logged, and asked for again with the next message
	return db, nil
}

func (e *embedded) open(ctx context.Context) error {
	var err error
	if e.file, err = private(e.path); err != nil {
		return err
	}

	log := e.db.opts.Log
	c, err := openWriter(ctx, e.path, log)
	if noRoom(err) && e.reserve.giveUp(true) {
		c, err = openWriter(ctx, e.path, log)
	}
	if err != nil {
		return err
	}

	if err := c.limitLog(e.reserve.logPages()); err != nil {
		return errors.Join(err, c.close())
	}

	w := &writer{db: e.db, file: e, conn: c, sums: sums{}}
	err = w.begin()
	if noRoom(err) && e.reserve.giveUp(true) {
		err = w.begin()
	}

	switch {
	case noRoom(err):
		w.late = true
		log.Error("the disk is full: stored tasks can be read, and nothing is written until there is room", "file", e.path, "alert", true)
	case err != nil:
		return errors.Join(unopened(e.path, err), c.close())
	}

	for i := range 2 * readers {
		r, err := openReader(ctx, e.path)
		if err != nil {
			return errors.Join(err, c.close())
		}

		pool := e.loaders
		if i >= readers {
			pool = e.listers
		}

		pool <- r
		e.opened++
	}

	e.writer = w
	return nil
}

// release closes every open reader after its read.
func (e *embedded) release() error {
	var errs []error
	for range e.opened {
		var r *conn
		select {
		case r = <-e.loaders:
		case r = <-e.listers:
		}
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}

// close closes the writer's connection, which moves the log into the file, and gives the
// file to other processes.
func (e *embedded) close() error { return errors.Join(e.writer.conn.close(), e.lock.Close()) }

// read runs f on a connection of one of the pools.
func (e *embedded) read(ctx context.Context, list bool, f func(reader) error) error {
	pool := e.loaders
	if list {
		pool = e.listers
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.db.closing:
		return ErrClosed
	case c := <-pool:
		defer func() { pool <- c }()
		e.reading.RLock()
		defer e.reading.RUnlock()
		if list {
			return f(c)
		}
		return f(uninterrupted{c})
	}
}

// An uninterrupted is a reader of records. Its statements are short, and to be able to
// interrupt one the driver starts a goroutine.
type uninterrupted struct{ *conn }

func (c uninterrupted) queryWithin(ctx context.Context, each func(row []driver.Value) error, query string, args ...any) error {
	return c.conn.queryWithin(context.WithoutCancel(ctx), each, query, args...)
}

// newest returns the record of the cache, which the writer keeps up to date, or reads it.
func (e *embedded) newest(ctx context.Context, id string) (task.Record, error) {
	r, ok, token := e.db.cache.get(id)
	if ok {
		return r, nil
	}
	err := e.read(ctx, false, func(c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) (err error) {
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
	e.db.cache.add(r, token)
	return r, nil
}

// tally does nothing: triggers make the tallies of a context.
func (e *embedded) tally(context.Context, reader, task.Query) bool { return false }

func (e *embedded) owner() string { return "coalesce(whose, owner)" }

// room also takes the reserve back when there is room for it.
func (e *embedded) room(ctx context.Context) error {
	return e.reserve.check(time.Now(), func() (n int64, err error) {
		err = e.read(ctx, true, func(c reader) error {
			pages, err := numberWithin(ctx, c, "PRAGMA freelist_count")
			if err != nil {
				return err
			}
			size, err := numberWithin(ctx, c, "PRAGMA page_size")
			n = pages * size
			return err
		})
		return n, err
	})
}
