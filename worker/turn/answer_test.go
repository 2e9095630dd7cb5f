package turn_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"errand/shared/lab/faulty"
	"errand/shared/task"
)

// A 503 slows the whole queue down, so it is answered only if no job could end: if the store does
// not answer. A fault of one task is answered 500. Both leave the task to be delivered again.
func TestAnswersToTheQueue(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()

	for _, tt := range []struct {
		name   string
		before func(faulty.Call) error // nil: the store has no fault
		bus    bool                    // is away
		ctx    context.Context         // of the delivery; nil: the test's
		want   int
	}{
		{name: "no fault", want: http.StatusNoContent},
		{name: "the store does not answer", before: refuse(faulty.Load, faulty.Commit), want: http.StatusServiceUnavailable},
		{name: "the store goes away before the claim", before: after(1, refuse(faulty.Load, faulty.Commit)), want: http.StatusServiceUnavailable},
		{name: "the record cannot be written", before: refuse(faulty.Commit), want: http.StatusInternalServerError},
		{name: "the record changes all the time", before: func(c faulty.Call) error {
			if c.Op == faulty.Commit {
				return task.ErrConflict
			}
			return nil
		}, want: http.StatusInternalServerError},
		{name: "the topic is away", bus: true, want: http.StatusInternalServerError},
		{name: "the queue hangs up", before: refuse(faulty.Load), ctx: canceled, want: http.StatusInternalServerError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, template("hello"))
			b.worker = b.newWorker(faulty.Store{Store: b.Store, Before: tt.before}, template("hello"), time.Millisecond)
			b.failed = tt.bus
			id := b.send("m", "hello", "").ID()

			ctx := tt.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			if got := b.deliverUntil(ctx, id, "job", 0); got != tt.want {
				t.Errorf("answered %d, want %d", got, tt.want)
			}
		})
	}
}

// refuse is a fault of these methods.
func refuse(ops ...faulty.Op) func(faulty.Call) error {
	return func(c faulty.Call) error {
		for _, op := range ops {
			if c.Op == op {
				return errMute
			}
		}
		return nil
	}
}

// after is a fault that begins after so many calls.
func after(calls int, fault func(faulty.Call) error) func(faulty.Call) error {
	return func(c faulty.Call) error {
		if calls--; calls >= 0 {
			return nil
		}
		return fault(c)
	}
}
