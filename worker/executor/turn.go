package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/model"
	"errand/shared/task"
	"errand/worker/run"
)

// errGone says that the caller takes no more events.
var errGone = errors.New("executor: the caller takes no more events")

// A turn is one attempt to answer one message.
type turn struct {
	*Executor
	info    a2a.TaskInfo
	number  int // number of the message, from 1
	caller  string
	yield   func(a2a.Event, error) bool
	history []model.Content
	answer  answer
	retry   retry
	used    tally
	known   reckoning      // about the size of the next request
	room    int32          // tokens that the next step may make
	said    int            // bytes that the model and its tools have added so far
	calls   int            // calls to tools with effects that were announced
	keyed   map[string]int // calls per tool with effects
}

func (e *Executor) begin(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) *turn {
	t := &turn{Executor: e, info: ec.TaskInfo(), number: turnNumber(ctx, ec), yield: yield}
	if ec.User != nil {
		t.caller = ec.User.Name
	}
	t.used = tally{model: e.model.Name(), prices: e.prices}
	t.answer = answer{turn: t, id: artifactID(t.number, "answer")}
	return t
}

// run does the work and yields its end.
func (t *turn) run(ctx context.Context, ec *a2asrv.ExecutorContext) {
	out, err := t.work(ctx, ec)
	if err == nil {
		err = t.end(out)
	}
	if err != nil && !errors.Is(err, errGone) {
		t.yield(nil, err)
	}
}

// work calls the model, step by step, until there is an outcome.
func (t *turn) work(ctx context.Context, ec *a2asrv.ExecutorContext) (outcome, error) {
	var fault string
	if t.history, fault = t.conversation(ec); fault != "" {
		return failed(fault), nil
	}

	for range t.limits.Steps {
		if ok, err := t.afford(ctx); !ok {
			return t.overBudget(), err
		}
		if err := t.overDay(ctx); err != nil {
			return outcome{}, err
		}

		s, err := t.step(ctx)
		t.note(s)
		t.usage.Add(t.caller, tokens(s.usage)) // also if the run ends before its commit
		if err != nil {
			return t.failure(ctx, err)
		}

		if s.finish == model.FinishStop && len(s.calls) > 0 {
			t.retry = retry{}
			question, err := t.act(ctx, s)
			if err != nil || question != "" {
				return outcome{state: a2a.TaskStateInputRequired, say: question}, err
			}
			continue
		}

		if !t.again(s) {
			return t.verdict(s)
		}
	}

	return failed(fmt.Sprintf("The work was ended: it was not done after %d steps, the limit of one message (limits.steps).", t.limits.Steps)), nil
}

// act makes the calls of a step, and adds them to the conversation. A question to the
// client ends the turn, and no call is made then.
func (t *turn) act(ctx context.Context, s step) (question string, err error) {
	if question = asked(s.calls); question != "" {
		return t.answer.lead(question), nil
	}
	if err := t.answer.flush(); err != nil {
		return "", err
	}
	results, err := t.callAll(ctx, s.calls)
	if err != nil {
		return "", err
	}
	t.history = append(t.history,
		model.Content{Role: model.RoleModel, Parts: merged(s.parts)},
		model.Content{Role: model.RoleUser, Parts: results})
	t.answer.next()
	return "", nil
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
