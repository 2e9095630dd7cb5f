package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/model"
	"errand/worker/run"
	"errand/worker/tools"
)

// The built-in tool by which the model asks the client a question.
const (
	askName        = "ask"
	askDescription = "Asks the person who sent the errand a question, when the work cannot be done without the answer. It ends your turn; the answer comes as the next message."
	askSchema      = `{"type":"object","properties":{"question":{"type":"string","description":"the question, complete in itself"}},"required":["question"],"additionalProperties":false}`
	maxQuestion    = 8 << 10 // bytes
)

// maxCalls bounds the calls of one step. The model learns which calls were not made.
const maxCalls = 16

// asked returns the questions among the calls, or "" if there are none.
func asked(calls []*model.Call) string {
	var questions []string
	for _, c := range calls {
		var args struct {
			Question string `json:"question"`
		}
		if c.Name != askName || len(c.Args) > maxQuestion || len(questions) >= maxCalls {
			continue
		}
		if err := json.Unmarshal(c.Args, &args); err != nil {
			continue
		}
		if q := strings.TrimSpace(args.Question); q != "" {
			questions = append(questions, q)
		}
	}
	return strings.Join(questions, "\n")
}

// callAll makes the calls of a step one after the other.
func (t *turn) callAll(ctx context.Context, calls []*model.Call) ([]model.Part, error) {
	results := make([]model.Part, 0, len(calls))
	for i, c := range calls {
		value := tools.Refusal(fmt.Sprintf("not called: at most %d calls are made at once", maxCalls))
		if i < maxCalls {
			var err error
			if value, err = t.call(ctx, c); err != nil {
				return nil, err
			}
		}
		t.said += len(value) + len(c.Name) + 64
		results = append(results, model.Part{Result: &model.Result{ID: c.ID, Name: c.Name, Value: value}})
	}
	return results, nil
}

// call makes one call, if it is allowed. The error ends the turn. An error that the model
// can correct is in the result.
func (t *turn) call(ctx context.Context, c *model.Call) (json.RawMessage, error) {
	if c.Name == askName {
		return tools.Refusal(fmt.Sprintf(`ask takes {"question": "..."}, not empty and at most %d bytes`, maxQuestion)), nil
	}

	tool, ok := t.tools[c.Name]
	if !ok {
		names := append([]string{askName}, slices.Sorted(maps.Keys(t.tools))...)
		return tools.Refusal("there is no such tool; there are: " + strings.Join(names, ", ")), nil
	}

	bound, err := tool.Bind(c.Args)
	if err != nil {
		return tools.Refusal(err.Error()), nil
	}

	info := tools.Info{Task: string(t.info.TaskID), Context: t.info.ContextID, Turn: t.number, Caller: t.caller}
	if tool.HasEffects() {
		if err := t.intend(ctx, tool.Name()); err != nil {
			return nil, err
		}
		info.Key = t.key(tool.Name())
	}

	ctx = tools.With(ctx, info)

	began := time.Now()
	value, err := bound(ctx)
	log := t.log.With("task", t.info.TaskID, "tool", tool.Name(), "duration", time.Since(began))

	if err != nil {
		log.WarnContext(ctx, "tool failed", "err", err)
	} else {
		log.InfoContext(ctx, "tool called")
	}

	return value, ctx.Err()
}

// intend makes the intent to call a tool with effects durable (R8). After an error the tool
// must not be called: the task may be cancelled, or another worker may have it.
func (t *turn) intend(ctx context.Context, name string) error {
	t.calls++
	msg := t.message(fmt.Sprintf("call%d", t.calls), "Using the tool "+name+".")
	if !t.yield(a2a.NewStatusUpdateEvent(t.info, a2a.TaskStateWorking, msg), nil) {
		return errGone
	}
	this, ok := run.From(ctx)
	if !ok || this.Flush == nil {
		return nil
	}
	if err := this.Flush(ctx); err != nil {
		return fmt.Errorf("committing the intent to call %s: %w", name, err)
	}
	return nil
}

// key is the idempotency key of a call to a tool with effects: the n-th call to this tool
// in the turn. It does not depend on the model's calls to other tools, which may differ
// between attempts.
func (t *turn) key(name string) string {
	if t.keyed == nil {
		t.keyed = map[string]int{}
	}
	t.keyed[name]++
	return fmt.Sprintf("%s/%d/%s-%d", t.info.TaskID, t.number, name, t.keyed[name])
}
