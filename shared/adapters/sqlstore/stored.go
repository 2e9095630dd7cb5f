package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// sums are changes of what owners have, in a transaction that has not ended. Each statement
// that changes rows adds to them, and settle writes them before the COMMIT. So a transaction
// that is rolled back counts nothing. The bytes are those of both databases. The tasks in each
// state are counted by triggers in SQLite, and here on Postgres: rows of the tallies stay
// locked until the COMMIT, so they come last, and in one order for all processes. The bytes of
// the items of a batch are their owner's, and the tallies their lister's ([task.Indexed]).
type sums map[string]*sum

type sum struct {
	bytes int64
	tasks map[tallyKey]int64
	left  bool // a row has left, perhaps the last one
}

// A tallyKey is a tally of a lister: of all its tasks in a state, with context "", or of
// those in a context.
type tallyKey struct{ context, state string }

// come counts a new row.
func (s sums) come(p placed) {
	if p.counted {
		s.of(p.owner).bytes += p.bytes
		s.tally(p, p.state, 1)
	}
}

// change counts the new state and size of a row.
func (s sums) change(p placed, state string, bytes int64) {
	if p.counted {
		s.of(p.owner).bytes += bytes - p.bytes
		s.tally(p, p.state, -1)
		s.tally(p, state, 1)
	}
}

// leave counts a row that has left its owner.
func (s sums) leave(p placed) {
	if p.counted {
		s.of(p.owner).bytes -= p.bytes
		s.of(p.owner).left = true
		s.tally(p, p.state, -1)
		if p.state != "" {
			s.of(p.lister).left = true
		}
	}
}

// tally adds to the tallies of a row's lister in a state. In SQLite, where triggers count, rows
// are placed without their state.
func (s sums) tally(p placed, state string, n int64) {
	if state == "" {
		return
	}
	of := s.of(p.lister)
	if of.tasks == nil {
		of.tasks = map[tallyKey]int64{}
	}
	of.tasks[tallyKey{"", state}] += n
	if p.context != "" {
		of.tasks[tallyKey{p.context, state}] += n
	}
}

func (s sums) of(owner string) *sum {
	if s[owner] == nil {
		s[owner] = &sum{}
	}
	return s[owner]
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

// settling are the statements of settle for Postgres. Their rows are in one order. A context
// that has no tallies gets none here.
func (s sums) settling() (list []statement) {
	var all, inContexts tallies
	var owners, left []string
	var bytes []int64
	for _, owner := range slices.Sorted(maps.Keys(s)) {
		sum := s[owner]
		for _, key := range slices.SortedFunc(maps.Keys(sum.tasks), tallyKey.compare) {
			if n := sum.tasks[key]; n != 0 && key.context == "" {
				all.add(owner, key, n)
			} else if n != 0 {
				inContexts.add(owner, key, n)
			}
		}

		if sum.bytes != 0 {
			owners, bytes = append(owners, owner), append(bytes, sum.bytes)
		}
		if sum.left {
			left = append(left, owner)
		}
	}

	if len(all.n) > 0 {
		list = append(list, statement{text: `
			INSERT INTO tally AS t (owner, context, state, n)
			SELECT owner, context, state, n
				FROM unnest(?1::text[], ?2::text[], ?3::text[], ?4::bigint[]) WITH ORDINALITY AS d (owner, context, state, n, i) ORDER BY i
			ON CONFLICT (owner, context, state) DO UPDATE SET n = t.n + excluded.n`, args: all.args()})
	}
	if len(inContexts.n) > 0 {
		list = append(list, statement{text: `
			UPDATE tally AS t SET n = t.n + d.n FROM unnest(?1::text[], ?2::text[], ?3::text[], ?4::bigint[]) AS d (owner, context, state, n)
			WHERE t.owner = d.owner AND t.context = d.context AND t.state = d.state`, args: inContexts.args()})
	}

	if len(owners) > 0 {
		list = append(list, statement{text: `
			INSERT INTO stored AS t (owner, bytes)
			SELECT owner, bytes FROM unnest(?1::text[], ?2::bigint[]) WITH ORDINALITY AS d (owner, bytes, i) ORDER BY i
			ON CONFLICT (owner) DO UPDATE SET bytes = t.bytes + excluded.bytes`, args: []any{owners, bytes}})
	}
	if len(left) > 0 {
		list = append(list, statement{text: `
			DELETE FROM tally USING (SELECT owner, state FROM tally WHERE owner = ANY (?1::text[]) AND context = '' AND n = 0 FOR UPDATE SKIP LOCKED) AS none
			WHERE tally.owner = none.owner AND tally.context = '' AND tally.state = none.state`, args: []any{left}},
			statement{text: "DELETE FROM stored WHERE owner = ANY (?1::text[]) AND bytes = 0", args: []any{left}})
	}
	return list
}

func (k tallyKey) compare(other tallyKey) int {
	return cmp.Or(cmp.Compare(k.context, other.context), cmp.Compare(k.state, other.state))
}

// tallies are the rows of a statement.
type tallies struct {
	owners, contexts, states []string
	n                        []int64
}

func (t *tallies) add(owner string, key tallyKey, n int64) {
	t.owners, t.contexts, t.states, t.n = append(t.owners, owner), append(t.contexts, key.context), append(t.states, key.state), append(t.n, n)
}

func (t *tallies) args() []any { return []any{t.owners, t.contexts, t.states, t.n} }

// A placed is a row of task, with its size.
type placed struct {
	id      driver.Value // of any type, because the row may be damaged
	lister  string
	owner   string
	counted bool   // not for a deleted task
	context string // on Postgres, as state
	state   string
	bytes   int64
}

// placedColumns are the columns that placedIn reads. SQLite knows the size without reading
// the texts. A deleted task has a BLOB as its owner.
const placedColumns = "id, owner, octet_length(head) + octet_length(body)"

func placedIn(row []driver.Value) placed {
	p := placed{id: row[0]}
	p.lister, p.counted = row[1].(string)
	p.owner = task.OwnerOf(p.lister)
	p.bytes, _ = row[2].(int64)
	return p
}

// rowColumns are the columns of Postgres that rowIn reads. A deleted task has no owner.
const rowColumns = "owner, context, state, (octet_length(head) + octet_length(body))::bigint AS bytes"

func rowIn(row []driver.Value) (p placed) {
	p.lister, p.counted = row[0].(string)
	p.owner = task.OwnerOf(p.lister)
	p.context, _ = row[1].(string)
	p.state, _ = row[2].(string)
	p.bytes, _ = row[3].(int64)
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
	err = db.read(ctx, false, func(c reader) error {
		return c.queryWithin(ctx, func(row []driver.Value) error {
			waiting, _ := row[0].(int64)
			h.Waiting = min(int(waiting), most+1)
			h.Bytes, _ = row[1].(int64)
			return nil
		}, "SELECT CAST(coalesce((SELECT sum(n) FROM tally WHERE owner = ?1 AND context = '' AND state IN (?2, ?3)), 0) AS BIGINT),"+
			" coalesce((SELECT bytes FROM stored WHERE owner = ?1), 0)", owner, string(a2a.TaskStateSubmitted), string(a2a.TaskStateWorking))
	})
	if err != nil {
		return task.Holding{}, fmt.Errorf("reading what an owner has: %w", err)
	}
	return h, nil
}
