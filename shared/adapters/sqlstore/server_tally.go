package sqlstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"errand/shared/task"
)

const (
	// manyInContext is the number of tasks from which a context gets tallies of its own.
	manyInContext = 10_000

	// tallyLock is the advisory lock of tallies: shared by each group of writes.
	tallyLock = lockKey + 2

	// tallyAgain is how long no context gets tallies after one could not.
	tallyAgain = time.Minute
)

// tally makes the tallies of a context if it has many tasks, and reports whether it has.
func (e *server) tally(ctx context.Context, c reader, q task.Query) (made bool) {
	s, ok := c.(session)
	if !ok || time.Now().UnixNano() < e.noTally.Load() {
		return false
	}
	n, err := numberWithin(ctx, c, "SELECT count(*) FROM (SELECT 1 FROM task WHERE owner = ?1 AND context = ?2 LIMIT ?3) AS first",
		q.Owner, q.Context, int64(e.db.opts.manyInContext))
	if err == nil && n < int64(e.db.opts.manyInContext) {
		return false
	}
	if err == nil {
		err = s.tally(ctx, q.Owner, q.Context)
	}
	if err != nil {
		e.noTally.Store(time.Now().Add(tallyAgain).UnixNano())
		e.db.opts.Log.WarnContext(ctx, "a context with many tasks gets no tallies, and its total takes long", "err", err)
	}
	return err == nil
}

// tally counts the tasks of a context in each state, at a moment without writes: a write that
// is under way does not know the tallies yet, and one that begins later does. The lock waits
// for the former, and the latter wait for it, until the time of this statement is over.
func (s session) tally(ctx context.Context, owner, name string) error {
	return pgx.BeginFunc(ctx, s.conn, func(pgx.Tx) error {
		for _, step := range []statement{
			{text: "SET LOCAL statement_timeout = '1s'"},
			{text: "SELECT pg_advisory_xact_lock(?1)", args: []any{int64(tallyLock)}},
			{text: `
				INSERT INTO tally SELECT ?1, ?2, all_states.state, coalesce(counted.n, 0)
				FROM (VALUES ('TASK_STATE_SUBMITTED'), ('TASK_STATE_WORKING'), ('TASK_STATE_INPUT_REQUIRED'), ('TASK_STATE_AUTH_REQUIRED'),
					('TASK_STATE_COMPLETED'), ('TASK_STATE_CANCELED'), ('TASK_STATE_FAILED'), ('TASK_STATE_REJECTED')) AS all_states (state)
				LEFT JOIN (SELECT state, count(*) AS n FROM task WHERE owner = ?1 AND context = ?2 GROUP BY state) AS counted USING (state)
				ON CONFLICT DO NOTHING`, args: []any{owner, name}},
		} {
			if _, err := s.execWithin(ctx, step.text, step.args...); err != nil {
				return err
			}
		}
		return nil
	})
}
