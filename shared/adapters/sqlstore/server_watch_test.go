package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/postgres"
	"errand/shared/task"
)

// patience guards against hanging, and decides nothing.
const patience = 2 * time.Minute

// never is a recheck that no test reaches.
const never = time.Hour

// watched sends the versions of a record until the test ends.
func watched(t *testing.T, db *sqlstore.DB, id string) <-chan int64 {
	versions := make(chan int64, 1000)
	go func() {
		for r, err := range db.Watch(t.Context(), id) {
			if err != nil {
				if t.Context().Err() == nil {
					t.Errorf("watching %s: %v", id, err)
				}
				return
			}
			versions <- r.Version
		}
	}()
	return versions
}

// next waits until a watch has come to a version.
func next(t *testing.T, versions <-chan int64, want int64) {
	t.Helper()
	guard := time.After(patience)
	for {
		select {
		case got := <-versions:
			if got > want {
				t.Fatalf("the watcher sees version %d, want %d", got, want)
			}
			if got == want {
				return
			}
		case <-guard:
			t.Fatalf("the watcher did not see version %d", want)
		}
	}
}

// A commit wakes the watchers of other processes, before any of them reads by itself.
func TestCommitWakesWatchersOfOtherProcesses(t *testing.T) {
	url := postgres.Database(t)
	opts := sqlstore.WithRecheck(sqlstore.Options{}, never)
	a, b := openServer(t, sqlstore.Server{Spec: url}, opts), openServer(t, sqlstore.Server{Spec: url}, opts)
	r := create(t, a, "a\nb")
	versions := watched(t, b, r.ID())
	next(t, versions, r.Version)

	for i := range 20 {
		var err error
		if r, err = []*sqlstore.DB{a, b}[i%5/4].Commit(t.Context(), changed(r, i+1)); err != nil {
			t.Fatal(err)
		}
		next(t, versions, r.Version)
	}
}

// A listener whose connection was lost reads all watched records once it has another one.
func TestLostListenerMissesNothing(t *testing.T) {
	url := postgres.Database(t)
	opts := sqlstore.WithRecheck(sqlstore.Options{}, never)
	a, b := openServer(t, sqlstore.Server{Spec: url}, opts), openServer(t, sqlstore.Server{Spec: url}, opts)
	r := create(t, a, "a")
	versions := watched(t, b, "a")
	next(t, versions, r.Version)

	for i := range 5 {
		const kill = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`
		for end := time.Now().Add(patience); asked(t, superuser(url), kill) < 2; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the listeners did not come back")
			}
		}

		var err error
		if r, err = a.Commit(t.Context(), changed(r, i+1)); err != nil {
			t.Fatal(err)
		}
		next(t, versions, r.Version)
	}
}

// A change without a notification is seen at the next recheck.
func TestLostNotificationIsMadeUpFor(t *testing.T) {
	url := postgres.Database(t)
	db := openServer(t, sqlstore.Server{Spec: url}, sqlstore.WithRecheck(sqlstore.Options{}, 50*time.Millisecond))
	r := create(t, db, "a")
	versions := watched(t, db, "a")
	next(t, versions, r.Version)
	next(t, versions, asked(t, url, "UPDATE task SET version = nextval('task_version') WHERE id = 'a' RETURNING version"))
}

// A cut loses the answer to a commit.
type cut struct{ armed atomic.Bool }

func (c *cut) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &cutConn{Conn: conn, cut: c}, err
}

type cutConn struct {
	net.Conn
	cut    *cut
	writer atomic.Bool  // it has prepared the statement that changes a record
	writes atomic.Int64 // of the writer since the cut was armed; the second one has the COMMIT
}

func (c *cutConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("UPDATE task AS t")) {
		c.writer.Store(true)
	}
	if c.cut.armed.Load() && c.writer.Load() {
		c.writes.Add(1)
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.writes.Load() >= 2 && c.cut.armed.CompareAndSwap(true, false) {
		return 0, errors.Join(errors.New("cut by the test"), c.Close())
	}
	return n, err
}

// The writer of a commit whose answer is lost gets an error. The commit may be there, so the
// watchers of its own process look for it.
func TestCommitOfUnknownOutcomeIsSeen(t *testing.T) {
	for name, alone := range map[string]bool{"shared": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			var c cut
			url := postgres.Database(t)
			db := openServer(t, sqlstore.Server{Spec: url, Dial: c.dial, Alone: alone}, sqlstore.WithRecheck(sqlstore.Options{}, never))
			r := create(t, db, "a")
			versions := watched(t, db, "a")
			r, err := db.Commit(t.Context(), changed(r, 1)) // so that its statements are prepared
			if err != nil {
				t.Fatal(err)
			}
			next(t, versions, r.Version)

			c.armed.Store(true)
			if _, err := db.Commit(t.Context(), changed(r, 2)); err == nil || errors.Is(err, task.ErrConflict) {
				t.Fatalf("a commit without an answer: %v, want an error that says nothing about its outcome", err)
			}
			if c.armed.Load() {
				t.Fatal("nothing was cut")
			}
			now := asked(t, url, "SELECT version FROM task")
			if now == r.Version {
				t.Fatal("the commit is not there")
			}
			next(t, versions, now)
		})
	}
}
