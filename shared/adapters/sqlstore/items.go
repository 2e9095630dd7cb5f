package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"

	"errand/shared/task"
)

// openItems are the rows of the index task_open, of a batch: the items that have not ended. The
// id of an item tells its batch and its line ([task.ItemID]), and only items have ids of that
// form. So no write has to say that an item is open, not even one of an earlier version.
const (
	openItems = `FROM task INDEXED BY task_open WHERE substr(id, 44, 3) = '-b-'
		AND state NOT IN ('TASK_STATE_COMPLETED', 'TASK_STATE_CANCELED', 'TASK_STATE_FAILED', 'TASK_STATE_REJECTED')
		AND substr(id, 10, 36) = ?1`
	itemLine = "CAST(substr(id, 47) AS BIGINT)"
)

// Statements about open items.
const (
	countOpen = "SELECT count(*), coalesce(min(" + itemLine + "), 0) " + openItems + " AND " + itemLine + " <= ?2"
	listOpen  = "SELECT " + itemLine + " " + openItems + " AND " + itemLine + " > ?2 ORDER BY " + itemLine + " LIMIT ?3"
)

// Open counts the items of a batch that have not ended: [task.Items].
func (db *DB) Open(ctx context.Context, batch string, upTo int) (o task.Open, err error) {
	err = db.read(ctx, false, func(c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) error {
			n, _ := row[0].(int64)
			lowest, _ := row[1].(int64)
			o = task.Open{N: int(n), Lowest: int(lowest)}
			return nil
		}, countOpen, batch, int64(upTo))
	})
	if err != nil {
		return task.Open{}, fmt.Errorf("counting the open items of a batch: %w", err)
	}
	return o, nil
}

// OpenLines lists the lines of items that have not ended.
func (db *DB) OpenLines(ctx context.Context, batch string, after, limit int) (lines []int, err error) {
	err = db.read(ctx, false, func(c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) error {
			line, _ := row[0].(int64)
			lines = append(lines, int(line))
			return nil
		}, listOpen, batch, int64(after), int64(max(limit, 0)))
	})
	if err != nil {
		return nil, fmt.Errorf("listing the open items of a batch: %w", err)
	}
	return lines, nil
}
