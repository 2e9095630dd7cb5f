package local_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"errand/shared/adapters/local"
	"errand/shared/bus"
	"errand/shared/lab/conformance"
	"errand/shared/queue"
)

func TestQueueLaws(t *testing.T) {
	conformance.Queue(t, func(t *testing.T, h http.Handler) queue.Queue {
		return open(t, local.QueueConfig{Handler: h})
	})
}

func TestBusLaws(t *testing.T) {
	conformance.Bus(t, func(t *testing.T, h http.Handler) bus.Publisher {
		return openBus(t, local.BusConfig{Handler: h, Subscriptions: []string{"notify"}})
	})
}

// A seen is one request as the handler saw it.
type seen struct {
	Path, Task, Name string
	Retry            int
	After            time.Duration // after the log was made
}

// A log is a handler that keeps its requests. If status is set, it returns the answers.
type log struct {
	status func(n int) int // of the nth request, from 1
	start  time.Time

	mu   sync.Mutex
	seen []seen
}

func newLog(status func(n int) int) *log { return &log{status: status, start: time.Now()} }

func (l *log) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	job, err := queue.Parse(body)
	if err != nil {
		panic(err)
	}
	retry, err := strconv.Atoi(r.Header.Get(queue.HeaderRetry))
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	l.seen = append(l.seen, seen{
		Path: r.URL.Path, Task: job.Task, Name: r.Header.Get(queue.HeaderName),
		Retry: retry, After: time.Since(l.start),
	})
	n := len(l.seen)
	l.mu.Unlock()
	if l.status != nil {
		w.WriteHeader(l.status(n))
	}
}

func (l *log) all() []seen {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]seen(nil), l.seen...)
}

func (l *log) tasks() []string {
	var ids []string
	for _, s := range l.all() {
		ids = append(ids, s.Task)
	}
	return ids
}

// A gate is a handler in which every request waits until the gate opens or the request's
// context ends. A request that begins to wait sends its task to entered.
type gate struct {
	entered chan string // task
	opened  chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan string, 1000), opened: make(chan struct{})} }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	job, _ := queue.Parse(body)
	g.entered <- job.Task
	select {
	case <-g.opened:
	case <-r.Context().Done():
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// open makes a queue. At the end of the test it is closed without waiting for deliveries.
func open(t *testing.T, c local.QueueConfig) *local.Queue {
	q := local.NewQueue(c)
	t.Cleanup(func() { shut(t, q) })
	return q
}

func openBus(t *testing.T, c local.BusConfig) *local.Bus {
	b := local.NewBus(c)
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t *testing.T, c interface{ Close(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func turn(task string) queue.Job {
	return queue.Job{Queue: "turns", Path: queue.PathTurn, Task: task, Owner: "o"}
}

func addAll(t *testing.T, q *local.Queue, jobs ...queue.Job) {
	t.Helper()
	for _, job := range jobs {
		if err := q.Add(t.Context(), job); err != nil {
			t.Fatalf("Add(%+v) = %v", job, err)
		}
	}
}

func lanes(turns local.Limits) map[string]local.Limits {
	return map[string]local.Limits{"turns": turns, "deliveries": {}}
}

func TestAddRefusesInvalidJobs(t *testing.T) {
	q := open(t, local.QueueConfig{Handler: http.NotFoundHandler()})
	for _, tt := range []struct {
		name string
		job  queue.Job
	}{
		{"unknown lane", queue.Job{Queue: "batch", Path: queue.PathTurn, Task: "a"}},
		{"no path", queue.Job{Queue: "turns", Task: "a"}},
		{"nothing to do", queue.Job{Queue: "turns", Path: queue.PathTurn}},
		{"task and sweep", queue.Job{Queue: "turns", Path: queue.PathSweep, Task: "a", Sweep: time.Now()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := q.Add(t.Context(), tt.job); err == nil {
				t.Errorf("Add(%+v) = nil, want an error", tt.job)
			}
		})
	}
}

func TestAddWithEndedContextStillAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		q := open(t, local.QueueConfig{Handler: h})
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the client disconnected after its message was stored
		if err := q.Add(ctx, turn("a")); err != nil {
			t.Fatalf("Add = %v", err)
		}
		synctest.Wait()
		if got := len(h.all()); got != 1 {
			t.Errorf("%d deliveries, want 1", got)
		}
	})
}

func TestHandlerRoutesMayComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux, h := http.NewServeMux(), newLog(nil)
		q := open(t, local.QueueConfig{Handler: mux})
		mux.Handle("POST "+queue.PathTurn, h)
		addAll(t, q, turn("a"))
		synctest.Wait()
		if got := len(h.all()); got != 1 {
			t.Errorf("%d deliveries, want 1", got)
		}
	})
}

func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		q := local.NewQueue(local.QueueConfig{Handler: g, Lanes: lanes(local.Limits{Slots: 1})})
		addAll(t, q, turn("running"), turn("waiting"),
			queue.Job{Queue: "deliveries", Path: queue.PathDeliver, Task: "parked", Owner: "o", At: time.Now().Add(time.Hour)})
		<-g.entered
		time.AfterFunc(time.Second, func() { close(g.opened) })
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()

		if err := q.Close(ctx); err != nil {
			t.Errorf("Close = %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("Close took %v, want 1s, like the delivery", took)
		}
		if len(g.entered) != 0 {
			t.Errorf("%q was delivered after Close", <-g.entered)
		}
		if err := q.Add(t.Context(), turn("late")); err == nil {
			t.Error("Add after Close = nil, want an error")
		}

		if err := q.Close(ctx); err != nil {
			t.Errorf("second Close = %v", err)
		}
	}) // the bubble fails the test if a goroutine is left
}

func TestCloseCancelsDeliveriesThatDoNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		q := local.NewQueue(local.QueueConfig{Handler: g})
		addAll(t, q, turn("a"), turn("b"))
		<-g.entered
		<-g.entered
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := q.Close(ctx); err != nil {
			t.Errorf("Close = %v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Close took %v, want 3s", took)
		}
	})
}

func TestCloseLeavesTheDeafBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := make(chan struct{})
		deaf := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-opened })
		q := local.NewQueue(local.QueueConfig{Handler: deaf})
		addAll(t, q, turn("a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := q.Close(ctx)
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close = %v, want an error about the delivery that is left", err)
		}
		close(opened)
	})
}

// An idle queue needs no Close: it has no goroutine, and waiting jobs have none either. A
// goroutine that is left would fail the test.
func TestIdleQueueHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		q := local.NewQueue(local.QueueConfig{Handler: h})
		before := runtime.NumGoroutine()
		at := time.Now().Add(time.Minute)
		for i := range 1000 {
			job := turn(strconv.Itoa(i))
			job.At = at
			addAll(t, q, job)
		}
		if more := runtime.NumGoroutine() - before; more > 0 {
			t.Errorf("%d goroutines for 1000 waiting jobs, want 0", more)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := len(h.all()); got != 1000 {
			t.Errorf("%d deliveries, want 1000", got)
		}
	})
}
