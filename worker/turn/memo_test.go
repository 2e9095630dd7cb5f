package turn_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/desk"
	"errand/shared/memory"
	taskSteps "errand/shared/steps"
	"errand/worker/steps"
	"errand/worker/turn"
)

// remembering leaves the text of each message and answers with what the turns before have left.
func remembering() execute {
	return func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		memos, _, err := steps.Memos(ctx)
		if err == nil {
			_, err = steps.Leave(ctx, "text", ec.Message.Parts[0].Text())
		}
		if err != nil {
			yield(nil, err)
			return
		}

		var all []string
		for _, m := range memos {
			all = append(all, string(m.Value))
		}
		state := a2a.TaskStateCompleted
		if ec.Message.Parts[0].Text() == "ask" {
			state = a2a.TaskStateInputRequired
		}
		message := a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(strings.Join(all, " ")))
		yield(a2a.NewStatusUpdateEvent(ec, state, message), nil)
	}
}

// A turn is shown the memos of the earlier turns of its task and of its conversation, of the
// same owner and no other. Those of a deleted task are gone.
func TestMemosAreOfTheConversation(t *testing.T) {
	b := newBench(t, remembering())
	n := 0
	say := func(owner, text, conversation, task string, refers ...a2a.TaskID) string {
		t.Helper()
		n++
		r, err := b.desk.Accept(t.Context(), desk.Message{Owner: owner, Message: &a2a.Message{
			ID: fmt.Sprint("m", n), ContextID: conversation, TaskID: a2a.TaskID(task), ReferenceTasks: refers, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		b.deliver(r.ID(), fmt.Sprint("job", n), 0)
		return r.ID()
	}
	said := func(id string) string { return b.Load(id).Task.Status.Message.Parts[0].Text() }

	first := say("me", "one", "talk", "")
	say("other", "secret", "talk", "")
	elsewhere := say("me", "elsewhere", "another talk", "")
	second := say("me", "ask", "talk", "", a2a.TaskID(elsewhere))
	if diff := cmp.Diff(`"one"`, said(second)); diff != "" {
		t.Errorf("the second task is shown: %s", diff)
	}
	say("me", "answer", "", second)
	if diff := cmp.Diff(`"one" "ask"`, said(second)); diff != "" {
		t.Errorf("its second turn is shown: %s", diff)
	}

	if err := taskSteps.Delete(t.Context(), b.Store.KV(), first, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`"ask" "answer"`, said(say("me", "last", "talk", ""))); diff != "" {
		t.Errorf("after a deletion the last task is shown: %s", diff)
	}
}

// Large memos take memory of the pool of turns, like the tasks that a turn is shown. A turn
// without room comes again, and its attempt does not count.
func TestMemosTakeTheMemoryOfTurns(t *testing.T) {
	b := newBench(t, nil)
	pool := memory.Sized(600_000)
	b.configure(execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		_, _, err := steps.Memos(ctx)
		if err == nil {
			_, err = steps.Leave(ctx, "large", strings.Repeat("x", hundredKB))
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateInputRequired, nil), err)
	}), func(c *turn.Config) { c.Memory = pool })
	id := b.send("m1", "first", "").ID()
	b.deliver(id, "job1", 0)

	others := pool.Charge("")
	if err := others.Take(600_000); err != nil {
		t.Fatal(err)
	}
	b.send("m2", "second", id)
	b.deliver(id, "job2", 0)
	if r := b.Load(id); r.State() != a2a.TaskStateWorking || r.Wake.IsZero() || r.Attempt != 0 {
		t.Errorf("a turn without memory is left as %s, wake %v, attempt %d", r.State(), r.Wake, r.Attempt)
	}

	others.Settle()
	b.advance(5 * time.Second)
	b.deliver(id, "job3", 0)
	if r := b.Load(id); r.State() != a2a.TaskStateInputRequired || r.Turn != 2 {
		t.Errorf("with memory the turn is %s", r.State())
	}
	if err := pool.Charge("").Take(600_000); err != nil {
		t.Errorf("after the turn: %v", err)
	}
}
