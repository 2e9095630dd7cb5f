package main_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	"errand/shared/lab/scripts"
)

// scripted is the program in front of a service that speaks the Gemini API with the replies
// of the script, one for each call.
func scripted(t *testing.T, replies ...standin.Reply) (*process, *scripts.Script) {
	t.Helper()
	script := scripts.New(replies...)
	service := httptest.NewServer(standin.New(script.Answer))
	t.Cleanup(service.Close)
	return start(t, "GEMINI_API_KEY=canary-key", "ERRAND_MODEL=gemini:test-model@"+service.URL), script
}

// talking is a reply with a call after a text.
func talking(text, name string, args map[string]any) standin.Reply {
	r, said := standin.Call(&genai.FunctionCall{Name: name, Args: args}), standin.Text(text)
	said.Chunks[0].Candidates[0].FinishReason = ""
	r.Chunks = append(said.Chunks, r.Chunks...)
	return r
}

func TestWhatTheModelDoesBecomesOfTheTask(t *testing.T) {
	malformed := scripts.Finish("MALFORMED_FUNCTION_CALL", "print(", "x)")
	for _, test := range []struct {
		name    string
		replies []standin.Reply
		state   a2a.TaskState
		said    string // in the artifacts
		why     string // in the status message
		calls   int
	}{
		{"answers", []standin.Reply{standin.Text("all ", "well")}, a2a.TaskStateCompleted, "all well", "", 1},
		{"breaks down once", []standin.Reply{scripts.Fail(500, "INTERNAL", "oops"), standin.Text("second try")}, a2a.TaskStateCompleted, "second try", "", 2},
		{"asks to wait", []standin.Reply{scripts.Throttle(time.Second), standin.Text("after the wait")}, a2a.TaskStateCompleted, "after the wait", "", 2},
		{"is cut in the middle of a character", []standin.Reply{scripts.CutMidRune("half an ans"), standin.Text("whole ünswer")}, a2a.TaskStateCompleted, "whole ünswer", "", 2},
		{"reaches its limit", []standin.Reply{scripts.Finish("MAX_TOKENS", "so far")}, a2a.TaskStateFailed, "so far", "", 1},
		{"refuses", []standin.Reply{scripts.Finish("SAFETY")}, a2a.TaskStateRejected, "", "", 1},
		{"refuses in the middle", []standin.Reply{scripts.Finish("SAFETY", "how to", " make it")}, a2a.TaskStateRejected, "", "", 1},
		{"looks before it answers", []standin.Reply{talking("Let me look that up.", "nothing", nil), standin.Text("It is so.")}, a2a.TaskStateCompleted, "It is so.", "", 2},
		{"says nothing", []standin.Reply{standin.Text(), standin.Text("Now.")}, a2a.TaskStateCompleted, "Now.", "", 2},
		{"says nothing after it has looked", []standin.Reply{talking("Let me look that up.", "nothing", nil), standin.Text(), standin.Text("It is so.")}, a2a.TaskStateCompleted, "It is so.", "", 3},
		{"asks", []standin.Reply{talking("There are two.", "ask", map[string]any{"question": "Which one?"})}, a2a.TaskStateInputRequired, "", "There are two.\n\nWhich one?", 1},
		{"calls wrongly", []standin.Reply{malformed, malformed, malformed, malformed}, a2a.TaskStateFailed, "", "", 4},
		{"makes no image", []standin.Reply{scripts.Finish("NO_IMAGE"), scripts.Finish("NO_IMAGE")}, a2a.TaskStateFailed, "", "", 2},
		{"refuses the prompt", []standin.Reply{scripts.Block("SAFETY")}, a2a.TaskStateRejected, "", "", 1},
		{"finds the request wrong", []standin.Reply{scripts.Fail(400, "INVALID_ARGUMENT", "canary-internals")}, a2a.TaskStateFailed, "", "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, script := scripted(t, test.replies...)
			task := mustSend(t, p.client(), userText("m", "canary-prompt"))
			if task.Status.State != test.state || text(task) != test.said {
				t.Errorf("the task is %s and says %q, want %s and %q", task.Status.State, text(task), test.state, test.said)
			}
			if test.state != a2a.TaskStateCompleted && (task.Status.Message == nil || task.Status.Message.Parts[0].Text() == "") {
				t.Error("nobody says why")
			}
			if test.why != "" && task.Status.Message.Parts[0].Text() != test.why {
				t.Errorf("the status says %q, want %q", task.Status.Message.Parts[0].Text(), test.why)
			}

			calls := 0
			for _, r := range script.Requests() { // beside these calls, the access is checked at start, and probes are sent
				if r.Op == standin.OpStream && r.Config.MaxOutputTokens != 1 {
					calls++
				}
			}

			if calls != test.calls {
				t.Errorf("the model was called %d times, want %d", calls, test.calls)
			}
			if test.calls == 1 && task.Metadata["usage"] == nil && test.state == a2a.TaskStateCompleted {
				t.Error("the task does not say what it used")
			}

			for _, secret := range []string{"canary-key", "canary-prompt", test.said} {
				if secret != "" && strings.Contains(p.logged(), secret) {
					t.Errorf("the log holds %q", secret)
				}
			}

			if m := task.Status.Message; m != nil && strings.Contains(m.Parts[0].Text(), "canary-internals") {
				t.Errorf("the client sees the service's words: %q", m.Parts[0].Text())
			}
		})
	}
}

// TestClientsRow13Poll: a client that polls reads why its task waits.
func TestClientsRow13Poll(t *testing.T) {
	p, _ := scripted(t, standin.Text(), standin.Text()) // then it waits for 10 s
	c := p.client()
	sent := mustSend(t, c, immediately(userText("m", "hello")))
	waiting := until(t, c, sent.ID, "parked with a word about it", func(task *a2a.Task) bool { return task.Status.Message != nil })
	if said := waiting.Status.Message.Parts[0].Text(); waiting.Status.State != a2a.TaskStateWorking || said != "The model gave no answer. The task is tried again." {
		t.Errorf("the task is %s and says %q", waiting.Status.State, said)
	}
}

// A wrong key is the operator's fault: the start reports it, and a task waits with a
// message about it instead of failing.
func TestWrongKeyIsSeenAtStartAndTheTaskWaits(t *testing.T) {
	denied := func(context.Context, standin.Request) standin.Reply {
		return scripts.Fail(403, "PERMISSION_DENIED", "key canary-key is not allowed")
	}

	service := httptest.NewServer(standin.New(denied))
	t.Cleanup(service.Close)
	p := start(t, "GEMINI_API_KEY=canary-key", "ERRAND_MODEL=gemini:test-model@"+service.URL)
	c := p.client()
	task := mustSend(t, c, immediately(userText("m", "hello")))
	waiting := until(t, c, task.ID, "parked with a word about it", func(task *a2a.Task) bool { return task.Status.Message != nil })
	if waiting.Status.State != a2a.TaskStateWorking || !strings.Contains(waiting.Status.Message.Parts[0].Text(), "operator") {
		t.Errorf("the task is %+v", waiting.Status)
	}

	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)

	for !strings.Contains(p.logged(), "GEMINI_API_KEY") {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the log does not say that the key is refused")
		}
	}

	if strings.Contains(p.logged(), "canary-key") {
		t.Error("the log holds the key")
	}
}
