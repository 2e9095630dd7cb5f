package adk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"

	"google.golang.org/adk/v2/agent"
	"google.golang.org/adk/v2/model"
	"google.golang.org/adk/v2/platform"
	"google.golang.org/genai"

	"errand/worker/run"
	"errand/worker/steps"
)

// Model makes the replies of a model steps of the turn: a whole reply is stored, and later runs
// get it without asking the model. Each agent of a tree needs it. Callbacks see no difference.
// Outside of a turn it is the model as it is.
func Model(m model.LLM) model.LLM { return durable{m} }

// A durable is a model whose replies are stored.
type durable struct{ model.LLM }

// GetGoogleLLMVariant tells ADK which of Google's services the model is at, if it is at one.
func (d durable) GetGoogleLLMVariant() genai.Backend {
	if m, ok := d.LLM.(interface{ GetGoogleLLMVariant() genai.Backend }); ok {
		return m.GetGoogleLLMVariant()
	}
	return genai.BackendUnspecified
}

// GenerateContent implements model.LLM. What a stream says before its whole reply is not stored.
func (d durable) GenerateContent(ctx context.Context, r *model.LLMRequest, stream bool) iter.Seq2[*model.LLMResponse, error] {
	t := from(ctx)
	ic, ok := ctx.(agent.InvocationContext)
	if t == nil || !ok {
		return d.LLM.GenerateContent(ctx, r, stream)
	}

	return func(yield func(*model.LLMResponse, error) bool) {
		if err := t.failure(); err != nil {
			yield(nil, err)
			return
		}

		name := t.nextReply(place(ic.Agent().Name(), ic.Branch()))
		switch reply, ok, err := lookUp[*model.LLMResponse](ctx, name); {
		case err != nil:
			yield(nil, t.fail(err))
			return
		case ok:
			yield(reply, nil)
			return
		}

		whole := false
		for reply, err := range d.LLM.GenerateContent(ctx, r, stream) {
			if err == nil && !reply.Partial {
				if whole {
					err = t.fail(errors.New("adk: the model has given two whole replies to one request, and one can be stored"))
				} else {
					reply, err = t.keepReply(ctx, name, reply)
				}
				whole = true
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(reply, nil) {
				return
			}
		}
	}
}

// nextReply names the step of an agent's next reply.
func (t *turn) nextReply(at string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replies[at]++
	return fmt.Sprintf("adk reply %s %d", at, t.replies[at])
}

// keepReply stores a reply, and returns the stored one. Its calls have ids then, as ADK gives
// them: they tell the steps of calls from each other.
func (t *turn) keepReply(ctx context.Context, name string, reply *model.LLMResponse) (*model.LLMResponse, error) {
	if reply.Content != nil {
		for _, p := range reply.Content.Parts {
			if p != nil && p.FunctionCall != nil && p.FunctionCall.ID == "" {
				p.FunctionCall.ID = "adk-" + platform.NewUUID(ctx)
			}
		}
	}
	kept, _, err := keep(ctx, name, reply)
	if err != nil {
		return nil, t.fail(err)
	}
	return kept, nil
}

// transient reports whether an error of a model may be over when the turn runs again: the model
// is busy or has broken, or the connection to it has.
func transient(err error) bool {
	if e, ok := errors.AsType[genai.APIError](err); ok {
		return slices.Contains([]int{408, 429, 500, 502, 503, 504}, e.Code)
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// away is the end of a run whose model is not there. The turn runs again at once. If the model is
// not there then either, the turn waits, longer each time, and no attempt is counted.
func away(ctx context.Context, err error) error {
	if r, ok := run.From(ctx); ok && r.Attempt > 1 {
		return &run.Pause{Hold: run.Away, Say: "The task waits for its model.", Err: err}
	}
	return &steps.Again{Err: err}
}
