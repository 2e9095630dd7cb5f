package executor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/lab/scripts"
	"errand/shared/model"
	"errand/shared/task"
	"errand/worker/executor"
	"errand/worker/run"
	"errand/worker/tools"
)

// The answer is an artifact of the task. Shows M28, decision 9.
func TestAnswerIsAnArtifact(t *testing.T) {
	script := scripts.New(standin.Text("One, ", "two, ", "three."))
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message())
	if r.err != nil || r.text != "One, two, three." || !r.whole || r.state() != a2a.TaskStateCompleted {
		t.Fatalf("got %q (whole: %v), %v, %v", r.text, r.whole, r.state(), r.err)
	}
	usage := map[string]any{"usage": map[string]any{
		"model": "test-model", "steps": 1.0, "prompt": 1.0, "output": 5.0, "thought": 0.0, "cached": 0.0,
	}}
	if diff := cmp.Diff(usage, r.final.Metadata); diff != "" {
		t.Errorf("metadata of the final status (-want +got):\n%s", diff)
	}
	first := r.events[0].(*a2a.TaskArtifactUpdateEvent)
	if first.Artifact.ID != "t1-answer" || first.Append || len(r.events) != 5 {
		t.Errorf("first of %d events: %+v", len(r.events), first)
	}
	req := script.Requests()[0]
	if got, want := req.System.Parts[0].Text, "Be brief.\n\nThese are your skills, as others see them:\n- count: Counts things."; got != want {
		t.Errorf("system = %q, want %q", got, want)
	}
	if req.Config.MaxOutputTokens != 2000 {
		t.Errorf("output tokens = %d", req.Config.MaxOutputTokens)
	}
}

// eager is a model that looks, after each chunk, at what has become of it.
type eager struct {
	chunks
	look func()
}

func (e *eager) Generate(ctx context.Context, r model.Request) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		for c, err := range e.chunks.Generate(ctx, r) {
			if !yield(c, err) {
				return
			}
			e.look()
		}
	}
}

// Text is passed on as it comes, before the model says more, and its end is marked when it is
// known.
func TestNoTextIsHeldBack(t *testing.T) {
	var seen []string
	now := ""
	m := &eager{chunks{list: []model.Chunk{
		{Parts: []model.Part{{Text: "One, "}}},
		{Parts: []model.Part{{Text: "tw\xc3"}}}, // and the half of a letter
		{Parts: []model.Part{{Text: "\xb6"}}},
		{Finish: "STOP"},
	}}, func() { seen = append(seen, now) }}

	for ev, err := range newExecutor(t, setup{model: m}).Execute(t.Context(), message()) {
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := ev.(*a2a.TaskArtifactUpdateEvent); ok {
			now += a.Artifact.Parts[0].Text()
			if a.LastChunk {
				now += "|"
			}
		}
	}

	if diff := cmp.Diff([]string{"One, ", "One, tw", "One, twö"}, seen); diff != "" || now != "One, twö|" {
		t.Errorf("at the end %q; after each chunk (-want +got):\n%s", now, diff)
	}
}

func TestFinishReasons(t *testing.T) {
	const kept = "A piece of it"
	for _, tt := range []struct {
		name  string
		reply standin.Reply
		state a2a.TaskState // empty: an error that makes the turn run again
		says  string
	}{
		{"STOP", standin.Text(kept), a2a.TaskStateCompleted, ""},
		{"STOP without a word", standin.Text(), "", ""},
		{"MAX_TOKENS", scripts.Finish("MAX_TOKENS", kept), a2a.TaskStateFailed, "cut off"},
		{"SAFETY", scripts.Finish("SAFETY", kept), a2a.TaskStateRejected, "safety"},
		{"IMAGE_SAFETY", scripts.Finish("IMAGE_SAFETY"), a2a.TaskStateRejected, "safety"},
		{"PROHIBITED_CONTENT", scripts.Finish("PROHIBITED_CONTENT"), a2a.TaskStateRejected, "prohibited"},
		{"IMAGE_PROHIBITED_CONTENT", scripts.Finish("IMAGE_PROHIBITED_CONTENT"), a2a.TaskStateRejected, "prohibited"},
		{"BLOCKLIST", scripts.Finish("BLOCKLIST"), a2a.TaskStateRejected, "blocked"},
		{"SPII", scripts.Finish("SPII"), a2a.TaskStateRejected, "personal"},
		{"RECITATION", scripts.Finish("RECITATION"), a2a.TaskStateRejected, "protected work"},
		{"IMAGE_RECITATION", scripts.Finish("IMAGE_RECITATION"), a2a.TaskStateRejected, "protected work"},
		{"LANGUAGE", scripts.Finish("LANGUAGE"), a2a.TaskStateRejected, "language"},
		{"blocked prompt", scripts.Block("SAFETY"), a2a.TaskStateRejected, "The message was refused"},
		{"none", scripts.Finish("", kept), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, scripts.New(tt.reply))}), message())
			if r.state() != tt.state || (r.err != nil) != (tt.state == "") {
				t.Fatalf("got %v, error %v", r.state(), r.err)
			}

			if _, ok := errors.AsType[*run.Pause](r.err); ok {
				t.Errorf("a pause: %v", r.err)
			}
			if !strings.Contains(r.says(), tt.says) || (tt.says == "") != (r.says() == "") {
				t.Errorf("says %q, want %q", r.says(), tt.says)
			}
			if tt.state == a2a.TaskStateFailed && (r.text != kept || !r.whole) {
				t.Errorf("kept %q (whole: %v)", r.text, r.whole)
			}
			if tt.state == a2a.TaskStateRejected && r.text != "" {
				t.Errorf("a refused answer stays: %q", r.text)
			}

			if tt.state != "" && r.final.Metadata["usage"] == nil {
				t.Error("no usage")
			}
		})
	}
}

func TestModelErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply standin.Reply
		waits bool          // the turn pauses
		least time.Duration // for at least so long
		state a2a.TaskState
	}{
		{"throttled", scripts.Throttle(37 * time.Second), true, 37 * time.Second, ""},
		{"throttled, no time", scripts.Throttle(0), true, 0, ""},
		{"throttled, for most of a day", scripts.Throttle(20 * time.Hour), true, 20 * time.Hour, ""},
		{"401", scripts.Fail(401, "UNAUTHENTICATED", "SECRET"), true, 0, ""},
		{"403", scripts.Fail(403, "PERMISSION_DENIED", "SECRET"), true, 0, ""},
		{"404", scripts.Fail(404, "NOT_FOUND", "SECRET"), true, 0, ""},
		{"400", scripts.Fail(400, "INVALID_ARGUMENT", "SECRET"), false, 0, a2a.TaskStateFailed},
		{"413", scripts.Fail(413, "INVALID_ARGUMENT", "SECRET"), false, 0, a2a.TaskStateFailed},
		{"500", scripts.Fail(500, "INTERNAL", "broken"), false, 0, ""},
		{"503", scripts.Fail(503, "UNAVAILABLE", "overloaded"), true, 0, ""},
		{"408", scripts.Fail(408, "TIMEOUT", "slow"), true, 0, ""},
		{"cut", standin.Reply{Chunks: standin.Text("Half of").Chunks[:1], Cut: true}, false, 0, ""},
		{"cut within a rune", scripts.CutMidRune("Half of"), false, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.reply.Chunks = unfinished(tt.reply.Chunks)
			r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, scripts.New(tt.reply))}), message())
			if r.state() != tt.state || (r.err != nil) != (tt.state == "") {
				t.Fatalf("got %v, error %v", r.state(), r.err)
			}

			pause, paused := errors.AsType[*run.Pause](r.err)
			_, caused := errors.AsType[*model.Error](r.err)

			switch {
			case !tt.waits:
				if paused {
					t.Errorf("a pause: %v", r.err)
				}
			case !paused || !caused:
				t.Fatalf("not a pause with a cause: %v", r.err)
			case pause.For != tt.least || pause.Hold != run.Away || pause.Alert || pause.Say == "" || strings.Contains(pause.Say, "SECRET"):
				t.Errorf("pause %+v", pause)
			}

			if r.says() != "" && strings.Contains(r.says(), "SECRET") {
				t.Errorf("says %q", r.says())
			}
		})
	}
}

// The last attempt at a message that makes the model fail ends the task with that reason. A
// pause never does.
func TestLastAttempt(t *testing.T) {
	for _, tt := range []struct {
		reply standin.Reply
		says  string
	}{
		{scripts.Fail(500, "INTERNAL", "SECRET"), "internal error"},
		{scripts.CutMidRune("Half of"), "broke off"},
		{scripts.Fail(503, "UNAVAILABLE", "SECRET"), ""},
		{scripts.Throttle(0), ""},
		{scripts.Fail(403, "PERMISSION_DENIED", "SECRET"), ""},
	} {
		ctx := run.With(t.Context(), run.Run{Turn: 1, Attempt: 5, Task: "task", Last: true})
		r := answered(t, ctx, newExecutor(t, setup{model: scripted(t, scripts.New(tt.reply))}), message())
		ended := r.state() == a2a.TaskStateFailed && strings.Contains(r.says(), tt.says) && !strings.Contains(r.says(), "SECRET")
		if _, paused := errors.AsType[*run.Pause](r.err); ended != (tt.says != "") || paused == ended {
			t.Errorf("%+v: %s, %q, error %v", tt.reply.Error, r.state(), r.says(), r.err)
		}
	}
}

// unfinished is an answer that breaks off before its finish reason.
func unfinished(list []*genai.GenerateContentResponse) []*genai.GenerateContentResponse {
	for _, c := range list {
		c.Candidates[0].FinishReason = ""
	}
	return list
}

func TestRunesAreNeverCut(t *testing.T) {
	const want = "Grüße, 世界 🙂!"
	m := &chunks{}
	for i := range len(want) {
		m.list = append(m.list, model.Chunk{Parts: []model.Part{{Text: want[i : i+1]}}})
	}
	m.list = append(m.list, model.Chunk{Parts: []model.Part{{Text: "\xff\xe2\x82"}}}, model.Chunk{Finish: "STOP"})
	r := answered(t, t.Context(), newExecutor(t, setup{model: m}), message())
	if r.text != want+"\uFFFD\uFFFD" || !r.whole {
		t.Errorf("got %q", r.text)
	}
	for _, ev := range r.events {
		if a, ok := ev.(*a2a.TaskArtifactUpdateEvent); ok && !utf8.ValidString(a.Artifact.Parts[0].Text()) {
			t.Errorf("cut: %q", a.Artifact.Parts[0].Text())
		}
	}
}

func TestThoughtsStayInside(t *testing.T) {
	m := &chunks{list: []model.Chunk{
		{Parts: []model.Part{{Text: "I wonder.", Thought: true}, {Text: "Yes."}}, Finish: "STOP"},
	}}
	if r := answered(t, t.Context(), newExecutor(t, setup{model: m}), message()); r.text != "Yes." {
		t.Errorf("got %q", r.text)
	}
	m.list[0].Parts = m.list[0].Parts[:1]
	if r := answered(t, t.Context(), newExecutor(t, setup{model: m}), message()); r.err == nil {
		t.Errorf("thoughts alone were taken for an answer: %v", r.state())
	}
}

func TestFilesOfTheModel(t *testing.T) {
	m := &chunks{list: []model.Chunk{
		{Parts: []model.Part{{Text: "Here: "}, {Data: []byte("PNG"), MIME: "image/png"}}},
		{Parts: []model.Part{{URI: "http://169.254.169.254/"}}, Finish: "STOP"},
	}}
	r := answered(t, t.Context(), newExecutor(t, setup{model: m}), message())
	last := r.events[1].(*a2a.TaskArtifactUpdateEvent)
	if p := last.Artifact.Parts[0]; string(p.Raw()) != "PNG" || p.MediaType != "image/png" || !r.whole || len(r.events) != 4 {
		t.Errorf("got %d events, %+v", len(r.events), p)
	}
}

// A media type that the model invents reaches no client.
func TestImpossibleMediaTypes(t *testing.T) {
	const unknown = "application/octet-stream"
	for mime, want := range map[string]string{
		"": "", "image/png": "image/png", "text/html; charset=utf-8": "text/html; charset=utf-8",
		"text/html\r\nX: 1": unknown, "png": unknown, "/": unknown, "a b/c": unknown, "text/plain; x=\"\x00\"": unknown,
		"text/" + strings.Repeat("x", 300): unknown,
	} {
		m := &chunks{list: []model.Chunk{{Parts: []model.Part{{Data: []byte("x"), MIME: mime}}, Finish: "STOP"}}}
		r := answered(t, t.Context(), newExecutor(t, setup{model: m}), message())
		ev, ok := r.events[0].(*a2a.TaskArtifactUpdateEvent)
		if !ok || ev.Artifact.Parts[0].MediaType != want {
			t.Errorf("%.30q: got %+v, want %q", mime, r.events[0], want)
		}
	}
}

// The parts of one event of the model, and the calls of one step, have a limit.
func TestPartsAreBounded(t *testing.T) {
	texts := make([]model.Part, 1025)
	for i := range texts {
		texts[i].Text = "x"
	}
	call := model.Part{Call: &model.Call{Name: "nothing", Args: []byte(`{}`)}}
	var calls, pieces []model.Chunk
	for range 1025 {
		calls = append(calls, model.Chunk{Parts: []model.Part{call}})
		pieces = append(pieces, model.Chunk{Parts: texts[:1]})
	}

	for name, tt := range map[string]struct {
		list  []model.Chunk
		state a2a.TaskState
	}{
		"at the limit":    {[]model.Chunk{{Parts: texts[:1024]}, {Finish: "STOP"}}, a2a.TaskStateCompleted},
		"parts":           {[]model.Chunk{{Parts: texts}, {Finish: "STOP"}}, a2a.TaskStateFailed},
		"calls":           {append(calls, model.Chunk{Finish: "STOP"}), a2a.TaskStateFailed},
		"parts of a step": {append(pieces, model.Chunk{Finish: "STOP"}), a2a.TaskStateCompleted},
	} {
		r := answered(t, t.Context(), newExecutor(t, setup{model: &chunks{list: tt.list}}), message())
		if r.state() != tt.state || (tt.state == a2a.TaskStateFailed) != strings.Contains(r.says(), "more than 1024 parts or calls") {
			t.Errorf("%s: got %v %q, %v", name, r.state(), r.says(), r.err)
		}
	}
}

func TestAnswerIsBounded(t *testing.T) {
	// Because of the first byte the limit falls within a rune.
	m := &chunks{list: []model.Chunk{{Parts: []model.Part{{Text: "x"}}}}}
	piece := strings.Repeat("é", 32<<10)
	for range 800 { // 50 MB
		m.list = append(m.list, model.Chunk{Parts: []model.Part{{Text: piece}}})
	}
	m.list = append(m.list, model.Chunk{Finish: "STOP"})
	r := answered(t, t.Context(), newExecutor(t, setup{model: m}), message())
	if r.state() != a2a.TaskStateFailed || !strings.Contains(r.says(), "too long") {
		t.Fatalf("got %v %q, %v", r.state(), r.says(), r.err)
	}
	if most := task.LimitResult - task.LimitAccept; len(r.text) > most || len(r.text) < most-4 || !utf8.ValidString(r.text) || !r.whole {
		t.Errorf("kept %d bytes, at most %d; valid: %v, whole: %v", len(r.text), most, utf8.ValidString(r.text), r.whole)
	}
}

func TestThoughtsAreBounded(t *testing.T) {
	m := &chunks{}
	for range 100 {
		m.list = append(m.list, model.Chunk{Parts: []model.Part{{Text: strings.Repeat("t", 64<<10), Thought: true}}})
	}
	r := answered(t, t.Context(), newExecutor(t, setup{model: m}), message())
	if r.state() != a2a.TaskStateFailed {
		t.Errorf("got %v, %v", r.state(), r.err)
	}
}

func TestTokenCap(t *testing.T) {
	limits := defaults()
	limits.TurnTokens, limits.OutputTokens = 100, 80
	spent := func(total int32) model.Usage { return model.Usage{Prompt: 10, Output: total - 15, Thought: 5} }
	call := model.Part{Call: &model.Call{Name: "nothing", Args: []byte(`{}`)}}

	for _, tt := range []struct {
		name   string
		chunks []model.Chunk
		state  a2a.TaskState
		text   string
		steps  int
		last   int32 // cap of the last step
	}{
		{"within", []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Usage: spent(60), Finish: "STOP"}}, a2a.TaskStateCompleted, "a", 1, 80},
		{"complete, but over", []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Usage: spent(160)}, {Finish: "STOP"}}, a2a.TaskStateCompleted, "a", 1, 80},
		{"over, and going on", []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Usage: spent(160)}, {Parts: []model.Part{{Text: "b"}}}, {Finish: "STOP"}}, a2a.TaskStateFailed, "a", 1, 80},
		{"over after steps", []model.Chunk{{Parts: []model.Part{call}, Usage: spent(60), Finish: "STOP"}}, a2a.TaskStateFailed, "", 2, 40},
		{"hostile figures", []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Usage: model.Usage{Prompt: 1<<31 - 1, Output: 1<<31 - 1}}, {Parts: []model.Part{{Text: "b"}}}}, a2a.TaskStateFailed, "a", 1, 80},
		{"negative figures", []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Usage: model.Usage{Prompt: 150, Thought: -100}}, {Parts: []model.Part{{Text: "b"}}}}, a2a.TaskStateFailed, "a", 1, 80},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &chunks{list: tt.chunks}
			r := answered(t, t.Context(), newExecutor(t, setup{model: m, limits: limits}), message())

			if r.state() != tt.state || r.text != tt.text || len(m.seen) != tt.steps {
				t.Fatalf("got %v %q after %d steps, %v", r.state(), r.text, len(m.seen), r.err)
			}
			if got := m.seen[tt.steps-1].MaxTokens; got != tt.last {
				t.Errorf("the last step might make %d tokens, want %d", got, tt.last)
			}
			if tt.state == a2a.TaskStateFailed && !strings.Contains(r.says(), "100 tokens") {
				t.Errorf("says %q", r.says())
			}
		})
	}
}

func TestStepLimit(t *testing.T) {
	script := scripts.Record(func(context.Context, standin.Request) standin.Reply {
		return standin.Call(&genai.FunctionCall{Name: "nothing"})
	})
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message())
	if r.state() != a2a.TaskStateFailed || !strings.Contains(r.says(), "8 steps") || len(script.Requests()) != 8 {
		t.Errorf("got %v %q after %d steps", r.state(), r.says(), len(script.Requests()))
	}
	if steps := r.final.Metadata["usage"].(map[string]any)["steps"]; steps != 8.0 {
		t.Errorf("steps on the task: %v", steps)
	}
}

func TestCancelStopsTheCall(t *testing.T) {
	for _, reply := range []standin.Reply{
		{Hang: true},
		{Chunks: unfinished(standin.Text("Half of").Chunks), Hang: true},
		standin.Text("Late").After(time.Hour),
	} {
		synctest.Test(t, func(t *testing.T) {
			stopped := false
			answer := func(ctx context.Context, _ standin.Request) standin.Reply {
				context.AfterFunc(ctx, func() { stopped = true })
				return reply
			}
			e := newExecutor(t, setup{model: scripted(t, scripts.Record(answer))})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			r := answered(t, ctx, e, message())
			synctest.Wait()
			if !errors.Is(r.err, context.DeadlineExceeded) || time.Since(began) != time.Second || !stopped {
				t.Errorf("%v after %s, stopped: %v", r.err, time.Since(began), stopped)
			}
		})
	}
}

// A client may report a cancelled call as a failure of the service. The executor still
// reports the cancel.
func TestCancelWinsOverTheError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, code := range []int{0, 400, 403, 429, 500} {
		m := &chunks{err: &model.Error{Code: code}}
		r := answered(t, ctx, newExecutor(t, setup{model: m}), message())
		if !errors.Is(r.err, context.Canceled) {
			t.Errorf("%d: got %v, %v", code, r.state(), r.err)
		}
	}
}

func TestListenerGoesAway(t *testing.T) {
	m := &chunks{list: []model.Chunk{{Parts: []model.Part{{Text: "a"}, {Text: "b"}, {Text: "c"}}}}}
	n := 0
	for range newExecutor(t, setup{model: m}).Execute(t.Context(), message()) {
		n++
		break // a yield after this panics
	}
	if n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestCancel(t *testing.T) {
	e := newExecutor(t, setup{model: &chunks{}})
	for ev, err := range e.Cancel(t.Context(), message()) {
		s, ok := ev.(*a2a.TaskStatusUpdateEvent)
		if err != nil || !ok || s.Status.State != a2a.TaskStateCanceled || s.TaskID != "task" {
			t.Errorf("got %+v, %v", ev, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	one := tools.New("one", "Gives one.", func(context.Context, struct{}) (int, error) { return 1, nil })
	ask := tools.New("ask", "Asks.", func(context.Context, struct{}) (int, error) { return 1, nil })
	for _, tt := range []struct {
		names []string
		tools []tools.Tool
		want  string
	}{
		{[]string{"one"}, []tools.Tool{one}, ""},
		{[]string{"two"}, []tools.Tool{one}, `"two"`},
		{nil, []tools.Tool{one, one}, "taken"},
		{nil, []tools.Tool{ask}, "taken"},
		{nil, []tools.Tool{{}}, "name"},
	} {
		_, err := executor.New(executor.Config{Agent: &agent.Agent{Tools: tt.names, Limits: defaults()}, Model: &chunks{}, Tools: tt.tools})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New = %v, want %q", err, tt.want)
		}
	}
}

func BenchmarkExecute(b *testing.B) {
	m := &chunks{list: []model.Chunk{{Parts: []model.Part{{Text: "Hello, "}}}, {Parts: []model.Part{{Text: "world."}}}, {Finish: "STOP"}}}
	e := newExecutor(b, setup{model: m})
	ec := message()
	b.ReportAllocs()
	for b.Loop() {
		m.seen = nil
		for _, err := range e.Execute(b.Context(), ec) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func ExampleNew() {
	type where struct {
		City string `json:"city" jsonschema:"city to look up"`
	}
	weather := tools.New("weather", "Tells the weather in a city.", func(context.Context, where) (string, error) { return "sunny", nil })
	def := &agent.Agent{Name: "Weather", Instructions: "Be brief.", Tools: []string{"weather"}}
	_, err := executor.New(executor.Config{Agent: def, Model: &chunks{}, Tools: []tools.Tool{weather}})
	fmt.Println(err)

	def.Tools = []string{"whether"}
	_, err = executor.New(executor.Config{Agent: def, Model: &chunks{}, Tools: []tools.Tool{weather}})
	fmt.Println(err)
	// Output:
	// <nil>
	// agent.yaml names the tool "whether", which does not exist: write it in worker/agent and return it from Tools, or remove it from the list
}

// The message alone may be worth as many tokens as the turn may take, at four bytes a token.
// The conversation before it gets what it leaves. A larger message never reaches the model.
func TestFirstPromptIsBounded(t *testing.T) {
	limits := defaults()
	limits.TurnTokens, limits.OutputTokens = 1000, 80
	const part = 16 // bytes that each part counts beside its text
	done := []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Finish: "STOP"}}

	for _, tt := range []struct {
		name    string
		parts   []*a2a.Part
		earlier bool // the model sees the earlier message
		says    []string
	}{
		{"small", []*a2a.Part{text("Hello")}, true, nil},
		{"room for the earlier message", []*a2a.Part{text(strings.Repeat("x", 4000-2*part-7))}, true, nil},
		{"no room for it", []*a2a.Part{text(strings.Repeat("x", 4000-2*part-6))}, false, nil},
		{"at the limit", []*a2a.Part{text(strings.Repeat("x", 4000-part))}, false, nil},
		{"in parts", []*a2a.Part{text(strings.Repeat("x", 2000)), text(strings.Repeat("x", 2000))}, false, []string{"1008 tokens", "take 1000", "turnTokens"}},
		{"over", []*a2a.Part{text(strings.Repeat("x", 480<<10))}, false, []string{"122884 tokens", "take 1000", "turnTokens"}},
		{"files", []*a2a.Part{a2a.NewRawPart([]byte("x")), a2a.NewRawPart([]byte("x")), a2a.NewRawPart([]byte("x")), a2a.NewRawPart([]byte("x"))}, false, []string{"turnTokens"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &chunks{list: done}
			ec := message(tt.parts...)
			ec.StoredTask.History = []*a2a.Message{user("m0", text("earlier")), ec.Message}
			r := answered(t, t.Context(), newExecutor(t, setup{model: m, limits: limits}), ec)

			if tt.says == nil {
				if r.state() != a2a.TaskStateCompleted || len(m.seen) != 1 {
					t.Fatalf("got %v %q after %d steps, %v", r.state(), r.says(), len(m.seen), r.err)
				}
				if parts := m.seen[0].History[0].Parts; (parts[0].Text == "earlier") != tt.earlier {
					t.Errorf("the model sees the earlier message: %v, want %v", !tt.earlier, tt.earlier)
				}
				return
			}

			if r.state() != a2a.TaskStateFailed || len(m.seen) != 0 {
				t.Errorf("got %v after %d steps, %v", r.state(), len(m.seen), r.err)
			}
			for _, want := range tt.says {
				if !strings.Contains(r.says(), want) {
					t.Errorf("%q is not in %q", want, r.says())
				}
			}
		})
	}
}
