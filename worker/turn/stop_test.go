package turn_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/genai"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/kv"
	"errand/shared/lab/scripts"
	"errand/shared/secret"
	"errand/worker/executor"
	"errand/worker/tools"
	"errand/worker/turn"
)

// shipped is the shipped executor with tools, and a model that makes the calls once.
func shipped(t *testing.T, all []tools.Tool, calls ...*genai.FunctionCall) *executor.Executor {
	script := scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
		for _, c := range r.Contents {
			for _, p := range c.Parts {
				if p.FunctionResponse != nil {
					return standin.Text("Done.")
				}
			}
		}
		if len(calls) == 0 {
			return standin.Text("Done.")
		}
		return standin.Call(calls...)
	})

	m, err := gemini.New(t.Context(), gemini.Config{
		Name: "test-model", HTTPClient: standin.New(script.Answer).Client(),
		Key: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte("none")) },
	})
	if err != nil {
		t.Fatal(err)
	}

	var names []string
	for _, tool := range all {
		names = append(names, tool.Name())
	}

	ex, err := executor.New(executor.Config{Model: m, Tools: all, Agent: &agent.Agent{
		Name: "Test", Tools: names, Limits: agent.Limits{Steps: 8, TurnTokens: 30_000, OutputTokens: 2000},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return ex
}

// A call with effects goes on for a moment when the process stops. Its reports reach nobody any
// more, and neither take its result away nor become one.
func TestReportsWhileTheProcessStops(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report func(context.Context) error
		result bool // is stored
	}{
		{"texts", func(ctx context.Context) error {
			return errors.Join(tools.Progress(ctx, "half way"), tools.Progress(ctx, "done"))
		}, true},
		{"an artifact that is given up", func(ctx context.Context) error {
			_ = tools.Artifact(ctx, &a2a.Artifact{Parts: a2a.ContentParts{a2a.NewTextPart("receipt")}})
			return nil
		}, true},
		{"an artifact", func(ctx context.Context) error {
			return tools.Artifact(ctx, &a2a.Artifact{Parts: a2a.ContentParts{a2a.NewTextPart("receipt")}})
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil)
			stopped := make(chan struct{})
			look := tools.New("look", "Looks.", func(ctx context.Context, _ struct{}) (string, error) {
				b.worker.Drain()
				<-ctx.Done()
				close(stopped)
				return "", ctx.Err()
			})
			refund := tools.New("refund", "Refunds.", func(ctx context.Context, _ struct{}) (string, error) {
				<-stopped
				return "refunded", tt.report(ctx)
			}, tools.Effects())
			b.configure(shipped(t, []tools.Tool{look, refund}, &genai.FunctionCall{Name: "refund"}, &genai.FunctionCall{Name: "look"}), func(*turn.Config) {})

			id := b.send("m", "refund", "").ID()
			b.deliver(id, "j", 0)
			e, err := b.Store.KV().Get(t.Context(), b.Load(id).StepKey(1))
			if tt.result == errors.Is(err, kv.ErrNotFound) {
				t.Errorf("the result: %s, %v", e.Value, err)
			}
		})
	}
}

// A seen is an executor whose newest run is known.
type seen struct {
	a2asrv.AgentExecutor
	run context.Context
}

func (s *seen) Execute(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	s.run = ctx
	return s.AgentExecutor.Execute(ctx, ec)
}

// A stopping is a kv store to which the process stops at a first Put.
type stopping struct {
	kv.Store
	stop func()
}

func (s *stopping) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	s.stop()
	if err := ctx.Err(); err != nil {
		return kv.Entry{}, err
	}
	return s.Store.Put(ctx, e)
}

// The process stops while the result of a call is written. The result is stored all the same.
func TestProcessStopsWhileAResultIsStored(t *testing.T) {
	b := newBench(t, nil)
	refund := tools.New("refund", "Refunds.", func(context.Context, struct{}) (string, error) { return "refunded", nil }, tools.Effects(), tools.KeepsKeys(0))
	ex := &seen{AgentExecutor: shipped(t, []tools.Tool{refund}, &genai.FunctionCall{Name: "refund"})}
	b.configure(ex, func(c *turn.Config) {
		c.KV = &stopping{c.KV, func() {
			b.worker.Drain()
			<-ex.run.Done()
		}}
	})

	id := b.send("m", "refund", "").ID()
	b.deliver(id, "j", 0)
	if _, err := b.Store.KV().Get(t.Context(), b.Load(id).StepKey(1)); err != nil {
		t.Errorf("the result: %v", err)
	}
}

// The process stops after a call has asked to wait, and before the calls beside it have ended.
// The record knows of the wait: the call is not in doubt.
func TestProcessStopsBesideAWait(t *testing.T) {
	b := newBench(t, nil)
	asked := make(chan struct{})
	await := tools.New("await", "Waits.", func(context.Context, struct{}) (string, error) {
		defer close(asked)
		return "", tools.Later(b.clock().Add(time.Hour))
	}, tools.Effects())
	slow := tools.New("slow", "Takes long.", func(ctx context.Context, _ struct{}) (string, error) {
		<-asked
		b.worker.Drain()
		<-ctx.Done()
		return "", ctx.Err()
	})
	b.configure(shipped(t, []tools.Tool{await, slow}, &genai.FunctionCall{Name: "await"}, &genai.FunctionCall{Name: "slow"}), func(*turn.Config) {})

	id := b.send("m", "wait", "").ID()
	b.deliver(id, "j", 0)
	r := b.Load(id)
	if c := r.Step.Calls[0]; !c.Wait.Equal(b.clock().Add(time.Hour)) || !r.Wake.Equal(b.clock()) {
		t.Errorf("it waits until %v, and the turn until %v; now it is %v", c.Wait, r.Wake, b.clock())
	}
}
