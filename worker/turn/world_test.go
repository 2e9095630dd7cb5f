package turn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/worker/turn"
)

// execute makes a function an executor.
type execute func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool)

func (f execute) Execute(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) { f(ctx, ec, yield) }
}

func (f execute) Cancel(_ context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCanceled, nil), nil)
	}
}

// A bench is a worker on a real store, with a queue that reports its deliveries and a bus
// that keeps its events. The test itself delivers jobs to the worker.
type bench struct {
	*world.World
	t      *testing.T
	desk   *desk.Desk
	worker *turn.Worker
	jobs   chan string // task ids of the jobs that the queue delivered

	mu     sync.Mutex
	now    time.Time
	events []string
	failed bool // the bus refuses events
}

func newBench(t *testing.T, ex a2asrv.AgentExecutor) *bench {
	t.Helper()
	return newBenchOn(t, "", time.Now().UTC(), ex)
}

// newBenchOn returns a bench on a file and at a time. Without a path the file is new.
func newBenchOn(t *testing.T, path string, now time.Time, ex a2asrv.AgentExecutor) *bench {
	t.Helper()
	b := &bench{t: t, now: now, jobs: make(chan string, 100)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+queue.PathTurn, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		job, err := queue.Parse(body)
		if err != nil {
			t.Error(err)
		}
		b.jobs <- job.Task
	})

	b.World = world.New(t, world.Config{Path: path, Now: b.clock, Handler: mux})
	b.desk = b.Desk(b.Store)
	b.worker = b.newWorker(b.Store, ex, time.Millisecond)
	return b
}

// newWorker returns a worker whose reads and commits go to store.
func (b *bench) newWorker(store task.Store, ex a2asrv.AgentExecutor, commit time.Duration) *turn.Worker {
	return turn.New(turn.Config{Desk: b.desk, Store: store, KV: b.Store.KV(), Bus: b, Executor: ex, Log: b.Log, Pace: each(commit)})
}

// each is a pace at which events wait for so long.
func each(d time.Duration) turn.Pace { return turn.Pace{Soon: d, Text: d, Other: d, Bytes: 64 << 10} }

// configure replaces the worker by one with another executor and configuration.
func (b *bench) configure(ex a2asrv.AgentExecutor, change func(*turn.Config)) {
	c := turn.Config{Desk: b.desk, Store: b.Store, KV: b.Store.KV(), Bus: b, Executor: ex, Log: b.Log, Pace: each(time.Millisecond)}
	change(&c)
	b.worker = turn.New(c)
}

// Publish implements bus.Publisher. The topic can be unavailable.
func (b *bench) Publish(_ context.Context, events ...bus.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed {
		return errors.New("the topic is unavailable")
	}
	for _, e := range events {
		b.events = append(b.events, fmt.Sprintf("%d %s%s", e.Notification, e.Kind, strings.TrimPrefix(e.State, "TASK_STATE")))
	}
	return nil
}

func (b *bench) published() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.events...)
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// advance moves the bench's clock forward.
func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) send(id, text, taskID string) task.Record {
	b.t.Helper()
	r, err := b.desk.Accept(b.t.Context(), desk.Message{Owner: "me", Message: &a2a.Message{
		ID: id, TaskID: a2a.TaskID(taskID), Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)},
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// deliver gives a job to the worker, with the queue's task name and retry count, and
// returns the status.
func (b *bench) deliver(id, name string, retry int) int {
	b.t.Helper()
	return b.deliverUntil(b.t.Context(), id, name, retry)
}

// deliverUntil delivers a job until ctx ends. Then the queue hangs up.
func (b *bench) deliverUntil(ctx context.Context, id, name string, retry int) int {
	b.t.Helper()
	req := httptest.NewRequestWithContext(ctx, "POST", queue.PathTurn, strings.NewReader(string(queue.Job{Task: id}.Body())))
	req.Header.Set(queue.HeaderQueue, task.Turns)
	req.Header.Set(queue.HeaderName, name)
	req.Header.Set(queue.HeaderRetry, strconv.Itoa(retry))
	w := httptest.NewRecorder()
	b.worker.ServeHTTP(w, req)
	return w.Code
}

// awaitState watches the record until it is in the state.
func (b *bench) awaitState(id string, state a2a.TaskState) task.Record {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	for r, err := range b.Store.Watch(ctx, id) {
		if err != nil {
			b.t.Fatal(err)
		}
		if r.State() == state {
			return r
		}
	}
	b.t.Fatalf("task %s did not become %s", id, state)
	return task.Record{}
}

func texts(t *a2a.Task) []string {
	var out []string
	for _, a := range t.Artifacts {
		for _, p := range a.Parts {
			out = append(out, p.Text())
		}
	}
	return out
}
