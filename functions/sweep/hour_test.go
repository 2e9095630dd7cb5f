package sweep_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"errand/functions/sweep"
	"errand/shared/adapters/local"
	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/conformance"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
)

// A worker claims every task and works on it for a while.
type worker struct {
	t     *testing.T
	db    *sqlstore.DB
	takes time.Duration
	mu    sync.Mutex
	ran   map[string]int
}

func (w *worker) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	job, perr := queue.Parse(body)
	if err != nil || perr != nil {
		w.t.Error(err, perr)
		return
	}

	claimed := false
	now := rules.At(time.Now())
	world.Update(w.t, w.db, job.Task, func(r task.Record) (task.Record, bool, error) {
		lease := task.Lease{Until: now.Now.Add(24 * time.Hour), Nonce: req.Header.Get(queue.HeaderName)}
		n, v, changed, err := r.Claim(now, task.Claim{Lease: lease})
		claimed = v == task.Claimed
		return n, changed, err
	})

	if !claimed {
		return // an additional hint
	}

	w.mu.Lock()
	w.ran[job.Task]++
	w.mu.Unlock()

	select {
	case <-time.After(w.takes):
	case <-req.Context().Done():
	}
}

func (w *worker) done() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ran)
}

// acceptMany stores tasks concurrently, and enqueues their jobs.
func acceptMany(t *testing.T, db *sqlstore.DB, q queue.Queue, n int) {
	t.Helper()
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range 256 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				id := fmt.Sprintf("t%05d", i)
				accept(t, db, id, time.Now())
				if err := q.Add(context.Background(), queue.Job{Queue: task.Turns, Path: queue.PathTurn, Task: id}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Ten thousand tasks wait in a queue that needs an hour for them. Although a sweep is enqueued
// every minute, none of the tasks is enqueued again, because the sweep waits behind them. Then
// the queue loses all its jobs, and the next sweep enqueues each of them once.
func TestBacklogOfAnHour(t *testing.T) {
	tasks, slots := conformance.Long(960, 2400, 10_000), conformance.Long(24, 60, 250)

	synctest.Test(t, func(t *testing.T) {
		db := open(t, nil)
		work := &worker{t: t, db: db, takes: 90 * time.Second, ran: map[string]int{}}
		mux := http.NewServeMux()
		mux.Handle("POST "+queue.PathTurn, work)
		lanes := hourLanes(slots)
		first := local.NewQueue(local.QueueConfig{Handler: mux, Lanes: lanes})
		q := &world.Jobs{}
		q.Pass(first)
		var sweeps atomic.Int32

		s := newSweep(db, q, time.Now, func(c *sweep.Config) { c.Limit = 2 * tasks })

		mux.HandleFunc("POST "+queue.PathSweep, func(w http.ResponseWriter, r *http.Request) {
			s.ServeHTTP(w, r)
			sweeps.Add(1)
		})

		ctx, stop := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { s.Run(ctx, time.Minute) })
		acceptMany(t, db, q, tasks)
		time.Sleep(58 * time.Minute)
		if n := work.done(); n < tasks/2 || n > tasks-slots {
			t.Fatalf("%d tasks ran in the hour: the queue was not slow", n)
		}

		time.Sleep(10 * time.Minute)
		counted(t, work, q, tasks)
		if n := sweeps.Load(); n < 10 {
			t.Errorf("only %d sweeps ran", n)
		}

		// Another ten thousand tasks, and a queue that has lost their jobs.
		lost, cancel := context.WithCancel(context.Background())
		cancel()
		if err := first.Close(lost); err != nil {
			t.Fatal(err)
		}

		work.mu.Lock()
		work.ran = map[string]int{}
		work.mu.Unlock()
		rearm(t, db, tasks)
		second := local.NewQueue(local.QueueConfig{Handler: mux, Lanes: lanes})
		q.Pass(second)
		time.Sleep(2 * time.Minute) // the next sweep, a minute after the jobs were enqueued

		if n := len(turns(q)); n != tasks {
			t.Errorf("the next sweep put back %d of %d", n, tasks)
		}

		time.Sleep(70 * time.Minute)
		counted(t, work, q, tasks)
		stop()
		ended.Wait()
		if err := second.Close(lost); err != nil {
			t.Error(err)
		}
	})
}

// hourLanes are lanes with slots for jobs that belong to nobody: all of them stand in one
// line, and the sweeps behind them.
func hourLanes(slots int) map[string]local.Limits {
	return map[string]local.Limits{task.Turns: {Slots: slots / 2}, task.Deliveries: {}}
}

// The same backlog in a queue without order: any job may overtake any other, and sweeps
// overtake all. Each task is enqueued at most six times in the hour, and runs once.
func TestShuffledBacklogOfAnHour(t *testing.T) {
	tasks, slots := conformance.Long(960, 2400, 10_000), conformance.Long(24, 60, 250)

	synctest.Test(t, func(t *testing.T) {
		db := open(t, nil)
		work := &worker{t: t, db: db, takes: 90 * time.Second, ran: map[string]int{}}
		mux := http.NewServeMux()
		mux.Handle("POST "+queue.PathTurn, work)
		q := &world.Jobs{}
		s := newSweep(db, q, time.Now)
		mux.Handle("POST "+queue.PathSweep, s)
		inner := local.NewQueue(local.QueueConfig{Handler: mux, Lanes: hourLanes(slots)})
		q.Pass(shuffled{inner})

		ctx, stop := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { s.Run(ctx, time.Minute) })
		acceptMany(t, db, q, tasks)
		time.Sleep(58 * time.Minute)
		if n := work.done(); n < tasks/2 || n > tasks-slots {
			t.Fatalf("%d tasks ran in the hour: the queue was not slow", n)
		}

		most := 0
		for id, n := range added(q) {
			if most = max(most, n); n > 6 {
				t.Fatalf("%s was added %d times in the hour, want 6 at most", id, n)
			}
		}
		if most < 6 {
			t.Errorf("no task was added more than %d times: nothing overtook it", most)
		}

		time.Sleep(10 * time.Minute)
		if n := work.done(); n != tasks {
			t.Errorf("%d tasks ran, want %d", n, tasks)
		}
		for id, n := range work.ran {
			if n != 1 {
				t.Errorf("%s ran %d times", id, n)
			}
		}

		stop()
		ended.Wait()
		if err := inner.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A shuffled queue has many lines, and puts each job into any of them.
type shuffled struct{ queue.Queue }

func (q shuffled) Add(ctx context.Context, job queue.Job) error {
	if job.Task != "" {
		job.Owner = strconv.Itoa(rand.IntN(50))
	}
	return q.Queue.Add(ctx, job)
}

// counted checks that every task ran, and was enqueued once.
func counted(t *testing.T, w *worker, q *world.Jobs, tasks int) {
	t.Helper()
	if n := w.done(); n != tasks {
		t.Errorf("%d tasks ran, want %d", n, tasks)
	}
	for id, n := range added(q) {
		if n != 1 {
			t.Fatalf("%s was added %d times, want once", id, n)
		}
	}
	q.Take()
}

// added counts the turns that were enqueued, by task.
func added(q *world.Jobs) map[string]int {
	n := map[string]int{}
	for _, id := range turns(q) {
		n[id]++
	}
	return n
}

// turns are the tasks whose turns were enqueued.
func turns(q *world.Jobs) []string {
	var out []string
	for _, j := range q.All() {
		if j.Queue == task.Turns && j.Task != "" {
			out = append(out, j.Task)
		}
	}
	return out
}

// rearm makes every task owe its turn again, as if its job were enqueued now.
func rearm(t *testing.T, db *sqlstore.DB, tasks int) {
	t.Helper()
	now := time.Now()
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range 256 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(tasks); i = next.Add(1) {
				world.Update(t, db, fmt.Sprintf("t%05d", i), func(r task.Record) (task.Record, bool, error) {
					r.Asked = now
					next, err := r.LeaseLost(rules.At(now), task.Crew{})
					return next, true, err
				})
			}
		})
	}
	wg.Wait()
}

// After a restart the backlog is far larger than the lane. The lane is refilled while it
// drains, until all tasks have run, and not afterwards.
func TestRefillOfASmallLane(t *testing.T) {
	const tasks = 2000

	synctest.Test(t, func(t *testing.T) {
		db := open(t, nil)
		work := &worker{t: t, db: db, takes: 10 * time.Second, ran: map[string]int{}}
		mux := http.NewServeMux()
		mux.Handle("POST "+queue.PathTurn, work)
		acceptMany(t, db, &world.Jobs{}, tasks)
		q := &world.Jobs{}
		s := newSweep(db, q, time.Now, func(c *sweep.Config) { c.Fill = 250 })
		var refills atomic.Int32

		small := local.NewQueue(local.QueueConfig{
			Handler: mux,
			Lanes:   map[string]local.Limits{task.Turns: {Slots: 25, Capacity: 50}, task.Deliveries: {}},
			Refill: func(ctx context.Context, lane string) {
				refills.Add(1)
				s.Refill(ctx, lane)
			},
		})

		q.Pass(small)
		s.Refill(t.Context(), task.Turns)
		if n := len(turns(q)); n != 250 {
			t.Errorf("one refill put back %d, want 250", n)
		}

		time.Sleep(30 * time.Minute)
		if n := work.done(); n != tasks {
			t.Errorf("%d of %d tasks ran", n, tasks)
		}

		for id, n := range work.ran {
			if n > 1 {
				t.Errorf("%s ran %d times", id, n)
			}
		}

		if n := refills.Load(); n < tasks/100 || n > tasks/25 {
			t.Errorf("%d refills for %d tasks in a lane of 100", n, tasks)
		}
		if err := small.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
