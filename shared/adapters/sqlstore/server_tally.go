package sqlstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"errand/shared/task"
)

// manyInContext is the number of tasks from which a context gets tallies of its own.
const manyInContext = 10_000

// counted makes the tallies of a context whose tasks were counted one by one, if there are
// many: the next count reads a few rows. If that fails, the next count tries again.
func (e *server) counted(ctx context.Context, c reader, q task.Query, n int) {
	s, ok := c.(session)
	if !ok || n < e.db.opts.manyInContext {
		return
	}
	if err := s.tally(ctx, q.Owner, q.Context); err != nil {
		e.db.opts.Log.WarnContext(ctx, "a context with many tasks gets no tallies, and its total takes long", "err", err)
	}
}

// tally counts the tasks of a context in each state, at a moment without writes: a write that
// is under way does not know the tallies yet, and one that begins later does. The lock waits
// for the former, and the latter wait for it.
func (s session) tally(ctx context.Context, owner, name string) error {
	return pgx.BeginFunc(ctx, s.conn, func(pgx.Tx) error {
		for _, step := range []statement{
			{text: "SET LOCAL lock_timeout = '1s'"},
			{text: "LOCK TABLE task IN SHARE MODE"},
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
