package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"errand/shared/task"
)

const (
	groupFor   = 20 * time.Second // for one attempt at a group
	groupTries = 4
	groupAgain = 20 * time.Millisecond // times the number of the attempt

	// rowFor is how long a group waits for rows that another session has locked. A process
	// holds them for one commit.
	rowFor = "200ms"

	// A write that has waited alone is refused at once for a while, so that it does not hold up
	// the others. The while doubles.
	leastLocked = time.Second
	mostLocked  = 32 * time.Second
)

// A lockedRow is a row that another session keeps locked.
type lockedRow struct {
	until time.Time // writes are refused until then
	pause time.Duration
}

var errLocked = errors.New("another session of the database keeps the task locked")

// errUndone says that a group has changed nothing, and may be tried again.
type errUndone struct{ error }

func (e errUndone) Unwrap() error { return e.error }

// commit runs the group in one transaction and answers all of it. A group that has surely
// changed nothing is tried again: after a deadlock with another process, and on a new
// connection. If the server refuses a statement, or a row stays locked, each write gets a
// transaction of its own, so that one of them fails no other.
//
// Rows are locked in the order of their keys and ids, so that processes rarely wait for each
// other in a circle.
func (e *server) commit(group []*write) {
	if group = e.withoutLocked(group); len(group) == 0 {
		return
	}
	slices.SortStableFunc(group, func(a, b *write) int { return cmp.Compare(a.order(), b.order()) })
	for try := 1; ; try++ {
		err := e.attempt(group)
		undone, ok := errors.AsType[errUndone](err)
		switch {
		case err == nil:
			return
		case ok && passing(undone) && try < groupTries:
			time.Sleep(time.Duration(try) * groupAgain)
			continue
		case ok && isRefusal(undone) && !passing(undone) && len(group) > 1:
			for _, op := range group {
				e.commit([]*write{op})
			}
			return
		}

		e.noteLocked(group, err)
		if pg, is := errors.AsType[*pgconn.PgError](err); is && (pg.Code == "53100" || pg.Code == "53400") {
			err = fmt.Errorf("%w: %w", task.ErrFull, err)
		}
		for _, op := range group {
			e.db.done(op, err)
		}
		return
	}
}

// withoutLocked refuses the writes of rows that another session keeps locked, and returns the
// others.
func (e *server) withoutLocked(group []*write) []*write {
	if len(e.locked) == 0 {
		return group
	}
	now, others := time.Now(), group[:0]
	for _, op := range group {
		if now.Before(e.locked[op.id].until) {
			e.db.done(op, errLocked)
		} else {
			others = append(others, op)
		}
	}
	return others
}

// noteLocked remembers the row of a write that has waited for it alone.
func (e *server) noteLocked(group []*write, err error) {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != "55P03" || len(group) != 1 || group[0].id == "" {
		return
	}
	const most = 10_000 // rows that are remembered
	if len(e.locked) >= most {
		clear(e.locked)
	}
	pause := min(max(2*e.locked[group[0].id].pause, leastLocked), mostLocked)
	e.locked[group[0].id] = lockedRow{time.Now().Add(pause), pause}
}

// order is the place of a write in its group. A purge comes last: it waits for no lock, and
// nothing waits for another row behind it.
func (op *write) order() string {
	switch {
	case op.key != "":
		return "k" + op.key
	case op.id != "":
		return "t" + op.id
	}
	return "z"
}

// passing reports whether the same statements may succeed a moment later.
func passing(err error) bool {
	if errors.Is(err, errTaken) || errors.Is(err, errTakenMany) {
		return false
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return !ok || isLeaving(pg.Code) || pg.Code == "40P01" || pg.Code == "40001"
}

// attempt runs the group in one transaction, with two round trips: the statements of the
// writes, and then the sums, the COMMIT and the notification. After the COMMIT it answers the
// writes.
func (e *server) attempt(group []*write) error {
	ctx, cancel := context.WithTimeout(context.Background(), groupFor)
	defer cancel()
	c, err := e.writing(ctx)
	if err != nil {
		return errUndone{err}
	}

	clear(e.sums)
	if err := e.apply(ctx, c, group); err != nil {
		return errUndone{e.rollback(ctx, err)}
	}
	return e.settle(ctx, c, group)
}

// apply runs the statements of the writes.
func (e *server) apply(ctx context.Context, c *pgx.Conn, group []*write) (err error) {
	var b pgx.Batch
	b.Queue("BEGIN")
	b.Queue("SELECT pg_advisory_xact_lock_shared($1)", int64(tallyLock))
	b.Queue("SET LOCAL lock_timeout = '" + e.db.opts.rowFor + "'")
	statements := make([]statement, len(group))
	for i, op := range group {
		s := op.postgres()
		b.Queue(translated(s.text), outward(s.args)...)
		statements[i] = s
	}

	answers := c.SendBatch(ctx, &b)
	defer func() {
		if cerr := answers.Close(); err == nil { // otherwise it says the same again
			err = cerr
		}
	}()

	for range 3 {
		if _, err := answers.Exec(); err != nil {
			return err
		}
	}
	for i, op := range group {
		rows, err := rowsOf(answers.Query())
		if err != nil {
			return err
		}
		op.err = statements[i].took(e.sums, rows)
	}
	return nil
}

func rowsOf(rows pgx.Rows, err error) (list [][]driver.Value, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := inward(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// settle writes the sums and commits, then answers the writes, and notifies the other
// processes in a transaction of its own: a NOTIFY within the transaction would hold a lock of
// the whole server until the COMMIT is durable.
// https://www.postgresql.org/docs/current/sql-notify.html
func (e *server) settle(ctx context.Context, c *pgx.Conn, group []*write) error {
	var b pgx.Batch
	sums := append([]statement{{text: "SET LOCAL lock_timeout TO DEFAULT"}}, e.sums.settling()...)
	for _, s := range sums {
		b.Queue(translated(s.text), outward(s.args)...)
	}
	b.Queue("COMMIT")

	changed := payloads(group)
	if !e.alone && len(changed) > 0 {
		b.Queue("SELECT pg_notify('"+channel+"', changed) FROM unnest($1::text[]) AS changed", changed)
	}

	answers := c.SendBatch(ctx, &b)
	for range sums {
		if _, err := answers.Exec(); err != nil {
			_ = answers.Close()
			return e.unsettled(ctx, group, err)
		}
	}

	tag, err := answers.Exec()
	switch {
	case err != nil:
		_ = answers.Close()
		return e.unsettled(ctx, group, err)
	case tag.String() != "COMMIT":
		return errUndone{e.rollback(ctx, errors.Join(answers.Close(), fmt.Errorf("the server answered %q to COMMIT", tag)))}
	}

	e.report(group)
	for _, op := range group {
		e.db.done(op, nil)
	}
	if err := answers.Close(); err != nil {
		e.db.opts.Log.Warn("other processes see the latest changes later", "err", err)
		_ = e.drop()
	}
	return nil
}

// unsettled ends a group whose COMMIT was sent and has no good answer. If the server refuses a
// statement, nothing was committed. Without its answer, or with one that it is ending, the
// group may be committed, and the watchers of this process look.
func (e *server) unsettled(ctx context.Context, group []*write, err error) error {
	if isRefusal(err) {
		return errUndone{e.rollback(ctx, err)}
	}
	err = errors.Join(fmt.Errorf("committing, with an unknown outcome: %w", err), e.drop())
	for _, op := range group {
		e.listener.wake(op.id)
		for _, id := range op.gone {
			e.listener.wake(id)
		}
	}
	return err
}

// report passes a commit to the cache and the watchers of this process.
func (e *server) report(group []*write) {
	for _, op := range group {
		for _, id := range op.gone {
			e.db.topics.End(id, task.ErrNotFound)
		}
		if op.id != "" && op.err == nil {
			delete(e.locked, op.id)
			e.db.cache.newer(op.next)
			e.db.topics.Publish(op.next)
		}
	}
}

// mostPayload is less than the 8,000 bytes that a NOTIFY may have.
const mostPayload = 7900

// payloads are the ids of the changed records, with as many in a text as it may have.
func payloads(group []*write) (list []string) {
	var text strings.Builder
	add := func(id string) {
		id = escaped(id)
		if text.Len()+len(id)+1 > mostPayload && text.Len() > 0 {
			list = append(list, text.String())
			text.Reset()
		}
		if len(id) <= mostPayload {
			text.WriteString(id + "\n")
		}
	}

	last := ""
	for _, op := range group { // in the order of their ids
		if op.id != "" && op.err == nil && op.id != last {
			add(op.id)
			last = op.id
		}
		for _, id := range op.gone {
			add(id)
		}
	}

	if text.Len() > 0 {
		list = append(list, text.String())
	}
	return list
}

// rollback ends a failed transaction, and returns its error.
func (e *server) rollback(ctx context.Context, err error) error {
	c := e.writer
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && isLeaving(pg.Code) || c.IsClosed() {
		return errors.Join(err, e.drop())
	}
	if _, rerr := c.Exec(ctx, "ROLLBACK"); rerr != nil {
		return errors.Join(err, rerr, e.drop())
	}
	return err
}

// drop gives the writer's connection up. The next group opens another one. Until then the
// listener heeds every notification: the server may still be ending a commit.
func (e *server) drop() error {
	c := e.writer
	e.writer = nil
	e.pid.Store(0)
	ctx, cancel := context.WithTimeout(context.Background(), connectFor)
	defer cancel()
	return c.Close(ctx)
}

// writing returns the connection that writes, and opens it if there is none. The connection
// holds the lock of the database: a process that lost it writes nothing.
func (e *server) writing(ctx context.Context) (*pgx.Conn, error) {
	if e.writer != nil && !e.writer.IsClosed() {
		return e.writer, nil
	}
	c, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := e.claim(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	e.db.cache.reset() // the server may have been restored, and its versions with it
	if e.last, err = backendOf(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	e.writer = c
	e.pid.Store(c.PgConn().PID())
	return c, nil
}

// A backend is a connection as the server sees it.
type backend struct {
	pid   int64
	began *time.Time // nil: the role of the session may not see it
}

// backendOf returns the backend of a connection.
func backendOf(ctx context.Context, c *pgx.Conn) (b backend, err error) {
	err = c.QueryRow(ctx, "SELECT pid::bigint, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").Scan(&b.pid, &b.began)
	return b, err
}

// end ends this process's own last backend, if it is still there: the server may not know yet
// that the connection is lost, and the backend has the lock of the database.
func (b backend) end(ctx context.Context, c *pgx.Conn) error {
	if b.began == nil {
		return nil
	}
	_, err := c.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2", b.pid, *b.began)
	return err
}

// claim takes the lock of the database. A commit must be durable, whatever the server's
// default is.
func (e *server) claim(ctx context.Context, c *pgx.Conn) error {
	lock, taken := "SELECT pg_try_advisory_lock_shared($1)", errTaken
	if e.alone {
		lock, taken = "SELECT pg_try_advisory_lock($1)", errTakenMany
	}

	// The server needs a moment to see that a killed process is gone.
	for end := time.Now().Add(lockWait); ; {
		var got bool
		if err := c.QueryRow(ctx, lock, int64(lockKey)).Scan(&got); err != nil {
			return err
		}
		if got {
			break
		}
		if time.Now().After(end) {
			return taken
		}
		if err := e.last.end(ctx, c); err != nil {
			return err
		}
		time.Sleep(lockWait / 100)
	}

	_, err := c.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')")
	return err
}

// endLeases ends the leases of the previous process.
func (e *server) endLeases(ctx context.Context) error {
	c, err := e.writing(ctx)
	if err != nil {
		return err
	}
	s := session{c}
	return pgx.BeginFunc(ctx, c, func(pgx.Tx) error {
		clear(e.sums)
		err := ending{
			reader: s, sums: e.sums, skips: &e.db.skips, log: e.db.opts.Log, now: e.db.opts.Rules.At(e.db.opts.Now()),
			exec:    func(query string, args ...any) (int64, error) { return s.execWithin(ctx, query, args...) },
			version: func() (int64, error) { return numberWithin(ctx, s, "SELECT nextval('task_version')") },
		}.end(ctx)
		if err != nil {
			return err
		}

		for _, sum := range e.sums.settling() {
			if _, err := s.execWithin(ctx, sum.text, sum.args...); err != nil {
				return err
			}
		}
		return nil
	})
}
