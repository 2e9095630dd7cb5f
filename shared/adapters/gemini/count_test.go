package gemini_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/lab/scripts"
	"errand/shared/model"
)

// A count sends all that the model would read, instructions and tools included: Vertex AI
// takes it as it is, and the Gemini API inside of a request that names the model.
func TestCountAsSent(t *testing.T) {
	const input = `"systemInstruction": {"parts": [{"text": "be brief"}]},
		"contents": [{"role": "user", "parts": [{"text": "hello"}]}],
		"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}]`
	want := map[string]string{
		withKey.name:  `{"generateContentRequest": {"model": "models/gemini-x", ` + input + `}}`,
		onVertex.name: `{` + input + `}`,
	}

	onBoth(t, func(t *testing.T, b backend) {
		script := scripts.New()
		req := hello()
		req.System, req.MaxTokens = "be brief", 99
		req.Tools = []model.Tool{{Name: "f", Schema: json.RawMessage(`{"type":"object"}`)}}
		n, err := b.asking(t, standin.New(script.Answer)).Count(t.Context(), req)
		if err != nil || n < 20 || n > 200 {
			t.Fatalf("Count = %d, %v", n, err)
		}

		seen := script.Requests()
		if len(seen) != 1 || seen[0].Op != standin.OpCount || seen[0].Model != "gemini-x" || seen[0].Key != b.secret {
			t.Fatalf("requests = %+v, want one count of gemini-x", seen)
		}
		if diff := cmp.Diff(parse(t, []byte(want[b.name])), parse(t, seen[0].Body)); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
		if seen[0].System == nil || len(seen[0].Contents) != 1 || len(seen[0].Tools) != 1 {
			t.Errorf("the stand-in does not read the request: %+v", seen[0])
		}
	})
}

func TestCountFails(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		for _, tt := range []struct {
			name  string
			reply standin.Reply
			code  int
		}{
			{"overloaded", scripts.Fail(503, "UNAVAILABLE", "busy"), 503},
			{"throttled", scripts.Throttle(0), 429},
			{"wrong key", standin.Reply{Error: &genai.APIError{Code: 400, Details: []map[string]any{{"reason": "API_KEY_INVALID"}}}}, 401},
			{"not counted by this service", scripts.Fail(404, "NOT_FOUND", "no such method"), 404},
		} {
			t.Run(tt.name, func(t *testing.T) {
				script := scripts.Record(func(context.Context, standin.Request) standin.Reply { return tt.reply })
				n, err := b.asking(t, standin.New(script.Answer)).Count(t.Context(), hello())
				if got, ok := errors.AsType[*model.Error](err); !ok || got.Code != tt.code || n != 0 {
					t.Errorf("Count = %d, %v, want code %d", n, err, tt.code)
				}
			})
		}

		for _, body := range []string{`{}`, `{"totalTokens":0}`, `{"totalTokens":-1}`, `{"totalTokens":"secret words"}`, `{"totalTokens":1e30}`, `[]`, `<html>secret words`, ``} {
			client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
			})}
			n, err := b.model(t, gemini.Config{HTTPClient: client}).Count(t.Context(), hello())
			if _, ok := errors.AsType[*model.Error](err); !ok || n != 0 || strings.Contains(err.Error(), "secret") {
				t.Errorf("Count of %q = %d, %v", body, n, err)
			}
		}

		bad := model.Request{History: []model.Content{{Role: model.RoleUser, Parts: []model.Part{{Result: &model.Result{Name: "f"}}}}}}
		m := b.asking(t, standin.New(scripts.New().Answer))
		if _, err := m.Count(t.Context(), bad); err == nil || !strings.Contains(err.Error(), " f ") {
			t.Errorf("Count of a bad request = %v", err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Count(ctx, hello()); !errors.Is(err, context.Canceled) {
			t.Errorf("Count with an ended context = %v", err)
		}
	})
}
