package adk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/adk/v2/agent"
	"google.golang.org/adk/v2/model"
	"google.golang.org/adk/v2/plugin"
	"google.golang.org/adk/v2/session"
	"google.golang.org/adk/v2/tool"

	"errand/worker/run"
	"errand/worker/steps"
)

// newPlugin makes the plugin that keeps the results of tools. It stands before those of the agent.
func newPlugin() (*plugin.Plugin, error) {
	return plugin.New(plugin.Config{
		Name: "errand", AfterModelCallback: afterModel, BeforeToolCallback: beforeTool, AfterToolCallback: afterTool,
	})
}

// Key is the key of the call that a tool runs in: the same in every run of the turn and when its
// task is run again, and that of no other call. Pass it on to a receiver that recognises a
// repetition by it.
func Key(ctx agent.Context) string {
	t := from(ctx)
	if t == nil {
		return ""
	}
	return steps.Key(ctx, t.callStep(ctx))
}

// place names an agent among those of a turn.
func place(agent, branch string) string { return fmt.Sprintf("%q %q", agent, branch) }

// callStep is the name of the step of a call: of the reply that asks for it, and its id. A call
// that is made again after its confirmation comes before all replies of its turn.
func (t *turn) callStep(ctx agent.Context) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := place(ctx.AgentName(), ctx.Branch())
	return fmt.Sprintf("adk call %s %d %s", at, t.replies[at], ctx.FunctionCallID())
}

// errNone is the error of a step that is looked up and has no result.
var errNone = errors.New("the step has no result")

// lookUp returns the stored result of a step, and false if there is none.
func lookUp[T any](ctx context.Context, name string) (T, bool, error) {
	v, err := steps.Do(ctx, short(name), func(context.Context) (T, error) {
		var none T
		return none, errNone
	})
	if errors.Is(err, errNone) {
		return v, false, nil
	}
	return v, err == nil, err
}

// keep stores the result of a step, and returns the stored one. own is false if that is the
// result of another run.
func keep[T any](ctx context.Context, name string, result T) (kept T, own bool, err error) {
	kept, err = steps.Do(ctx, short(name), func(context.Context) (T, error) {
		own = true
		return result, nil
	})
	return kept, own, err
}

// short is a name that a step can have.
func short(name string) string {
	const most = 400
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "adk " + hex.EncodeToString(sum[:])
}

// afterModel refuses an agent whose model is not a Model: what it asked for would be asked for
// again in other words.
func afterModel(ctx agent.Context, _ *model.LLMResponse, err error) (*model.LLMResponse, error) {
	t := from(ctx)
	if t == nil || err != nil {
		return nil, nil
	}
	t.mu.Lock()
	known := t.replies[place(ctx.AgentName(), ctx.Branch())] > 0
	t.mu.Unlock()
	if !known {
		return nil, t.fail(fmt.Errorf("adk: the replies to the agent %s are not stored: give it adk.Model(model) as its model", ctx.AgentName()))
	}
	return nil, nil
}

// A result is what a call of a tool has brought. Its names are persisted.
type result struct {
	Response map[string]any       `json:"response,omitempty"`
	Error    string               `json:"error,omitempty"`
	Actions  session.EventActions `json:"actions"`
}

// give returns the result as the tool returned it.
func (r result) give(ctx agent.Context) (map[string]any, error) {
	*ctx.Actions() = r.Actions
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	if r.Response == nil {
		return map[string]any{}, nil
	}
	return r.Response, nil
}

// beforeTool returns the stored result of a call. Before a call is made, everything that led to
// it is durable under the epoch of the run: it is not made for a task that was cancelled.
func beforeTool(ctx agent.Context, _ tool.Tool, _ map[string]any) (map[string]any, error) {
	t := from(ctx)
	if t == nil {
		return nil, nil
	}
	if err := t.failure(); err != nil {
		return nil, err
	}
	if err := t.save(ctx); err != nil {
		return nil, err
	}

	kept, ok, err := lookUp[result](ctx, t.callStep(ctx))
	switch {
	case err != nil:
		return nil, t.fail(err)
	case ok:
		t.mu.Lock()
		t.given[ctx.FunctionCallID()] = true
		t.mu.Unlock()
		return kept.give(ctx)
	}

	if r, ok := run.From(ctx); ok && r.Flush != nil {
		if err := r.Flush(ctx); err != nil {
			return nil, t.fail(err)
		}
	}
	return nil, nil
}

// afterTool stores the result of a call, and its error too: the model is told of it, and goes on
// from there in every run. The error of a call that was broken off is none, and neither is the
// empty result of a tool that waits for its client. A steps.Again and a run.Pause end the run.
func afterTool(ctx agent.Context, called tool.Tool, _, response map[string]any, failed error) (map[string]any, error) {
	t := from(ctx)
	if t == nil || t.wasGiven(ctx.FunctionCallID()) || response == nil && failed == nil && called.IsLongRunning() {
		return nil, nil
	}
	_, again := errors.AsType[*steps.Again](failed)
	_, pause := errors.AsType[*run.Pause](failed)
	if again || pause {
		return nil, t.fail(failed)
	}
	if failed != nil && (ctx.Err() != nil || t.failure() != nil) {
		return nil, t.fail(context.Cause(ctx))
	}

	r := result{Response: response, Actions: *ctx.Actions()}
	if failed != nil {
		r = result{Error: failed.Error(), Actions: *ctx.Actions()}
	}
	kept, own, err := keep(context.WithoutCancel(ctx), t.callStep(ctx), r) // a result counts, however the run ends
	switch {
	case err != nil:
		return nil, t.fail(err)
	case own:
		return nil, nil
	}
	return kept.give(ctx)
}

// wasGiven reports whether the result of a call was a stored one.
func (t *turn) wasGiven(call string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.given[call]
}
