package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/sqlstore"
	"errand/shared/kv"
	"errand/shared/lab/conformance"
	"errand/shared/lab/postgres"
	"errand/shared/task"
)

// grouped commits records as one group and returns the errors.
func grouped(t *testing.T, db *sqlstore.DB, create bool, records ...task.Record) []error {
	t.Helper()
	release := db.Hold(t.Context())
	var all sync.WaitGroup
	errs := make([]error, len(records))
	for i, r := range records {
		all.Go(func() {
			if create {
				_, errs[i] = db.Create(t.Context(), r)
			} else {
				_, errs[i] = db.Commit(t.Context(), r)
			}
		})
		queued(t, db, i+1)
	}
	release()
	all.Wait()
	return errs
}

// A write that the server refuses fails alone, and not the others of its group.
func TestRefusedWriteFailsAlone(t *testing.T) {
	url := postgres.Database(t)
	db := openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{})
	script(t, url, "ALTER TABLE task ADD CONSTRAINT no CHECK (id <> 'bad')")
	create(t, db, "known")

	errs := grouped(t, db, true, plain("a", 0), plain("bad", 0), plain("z", 0), plain("known", 0))
	if errs[0] != nil || errs[2] != nil || !errors.Is(errs[3], task.ErrExists) {
		t.Errorf("the others are answered %v", errs)
	}
	if errs[1] == nil || !strings.Contains(errs[1].Error(), "23514") {
		t.Errorf("the refused write is answered %v", errs[1])
	}
	for id, want := range map[string]bool{"a": true, "bad": false, "z": true, "known": true} {
		if got := isStored(t, db, id); got != want {
			t.Errorf("%s is stored: %v", id, got)
		}
	}
	exact(t, url)
}

// untilItWaits returns when the store waits for a lock.
func untilItWaits(t *testing.T, url string, db *sqlstore.DB) {
	t.Helper()
	waits := fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND wait_event_type = 'Lock'", db.Backend())
	for end := time.Now().Add(patience); asked(t, url, waits) == 0; {
		if time.Now().After(end) {
			t.Fatal("the store waits for no lock")
		}
	}
}

// A row that another session keeps locked fails its own write, and not the others of the group.
func TestLockedRowFailsAlone(t *testing.T) {
	url := postgres.Database(t)
	db := openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{})
	a, b := create(t, db, "a"), create(t, db, "b")

	other := connected(t, url)
	run(t, other, "BEGIN; SELECT FROM task WHERE id = 'a' FOR UPDATE")

	errs := grouped(t, db, false, changed(a, 1), changed(b, 1))
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "55P03") || errs[1] != nil {
		t.Errorf("the writes are answered %v", errs)
	}
	exact(t, url)
}

// An entry that another process is deleting is gone, and no conflict.
func TestEntryIsDeletedTwice(t *testing.T) {
	url := postgres.Database(t)
	db := openServer(t, sqlstore.Server{Spec: url}, sqlstore.WithRowFor(sqlstore.Options{}, "1min"))
	e, err := db.KV().Put(t.Context(), kv.Entry{Key: "a/b", Owner: "o", Value: []byte("v")})
	if err != nil {
		t.Fatal(err)
	}

	other := connected(t, url)
	run(t, other, "BEGIN; DELETE FROM kv")

	deleted := make(chan error, 1)
	go func() { deleted <- db.KV().Delete(t.Context(), e.Key, e.Version) }()
	untilItWaits(t, url, db)
	run(t, other, "COMMIT")
	if err := <-deleted; err != nil {
		t.Errorf("Delete = %v", err)
	}
}

// A group that waits for another process in a circle is repeated.
func TestDeadlockIsRepeated(t *testing.T) {
	url := postgres.Database(t)
	other := connected(t, superuser(url))
	db := openServer(t, sqlstore.Server{Spec: url}, sqlstore.WithRowFor(sqlstore.Options{}, "1min"))
	a, b := create(t, db, "a"), create(t, db, "b")

	run(t, other, "SET deadlock_timeout = '1h'") // so that the store is the one that gives way
	run(t, other, "BEGIN")
	run(t, other, "SELECT FROM task WHERE id = 'b' FOR UPDATE")
	answered := make(chan []error, 1)
	go func() { answered <- grouped(t, db, false, changed(a, 1), changed(b, 1)) }()

	untilItWaits(t, url, db)
	run(t, other, "SELECT FROM task WHERE id = 'a' FOR UPDATE") // returns when the store has given way
	run(t, other, "COMMIT")

	if errs := <-answered; errors.Join(errs...) != nil {
		t.Errorf("the writes are answered %v", errs)
	}
}

// Groups of two processes with the same records and owners do not wait for each other in a
// circle, whatever the order in which their callers come.
func TestGroupsLockInOneOrder(t *testing.T) {
	url := postgres.Database(t)
	stores := []*sqlstore.DB{openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{}), openServer(t, sqlstore.Server{Spec: url}, sqlstore.Options{})}
	for i := range 40 {
		r := plain(fmt.Sprint("t", i), 0)
		r.Owner = owners[i%len(owners)]
		if _, err := stores[0].Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}

	var all sync.WaitGroup
	for n := range 2 * 16 {
		db, random := stores[n%2], rand.New(rand.NewPCG(3, uint64(n)))
		all.Go(func() {
			for range 60 {
				r, err := db.Load(t.Context(), fmt.Sprint("t", random.IntN(40)))
				if err == nil {
					next := sized(r.ID(), r.Owner, random, time.Now())
					next.Version, next.Expires = r.Version, time.Time{}
					if random.IntN(9) == 0 {
						next.Expires = time.Now()
					}
					_, err = db.Commit(t.Context(), next)
				}

				if random.IntN(9) == 0 {
					_, err = db.Purge(t.Context(), time.Now(), 5)
				}
				if errors.Is(err, task.ErrNotFound) {
					r := plain(fmt.Sprint("t", random.IntN(40)), 0)
					r.Owner = owners[random.IntN(len(owners))]
					_, err = db.Create(t.Context(), r)
				}
				if err != nil && !errors.Is(err, task.ErrConflict) && !errors.Is(err, task.ErrExists) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	exact(t, url)

	for _, db := range stores { // the server has counted all when its processes have ended
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	const open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'errand'"
	for end := time.Now().Add(patience); asked(t, url, open) > 0; {
		if time.Now().After(end) {
			t.Fatal("connections are left")
		}
	}
	if n := asked(t, url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"); n > 0 {
		t.Errorf("there were %d deadlocks", n)
	}
}

// What the writes have counted is right after any sequence of writes by two processes whose
// connections are killed at any moment.
func TestSumsAreExactUnderKills(t *testing.T) {
	kills := conformance.Long(20, 60, 200)
	url := postgres.Database(t)
	opts := sqlstore.WithManyInContext(sqlstore.Options{}, 4)
	stores := []*sqlstore.DB{openServer(t, sqlstore.Server{Spec: url}, opts), openServer(t, sqlstore.Server{Spec: url}, opts)}
	var over atomic.Bool
	var wrote, unknown atomic.Int64
	var all sync.WaitGroup

	for n := range 2 * 8 {
		db, random := stores[n%2], rand.New(rand.NewPCG(9, uint64(n)))
		all.Go(func() {
			for !over.Load() {
				err := aWrite(t, db, random)()
				switch {
				case err == nil:
					wrote.Add(1)
				case !errors.Is(err, task.ErrExists) && !errors.Is(err, task.ErrConflict):
					unknown.Add(1)
				}
			}
		})
	}

	for n, owner := range owners { // the contexts get their tallies while they change
		all.Go(func() {
			for !over.Load() {
				_, _ = stores[n%2].List(t.Context(), task.Query{Owner: owner, Context: taskOf("t", time.Now()).ContextID, State: a2a.TaskStateWorking, Limit: 1, Count: true})
			}
		})
	}

	killed := 0
	for killed < kills && !t.Failed() {
		time.Sleep(rand.N(30 * time.Millisecond)) // the moment of the kill
		kill := fmt.Sprintf("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = %d", stores[killed%2].Backend())
		killed += int(asked(t, superuser(url), kill))
	}
	over.Store(true)
	all.Wait()
	exact(t, url)
	if wrote.Load() == 0 || asked(t, url, "SELECT count(*) FROM tally WHERE context <> ''") == 0 {
		t.Error("nothing was written, or no context has tallies")
	}
	t.Logf("%d writes, %d with an unknown outcome, %d kills", wrote.Load(), unknown.Load(), killed)
}

// exact compares the counts with the rows.
func exact(t *testing.T, url string) {
	t.Helper()
	for what, query := range map[string]string{
		"tallies": `WITH want AS (SELECT owner, state, count(*) AS n FROM task WHERE owner IS NOT NULL GROUP BY owner, state),
			got AS (SELECT owner, state, n FROM tally WHERE n <> 0 AND context = '')
			SELECT count(*) FROM want FULL JOIN got USING (owner, state) WHERE want.n IS DISTINCT FROM got.n`,
		"tallies of contexts": `SELECT count(*) FROM tally AS t WHERE context <> '' AND n <>
			(SELECT count(*) FROM task WHERE task.owner = t.owner AND task.context = t.context AND task.state = t.state)`,
		"stored bytes": `WITH want AS (SELECT ` + sqlstore.ItemOwner + ` AS whose, sum(octet_length(head) + octet_length(body)) AS n FROM task WHERE owner IS NOT NULL GROUP BY 1),
			got AS (SELECT owner AS whose, bytes AS n FROM stored)
			SELECT count(*) FROM want FULL JOIN got USING (whose) WHERE want.n IS DISTINCT FROM got.n`,
	} {
		if n := asked(t, url, query); n != 0 {
			t.Errorf("%d of the %s are wrong", n, what)
		}
	}
}

// A path is a way to the server that can be lost: its connections fail here, and stay open
// at the server.
type path struct {
	mu    sync.Mutex
	conns []*pathConn
}

type pathConn struct {
	net.Conn
	lost atomic.Bool
}

func (p *path) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &pathConn{Conn: conn}
	p.conns = append(p.conns, c)
	return c, err
}

func (p *path) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.lost.Store(true)
		_ = c.SetDeadline(time.Now()) // wakes its reads
	}
}

func (c *pathConn) Write(b []byte) (int, error) {
	if c.lost.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func (c *pathConn) Close() error {
	if c.lost.Load() {
		return nil
	}
	return c.Conn.Close()
}

// A process that is alone, and whose connections are lost without the server's knowledge,
// takes the lock of the database from its own old connection.
func TestOwnLostConnectionIsEnded(t *testing.T) {
	var way path
	db := openServer(t, sqlstore.Server{Spec: postgres.Database(t), Dial: way.dial, Alone: true}, sqlstore.Options{})
	create(t, db, "a")
	way.lose()
	r := plain("b", 0)
	if _, err := db.Create(t.Context(), r); err != nil {
		t.Errorf("Create = %v", err)
	}
	if !isStored(t, db, "b") {
		t.Error("the write is not stored")
	}
	for _, c := range way.conns {
		if c.lost.Load() {
			_ = c.Conn.Close()
		}
	}
}
