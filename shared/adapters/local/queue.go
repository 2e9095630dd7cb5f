// Package local is the queue and the bus of a single machine, in memory: it
// delivers the very HTTP requests that Cloud Tasks and Pub/Sub push would
// deliver, to the same handlers, by calling them.
//
// It is not durable and does not listen. What it holds is gone with the
// process; the records still owe it, and the sweep puts it back (R10, R11).
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"errand/shared/queue"
	"errand/shared/serve"
)

// QueueConfig says what a Queue needs; only Handler has no default.
type QueueConfig struct {
	// Handler gets the deliveries, at the paths of package queue. It may still
	// be without routes when the queue is made: nothing is delivered before the
	// first Add.
	Handler http.Handler
	// Lanes are the lanes by their names; default those of [queue.Lanes] with their slots.
	Lanes map[string]Limits
	// Refill is called when a lane that had to drop jobs is less than half full
	// again: it is to add whatever the records owe that lane, due or not (R11).
	// Once at a time for each lane, in a goroutine of its own; ctx ends with the
	// queue. Nil leaves it to the sweep.
	Refill func(ctx context.Context, lane string)
	Log    *slog.Logger // default: nowhere
}

// A Queue is a queue.Queue in memory.
//
// A job that waits, for a slot, for its time or for its next try, stands for
// every further one with the same path and task that may go when it does: a
// hint is a hint, the record decides, and so memory is bounded by the capacity.
// One that runs stands for none: it may have read the record before the change
// that is hinted at.
//
// Of the sweeps of a lane one waits at most. A second one is dropped, not
// merged: what was due when the first was added is what may be put back, for
// what came later may wait behind it. The next tick adds another.
type Queue struct {
	lanes map[string]*lane[hint]
}

var _ queue.Queue = (*Queue)(nil)

// NewQueue returns a Queue that runs until Close.
func NewQueue(c QueueConfig) *Queue {
	if c.Lanes == nil {
		c.Lanes = map[string]Limits{}
		for _, l := range queue.Lanes() {
			c.Lanes[l.Name] = Limits{Slots: l.Slots}
		}
	}
	q := &Queue{lanes: make(map[string]*lane[hint], len(c.Lanes))}
	for name, limits := range c.Lanes {
		l := newLane[hint](name, c.Handler, limits.withDefaults(defaultMinBackoff), c.Log)
		if c.Refill != nil {
			l.refill = func(ctx context.Context) { c.Refill(ctx, name) }
		}
		q.lanes[name] = l
	}
	return q
}

// Add hands job over, and never blocks. When the lane is full the job is dropped
// and the answer is still nil: the accept stands, and the lane asks for a
// refill as it drains. An error means that there is no such lane, that job is
// none, or that the queue is closed. The end of ctx is not looked at.
func (q *Queue) Add(ctx context.Context, job queue.Job) error {
	l, ok := q.lanes[job.Queue]
	switch {
	case !ok:
		return fmt.Errorf("adding a job: no queue %q", job.Queue)
	case job.Path == "":
		return fmt.Errorf("adding a job to %s: no path", job.Queue)
	case (job.Task == "") == job.Sweep.IsZero():
		return fmt.Errorf("adding a job to %s: either a task or a sweep", job.Queue)
	}
	err := l.add(&item[hint]{
		msg: hint{job, serve.Trace(ctx)},
		key: key{path: job.Path, task: job.Task},
		try: try{at: job.At},
		pos: -1,
	})
	if err != nil && !errors.Is(err, errFull) {
		return fmt.Errorf("adding a job to %s: %w", job.Queue, err)
	}
	return nil
}

// Close ends dispatching at once, forgets what waits, and returns when no
// delivery runs any more. They may end by themselves until ctx is done; then
// their contexts are cancelled. The error names deliveries that did not even
// end within five seconds after that: they are left behind.
func (q *Queue) Close(ctx context.Context) error {
	for _, l := range q.lanes {
		l.stop()
	}
	ended := make(chan error)
	for _, l := range q.lanes {
		go func() { ended <- l.wait(ctx) }()
	}
	var errs []error
	for range q.lanes {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// A hint is a job on its way, and the trace that it belongs to.
type hint struct {
	queue.Job
	trace string
}

func (h hint) subject() string { return h.Task }

// Canonical forms of the headers of Cloud Tasks.
// https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler
var (
	headerQueue     = http.CanonicalHeaderKey(queue.HeaderQueue)
	headerName      = http.CanonicalHeaderKey(queue.HeaderName)
	headerRetry     = http.CanonicalHeaderKey(queue.HeaderRetry)
	headerExecution = http.CanonicalHeaderKey("X-CloudTasks-TaskExecutionCount")
	headerETA       = http.CanonicalHeaderKey("X-CloudTasks-TaskETA")
)

func (h hint) post(lane string, t try) (string, http.Header, []byte) {
	header := headers(
		"Content-Type", "application/json",
		"User-Agent", "Google-Cloud-Tasks",
		headerQueue, lane,
		headerName, t.name,
		headerRetry, strconv.Itoa(t.failed),
		headerExecution, strconv.Itoa(t.answered),
		headerETA, seconds(t.at),
	)
	if h.trace != "" {
		header.Set(serve.HeaderTrace, h.trace)
	}
	return h.Path, header, h.Body()
}

// seconds writes a time as Cloud Tasks does: seconds of Unix time and a fraction.
func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', 6, 64)
}
