package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"errand/shared/task"
)

// List returns one page of an owner's records.
func (db *DB) List(ctx context.Context, q task.Query) (task.Page, error) {
	var page task.Page
	err := db.read(ctx, func(c *conn) error {
		if err := listPage(c, q, db.opts.Now(), &page); err != nil {
			return err
		}
		if !q.Count {
			return nil
		}
		where, args := filter(q, db.opts.Now())
		n, err := c.number("SELECT count(*) FROM task "+where, args...)
		page.Total = int(n)
		return err
	})
	if err != nil {
		return task.Page{}, fmt.Errorf("listing tasks: %w", err)
	}
	return page, nil
}

func listPage(c *conn, q task.Query, now time.Time, page *task.Page) error {
	where, args := filter(q, now)
	if q.After != (task.Ref{}) {
		where += " AND (stamp, id) < (?, ?)"
		args = append(args, q.After.At.UnixMilli(), q.After.ID)
	}
	fields := "version, head"
	if q.Bodies {
		fields += ", body"
	}
	limit, size := min(max(q.Limit, 1), 100), 0
	err := c.query(func(row []driver.Value) error {
		for _, column := range row {
			blob, _ := column.([]byte)
			size += len(blob)
		}
		if n := len(page.Records); n == limit || n > 0 && q.Bodies && size > task.PageBytes {
			page.More = true
			return errPageFull
		}
		r, err := decode(row)
		page.Records = append(page.Records, r)
		return err
	}, "SELECT "+fields+" FROM task "+where+" ORDER BY stamp DESC, id DESC LIMIT ?", append(args, int64(limit+1))...)
	if errors.Is(err, errPageFull) {
		return nil
	}
	return err
}

// errPageFull ends the reading of a page.
var errPageFull = errors.New("the page is full")

// filter is everything of a query but the place to begin. The index is named,
// because without statistics the planner guesses.
func filter(q task.Query, now time.Time) (string, []any) {
	var where strings.Builder
	args := []any{q.Owner}
	if q.Context == "" {
		where.WriteString("INDEXED BY task_list WHERE owner = ?")
	} else {
		where.WriteString("INDEXED BY task_context WHERE owner = ? AND context = ?")
		args = append(args, q.Context)
	}
	if q.State != "" {
		where.WriteString(" AND state = ?")
		args = append(args, string(q.State))
	}
	if !q.Since.IsZero() {
		where.WriteString(" AND stamp >= ?")
		args = append(args, ceilMilli(q.Since))
	}
	where.WriteString(" AND (expires IS NULL OR expires > ?)")
	return where.String(), append(args, now.UnixMilli())
}

// ceilMilli is the first whole millisecond not before t: a status at a fraction
// of a millisecond before t is not "at or after" it.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	return ms
}
