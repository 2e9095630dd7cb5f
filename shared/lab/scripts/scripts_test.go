package scripts_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/standin"
	"errand/shared/lab/scripts"
)

// post sends one request to a service whose replies answer decides. The error is that of
// reading the body.
func post(t *testing.T, answer standin.Answer, method string) (code int, body string, err error) {
	t.Helper()

	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://x/v1beta/models/m:"+method, strings.NewReader(`{"contents":[{"parts":[{"text":"`+method+`"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Goog-Api-Key", "k")

	resp, err := standin.New(answer).Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestScriptGivesItsRepliesInOrderAndKeepsTheRequests(t *testing.T) {
	script := scripts.New(standin.Text("one"), standin.Text("two"))
	for _, step := range []struct{ path, want string }{
		{"generateContent", `"one"`}, {"countTokens", "totalTokens"}, {"generateContent", `"two"`}, {"generateContent", "no more replies"},
	} {
		if _, got, err := post(t, script.Answer, step.path); err != nil || !strings.Contains(got, step.want) {
			t.Errorf("%s = %s, %v, want %s", step.path, got, err, step.want)
		}
	}

	var ops []string
	for _, r := range script.Requests() {
		ops = append(ops, r.Op+" "+r.Contents[0].Parts[0].Text)
	}

	want := []string{"generateContent generateContent", "countTokens countTokens", "generateContent generateContent", "generateContent generateContent"}
	if diff := cmp.Diff(want, ops); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestRecordDecidesEveryRequest(t *testing.T) {
	script := scripts.Record(func(_ context.Context, r standin.Request) standin.Reply { return standin.Text("to " + r.Op) })
	if _, got, err := post(t, script.Answer, "generateContent"); err != nil || !strings.Contains(got, `"to generateContent"`) {
		t.Errorf("the answer is %s, %v", got, err)
	}
	if n := len(script.Requests()); n != 1 {
		t.Errorf("%d requests are kept, want 1", n)
	}
}

func TestRepliesFailAsTheServiceFails(t *testing.T) {
	for name, c := range map[string]struct {
		reply standin.Reply
		code  int
		want  string
	}{
		"finish":            {scripts.Finish("MAX_TOKENS", "half"), 200, `"finishReason":"MAX_TOKENS"`},
		"finish, no text":   {scripts.Finish("SAFETY"), 200, `"finishReason":"SAFETY"`},
		"block":             {scripts.Block("SAFETY"), 200, `"blockReason":"SAFETY"`},
		"fail":              {scripts.Fail(503, "UNAVAILABLE", "busy"), 503, `"status":"UNAVAILABLE"`},
		"throttle":          {scripts.Throttle(37 * time.Second), 429, `"retryDelay":"37s"`},
		"throttle, no time": {scripts.Throttle(0), 429, `"status":"RESOURCE_EXHAUSTED"`},
	} {
		code, body, err := post(t, scripts.New(c.reply).Answer, "generateContent")
		if err != nil || code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s, %v, want %d and %s", name, code, body, err, c.code, c.want)
		}
		if !json.Valid([]byte(body)) {
			t.Errorf("%s: not JSON: %s", name, body)
		}
	}
}

func TestCutMidRuneBreaksTheConnectionAfterTheText(t *testing.T) {
	_, got, err := post(t, scripts.New(scripts.CutMidRune("half")).Answer, "streamGenerateContent")
	if err == nil {
		t.Error("the connection is not broken")
	}
	if !strings.Contains(got, `"half"`) || !strings.HasSuffix(got, "\xe2\x82") || strings.Contains(got, "finishReason") {
		t.Errorf("the stream is %q, want the text and the first two bytes of a rune, without a finish reason", got)
	}
}
