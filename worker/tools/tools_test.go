package tools_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/worker/tools"
)

type order struct {
	Item  string   `json:"item" jsonschema:"what to buy"`
	Count int      `json:"count,omitempty"`
	Tags  []string `json:"tags,omitempty"`
}

func echo(_ context.Context, in order) (order, error) { return in, nil }

// Example shows a tool with effects: it passes its key to the other side, which keeps its
// first answer to each key.
func Example() {
	type mail struct {
		To   string `json:"to" jsonschema:"address of the recipient"`
		Text string `json:"text"`
	}

	sent := map[string]string{} // stands for a mail service that honours keys
	send := tools.New("send_mail", "Sends a mail.",
		func(ctx context.Context, in mail) (string, error) {
			if _, done := sent[tools.InfoFrom(ctx).Key]; !done {
				sent[tools.InfoFrom(ctx).Key] = in.To
			}
			return "sent", nil
		}, tools.Effects())

	for range 2 { // the worker crashed after the first call
		call, err := send.Bind([]byte(`{"to":"a@example.com","text":"Hello"}`))
		if err != nil {
			fmt.Println(err)
			return
		}

		result, err := call(tools.With(context.Background(), tools.Info{Key: "task/life/1.1"}))
		fmt.Println(string(result), err)
	}

	fmt.Println(len(sent), "mail sent")
	// Output:
	// {"output":"sent"} <nil>
	// {"output":"sent"} <nil>
	// 1 mail sent
}

func TestSchema(t *testing.T) {
	tool := tools.New("buy", "Buys something.", echo)
	var got any
	if err := json.Unmarshal(tool.Schema(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "object", "additionalProperties": false, "required": []any{"item"},
		"properties": map[string]any{
			"item":  map[string]any{"type": "string", "description": "what to buy"},
			"count": map[string]any{"type": "integer"},
			"tags":  map[string]any{"type": []any{"null", "array"}, "items": map[string]any{"type": "string"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

func TestBindChecksArguments(t *testing.T) {
	tool := tools.New("buy", "Buys something.", echo)
	for _, tt := range []struct{ name, args, wantErr string }{
		{"fits", `{"item":"tea","count":2}`, ""},
		{"optional left out", `{"item":"tea"}`, ""},
		{"missing", `{"count":2}`, "item"},
		{"nothing", ``, "item"},
		{"wrong type", `{"item":7}`, "string"},
		{"unknown field", `{"item":"tea","price":1}`, "price"},
		{"other case", `{"Item":"tea"}`, "Item"},
		{"not an integer", `{"item":"tea","count":1.5}`, "integer"},
		{"beyond int", `{"item":"tea","count":1e300}`, "fit"},
		{"not an object", `["tea"]`, "object"},
		{"null", `null`, "object"},
		{"not JSON", `{"item":`, "object"},
		{"deep", `{"item":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			call, err := tool.Bind(json.RawMessage(tt.args))
			switch {
			case tt.wantErr == "" && (err != nil || call == nil):
				t.Errorf("Bind: %v", err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("Bind = %v, want an error with %q", err, tt.wantErr)
			}
		})
	}
}

func TestCall(t *testing.T) {
	for _, tt := range []struct {
		name    string
		run     func(context.Context, order) (any, error)
		want    string
		wantErr bool
	}{
		{"object", func(context.Context, order) (any, error) { return order{Item: "<tea>"}, nil }, `{"output":{"item":"<tea>"}}`, false},
		{"scalar", func(context.Context, order) (any, error) { return 7, nil }, `{"output":7}`, false},
		{"error", func(context.Context, order) (any, error) { return nil, errors.New("sold out") }, `{"error":"sold out"}`, true},
		{"panic", func(context.Context, order) (any, error) { panic("secret") }, `{"error":"the tool broke down"}`, true},
		{"runtime panic", func(_ context.Context, in order) (any, error) { return in.Tags[3], nil }, `{"error":"the tool broke down"}`, true},
		{"not JSON", func(context.Context, order) (any, error) { return math.NaN(), nil }, `{"error":"the tool was run, but its result cannot be shown"}`, true},
		{"too large", func(context.Context, order) (any, error) { return strings.Repeat("x", 64<<10), nil }, `{"error":"the tool was run, but its result is too large to be shown: 65550 bytes, at most 65536"}`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			call, err := tools.New("buy", "Buys something.", tt.run).Bind(json.RawMessage(`{"item":"tea"}`))
			if err != nil {
				t.Fatal(err)
			}

			got, err := call(t.Context())
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if (err != nil) != tt.wantErr {
				t.Errorf("error = %v, want one: %v", err, tt.wantErr)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error for the log quotes the function's text: %v", err)
			}
		})
	}
}

func TestRefusalIsBoundedText(t *testing.T) {
	got := tools.Refusal(strings.Repeat("ü", 4000) + "\xff")
	if !json.Valid(got) || len(got) > 1100 {
		t.Errorf("Refusal of a long text = %d bytes, valid: %v", len(got), json.Valid(got))
	}
}

func TestFault(t *testing.T) {
	for _, tt := range []struct {
		name string
		tool tools.Tool
		want string
	}{
		{"good", tools.New("buy", "Buys something.", echo), ""},
		{"bad name", tools.New("buy it", "Buys something.", echo), "name"},
		{"no description", tools.New("buy", "", echo), "description"},
		{"no function", tools.New[order, order]("buy", "Buys something.", nil), "no function"},
		{"not a struct", tools.New("buy", "Buys something.", func(context.Context, string) (int, error) { return 0, nil }), "not a struct"},
		{"no schema", tools.New("buy", "Buys something.", func(context.Context, struct{ C chan int }) (int, error) { return 0, nil }), "Schema"},
		{"zero", tools.Tool{}, "name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.tool.Fault()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Fault = %v, want %q", err, tt.want)
			}
			if _, bound := tt.tool.Bind([]byte(`{"item":"tea"}`)); (bound == nil) != (tt.want == "") {
				t.Errorf("Bind of a faulty tool = %v", bound)
			}
		})
	}
}
