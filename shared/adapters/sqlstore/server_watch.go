package sqlstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"errand/shared/task"
)

const (
	channel = "errand_task" // of the notifications

	// recheck is how often a watched record is read beside the notifications: the one of a
	// commit may be lost with its process or its server.
	recheck = 15 * time.Second

	linger      = 5 * time.Second  // how long a record is followed after its last watcher
	listenPing  = 30 * time.Second // the listener checks an idle connection
	listenAgain = time.Second      // at most, between two attempts to connect
)

// A listener knows which records are watched in this process.
type listener struct {
	mu      sync.Mutex
	watched map[string]map[chan struct{}]bool // by id
}

// join returns a channel that gets a value when the record may have changed.
func (l *listener) join(id string) (changed chan struct{}, leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed = make(chan struct{}, 1)
	if l.watched == nil {
		l.watched = map[string]map[chan struct{}]bool{}
	}
	if l.watched[id] == nil {
		l.watched[id] = map[chan struct{}]bool{}
	}

	l.watched[id][changed] = true
	return changed, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watched[id], changed)
		if len(l.watched[id]) == 0 {
			delete(l.watched, id)
		}
	}
}

// wake tells the watchers of a record.
func (l *listener) wake(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for changed := range l.watched[id] {
		signal(changed)
	}
}

// wakeAll tells all watchers, because notifications may be lost.
func (l *listener) wakeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, all := range l.watched {
		for changed := range all {
			signal(changed)
		}
	}
}

func signal(changed chan struct{}) {
	select {
	case changed <- struct{}{}:
	default: // it is to look anyway
	}
}

// watching is how this process learns about changes. A process that is alone makes all of
// them itself, but does not know the outcome of a COMMIT without an answer.
func (e *server) watching() task.TopicsConfig {
	return task.TopicsConfig{Load: e.db.Load, Now: e.db.opts.Now, Feed: e.feed, Linger: linger, Poll: e.db.opts.recheck}
}

// feed reads a watched record at its first watch and whenever it may have changed.
func (e *server) feed(ctx context.Context, id string, tell func(task.Record)) error {
	changed, leave := e.listener.join(id)
	defer leave()
	for {
		r, err := e.db.Load(ctx, id)
		var again <-chan time.Time
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, task.ErrNotFound), errors.Is(err, task.ErrDeleted), errors.Is(err, task.ErrUnreadable), errors.Is(err, ErrClosed):
			return err
		case err != nil: // the server is away
			again = time.After(listenAgain)
		default:
			tell(r)
		}

		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}

// listen hears of the commits of other processes, until the store is closed. Whenever it has
// connected again, all watched records are read.
func (e *server) listen() {
	log, deaf, wait := e.db.opts.Log, false, listenAgain/16
	for e.ctx.Err() == nil {
		err := e.hear(func() {
			if deaf {
				log.Info("changes by other processes are heard of again")
			}
			deaf, wait = false, listenAgain/16
			e.listener.wakeAll()
		})
		if !deaf && e.ctx.Err() == nil {
			deaf = true
			log.Warn("the database cannot be reached: changes by other processes are seen later", "err", err)
		}

		select {
		case <-time.After(wait):
			wait = min(2*wait, listenAgain)
		case <-e.ctx.Done():
		}
	}
}

// hear connects, calls listening, and passes notifications on until the connection fails.
func (e *server) hear(listening func()) error {
	begin, cancel := context.WithTimeout(e.ctx, groupFor)
	defer cancel()
	c, err := e.connect(begin)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx) // it has failed, or the store is being closed
	}()

	if _, err := c.Exec(begin, "LISTEN "+channel); err != nil {
		return err
	}
	listening()

	for {
		n, err := e.next(c)
		switch {
		case err != nil:
			return err
		case n != nil && n.PID != e.pid.Load(): // this process knows its own commits
			for id := range strings.SplitSeq(strings.TrimSuffix(n.Payload, "\n"), "\n") {
				e.listener.wake(unescaped(id))
			}
		}
	}
}

// next waits for a notification. On a connection that is silent for long it returns nil, if
// the server still answers there.
func (e *server) next(c *pgx.Conn) (*pgconn.Notification, error) {
	ctx, cancel := context.WithTimeout(e.ctx, listenPing)
	defer cancel()
	n, err := c.WaitForNotification(ctx)
	if err == nil || e.ctx.Err() != nil || !pgconn.Timeout(err) || c.IsClosed() {
		return n, err
	}

	ctx, cancel = context.WithTimeout(e.ctx, connectFor)
	defer cancel()
	return nil, c.Ping(ctx)
}
