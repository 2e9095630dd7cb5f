package executor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/lab/scripts"
	"errand/shared/model"
	"errand/worker/executor"
	"errand/worker/run"
	"errand/worker/tools"
)

type sum struct {
	A int `json:"a"`
	B int `json:"b"`
}

// add is a tool that records its calls.
func add(calls *[]string) tools.Tool {
	var mu sync.Mutex // calls run side by side
	return tools.New("add", "Adds two numbers.", func(_ context.Context, in sum) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		*calls = append(*calls, fmt.Sprintf("%d+%d", in.A, in.B))
		return in.A + in.B, nil
	})
}

// note is a tool with effects that records the keys of its calls.
func note(keys *[]string) tools.Tool {
	var mu sync.Mutex
	return tools.New("note", "Takes a note.", func(ctx context.Context, in struct {
		Text string `json:"text"`
	}) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		*keys = append(*keys, tools.InfoFrom(ctx).Key)
		return "noted", nil
	}, tools.Effects())
}

func call(name string, args map[string]any) *genai.FunctionCall {
	return &genai.FunctionCall{ID: "id-" + name, Name: name, Args: args}
}

func TestToolRoundTrip(t *testing.T) {
	var calls []string
	script := scripts.New(
		standin.Call(call("add", map[string]any{"a": 2, "b": 3}), call("add", map[string]any{"a": 4, "b": 5})),
		standin.Text("5 and 9."))

	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{add(&calls)}}), message())
	if r.text != "5 and 9." || r.state() != a2a.TaskStateCompleted {
		t.Fatalf("%q, %v, %v", r.text, r.state(), r.err)
	}
	slices.Sort(calls)
	if diff := cmp.Diff([]string{"2+3", "4+5"}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}

	want := "user: Hello\nmodel: call add | call add\nuser: result add {\"output\":5} | result add {\"output\":9}"
	if diff := cmp.Diff(want, plain(script.Requests()[1].Contents)); diff != "" {
		t.Errorf("contents of the request (-want +got):\n%s", diff)
	}
	if id := script.Requests()[1].Contents[2].Parts[0].FunctionResponse.ID; id != "id-add" {
		t.Errorf("id of the result: %q", id)
	}

	usage := r.final.Metadata["usage"].(map[string]any)
	if usage["steps"] != 2.0 || usage["prompt"] != 2.0 || usage["output"] != 24.0 {
		t.Errorf("usage %v", usage)
	}

	decl := script.Requests()[0].Tools[0].FunctionDeclarations
	if len(decl) != 2 || decl[0].Name != "ask" || decl[1].Name != "add" || decl[1].ParametersJsonSchema == nil {
		t.Errorf("declared: %+v", decl)
	}
}

func TestSignaturesGoBack(t *testing.T) {
	m := &chunks{list: []model.Chunk{
		{Parts: []model.Part{{Text: "Hm, ", Thought: true}, {Text: "so.", Thought: true}, {Text: "Let"}, {Text: " me", Signature: []byte("s1")}, {Text: " see"}, {Text: "."}}},
		{Parts: []model.Part{{Call: &model.Call{ID: "1", Name: "add", Args: []byte(`{"a":1,"b":1}`)}, Signature: []byte("s2")}}},
		{Parts: []model.Part{{Signature: []byte("s3")}}, Finish: "STOP"},
	}}
	var calls []string
	limits := defaults()
	limits.Steps = 2
	answered(t, t.Context(), newExecutor(t, setup{model: m, tools: []tools.Tool{add(&calls)}, limits: limits}), message())
	want := []model.Part{
		{Text: "Hm, so.", Thought: true}, {Text: "Let"}, {Text: " me", Signature: []byte("s1")}, {Text: " see."},
		{Call: &model.Call{ID: "1", Name: "add", Args: []byte(`{"a":1,"b":1}`)}, Signature: []byte("s2")},
		{Signature: []byte("s3")},
	}
	if diff := cmp.Diff(want, m.seen[1].History[1].Parts); diff != "" {
		t.Errorf("parts that were sent back (-want +got):\n%s", diff)
	}
}

// Errors that the model can correct are in the result of the call.
func TestErrorsForTheModel(t *testing.T) {
	fails := tools.New("fails", "Fails.", func(context.Context, struct{}) (int, error) { return 0, errors.New("try a smaller one") })
	breaks := tools.New("breaks", "Breaks.", func(context.Context, struct{}) (int, error) { panic("boom") })
	hidden := tools.New("hidden", "Is not allowed.", func(context.Context, struct{}) (int, error) {
		t.Error("a tool was called that agent.yaml does not allow")
		return 0, nil
	})

	for _, tt := range []struct {
		call *genai.FunctionCall
		want string
	}{
		{call("add", map[string]any{"a": "two", "b": 3}), "do not fit"},
		{call("add", map[string]any{"a": 2}), "missing"},
		{call("fetch", map[string]any{"url": "http://169.254.169.254/"}), "there is no such tool; there are: ask, add, breaks, fails"},
		{call("hidden", nil), "there is no such tool"},
		{call("ask", nil), "ask takes"},
		{call("ask", map[string]any{"question": "  "}), "ask takes"},
		{call("ask", map[string]any{"question": 7}), "ask takes"},
		{call("ask", map[string]any{"question": strings.Repeat("why? ", 2000)}), "ask takes"},
		{call("fails", nil), "try a smaller one"},
		{call("breaks", nil), "broke down"},
	} {
		t.Run(tt.call.Name+" "+tt.want, func(t *testing.T) {
			var calls []string
			script := scripts.New(standin.Call(tt.call), standin.Text("Sorry."))
			e, err := executor.New(executor.Config{
				Agent: &agent.Agent{Tools: []string{"add", "fails", "breaks"}, Limits: defaults()},
				Model: scripted(t, script), Tools: []tools.Tool{add(&calls), fails, breaks, hidden},
			})
			if err != nil {
				t.Fatal(err)
			}

			r := answered(t, t.Context(), e, message())
			if r.state() != a2a.TaskStateCompleted || len(calls) != 0 {
				t.Fatalf("got %v, %v; calls %v", r.state(), r.err, calls)
			}

			result := script.Requests()[1].Contents[2].Parts[0].FunctionResponse
			if why, _ := result.Response["error"].(string); !strings.Contains(why, tt.want) || len(why) > 1100 {
				t.Errorf("the result for the model is %v, want %q", result.Response, tt.want)
			}
		})
	}
}

// The model sends arguments that are no JSON object. The real client gives only objects.
func TestBrokenArguments(t *testing.T) {
	var calls []string
	m := &chunks{list: []model.Chunk{{Parts: []model.Part{{Call: &model.Call{Name: "add", Args: []byte(`{"a":`)}}}, Finish: "STOP"}}}
	answered(t, t.Context(), newExecutor(t, setup{model: m, tools: []tools.Tool{add(&calls)}}), message())
	if sent := m.seen[1].History[1].Parts[0].Call.Args; string(sent) != "{}" || len(calls) != 0 {
		t.Errorf("sent back %q, calls %v", sent, calls)
	}
}

func TestThousandCalls(t *testing.T) {
	var calls []string
	var asked []*genai.FunctionCall
	for range 1000 {
		asked = append(asked, call("add", map[string]any{"a": 1, "b": 1}))
	}
	script := scripts.Record(func(context.Context, standin.Request) standin.Reply { return standin.Call(asked...) })
	limits := defaults()
	limits.Steps, limits.TurnTokens = 3, 1_000_000
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{add(&calls)}, limits: limits}), message())
	if r.state() != a2a.TaskStateFailed || len(calls) != 3*16 {
		t.Errorf("got %v, %v after %d calls", r.state(), r.err, len(calls))
	}
	if results := script.Requests()[1].Contents[2].Parts; len(results) != 1000 || results[16].FunctionResponse.Response["error"] == nil {
		t.Errorf("%d results", len(results))
	}
}

func TestConversationIsBounded(t *testing.T) {
	big := tools.New("big", "Says much.", func(context.Context, struct{}) (string, error) { return strings.Repeat("x", 60<<10), nil })
	var asked []*genai.FunctionCall
	for range 16 {
		asked = append(asked, call("big", nil))
	}
	script := scripts.Record(func(context.Context, standin.Request) standin.Reply { return standin.Call(asked...) })
	limits := defaults()
	limits.Steps, limits.TurnTokens = 200, 1_000_000
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{big}, limits: limits}), message())
	if n := len(script.Requests()); r.state() != a2a.TaskStateFailed || n > 12 {
		t.Errorf("got %v, %v after %d steps", r.state(), r.err, n)
	}
}

func TestAsk(t *testing.T) {
	var keys []string
	reply := standin.Call(call("note", map[string]any{"text": "before"}), call("ask", map[string]any{"question": " Which one? "}))
	reply.Chunks = append(unfinished(standin.Text("There are two.").Chunks), reply.Chunks...)
	script := scripts.New(reply)
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{note(&keys)}}), message())
	if r.state() != a2a.TaskStateInputRequired || r.says() != "There are two.\n\nWhich one?" || r.text != "" || !r.whole || len(r.events) != 3 {
		t.Errorf("got %v %q %q (whole: %v), %v", r.state(), r.says(), r.text, r.whole, r.err)
	}
	if m := r.final.Status.Message; m == nil || m.ID != "task-t1-end" || m.Role != a2a.MessageRoleAgent {
		t.Errorf("the question: %+v", m)
	}
	if len(keys) != 0 {
		t.Error("a tool was called although the answer is missing")
	}
	if r.final.Metadata["usage"] == nil {
		t.Error("no usage")
	}
}

func TestAskInSecondTurn(t *testing.T) {
	script := scripts.New(standin.Call(call("ask", map[string]any{"question": "And now?"})))
	ec := message()
	m2 := user("m2", text("The first."))
	ec.StoredTask.History = append(ec.StoredTask.History, &a2a.Message{Role: a2a.MessageRoleAgent, Parts: a2a.ContentParts{text("Which one?")}}, m2)
	ec.Message = m2
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), ec)
	if r.says() != "And now?" || r.final.Status.Message.ID != "task-t2-end" {
		t.Errorf("got %v, %v", r.final, r.err)
	}
	want := "user: Hello\nmodel: Which one?\nuser: The first."
	if diff := cmp.Diff(want, plain(script.Requests()[0].Contents)); diff != "" {
		t.Errorf("contents of the request (-want +got):\n%s", diff)
	}
}

func TestNoListenerNoEffect(t *testing.T) {
	var keys []string
	script := scripts.New(standin.Call(call("note", map[string]any{"text": "a"})))
	for range newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{note(&keys)}}).Execute(t.Context(), message()) {
		break
	}
	if len(keys) != 0 {
		t.Error("called although the listener went away")
	}
}

func TestToolOutlivesItsTurn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var called atomic.Int32
	slow := tools.New("slow", "Takes long.", func(ctx context.Context, _ struct{}) (int, error) {
		if called.Add(1) == 2 {
			cancel()
		}
		<-ctx.Done()
		return 0, ctx.Err()
	})
	script := scripts.New(standin.Call(call("slow", nil), call("slow", nil)), standin.Text("Done."))
	r := answered(t, ctx, newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{slow}}), message())
	if !errors.Is(r.err, context.Canceled) || called.Load() != 2 {
		t.Errorf("got %v, %v after %d calls", r.state(), r.err, called.Load())
	}
}

// A call knows its task, its turn and its key.
func TestCallsKnowTheirTask(t *testing.T) {
	got := map[string]tools.Info{}
	var mu sync.Mutex
	see := func(name string) func(ctx context.Context, _ struct{}) (int, error) {
		return func(ctx context.Context, _ struct{}) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			got[name] = tools.InfoFrom(ctx)
			return 0, nil
		}
	}
	script := scripts.New(standin.Call(call("look", nil), call("act", nil)), standin.Text("Done."))
	e := newExecutor(t, setup{model: scripted(t, script), tools: []tools.Tool{tools.New("look", "Looks.", see("look")), tools.New("act", "Acts.", see("act"), tools.Effects())}})
	ec := message()
	ec.User = a2asrv.NewAuthenticatedUser("acme/ci", nil)
	if r := answered(t, run.With(t.Context(), run.Run{Turn: 3}), e, ec); r.state() != a2a.TaskStateCompleted {
		t.Fatalf("got %v, %v", r.state(), r.err)
	}

	want := map[string]tools.Info{
		"look": {Task: "task", Context: "ctx", Turn: 3, Caller: "acme/ci", Key: "task/1.1", Attempt: 1},
		"act":  {Task: "task", Context: "ctx", Turn: 3, Caller: "acme/ci", Key: "task/1.2", Attempt: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A call with effects never ends within its time limit. It is made again with its key, but the
// runs that bring nothing end the turn, long before its age does, and the end names the call.
func TestCallThatNeverEnds(t *testing.T) {
	s := newSite(t)
	s.lease = 30 * time.Minute // the clock jumps
	began := 0
	hang := tools.New("hang", "Never ends.", func(ctx context.Context, _ struct{}) (string, error) {
		began++
		s.mu.Lock()
		s.now = s.now.Add(29 * time.Minute / 6)
		s.mu.Unlock()
		<-ctx.Done()
		return "", ctx.Err()
	}, tools.Effects(), tools.TimeLimit(time.Millisecond))
	s.setup = setup{model: scripted(t, scripts.New(standin.Call(call("hang", nil)))), tools: []tools.Tool{hang}}

	r := s.until(s.send("m1", "Go.", "").ID())
	said := r.Task.Status.Message.Parts[0].Text()
	if r.State() != a2a.TaskStateFailed || !strings.Contains(said, "longer than one run") || !strings.Contains(said, "hang (key ") {
		t.Errorf("%s, %q", r.State(), said)
	}
	if most := 6 * (s.Rules.Attempts + 1); began > most {
		t.Errorf("made %d times, want at most %d", began, most)
	}
}

// The largest steps, with the largest results, fit into their entries. The model is paid once, and
// no call is made again. A larger reply ends the turn.
func TestLargestSteps(t *testing.T) {
	for _, n := range []int{1, 16, maxParts} {
		for _, size := range []int{150 << 10, 250 << 10, 300 << 10, 390 << 10, 410 << 10} {
			t.Run(fmt.Sprintf("%d calls, %d bytes", n, size), func(t *testing.T) {
				s := newSite(t)
				type in struct {
					X string `json:"x"`
				}
				big := tools.New("big", "Says much.", func(context.Context, in) (string, error) { return strings.Repeat("x", 60<<10), nil }, tools.Effects())

				asks := 0
				script := scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
					if r.Op != standin.OpStream {
						return standin.Text("1")
					}
					if len(r.Contents) > 2 {
						return standin.Text("Done.")
					}

					asks++
					calls := make([]*genai.FunctionCall, n)
					for i := range calls {
						calls[i] = &genai.FunctionCall{ID: fmt.Sprint("the call ", i), Name: "big", Args: map[string]any{"x": strings.Repeat("y", size/n)}}
					}
					return standin.Call(calls...)
				})

				limits := defaults()
				limits.TurnTokens = 10_000_000
				s.setup = setup{model: scripted(t, script), tools: []tools.Tool{big}, limits: limits}

				r := s.until(s.send("m1", "Go.", "").ID())
				fits := r.State() == a2a.TaskStateCompleted
				if asks != 1 || r.Epoch != 1 || !fits && !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "too large arguments") {
					t.Errorf("%s after %d replies in %d runs: %+v", r.State(), asks, r.Epoch, r.Task.Status.Message)
				}
				if want := n <= 16 && size < 400<<10; want && !fits || size > 400<<10 && fits {
					t.Errorf("%s", r.State())
				}
			})
		}
	}
}

const maxParts = 1024 // calls of a step, at most
