package push_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/cardserver/push"
	"errand/cardserver/trace"
	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/kv"
	"errand/shared/lab/scripts"
	base "errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/secret"
	"errand/shared/task"
	"errand/worker/executor"
	"errand/worker/steps"
	"errand/worker/tools"
	"errand/worker/turn"
)

type echoed struct {
	Text string `json:"text"`
}

// A silent bus is one that nothing listens to.
type silent struct{}

func (silent) Publish(context.Context, ...bus.Event) error { return nil }

// working makes a worker on the world's store, whose model gives the replies.
func (w *world) working(all []tools.Tool, replies ...standin.Reply) http.Handler {
	w.t.Helper()
	m, err := gemini.New(w.t.Context(), gemini.Config{
		Name: "test-model", HTTPClient: standin.New(scripts.New(replies...).Answer).Client(),
		Key: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte("none")) },
	})
	if err != nil {
		w.t.Fatal(err)
	}

	def := &agent.Agent{
		Name: "Test", Instructions: "Be brief.", Skills: []agent.Skill{{ID: "x", Description: "X."}},
		Limits: agent.Limits{Steps: 300, TurnTokens: 100_000_000, OutputTokens: 2000},
	}
	for _, tool := range all {
		def.Tools = append(def.Tools, tool.Name())
	}
	e, err := executor.New(executor.Config{Agent: def, Model: m, Tools: all})
	if err != nil {
		w.t.Fatal(err)
	}
	return turn.New(turn.Config{Desk: w.Desk(w.Store), Store: w.Store, KV: w.Store.KV(), Bus: silent{}, Executor: e, Log: w.Log})
}

// send accepts a message of alice, and returns the task's id.
func (w *world) send(text, taskID string) string {
	w.t.Helper()
	r, err := w.Desk(w.Store).Accept(w.t.Context(), desk.Message{Owner: alice, Message: &a2a.Message{
		ID: "m-" + text, TaskID: a2a.TaskID(taskID), Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID()
}

// deliver gives a worker the job of a task.
func (w *world) deliver(worker http.Handler, id string) {
	w.t.Helper()
	req := httptest.NewRequest("POST", queue.PathTurn, strings.NewReader(string(queue.Job{Task: id}.Body())))
	req.Header.Set(queue.HeaderQueue, task.Turns)
	req.Header.Set(queue.HeaderName, "job-"+id)
	rec := httptest.NewRecorder()
	worker.ServeHTTP(rec, req)
	if rec.Code != http.StatusNoContent {
		w.t.Fatalf("the job is answered %d", rec.Code)
	}
}

// text is the field text of a content.
func text(c *trace.Content) string {
	var v echoed
	_ = json.Unmarshal(c.Value, &v)
	return v.Text
}

func call(name string, args map[string]any) *genai.FunctionCall {
	return &genai.FunctionCall{Name: name, Args: args}
}

// tracesOf are all pages of a trace.
func tracesOf(w *world, id string) (all []trace.Trace) {
	w.t.Helper()
	after := ""
	for {
		t := want[trace.Trace](w, 200, alice, "GET", "/tasks/"+id+"/trace"+after, "")
		all = append(all, t)
		if t.Next == "" {
			return all
		}
		if len(all) > 1000 {
			w.t.Fatal("the pages do not end")
		}
		after = "?after=" + t.Next
	}
}

// A real task, by the real worker: its trace has the turn, the run, the step, the call with
// arguments and result, the tokens, and not the text of the message.
func TestTraceOfATask(t *testing.T) {
	w := newWorld(t)
	echo := tools.New("echo", "Repeats.", func(ctx context.Context, in echoed) (echoed, error) {
		return steps.Do(ctx, "part <1>", func(context.Context) (echoed, error) { return in, nil })
	})
	worker := w.working([]tools.Tool{echo}, standin.Call(call("echo", map[string]any{"text": "&é"})), standin.Text("done"))
	id := w.send("the-secret-question", "")

	before := want[trace.Trace](w, 200, alice, "GET", "/tasks/"+id+"/trace", "")
	if before.Done || before.Wait == nil || before.Wait.For != trace.WaitWorker || len(before.Steps)+len(before.Runs) > 0 || before.Next != "" {
		t.Errorf("before its first run: %+v", before)
	}

	w.deliver(worker, id)
	if rec := w.ask(alice, "GET", "/tasks/"+id+"/trace", ""); strings.Count(rec.Body.String(), "the-secret-question") != 1 { // in its id
		t.Errorf("the trace has the message: %s", rec.Body)
	}

	all := tracesOf(w, id)
	got := all[0]
	if !got.Done || got.State != "TASK_STATE_COMPLETED" || got.Wait != nil || got.StepCount != 1 || len(got.Steps) != 1 || got.UnknownRuns != 0 {
		t.Fatalf("trace %+v", got)
	}
	if u := got.Turns; len(u) != 1 || u[0].Message != "m-the-secret-question" || u[0].State != trace.TurnEnded || u[0].BegunAt == nil || u[0].Spent.Replies != 2 {
		t.Errorf("turns %+v", u)
	}
	if r := got.Runs; len(r) != 1 || r[0].End != trace.RunEnded || r[0].BegunAt == nil || r[0].EndedAt == nil {
		t.Errorf("runs %+v", r)
	}
	if got.Spent.Replies != 2 || got.Spent.Tokens() == 0 || got.Spent.Price != nil {
		t.Errorf("spent %+v", got.Spent)
	}

	s := got.Steps[0]
	if s.Number != 1 || !s.Known || s.Open || s.Turn != 1 || s.Run != 1 || s.Model != "test-model" || s.Spent.Replies != 1 || len(s.Calls) != 1 {
		t.Fatalf("step %+v", s)
	}
	c := s.Calls[0]
	if c.Name != "echo" || c.State != trace.CallDone || text(c.Args) != "&é" || !strings.Contains(string(c.Result.Value), `"text":"&é"`) ||
		c.BegunAt == nil || c.ResultAt == nil || c.Key != w.Load(id).CallKey(1, 0) {
		t.Errorf("call %+v %s %s", c, c.Args.Value, c.Result.Value)
	}

	var results []trace.Result
	for _, p := range all {
		results = append(results, p.Results...)
	}
	if len(results) != 1 || results[0].Name != "1.1 part <1>" || results[0].Turn != 1 || text(results[0].Result) != "&é" {
		t.Errorf("results %+v", results)
	}
}

// A trace is its owner's alone. For everybody else, an operator included, the task does not
// exist, as one that never did. Its owner reads that it was deleted.
func TestTraceIsItsOwners(t *testing.T) {
	w := newWorld(t)
	w.ended(alice, "t1")
	never := w.ask(bob, "GET", "/tasks/none/trace", "")
	if never.Code != http.StatusNotFound {
		t.Errorf("an unknown task: %d %s", never.Code, never.Body)
	}
	same := func(when string) {
		for _, other := range []string{bob, ops} {
			if got := w.ask(other, "GET", "/tasks/t1/trace", ""); got.Code != never.Code || got.Body.String() != never.Body.String() {
				t.Errorf("%s, %s: %d %s", other, when, got.Code, got.Body)
			}
		}
	}

	same("before")
	if got := w.ask(alice, "GET", "/tasks/t1/trace", ""); got.Code != http.StatusOK {
		t.Errorf("its owner: %d %s", got.Code, got.Body)
	}
	if got := w.ask(alice, "DELETE", "/tasks/t1", ""); got.Code != http.StatusNoContent {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	same("afterwards")
	if got := w.ask(alice, "GET", "/tasks/t1/trace", ""); got.Code != http.StatusNotFound || !strings.Contains(got.Body.String(), "deleted") {
		t.Errorf("its owner, afterwards: %d %s", got.Code, got.Body)
	}
	if got := w.ask(alice, "POST", "/tasks/t1/trace", ""); got.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.Code)
	}
}

// The trace names the origin of a webhook alone, since its URL may be a secret, and no cause
// of a failure that only operators may see.
func TestTraceOfDeliveries(t *testing.T) {
	w := newWorld(t)
	w.dead(alice, "t1")
	w.ended(alice, "t2")
	rec := w.ask(alice, "GET", "/tasks/t1/trace", "")
	if strings.Contains(rec.Body.String(), "/x") || strings.Contains(rec.Body.String(), "sealed") || strings.Contains(rec.Body.String(), "connection") {
		t.Errorf("the trace shows a secret: %s", rec.Body)
	}

	d := want[trace.Trace](w, 200, alice, "GET", "/tasks/t1/trace", "").Deliveries
	if len(d) != 1 || d[0].Origin != "https://hooks.example.com" || d[0].State != "dead" || d[0].Notes != 2 || d[0].Sent != 1 || d[0].NextAt != nil ||
		len(d[0].Attempts) != 2 || d[0].Attempts[1].Error != "DELIVERY_FAILED" || d[0].Attempts[0].Status != 200 {
		t.Errorf("deliveries %+v", d)
	}
	if d := want[trace.Trace](w, 200, alice, "GET", "/tasks/t2/trace", "").Deliveries; len(d) != 1 || d[0].State != "active" || d[0].NextAt == nil {
		t.Errorf("deliveries %+v", d)
	}
}

// A running task shows its open step on the first page, with the call that runs.
func TestTraceOfARunningTask(t *testing.T) {
	w := newWorld(t)
	begun, end := make(chan struct{}), make(chan struct{})
	slow := tools.New("slow", "Waits.", func(ctx context.Context, in echoed) (echoed, error) {
		close(begun)
		<-end
		return in, nil
	}, tools.Effects())
	quick := tools.New("quick", "Repeats.", func(_ context.Context, in echoed) (echoed, error) { return in, nil })
	worker := w.working([]tools.Tool{slow, quick},
		standin.Call(call("quick", map[string]any{"text": "go"})), standin.Call(call("slow", map[string]any{"text": strings.Repeat("a", 70<<10)})), standin.Text("done"))
	id := w.send("go", "")

	over := make(chan struct{})
	go func() {
		defer close(over)
		w.deliver(worker, id)
	}()
	<-begun

	got := want[trace.Trace](w, 200, alice, "GET", "/tasks/"+id+"/trace", "")
	if got.Done || got.Wait != nil || len(got.Runs) != 1 || got.Runs[0].End != trace.RunRunning || got.Runs[0].EndedAt != nil || got.Turns[0].State != trace.TurnOpen {
		t.Errorf("trace %+v", got)
	}
	if len(got.Steps) != 2 || got.Steps[0].Open || !got.Steps[1].Open {
		t.Fatalf("steps %+v", got.Steps)
	}
	c := got.Steps[1].Calls[0]
	if c.State != trace.CallRunning || !c.Effects || c.Result != nil || c.ResultAt != nil || c.Args == nil || !c.Args.Cut || c.Args.Bytes < 70<<10 {
		t.Errorf("call %+v", c)
	}

	since := want[trace.Trace](w, 200, alice, "GET", "/tasks/"+id+"/trace?after=1", "")
	if len(since.Steps) != 1 || since.Steps[0].Number != 2 || since.Steps[0].Calls[0].Args.Bytes != c.Args.Bytes {
		t.Errorf("after step 1: %+v", since.Steps)
	}
	close(end)
	<-over
	if got := want[trace.Trace](w, 200, alice, "GET", "/tasks/"+id+"/trace", ""); !got.Done || len(got.Steps) != 2 || got.Steps[1].Open || got.Steps[1].Calls[0].Args.Bytes != c.Args.Bytes {
		t.Errorf("afterwards %+v", got)
	}
}

// Large results are cut, and say how large they are: an answer stays small.
func TestTraceIsBounded(t *testing.T) {
	w := newWorld(t)
	large := tools.New("large", "Says much.", func(context.Context, echoed) (echoed, error) {
		return echoed{strings.Repeat("é\"", 16_000)}, nil
	})
	var calls []*genai.FunctionCall
	for range 16 {
		calls = append(calls, call("large", map[string]any{"text": "go"}))
	}
	worker := w.working([]tools.Tool{large}, standin.Call(calls...), standin.Text("done"))
	id := w.send("go", "")
	w.deliver(worker, id)

	rec := w.ask(alice, "GET", "/tasks/"+id+"/trace", "")
	if n := rec.Body.Len(); n > 512<<10 {
		t.Errorf("the answer has %d bytes", n)
	}
	cut := 0
	for _, c := range tracesOf(w, id)[0].Steps[0].Calls {
		if c.Result.Cut {
			cut++
			if c.Result.Bytes < 62<<10 || len(c.Result.Begin) > trace.MaxContent || len(c.Result.Begin) < trace.MaxContent-4 || c.Result.Value != nil {
				t.Errorf("%d bytes of a result of %d", len(c.Result.Begin), c.Result.Bytes)
			}
		}
	}
	if cut < 4 {
		t.Errorf("%d results are cut: %s", cut, rec.Body)
	}
}

// Many steps come in pages, each step once and in order, also those of which nothing is kept.
func TestTraceInPages(t *testing.T) {
	w := newWorld(t)
	const many = 256
	base.Accept(t, w.Store, w.Moment(), task.Acceptance{ID: "t1", Owner: alice, Life: "life"})
	r := base.Claim(t, w.Store, "t1", w.Moment(), time.Minute)
	for n := 1; n <= many; n++ {
		r = base.Update(t, w.Store, "t1", func(r task.Record) (task.Record, bool, error) {
			return r.OpenStep(w.Moment(), task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Step{Number: n, Calls: []task.Call{{Name: "x"}}}, []int{0})
		})
		if n == 7 {
			continue // its entry was lost
		}

		k, _ := task.Kept{Step: *r.Step}.Merge(map[int]task.Result{0: {Value: json.RawMessage(fmt.Sprintf(`{"n":"%0*d"}`, 3000, n)), At: w.Now()}})
		text, err := k.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Store.KV().Put(t.Context(), kv.Entry{Key: r.StepKey(n), Owner: alice, Value: text}); err != nil {
			t.Fatal(err)
		}
	}

	next, pages := 1, tracesOf(w, "t1")
	for _, p := range pages {
		for _, s := range p.Steps {
			if s.Number != next || s.Known != (next != 7) || s.Open {
				t.Fatalf("step %+v, want %d", s, next)
			}
			next++
		}
		if len(p.Steps) > trace.MaxEntries+1 { // one of them has no entry
			t.Errorf("a page of %d steps", len(p.Steps))
		}
	}
	if next != many+1 || len(pages) < 3 || len(pages) > 6 {
		t.Errorf("%d steps in %d pages", next-1, len(pages))
	}
}

// What calls hold stands in no log, whatever happens.
func TestTraceLeavesNoContentInLogs(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	w.config.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var lines *bytes.Buffer
	w.Handler, lines = base.Audited(push.New(w.config))

	base.Accept(t, w.Store, w.Moment(), task.Acceptance{ID: "t1", Owner: alice, Life: "life"})
	base.Claim(t, w.Store, "t1", w.Moment(), time.Minute)

	r := base.Update(t, w.Store, "t1", func(r task.Record) (task.Record, bool, error) {
		return r.OpenStep(w.Moment(), task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Step{Number: 1, Calls: []task.Call{{Name: "x", Args: json.RawMessage(`{"a":"canary"}`)}}}, nil)
	})

	for _, value := range []string{`{"canary`, `{"n":"canary"}`, `"canary"`} {
		e := kv.Entry{Key: r.StepKey(1), Owner: alice, Value: []byte(value)}
		if old, err := w.Store.KV().Get(t.Context(), e.Key); err == nil {
			e.Version = old.Version
		}
		if _, err := w.Store.KV().Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if rec := w.ask(alice, "GET", "/tasks/t1/trace", ""); rec.Code != http.StatusOK || strings.Count(rec.Body.String(), "canary") != 1 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	}

	w.ask(alice, "GET", "/tasks/t1/trace?after=canary", "")
	w.ask(alice, "GET", "/tasks/t1/trace?canary=1", "")
	if strings.Contains(log.String()+lines.String(), "canary") {
		t.Errorf("the log has content: %s%s", &log, lines)
	}
}
