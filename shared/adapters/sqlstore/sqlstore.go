// Package sqlstore keeps task records, and entries of package kv, in one SQLite file.
//
// One process owns the file. Opening locks the file and ends every lease in it, because the
// processes that held them are dead (R3). One goroutine writes, with many operations in a
// commit, and each operation returns only after its commit is synced. Because this process
// is the only writer, it can keep recent records in memory and wake watchers directly.
//
// Several machines cannot share such a file.
package sqlstore

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"errand/shared/share"
	"errand/shared/task"
)

// ErrClosed is returned by all methods after Close.
var ErrClosed = errors.New("sqlstore: the store is closed")

// Options adjust a DB. The zero value is usable.
type Options struct {
	Now          func() time.Time // the clock for expiry and ended leases; default time.Now
	Log          *slog.Logger     // default slog.Default()
	Rules        task.Rules       // the work that is due after an ended lease; default task.Defaults()
	CacheRecords int              // recent records in memory; 0: 1,024, negative: none
	CacheBytes   int              // their encoded size at most; 0: 4 MiB
	Reserve      int64            // bytes kept for a full disk; 0: none, and no floor below which messages are refused
	CountFor     time.Duration    // longest count of a list with Since; 0: task.CountFor
	ListFor      time.Duration    // longest read of a page; 0: task.ListFor

	logMost int64                                              // bytes of the log at which reads wait for a checkpoint; 0: 64 MiB
	space   func(folder string) (free, total int64, err error) // of the disk; default: as the system says
}

const (
	defaultCacheRecords = 1024
	defaultCacheBytes   = 4 << 20
	defaultLogMost      = 64 << 20
	readers             = 2 // of each kind; each one has its own page cache of 2 MiB
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
	if o.ListFor == 0 {
		o.ListFor = task.ListFor
	}
	if o.logMost == 0 {
		o.logMost = defaultLogMost
	}

	if o.space == nil {
		o.space = spaceOf
	}

	return o
}

// A DB is a task.Store, task.Chores and task.DeadLetters on one SQLite file, and has a
// kv.Store in the same file. It is safe for concurrent use.
type DB struct {
	opts    Options
	path    string
	file    fs.FileInfo // the file that was opened
	lock    *os.File
	cache   *cache
	topics  *task.Topics
	skips   task.Skips
	reserve *reserve
	writes  chan *write
	queued  *share.Line  // bytes on their way to the writer
	lists   *share.Line  // readers for lists
	reading sync.RWMutex // held by reads, and by the writer while it empties the log
	loaders chan *conn   // free readers for Load
	listers chan *conn   // free readers for lists, so that a long list does not delay a Load
	opened  int          // number of readers

	closing   chan struct{}  // closed first, so that no new call begins
	users     sync.WaitGroup // writes on their way into the channel
	mu        sync.Mutex     // orders users.Add before closing
	drained   chan struct{}  // closed when the writer has ended
	closeOnce sync.Once
	closeErr  error
}

var (
	_ task.Store       = (*DB)(nil)
	_ task.Chores      = (*DB)(nil)
	_ task.DeadLetters = (*DB)(nil)
	_ task.Holder      = (*DB)(nil)
)

// Open opens the file at path, or creates it in an existing folder. It returns an error
// while another process, or this one, has the file open. All leases in the file have ended
// when Open returns. On a full disk it opens an existing file to read: the leases are ended,
// and writes succeed, as soon as there is room.
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
		skips:  task.Skips{Log: opts.Log},
		cache:  newCache(opts.CacheRecords, opts.CacheBytes),
		writes: make(chan *write, groupMax), loaders: make(chan *conn, readers), listers: make(chan *conn, readers),
		queued: share.NewLine(queuedBytes), lists: share.NewLine(readers),
		closing: make(chan struct{}), drained: make(chan struct{}),
	}

	db.reserve = newReserve(path, opts)
	db.topics = task.NewTopics(task.TopicsConfig{Load: db.Load, Now: opts.Now})
	w, err := db.openConns(ctx)
	if err != nil {
		return nil, errors.Join(err, db.closeReaders(), lock.Close())
	}

	go w.run()
	_ = db.Room(ctx) // takes the reserve; a failure is logged, and asked for again with the next message
	return db, nil
}

func (db *DB) openConns(ctx context.Context) (*writer, error) {
	var err error
	if db.file, err = private(db.path); err != nil {
		return nil, err
	}

	c, err := openWriter(ctx, db.path, db.opts.Log)
	if noRoom(err) && db.reserve.giveUp(true) {
		c, err = openWriter(ctx, db.path, db.opts.Log)
	}
	if err != nil {
		return nil, err
	}

	if err := c.limitLog(db.reserve.logPages()); err != nil {
		return nil, errors.Join(err, c.close())
	}

	w := &writer{db: db, conn: c, sums: sums{}}
	err = w.begin()
	if noRoom(err) && db.reserve.giveUp(true) {
		err = w.begin()
	}

	switch {
	case noRoom(err):
		w.late = true
		db.opts.Log.Error("the disk is full: stored tasks can be read, and nothing is written until there is room", "file", db.path, "alert", true)
	case err != nil:
		return nil, errors.Join(unopened(db.path, err), c.close())
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

// Close closes the store. Waiting writes are committed first. Later calls return ErrClosed,
// and watches end with it. Close leaves a single file without a log, which another process
// may open.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.mu.Lock()
		close(db.closing)
		db.mu.Unlock()
		db.topics.Close(ErrClosed)
		db.users.Wait()
		err := db.closeReaders()
		close(db.writes)
		<-db.drained // the writer's connection closes last and moves the log into the file
		db.closeErr = errors.Join(err, db.closeErr, db.lock.Close())
	})
	return db.closeErr
}

// closeReaders closes every open reader after its read.
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
		db.reading.RLock()
		defer db.reading.RUnlock()
		return f(c)
	}
}

// readList runs f on a connection for lists. Each owner has one at a time, and owners are
// served in turn (R18). The ctx of f ends when the caller's does, or after Options.ListFor:
// then the error is task.ErrSlow.
func (db *DB) readList(ctx context.Context, owner string, f func(context.Context, *conn) error) error {
	if err := db.lists.Enter(ctx, owner, 1); err != nil {
		return err
	}
	defer db.lists.Leave(owner, 1)
	return db.read(ctx, db.listers, func(c *conn) error {
		limited, cancel := context.WithTimeoutCause(ctx, db.opts.ListFor, task.ErrSlow)
		defer cancel()
		err := f(limited, c)
		if err != nil && limited.Err() != nil && !errors.Is(err, task.ErrCount) {
			err = context.Cause(limited)
		}
		return err
	})
}

// usable returns the reason why a call must not begin, if there is one.
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
