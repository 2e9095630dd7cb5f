package task_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"errand/shared/task"
)

func TestSpentAdds(t *testing.T) {
	usd := task.Spent{Prompt: 100, Output: 10, Thought: 5, Cached: 40, Replies: 1, Nanos: 700, Currency: "USD"}
	free := task.Spent{Prompt: 1, Replies: 1, Currency: "USD"} // a price of zero is a price
	eur := task.Spent{Prompt: 1, Replies: 1, Nanos: 9, Currency: "EUR"}
	bare := task.Spent{Prompt: 1, Replies: 1}
	lost := task.Spent{Unknown: 1}

	for _, tt := range []struct {
		name string
		all  []task.Spent
		want task.Spent
	}{
		{"nothing", nil, task.Spent{}},
		{"one", []task.Spent{usd}, usd},
		{"nothing more", []task.Spent{usd, {}}, usd},
		{"two", []task.Spent{usd, usd}, task.Spent{Prompt: 200, Output: 20, Thought: 10, Cached: 80, Replies: 2, Nanos: 1400, Currency: "USD"}},
		{"one that is free", []task.Spent{free, usd}, task.Spent{Prompt: 101, Output: 10, Thought: 5, Cached: 40, Replies: 2, Nanos: 700, Currency: "USD"}},
		{"a lost reply keeps the sum", []task.Spent{lost, usd, lost}, task.Spent{Prompt: 100, Output: 10, Thought: 5, Cached: 40, Replies: 1, Unknown: 2, Nanos: 700, Currency: "USD"}},
		{"another currency", []task.Spent{usd, eur}, task.Spent{Prompt: 101, Output: 10, Thought: 5, Cached: 40, Replies: 2}},
		{"another currency, and back", []task.Spent{free, eur, free}, task.Spent{Prompt: 3, Replies: 3}},
		{"prices come later", []task.Spent{bare, free}, task.Spent{Prompt: 2, Replies: 2}},
		{"prices go", []task.Spent{eur, bare, eur}, task.Spent{Prompt: 3, Replies: 3}},
		{"too much", []task.Spent{{Output: math.MaxInt64, Replies: 1, Nanos: math.MaxInt64, Currency: "USD"}, usd},
			task.Spent{Prompt: 100, Output: math.MaxInt64, Thought: 5, Cached: 40, Replies: 2, Nanos: math.MaxInt64, Currency: "USD"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got task.Spent
			for _, s := range tt.all {
				got = got.Add(s)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sum (-want +got):\n%s", diff)
			}
		})
	}

	if got := usd.Tokens(); got != 115 {
		t.Errorf("%d tokens, want 115", got)
	}
}

// A task is the sum of its turns, and a turn the sum of its steps and attempts. So neither
// the order of costs nor their groups may change the sum.
func TestSpentIsOneSum(t *testing.T) {
	one := rapid.Custom(func(t *rapid.T) task.Spent {
		n := rapid.Int64Range(0, 1000)
		switch rapid.SampledFrom([]string{"none", "lost", "bare", "USD", "EUR"}).Draw(t, "kind") {
		case "none":
			return task.Spent{}
		case "lost":
			return task.Spent{Unknown: 1}
		case "bare":
			return task.Spent{Prompt: n.Draw(t, "prompt"), Replies: 1}
		case "EUR":
			return task.Spent{Output: n.Draw(t, "output"), Replies: 1, Nanos: n.Draw(t, "nanos"), Currency: "EUR"}
		}
		return task.Spent{Cached: n.Draw(t, "cached"), Replies: 1, Nanos: n.Draw(t, "nanos"), Currency: "USD"}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := one.Draw(t, "a"), one.Draw(t, "b"), one.Draw(t, "c")
		if x, y := a.Add(b), b.Add(a); x != y {
			t.Fatalf("%+v or %+v", x, y)
		}
		if x, y := a.Add(b).Add(c), a.Add(b.Add(c)); x != y {
			t.Fatalf("%+v or %+v", x, y)
		}
	})
}

// The stored form does not change, and what is zero takes no room in a record.
func TestSpentAsStored(t *testing.T) {
	for _, tt := range []struct {
		spent task.Spent
		want  string
	}{
		{task.Spent{}, `{}`},
		{task.Spent{Prompt: 1, Output: 2, Thought: 3, Cached: 4, Replies: 5, Unknown: 6, Nanos: 7, Currency: "USD"},
			`{"prompt":1,"output":2,"thought":3,"cached":4,"replies":5,"unknown":6,"nanos":7,"currency":"USD"}`},
	} {
		b, err := json.Marshal(tt.spent)
		if err != nil || string(b) != tt.want {
			t.Errorf("stored as %s, %v, want %s", b, err, tt.want)
		}
		var back task.Spent
		if err := json.Unmarshal(b, &back); err != nil || back != tt.spent {
			t.Errorf("read back as %+v, %v", back, err)
		}
	}
}

func TestSpentAsMetadata(t *testing.T) {
	s := task.Spent{Prompt: 30, Output: 4, Thought: 5, Cached: 6, Replies: 2}
	want := map[string]any{"model": "m", "steps": 2.0, "prompt": 30.0, "output": 4.0, "thought": 5.0, "cached": 6.0}
	if diff := cmp.Diff(want, s.Usage("m")); diff != "" {
		t.Errorf("without a price (-want +got):\n%s", diff)
	}

	s.Unknown, s.Nanos, s.Currency = 1, 12_345, "USD"
	want["unknown"], want["price"], want["currency"] = 1.0, 0.000012345, "USD"
	if diff := cmp.Diff(want, s.Usage("m")); diff != "" {
		t.Errorf("with a price (-want +got):\n%s", diff)
	}
}
