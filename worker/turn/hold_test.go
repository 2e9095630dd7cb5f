package turn_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/task"
	"errand/worker/run"
)

// gated is an executor that is asked first.
type gated struct {
	execute
	pause *run.Pause // nil: a turn may begin
	asked atomic.Int32
	left  atomic.Int32
}

func (g *gated) Admit(context.Context, string) (func(), *run.Pause) {
	g.asked.Add(1)
	return func() { g.left.Add(1) }, g.pause
}

// newGated returns a bench whose executor is asked first, and counts its runs.
func newGated(t *testing.T) (*bench, *gated, *int) {
	runs := new(int)
	g := &gated{execute: func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		*runs++
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}}
	return newBench(t, g), g, runs
}

// A turn that may not begin is held without a claim, and its job is acknowledged. Its wake-up
// is a job of its own. Then it runs.
func TestHeldTurn(t *testing.T) {
	b, g, runs := newGated(t)
	id := b.send("m", "hello", "").ID()
	<-b.jobs

	g.pause = &run.Pause{Hold: run.Away, Say: "The model is away."}
	for n := range 3 {
		if code := b.deliver(id, "job", n); code != http.StatusNoContent {
			t.Fatalf("the job was answered %d", code)
		}
		r := b.Load(id)
		wait := r.Wake.Sub(b.clock())
		if wait < time.Second || wait > task.HoldFor(n) || r.Held != n+1 || r.Epoch != 0 || r.Attempt != 0 || r.State() != a2a.TaskStateSubmitted {
			t.Fatalf("hold %d: wake in %v, held %d, epoch %d, attempt %d, %s", n+1, wait, r.Held, r.Epoch, r.Attempt, r.State())
		}
		if says := r.Task.Status.Message.Parts[0].Text(); says != g.pause.Say || len(r.Log) != 1 {
			t.Errorf("the task says %q, with %d events", says, len(r.Log))
		}
		if asked := g.asked.Load(); b.deliver(id, "early", 0) != http.StatusNoContent || g.asked.Load() != asked {
			t.Error("a turn that is parked asked the gate")
		}
		b.advance(wait)
	}

	g.pause = &run.Pause{Hold: run.Full, Say: "Others are first."}
	b.deliver(id, "job", 0)
	if r := b.Load(id); r.Held != 3 || r.Wake.Sub(b.clock()) > task.HoldFull {
		t.Errorf("at a full gate: held %d, wake in %v", r.Held, r.Wake.Sub(b.clock()))
	}
	b.advance(task.HoldFull)

	if g.pause = nil; *runs > 0 || g.left.Load() > 0 {
		t.Errorf("%d runs of a held turn, %d places given back", *runs, g.left.Load())
	}
	b.deliver(id, "job", 0)
	if r := b.Load(id); r.State() != a2a.TaskStateCompleted || r.Epoch != 1 || g.left.Load() != 1 {
		t.Errorf("then the task is %s after %d claims, and %d places were given back", r.State(), r.Epoch, g.left.Load())
	}
}

// The wake-up of a hold is enqueued if it is near.
func TestHeldTurnIsWoken(t *testing.T) {
	b, g, _ := newGated(t)
	id := b.send("m", "hello", "").ID()
	<-b.jobs
	g.pause = &run.Pause{Hold: run.Away}
	b.Jobs.Take()
	b.deliver(id, "job", 0)
	jobs := b.Jobs.Take()
	if r := b.Load(id); len(jobs) != 1 || jobs[0].Task != id || !jobs[0].At.Equal(r.Wake) {
		t.Errorf("the jobs are %v, want one at %v", jobs, r.Wake)
	}
}

// A lease that has ended is taken over by a claim, whatever the gate says: the death counts, and
// the epoch ends the worker that may yet live. Its run meets the gate.
func TestLeaseIsTakenOverAtAClosedGate(t *testing.T) {
	b, g, runs := newGated(t)
	id := b.send("m", "hello", "").ID()
	<-b.jobs
	g.pause = &run.Pause{Hold: run.Away}
	_, err := task.Update(t.Context(), b.Store, id, func(r task.Record) (task.Record, bool, error) {
		next, _, changed, err := r.Claim(b.desk.Moment(), task.Claim{Lease: task.Lease{Until: b.clock().Add(time.Minute), Queue: task.Turns, Name: "job", Nonce: "dead"}})
		return next, changed, err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.deliver(id, "job", 1)
	if r := b.Load(id); *runs != 1 || g.asked.Load() != 0 || r.Epoch != 2 {
		t.Errorf("%d runs, asked %d times, epoch %d", *runs, g.asked.Load(), r.Epoch)
	}
}

// A pause of a running turn at the gate counts as a hold, and gives its attempt back.
func TestPauseAtTheGate(t *testing.T) {
	b := newBench(t, execute(func(_ context.Context, _ *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		yield(nil, &run.Pause{For: time.Hour, Hold: run.Away, Say: "away"})
	}))
	id := b.send("m", "hello", "").ID()
	<-b.jobs
	for n := range 3 {
		b.deliver(id, "job", 0)
		r := b.Load(id)
		if wait := r.Wake.Sub(b.clock()) - time.Hour; wait < 0 || wait > task.HoldFor(n) || r.Held != n+1 || r.Attempt != 0 {
			t.Fatalf("pause %d: an hour and %v, held %d, attempt %d", n+1, wait, r.Held, r.Attempt)
		}
		b.advance(2 * time.Hour)
	}
	if r := b.Load(id); len(r.Log) != 2 { // working, and the message once
		t.Errorf("the task has %d events", len(r.Log))
	}
}
