package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// sums are changes of the bytes of owners in a transaction that has not ended. Each statement
// that changes rows adds to them, and settle writes them before the COMMIT. So a transaction
// that is rolled back counts nothing.
type sums map[string]sum

type sum struct {
	bytes int64
	left  bool // a row has left the owner, perhaps the last one
}

// come counts a new row of an owner.
func (s sums) come(p placed) { s.add(p, p.bytes) }

// change counts the new size of a row.
func (s sums) change(p placed, bytes int64) { s.add(p, bytes-p.bytes) }

// leave counts a row that has left its owner.
func (s sums) leave(p placed) {
	if p.counted {
		s[p.owner] = sum{bytes: s[p.owner].bytes - p.bytes, left: true}
	}
}

func (s sums) add(p placed, bytes int64) {
	if p.counted {
		was := s[p.owner]
		was.bytes += bytes
		s[p.owner] = was
	}
}

// settle writes the sums, with one statement for each owner.
func (s sums) settle(c *conn) error {
	for owner, sum := range s {
		if sum.bytes != 0 {
			_, err := c.exec("INSERT INTO stored VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes", owner, sum.bytes)
			if err != nil {
				return err
			}
		}
		if sum.left {
			if _, err := c.exec("DELETE FROM stored WHERE owner = ? AND bytes <= 0", owner); err != nil {
				return err
			}
		}
	}
	return nil
}

// A placed is a row of task, with its size.
type placed struct {
	id      driver.Value // of any type, because the row may be damaged
	owner   string
	counted bool // not for a deleted task, whose owner is a BLOB
	bytes   int64
}

// placedColumns are the columns that placedIn reads. SQLite knows the size without reading
// the texts.
const placedColumns = "id, owner, octet_length(head) + octet_length(body)"

func placedIn(row []driver.Value) placed {
	p := placed{id: row[0]}
	p.owner, p.counted = row[1].(string)
	p.bytes, _ = row[2].(int64)
	return p
}

// find returns the rows that match a condition.
func (c *conn) find(where string, args ...any) ([]placed, error) {
	var rows []placed
	err := c.query(func(row []driver.Value) error {
		rows = append(rows, placedIn(row))
		return nil
	}, "SELECT "+placedColumns+" FROM task "+where, args...)
	return rows, err
}

// drop deletes a row.
func (w *writer) drop(p placed) error {
	_, err := w.conn.exec("DELETE FROM task WHERE id = ?", p.id)
	if err == nil {
		w.sums.leave(p)
	}
	return err
}

// replaced returns the row that a commit of r replaces. It is empty if the stored record has
// another version. The cache knows most rows.
func (w *writer) replaced(r task.Record) (placed, error) {
	if old, ok := w.db.cache.version(r.ID(), r.Version); ok {
		return placed{id: r.ID(), owner: old.Owner, counted: !old.Deleted, bytes: int64(sizeOf(old))}, nil
	}
	rows, err := w.conn.find("WHERE id = ? AND version = ?", r.ID(), r.Version)
	if err != nil || len(rows) == 0 {
		return placed{}, err
	}
	return rows[0], nil
}

// Held reads what the writes have counted of an owner: [task.Holder].
func (db *DB) Held(ctx context.Context, owner string, most int) (h task.Holding, err error) {
	err = db.read(ctx, db.loaders, func(c *conn) error {
		return c.query(func(row []driver.Value) error {
			waiting, _ := row[0].(int64)
			h.Waiting = min(int(waiting), most+1)
			h.Bytes, _ = row[1].(int64)
			return nil
		}, "SELECT coalesce((SELECT sum(n) FROM tally WHERE owner = ?1 AND context = '' AND state IN (?2, ?3)), 0),"+
			" coalesce((SELECT bytes FROM stored WHERE owner = ?1), 0)", owner, string(a2a.TaskStateSubmitted), string(a2a.TaskStateWorking))
	})
	if err != nil {
		return task.Holding{}, fmt.Errorf("reading what an owner has: %w", err)
	}
	return h, nil
}
