package turn_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/lab/faulty"
	"errand/shared/task"
	"errand/worker/run"
)

// within fails the test if f does not return soon.
func within(t *testing.T, name string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s waits for another turn", name)
	}
}

// A turn that ends in an error has not broken its worker: it does not wait for the others
// before it is parked or tried again, and the others do not wait for it.
func TestFailingTurnHoldsUpNoOtherTurn(t *testing.T) {
	started, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	runs := 0

	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		switch ec.Message.Parts[0].Text() {
		case "slow":
			close(started)
			<-release

		case "bad":
			runs++
			yield(nil, errors.New("the model is unavailable"))
			return
		}

		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	slow, bad, good := b.send("s", "slow", "").ID(), b.send("b", "bad", "").ID(), b.send("g", "good", "").ID()
	go func() {
		defer close(ended)
		b.deliver(slow, "slow", 0)
	}()

	<-started
	defer func() {
		close(release)
		<-ended
	}()

	within(t, "the failing turn", func() {
		retry := 0
		next := func() {
			b.deliver(bad, "bad", retry)
			retry++
		}

		next()
		next()

		for _, wait := range b.Rules.Parks {
			next()
			b.advance(wait)
			next()
		}

		next()
	})

	if r := b.Load(bad); runs != b.Rules.Attempts || r.State() != a2a.TaskStateFailed {
		t.Errorf("after %d runs the failing task is %s", runs, r.State())
	}

	within(t, "an ordinary turn", func() {
		if code := b.deliver(good, "good", 0); code != http.StatusNoContent {
			t.Errorf("the ordinary turn was answered %d", code)
		}
	})
}

// A turn whose worker died twice runs alone. Parking it first is done beside other turns.
func TestTurnThatBreaksItsWorkerRunsAlone(t *testing.T) {
	started, parked, begun, ended := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	beside := false

	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		if ec.Message.Parts[0].Text() == "slow" {
			close(started)
			<-parked

			select {
			case <-begun:
				beside = true
			case <-time.After(50 * time.Millisecond): // long enough for the other to begin, if it may
			}
		} else {
			close(begun)
		}

		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	slow, bad := b.send("s", "slow", "").ID(), b.send("b", "bad", "").ID()
	b.died(bad, 2)
	go func() {
		defer close(ended)
		b.deliver(slow, "slow", 0)
	}()

	<-started
	within(t, "parking the turn", func() { b.deliver(bad, "bad", 2) })
	b.advance(b.Rules.Parks[0])
	close(parked)
	b.deliver(bad, "bad", 3)
	<-ended
	if beside {
		t.Error("the suspect turn ran beside another turn")
	}
	if r := b.Load(bad); r.State() != a2a.TaskStateCompleted || r.Epoch != 3 {
		t.Errorf("the suspect turn's task is %s after %d claims", r.State(), r.Epoch)
	}
}

// A job wakes a turn that was parked before one of its last claims.
func TestParkedSuspectIsWoken(t *testing.T) {
	b := newBench(t, template("x"))
	b.Rules.Parks = []time.Duration{50 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond}
	b.desk = b.Desk(b.Store)
	b.worker = b.newWorker(b.Store, template("x"), 0)
	id := b.send("m", "hello", "").ID()
	<-b.jobs
	b.died(id, 2)
	if code := b.deliver(id, "bad", 2); code != http.StatusNoContent || b.Load(id).Wake.IsZero() {
		t.Fatalf("answered %d, wake %v", code, b.Load(id).Wake)
	}
	select {
	case got := <-b.jobs:
		if got != id {
			t.Errorf("the job is for task %q", got)
		}
	case <-time.After(time.Minute):
		t.Error("no job wakes the turn")
	}
}

// A turn that has waited to run alone has only the rest of its delivery's time: if its
// lease were longer, the lease would be taken over while the turn runs (R2, R3). If most of
// the time is gone, the queue delivers the job again, and no claim is lost.
func TestTurnThatWaitedToRunAloneEndsWithItsDelivery(t *testing.T) {
	for _, test := range []struct {
		wait  time.Duration
		code  int
		epoch int64
	}{{time.Minute, http.StatusNoContent, 3}, {8 * time.Minute, http.StatusServiceUnavailable, 2}} {
		started, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		var until time.Time

		ex := execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
			if ec.Message.Parts[0].Text() == "slow" {
				close(started)
				<-release
			} else {
				this, _ := run.From(ctx)
				until = this.Until
			}

			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
		})

		b := newBench(t, ex)
		slow, bad := b.send("s", "slow", "").ID(), b.send("b", "bad", "").ID()
		b.died(bad, 2)
		b.deliver(bad, "bad", 2) // parks it
		b.advance(b.Rules.Parks[0])
		read := make(chan struct{}, 10)

		b.worker = b.newWorker(faulty.Loading(b.Store, func(r task.Record) (task.Record, error) {
			if r.ID() == bad {
				read <- struct{}{}
			}
			return r, nil
		}), ex, 0)

		go func() {
			defer close(ended)
			b.deliver(slow, "slow", 0)
		}()

		<-started
		delivered := b.clock()
		code := make(chan int)
		go func() { code <- b.deliver(bad, "bad", 3) }()
		<-read // from here its time runs
		b.advance(test.wait)
		close(release)

		if got := <-code; got != test.code {
			t.Errorf("after %v: answered %d, want %d", test.wait, got, test.code)
		}

		<-ended
		if r := b.Load(bad); r.Epoch != test.epoch {
			t.Errorf("after %v: %d claims, want %d", test.wait, r.Epoch, test.epoch)
		}
		if end := delivered.Add(9 * time.Minute); until.After(end) {
			t.Errorf("after %v: the run may last until %v, but its delivery ends soon after %v", test.wait, until, end)
		}
	}
}

// died makes the given number of claims of a task, for the job "bad", by workers that died.
func (b *bench) died(id string, times int) {
	b.t.Helper()
	for i := range times {
		_, err := task.UpdateFrom(b.t.Context(), b.Store, b.Load(id), func(r task.Record) (task.Record, bool, error) {
			next, _, changed, err := r.Claim(b.Moment(), task.Claim{Lease: task.Lease{
				Queue: task.Turns, Name: "bad", Retry: i, Nonce: fmt.Sprint(i), Until: b.clock().Add(time.Minute),
			}})
			return next, changed, err
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
}
