package sqlstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/conformance"
	"errand/shared/task"
)

func taskOf(id string, at time.Time) *a2a.Task {
	at = at.UTC().Truncate(time.Millisecond)
	return &a2a.Task{ID: a2a.TaskID(id), ContextID: "c", Status: a2a.TaskStatus{State: a2a.TaskStateSubmitted, Timestamp: &at}}
}

func create(t testing.TB, db *sqlstore.DB, id string) task.Record {
	t.Helper()
	r, err := db.Create(t.Context(), plain(id, 0))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func isStored(t *testing.T, db *sqlstore.DB, id string) bool {
	t.Helper()
	_, err := db.Load(t.Context(), id)
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// queued waits until n writes wait for the writer, which is held.
func queued(t *testing.T, db *sqlstore.DB, n int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); db.Waiting() != n; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d writes are waiting, want %d", db.Waiting(), n)
		}
	}
}

// If a group fails, all its operations return the failure. Not even ErrExists may be
// returned, because the record that exists in the group was not stored.
func TestFailedGroupLeavesNothing(t *testing.T) {
	for _, opts := range []sqlstore.Options{{}, {CacheRecords: -1}} {
		db := open(t, file(t), opts)
		old := create(t, db, "old")
		release := db.Hold(t.Context())
		errs := make(chan error, 4)

		calls := []func() error{
			func() error { _, err := db.Create(t.Context(), plain("new", 1)); return err },
			func() error { _, err := db.Create(t.Context(), plain("new", 2)); return err },
			func() error { _, err := db.Commit(t.Context(), changed(old, 3)); return err },
			func() error { return db.Script(t.Context(), "INSERT INTO nowhere VALUES (1)") },
		}

		for i, call := range calls {
			go func() { errs <- call() }()
			queued(t, db, i+1)
		}

		release()
		for range calls {
			err := <-errs
			if err == nil || errors.Is(err, task.ErrExists) || errors.Is(err, task.ErrConflict) {
				t.Errorf("a write of a failed group returns %v", err)
			}
		}

		if isStored(t, db, "new") {
			t.Error("a record of a failed group is stored")
		}
		if _, err := db.Commit(t.Context(), changed(old, 4)); err != nil {
			t.Errorf("after a failed group: %v", err)
		}

		create(t, db, "new")
	}
}

// Killing a process does not show whether its writes were synced. Only a power cut does.
func TestWritesAreSynced(t *testing.T) {
	const full = 2 // https://www.sqlite.org/pragma.html#pragma_synchronous
	got, err := open(t, file(t), sqlstore.Options{}).Number(t.Context(), "PRAGMA synchronous")
	if err != nil || got != full {
		t.Errorf("synchronous = %d, %v, want %d", got, err, full)
	}
}

func TestCallerMayLeave(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{})
	release := db.Hold(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := db.Create(ctx, plain("a", 0))
		left <- err
	}()
	queued(t, db, 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("a write whose caller has left: %v, want %v", err, context.Canceled)
	}
	release()
	create(t, db, "b") // the writer does not wait for the caller that has left
	if !isStored(t, db, "a") {
		t.Error("a waiting write was dropped")
	}
}

func TestClose(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	r := create(t, db, "a")
	watch := make(chan error, 1)
	armed := make(chan struct{})

	go func() {
		for _, err := range db.Watch(t.Context(), "a") {
			if err != nil {
				watch <- err
				return
			}
			close(armed)
		}
	}()

	<-armed
	release := db.Hold(t.Context())
	handed := make(chan error, 1)
	go func() {
		_, err := db.Create(t.Context(), plain("b", 0))
		handed <- err
	}()

	queued(t, db, 1)
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	if err := <-watch; !errors.Is(err, sqlstore.ErrClosed) {
		t.Errorf("a watch at Close: %v, want %v", err, sqlstore.ErrClosed)
	}

	release()
	if err := <-handed; err != nil {
		t.Errorf("a write that waited at Close: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}

	for name, call := range map[string]func() error{
		"Create": func() error { _, err := db.Create(t.Context(), plain("c", 0)); return err },
		"Commit": func() error { _, err := db.Commit(t.Context(), changed(r, 1)); return err },
		"Load":   func() error { _, err := db.Load(t.Context(), "a"); return err },
		"List":   func() error { _, err := db.List(t.Context(), task.Query{Owner: "someone", Limit: 1}); return err },
		"Due":    func() error { _, err := db.Due(t.Context(), "", task.Shard{}, time.Now(), task.Ref{}, 1); return err },
		"Purge":  func() error { _, err := db.Purge(t.Context(), time.Now(), 1); return err },
	} {
		if err := call(); !errors.Is(err, sqlstore.ErrClosed) {
			t.Errorf("%s after Close: %v, want %v", name, err, sqlstore.ErrClosed)
		}
	}

	if !isStored(t, open(t, path, sqlstore.Options{}), "b") {
		t.Error("the write that waited at Close is not stored")
	}
}

func TestDatabaseFull(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	if err := db.Script(t.Context(), "PRAGMA max_page_count = 300"); err != nil {
		t.Fatal(err)
	}
	fill(t, db, func() {
		if err := db.Script(t.Context(), "PRAGMA max_page_count = 1000000"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDiskFull(t *testing.T) {
	path := file(t)
	if out, err := child(t, "full", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	open(t, path, sqlstore.Options{})
}

// fill writes until there is no space, and calls give to make space. It checks that the store
// holds the acknowledged records and no others, before and after.
func fill(t *testing.T, db *sqlstore.DB, give func()) {
	big := strings.Repeat("x", 20_000)
	put := func(id string) error {
		r := plain(id, 0)
		r.Task.History = []*a2a.Message{a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(big))}
		_, err := db.Create(t.Context(), r)
		return err
	}

	const clients, each = 8, 30
	var mu sync.Mutex
	stored := map[string]bool{}
	var wg sync.WaitGroup

	for g := range clients {
		wg.Go(func() {
			for n := range each {
				id := fmt.Sprintf("%d-%d", g, n)
				err := put(id)
				if errors.Is(err, task.ErrExists) || errors.Is(err, task.ErrConflict) || errors.Is(err, task.ErrTooLarge) {
					t.Errorf("Create on a full disk: %v", err)
				}

				mu.Lock()
				stored[id] = err == nil
				mu.Unlock()
			}
		})
	}

	wg.Wait()
	n := 0

	for id, ok := range stored {
		if got := isStored(t, db, id); got != ok {
			t.Errorf("%s: stored %t, acknowledged %t", id, got, ok)
		}
		if ok {
			n++
		}
	}

	if n == 0 || n == clients*each {
		t.Fatalf("%d of %d writes succeeded: the disk was never full", n, clients*each)
	}

	give()
	for id, ok := range stored {
		if err := put(id); ok != errors.Is(err, task.ErrExists) || !ok && err != nil {
			t.Errorf("Create of %s with space again: %v; stored before: %t", id, err, ok)
		}
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	rounds := conformance.Size(2, 6)
	path := file(t)
	acked := map[string]int{}

	for round := range rounds {
		cmd := child(t, "write", path, "r"+strconv.Itoa(round))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}

		enough := 200 + rand.IntN(2000)
		lines := bufio.NewScanner(out)

		for n := 0; lines.Scan(); n++ {
			if n == enough {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}

			id, attempt, ok := strings.Cut(lines.Text(), " ")
			if a, err := strconv.Atoi(attempt); ok && err == nil { // otherwise the kill has cut the line
				acked[id] = max(acked[id], a)
			}
		}

		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}

		db := open(t, path, sqlstore.Options{})
		for id, want := range acked {
			r, err := db.Load(t.Context(), id)
			if err != nil || r.Attempt < want {
				t.Errorf("round %d: Load(%s) = attempt %d, %v, want at least %d, which was acknowledged", round, id, r.Attempt, err, want)
			}

			e, err := db.KV().Get(t.Context(), killed(id))
			if n, nerr := strconv.Atoi(string(e.Value)); err != nil || nerr != nil || n < want {
				t.Errorf("round %d: Get(%s) = %q, %v, want at least %d, which was acknowledged", round, e.Key, e.Value, err, want)
			}
		}

		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}

	t.Logf("%d records acknowledged before %d kills, all there", len(acked), rounds)
}
