package executor_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	"errand/shared/lab/scripts"
	"errand/shared/model"
	"errand/shared/task"
	"errand/worker/tools"
)

// again is a script that gives the same reply to every request.
func again(r standin.Reply) *scripts.Script {
	return scripts.Record(func(context.Context, standin.Request) standin.Reply { return r })
}

// talking is a reply with calls after a text.
func talking(text string, calls ...*genai.FunctionCall) standin.Reply {
	r := standin.Call(calls...)
	r.Chunks = append(unfinished(standin.Text(text).Chunks), r.Chunks...)
	return r
}

// A reply whose calls could not be read is asked for again. The model is told the fault and
// its functions. Later steps are sent without the hint.
func TestMalformedCallsAreAskedForAgain(t *testing.T) {
	for reason, wrong := range map[string]string{
		"MALFORMED_FUNCTION_CALL": "could not be read", "UNEXPECTED_TOOL_CALL": "do not have", "TOO_MANY_TOOL_CALLS": "too many",
	} {
		t.Run(reason, func(t *testing.T) {
			var calls []string
			script := scripts.New(
				scripts.Finish(reason, "print(", "x", ")"),
				standin.Call(call("add", map[string]any{"a": 1, "b": 1})),
				standin.Text("Two."))

			r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{add(&calls)}}), message())
			if r.text != "Two." || !r.whole || r.state() != a2a.TaskStateCompleted || len(calls) != 1 {
				t.Fatalf("%q, %v, %v", r.text, r.state(), r.err)
			}

			hinted := plain(script.Requests()[1].Contents)
			if !strings.HasPrefix(hinted, "user: Hello\nuser: (Your last reply was not used") || !strings.Contains(hinted, wrong) || !strings.Contains(hinted, "ask, add") {
				t.Errorf("asked again with %s", hinted)
			}
			want := "user: Hello\nmodel: call add\nuser: result add {\"output\":2}"
			if diff := cmp.Diff(want, plain(script.Requests()[2].Contents)); diff != "" {
				t.Errorf("contents of the next step (-want +got):\n%s", diff)
			}
		})
	}
}

// A model that goes on calling its functions wrongly fails the task after three repeats.
func TestMalformedCallsEnd(t *testing.T) {
	script := again(scripts.Finish("MALFORMED_FUNCTION_CALL", "print(", "x", ")"))
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message())
	if r.state() != a2a.TaskStateFailed || !strings.Contains(r.says(), "MALFORMED_FUNCTION_CALL") || !strings.Contains(r.says(), "4 times") {
		t.Errorf("got %v %q, %v", r.state(), r.says(), r.err)
	}
	if n := len(script.Requests()); n != 4 || r.text != "" {
		t.Errorf("%d requests, the answer is %q", n, r.text)
	}
}

// The repeats are counted in a row: a reply with calls begins anew.
func TestMalformedCallsInARow(t *testing.T) {
	bad := scripts.Finish("MALFORMED_FUNCTION_CALL", "print(")
	script := scripts.New(bad, bad, standin.Call(call("nothing", nil)), bad, bad, bad, standin.Text("Well."))
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message())
	if r.text != "Well." || r.state() != a2a.TaskStateCompleted {
		t.Errorf("%q, %v %q, %v", r.text, r.state(), r.says(), r.err)
	}
}

func TestMalformedCallAfterText(t *testing.T) {
	script := scripts.New(talking("Let me see.", call("nothing", nil)), scripts.Finish("MALFORMED_FUNCTION_CALL", "print(", "x", ")"), standin.Text("Well."))
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message())
	if r.text != "Well." || !r.whole {
		t.Errorf("%q (whole: %v), want %q", r.text, r.whole, "Well.")
	}
}

// A reply that was no answer is asked for once more, with the same request. Then the task
// fails with the reason.
func TestOddReasons(t *testing.T) {
	for _, tt := range []struct{ reason, says string }{
		{"OTHER", "(OTHER)"}, {"NO_IMAGE", "an image was expected"}, {"IMAGE_OTHER", "could not make the image"},
		{"MALFORMED_RESPONSE", "malformed"}, {"A_NEW_ONE", `("A_NEW_ONE")`},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			script := scripts.New(scripts.Finish(tt.reason, "A ", "piece"), standin.Text("All of it."))
			r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message())
			if r.text != "All of it." || !r.whole || r.state() != a2a.TaskStateCompleted {
				t.Errorf("got %q, %v %q, %v", r.text, r.state(), r.says(), r.err)
			}
			if a, b := plain(script.Requests()[0].Contents), plain(script.Requests()[1].Contents); a != b {
				t.Errorf("asked again with %s", b)
			}

			script = again(scripts.Finish(tt.reason, "A ", "piece"))
			r = answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message())
			if r.state() != a2a.TaskStateFailed || !strings.Contains(r.says(), tt.reason) || !strings.Contains(r.says(), tt.says) {
				t.Errorf("got %v %q, %v", r.state(), r.says(), r.err)
			}
			if n := len(script.Requests()); n != 2 || r.text != "A piece" || !r.whole || !strings.Contains(r.says(), "was kept") {
				t.Errorf("%d requests, the answer is %q (whole: %v), says %q", n, r.text, r.whole, r.says())
			}
		})
	}
}

// Where nothing was kept, the message does not say that something was. Text before calls is
// not kept.
func TestNothingIsKept(t *testing.T) {
	script := scripts.New(talking("Let me look", call("nothing", nil)), scripts.Finish("MAX_TOKENS", ""))
	if r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message()); r.text != "" || strings.Contains(r.says(), "kept") {
		t.Errorf("after calls: %q stays, %q", r.text, r.says())
	}
	for _, reply := range []standin.Reply{scripts.Finish("OTHER", ""), scripts.Finish("MAX_TOKENS", ""), finished("MAX_TOKENS", thought("Hm."))} {
		r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, again(reply))}), message())
		if r.state() != a2a.TaskStateFailed || strings.Contains(r.says(), "kept") {
			t.Errorf("got %v %q, %v", r.state(), r.says(), r.err)
		}
	}
}

// Thoughts alone may be too long, and then there is no answer to keep.
func TestNothingIsKeptOfThoughts(t *testing.T) {
	m := &chunks{list: []model.Chunk{{Parts: []model.Part{{Text: strings.Repeat("x", 5<<20), Thought: true}}}}}
	r := answered(t, t.Context(), newExecutor(t, setup{model: m}), message())
	if r.state() != a2a.TaskStateFailed || r.says() != "The answer was cut off: it is too long." {
		t.Errorf("got %v %q, %v", r.state(), r.says(), r.err)
	}
}

// After a missing thought signature the calls of the turn are told as text, which needs
// none. The effects of these calls are not made again.
func TestMissingSignature(t *testing.T) {
	var keys []string
	script := scripts.New(
		standin.Call(call("note", map[string]any{"text": "a"}), call("nothing", nil)),
		scripts.Finish("MISSING_THOUGHT_SIGNATURE", ""), standin.Text("Noted."))

	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{note(&keys)}}), message())
	if r.text != "Noted." || r.state() != a2a.TaskStateCompleted || len(keys) != 1 {
		t.Fatalf("%q, %v %q, %v; calls %v", r.text, r.state(), r.says(), r.err, keys)
	}

	want := `user: Hello | (You called the function note with {"text":"a"}. Its result: {"output":"noted"}) | ` +
		`(You called the function nothing with {}. Its result: {"error":"there is no such tool; there are: ask, note"})`
	if diff := cmp.Diff(want, plain(script.Requests()[2].Contents)); diff != "" {
		t.Errorf("contents of the request (-want +got):\n%s", diff)
	}
}

// Without calls there is nothing to leave out, and the same request would fail again.
func TestMissingSignatureWithoutCalls(t *testing.T) {
	script := again(scripts.Finish("MISSING_THOUGHT_SIGNATURE", ""))
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message())
	if r.state() != a2a.TaskStateFailed || !strings.Contains(r.says(), "MISSING_THOUGHT_SIGNATURE") || len(script.Requests()) != 1 {
		t.Errorf("got %v %q after %d requests, %v", r.state(), r.says(), len(script.Requests()), r.err)
	}
}

// updates shows the updates of the artifact: "=" replaces, "+" extends, "|" is the last one.
func updates(r result) (all []string) {
	for _, ev := range r.events {
		a, ok := ev.(*a2a.TaskArtifactUpdateEvent)
		if !ok {
			continue
		}
		s := "="
		if a.Append {
			s = "+"
		}
		s += a.Artifact.Parts[0].Text()
		if a.LastChunk {
			s += "|"
		}
		all = append(all, s)
	}
	return all
}

// Text before calls is shown while the calls are made, and is no part of the answer. Text
// before a question is in the message of the question. Streams see each of it replaced.
func TestTextBeforeCalls(t *testing.T) {
	look := call("nothing", nil)
	ask := call("ask", map[string]any{"question": "Which one?"})
	long := strings.Repeat("x", 9<<10)

	for _, tt := range []struct {
		name    string
		replies []standin.Reply
		updates []string
		says    string
	}{
		{"an answer", []standin.Reply{talking("Let me look.", look), talking("And there.", look), standin.Text("Yes", ", two")}, []string{"=Let me look.", "=And there.", "=Yes", "+, two", "+|"}, ""},
		{"nothing after it", []standin.Reply{talking("All is well", look), standin.Text()}, []string{"=All is well"}, ""},
		{"a question", []standin.Reply{talking("There are two.", ask)}, []string{"=There are two.", "=|"}, "There are two.\n\nWhich one?"},
		{"pieces of a question", []standin.Reply{talking("There are", ask)}, []string{"=There are", "=|"}, "There are\n\nWhich one?"},
		{"a question after calls", []standin.Reply{talking("Let me look", look), standin.Call(ask)}, []string{"=Let me look", "=|"}, "Which one?"},
		{"a long text before a question", []standin.Reply{talking(long, ask)}, []string{"=" + long, "+|"}, "Which one?"},
		{"refused", []standin.Reply{scripts.Finish("SAFETY", "How to", " make")}, []string{"=How to", "+ make", "=|"}, "The answer was refused by the model's safety rules."},
		{"refused after calls", []standin.Reply{talking("Let me look", look), scripts.Finish("SAFETY", "How")}, []string{"=Let me look", "=How", "=|"}, "The answer was refused by the model's safety rules."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, scripts.New(tt.replies...))}), message())
			if diff := cmp.Diff(tt.updates, updates(r)); diff != "" || r.says() != tt.says {
				t.Errorf("says %q, %v; updates (-want +got):\n%s", r.says(), r.err, diff)
			}
		})
	}
}

// What was said before calls is no answer of a turn that was ended after them.
func TestTextBeforeCallsOfAFailedTurn(t *testing.T) {
	script := again(talking("Let me look.", call("nothing", nil)))
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message())
	if r.state() != a2a.TaskStateFailed || r.text != "" || !r.whole {
		t.Errorf("got %v %q, the answer is %q (whole: %v)", r.state(), r.says(), r.text, r.whole)
	}
}

// The texts of the agent have a media type.
func TestTextsHaveAMediaType(t *testing.T) {
	var keys []string
	script := scripts.New(
		talking("Working.", call("note", map[string]any{"text": "a"})),
		talking("Say", call("nothing", nil)),
		standin.Call(call("ask", map[string]any{"question": "Which one?"})))
	ok := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{note(&keys)}}), message())

	seen := 0
	for _, ev := range ok.events {
		var parts a2a.ContentParts
		switch ev := ev.(type) {
		case *a2a.TaskArtifactUpdateEvent:
			parts = ev.Artifact.Parts
		case *a2a.TaskStatusUpdateEvent:
			parts = ev.Status.Message.Parts
		}
		for _, p := range parts {
			seen++
			if p.MediaType != "text/plain" {
				t.Errorf("%q has the media type %q", p.Text(), p.MediaType)
			}
		}
	}
	if seen != 5 {
		t.Errorf("%d parts: %v", seen, fmt.Sprint(updates(ok)))
	}
}

// A file before a question stays an artifact.
func TestFileBeforeAQuestion(t *testing.T) {
	ask := model.Part{Call: &model.Call{Name: "ask", Args: []byte(`{"question":"This one?"}`)}}
	m := &chunks{list: []model.Chunk{{Parts: []model.Part{{Text: "Here: "}, {Data: []byte("PNG"), MIME: "image/png"}, ask}, Finish: "STOP"}}}
	r := answered(t, t.Context(), newExecutor(t, setup{model: m}), message())
	if r.state() != a2a.TaskStateInputRequired || r.says() != "This one?" || r.text != "Here: " || !r.whole {
		t.Errorf("got %v %q, the answer is %q (whole: %v)", r.state(), r.says(), r.text, r.whole)
	}
}

// Signatures that the model refuses are left out: the calls and results so far are told in
// words, once, and no call is made again.
func TestRefusedSignaturesAreLeftOut(t *testing.T) {
	var calls []string
	refusal := scripts.Fail(400, "INVALID_ARGUMENT", "Function call is missing a thought_signature in functionCall parts.")
	script := scripts.New(standin.Call(call("add", map[string]any{"a": 2, "b": 3})), refusal, standin.Text("5."))
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{add(&calls)}}), message())
	if r.text != "5." || len(calls) != 1 {
		t.Errorf("%q, %v, %v, calls %v", r.text, r.state(), r.err, calls)
	}
	for _, c := range script.Requests()[2].Contents {
		for _, p := range c.Parts {
			if p.FunctionCall != nil || p.FunctionResponse != nil {
				t.Errorf("the request has %+v", p)
			}
		}
	}

	script = scripts.New(refusal)
	r = answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{add(&calls)}}), message())
	if r.state() != a2a.TaskStateFailed || len(script.Requests()) != 1 {
		t.Errorf("without calls: %v after %d requests", r.state(), len(script.Requests()))
	}
}

// TestClientsRow11: the step after a tool must say something. What was said before the tool is
// no answer: the model is asked again, no call is made again, and in the end the task fails.
func TestClientsRow11(t *testing.T) {
	for name, empty := range map[string]standin.Reply{
		"no parts": standin.Text(), "white space": standin.Text(" \n", "\t"), "a thought": {Chunks: thought("Hm.").Chunks},
	} {
		t.Run(name, func(t *testing.T) {
			var keys []string
			s := newSite(t)
			script := scripts.New(talking("I will look.", call("note", map[string]any{"text": "a"})), empty, empty, standin.Text("Noted."))
			s.setup = setup{model: scripted(t, script), tools: []tools.Tool{note(&keys)}}

			r := s.until(s.send("m1", "Note it.", "").ID())
			if got := artifacts(r); r.State() != a2a.TaskStateCompleted || got != "Noted." || len(keys) != 1 {
				t.Errorf("%s, the answer is %q after %d calls: %q", r.State(), got, len(keys), says(r))
			}
			for i, req := range script.Requests()[1:] {
				if last := req.Contents[len(req.Contents)-1]; last.Parts[0].FunctionResponse == nil {
					t.Errorf("request %d ends with %s", i+1, plain(req.Contents))
				}
			}
		})

		t.Run(name+" every time", func(t *testing.T) {
			var keys []string
			s := newSite(t)
			first := talking("I will look.", call("note", map[string]any{"text": "a"}))
			script := scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
				if len(r.Contents) > 1 {
					return empty
				}
				return first
			})
			s.setup = setup{model: scripted(t, script), tools: []tools.Tool{note(&keys)}}

			r := s.until(s.send("m1", "Note it.", "").ID())
			if got := artifacts(r); r.State() != a2a.TaskStateFailed || got != "" || !strings.Contains(says(r), "the model gave no answer each time") {
				t.Errorf("%s, the answer is %q: %q", r.State(), got, says(r))
			}
			// The run that made the call has made progress: it does not count.
			if n := len(script.Requests()); n != 2+s.Rules.Attempts || len(keys) != 1 {
				t.Errorf("%d requests and %d calls, want %d and 1", n, len(keys), 2+s.Rules.Attempts)
			}
		})
	}
}

// thought is a reply of a thought alone.
func thought(text string) standin.Reply {
	r := standin.Text(text)
	r.Chunks[0].Candidates[0].Content.Parts[0].Thought = true
	return r
}

// finished is a reply that ends for a reason.
func finished(reason string, r standin.Reply) standin.Reply {
	r.Chunks[len(r.Chunks)-1].Candidates[0].FinishReason = genai.FinishReason(reason)
	return r
}

// artifacts is the text of a task's artifacts.
func artifacts(r task.Record) (all string) {
	for _, a := range r.Task.Artifacts {
		for _, p := range a.Parts {
			all += p.Text()
		}
	}
	return all
}

// TestClientsRow13: a task whose model gave no answer says so while it waits, and counts it as an
// attempt.
func TestClientsRow13(t *testing.T) {
	s := newSite(t)
	s.setup = setup{model: scripted(t, scripts.New(standin.Text(), standin.Text(), standin.Text("Well.")))}
	id := s.send("m1", "Hello", "").ID()
	for attempt := 1; attempt <= 2; attempt++ {
		s.process(id, 0)
		r := s.Load(id)
		if r.State() != a2a.TaskStateWorking || says(r) != "The model gave no answer. The task is tried again." || r.Attempt != attempt {
			t.Errorf("attempt %d, %s: %q", r.Attempt, r.State(), says(r))
		}
		if want := s.clock().Add(map[int]time.Duration{2: s.Rules.Parks[0]}[attempt]); !r.Wake.Equal(want) {
			t.Errorf("it waits until %v, want %v", r.Wake, want)
		}
	}
	if r := s.until(id); r.State() != a2a.TaskStateCompleted || artifacts(r) != "Well." || r.Task.Status.Message != nil {
		t.Errorf("%s: %q, says %q", r.State(), artifacts(r), says(r))
	}
}
