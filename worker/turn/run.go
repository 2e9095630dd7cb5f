package turn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/kv"
	"errand/shared/task"
	"errand/worker/run"
	workersteps "errand/worker/steps"
)

// Reasons to end a run from outside.
var (
	errDrain   = errors.New("the process is stopping")
	errGone    = errors.New("the queue no longer waits for the turn")
	errTooLong = errors.New("the turn takes longer than one run may")
	errNoRoom  = errors.New("other turns hold the memory that the turn needs")
	errSilent  = errors.New("the executor ended without a final event")
	errPanic   = errors.New("the executor panicked") // like a worker that died: another run may succeed
)

// run runs the claimed turn, and the turns of messages that wait behind it, until another
// claim may take the record. When the queue hangs up, the turn is parked as if the process
// stopped: a queue that has forgotten the job does not deliver it again, and other workers
// would leave the turn alone until the lease ends.
func (w *Worker) run(ctx context.Context, r task.Record, p *place, start time.Time) error {
	nonce := r.Lease.Nonce
	for {
		after, err := w.answer(ctx, r, p, start)
		if err != nil {
			if errors.Is(err, task.ErrFenced) { // R6: cancelled, or taken over
				return nil
			}
			return err
		}
		r = after
		if r.Lease.Nonce != nonce {
			break
		}
		p.share() // the turn that waited is another one
	}
	ctx = context.WithoutCancel(ctx)
	if !r.Wake.IsZero() {
		return w.cfg.Desk.Enqueue(ctx, r, r.Lane) // the wake-up, if it is near (R4)
	}
	if err := w.dropCredentials(ctx, r); err != nil {
		return err
	}
	return w.publish(ctx, r)
}

// answer runs the executor for the newest message and commits the outcome. A run that ends in
// an error gives its lease back.
func (w *Worker) answer(ctx context.Context, r task.Record, p *place, start time.Time) (task.Record, error) {
	s := newSession(w, r)
	runCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	s.cancel = cancel
	deadline := time.AfterFunc(start.Add(w.cfg.Deadline).Sub(w.cfg.Desk.Now()), func() { cancel(errTooLong) })
	defer deadline.Stop()
	stopGone := context.AfterFunc(ctx, func() { cancel(errGone) })
	defer stopGone()
	stopDrain := context.AfterFunc(w.drain, func() { cancel(errDrain) })
	defer stopDrain()
	go w.watch(runCtx, r, cancel)
	renewed := s.renew(runCtx, start)
	shared := s.shareLater(runCtx, p)

	began := w.cfg.Desk.Now()
	out, err := w.execute(runCtx, r, s, start.Add(w.cfg.Deadline))
	s.close()
	shared()
	renewed()
	final, err := w.conclude(context.WithoutCancel(ctx), s, out, err)
	if err != nil && !errors.Is(err, task.ErrFenced) {
		s.giveBack(context.WithoutCancel(ctx))
	}
	s.logTurn(ctx, final, out, err, w.cfg.Desk.Now().Sub(began))
	return final, err
}

// watch stops the run when it loses the record (R8): the client has cancelled the task,
// another worker has claimed it, or the record was deleted. Commits are fenced even while
// the watch is broken.
func (w *Worker) watch(ctx context.Context, r task.Record, cancel context.CancelCauseFunc) {
	for now := range task.Follow(ctx, w.cfg.Store, r.ID(), r.Version) {
		if now.Epoch != r.Epoch || now.Terminal() {
			break
		}
	}
	cancel(task.ErrFenced) // no effect on a run that has ended
}

// execute runs the executor until its final event, an error, or the end of ctx.
func (w *Worker) execute(ctx context.Context, r task.Record, s *session, until time.Time) (out task.Outcome, err error) {
	charge := w.memory.Charge(r.Owner)
	defer charge.Settle()
	if err := s.bring(ctx, r); err != nil {
		return task.Outcome{}, because(ctx, err)
	}
	ec, sees, err := w.executorContext(ctx, r, charge)
	if err != nil {
		return task.Outcome{}, because(ctx, &workersteps.Again{Err: err})
	}

	ctx, cc := callContext(ctx, r)
	ec.User, ec.ServiceParams = cc.User, cc.ServiceParams()
	ctx = run.With(ctx, run.Run{
		Turn: r.Turn, Attempt: r.Attempt, Until: until, Flush: s.flush, Now: w.cfg.Desk.Now,
		Steps: &steps{s: s, r: r, stored: map[int]kv.Entry{}}, Spent: r.Turned, Spend: s.spend, Moved: s.progress, Inherited: r.Inherited(),
		Credentials: credentials{s: s, r: r}, Before: sees.before, LeftOut: s.leftOut,
		Task: r.ID(), Epoch: r.Epoch, Last: r.LastAttempt(w.cfg.Desk.Moment().Rules),
	})
	ctx = workersteps.With(ctx, workersteps.Scope{
		KV: noting{w.cfg.KV, s}, Owner: r.Owner, Prefix: fmt.Sprintf("%st%06d/", r.StepPrefix(), r.Turn), Keys: r.TurnKey(), Fresh: r.Epoch == 1 && r.Turn == 1 && len(r.Origins) == 0,
		Memos: fmt.Sprintf("%st%06d/", r.MemoPrefix(), r.Turn), Earlier: withMemos(r, sees.related), Take: takeMemos(charge),
	})
	// Nothing after an end counts: an executor that yields once more has an end and a panic.
	ended := false
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "the executor panicked", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()), "ended", ended)
			if !ended {
				err = &workersteps.Again{Err: errPanic}
			}
		}
		err = because(ctx, err)
		w.cleanup(ctx, ec, s, err)
	}()

	for ev, fault := range w.cfg.Executor.Execute(ctx, ec) {
		if out, ended, err = s.heed(ctx, ev, fault); ended {
			break
		}
	}

	switch {
	case ended:
		return out, err
	case ctx.Err() != nil:
		return task.Outcome{}, context.Cause(ctx)
	}
	return task.Outcome{}, errSilent
}

// heed adds an event of the executor, and says whether the run ends with it.
func (s *session) heed(ctx context.Context, ev a2a.Event, fault error) (out task.Outcome, ended bool, err error) {
	switch {
	case fault != nil:
		return out, true, fault
	case ctx.Err() != nil:
		return out, true, context.Cause(ctx)
	case ev == nil:
		return out, false, nil
	}
	if err := task.Storable(ev); err != nil {
		return out, true, err
	}

	out, ended = task.OutcomeOf(ev)
	if _, whole := ev.(*a2a.Task); whole || !ended {
		s.add(ev)
	}
	return out, ended, nil
}

// because returns the reason for which the run had to stop, if there is one: the executor
// itself may then end with another error. A pause of calls that wait is a better end than that
// of a run which stops in its middle.
func because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	pause, paused := errors.AsType[*run.Pause](err)
	switch {
	case err == nil || cause == nil:
		return err
	case paused && len(pause.Waits) > 0 && !errors.Is(cause, task.ErrFenced) && !errors.Is(cause, task.ErrTooLarge):
		return err
	}
	return cause
}

// cleanup makes the calls that an executor may expect after a run: Cancel if the client has
// cancelled or deleted the task, and Cleanup always. Events that it yields then are ignored.
func (w *Worker) cleanup(ctx context.Context, ec *a2asrv.ExecutorContext, s *session, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "the executor panicked while cleaning up", "stack", string(debug.Stack()))
		}
	}()
	if errors.Is(err, task.ErrFenced) {
		now, lerr := w.cfg.Store.Load(ctx, string(ec.TaskID))
		if lerr == nil && now.State() == a2a.TaskStateCanceled || errors.Is(lerr, task.ErrDeleted) {
			for range w.cfg.Executor.Cancel(ctx, ec) {
				if ctx.Err() != nil {
					break
				}
			}
		}
	}
	if c, ok := w.cfg.Executor.(a2asrv.AgentExecutionCleaner); ok {
		c.Cleanup(ctx, ec, ec.StoredTask, err)
	}
}

// conclude commits the outcome of the run. A returned error makes the queue deliver the job
// again. An error of the executor is final, as in the SDK, unless it is of a kind that says
// otherwise. Its text is for the log alone.
func (w *Worker) conclude(ctx context.Context, s *session, out task.Outcome, err error) (task.Record, error) {
	switch {
	case err == nil:
		return s.finish(ctx, out)
	case errors.Is(err, task.ErrFenced):
		return s.record(), err
	case errors.Is(err, task.ErrTooLarge):
		return s.fail(ctx, "The task was ended: its result is too large to be kept.")
	case errors.Is(err, task.ErrUnstorable):
		s.log.WarnContext(ctx, "the executor's answer cannot be kept", "err", err)
		return s.fail(ctx, "The task was ended: the agent gave an answer that cannot be kept.")
	case errors.Is(err, errOrigin):
		return s.fail(ctx, "The task was ended: the task that it runs again is gone, and so is the work that it was to go on from. Send a new message.")
	case errors.Is(err, errSilent):
		return s.fail(ctx, "The task was ended: the agent gave no answer.")
	case errors.Is(err, errTooLong):
		return s.park(ctx, task.Parking{Wake: w.cfg.Desk.Now(), UsedUp: !s.moved.Load()})
	case errors.Is(err, errDrain), errors.Is(err, errGone), errors.Is(err, errNoRoom):
		return s.park(ctx, task.Parking{Wake: w.cfg.Desk.Now()})
	}

	if ask, ok := errors.AsType[*run.Ask](err); ok {
		return s.finish(ctx, task.Outcome{State: a2a.TaskStateInputRequired, Message: ask.Message, Question: &ask.Question})
	}

	if w, ok := errors.AsType[*run.Wanted](err); ok {
		return s.finish(ctx, task.Outcome{State: a2a.TaskStateAuthRequired, Message: w.Message})
	}

	if pause, ok := errors.AsType[*run.Pause](err); ok {
		level := slog.LevelInfo
		if pause.Alert {
			level = slog.LevelError
		}
		s.log.Log(ctx, level, "turn parked", "for", pause.For, "alert", pause.Alert, "err", pause.Err)
		p := w.parking(pause, s.record().Held)
		p.UsedUp = pause.UsedUp && !s.moved.Load()
		return s.park(ctx, p)
	}

	if again, ok := errors.AsType[*workersteps.Again](err); ok {
		return s.again(ctx, again)
	}

	s.log.WarnContext(ctx, "the executor failed, and its task is ended", "err", err)
	return s.finish(ctx, task.Outcome{State: a2a.TaskStateFailed, Message: a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(whyFailed(err, s.record())))})
}

// whyFailed tells a client why an error of the executor ended its task. One that is over a limit of
// steps has no hint: a rerun has these steps, and ends in the same way.
func whyFailed(err error, r task.Record) string {
	if errors.Is(err, workersteps.ErrLimit) {
		return fmt.Sprintf("The task was ended: its work is over a limit of one message: %d steps, %d MiB for all of them, %d KiB for the result of one, %d bytes for its name.",
			workersteps.MaxSteps, workersteps.MaxBytes>>20, kv.LimitValue>>10, workersteps.MaxName)
	}
	return "The task was ended: the agent failed to do the work." + r.RerunHint()
}

// logTurn writes the log line of a turn, one for every run.
func (s *session) logTurn(ctx context.Context, final task.Record, out task.Outcome, err error, took time.Duration) {
	outcome := string(out.State)
	switch {
	case errors.Is(err, task.ErrFenced):
		outcome = "given up: cancelled, or taken over"
	case err != nil:
		outcome = "broken off"
	case final.Task != nil && !final.Wake.IsZero():
		outcome = "parked"
	case final.Task != nil && (final.Terminal() || final.Interrupted()):
		outcome = string(final.State())
	}
	attrs := []any{"outcome", outcome, "duration", took}
	if usage, ok := out.Metadata["usage"]; ok {
		attrs = append(attrs, "usage", usage)
	}
	s.log.InfoContext(ctx, "turn", attrs...)
}
