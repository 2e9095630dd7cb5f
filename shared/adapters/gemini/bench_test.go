package gemini_test

import (
	"testing"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/model"
)

// BenchmarkGenerate measures one step with a stand-in that answers at once. All of the time
// is spent in our client, transport and stand-in, and every task spends it.
func BenchmarkGenerate(b *testing.B) {
	answer, err := standin.Parse("")
	if err != nil {
		b.Fatal(err)
	}
	m := withKey.asking(b, standin.New(answer))
	req := model.Request{
		System:  "You are a helpful agent.",
		History: []model.Content{{Role: model.RoleUser, Parts: []model.Part{{Text: "What is the weather in Paris?"}}}},
		Tools:   []model.Tool{{Name: "ask", Description: "Ask the user.", Schema: []byte(`{"type":"object","properties":{"question":{"type":"string"}},"required":["question"]}`)}},
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range m.Generate(b.Context(), req) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gemini.New(b.Context(), gemini.Config{Name: "gemini-x", Key: fixed("k")}); err != nil {
			b.Fatal(err)
		}
	}
}
