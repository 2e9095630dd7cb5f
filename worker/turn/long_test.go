package turn_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/lab/faulty"
	"errand/shared/task"
	"errand/worker/turn"
)

// long is an executor whose run goes on until the test ends it.
func long() (ex execute, end func()) {
	over := make(chan struct{})
	return func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		select {
		case <-over:
			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
		case <-ctx.Done():
			yield(nil, ctx.Err())
		}
	}, func() { close(over) }
}

// started delivers a job, and returns when its run has the turn. The channel has the answer.
func (b *bench) started(id string) <-chan int {
	b.t.Helper()
	answer := make(chan int, 1)
	go func() { answer <- b.deliver(id, "job", 0) }()
	b.await(id, func(r task.Record) bool { return r.Lease != (task.Lease{}) })
	return answer
}

// await follows a record until it is as wanted.
func (b *bench) await(id string, is func(task.Record) bool) task.Record {
	b.t.Helper()
	for r := range task.Follow(b.t.Context(), b.Store, id, 0) {
		if is(r) {
			return r
		}
	}
	b.t.Fatal("the record is not as wanted")
	return task.Record{}
}

// A run renews its lease for as long as it may take, and no other job takes the turn over
// meanwhile. The last lease ends with the delivery of the run's job.
func TestRunRenewsItsLease(t *testing.T) {
	ex, end := long()
	b := newBench(t, ex)
	b.configure(ex, func(c *turn.Config) { c.Renew = time.Millisecond })
	id := b.send("m", "hello", "").ID()
	began := b.clock()
	answer := b.started(id)

	for after := time.Duration(0); ; after += 4 * time.Minute {
		until := min(after+10*time.Minute, 29*time.Minute+30*time.Second)
		b.await(id, func(r task.Record) bool { return r.Lease.Until.Equal(began.Add(until)) })
		if code := b.deliver(id, "another", 1); code != http.StatusNoContent || b.Load(id).Epoch != 1 {
			t.Errorf("after %v another job is answered %d, and the epoch is %d", after, code, b.Load(id).Epoch)
		}
		if after == 28*time.Minute {
			break
		}
		b.advance(4 * time.Minute)
	}

	end()
	if code := <-answer; code != http.StatusNoContent || b.Load(id).State() != a2a.TaskStateCompleted {
		t.Errorf("the run is answered %d, and the task is %s", code, b.Load(id).State())
	}
}

// The turn of a worker that died is taken over within a lease, however long runs may take.
func TestLeaseOfADeadWorkerEnds(t *testing.T) {
	ex, end := long()
	end()
	b := newBench(t, ex)
	id := b.send("m", "hello", "").ID()
	r := b.Load(id)
	next, _, _, err := r.Claim(b.Moment(), task.Claim{Lease: task.Lease{Until: b.clock().Add(10 * time.Minute), Nonce: "dead"}})
	if err == nil {
		_, err = b.Store.Commit(t.Context(), next)
	}
	if err != nil {
		t.Fatal(err)
	}
	if due := b.Load(id).Due; due.Lane != task.Turns || due.At.After(b.clock().Add(10*time.Minute)) {
		t.Errorf("the sweep looks at it at %v", due.At)
	}

	b.advance(10*time.Minute + 11*time.Second) // and a death is followed by a wait at most
	for b.Load(id).State() != a2a.TaskStateCompleted {
		b.deliver(id, "swept", 0)
		b.advance(time.Minute)
	}
}

// A run that cannot renew its lease tries again, and one that finds that it has lost the turn ends.
func TestRunWithoutALease(t *testing.T) {
	ex, end := long()
	defer end()
	b := newBench(t, ex)
	failing := faulty.Losing(b.Store, faulty.Commit, 2) // the answers of the claim and of the first renewal
	b.configure(ex, func(c *turn.Config) { c.Store, c.Renew = failing, time.Millisecond })
	id := b.send("m", "hello", "").ID()
	answer := b.started(id)
	first := b.Load(id).Lease.Until
	b.advance(time.Minute)
	b.await(id, func(r task.Record) bool { return r.Lease.Until.After(first) })

	if _, err := b.desk.ChangeByID(t.Context(), id, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.Cancel(now, a2a.NewMessage(a2a.MessageRoleAgent), nil)
	}); err != nil {
		t.Fatal(err)
	}
	if code := <-answer; code != http.StatusNoContent {
		t.Errorf("the run is answered %d", code)
	}
}
