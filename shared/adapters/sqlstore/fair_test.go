package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// heavy is a new record of an owner with so many bytes.
func heavy(t testing.TB, owner, id string, bytes int) task.Record {
	t.Helper()
	r, err := task.Accept(task.Defaults().At(time.Now()), task.Acceptance{
		ID: id, Context: hashed(id), Owner: owner, Lane: task.Turns,
		Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(strings.Repeat("x", bytes))),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// An owner reads one list at a time, and another owner's list waits for none of the lists
// that the first one still wants.
func TestOneListOfAnOwnerAtATime(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{ListFor: time.Hour})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var running, most atomic.Int32
	entered := make(chan struct{}, 100)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			err := db.Listing(ctx, "greedy", func(ctx context.Context) {
				most.Store(max(most.Load(), running.Add(1)))
				entered <- struct{}{}
				<-ctx.Done()
				running.Add(-1)
			})
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}

	<-entered
	for range 3 {
		if _, err := db.List(t.Context(), task.Query{Owner: "quiet", Limit: 1, Count: true}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	all.Wait()
	if most.Load() != 1 {
		t.Errorf("%d lists of one owner were read at once", most.Load())
	}
}

// A list ends with its caller, and after its longest time. Its reader is free then.
//
// On a busy machine a list may begin so late that its interrupt is lost, and it goes on to its
// own end. So one of a few must be interrupted.
func TestListsEnd(t *testing.T) {
	ends := func(when string, want error, list func() error) {
		for range 5 {
			err := list()
			if errors.Is(err, want) {
				return
			}
			if err != nil {
				t.Errorf("%s: %v, want %v", when, err, want)
				return
			}
		}
		t.Errorf("%s: lists go on to their end, want %v", when, want)
	}

	db := open(t, file(t), sqlstore.Options{ListFor: time.Hour})
	ends("the caller has left", context.Canceled, func() error {
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- db.Endless(ctx, "someone") }()
		leave()
		return <-done
	})

	short := open(t, file(t), sqlstore.Options{ListFor: time.Millisecond})
	for range 5 {
		ends("a list that takes too long", task.ErrSlow, func() error { return short.Endless(t.Context(), "someone") })
	}
}

// A list finds in one index all that its filters ask for.
func TestListsReadOnlyTheirIndex(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{})
	for _, q := range []task.Query{
		{}, {Context: "c"}, {State: a2a.TaskStateWorking}, {Context: "c", State: a2a.TaskStateWorking, Since: time.Now()},
	} {
		q.Owner = "someone"
		where, args := sqlstore.Filter(q, time.Now())
		plan, err := db.Plan(t.Context(), "SELECT count(*) FROM task "+where, args...)
		if err != nil || !strings.Contains(plan, "USING COVERING INDEX") || strings.Contains(plan, "SCAN") {
			t.Errorf("%+v: %v, the plan is\n%s", q, err, plan)
		}
	}
}

// Although lists overlap all the time, so that SQLite alone never comes to begin its log
// again, the log has a limit.
func TestLogIsBoundedWhateverIsRead(t *testing.T) {
	const most, record = 1 << 20, 100 << 10
	path := file(t)
	db := open(t, path, sqlstore.WithLog(sqlstore.Options{}, most))
	ctx, stop := context.WithCancel(t.Context())
	var lists sync.WaitGroup
	for _, owner := range []string{"a", "b"} {
		lists.Go(func() {
			for ctx.Err() == nil {
				// It holds its view of the database for a while.
				short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				_ = db.Endless(short, owner)
				cancel()
			}
		})
	}

	longest := int64(0)
	for i := range 100 {
		if _, err := db.Create(t.Context(), heavy(t, "writer", fmt.Sprint(i), record)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		longest = max(longest, info.Size())
	}

	stop()
	lists.Wait()
	if longest > 2*most {
		t.Errorf("the log had %d bytes, want %d at most", longest, 2*most)
	}
}

// An owner that writes large records by the hundred has two megabytes in the queue at most,
// so another owner's write waits for two groups of them.
func TestLargeWritesLetOthersIn(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{})
	release := db.Hold(t.Context())
	// The store numbers its writes in the order in which it makes them. The callers hear of
	// them in any order.
	var mu sync.Mutex
	numbers := map[string]int64{}
	put := func(owner, id string, bytes int) {
		stored, err := db.Create(t.Context(), heavy(t, owner, id, bytes))
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		numbers[id] = stored.Version
	}

	const flood, size = 60, 400 << 10
	var all sync.WaitGroup
	for i := range flood {
		all.Go(func() { put("flood", fmt.Sprint("f", i), size) })
	}

	const share = 2 << 20 / size
	queued(t, db, share)
	all.Go(func() { put("quiet", "q", 100) })
	queued(t, db, share+1)
	release()
	all.Wait()

	before := 0
	for _, n := range numbers {
		if n < numbers["q"] {
			before++
		}
	}
	if before > 2*share {
		t.Errorf("%d writes of another owner were made before the quiet one's", before)
	}
	if len(numbers) != flood+1 {
		t.Errorf("%d writes, want %d", len(numbers), flood+1)
	}
}

// A group of writes ends at a megabyte, so that its commit is not long.
func TestGroupsEndByBytes(t *testing.T) {
	db := open(t, file(t), sqlstore.Options{})
	before := db.Ran(t.Context())
	release := db.Hold(t.Context())
	const owners, writes, size = 3, 15, 200 << 10 // 3 MB, which fit into the queue together
	var all sync.WaitGroup
	for i := range writes {
		all.Go(func() {
			if _, err := db.Create(t.Context(), heavy(t, fmt.Sprint("owner", i%owners), fmt.Sprint(i), size)); err != nil {
				t.Error(err)
			}
		})
	}
	queued(t, db, writes)
	release()
	all.Wait()

	// One group would have a statement for each write, BEGIN, COMMIT, and a sum for each owner. Each
	// further one has three to five, and the calls of the test have four.
	if ran, one := db.Ran(t.Context())-before, writes+2+owners; ran < one+8 {
		t.Errorf("%d statements for %d writes: one group has %d, and there should be three", ran, writes, one)
	}
}
