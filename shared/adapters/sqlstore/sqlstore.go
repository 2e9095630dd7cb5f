// Package sqlstore keeps task records, and entries of package kv, in a SQL database: a SQLite
// file or a Postgres server. The tables are the same, and each operation has the SQL of both
// in one file.
//
// One goroutine writes, with many operations in a commit, and each operation returns only
// after its commit is durable.
//
// A SQLite file belongs to one process. Opening locks the file and ends every lease in it,
// because the processes that held them are dead (R3). Because this process is the only
// writer, it can keep recent records in memory and wake watchers directly.
//
// A Postgres database has many processes, which wake each other's watchers by NOTIFY. A
// record in memory is used only after the database has said that it is still the newest.
package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
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
	CountFor     time.Duration    // longest count of a list, task by task; 0: task.CountFor
	ListFor      time.Duration    // longest read of a page; 0: task.ListFor

	migrations    []string      // of a Postgres database; default serverMigrations
	recheck       time.Duration // of a watched record there; 0: 15 s
	manyInContext int           // tasks there from which a context has tallies; 0: 10,000
	rowFor        string        // lock_timeout there of a group for rows; "": rowFor

	logMost int64                                              // bytes of the log at which reads wait for a checkpoint; 0: 64 MiB
	space   func(folder string) (free, total int64, err error) // of the disk; default: as the system says
}

const (
	defaultCacheRecords = 1024
	defaultCacheBytes   = 4 << 20
	defaultLogMost      = 64 << 20
	readers             = 2 // of each kind; each one of SQLite has its own page cache of 2 MiB
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

	if o.migrations == nil {
		o.migrations = serverMigrations
	}
	if o.recheck == 0 {
		o.recheck = recheck
	}
	if o.manyInContext == 0 {
		o.manyInContext = manyInContext
	}
	if o.rowFor == "" {
		o.rowFor = rowFor
	}
	if o.space == nil {
		o.space = spaceOf
	}

	return o
}

// An engine is a database that has the tables. Its methods are safe for concurrent use, but
// for commit.
type engine interface {
	// read runs f on a connection that reads. Lists have connections of their own, so that a
	// long list does not delay the read of a record.
	read(ctx context.Context, list bool, f func(reader) error) error

	// newest returns the stored record, expired or not. ErrNotFound: there is none.
	newest(ctx context.Context, id string) (task.Record, error)

	// commit runs a group in a transaction, and sets the error of each write. It tells the
	// cache and the watchers before it ends a write.
	commit(group []*write)

	// tally makes the tallies of a context that has none, if it has many tasks, and reports
	// whether it has.
	tally(ctx context.Context, c reader, q task.Query) bool

	// owner is the expression for the true owner of a row, also of an item's, as the index for
	// dead webhooks has it.
	owner() string

	// room returns task.ErrFull while there is no room for new messages.
	room(ctx context.Context) error

	// release ends the connections that read, and close the one that writes.
	release() error
	close() error
}

// A reader is a connection of either database. Statements have the arguments ? or ?1, ?2.
type reader interface {
	// queryWithin calls each for every row, and is interrupted when ctx ends. The values of
	// row are valid only during the call, except for bytes, which the callee may keep.
	queryWithin(ctx context.Context, each func(row []driver.Value) error, query string, args ...any) error
}

// numberWithin runs a query whose result is one integer. It is interrupted when ctx ends.
func numberWithin(ctx context.Context, c reader, query string, args ...any) (n int64, err error) {
	err = c.queryWithin(ctx, func(row []driver.Value) error {
		var ok bool
		if n, ok = row[0].(int64); !ok {
			return fmt.Errorf("the result of %q is a %T, not a number", query, row[0])
		}
		return nil
	}, query, args...)
	return n, err
}

// A DB is a task.Store, task.Chores and task.DeadLetters on one database, and has a kv.Store
// in the same database. It is safe for concurrent use.
type DB struct {
	opts   Options
	engine engine
	cache  *cache
	topics *task.Topics
	skips  task.Skips
	writes chan *write
	queued *share.Line // bytes on their way to the writer
	lists  *share.Line // connections for lists

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
	_ task.Items       = (*DB)(nil)
)

// newDB returns a DB whose engine and topics are still to be made.
func newDB(opts Options) *DB {
	return &DB{
		opts: opts, skips: task.Skips{Log: opts.Log},
		cache:  newCache(opts.CacheRecords, opts.CacheBytes),
		writes: make(chan *write, groupMax),
		queued: share.NewLine(queuedBytes), lists: share.NewLine(readers),
		closing: make(chan struct{}), drained: make(chan struct{}),
	}
}

// Close closes the store. Waiting writes are committed first. Later calls return ErrClosed,
// and watches end with it. Close leaves a single SQLite file without a log, which another
// process may open.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.mu.Lock()
		close(db.closing)
		db.mu.Unlock()
		db.topics.Close(ErrClosed)
		db.users.Wait()
		err := db.engine.release()
		close(db.writes)
		<-db.drained
		db.closeErr = errors.Join(err, db.closeErr)
	})
	return db.closeErr
}

// Room returns task.ErrFull while the database has no room for new messages. Records can
// still be ended and deleted then.
func (db *DB) Room(ctx context.Context) error { return db.engine.room(ctx) }

// read runs f on a connection that reads.
func (db *DB) read(ctx context.Context, list bool, f func(reader) error) error {
	if err := db.usable(ctx); err != nil {
		return err
	}
	return db.engine.read(ctx, list, f)
}

// readList runs f on a connection for lists. Each owner has one at a time, and owners are
// served in turn (R18). The ctx of f ends when the caller's does, or after Options.ListFor:
// then the error is task.ErrSlow.
func (db *DB) readList(ctx context.Context, owner string, f func(context.Context, reader) error) error {
	if err := db.lists.Enter(ctx, owner, 1); err != nil {
		return err
	}
	defer db.lists.Leave(owner, 1)
	return db.read(ctx, true, func(c reader) error {
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
