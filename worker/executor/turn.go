package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/model"
	"errand/shared/task"
	"errand/worker/run"
	"errand/worker/steps"
)

// errGone says that the caller takes no more events.
var errGone = errors.New("executor: the caller takes no more events")

// A turn is one attempt to answer one message.
type turn struct {
	*Executor
	info      a2a.TaskInfo
	number    int // number of the message, from 1
	asked     *a2a.Message
	caller    string
	yield     func(a2a.Event, error) bool
	steps     run.Steps
	until     time.Time // when the run must have ended; zero: no limit
	now       func() time.Time
	spend     func(task.Spent)
	leftOut   func(string)
	view      view            // of the turns before the message
	history   []model.Content // from the message on
	answer    answer
	retry     retry
	used      tally
	known     reckoning // about the size of the next request
	room      int32     // tokens that the next step may make
	stepped   int       // number of the newest step
	inherited int       // number of the last step of a task that this one runs again
	said      int       // bytes that the model and its tools have added so far
	made      int       // bytes of artifacts that calls have made

	wanted    *run.Wanted // the credential that a call has asked for and not got
	fruitless bool        // a call with effects has used up its time limit in this run
}

func (e *Executor) begin(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) *turn {
	t := &turn{Executor: e, info: ec.TaskInfo(), number: turnNumber(ctx, ec), asked: ec.Message, yield: untilGone(yield)}
	if ec.User != nil {
		t.caller = ec.User.Name
	}

	this, _ := run.From(ctx)
	t.steps, t.until, t.now, t.spend, t.inherited = this.Steps, this.Until, this.Now, this.Spend, this.Inherited
	t.leftOut = this.LeftOut
	if t.now == nil {
		t.now = time.Now
	}
	if t.steps == nil {
		t.steps = &loose{info: string(t.info.TaskID), now: t.now}
	}
	if t.spend == nil {
		t.spend = func(task.Spent) {}
	}

	t.used = tally{model: e.model.Name(), prices: e.prices, spent: this.Spent}
	t.answer = answer{turn: t, id: artifactID(t.number, "answer")}
	return t
}

// untilGone passes events on until the caller takes no more. A yield after that would panic, and
// calls report until they end.
func untilGone(yield func(a2a.Event, error) bool) func(a2a.Event, error) bool {
	gone := false
	return func(ev a2a.Event, err error) bool {
		gone = gone || !yield(ev, err)
		return !gone
	}
}

// run does the work and yields its end. Every error is worth another run: what is not ends the
// turn with an outcome.
func (t *turn) run(ctx context.Context, ec *a2asrv.ExecutorContext) {
	out, err := t.work(ctx, ec)
	if err == nil {
		err = t.end(out)
	}
	if err == nil || errors.Is(err, errGone) {
		return
	}
	if _, ok := errors.AsType[*steps.Again](err); !ok {
		err = &steps.Again{Err: err}
	}
	t.yield(nil, err)
}

// work goes on from the steps of earlier runs, and calls the model, step by step, until there
// is an outcome.
func (t *turn) work(ctx context.Context, ec *a2asrv.ExecutorContext) (outcome, error) {
	past, err := t.steps.Past(ctx)
	if err != nil {
		return outcome{}, err
	}
	if out, err := t.resume(ctx, ec, past); err != nil || out.state != "" {
		return out, err
	}

	for range t.limits.Steps - t.own(past) {
		if ok, err := t.afford(ctx); !ok {
			return t.overBudget(), err
		}
		if err := t.overDay(ctx); err != nil {
			return outcome{}, err
		}

		s, err := t.step(ctx)
		s.spent = t.note(s, err)
		t.usage.Add(t.caller, tokens(s.usage)) // also if the run ends before its commit
		question := asked(s.calls)
		acts := err == nil && s.finish == model.FinishStop && len(s.calls) > 0
		if !acts || question != "" { // no step carries the cost
			t.spend(s.spent)
		}

		switch {
		case err != nil && t.unsigned(err):
			continue
		case t.doubts(s, err):
			continue
		case err != nil:
			return t.failure(ctx, err)
		case !acts && t.again(s):
			continue
		case !acts:
			return t.verdict(ctx, s)
		case question != "": // it ends the turn, and no call is made
			return outcome{state: a2a.TaskStateInputRequired, say: t.answer.lead(question)}, nil
		}

		t.retry = retry{}
		switch err := t.act(ctx, s); {
		case errors.Is(err, task.ErrTooLarge):
			return failed("The work was ended: the model asks for calls with too large arguments."), nil
		case err != nil:
			return outcome{}, err
		}
	}

	return failed(fmt.Sprintf("The work was ended: it was not done after %d steps, the limit of one message (limits.steps).", t.limits.Steps)), nil
}

// own counts the steps that the task has made itself.
func (t *turn) own(past []task.Kept) (n int) {
	for _, k := range past {
		if k.Number > t.inherited {
			n++
		}
	}
	return n
}

// resume makes the conversation: the messages so far, and the steps of earlier runs at their
// place. It settles the step that is open. An outcome with a state ends the turn.
func (t *turn) resume(ctx context.Context, ec *a2asrv.ExecutorContext, past []task.Kept) (outcome, error) {
	var later []item
	if len(past) > 0 && past[0].Turn < t.number { // the message answers a question about a call
		ec, later = since(ec, past[0].Turn)
	}
	if fault := t.converse(ctx, ec); fault != "" {
		return failed(fault), nil
	}

	for _, k := range past {
		o, err := t.reopen(k)
		if err != nil {
			return outcome{}, err
		}
		t.stepped = o.Number
		t.answer.shown = true // by the run that opened the step
		if err := t.settle(ctx, o); err != nil {
			return outcome{}, err
		}
	}

	for _, it := range later {
		if parts := convert(it.role, it.parts, t.objects); len(parts) > 0 {
			t.history = append(t.history, model.Content{Role: it.role, Parts: parts})
		}
	}
	t.history = joinRoles(t.history)
	return outcome{}, nil
}

// act opens a step and makes its calls.
func (t *turn) act(ctx context.Context, s step) error {
	o, err := t.open(ctx, s)
	if err != nil {
		return err
	}
	return t.settle(ctx, o)
}

// end finishes the answer and yields the final status.
func (t *turn) end(out outcome) error {
	if err := t.answer.close(out.state); err != nil {
		return err
	}
	ev := a2a.NewStatusUpdateEvent(t.info, out.state, t.message("end", out.say))
	ev.Metadata = t.used.metadata()
	if !t.yield(ev, nil) {
		return errGone
	}
	return nil
}

// message is a message to the client. Its id is the same in every attempt.
func (t *turn) message(name, text string) *a2a.Message {
	if text == "" {
		return nil
	}
	return &a2a.Message{
		ID:   fmt.Sprintf("%s-t%d-%s", t.info.TaskID, t.number, name),
		Role: a2a.MessageRoleAgent, TaskID: t.info.TaskID, ContextID: t.info.ContextID,
		Parts: a2a.ContentParts{task.TextPart(text)},
	}
}

// turnNumber counts the messages of the task, from 1.
func turnNumber(ctx context.Context, ec *a2asrv.ExecutorContext) int {
	if this, ok := run.From(ctx); ok && this.Turn > 0 {
		return this.Turn
	}
	n, known := 0, ec.Message == nil
	if ec.StoredTask != nil {
		for _, m := range ec.StoredTask.History {
			if m == nil || m.Role == a2a.MessageRoleAgent {
				continue
			}
			n++
			known = known || m.ID == ec.Message.ID
		}
	}
	if !known {
		n++
	}
	return max(n, 1)
}

// artifactID is the same in every attempt of a turn, so that a new attempt replaces the
// artifact of an earlier one, and later turns know the turn of an artifact.
func artifactID(turn int, name string) a2a.ArtifactID {
	return a2a.ArtifactID(fmt.Sprintf("t%d-%s", turn, name))
}
