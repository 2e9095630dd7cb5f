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
	owner := q.Owner
	q.Owner, q.Context = q.Keys()
	err := db.readList(ctx, owner, func(limited context.Context, c reader) error {
		where, args := filter(q, db.opts.Now())
		var err error
		decode := decodeListed
		if q.Bodies {
			decode = decodeRecord
		}
		if page, err = db.readPage(limited, c, where, args, q.After, q.Limit, q.Bodies, decode); err != nil || !q.Count {
			return err
		}
		page.Total, err = db.count(ctx, c, q) // with a limit of its own
		return err
	})
	if err != nil {
		return task.Page{}, fmt.Errorf("listing tasks: %w", err)
	}
	return page, nil
}

// Dead returns one page of the records that have a dead webhook.
func (db *DB) Dead(ctx context.Context, q task.DeadQuery) (task.Page, error) {
	where, args := deadOf(q, db.engine.owner())
	args = append(args, db.opts.Now().UnixMilli())
	var page task.Page
	err := db.readList(ctx, q.Owner, func(ctx context.Context, c reader) (err error) {
		page, err = db.readPage(ctx, c, where, args, q.After, q.Limit, false, decodeRecord)
		return err
	})
	if err != nil {
		return task.Page{}, fmt.Errorf("listing dead webhooks: %w", err)
	}
	return page, nil
}

// deadOf returns a query's condition without the place to begin, by the expression for a row's
// owner. Its last argument is the time.
func deadOf(q task.DeadQuery, owner string) (string, []any) {
	if q.All {
		return "INDEXED BY task_dead WHERE dead IS NOT NULL" + unexpired, nil
	}
	return "INDEXED BY task_dead_owner WHERE dead IS NOT NULL AND " + owner + " = ?" + unexpired, []any{q.Owner}
}

// count returns the number of records that match a query, on all its pages. Without Since it
// reads the tallies and subtracts the records that have expired and are not purged yet. A
// context without tallies is small.
func (db *DB) count(ctx context.Context, c reader, q task.Query) (int, error) {
	now := db.opts.Now()
	if !q.Since.IsZero() {
		where, args := filter(q, now)
		return countWithin(ctx, db.opts.CountFor, c, where, args)
	}

	args := []any{q.Owner, q.Context, now.UnixMilli()}
	if q.State != "" {
		args = append(args, string(q.State))
	}
	n, err := numberWithin(ctx, c, tallied(q), args...)
	if err == nil && n < 0 && q.Context != "" && db.engine.tally(ctx, c, q) {
		n, err = numberWithin(ctx, c, tallied(q), args...)
	}
	switch {
	case err != nil || n >= 0:
		return int(n), err
	case q.Context == "": // the owner has no records
		return 0, nil
	}

	where, args := filter(q, now)
	return countWithin(ctx, db.opts.CountFor, c, where, args)
}

// tallied returns the statement that reads a total from the tallies. Its result is -1 without
// tallies. A single statement sees one state of the database, so a concurrent purge does not
// change the total. The statement reads no rows of other owners.
func tallied(q task.Query) string {
	state, within := "", ""
	if q.State != "" {
		state = " AND state = ?4"
	}
	if q.Context != "" {
		within = " AND context = ?2"
	}
	return "SELECT CAST(coalesce((SELECT sum(n) FROM tally WHERE owner = ?1 AND context = ?2" + state + ") -" +
		" (SELECT count(*) FROM task INDEXED BY task_expired WHERE owner = ?1 AND expires <= ?3" + within + state + "), -1) AS BIGINT)"
}

// countWithin counts record by record, and gives up after the longest time.
func countWithin(ctx context.Context, longest time.Duration, c reader, where string, args []any) (int, error) {
	limited, cancel := context.WithTimeoutCause(ctx, longest, task.ErrCount)
	defer cancel()
	n, err := numberWithin(limited, c, "SELECT count(*) FROM task "+where, args...)
	if err != nil && limited.Err() != nil {
		err = context.Cause(limited)
	}
	return int(n), err
}

// readPage reads the page that begins after a place, of the records that match a filter. It
// reads on behind the records that cannot be read, until the page is full.
func (db *DB) readPage(ctx context.Context, c reader, where string, args []any, after task.Ref, limit int, bodies bool,
	decode func([]driver.Value) (task.Record, error)) (task.Page, error) {
	fields := "id, version, head"
	if bodies {
		fields += ", body"
	}

	var page task.Page
	size := 0
	limit = min(max(limit, 1), 100)

	for {
		from, bound := where, args[:len(args):len(args)]
		if after != (task.Ref{}) {
			from += " AND (stamp, id) < (?, ?)"
			bound = append(bound, after.At.UnixMilli(), after.ID)
		}

		rows := 0
		var bad driver.Value // the id of the last row, if it cannot be read
		err := c.queryWithin(ctx, func(row []driver.Value) error {
			rows++
			for _, column := range row[2:] {
				blob, _ := column.([]byte)
				size += len(blob)
			}

			if n := len(page.Records); n == limit || n > 0 && size > task.PageBytes {
				page.More = true
				return errPageFull
			}

			r, err := decode(row)
			if bad = nil; errors.Is(err, task.ErrUnreadable) {
				bad = row[0]
				db.skips.Skip(ctx, fmt.Sprint(bad), err)
				page.Unreadable++
				return ctx.Err()
			}
			if err != nil {
				return err
			}
			page.Records, after = append(page.Records, r), task.Ref{At: r.Stamp(), ID: r.ID()}
			return nil
		}, "SELECT "+fields+" FROM task "+from+" ORDER BY stamp DESC, id DESC LIMIT ?", append(bound, int64(limit+1))...)

		if err == nil && rows > limit && bad != nil {
			after, err = place(ctx, c, bad)
		}
		switch {
		case errors.Is(err, errPageFull):
			return page, nil
		case err != nil:
			return task.Page{}, err
		case rows <= limit:
			return page, nil
		}
	}
}

// place returns the place of a row that cannot be read.
func place(ctx context.Context, c reader, id driver.Value) (task.Ref, error) {
	at, err := numberWithin(ctx, c, "SELECT stamp FROM task WHERE id = ?", id)
	name, _ := id.(string)
	return task.Ref{At: time.UnixMilli(at), ID: name}, err
}

// errPageFull ends the reading of a page.
var errPageFull = errors.New("the page is full")

// unexpired excludes the records that have expired at the time of its argument.
const unexpired = " AND (expires IS NULL OR expires > ?)"

// filter returns a query's condition without the place to begin. It names the index, because
// without statistics the planner guesses.
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
		args = append(args, task.CeilMilli(q.Since).UnixMilli())
	}
	where.WriteString(unexpired)
	return where.String(), append(args, now.UnixMilli())
}
