package adk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
)

// says sends a message that begins a conversation, and returns its task when it has ended.
func (w *world) says(text string, more ...func(*a2a.Message)) *a2a.Task {
	w.t.Helper()
	w.count++
	return w.ended(w.send(message(fmt.Sprint("m-", w.count), text, more...)).ID)
}

func fail(code int) standin.Reply {
	return standin.Reply{Error: &genai.APIError{Code: code, Status: "X", Message: "it fails"}}
}

// A model that is away makes the turn run again, from the reply that failed on. An error that
// would stay ends the task, and the next turn of the conversation is not shown what the agent
// never answered.
func TestErrorsOfTheModel(t *testing.T) {
	w := newWorld(t)
	w.next = []standin.Reply{fail(503), standin.Call(&genai.FunctionCall{Name: "look", Args: map[string]any{"order": "A"}}), fail(429), fail(500)}
	task := w.says("look A")
	calls, _ := w.effects("A")
	if task.Status.State != a2a.TaskStateCompleted || text(task) != "Done: R-A" || calls != 1 || w.requests != 5 {
		t.Errorf("the task is %s and says %q after %d calls and %d requests", task.Status.State, text(task), calls, w.requests)
	}

	w.requests, w.next = 0, []standin.Reply{fail(400)}
	if task := w.says("look B", in(task.ContextID)); task.Status.State != a2a.TaskStateFailed || w.requests != 1 {
		t.Errorf("the task is %s after %d requests", task.Status.State, w.requests)
	}

	w.says("bye", in(task.ContextID))
	want := []string{"user look A", "model calls lookmap[order:A]", "user answers lookmap[number:R-A]", "model Done: R-A", "user bye"}
	if diff := cmp.Diff(want, w.conversation("look A")); diff != "" {
		t.Errorf("the conversation: %s", diff)
	}
}

const noResult = "user answers lookmap[error:There is no result: the task of this call was ended before, or it still runs. The call may have had its effect.]"

// A task that is canceled in the middle of a call, and one that is killed there and canceled
// before it ran again: later turns are told of the call, whose effect may have happened.
func TestCallsOfCanceledTasks(t *testing.T) {
	w := newWorld(t)
	reached, goOn := w.holdAt(inEffect)
	task := w.send(message("first", "look A"))
	<-reached
	if _, err := w.client().CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: task.ID}); err != nil {
		t.Fatal(err)
	}
	goOn()

	w.says("bye", in(task.ContextID))
	want := []string{"user look A", "model calls lookmap[order:A]", noResult, "user bye"}
	if diff := cmp.Diff(want, w.conversation("look A")); diff != "" {
		t.Errorf("the conversation: %s", diff)
	}
}

// Two tasks of a conversation run at once. The second sees what the first has done so far, and
// later turns see both, whole, in the order in which they began.
func TestTwoTasksAtOnce(t *testing.T) {
	w := newWorld(t)
	reached, goOn := w.holdAt(inEffect)
	first := w.send(message("first", "look A"))
	<-reached

	second := w.says("look B", in(first.ContextID))
	if diff := cmp.Diff([]string{"user look A", "model calls lookmap[order:A]", noResult, "user look B", "model calls lookmap[order:B]", "user answers lookmap[number:R-B]"},
		w.conversation("look A")); diff != "" || text(second) != "Done: R-B" {
		t.Errorf("the second task says %q and is shown: %s", text(second), diff)
	}

	goOn()
	if task := w.ended(first.ID); text(task) != "Done: R-A" {
		t.Errorf("the first task says %q", text(task))
	}
	w.says("bye", in(first.ContextID))
	want := []string{
		"user look A", "model calls lookmap[order:A]", "user answers lookmap[number:R-A]", "model Done: R-A",
		"user look B", "model calls lookmap[order:B]", "user answers lookmap[number:R-B]", "model Done: R-B", "user bye",
	}
	if diff := cmp.Diff(want, w.conversation("look A")); diff != "" {
		t.Errorf("the conversation: %s", diff)
	}
}

// A question is asked until it is answered: with yes or no, or in ADK's form. An answer to no
// question does nothing.
func TestQuestions(t *testing.T) {
	w := newWorld(t)
	answer := func(id string, confirmed bool) func(*a2a.Message) {
		return func(m *a2a.Message) {
			p := a2a.NewDataPart(map[string]any{"id": id, "name": "adk_request_confirmation", "response": map[string]any{"confirmed": confirmed}})
			p.SetMeta("adk_type", "function_response")
			m.Parts = a2a.ContentParts{p}
		}
	}
	idIn := func(task *a2a.Task) string {
		t.Helper()
		for _, p := range task.Status.Message.Parts {
			if data, ok := p.Data().(map[string]any); ok {
				id, _ := data["id"].(string)
				return id
			}
		}
		t.Fatalf("the question has no call: %+v", task.Status.Message)
		return ""
	}

	task := w.asked(w.send(message("first", "refund A")).ID)
	if got := task.Status.Message.Parts[0].Text(); !strings.Contains(got, `refund({"order":"A"})`) || !strings.HasSuffix(got, "Answer yes or no.") {
		t.Errorf("the question is %q", got)
	}

	id := idIn(task)
	for n, m := range []*a2a.Message{
		message("maybe", "Well, perhaps.", of(task)), message("stale", "", of(task), answer("adk-another", true)),
	} {
		w.send(m)
		again := w.until(task.ID, "asked again", func(t *a2a.Task) bool {
			return len(t.History) == 2*n+3 && t.Status.State == a2a.TaskStateInputRequired || t.Status.State.Terminal()
		})
		if idIn(again) != id || !strings.HasPrefix(again.Status.Message.Parts[0].Text(), "The message ") {
			t.Errorf("after %s the task is %s, and says %+v", m.ID, again.Status.State, again.Status.Message)
		}
	}

	w.send(message("no", "No", of(task)))
	if task = w.ended(task.ID); task.Status.State != a2a.TaskStateCompleted || text(task) != "Done: " {
		t.Errorf("after no the task is %s and says %q", task.Status.State, text(task))
	}
	if calls, _ := w.effects("A"); calls != 0 {
		t.Errorf("there are %d refunds", calls)
	}

	other := w.asked(w.send(message("second", "refund B")).ID)
	w.send(message("data", "", of(other), answer(idIn(other), true)))
	if other = w.ended(other.ID); text(other) != "Done: R-B" {
		t.Errorf("after an answer in ADK's form the task is %s and says %q", other.Status.State, text(other))
	}
}

// A task that its owner has deleted is in the session of no later turn.
func TestDeletedTasksAreForgotten(t *testing.T) {
	w := newWorld(t)
	first := w.says("hello")
	secret := w.says("secret", in(first.ContextID))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, fmt.Sprintf("http://127.0.0.1:%d/tasks/%s", w.port, secret.ID), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%+v, %v", resp, err)
	}
	defer resp.Body.Close()

	w.says("bye", in(first.ContextID))
	if diff := cmp.Diff([]string{"user hello", "model You said hello", "user bye"}, w.conversation("hello")); diff != "" {
		t.Errorf("the conversation: %s", diff)
	}
}

// The content of a file that is larger than a value of the store reaches the model, in the turn
// whose message names it and in later ones.
func TestLargeFiles(t *testing.T) {
	w := newWorld(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // 3 MiB
	resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/files?name=book.pdf", w.port), "application/pdf", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var file struct{ ID string }
	if err := json.NewDecoder(resp.Body).Decode(&file); err != nil || file.ID == "" {
		t.Fatalf("%s: %v", resp.Status, err)
	}

	with := func(m *a2a.Message) { m.Parts = append(m.Parts, a2a.NewDataPart(map[string]any{"file": file.ID})) }
	task := w.says("read", with)
	w.says("bye", in(task.ContextID))
	w.mu.Lock()
	defer w.mu.Unlock()
	shown := w.shown["read"]
	if len(shown) != 3 || len(shown[0].Parts) != 2 || shown[0].Parts[1].InlineData == nil || !bytes.Equal(shown[0].Parts[1].InlineData.Data, content) {
		t.Errorf("the task is %s, and the model is shown %.300q", task.Status.State, told(shown))
	}
}
