// Package sqlstore keeps task records, and entries of package kv, in one SQLite file.
//
// One process owns the file: opening it takes it exclusively and ends every
// lease in it, because whoever held one is dead (R3). One goroutine writes, many
// operations to a commit; an answer is given only after the commit is synced.
// Because this process is the only writer, recent records are kept in memory and
// watchers are woken directly.
//
// It is not a database that several machines share.
package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"errand/shared/task"
)

// ErrClosed is the answer of a store after Close.
var ErrClosed = errors.New("sqlstore: the store is closed")

// Options adjust a DB. The zero value is usable.
type Options struct {
	Now          func() time.Time // the clock of expiry and of ending leases; time.Now
	Log          *slog.Logger     // slog.Default()
	Rules        task.Rules       // what an ended lease leaves owing; task.Defaults()
	CacheRecords int              // recent records kept in memory; 0: 1,024, negative: none
	CacheBytes   int              // of their encoded size at most; 0: 4 MiB
	CountFor     time.Duration    // longest count of a list with Since; 0: task.CountFor
}

const (
	defaultCacheRecords = 1024
	defaultCacheBytes   = 4 << 20
	readers             = 2 // of each kind; each has a page cache of its own: 2 MiB
)

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Rules.Patience == 0 {
		o.Rules = task.Defaults()
	}
	if o.CacheRecords == 0 {
		o.CacheRecords = defaultCacheRecords
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.CountFor == 0 {
		o.CountFor = task.CountFor
	}
	return o
}

// A DB is a task.Store, task.Chores and task.Letters on one SQLite file, and has a
// kv.Store in the same file. It is safe for concurrent use.
type DB struct {
	opts    Options
	path    string
	file    fs.FileInfo // as it was opened
	lock    *os.File
	cache   *cache
	topics  *task.Topics
	writes  chan *write
	loaders chan *conn // readers by id that are not in use
	listers chan *conn // readers of lists that are not in use: a long one delays no read by id
	opened  int        // readers there are

	closing   chan struct{}  // closed first: nothing new is begun
	users     sync.WaitGroup // writes that are being handed over
	mu        sync.Mutex     // orders users.Add before closing
	drained   chan struct{}  // closed when the writer has ended
	closeOnce sync.Once
	closeErr  error
}

var (
	_ task.Store   = (*DB)(nil)
	_ task.Chores  = (*DB)(nil)
	_ task.Letters = (*DB)(nil)
)

// Open opens the file at path, or creates it in a folder that exists. It fails
// while another process, or this one, has the file open. Leases that the file
// holds are over when Open returns.
func Open(ctx context.Context, path string, opts Options) (_ *DB, err error) {
	opts = opts.withDefaults()
	path, err = locate(path)
	if err != nil {
		return nil, err
	}
	lock, err := claim(path)
	if err != nil {
		return nil, err
	}
	db := &DB{
		opts: opts, path: path, lock: lock,
		cache:  newCache(opts.CacheRecords, opts.CacheBytes),
		writes: make(chan *write, groupMax), loaders: make(chan *conn, readers), listers: make(chan *conn, readers),
		closing: make(chan struct{}), drained: make(chan struct{}),
	}
	db.topics = task.NewTopics(task.TopicsConfig{Load: db.Load, Now: opts.Now})
	w, err := db.openConns(ctx)
	if err != nil {
		return nil, errors.Join(err, db.closeReaders(), lock.Close())
	}
	go w.run()
	return db, nil
}

func (db *DB) openConns(ctx context.Context) (*writer, error) {
	var err error
	if db.file, err = private(db.path); err != nil {
		return nil, err
	}

	c, err := openWriter(ctx, db.path, db.opts.Log)
	if err != nil {
		return nil, err
	}

	w := &writer{db: db, conn: c}
	if err := w.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", db.path, err), c.close())
	}

	for i := range 2 * readers {
		r, err := openReader(ctx, db.path)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}

		pool := db.loaders
		if i >= readers {
			pool = db.listers
		}

		pool <- r
		db.opened++
	}

	return w, nil
}

// Close ends the store: writes that were handed over are committed and answered,
// later calls answer ErrClosed, watches end with it. The file is left as one,
// without a log beside it, and free for another process.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.mu.Lock()
		close(db.closing)
		db.mu.Unlock()
		db.topics.Close(ErrClosed)
		db.users.Wait()
		err := db.closeReaders()
		close(db.writes)
		<-db.drained // last of all connections, the writer's moves the log into the file
		db.closeErr = errors.Join(err, db.closeErr, db.lock.Close())
	})
	return db.closeErr
}

// closeReaders closes every open reader, when its read has ended.
func (db *DB) closeReaders() error {
	var errs []error
	for range db.opened {
		var r *conn
		select {
		case r = <-db.loaders:
		case r = <-db.listers:
		}
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}

// read runs f on a connection of the pool.
func (db *DB) read(ctx context.Context, pool chan *conn, f func(*conn) error) error {
	if err := db.usable(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closing:
		return ErrClosed
	case c := <-pool:
		defer func() { pool <- c }()
		return f(c)
	}
}

// usable says why nothing is to be begun.
func (db *DB) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-db.closing:
		return ErrClosed
	default:
		return nil
	}
}
