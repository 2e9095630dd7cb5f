package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/secret"
	"errand/shared/task"
	"errand/worker/run"
	"errand/worker/steps"
	"errand/worker/tools"
)

// Times of calls.
const (
	keepEvery = time.Second      // results that come within it are stored together
	keepFor   = 5 * time.Second  // to store results when the run has ended
	lateFor   = 30 * time.Second // to store a result that came after its time limit
	shortHold = 10 * time.Second // a wait for which a turn is not parked
	graceFor  = 3 * time.Second  // for calls with effects, when the process must stop
)

// Reasons to park.
var (
	errNoTime = errors.New("executor: a call does not fit into the rest of the run")
	errHeld   = errors.New("executor: calls are waiting")
)

// A callEnd is the end of a call.
type callEnd struct {
	call  int
	value json.RawMessage
	err   error
}

// group makes calls side by side, and stores their results as they come. Only this goroutine
// yields events: the calls report to it.
func (t *turn) group(ctx context.Context, o *open, calls []int) error {
	done := make(chan callEnd, len(calls))
	r := reporter{reports: make(chan report), over: make(chan struct{})}
	defer close(r.over)
	for _, i := range calls {
		o.calls[i].begun = false
		go func() {
			value, err := t.call(ctx, o.Step, i, o.calls[i], r)
			done <- callEnd{i, value, err}
		}()
	}

	var tick <-chan time.Time
	for left := len(calls); left > 0; {
		select {
		case m := <-done:
			left--
			t.noteEnd(o, m)
			if tick == nil {
				tick = time.After(keepEvery)
			}
		case rep := <-r.reports:
			rep.answer <- t.report(o, rep)
		case <-tick:
			tick = nil
			if err := t.keep(ctx, o); err != nil {
				return err
			}
		}
	}

	if err := t.keep(ctx, o); err != nil {
		return err
	}
	return ctx.Err()
}

// noteEnd notes the end of a call. A call that has neither a result nor asked to wait may have
// happened: the next plan decides.
func (t *turn) noteEnd(o *open, m callEnd) {
	c := o.Calls[m.call]
	now := t.now()
	wait, waits := errors.AsType[*tools.Wait](m.err)
	last := c.First.Add(task.LaterFor)

	if w, ok := errors.AsType[*run.Wanted](m.err); ok {
		t.wanted = w
	}

	switch {
	case waits && !now.Before(last):
		m.value = tools.Refusal("the call has waited for 30 days, which is the limit: it is not made again")
	case waits:
		at := wait.At
		if soon := now.Add(max(time.Second, now.Sub(c.First)/100)); at.Before(soon) {
			at = soon
		}
		if at.After(last) {
			at = last
		}
		o.waits[m.call] = task.Wait{Call: m.call, At: at.UTC().Round(0), Told: wait.Told}
		return

	case errors.Is(m.err, tools.ErrTimeLimit) && !c.Effects:
		m.value = tools.Refusal(fmt.Sprintf("the call took longer than its time limit of %s", c.Limit))
	case errors.Is(m.err, tools.ErrTimeLimit):
		t.fruitless = true
		return
	case m.value == nil, m.err != nil && o.calls[m.call].deaf: // the failure may be that of the run
		return
	}

	o.fresh[m.call] = task.Result{Value: m.value, At: now}
}

// call makes one call within its time limit.
func (t *turn) call(ctx context.Context, s task.Step, i int, c callable, r reporter) (json.RawMessage, error) {
	limited, cancel := t.graced(ctx, s.Calls[i].Effects)
	defer cancel()
	limited = tools.With(limited, tools.Info{
		Task: string(t.info.TaskID), Context: t.info.ContextID, Turn: t.number, Caller: t.caller,
		Key: t.steps.Key(s.Number, i), Wake: t.steps.URL(ctx, s.Number, i), Attempt: s.Calls[i].Times,
	})
	r.call = i
	limited = tools.WithReporter(limited, r)
	limited = steps.Within(limited, fmt.Sprintf("%d.%d ", s.Number, i+1))
	limited, asks := asking(limited)

	began := time.Now()
	value, err := c.tool.Run(limited, c.call, func(late json.RawMessage) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateFor)
		defer cancel()
		if _, err := t.steps.Keep(ctx, s, map[int]task.Result{i: {Value: late, At: t.now()}}); err != nil {
			t.log.ErrorContext(ctx, "the result of a call came late, and was lost", "task", t.info.TaskID, "tool", s.Calls[i].Name, "err", err)
		}
	})

	if w := asks.wanted.Load(); w != nil && err != nil {
		err = w
	}

	log := t.log.With("task", t.info.TaskID, "tool", s.Calls[i].Name, "step", s.Number, "call", i+1, "duration", time.Since(began))
	switch _, waits := errors.AsType[*tools.Wait](err); {
	case waits:
		log.InfoContext(ctx, "tool waits", "reason", err)
	case err != nil:
		log.WarnContext(ctx, "tool failed", "err", err)
	default:
		log.InfoContext(ctx, "tool called")
	}
	return value, err
}

// An asks notes which credential a call has asked for and not got. The error of a tool has lost
// that.
type asks struct {
	run.Credentials
	wanted atomic.Pointer[run.Wanted]
}

// asking is the context of a call, with what the call asks for.
func asking(ctx context.Context) (context.Context, *asks) {
	this, _ := run.From(ctx)
	a := &asks{Credentials: this.Credentials}
	if a.Credentials == nil {
		return ctx, a
	}
	this.Credentials = a
	return run.With(ctx, this), a
}

// Get implements run.Credentials.
func (a *asks) Get(ctx context.Context, name, why string) (secret.Value, error) {
	v, err := a.Credentials.Get(ctx, name, why)
	if w, ok := errors.AsType[*run.Wanted](err); ok {
		a.wanted.Store(w)
	}
	return v, err
}

// graced is the context of a call. A call with effects may go on for a moment when the process
// must stop, because its outcome would be unknown otherwise.
func (t *turn) graced(ctx context.Context, effects bool) (context.Context, context.CancelFunc) {
	if !effects {
		return context.WithCancel(ctx)
	}
	return outlasting(ctx, func(cause error) time.Duration {
		if errors.Is(cause, task.ErrFenced) {
			return 0
		}
		return graceFor
	})
}

// outlasting returns a context that ends some time after ctx, which depends on why ctx ended.
func outlasting(ctx context.Context, by func(cause error) time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by(context.Cause(ctx)), cancel) })
	return longer, func() { stop(); cancel() }
}

// A report is a text or an artifact of a running call.
type report struct {
	call   int
	text   string
	made   *a2a.Artifact
	n      int
	answer chan error
}

// A reporter passes the reports of one call on to the goroutine of the turn.
type reporter struct {
	call    int
	reports chan report
	over    chan struct{} // closed when the turn takes no more
}

var _ tools.Reporter = reporter{}

// Progress implements tools.Reporter.
func (r reporter) Progress(ctx context.Context, text string) error {
	return r.pass(ctx, report{text: text})
}

// Artifact implements tools.Reporter.
func (r reporter) Artifact(ctx context.Context, n int, a *a2a.Artifact) error {
	return r.pass(ctx, report{made: a, n: n})
}

func (r reporter) pass(ctx context.Context, rep report) error {
	rep.call, rep.answer = r.call, make(chan error, 1)
	select {
	case r.reports <- rep:
		return <-rep.answer
	case <-r.over:
		return errGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

// report yields the report of a call.
func (t *turn) report(o *open, rep report) error {
	var ev a2a.Event
	if rep.made == nil {
		ev = a2a.NewStatusUpdateEvent(t.info, a2a.TaskStateWorking, t.message(fmt.Sprintf("step%d-call%d-progress", o.Number, rep.call+1), rep.text))
	} else {
		size := 0
		for _, p := range rep.made.Parts {
			size += len(p.Text()) + len(p.Raw())*4/3
			if d := p.Data(); d != nil {
				size += len(asJSON(d))
			}
		}
		if t.made+size > maxAnswer {
			return fmt.Errorf("the artifacts of the turn would have %d bytes, at most %d", t.made+size, maxAnswer)
		}
		t.made += size
		rep.made.ID = artifactID(t.number, fmt.Sprintf("step%d-call%d-%d", o.Number, rep.call+1, rep.n))
		ev = &a2a.TaskArtifactUpdateEvent{TaskID: t.info.TaskID, ContextID: t.info.ContextID, Artifact: rep.made, LastChunk: true}
	}
	if !t.yield(ev, nil) && rep.made != nil {
		o.calls[rep.call].deaf = true
		return errGone
	}
	return nil // a text need not be seen
}
