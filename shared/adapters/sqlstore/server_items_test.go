package sqlstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/postgres"
	"errand/shared/task"
)

// Open items are found by the batch and the line in an index that has no other rows, whatever
// the planner knows of the table. So are the dead webhooks of an owner.
func TestOpenItemsAreReadFromTheirIndexOnTheServer(t *testing.T) {
	url := postgres.Database(t)
	db := openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{})
	batch, other := task.BatchID("someone", "nightly"), task.BatchID("someone", "weekly")
	for line := 1; line <= 3; line++ {
		create(t, db, task.ItemID(batch, line))
		create(t, db, task.ItemID(other, line))
	}
	script(t, url, fmt.Sprintf(`INSERT INTO task (id, version, owner, context, state, stamp, dead, head, body)
		SELECT 'aaaaaaaa-%s-' || n, 1, 'x', '', 'TASK_STATE_COMPLETED', n, 1, '', '' FROM generate_series(10, 2000) AS n`, batch))

	where := db.DeadOf(task.DeadQuery{Owner: "someone"})
	for _, known := range []string{"nothing", "all"} {
		for _, q := range []struct {
			query, want, rows string
			args              []any
		}{
			{sqlstore.CountOpen, "Index Scan using task_open on task", "actual rows=2", []any{batch, int64(2)}},
			{sqlstore.ListOpen, "Index Scan using task_open on task", "actual rows=2", []any{batch, int64(1), int64(5)}},
			{"SELECT id FROM task " + where + " ORDER BY stamp DESC, id DESC LIMIT ?", "Index Scan Backward using task_dead_whose on task", "actual rows=0",
				[]any{"someone", time.Now().UnixMilli(), int64(5)}},
		} {
			plan, err := db.ServerPlan(t.Context(), q.query, q.args...)
			if err != nil || !strings.Contains(plan, q.want) || !strings.Contains(plan, q.rows) {
				t.Errorf("with %s known the plan is, %v:\n%s\nwant %q with %q", known, err, plan, q.want, q.rows)
			}
			for _, not := range []string{"Sort", "Rows Removed", "Seq Scan"} {
				if strings.Contains(plan, not) {
					t.Errorf("with %s known the plan has %q:\n%s", known, not, plan)
				}
			}
		}
		script(t, url, "ANALYZE task")
	}
}
