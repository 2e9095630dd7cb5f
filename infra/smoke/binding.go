package smoke

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
)

// A binding is one interface of A2A 1.0, tried by the SDK's own client.
type binding struct {
	*run
	name    string
	client  *a2aclient.Client
	request *a2a.SendMessageRequest // the request that was sent first
	task    *a2a.Task               // the task that it made; nil: none
}

const (
	notThere = "a task that does not exist is not found"
	noTask   = "the agent answers with a message and makes no task, which A2A allows"
)

// tryBinding returns the binding if it answers at all.
func (r *run) tryBinding(ctx context.Context, i *a2a.AgentInterface, name string) *binding {
	b := &binding{run: r, name: name}
	if bad := r.report.check(ctx, "unknown", b.name, callTimeout, func(ctx context.Context) (string, error) {
		var err error
		b.client, err = a2aclient.NewFromEndpoints(ctx, []*a2a.AgentInterface{i},
			a2aclient.WithDefaultsDisabled(), a2aclient.WithJSONRPCTransport(r.client), a2aclient.WithRESTTransport(r.client))
		if err != nil {
			return "", err
		}

		return b.unknown(ctx)
	}); bad != nil && bad.what != notProtocol {
		r.report.skip("the rest", b.name+": no other request would get through")
		return nil
	}

	for _, c := range []struct {
		name  string
		limit time.Duration
		try   func(context.Context) (string, error)
	}{
		{"send", callTimeout, b.send},
		{"poll", r.Timeout, b.poll},
		{"same", r.Timeout, b.same},
		{"stream", r.Timeout, b.stream},
		{"cancel", callTimeout, b.cancel},
	} {
		r.report.check(ctx, c.name, b.name, c.limit, c.try)
	}

	return b
}

// notProtocol is the fault of an agent that answers, but not as the specification says.
const notProtocol = "the answer about a task that does not exist does not say so"

func (b *binding) unknown(ctx context.Context) (string, error) {
	_, err := b.client.GetTask(ctx, &a2a.GetTaskRequest{ID: a2a.NewTaskID()})
	switch known, ok := errors.AsType[*a2a.Error](err); {
	case errors.Is(err, a2a.ErrTaskNotFound):
		return notThere, nil
	case err == nil:
		return "", &fault{what: notProtocol, mend: []string{"the agent answers with a task; A2A requires TaskNotFoundError (section 5.4)"}}
	case ok:
		return "", &fault{what: notProtocol, mend: []string{"the agent answers: " + quote(known.Error()) + "; A2A requires TaskNotFoundError (section 5.4)"}}
	}
	return "", err
}

// ask makes a message that was never sent before.
func (b *binding) ask() *a2a.SendMessageRequest {
	m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(b.Message))
	return &a2a.SendMessageRequest{Message: m, Config: &a2a.SendMessageConfig{ReturnImmediately: true}}
}

// begin sends a message and returns the task that it made, at once.
func (b *binding) begin(ctx context.Context, req *a2a.SendMessageRequest) (*a2a.Task, error) {
	res, err := b.client.SendMessage(ctx, req)
	if err != nil {
		return nil, err
	}
	task, ok := res.(*a2a.Task)
	if !ok {
		return nil, remark(noTask)
	}
	if task.ID == "" || task.Status.State == "" {
		return nil, wrong(nil, "the task in the answer has no id or no state")
	}
	return task, nil
}

func (b *binding) send(ctx context.Context) (string, error) {
	req := b.ask()
	task, err := b.begin(ctx, req)
	if err != nil {
		return "", err
	}
	b.request, b.task = req, task
	return fmt.Sprintf("task %s is %s", quote(string(task.ID)), state(task.Status.State)), nil
}

// poll reads the task until it ends, with growing pauses.
func (b *binding) poll(ctx context.Context) (string, error) {
	switch {
	case b.task == nil:
		return "", omission("there is no task")
	case b.stuck:
		b.leave(ctx, b.task)
		return "", omission("a task did not end before")
	}
	task, err := b.await(ctx, b.task.ID)
	switch {
	case err == nil:
		b.task = task
		return b.ended(ctx, task)
	case ctx.Err() == nil:
		b.leave(ctx, b.task)
		return "", err
	case task == nil:
		task = b.task
	}
	b.stuck = true
	b.leave(ctx, task)
	return "", b.late(task)
}

// await returns the task when only its caller can move it on. With an error it returns the
// last version that it has seen.
func (b *binding) await(ctx context.Context, id a2a.TaskID) (*a2a.Task, error) {
	var last *a2a.Task
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		task, err := b.client.GetTask(ctx, &a2a.GetTaskRequest{ID: id})
		if err != nil {
			return last, err
		}
		if last = task; over(task.Status.State) {
			return task, nil
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// ended judges the end of a task.
func (b *binding) ended(ctx context.Context, task *a2a.Task) (string, error) {
	say := fmt.Sprintf("task %s is %s", quote(string(task.ID)), state(task.Status.State))
	if words := said(task.Status.Message); words != "" {
		say += ", and says: " + words
	}
	switch task.Status.State {
	case a2a.TaskStateCompleted:
		return say, nil
	case a2a.TaskStateFailed:
		return "", wrong(failedAdvice, "%s", say)
	}
	// The agent declined or wants to know more: that is its answer to this message.
	b.leave(ctx, task)
	return "", remark(say + "; -message sends another text")
}

// same sends the message again, and waits this time.
func (b *binding) same(ctx context.Context) (string, error) {
	if b.task == nil || !b.task.Status.State.Terminal() {
		return "", omission("there is no task that has ended")
	}
	again := *b.request
	again.Config = nil
	res, err := b.client.SendMessage(ctx, &again)
	if err != nil {
		if _, ok := errors.AsType[*a2a.Error](err); !ok {
			return "", err
		}
		return "", remark("the same message is refused: " + quote(err.Error()) + ". Errand answers with the message's task; A2A does not require that")
	}
	if task, ok := res.(*a2a.Task); ok && task.ID == b.task.ID {
		return "the same message is the same task", nil
	} else if ok {
		b.leave(ctx, task)
	}
	return "", remark("the same message makes another task. Errand, unless ERRAND_DEDUPE is off, answers with the message's task; A2A does not require that")
}

// cancel cancels a task as soon as it exists.
func (b *binding) cancel(ctx context.Context) (string, error) {
	task, err := b.begin(ctx, b.ask())
	if err != nil {
		return "", err
	}

	got, first := b.tryCancel(ctx, task.ID)
	last := first
	if first != nil && got != nil && !got.Status.State.Terminal() {
		got, last = b.tryCancel(ctx, task.ID) // the task may have changed during the first cancel
	}

	switch {
	case errors.Is(first, a2a.ErrUnsupportedOperation):
		return "", remark("this agent cancels nothing")
	case got == nil:
		return "", last
	case last == nil || got.Status.State.Terminal(): // the task ended by this cancel, or before
	case errors.Is(last, a2a.ErrTaskNotCancelable):
		return "", wrong(nil, "the task cannot be cancelled, but is %s", state(got.Status.State))
	default:
		return "", last
	}

	if first != nil && !errors.Is(first, a2a.ErrTaskNotCancelable) {
		return "", remark(fmt.Sprintf("the task is %s, but the answer to its cancel was: %s", state(got.Status.State), quote(first.Error())))
	}

	return cancelled(got)
}

// tryCancel returns the task after a cancel, or nil if it cannot be read, and the answer's
// error.
func (b *binding) tryCancel(ctx context.Context, id a2a.TaskID) (*a2a.Task, error) {
	got, err := b.client.CancelTask(ctx, &a2a.CancelTaskRequest{ID: id})
	if err == nil {
		return got, nil
	}
	now, lost := b.client.GetTask(ctx, &a2a.GetTaskRequest{ID: id})
	if lost != nil {
		return nil, err
	}
	return now, err
}

// cancelled judges the state of a task after its cancel.
func cancelled(task *a2a.Task) (string, error) {
	switch s := task.Status.State; {
	case s == a2a.TaskStateCanceled:
		return fmt.Sprintf("task %s is CANCELED", quote(string(task.ID))), nil
	case s.Terminal():
		return fmt.Sprintf("task %s was %s before", quote(string(task.ID)), state(s)), nil
	default:
		return "", remark("the task is " + state(s) + " after it was cancelled: A2A allows an agent to take its time")
	}
}

// leave cancels a task that would otherwise be left behind, even when time is up. The
// result does not matter.
func (b *binding) leave(ctx context.Context, task *a2a.Task) {
	if task == nil || task.Status.State.Terminal() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = b.client.CancelTask(ctx, &a2a.CancelTaskRequest{ID: task.ID})
}

// over reports whether the task does nothing more by itself.
func over(s a2a.TaskState) bool {
	return s.Terminal() || s == a2a.TaskStateInputRequired || s == a2a.TaskStateAuthRequired
}

func state(s a2a.TaskState) string { return strings.TrimPrefix(quote(s.String()), "TASK_STATE_") }

func said(m *a2a.Message) string {
	if m == nil {
		return ""
	}
	var words []string
	for _, p := range m.Parts {
		words = append(words, p.Text())
	}
	return quote(strings.Join(words, " "))
}
