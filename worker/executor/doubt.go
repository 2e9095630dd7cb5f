package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/task"
	"errand/worker/run"
)

// The answers to a question about a call that may have happened.
const (
	happened = "it happened"
	doIt     = "it did not: do it"
	leaveIt  = "leave it"
)

// Results of calls in doubt, for the model.
var (
	resultHappened = json.RawMessage(`{"output":"A person has confirmed that this call happened. What it returned is not known."}`)
	resultLeft     = json.RawMessage(`{"error":"It is not known whether this call happened. A person has decided to leave it: do not make it again."}`)
	resultGone     = json.RawMessage(`{"error":"It did not happen, and it cannot be made any more, because the tool is gone or takes other arguments."}`)
)

// resolve finds out whether a call happened whose worker died: its tool may know, and else a
// person is asked.
func (t *turn) resolve(ctx context.Context, o *open, i int) error {
	if know, ok := o.calls[i].tool.Reconciler(); ok {
		value, did, err := know(ctx, t.steps.Key(o.Number, i))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			t.log.WarnContext(ctx, "a tool could not tell whether a call happened; a person is asked", "task", t.info.TaskID, "tool", o.Calls[i].Name, "err", err)
		case did:
			o.fresh[i] = task.Result{Value: value, At: t.now()}
			return nil
		default:
			t.allow(o, i)
			return nil
		}
	}
	return t.askPerson(o, i, "")
}

// allow lets a call in doubt begin again, or refuses it if it cannot be made any more.
func (t *turn) allow(o *open, i int) {
	if o.calls[i].call == nil {
		o.fresh[i] = task.Result{Value: resultGone, At: t.now()}
		return
	}
	o.allowed[i] = true
}

// askPerson asks a person about a call, in words and as data.
func (t *turn) askPerson(o *open, i int, before string) error {
	if err := t.answer.close(a2a.TaskStateInputRequired); err != nil {
		return err
	}
	c, key, now := o.Calls[i], t.steps.Key(o.Number, i), t.now()
	var args any
	_ = json.Unmarshal(c.Args, &args) // the arguments were checked when the step was opened

	text := fmt.Sprintf("%sIt is not known whether the tool %s did its work, because its call of %s brought no result. "+
		"Look whether it happened, and answer %q, %q or %q.", before, c.Name, c.Begun.UTC().Format(time.RFC3339), happened, doIt, leaveIt)
	msg := t.message(fmt.Sprintf("step%d-call%d-question%d", o.Number, i+1, c.Times), text)
	msg.Parts = append(msg.Parts, task.CallQuestion{
		Kind: "doubt", Key: key, Tool: c.Name, Arguments: args, Hash: c.Hash,
		Expires: now.Add(task.Defaults().Answer), Answers: []string{happened, doIt, leaveIt},
	}.Part())

	return &run.Ask{Question: task.Question{Call: i, Hash: c.Hash, At: now, Times: c.Times}, Message: msg}
}

// answered honours the answer to a question about a call, if the message of this turn is one.
// An answer counts for the call that was asked about, unless it has begun again since.
func (t *turn) answered(ctx context.Context, o *open) error {
	q := o.Asked
	if q == nil || q.Answer == "" || t.asked == nil || q.Answer != t.asked.ID || o.known(q.Call) {
		return nil
	}
	if c := o.Calls[q.Call]; c.Times != q.Times || c.Hash != q.Hash {
		return nil
	}

	if err := t.look(ctx, o, []int{q.Call}); err != nil || o.known(q.Call) {
		return err
	}
	switch decision(t.asked, t.steps.Key(o.Number, q.Call), q.Hash) {
	case happened:
		o.fresh[q.Call] = task.Result{Value: resultHappened, At: t.now()}
	case doIt:
		t.allow(o, q.Call)
	case leaveIt:
		o.fresh[q.Call] = task.Result{Value: resultLeft, At: t.now()}
	default:
		return t.askPerson(o, q.Call, "The answer was not understood. ")
	}
	return nil
}

// decision reads a person's answer to a question about a call: data that names the call, or
// plain words. It is empty if the answer is not clear.
func decision(m *a2a.Message, key, hash string) string {
	var words []string
	for _, p := range m.Parts {
		if a, ok := task.AnswerIn(p); ok {
			if a.Key != key || a.Hash != hash {
				continue
			}
			return inWords(a.Answer)
		}
		words = append(words, p.Text())
	}
	return inWords(strings.Join(words, " "))
}

// The words of the answers. An answer with words of more than one is not clear.
var (
	wordsHappened = regexp.MustCompile(`\b(it happened|has happened|it was done|it is done)\b`)
	wordsDoIt     = regexp.MustCompile(`\b(do it|did not happen|it did not|didn't happen|make the call)\b`)
	wordsLeaveIt  = regexp.MustCompile(`\b(leave it|skip it|do not do it|don't do it)\b`)
)

func inWords(said string) string {
	said = strings.Join(strings.Fields(strings.ToLower(strings.ReplaceAll(said, "\u2019", "'"))), " ")
	leave := wordsLeaveIt.MatchString(said)
	rest := wordsLeaveIt.ReplaceAllString(said, "")
	did, do := wordsHappened.MatchString(rest), wordsDoIt.MatchString(rest)
	switch {
	case did && !do && !leave:
		return happened
	case do && !did && !leave:
		return doIt
	case leave && !did && !do:
		return leaveIt
	}
	return ""
}

// since splits the conversation of a turn that goes on with the steps of an earlier one: the
// context as it was when that turn began, and the messages that came since.
func since(ec *a2asrv.ExecutorContext, turn int) (before *a2asrv.ExecutorContext, after []item) {
	if ec.StoredTask == nil {
		return ec, nil
	}

	n := 0
	for i, m := range ec.StoredTask.History {
		if m == nil || m.Role == a2a.MessageRoleAgent {
			continue
		}
		if n++; n != turn {
			continue
		}

		then, stored := *ec, *ec.StoredTask
		stored.History = stored.History[:i+1]
		then.Message, then.StoredTask = m, &stored
		for _, p := range turnsOf(&a2a.Task{History: ec.StoredTask.History[i+1:]}, "", run.Earlier{}) {
			after = append(after, p.items()...)
		}
		return &then, after
	}
	return ec, nil
}
