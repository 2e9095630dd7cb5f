package executor_test

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/genai"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/lab/scripts"
	"errand/shared/model"
	"errand/shared/secret"
	"errand/shared/usage"
	"errand/worker/executor"
	"errand/worker/tools"
)

// A setup holds the parts of the executor that a test changes.
type setup struct {
	limits agent.Limits
	talk   agent.Conversation // zero: the default of the limits
	tools  []tools.Tool
	model  model.Model
	usage  *usage.Meter
	prices *agent.Prices
	log    io.Writer // nil: nothing is logged
}

func defaults() agent.Limits {
	return agent.Limits{Steps: 8, TurnTokens: 30_000, OutputTokens: 2000}
}

// newExecutor makes an executor that may use all tools of s.
func newExecutor(t testing.TB, s setup) *executor.Executor {
	t.Helper()
	if s.limits == (agent.Limits{}) {
		s.limits = defaults()
	}
	def := &agent.Agent{
		Name: "Test", Instructions: "Be brief.", Limits: s.limits, Conversation: s.talk, Prices: s.prices,
		Skills: []agent.Skill{{ID: "count", Description: "Counts things."}},
	}
	for _, tool := range s.tools {
		def.Tools = append(def.Tools, tool.Name())
	}
	var log *slog.Logger
	if s.log != nil {
		log = slog.New(slog.NewTextHandler(s.log, nil))
	}
	e, err := executor.New(executor.Config{Agent: def, Model: s.model, Tools: s.tools, Usage: s.usage, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// scripted is the real client with a script in place of the service.
func scripted(t testing.TB, script *scripts.Script) model.Model {
	t.Helper()
	m, err := gemini.New(t.Context(), gemini.Config{
		Name: "test-model", HTTPClient: standin.New(script.Answer).Client(),
		Key: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte("none")) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// chunks is a model that answers every step with the same chunks.
type chunks struct {
	list []model.Chunk
	err  error // at the end
	seen []model.Request

	tokens  int64 // of each request, as counted
	uncount error // instead of a count
	counted []model.Request
}

func (c *chunks) Name() string                { return "chunks" }
func (c *chunks) Check(context.Context) error { return nil }
func (c *chunks) Count(_ context.Context, r model.Request) (int64, error) {
	c.counted = append(c.counted, r)
	return c.tokens, c.uncount
}
func (c *chunks) Generate(_ context.Context, r model.Request) iter.Seq2[model.Chunk, error] {
	c.seen = append(c.seen, r)
	return func(yield func(model.Chunk, error) bool) {
		for _, chunk := range c.list {
			if !yield(chunk, nil) {
				return
			}
		}
		if c.err != nil {
			yield(model.Chunk{}, c.err)
		}
	}
}

func user(id string, parts ...*a2a.Part) *a2a.Message {
	return &a2a.Message{ID: id, Role: a2a.MessageRoleUser, Parts: parts, TaskID: "task", ContextID: "ctx"}
}

func text(s string) *a2a.Part { return a2a.NewTextPart(s) }

// message is a first message, in the form in which the worker passes it on.
func message(parts ...*a2a.Part) *a2asrv.ExecutorContext {
	if len(parts) == 0 {
		parts = []*a2a.Part{text("Hello")}
	}
	m := user("m1", parts...)
	return &a2asrv.ExecutorContext{
		Message: m, TaskID: "task", ContextID: "ctx",
		StoredTask: &a2a.Task{ID: "task", ContextID: "ctx", History: []*a2a.Message{m}},
	}
}

// A result is a client's view of a turn.
type result struct {
	text   string // text of the answer
	whole  bool   // the last update of the answer was marked
	events []a2a.Event
	final  *a2a.TaskStatusUpdateEvent
	err    error
}

func (r result) state() a2a.TaskState {
	if r.final == nil {
		return ""
	}
	return r.final.Status.State
}

func (r result) says() string {
	if r.final == nil || r.final.Status.Message == nil {
		return ""
	}
	return r.final.Status.Message.Parts[0].Text()
}

// answered runs one turn to its end.
func answered(t testing.TB, ctx context.Context, e *executor.Executor, ec *a2asrv.ExecutorContext) result {
	t.Helper()
	var r result
	begun := false

	for ev, err := range e.Execute(ctx, ec) {
		if r.final != nil || r.err != nil {
			t.Fatalf("yielded after the end: %v, %v", ev, err)
		}

		if err != nil {
			r.err = err
			continue
		}

		r.events = append(r.events, ev)
		switch ev := ev.(type) {
		case *a2a.TaskArtifactUpdateEvent:
			if r.whole {
				t.Fatal("an update came after the last one")
			}

			if !ev.Append {
				r.text = ""
			} else if !begun {
				t.Fatal("an update extends a missing artifact")
			}

			for _, p := range ev.Artifact.Parts {
				r.text += p.Text()
			}

			begun, r.whole = true, ev.LastChunk

		case *a2a.TaskStatusUpdateEvent:
			if ev.Status.State != a2a.TaskStateWorking {
				r.final = ev
			}
		}
	}

	return r
}

// plain makes the contents of a request readable: "role: part | part".
func plain(contents []*genai.Content) string {
	var lines []string
	for _, c := range contents {
		var parts []string
		for _, p := range c.Parts {
			switch {
			case p.FunctionCall != nil:
				parts = append(parts, "call "+p.FunctionCall.Name)
			case p.FunctionResponse != nil:
				b, _ := json.Marshal(p.FunctionResponse.Response)
				parts = append(parts, "result "+p.FunctionResponse.Name+" "+string(b))
			case p.InlineData != nil:
				parts = append(parts, p.InlineData.MIMEType+" "+string(p.InlineData.Data))
			case p.FileData != nil:
				parts = append(parts, p.FileData.MIMEType+" "+p.FileData.FileURI)
			default:
				parts = append(parts, p.Text)
			}
		}
		lines = append(lines, c.Role+": "+strings.Join(parts, " | "))
	}
	return strings.Join(lines, "\n")
}
