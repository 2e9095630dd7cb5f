package turn_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/desk"
	taskSteps "errand/shared/steps"
	"errand/worker/steps"
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
