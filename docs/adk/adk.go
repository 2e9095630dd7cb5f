// Package adk runs an agent of the Agent Development Kit for Go (ADK) as the executor of Errand,
// so that its conversation, the calls of its tools and its questions survive the death of the
// worker.
//
// A run of a turn begins from the start, as that of every executor does. Each whole reply of the
// model and each result of a tool is a step of the turn (errand/worker/steps), so a later run
// gets to the point where the earlier one died without asking or calling anything again. The
// events of the turn are memos, of which the session of later turns consists.
//
// Copy the package into worker/agent, as README.md says.
package adk

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/adk/v2/agent"
	"google.golang.org/adk/v2/plugin"
	"google.golang.org/adk/v2/runner"
	adka2a "google.golang.org/adk/v2/server/adka2a/v2"
	"google.golang.org/adk/v2/session"
	"google.golang.org/genai"
)

// Config says which agent runs. App and Agent have no default.
type Config struct {
	App     string           // the name of the application, for ADK
	Agent   agent.Agent      // the root of the agents
	Run     agent.RunConfig  // default: replies are not streamed
	Plugins []*plugin.Plugin // called after the one of this package
}

// An executor is ADK's own executor, with the state of a turn in its context.
type executor struct {
	cfg   Config
	inner *adka2a.Executor
}

var (
	_ a2asrv.AgentExecutor         = (*executor)(nil)
	_ a2asrv.AgentExecutionCleaner = (*executor)(nil)
)

// New returns the executor of an agent. It is safe for concurrent use if the agent is.
func New(c Config) (a2asrv.AgentExecutor, error) {
	durable, err := newPlugin()
	if err != nil {
		return nil, err
	}

	run := runner.Config{
		AppName: c.App, Agent: c.Agent, SessionService: Sessions{},
		PluginConfig: runner.PluginConfig{Plugins: append([]*plugin.Plugin{durable}, c.Plugins...)},
	}
	if _, err := runner.New(run); err != nil {
		return nil, fmt.Errorf("adk: %w", err)
	}

	return &executor{cfg: c, inner: adka2a.NewExecutor(adka2a.ExecutorConfig{
		RunnerConfig: run, RunConfig: c.Run, OutputMode: adka2a.OutputArtifactPerEvent,
		GenAIPartConverter:   said,
		AfterExecuteCallback: ended,

		// The frame logs how a run ended.
		A2AExecutionCleanupCallback: func(context.Context, *a2asrv.ExecutorContext, []*a2a.AgentCard, a2a.SendMessageResult, error) {},
	})}, nil
}

// Execute implements a2asrv.AgentExecutor.
func (e *executor) Execute(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		t, err := begin(ctx, e.cfg.App, ec)
		if err != nil {
			yield(nil, err)
			return
		}

		own := *ec
		own.Message = readable(ec.Message)
		message, fault := answer(own.Message, t.open)
		switch {
		case fault != "" && len(t.open) == 0:
			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateRejected, a2a.NewMessageForTask(a2a.MessageRoleAgent, ec, a2a.NewTextPart(fault))), nil)
			return
		case fault != "":
			yield(ask(ec, t.open, fault), nil)
			return
		case message == own.Message:
			t.message = message.ID
		}

		own.Message = message
		for ev, err := range e.inner.Execute(with(ctx, t), &own) {
			if s, ok := ev.(*a2a.TaskStatusUpdateEvent); ok && err == nil && s.Status.State == a2a.TaskStateInputRequired {
				ev = ask(ec, questions(t.events), "")
			}
			if !yield(ev, err) {
				return
			}
		}
	}
}

// Cancel implements a2asrv.AgentExecutor.
func (e *executor) Cancel(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return e.inner.Cancel(ctx, ec)
}

// Cleanup implements a2asrv.AgentExecutionCleaner.
func (e *executor) Cleanup(ctx context.Context, ec *a2asrv.ExecutorContext, result a2a.SendMessageResult, cause error) {
	e.inner.Cleanup(ctx, ec, result, cause)
}

// ended decides what becomes of a turn whose agent has ended, with an error or without one. A
// returned error means that the turn has no outcome in this run.
func ended(ctx adka2a.ExecutorContext, _ *a2a.TaskStatusUpdateEvent, err error) error {
	t := from(ctx)
	switch failed := t.failure(); {
	case failed != nil:
		return failed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && transient(err):
		return away(ctx, err)
	}

	if err := t.save(ctx); err != nil {
		return err
	}
	return err // for the log: its text is not for clients
}

// said leaves calls and their results out of the artifacts: a trace of the task shows the steps.
// A call that waits for its client is in the question.
func said(_ context.Context, ev *session.Event, p *genai.Part) (*a2a.Part, error) {
	if p.FunctionResponse != nil || p.FunctionCall != nil && !slices.Contains(ev.LongRunningToolIDs, p.FunctionCall.ID) {
		return nil, nil
	}
	return adka2a.ToA2APart(p, ev.LongRunningToolIDs)
}
