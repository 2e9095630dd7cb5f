package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"runtime"

	"errand/shared/kv"
	"errand/shared/task"
)

// A group is the operations that share one commit and its sync.
const (
	groupMax   = 256
	groupBytes = 1 << 20

	// queuedBytes may be on their way to the writer, and one owner alone may have half of
	// them there. So another owner's operation waits for two groups of large ones at most.
	queuedBytes = 4 * groupBytes
)

// A write is one operation on its way to the writer.
type write struct {
	sqlite   func(*writer) error // runs within the group's transaction
	postgres func() statement    // the same on Postgres

	owner string      // has the share of the queue that it takes; empty: no owner
	bytes int64       // that it writes, about
	id    string      // the record that it changes; empty: none that the cache may have
	key   string      // the entry of kv that it changes
	gone  []string    // the records that it has deleted
	next  task.Record // the record after the change
	err   error
	done  chan struct{}
}

// isVerdict distinguishes the error of one operation from a failure of the store, which
// concerns the whole group.
func isVerdict(err error) bool {
	return errors.Is(err, task.ErrExists) || errors.Is(err, task.ErrConflict) || errors.Is(err, kv.ErrConflict) || errors.Is(err, errSpared)
}

// A statement is an operation on Postgres. took gets the rows of its result and returns the
// verdict. It is called again if the group is repeated.
type statement struct {
	text string
	args []any
	took func(sums, [][]driver.Value) error
}

// change submits the write of one record, which each database has in its own form.
func (db *DB) change(ctx context.Context, r task.Record, sqlite func(*writer, task.Record, *task.Encoded) (task.Record, error),
	postgres func(*write, task.Record, *task.Encoded) statement) (task.Record, error) {
	enc, err := r.ForStore()
	if err != nil {
		return task.Record{}, err
	}
	op := &write{owner: r.Owner, bytes: int64(enc.Size()), id: r.ID()}
	op.sqlite = func(w *writer) (err error) {
		op.next, err = sqlite(w, r, enc)
		return err
	}
	op.postgres = func() statement { return postgres(op, r, enc) }
	if err := db.submit(ctx, op); err != nil {
		return task.Record{}, err
	}
	return op.next, nil
}

// submit sends a write to the writer and waits until it is durable or refused. Before, it
// waits for its owner's share of the queue. If ctx ends first, the outcome is unknown, and
// the write may still happen.
func (db *DB) submit(ctx context.Context, op *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	op.done = make(chan struct{})
	if err := db.queued.Enter(ctx, op.owner, op.bytes); err != nil {
		return err
	}
	if err := db.hand(ctx, op); err != nil {
		db.queued.Leave(op.owner, op.bytes)
		return err
	}
	select {
	case <-op.done:
		return op.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (db *DB) hand(ctx context.Context, w *write) error {
	db.mu.Lock()
	select {
	case <-db.closing:
		db.mu.Unlock()
		return ErrClosed
	default:
		db.users.Add(1)
		db.mu.Unlock()
	}
	defer db.users.Done()
	select {
	case db.writes <- w:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run commits group after group until the store is closed.
func (db *DB) run() {
	group := make([]*write, 0, groupMax)
	for first := range db.writes {
		group = append(group[:0], first)
		bytes := first.bytes

		// The callers of the last commit may be about to write again. Let their writes
		// into this group.
		runtime.Gosched()

		for more := true; more && len(group) < groupMax && bytes < groupBytes; {
			select {
			case next, ok := <-db.writes:
				if more = ok; ok {
					group = append(group, next)
					bytes += next.bytes
				}

			default:
				more = false
			}
		}

		db.engine.commit(group)
		clear(group)
	}

	db.closeErr = db.engine.close()
	close(db.drained)
}

// done answers a write, with the error of its group if there is one.
func (db *DB) done(op *write, err error) {
	if err != nil {
		op.err = err
	}
	db.queued.Leave(op.owner, op.bytes)
	close(op.done)
}
