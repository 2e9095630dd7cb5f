package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"errand/shared/task"
)

const (
	mostLoaders = 4 // connections that read records
	loadMax     = 16
	loadFor     = 10 * time.Second
	loadTries   = 3
	loadAgain   = 100 * time.Millisecond
)

// A load is one read of a record. Those that wait for a connection are read together.
type load struct {
	id     string
	known  task.Record // of the cache; the zero Record: none
	record task.Record
	err    error
	done   chan struct{}
}

// newest asks the database for the record. The record of the cache is used only if it has
// the version that the database then has, so it is never older than the call.
func (e *server) newest(ctx context.Context, id string) (task.Record, error) {
	known, _, _ := e.db.cache.get(id)
	l := &load{id: id, known: known, done: make(chan struct{})}
	select {
	case e.loads <- l:
	case <-ctx.Done():
		return task.Record{}, ctx.Err()
	case <-e.ctx.Done():
		return task.Record{}, ErrClosed
	}

	select {
	case <-l.done:
		return l.record, l.err
	case <-ctx.Done():
		return task.Record{}, ctx.Err()
	}
}

// runLoads reads records for all callers, as many with one statement as are waiting.
func (e *server) runLoads() {
	for {
		var batch []*load
		select {
		case l := <-e.loads:
			batch = append(batch, l)
		case <-e.ctx.Done():
			return
		}

		runtime.Gosched() // the callers of the last batch may be about to read again
		for more := true; more && len(batch) < loadMax; {
			select {
			case l := <-e.loads:
				batch = append(batch, l)
			default:
				more = false
			}
		}

		err := e.loadAll(batch)
		if err != nil && e.ctx.Err() != nil {
			err = ErrClosed
		}
		for _, l := range batch {
			if err != nil {
				l.err = err
			}
			close(l.done)
		}
	}
}

// loadAll reads a batch, and again after the loss of a connection.
func (e *server) loadAll(batch []*load) error {
	ctx, cancel := context.WithTimeout(e.ctx, loadFor)
	defer cancel()
	for try := 1; ; try++ {
		err := e.read(ctx, false, func(c reader) error { return e.loadOn(ctx, c, batch) })
		if err == nil || try == loadTries || isRefusal(err) {
			return err
		}

		select {
		case <-time.After(loadAgain):
		case <-ctx.Done():
			return err
		}
	}
}

func (e *server) loadOn(ctx context.Context, c reader, batch []*load) error {
	ids, versions := make([]string, len(batch)), make([]int64, len(batch))
	for i, l := range batch {
		ids[i], versions[i] = l.id, l.known.Version
		l.record, l.err = task.Record{}, task.ErrNotFound
	}

	return c.queryWithin(ctx, func(row []driver.Value) error {
		n, _ := row[4].(int64)
		l := batch[n-1]
		if row[2] == nil { // the known version
			l.record, l.err = l.known, nil
			return nil
		}
		if l.record, l.err = decodeRecord(row[:4]); l.err == nil {
			e.db.cache.newer(l.record)
		}
		return nil
	}, `
		SELECT task.id, task.version, CASE WHEN task.version <> want.version THEN head END,
			CASE WHEN task.version <> want.version THEN body END, want.n
		FROM unnest(?1::text[], ?2::bigint[]) WITH ORDINALITY AS want (id, version, n) JOIN task ON task.id = want.id`, ids, versions)
}

// isRefusal reports whether the server itself has answered with an error, other than that
// it is ending or starting.
func isRefusal(err error) bool {
	if _, connecting := errors.AsType[*pgconn.ConnectError](err); connecting {
		return false // it refuses the login
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && !isLeaving(e.Code)
}

// isLeaving reports whether a code says that the server ends, starts, has ended the
// connection or has no room for it, or has become a standby. https://www.postgresql.org/docs/current/errcodes-appendix.html
func isLeaving(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05", "25P03", "53300", "25006":
		return true
	}
	return false
}
