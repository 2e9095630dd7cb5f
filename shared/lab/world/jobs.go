package world

import (
	"context"
	"errors"
	"slices"
	"sync"

	"errand/shared/queue"
)

// Jobs is a queue that notes its jobs and passes them on, if there is a next queue.
type Jobs struct {
	mu    sync.Mutex
	next  queue.Queue
	added []queue.Job
	fails bool
	left  int // if it fails: the additions that still succeed
}

// Keep makes the queue note its jobs and pass none on.
func (q *Jobs) Keep() { q.Pass(nil) }

// Pass makes the queue pass its jobs on to next.
func (q *Jobs) Pass(next queue.Queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next = next
}

// FailAfter makes the queue refuse jobs after n more; a negative n means that it works.
func (q *Jobs) FailAfter(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fails, q.left = n >= 0, n
}

// Add implements queue.Queue. Like a remote queue it refuses the job of a caller that has
// gone.
func (q *Jobs) Add(ctx context.Context, job queue.Job) error {
	if err := ctx.Err(); err != nil {
		return err
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fails && q.left == 0 {
		return errors.New("the queue is out of order")
	}

	q.left--
	q.added = append(q.added, job)
	if q.next == nil {
		return nil
	}
	return q.next.Add(ctx, job)
}

// All returns the jobs noted so far.
func (q *Jobs) All() []queue.Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.added)
}

// Take returns the jobs noted since the last Take.
func (q *Jobs) Take() []queue.Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.added
	q.added = nil
	return all
}
