package adk_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/adk/v2/agent"
	"google.golang.org/adk/v2/agent/llmagent"
	"google.golang.org/adk/v2/model"
	"google.golang.org/adk/v2/tool"
	"google.golang.org/adk/v2/tool/functiontool"
	"google.golang.org/genai"

	"errand/docs/adk"
	"errand/shared/adapters/sqlstore"
	"errand/shared/kv"
	"errand/worker/run"
	"errand/worker/steps"
)

// An inside runs turns of one task in this process, so that a run can end between two writes.
type inside struct {
	t     *testing.T
	mu    sync.Mutex // held while changing made
	kv    kv.Store
	exec  a2asrv.AgentExecutor
	asked int      // requests to the model
	said  string   // the answer of the newest run
	calls int      // in the model's first reply
	made  []string // keys of the calls that were made
	flush func(context.Context) error
	tool  func(agent.Context) error // what the tool does, beside noting its key
}

func newInside(t *testing.T, confirm bool, changes ...func(*llmagent.Config)) *inside {
	db, err := sqlstore.Open(t.Context(), filepath.Join(t.TempDir(), "errand.db"), sqlstore.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })

	in := &inside{t: t, calls: 1, kv: db.KV(), flush: func(context.Context) error { return nil }, tool: func(agent.Context) error { return nil }}
	pay, err := functiontool.New(functiontool.Config{Name: "pay", Description: "Pays.", RequireConfirmation: confirm},
		func(ctx agent.Context, _ struct{}) (map[string]string, error) {
			in.mu.Lock()
			in.made = append(in.made, adk.Key(ctx))
			in.mu.Unlock()
			return map[string]string{"paid": "yes"}, in.tool(ctx)
		})
	if err != nil {
		t.Fatal(err)
	}

	c := llmagent.Config{Name: "cashier", Model: adk.Model(in), Tools: []tool.Tool{pay}}
	for _, change := range changes {
		change(&c)
	}
	root, err := llmagent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if in.exec, err = adk.New(adk.Config{App: "shop", Agent: root}); err != nil {
		t.Fatal(err)
	}
	return in
}

// Name implements model.LLM.
func (*inside) Name() string { return "m" }

// GenerateContent implements model.LLM: it asks for the call, and then tells its result.
func (in *inside) GenerateContent(_ context.Context, r *model.LLMRequest, _ bool) iter.Seq2[*model.LLMResponse, error] {
	in.asked++
	return func(yield func(*model.LLMResponse, error) bool) {
		var parts []*genai.Part
		if last := r.Contents[len(r.Contents)-1].Parts[0]; last.FunctionResponse != nil {
			parts = append(parts, &genai.Part{Text: fmt.Sprint("Result ", last.FunctionResponse.Response)})
		} else {
			if in.calls == 0 {
				parts = append(parts, &genai.Part{Text: "Nothing to pay."})
			}
			for range in.calls {
				parts = append(parts, &genai.Part{FunctionCall: &genai.FunctionCall{Name: "pay"}})
			}
		}
		yield(&model.LLMResponse{Content: &genai.Content{Role: genai.RoleModel, Parts: parts}}, nil)
	}
}

// run runs a turn once, and returns its last event. It is the run of a worker that dies before
// the event is committed, unless the test goes on with the next turn.
func (in *inside) run(turn int, parts ...*a2a.Part) (*a2a.TaskStatusUpdateEvent, error) {
	in.t.Helper()
	const under = "step/task/life/"
	ctx := steps.With(in.t.Context(), steps.Scope{
		KV: in.kv, Prefix: fmt.Sprintf("%st%06d/", under, turn), Memos: fmt.Sprintf("%sx/t%06d/", under, turn),
		Earlier: []steps.Earlier{{Task: "task", Prefix: under + "x/"}},
	})
	ctx = run.With(ctx, run.Run{Turn: turn, Attempt: 1, Task: "task", Flush: in.flush})
	m := &a2a.Message{ID: fmt.Sprint("m", turn), Role: a2a.MessageRoleUser, Parts: parts}
	ec := &a2asrv.ExecutorContext{Message: m, TaskID: "task", ContextID: "talk", StoredTask: &a2a.Task{
		ID: "task", ContextID: "talk", History: []*a2a.Message{m}, Status: a2a.TaskStatus{State: a2a.TaskStateWorking},
	}}

	in.said = ""
	var last *a2a.TaskStatusUpdateEvent
	for ev, err := range in.exec.Execute(ctx, ec) {
		if err != nil {
			return last, err
		}
		if s, ok := ev.(*a2a.TaskStatusUpdateEvent); ok {
			last = s
		}
		if a, ok := ev.(*a2a.TaskArtifactUpdateEvent); ok {
			in.said += a.Artifact.Parts[0].Text()
		}
	}
	return last, nil
}

// A worker that dies after it has stored a question, and before its client has it: the next run
// asks the same question, by the same id, and the answer to it is understood.
func TestQuestionIsTheSameInEveryRun(t *testing.T) {
	in := newInside(t, true)
	var ids []string
	for range 3 {
		asked, err := in.run(1, a2a.NewTextPart("Pay!"))
		if err != nil || asked == nil || asked.Status.State != a2a.TaskStateInputRequired {
			t.Fatalf("%+v, %v", asked, err)
		}
		data, _ := asked.Status.Message.Parts[1].Data().(map[string]any)
		ids = append(ids, fmt.Sprint(data["id"]))
	}
	if ids[0] != ids[1] || ids[1] != ids[2] || in.asked != 1 || len(in.made) != 0 {
		t.Errorf("the questions are %q, after %d requests and the calls %q", ids, in.asked, in.made)
	}

	answer := a2a.NewDataPart(map[string]any{"id": ids[0], "name": "adk_request_confirmation", "response": map[string]any{"confirmed": true}})
	answer.SetMeta("adk_type", "function_response")
	for range 2 {
		if done, err := in.run(2, answer); err != nil || done.Status.State != a2a.TaskStateCompleted {
			t.Errorf("%+v, %v", done, err)
		}
	}
	if len(in.made) != 1 || in.asked != 2 {
		t.Errorf("the calls are %q, after %d requests", in.made, in.asked)
	}
}

// A run that has lost its turn, for example because the task was canceled, makes no call.
func TestLostTurnMakesNoCall(t *testing.T) {
	in := newInside(t, false)
	lost := errors.New("the turn is lost")
	in.flush = func(context.Context) error { return lost }
	if _, err := in.run(1, a2a.NewTextPart("Pay!")); !errors.Is(err, lost) || len(in.made) != 0 || in.asked != 1 {
		t.Errorf("%v, after the calls %q and %d requests", err, in.made, in.asked)
	}

	in.flush = func(context.Context) error { return nil }
	if done, err := in.run(1, a2a.NewTextPart("Pay!")); err != nil || done.Status.State != a2a.TaskStateCompleted || len(in.made) != 1 || in.asked != 2 {
		t.Errorf("%+v, %v, after the calls %q and %d requests", done, err, in.made, in.asked)
	}
}

// A tool that cannot do its work now ends the run with an Again or a Pause, and the model is not
// told of it.
// Another error is a result, in every run.
func TestErrorsOfTools(t *testing.T) {
	in := newInside(t, false)
	in.tool = func(agent.Context) error { return &steps.Again{Err: errors.New("busy")} }
	_, err := in.run(1, a2a.NewTextPart("Pay!"))
	if _, again := errors.AsType[*steps.Again](err); !again {
		t.Errorf("%v, want an Again", err)
	}

	in.tool = func(agent.Context) error { return &run.Pause{For: time.Hour, Err: errors.New("closed")} }
	_, err = in.run(1, a2a.NewTextPart("Pay!"))
	if pause, ok := errors.AsType[*run.Pause](err); !ok || pause.For != time.Hour {
		t.Errorf("%v, want a Pause", err)
	}

	in.tool = func(agent.Context) error { return errors.New("no money") }
	for range 2 {
		if done, err := in.run(1, a2a.NewTextPart("Pay!")); err != nil || done.Status.State != a2a.TaskStateCompleted {
			t.Errorf("%+v, %v", done, err)
		}
	}
	if len(in.made) != 3 || in.made[0] != in.made[1] || in.made[1] != in.made[2] || in.made[0] == "" || in.asked != 2 {
		t.Errorf("the calls are %q, after %d requests", in.made, in.asked)
	}
}

// Of calls that are made side by side, those that have ended are not made again when another one
// ends the run, also if they end after it.
func TestResultsBesideAnAgainAreKept(t *testing.T) {
	in := newInside(t, false)
	in.calls = 2
	var first, second atomic.Value // the keys
	failed := make(chan bool)
	var begun sync.WaitGroup
	begun.Add(2)

	in.tool = func(ctx agent.Context) error {
		begun.Done()
		begun.Wait()
		if first.CompareAndSwap(nil, adk.Key(ctx)) {
			close(failed)
			return &steps.Again{Err: errors.New("busy")}
		}
		<-failed
		second.Store(adk.Key(ctx))
		return nil
	}
	if _, err := in.run(1, a2a.NewTextPart("Pay!")); err == nil {
		t.Error("the run has an outcome")
	}

	in.tool = func(agent.Context) error { return nil }
	done, err := in.run(1, a2a.NewTextPart("Pay!"))
	if err != nil || done.Status.State != a2a.TaskStateCompleted {
		t.Errorf("%+v, %v", done, err)
	}
	if last := in.made[len(in.made)-1]; len(in.made) != 3 || first.Load() == second.Load() || last != first.Load() {
		t.Errorf("the calls are %q; want the one of %v once more", in.made, first.Load())
	}
}

// A puts is a store that counts writes.
type puts struct {
	kv.Store
	n *atomic.Int64
}

func (p puts) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	p.n.Add(1)
	return p.Store.Put(ctx, e)
}

// A turn writes as often as the README says, and a run that only repeats writes nothing.
func TestWrites(t *testing.T) {
	in := newInside(t, false)
	var n atomic.Int64
	in.kv = puts{in.kv, &n}
	for _, tt := range []struct{ turn, calls, want int }{
		{1, 1, 2 + 1 + 3}, // replies, results, memos
		{1, 1, 0},
		{2, 2, 2 + 2 + 3},
		{3, 0, 1 + 1},
	} {
		n.Store(0)
		in.calls = tt.calls
		if _, err := in.run(tt.turn, a2a.NewTextPart("Pay!")); err != nil || n.Load() != int64(tt.want) {
			t.Errorf("turn %d wrote %d times, want %d: %v", tt.turn, n.Load(), tt.want, err)
		}
	}
}

// A tool that waits for its client ends the turn. The text of the next message is its result.
func TestLongRunningTool(t *testing.T) {
	in := newInside(t, false, func(c *llmagent.Config) {
		pay, err := functiontool.New(functiontool.Config{Name: "pay", Description: "Pays.", IsLongRunning: true},
			func(agent.Context, struct{}) (map[string]any, error) { return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		c.Tools = []tool.Tool{pay}
	})
	for range 2 {
		asked, err := in.run(1, a2a.NewTextPart("Pay!"))
		if err != nil || asked.Status.State != a2a.TaskStateInputRequired || asked.Status.Message.Parts[0].Text() != "pay() waits for its result." {
			t.Fatalf("%+v %q, %v", asked, asked.Status.Message.Parts[0].Text(), err)
		}
	}
	done, err := in.run(2, a2a.NewTextPart("It is paid."))
	if err != nil || done.Status.State != a2a.TaskStateCompleted || in.said != "Result map[response:It is paid.]" || in.asked != 2 {
		t.Errorf("%+v, %v, says %q after %d requests", done, err, in.said, in.asked)
	}
}

// The callbacks of the agent run in every run, and see the same: after a crash the turn says what
// it would have said.
func TestCallbacksRunInEveryRun(t *testing.T) {
	replies, results := 0, 0
	in := newInside(t, false, func(c *llmagent.Config) {
		c.AfterModelCallbacks = []llmagent.AfterModelCallback{func(_ agent.Context, r *model.LLMResponse, _ error) (*model.LLMResponse, error) {
			replies++
			for _, p := range r.Content.Parts {
				if p.Text != "" {
					p.Text += "!"
				}
			}
			return r, nil
		}}
		c.AfterToolCallbacks = []llmagent.AfterToolCallback{func(_ agent.Context, _ tool.Tool, _, result map[string]any, err error) (map[string]any, error) {
			results++
			return map[string]any{"told": fmt.Sprint(result, err)}, nil
		}}
	})
	in.tool = func(agent.Context) error { return errors.New("no money") }

	for n := range 2 {
		done, err := in.run(1, a2a.NewTextPart("Pay!"))
		if err != nil || done.Status.State != a2a.TaskStateCompleted || in.said != "Result map[told:map[] no money]!" {
			t.Errorf("run %d: %+v, %v, says %q", n, done, err, in.said)
		}
	}
	if replies != 4 || results != 2 || in.asked != 2 || len(in.made) != 1 {
		t.Errorf("the callbacks saw %d replies and %d results, of %d requests and the calls %q", replies, results, in.asked, in.made)
	}
}

// An agent whose model is not durable makes no call: the next run would make another one.
func TestModelMustBeDurable(t *testing.T) {
	var in *inside
	in = newInside(t, false, func(c *llmagent.Config) { c.Model = bare{func() *inside { return in }} })
	if _, err := in.run(1, a2a.NewTextPart("Pay!")); err == nil || !strings.Contains(err.Error(), "cashier") || !strings.Contains(err.Error(), "adk.Model") || len(in.made) > 0 {
		t.Errorf("%v, after the calls %q", err, in.made)
	}
}

// A bare is a model that is not durable.
type bare struct{ of func() *inside }

func (bare) Name() string { return "m" }

func (b bare) GenerateContent(ctx context.Context, r *model.LLMRequest, stream bool) iter.Seq2[*model.LLMResponse, error] {
	return b.of().GenerateContent(ctx, r, stream)
}

// State lasts through the turns of a conversation, but for that of one run. State that belongs to
// no task is refused, with a remedy for the log.
func TestState(t *testing.T) {
	in := newInside(t, false)
	set := func(name string) func(agent.Context) error {
		return func(ctx agent.Context) error { return ctx.State().Set(name, "x") }
	}
	for n, name := range []string{"colour", "temp:colour"} {
		in.tool = set(name)
		if done, err := in.run(n+1, a2a.NewTextPart("Pay!")); err != nil || done.Status.State != a2a.TaskStateCompleted {
			t.Fatalf("%+v, %v", done, err)
		}
	}

	first, err := in.kv.List(t.Context(), "step/task/life/x/t000001/", "", 10) // the turn that set it is deleted
	for _, e := range first {
		err = errors.Join(err, in.kv.Delete(t.Context(), e.Key, 0))
	}
	if err != nil || len(first) == 0 {
		t.Fatalf("%d memos, %v", len(first), err)
	}

	found := map[string]any{}
	in.tool = func(ctx agent.Context) error {
		for name, value := range ctx.State().All() {
			found[name] = value
		}
		return nil
	}
	if _, err := in.run(3, a2a.NewTextPart("Pay!")); err != nil || len(found) != 1 || found["colour"] != "x" {
		t.Errorf("the state is %v, %v", found, err)
	}

	for n, name := range []string{"user:name", "app:name"} {
		in.tool = set(name)
		if _, err := in.run(4+n, a2a.NewTextPart("Pay!")); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "service of your own") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
