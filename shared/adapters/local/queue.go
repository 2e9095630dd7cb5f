// Package local serves a single machine. Its queue and its bus are in memory: they call
// handlers with the same HTTP requests that Cloud Tasks and Pub/Sub push would send. It also
// keeps files in a folder, and reads secrets from files and environment variables.
//
// It opens no port. The queue and the bus are not durable: their content is lost with the
// process. The records still owe these jobs, and the sweep restores them (R10, R11).
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

// QueueConfig configures a Queue. Only Handler has no default.
type QueueConfig struct {
	// Handler receives the deliveries, at the paths of package queue. Its routes may be
	// added after NewQueue, because nothing is delivered before the first Add.
	Handler http.Handler
	// Lanes are the lanes by their names. The default is [queue.Lanes] with their slots.
	Lanes map[string]Limits
	// Refill is called when a lane has dropped jobs and is less than half full again. It
	// must add all jobs that the records owe to that lane, due or not (R11). Each lane has
	// at most one call at a time, in a goroutine of its own. ctx ends with the queue.
	// Without Refill the sweep restores the jobs.
	Refill func(ctx context.Context, lane string)
	Log    *slog.Logger // default: no log
}

// A Queue is a queue.Queue in memory.
//
// Jobs are coalesced while they wait for a slot, for their time or for their next try: a
// new job with the same path and task is dropped if the waiting one is delivered no later
// than the new one may be. This loses nothing, because a job is a hint and the record
// decides, and it bounds the memory by the capacity. A running job does not replace a new
// one: it may have read the record before the change that the new one announces.
//
// At most one sweep of a lane waits, and a second one is dropped. They are not merged: the
// sweep may restore only jobs that were due when it was added, because later jobs may
// still wait behind it. The next tick adds another sweep.
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

// Add enqueues job and never blocks. A full lane drops the job, and Add still returns nil:
// the message stays accepted, and the lane starts a refill as it drains. An error means
// that the lane does not exist, that the job is invalid, or that the queue is closed. Add
// does not check whether ctx has ended.
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

// Close ends dispatching at once, forgets the waiting jobs, and returns when no delivery
// runs any more. When ctx is done, Close cancels the contexts of running deliveries. After
// five more seconds it returns an error with the number of deliveries that still run.
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

// A hint is a job with the trace of the request that added it.
type hint struct {
	queue.Job
	trace string
}

func (h hint) subject() string { return h.Task }
func (h hint) owner() string   { return h.Owner }

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
