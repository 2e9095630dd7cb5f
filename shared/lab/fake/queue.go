package fake

import (
	"container/heap"
	"math"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// A taskQueue is one queue with its tasks.
type taskQueue struct {
	service *Tasks
	wake    chan struct{} // signals a change

	mu      sync.Mutex
	pb      *cloudtaskspb.Queue
	tasks   map[string]*task
	waiting schedule
	taken   map[string]bool // all names so far, which cannot be used again
	running int
	tokens  float64 // dispatches that the rate allows now
	counted time.Time
}

// A task is one task, guarded by the mutex of its queue.
type task struct {
	id       string
	pb       *cloudtaskspb.Task
	running  bool
	failed   int // failed tries
	answered int // failed tries whose answer was not 5xx
	last     int // status of the last answer
}

// newTaskQueue fills in the defaults of the service.
// https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues
func newTaskQueue(s *Tasks, q *cloudtaskspb.Queue) *taskQueue {
	pb := &cloudtaskspb.Queue{
		State: cloudtaskspb.Queue_RUNNING,
		RateLimits: &cloudtaskspb.RateLimits{
			MaxDispatchesPerSecond: 500, MaxBurstSize: 100, MaxConcurrentDispatches: 1000,
		},
		RetryConfig: &cloudtaskspb.RetryConfig{
			MaxAttempts: 100, MinBackoff: durationpb.New(100 * time.Millisecond), MaxBackoff: durationpb.New(time.Hour), MaxDoublings: 16,
		},
	}
	proto.Merge(pb, q)
	return &taskQueue{
		service: s, wake: make(chan struct{}, 1), pb: pb,
		tasks: map[string]*task{}, taken: map[string]bool{},
		tokens: float64(pb.RateLimits.MaxBurstSize), counted: time.Now(),
	}
}

func (q *taskQueue) info() *cloudtaskspb.Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	return proto.Clone(q.pb).(*cloudtaskspb.Queue)
}

// look makes run check the tasks again.
func (q *taskQueue) look() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *taskQueue) put(t *cloudtaskspb.Task) error {
	id := t.Name[strings.LastIndexByte(t.Name, '/')+1:]
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken[id] {
		return status.Errorf(codes.AlreadyExists, "The task cannot be created because a task with this name existed too recently: %s", t.Name)
	}
	q.taken[id] = true
	q.tasks[id] = &task{id: id, pb: proto.Clone(t).(*cloudtaskspb.Task)}
	q.wait(q.tasks[id])
	return nil
}

func (q *taskQueue) find(id string) (*task, error) {
	if t := q.tasks[id]; t != nil {
		return t, nil
	}
	return nil, status.Errorf(codes.NotFound, "The task does not exist: %s/tasks/%s", q.pb.GetName(), id)
}

// run dispatches until the service is closed.
func (q *taskQueue) run() {
	for {
		timer := time.NewTimer(q.dispatch())
		select {
		case <-q.service.ctx.Done():
			return
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// dispatch starts the tasks that may start now, and returns the time until the next one may.
func (q *taskQueue) dispatch() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		now := time.Now()
		limits := q.pb.RateLimits
		q.tokens = min(float64(limits.MaxBurstSize), q.tokens+now.Sub(q.counted).Seconds()*limits.MaxDispatchesPerSecond)
		q.counted = now
		if q.pb.State != cloudtaskspb.Queue_RUNNING || q.running >= int(limits.MaxConcurrentDispatches) {
			return time.Hour // wake ends the wait earlier
		}
		next := q.first()
		if next == nil {
			return time.Hour
		}
		if wait := next.at().Sub(now); wait > 0 {
			return wait
		}
		if q.tokens < 1 {
			return time.Duration((1 - q.tokens) / limits.MaxDispatchesPerSecond * float64(time.Second))
		}
		q.tokens--
		q.start(next)
	}
}

// first is the waiting task with the earliest time.
func (q *taskQueue) first() *task {
	for len(q.waiting) > 0 {
		if w := q.waiting[0]; q.tasks[w.task.id] == w.task && !w.task.running && w.task.at().Equal(w.at) {
			return w.task
		}
		heap.Pop(&q.waiting) // the task is deleted, running, or waits for another time
	}
	return nil
}

func (t *task) at() time.Time { return t.pb.GetScheduleTime().AsTime() }

// wait schedules t for its time.
func (q *taskQueue) wait(t *task) {
	heap.Push(&q.waiting, waiting{t.at(), t})
	q.look()
}

// A schedule is a heap of waiting tasks. Some of its entries are out of date.
type schedule []waiting

type waiting struct {
	at   time.Time
	task *task
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(w any)        { *s = append(*s, w.(waiting)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// start delivers t in a goroutine.
func (q *taskQueue) start(t *task) {
	t.running = true
	q.running++
	t.pb.DispatchCount++
	at := &cloudtaskspb.Attempt{ScheduleTime: t.pb.ScheduleTime, DispatchTime: timestamppb.Now()}
	if t.pb.FirstAttempt == nil {
		t.pb.FirstAttempt = &cloudtaskspb.Attempt{DispatchTime: at.DispatchTime}
	}
	t.pb.LastAttempt = at
	try := newTry(q, t)
	q.service.all.Go(func() { q.done(t, q.service.deliver(try)) })
}

// done ends a task after an answer of 2xx. Otherwise it schedules a retry, unless both the
// number of attempts and the time for them are used up.
func (q *taskQueue) done(t *task, a answer) {
	defer q.look()
	q.mu.Lock()
	defer q.mu.Unlock()
	t.running = false
	q.running--
	t.last = a.status

	if a.status != 0 {
		t.pb.ResponseCount++
		t.pb.LastAttempt.ResponseTime = timestamppb.Now()
	}

	if a.status >= 200 && a.status < 300 {
		delete(q.tasks, t.id)
		return
	}

	t.failed++
	if a.status != 0 && a.status < 500 {
		t.answered++
	}

	q.service.o.Log.Warn("not delivered", "name", t.pb.GetName(), "url", t.pb.GetHttpRequest().GetUrl(), "failed", t.failed, "status", a.status, "err", a.err)
	if q.exhausted(t) {
		delete(q.tasks, t.id)
		return
	}

	pause := max(backoff(q.retries(t), t.failed), a.retryAfter)
	t.pb.ScheduleTime = timestamppb.New(time.Now().Add(pause))
	q.wait(t)
}

// retries returns the retry settings of the task, or else of the queue.
func (q *taskQueue) retries(t *task) *cloudtaskspb.RetryConfig {
	if own := t.pb.GetRetryConfig(); own != nil {
		return own
	}
	return q.pb.RetryConfig
}

func (q *taskQueue) exhausted(t *task) bool {
	r := q.retries(t)
	longest := r.GetMaxRetryDuration().AsDuration()
	late := time.Since(t.pb.FirstAttempt.DispatchTime.AsTime()) >= longest
	if r.GetMaxAttempts() < 0 {
		return longest > 0 && late
	}
	return t.failed >= int(r.GetMaxAttempts()) && late
}

// backoff doubles max_doublings times, then grows in equal steps, and stays at max_backoff.
func backoff(r *cloudtaskspb.RetryConfig, failed int) time.Duration {
	least, most := r.GetMinBackoff().AsDuration(), r.GetMaxBackoff().AsDuration()
	doublings := min(failed-1, int(r.GetMaxDoublings()))
	wait := float64(least) * math.Pow(2, float64(doublings)) * float64(1+failed-1-doublings)
	return time.Duration(min(wait, float64(most)))
}
