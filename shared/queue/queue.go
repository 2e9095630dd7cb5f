// Package queue is the port to the work queues. They carry hints that a record may have
// pending work, and deliver them as HTTP requests.
//
// It is not a store of work. A job is the id of a record, and the record decides (design
// R2). So a job may be lost, repeated, late or out of order without harm to any promise.
package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A Queue accepts jobs. It is safe for concurrent use.
type Queue interface {
	// Add hands job over. After nil the queue delivers it at least once, not before job.At,
	// unless the queue itself is lost. Add does not wait for the delivery. After an error
	// the job may or may not be delivered. Add makes no long retries, because the record is
	// the outbox and the sweep enqueues missing jobs (R10). The trace of ctx, if any,
	// becomes the delivery's Traceparent header.
	Add(ctx context.Context, job Job) error
}

// Paths at which jobs are delivered, by POST.
const (
	PathTurn    = "/turns"      // a turn of a task: worker/turn
	PathBatch   = "/batch"      // a batch as a whole: worker/batches
	PathBulk    = "/bulk"       // a turn of the item of a batch: worker/turn
	PathDeliver = "/deliveries" // webhooks of a task: functions/notify
	PathSweep   = "/sweep"      // repair of a queue: functions/sweep
)

// Headers that Cloud Tasks sets on a delivery. Every adapter sets them.
// https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler
const (
	HeaderQueue = "X-CloudTasks-QueueName"
	HeaderName  = "X-CloudTasks-TaskName"
	HeaderRetry = "X-CloudTasks-TaskRetryCount" // failed deliveries so far, from 0
)

// A Job is one hint. Exactly one of Task and Sweep is set.
type Job struct {
	Queue string    // name of the lane that carries the job
	Path  string    // one of the Path constants
	Task  string    // id of the record that may have work
	Owner string    // of the record; a queue in memory serves owners in turn, and no body has it
	Sweep time.Time // for a sweep: when it was added; it repairs the work that was due then
	Shard int       // for a sweep: which part of the tasks, from 0
	Of    int       // for a sweep: how many parts there are; 0 or 1: all tasks
	At    time.Time // earliest delivery; zero: at once
}

// body is the JSON form of a job. Cloud Tasks keeps at most 100 KB of it.
type body struct {
	ID    string     `json:"id,omitempty"`
	Queue string     `json:"queue,omitempty"`
	Sweep *time.Time `json:"sweep,omitempty"`
	Shard int        `json:"shard,omitempty"`
	Of    int        `json:"of,omitempty"`
}

// Body is the content that is posted to Path.
func (j Job) Body() []byte {
	b := body{ID: j.Task}
	if j.Task == "" {
		b.Queue, b.Sweep, b.Shard, b.Of = j.Queue, &j.Sweep, j.Shard, j.Of
	}
	data, err := json.Marshal(b)
	if err != nil { // a time beyond the year 9999, which no clock of ours has
		panic(fmt.Sprintf("encoding job: %v", err))
	}
	return data
}

// maxBody bounds the bytes that a handler reads. A job of ours has about 50 bytes.
const maxBody = 64 << 10

// Read reads the job of a delivery. Its errors are those of [Parse].
func Read(w http.ResponseWriter, r *http.Request) (Job, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return Job{}, fmt.Errorf("not a job: %w", err)
	}
	return Parse(data)
}

// Parse reads the text that Body wrote. An error means that the text is not a job and never
// will be: the handler must acknowledge the delivery, or the queue repeats it for ever.
func Parse(data []byte) (Job, error) {
	var b body
	if err := json.Unmarshal(data, &b); err != nil {
		return Job{}, fmt.Errorf("not a job: %w", err)
	}
	switch {
	case b.ID != "":
		return Job{Task: b.ID}, nil
	case b.Sweep != nil && b.Queue != "":
		return Job{Queue: b.Queue, Path: PathSweep, Sweep: *b.Sweep, Shard: b.Shard, Of: b.Of}, nil
	}
	return Job{}, fmt.Errorf("not a job: neither an id nor a sweep")
}
