// Package executor is the agent that is shipped: it answers a message with the model, the
// instructions and skills of agent.yaml, the conversation so far and the tools that the
// definition allows.
//
// It is an ordinary a2asrv.AgentExecutor and knows nothing of records, queues and leases:
// worker/turn runs it, or any other executor, and makes its events durable. The model is
// not trusted: the executor decides which effects the model may cause, independently of the
// model's text.
package executor

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/agent"
	"errand/shared/model"
	"errand/shared/usage"
	"errand/worker/gate"
	"errand/worker/run"
	"errand/worker/tools"
)

// Config holds the parts of an Executor. Tools, Usage and Log are optional: without Usage no
// caller has a limit of tokens a day, and without Log nothing is logged.
type Config struct {
	Agent *agent.Agent
	Model model.Model
	Tools []tools.Tool // all tools; the model is offered those that Agent names
	Usage *usage.Meter // counts the tokens of each caller
	Log   *slog.Logger
}

// Executor answers messages. It is safe for concurrent use.
type Executor struct {
	limits  agent.Limits
	talk    agent.Conversation
	prices  *agent.Prices
	model   *gate.Gate
	system  string
	offered []model.Tool
	tools   map[string]tools.Tool
	usage   *usage.Meter
	objects bool // the model reads objects of buckets
	log     *slog.Logger
}

var (
	_ a2asrv.AgentExecutor = (*Executor)(nil)
	_ run.Admitter         = (*Executor)(nil)
	_ run.Counter          = (*Executor)(nil)
)

// New returns an Executor. It refuses tools that cannot work, and a definition that names
// tools which do not exist.
func New(c Config) (*Executor, error) {
	known := map[string]tools.Tool{}
	for _, t := range c.Tools {
		if err := t.Fault(); err != nil {
			return nil, fmt.Errorf("checking the tools: %w", err)
		}
		if _, twice := known[t.Name()]; twice || t.Name() == askName {
			return nil, fmt.Errorf("checking the tools: the name %q is taken: choose another", t.Name())
		}

		known[t.Name()] = t
	}

	e := &Executor{
		limits: c.Agent.Limits, talk: c.Agent.Conversation, prices: c.Agent.Prices, usage: c.Usage, log: c.Log,
		system: system(c.Agent), tools: map[string]tools.Tool{},
		offered: []model.Tool{{Name: askName, Description: askDescription, Schema: []byte(askSchema)}},
	}
	if e.talk == (agent.Conversation{}) { // of a definition that was not parsed
		e.talk = e.limits.Conversation()
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.model = gate.New(c.Model, e.log)
	reader, ok := c.Model.(model.ObjectReader)
	e.objects = ok && reader.ReadsObjects()

	for _, name := range c.Agent.Tools {
		t, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("agent.yaml names the tool %q, which does not exist: write it in worker/agent and return it from Tools, or remove it from the list", name)
		}
		if most := longestCall(c.Agent.Limits); t.TimeLimit() > most && most > 0 {
			return nil, fmt.Errorf("the tool %q may take %s, and a run of limits.runMinutes has at most %s for a call: lower its TimeLimit, or raise limits.runMinutes in agent.yaml", name, t.TimeLimit(), most)
		}
		e.tools[name] = t
		e.offered = append(e.offered, model.Tool{Name: name, Description: t.Description(), Schema: t.Schema()})
	}

	return e, nil
}

// longestCall is the time that a run has for one call, beside what comes before and after it;
// 0: any. A call that does not fit into what is left of a run waits for the next run, which must
// have the time.
func longestCall(l agent.Limits) time.Duration {
	return time.Duration(l.RunMinutes)*time.Minute - time.Minute*time.Duration(min(l.RunMinutes, 2))/2
}

// system is the text that the model gets before every conversation.
func system(a *agent.Agent) string {
	var b strings.Builder
	b.WriteString(a.Instructions)
	if len(a.Skills) > 0 {
		b.WriteString("\n\nThese are your skills, as others see them:\n")
	}
	for _, s := range a.Skills {
		fmt.Fprintf(&b, "- %s: %s\n", s.ID, s.Description)
	}
	return strings.TrimSpace(b.String())
}

// Admit implements run.Admitter: a turn may begin while its model can be asked.
func (e *Executor) Admit(ctx context.Context, task string) (leave func(), pause *run.Pause) {
	return e.model.Admit(ctx, task)
}

// Execute answers execCtx.Message. Text is yielded while it is made, as one artifact per
// turn. The last event tells how the turn ended. Execute yields a *steps.Again when the turn
// should be tried again. It wraps a *run.Pause when the turn should wait first.
func (e *Executor) Execute(ctx context.Context, execCtx *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		t := e.begin(ctx, execCtx, yield)
		// A task of Errand exists before it is run. In another server the first event makes
		// it.
		if execCtx.StoredTask == nil && !yield(a2a.NewSubmittedTask(execCtx, execCtx.Message), nil) {
			return
		}
		t.run(ctx, execCtx)
	}
}

// Cancel yields the cancelled state. The end of Execute's context stops the work itself.
func (e *Executor) Cancel(_ context.Context, execCtx *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(execCtx, a2a.TaskStateCanceled, nil), nil)
	}
}
