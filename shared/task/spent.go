package task

import "math"

// Spent is the cost of some replies of the model: of a step, a turn or a task. The names of
// its fields in JSON are persisted. Its zero value is the cost of nothing.
//
// Nanos is a sum only while every reply has a price in one currency. A reply without a price,
// or with one in another currency, ends the sum for good: there are Replies, and no Currency.
// So a task whose operator adds, removes or changes the currency of the prices while it runs
// shows tokens alone, never a part of its price. A reply whose tokens are unknown ends no sum:
// the sum is then what the known replies cost, and Unknown tells how many are missing.
type Spent struct {
	Prompt  int64 `json:"prompt,omitempty"`  // tokens read, cached ones included
	Output  int64 `json:"output,omitempty"`  // tokens of answers
	Thought int64 `json:"thought,omitempty"` // tokens of reasoning
	Cached  int64 `json:"cached,omitempty"`  // the part of Prompt that came from a cache

	Replies int64 `json:"replies,omitempty"` // replies with known tokens
	Unknown int64 `json:"unknown,omitempty"` // replies that may have to be paid, with unknown tokens

	Nanos    int64  `json:"nanos,omitempty"`    // price in 1e-9 of a unit of Currency
	Currency string `json:"currency,omitempty"` // three letters; empty: there is no sum
}

// Add returns the cost of both. The order of costs does not matter, nor how they are grouped.
// A number that would not fit stays at the largest one.
func (s Spent) Add(more Spent) Spent {
	sum := Spent{
		Prompt: plus(s.Prompt, more.Prompt), Output: plus(s.Output, more.Output),
		Thought: plus(s.Thought, more.Thought), Cached: plus(s.Cached, more.Cached),
		Replies: plus(s.Replies, more.Replies), Unknown: plus(s.Unknown, more.Unknown),
	}
	switch {
	case s.Replies == 0:
		sum.Nanos, sum.Currency = more.Nanos, more.Currency
	case more.Replies == 0 || s.Currency == more.Currency:
		sum.Nanos, sum.Currency = plus(s.Nanos, more.Nanos), s.Currency
	}
	return sum
}

// Tokens is the number of all tokens that are paid for.
func (s Spent) Tokens() int64 { return plus(plus(s.Prompt, s.Output), s.Thought) }

// Usage is the cost in the form of a task's metadata, under the key usage. Numbers are
// float64, as they are in a record that was read back. Price is in units of the currency. It
// and the currency are left out if there is no sum.
func (s Spent) Usage(model string) map[string]any {
	usage := map[string]any{
		"model": model, "steps": float64(s.Replies), "prompt": float64(s.Prompt),
		"output": float64(s.Output), "thought": float64(s.Thought), "cached": float64(s.Cached),
	}
	if s.Unknown > 0 {
		usage["unknown"] = float64(s.Unknown)
	}
	if s.Currency != "" {
		usage["price"], usage["currency"] = float64(s.Nanos)/1e9, s.Currency
	}
	return usage
}

// plus adds two numbers that are not negative.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
