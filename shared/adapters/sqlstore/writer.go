package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
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
	apply func(*writer) error // runs within the group's transaction
	owner string              // whose share of the queue it takes; empty: nobody's
	bytes int64               // that it writes, about
	id    string              // the record that it changes; empty: it changes no record in the cache
	next  task.Record         // the record after the change
	err   error
	done  chan struct{}
}

// isVerdict distinguishes the error of one operation from a failure of the store, which
// concerns the whole group.
func isVerdict(err error) bool {
	return errors.Is(err, task.ErrExists) || errors.Is(err, task.ErrConflict) || errors.Is(err, kv.ErrConflict) || errors.Is(err, errSpared)
}

// write changes one record.
func (db *DB) write(ctx context.Context, r task.Record, apply func(*writer) (task.Record, error)) (task.Record, error) {
	enc, err := r.Encode()
	if err != nil {
		return task.Record{}, err
	}
	op := &write{owner: r.Owner, bytes: int64(enc.Size()), id: r.ID()}
	op.apply = func(w *writer) (err error) {
		op.next, err = apply(w)
		return err
	}
	if err := db.submit(ctx, op); err != nil {
		return task.Record{}, err
	}
	return op.next, nil
}

// submit sends a write to the writer and waits until it is durable or refused. Before, it
// waits for its owner's share of the queue. If ctx ends first, the outcome is unknown, and
// apply may still run.
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

// A writer owns the connection that writes.
type writer struct {
	db      *DB
	conn    *conn
	version int64 // the newest one
	late    bool  // begin had no room, and is still to be done
	sparing bool  // no record is created
	deleted []string
	sums    sums  // of the group
	written int64 // bytes since the log was last looked at, about
}

// begin chooses a new range of versions for this opening, and ends the leases of the
// previous process.
//
// A version is never used again, not even for a record that was purged and created again,
// because a caller may still hold the old one.
func (w *writer) begin() error {
	if err := w.conn.script("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	clear(w.sums)
	err := w.endLeases()
	if err == nil {
		err = w.sums.settle(w.conn)
	}
	if err == nil {
		err = w.conn.script("COMMIT")
	}
	if err != nil {
		return errors.Join(err, w.rollback())
	}
	return nil
}

func (w *writer) endLeases() error {
	if _, err := w.conn.exec("UPDATE opened SET n = n + 1"); err != nil {
		return err
	}

	opened, err := w.conn.number("SELECT n FROM opened")
	if err != nil {
		return err
	}

	const perOpening = 1 << 40
	w.version = opened * perOpening
	now := w.db.opts.Rules.At(w.db.opts.Now())

	crew, err := w.crew()
	if err != nil {
		return err
	}

	for {
		var next leased
		n, err := w.leased(" LIMIT 1", func(l leased) { next = l })
		if err != nil || n == 0 {
			return err
		}

		if next.unreadable { // no worker can run such a turn
			_, err = w.conn.exec("UPDATE task SET leased = NULL WHERE id = ?", next.row.id)
		} else {
			err = w.endLease(next.head, next.row, next.body, crew, now)
		}

		if err != nil {
			return err
		}
	}
}

// crew counts the turns of the previous process.
func (w *writer) crew() (crew task.Crew, err error) {
	_, err = w.leased("", func(l leased) {
		if !l.unreadable {
			crew.Add(l.head)
		}
	})
	return crew, err
}

// A leased is a record with a lease, read without its body.
type leased struct {
	row        placed
	head       task.Record
	body       int64 // size of the body
	unreadable bool  // head and body are empty
}

// leased yields the records with leases one by one, because many large ones may have leases,
// and returns their number.
func (w *writer) leased(limit string, yield func(leased)) (n int, err error) {
	err = w.conn.query(func(columns []driver.Value) error {
		l := leased{row: placedIn(columns)}
		head, _ := columns[4].([]byte)
		l.body = l.row.bytes - int64(len(head))
		var err error
		l.head, err = decodeRecord([]driver.Value{l.row.id, columns[3], columns[4]})
		if id, _ := l.row.id.(string); w.db.skips.Skip(context.Background(), id, err) {
			l, err = leased{row: l.row, unreadable: true}, nil
		}
		if err == nil {
			n++
			yield(l)
		}
		return err
	}, "SELECT "+placedColumns+", version, head FROM task INDEXED BY task_leased WHERE leased IS NOT NULL"+limit)
	return n, err
}

// endLease ends the lease of a record that was read without its body of the given size.
func (w *writer) endLease(r task.Record, row placed, body int64, crew task.Crew, now task.Moment) error {
	next, err := r.LeaseLost(now, crew)
	var enc *task.Encoded
	var size int64
	if err == nil {
		enc, err = next.Encode()
	}

	if err == nil {
		if size = int64(enc.Size()) + body; size > task.LimitStore {
			err = task.ErrTooLarge
		}
	}

	if err != nil {
		// The record has a newer schema or is full. Its lease ends by time.
		w.db.opts.Log.Warn("a lease could not be ended", "task", r.ID(), "err", err)
		_, err = w.conn.exec("UPDATE task SET leased = NULL WHERE id = ?", r.ID())
		return err
	}

	w.version++
	c := columnsOf(next)
	_, err = w.conn.exec("UPDATE task SET version = ?, due = ?, lane = ?, leased = NULL, head = ? WHERE id = ?",
		w.version, c.due, c.lane, enc.Head, r.ID())
	if err == nil {
		w.sums.change(row, size)
	}

	return err
}

// run commits group after group until the store is closed.
func (w *writer) run() {
	group := make([]*write, 0, groupMax)
	for first := range w.db.writes {
		group = append(group[:0], first)
		bytes := first.bytes

		// The callers of the last commit may be about to write again. Let their writes
		// into this group.
		runtime.Gosched()

		for more := true; more && len(group) < groupMax && bytes < groupBytes; {
			select {
			case next, ok := <-w.db.writes:
				if more = ok; ok {
					group = append(group, next)
					bytes += next.bytes
				}

			default:
				more = false
			}
		}

		w.commitGroup(group)
		clear(group)
		w.shorten(bytes)
	}

	w.db.closeErr = w.conn.close()
	close(w.db.drained)
}

// errSpared refuses a new record while the reserve is being used: it is for the records that
// are there.
var errSpared = fmt.Errorf("%w: no new record takes the reserve", task.ErrFull)

// commitGroup runs the group in one transaction and answers all of it. On a full disk it makes
// room and tries once more, without the new records: a transaction without room leaves
// nothing.
func (w *writer) commitGroup(group []*write) {
	err := w.attempt(group)
	if noRoom(err) && w.makeRoom() {
		w.sparing = true
		err = w.attempt(group)
		w.sparing = false
	}
	if noRoom(err) {
		err = fmt.Errorf("%w: %w", task.ErrFull, err)
	}

	for _, op := range group {
		if err != nil {
			op.err = err
		}
		w.db.queued.Leave(op.owner, op.bytes)
		close(op.done)
	}
}

// makeRoom gives the reserve up, and moves the log into the file while there is room for that.
// It reports whether either has made room. Otherwise the log would take the whole reserve.
func (w *writer) makeRoom() bool {
	given := w.db.reserve.giveUp(false)
	busy, err := w.conn.number("PRAGMA wal_checkpoint(TRUNCATE)")
	if err != nil && !noRoom(err) {
		w.db.opts.Log.Warn("the log of the database cannot be emptied", "file", w.db.path, "err", err)
	}
	return given || busy == 0 && err == nil
}

// attempt runs the group in one transaction.
func (w *writer) attempt(group []*write) error {
	if w.late {
		if err := w.begin(); err != nil {
			return err
		}
		w.late = false
		w.db.cache.reset() // it may have leases that have ended now
		w.db.opts.Log.Info("there is room on the disk: tasks are written again", "file", w.db.path)
	}

	w.deleted = w.deleted[:0]
	err := w.applyGroup(group)
	if err == nil {
		for _, op := range group {
			if op.id != "" {
				w.db.cache.writing(op.id)
			}
		}

		for _, id := range w.deleted {
			w.db.cache.writing(id)
		}

		if _, err = w.conn.exec("COMMIT"); err != nil {
			err = fmt.Errorf("committing: %w", err)
		}

		w.report(group, err)
	}

	if err != nil {
		if rerr := w.rollback(); rerr != nil {
			w.db.opts.Log.Error("rolling back", "err", rerr)
		}
	}

	return err
}

func (w *writer) applyGroup(group []*write) error {
	if err := w.db.inPlace(); err != nil {
		return err
	}
	if _, err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	clear(w.sums)
	for _, op := range group {
		op.err = op.apply(w)
		if op.err != nil && !isVerdict(op.err) {
			return op.err
		}
	}
	return w.sums.settle(w.conn)
}

// report passes the outcome of a commit to the cache and the watchers. After a failed commit
// the outcome is unknown, so the cache forgets the records and the file is read again.
func (w *writer) report(group []*write, err error) {
	for _, id := range w.deleted {
		w.db.cache.forget(id)
		if err == nil {
			w.db.topics.End(id, task.ErrNotFound)
		}
	}
	for _, op := range group {
		switch {
		case op.id == "":
		case err != nil:
			w.db.cache.forget(op.id)
		case op.err != nil:
			w.db.cache.keep(op.id)
		default:
			w.db.cache.wrote(op.next)
			w.db.topics.Publish(op.next)
		}
	}
}

// rollback ends a failed transaction. SQLite has already ended it after some
// errors. https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction
func (w *writer) rollback() error {
	err := w.conn.script("ROLLBACK")
	if err != nil && code(err) == sqliteError {
		return nil
	}
	return err
}
