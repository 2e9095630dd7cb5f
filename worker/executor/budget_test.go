package executor_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/agent"
	"errand/shared/model"
	"errand/worker/tools"
)

// steps is a model that answers each step with a reply of its own.
type steps struct {
	*chunks
	reply func(step int, r model.Request) model.Chunk
}

func (s steps) Generate(ctx context.Context, r model.Request) iter.Seq2[model.Chunk, error] {
	s.list = []model.Chunk{s.reply(len(s.seen)+1, r)}
	return s.chunks.Generate(ctx, r)
}

// reading is a tool with a result of so many bytes, and the call to it.
func reading(bytes int) (tools.Tool, model.Part) {
	tool := tools.New("read", "Reads.", func(context.Context, struct{}) (string, error) { return strings.Repeat("x", bytes), nil })
	return tool, model.Part{Call: &model.Call{Name: "read", Args: []byte(`{}`)}}
}

// The model calls a tool, and the next request may cost too much. It is counted only if an
// estimate comes near what is left, and not sent if the count is over it.
func TestRequestsAreCountedBeforeTheyArePaid(t *testing.T) {
	limits := agent.Limits{Steps: 8, TurnTokens: 1000, OutputTokens: 80, ThoughtTokens: 20}
	uncounted := errors.New("the service does not count")

	for _, tt := range []struct {
		name    string
		result  int         // bytes of the tool's result
		first   model.Usage // of the first reply
		tokens  int64       // of a request, as counted
		err     error       // instead of a count
		counted int         // counts
		room    int32       // of the second request; zero: it is not sent
	}{
		{"far from the limit", 400, model.Usage{Prompt: 100, Output: 10}, 999_999, nil, 0, 100},
		{"near, and within", 2000, model.Usage{Prompt: 100, Output: 10}, 500, nil, 1, 100},
		{"near, with less room", 2000, model.Usage{Prompt: 100, Output: 10}, 830, nil, 1, 60},
		{"at the limit", 2000, model.Usage{Prompt: 100, Output: 10}, 889, nil, 1, 1},
		{"over", 2000, model.Usage{Prompt: 100, Output: 10}, 890, nil, 1, 0},
		{"far over by an estimate, and within", 60_000, model.Usage{Prompt: 100, Output: 10}, 700, nil, 1, 100},
		{"thoughts come near", 400, model.Usage{Prompt: 100, Output: 10, Thought: 250}, 300, nil, 1, 100},
		{"no count", 60_000, model.Usage{Prompt: 100, Output: 10}, 0, uncounted, 1, 100},
		{"no count, and surely little room", 60_000, model.Usage{Prompt: 420, Output: 50}, 0, uncounted, 1, 60},
		{"no count, and surely over", 400, model.Usage{Prompt: 480, Output: 30}, 0, uncounted, 1, 0},
		{"nothing left", 400, model.Usage{Prompt: 990, Output: 10}, 1, nil, 0, 0},
		{"no usage", 400, model.Usage{}, 999_999, nil, 0, 100},
		{"hostile figures", 400, model.Usage{Prompt: -5, Output: -5, Thought: -5}, 999_999, nil, 0, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tool, call := reading(tt.result)
			m := steps{&chunks{tokens: tt.tokens, uncount: tt.err}, func(step int, _ model.Request) model.Chunk {
				if step == 1 {
					return model.Chunk{Parts: []model.Part{call}, Usage: tt.first, Finish: "STOP"}
				}
				return model.Chunk{Parts: []model.Part{{Text: "done"}}, Finish: "STOP"}
			}}
			r := answered(t, t.Context(), newExecutor(t, setup{model: m, limits: limits, tools: []tools.Tool{tool}}), message())

			if len(m.counted) != tt.counted {
				t.Errorf("%d requests were counted, want %d", len(m.counted), tt.counted)
			}
			if tt.counted == 1 {
				if diff := cmp.Diff(m.seen[0].System, m.counted[0].System); diff != "" || len(m.counted[0].History) != 3 || len(m.counted[0].Tools) != 2 {
					t.Errorf("counted: %+v", m.counted[0])
				}
			}

			if tt.room == 0 {
				if r.state() != a2a.TaskStateFailed || len(m.seen) != 1 || !strings.Contains(r.says(), "1000 tokens") || !strings.Contains(r.says(), "limits.turnTokens") {
					t.Errorf("got %v %q after %d requests, %v", r.state(), r.says(), len(m.seen), r.err)
				}
				return
			}
			if r.state() != a2a.TaskStateCompleted || len(m.seen) != 2 {
				t.Fatalf("got %v %q after %d requests, %v", r.state(), r.says(), len(m.seen), r.err)
			}
			if got := []int32{m.seen[0].MaxTokens, m.seen[1].MaxTokens}; got[0] != 100 || got[1] != tt.room {
				t.Errorf("the steps may make %d tokens, want 100 and %d", got, tt.room)
			}
		})
	}
}

// The first request has no reply before it. A file by reference may have any size.
func TestFirstRequestIsCounted(t *testing.T) {
	limits := agent.Limits{Steps: 8, TurnTokens: 1000, OutputTokens: 80}
	video := a2a.NewFileURLPart("https://example.com/a.mp4", "video/mp4")

	for _, tt := range []struct {
		name    string
		part    *a2a.Part
		tokens  int64
		counted int
		sent    bool
	}{
		{"small", text("Hello"), 999_999, 0, true},
		{"large, and within", text(strings.Repeat("x", 2400)), 600, 1, true},
		{"large, and over", text(strings.Repeat("x", 2400)), 1200, 1, false},
		{"a small video", video, 600, 1, true},
		{"a large video", video, 600_000, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &chunks{tokens: tt.tokens, list: []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Finish: "STOP"}}}
			r := answered(t, t.Context(), newExecutor(t, setup{model: m, limits: limits}), message(tt.part))
			if len(m.counted) != tt.counted || len(m.seen) > 0 != tt.sent || (r.state() == a2a.TaskStateCompleted) != tt.sent {
				t.Errorf("got %v %q after %d counts and %d requests, %v", r.state(), r.says(), len(m.counted), len(m.seen), r.err)
			}
		})
	}
}

// ending is a model whose count is cut by a cancel.
type ending struct {
	steps
	cancel context.CancelFunc
}

func (e ending) Count(ctx context.Context, r model.Request) (int64, error) {
	e.cancel()
	<-ctx.Done()
	return e.steps.Count(ctx, r)
}

// A cancel during a count is the end of the turn, and no failure of it, even if the request is
// surely over the limit.
func TestCancelDuringACount(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tool, call := reading(400)
	m := ending{steps{&chunks{uncount: context.Canceled}, func(int, model.Request) model.Chunk {
		return model.Chunk{Parts: []model.Part{call}, Usage: model.Usage{Prompt: 480, Output: 30}, Finish: "STOP"}
	}}, cancel}
	limits := agent.Limits{Steps: 8, TurnTokens: 1000, OutputTokens: 80}

	r := answered(t, ctx, newExecutor(t, setup{model: m, limits: limits, tools: []tools.Tool{tool}}), message())
	if !errors.Is(r.err, context.Canceled) || len(m.counted) != 1 || len(m.seen) != 1 {
		t.Errorf("got %v %q, %v after %d counts and %d requests", r.state(), r.says(), r.err, len(m.counted), len(m.seen))
	}
}

// thinker is a model that thinks and answers as long as the bound for both allows.
func thinker(thought, output int32) steps {
	return steps{&chunks{}, func(_ int, r model.Request) model.Chunk {
		u := model.Usage{Prompt: 100, Thought: min(thought, r.MaxTokens)}
		u.Output = min(output, r.MaxTokens-u.Thought)
		c := model.Chunk{Usage: u, Finish: model.FinishStop}
		if u.Output > 0 {
			c.Parts = []model.Part{{Text: "done"}}
		}
		if u.Thought < thought || u.Output < output {
			c.Finish = model.FinishMaxTokens
		}
		return c
	}}
}

// Thoughts do not come out of the answer's tokens. An answer that is cut off names the limit
// that the operator can raise.
func TestThoughtsHaveTheirOwnLimit(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		turn, outputs, thoughts int // limits
		thought, output         int32
		says, not               string // empty: completed
	}{
		{"9,000 thoughts", 100_000, 8192, 16_384, 9000, 500, "", ""},
		{"an answer takes what thoughts leave", 100_000, 8192, 16_384, 0, 24_576, "", ""},
		{"a model that may not think", 100_000, 8192, 0, 9000, 500, "limits.thoughtTokens", "kept"},
		{"too many thoughts", 100_000, 8192, 16_384, 30_000, 500, "limits.thoughtTokens", "kept"},
		{"too long an answer", 100_000, 8192, 16_384, 9000, 20_000, "limits.outputTokens", "thoughtTokens"},
		{"no room in the turn", 9000, 8192, 8192, 5000, 6000, "limits.turnTokens", "outputTokens"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limits := agent.Limits{Steps: 8, TurnTokens: tt.turn, OutputTokens: tt.outputs, ThoughtTokens: tt.thoughts}
			r := answered(t, t.Context(), newExecutor(t, setup{model: thinker(tt.thought, tt.output), limits: limits}), message())

			if tt.says == "" {
				if r.state() != a2a.TaskStateCompleted {
					t.Errorf("got %v %q, %v", r.state(), r.says(), r.err)
				}
				return
			}
			if r.state() != a2a.TaskStateFailed || !strings.Contains(r.says(), tt.says) || strings.Contains(r.says(), tt.not) {
				t.Errorf("got %v %q, %v, want the key %s", r.state(), r.says(), r.err, tt.says)
			}
			if kept := strings.Contains(r.says(), "kept"); kept != (r.text != "") {
				t.Errorf("says %q of the answer %q", r.says(), r.text)
			}
		})
	}
}

// The default limits are for an agent that reads: ten steps, each with a result as large as a
// tool may have, and thoughts in each.
func TestDefaultLimitsAreEnough(t *testing.T) {
	def, err := agent.Parse([]byte("name: A\ndescription: d\nversion: 1\nmodel: m\nskills: [{id: s, name: S, description: d, tags: [t]}]\n"))
	if err != nil {
		t.Fatal(err)
	}

	tool, call := reading(64<<10 - 100)
	m := steps{&chunks{}, func(step int, r model.Request) model.Chunk {
		c := model.Chunk{Usage: model.Usage{Prompt: 2000, Output: 500, Thought: 9000}, Finish: "STOP"}
		for _, content := range r.History {
			for _, p := range content.Parts {
				if p.Result != nil {
					c.Usage.Prompt += int32(len(p.Result.Value) / 4)
				}
			}
		}
		if c.Parts = []model.Part{call}; step == 10 {
			c.Parts = []model.Part{{Text: "done"}}
		}
		return c
	}}
	m.uncount = errors.New("no count")

	r := answered(t, t.Context(), newExecutor(t, setup{model: m, limits: def.Limits, tools: []tools.Tool{tool}}), message())
	if r.state() != a2a.TaskStateCompleted || len(m.seen) != 10 {
		t.Errorf("got %v %q after %d steps, %v", r.state(), r.says(), len(m.seen), r.err)
	}
	if got := int(m.seen[0].MaxTokens); got != def.Limits.OutputTokens+def.Limits.ThoughtTokens || got > 65_535 {
		t.Errorf("a step may make %d tokens, which no model can", got)
	}
}

// The task has the price of its replies if the operator has given prices for its model.
func TestPriceOnTheTask(t *testing.T) {
	usd := &agent.Prices{Currency: "USD", Input: "3", Output: "20", Cached: "1"} // invented
	other := &agent.Prices{Currency: "USD", Models: []agent.ModelPrices{{Model: "another", Input: "3", Output: "20"}}}
	spent := model.Usage{Prompt: 100, Output: 10, Thought: 5, Cached: 40}
	tokens := map[string]any{"model": "chunks", "steps": 1.0, "prompt": 100.0, "output": 10.0, "thought": 5.0, "cached": 40.0}
	unknown := map[string]any{"model": "chunks", "steps": 0.0, "prompt": 0.0, "output": 0.0, "thought": 0.0, "cached": 0.0, "unknown": 1.0}

	priced := map[string]any{"price": 0.00052, "currency": "USD"} // 60 x 3 + 40 x 1 + 15 x 20 millionths
	for key, value := range tokens {
		priced[key] = value
	}

	for _, tt := range []struct {
		name   string
		prices *agent.Prices
		usage  model.Usage
		want   map[string]any
	}{
		{"no prices", nil, spent, tokens},
		{"prices", usd, spent, priced},
		{"prices of another model", other, spent, tokens},
		{"a service that reports no usage", usd, model.Usage{}, unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &chunks{list: []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Usage: tt.usage, Finish: "STOP"}}}
			r := answered(t, t.Context(), newExecutor(t, setup{model: m, prices: tt.prices}), message())
			if r.final == nil {
				t.Fatal(r.err)
			}
			if diff := cmp.Diff(map[string]any{"usage": tt.want}, r.final.Metadata); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
		})
	}
}
