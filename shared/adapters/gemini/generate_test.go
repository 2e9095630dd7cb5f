package gemini_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/lab/conformance"
	"errand/shared/lab/dense"
	"errand/shared/lab/scripts"
	"errand/shared/model"
)

// hello is the smallest request.
func hello() model.Request {
	return model.Request{History: []model.Content{{Role: model.RoleUser, Parts: []model.Part{{Text: "hello"}}}}}
}

// collect reads an answer up to its end or its error.
func collect(ctx context.Context, m *gemini.Model, req model.Request) (chunks []model.Chunk, err error) {
	for chunk, err := range m.Generate(ctx, req) {
		if err != nil {
			return chunks, err
		}
		chunks = append(chunks, chunk)
	}
	return chunks, nil
}

func raw(events ...string) standin.Reply {
	var b strings.Builder
	for _, e := range events {
		b.WriteString("data: " + e + "\r\n\r\n")
	}
	return standin.Reply{Raw: b.String()}
}

func TestGenerate(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		text := func(s string) model.Chunk { return model.Chunk{Parts: []model.Part{{Text: s}}} }
		usage := model.Usage{Prompt: 12, Output: 5, Thought: 7, Cached: 3}
		const usageJSON = `"usageMetadata":{"promptTokenCount":10,"toolUsePromptTokenCount":2,"candidatesTokenCount":5,"thoughtsTokenCount":7,"cachedContentTokenCount":3,"totalTokenCount":24}`

		tests := []struct {
			name  string
			reply standin.Reply
			want  []model.Chunk
		}{
			{"text, thought and signature", raw(
				`{"candidates":[{"content":{"role":"model","parts":[{"text":"hm","thought":true}]}}]}`,
				`{"candidates":[{"content":{"parts":[{"text":"a€"},{"text":""},{"text":"","thoughtSignature":"AQID"}]},"finishReason":"STOP"}],`+usageJSON+`}`),
				[]model.Chunk{
					{Parts: []model.Part{{Text: "hm", Thought: true}}},
					{Parts: []model.Part{{Text: "a€"}, {Signature: []byte{1, 2, 3}}}, Usage: usage},
					{Finish: model.FinishStop, Usage: usage},
				}},
			{"calls", raw(`{"candidates":[{"content":{"parts":[{"functionCall":{"id":"c1","name":"f","args":{"n":1,"s":"<&>"}},"thoughtSignature":"AQID"},{"functionCall":{"name":"g"}}]},"finishReason":"STOP"}]}`),
				[]model.Chunk{
					{Parts: []model.Part{
						{Call: &model.Call{ID: "c1", Name: "f", Args: json.RawMessage(`{"n":1,"s":"\u003c\u0026\u003e"}`)}, Signature: []byte{1, 2, 3}},
						{Call: &model.Call{Name: "g", Args: json.RawMessage(`{}`)}},
					}},
					{Finish: model.FinishStop},
				}},
			{"files", raw(`{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AQID"}},{"fileData":{"mimeType":"text/plain","fileUri":"https://x/y"}}]},"finishReason":"STOP"}]}`),
				[]model.Chunk{
					{Parts: []model.Part{{Data: []byte{1, 2, 3}, MIME: "image/png"}, {URI: "https://x/y", MIME: "text/plain"}}},
					{Finish: model.FinishStop},
				}},
			{"the reason is named in every chunk", raw(
				`{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}`,
				`{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}]}`),
				[]model.Chunk{text("a"), text("b"), {Finish: model.FinishStop}}},
			{"stopped by a filter", raw(`{"candidates":[{"finishReason":"RECITATION"}]}`), []model.Chunk{{Finish: "RECITATION"}}},
			{"max tokens", scripts.Finish("MAX_TOKENS", "half a"),
				[]model.Chunk{
					{Parts: []model.Part{{Text: "half a"}}, Usage: model.Usage{Prompt: 1, Output: 2}},
					{Finish: model.FinishMaxTokens, Usage: model.Usage{Prompt: 1, Output: 2}},
				}},
			{"safety", scripts.Finish("SAFETY"),
				[]model.Chunk{
					{Usage: model.Usage{Prompt: 1, Output: 1}},
					{Finish: "SAFETY", Usage: model.Usage{Prompt: 1, Output: 1}},
				}},
			{"blocked prompt", scripts.Block("PROHIBITED_CONTENT"),
				[]model.Chunk{
					{Usage: model.Usage{Prompt: 1}},
					{Finish: model.FinishBlocked, Reason: "PROHIBITED_CONTENT", Usage: model.Usage{Prompt: 1}},
				}},
			{"no reason", raw(`{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"FINISH_REASON_UNSPECIFIED"}]}`), []model.Chunk{text("a")}},
			{"no candidates", raw(`{"usageMetadata":{}}`), nil},
			{"a negative usage", raw(
				`{"candidates":[{"content":{"parts":[{"text":"a"}]}}],`+usageJSON+`}`,
				`{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":-2147483648,"candidatesTokenCount":5}}`),
				[]model.Chunk{{Parts: []model.Part{{Text: "a"}}, Usage: usage}, {Finish: model.FinishStop, Usage: usage}}},
			{"a usage that overflows", raw(`{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":2147483647,"toolUsePromptTokenCount":1}}`),
				[]model.Chunk{{Finish: model.FinishStop}}},
			{"commas in many strings", raw(`{"candidates":[{"content":{"parts":[{"text":"` + strings.Repeat(`,[{\"`, 20_000) + `"}]},"finishReason":"STOP"}]}`),
				[]model.Chunk{text(strings.Repeat(`,[{"`, 20_000)), {Finish: model.FinishStop}}},
			{"nothing", standin.Reply{}, nil},
			{"invalid UTF-8", raw("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\xff\"}]}}]}"), []model.Chunk{text("\uFFFD")}},
		}

		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				got, err := collect(t.Context(), b.asking(t, standin.New(scripts.New(tt.reply).Answer)), hello())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("Generate (-want +got):\n%s", diff)
				}
			})
		}
	})
}

func TestRequestAsSent(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		script := scripts.New(standin.Text("ok"))
		m := b.asking(t, standin.New(script.Answer))

		req := model.Request{
			System: "be brief",
			History: []model.Content{
				{Role: model.RoleUser, Parts: []model.Part{{Text: "hi"}, {}, {Data: []byte{1}, MIME: "image/png"}, {URI: "gs://b/o", MIME: "text/plain"}}},
				{Role: model.RoleUser, Parts: []model.Part{{}}},
				{Role: model.RoleModel, Parts: []model.Part{
					{Text: "hm", Thought: true},
					{Call: &model.Call{ID: "c1", Name: "f", Args: json.RawMessage(`{"n":12345678901234567890}`)}, Signature: []byte{1, 2, 3}},
					{Signature: []byte{4}},
				}},
				{Role: model.RoleUser, Parts: []model.Part{{Result: &model.Result{ID: "c1", Name: "f", Value: json.RawMessage(`{"ok":true}`)}}}},
			},
			Tools:     []model.Tool{{Name: "f", Description: "does f", Schema: json.RawMessage(`{"type":"object"}`)}, {Name: "g"}},
			MaxTokens: 99,
		}
		if _, err := collect(t.Context(), m, req); err != nil {
			t.Fatal(err)
		}

		seen := script.Requests()
		if len(seen) != 1 || seen[0].Op != standin.OpStream || seen[0].Model != "gemini-x" || seen[0].Key != b.secret {
			t.Fatalf("requests = %+v, want one stream of gemini-x", seen)
		}

		want := `{
		"systemInstruction": {"parts": [{"text": "be brief"}]},
		"contents": [
			{"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "AQ=="}}, {"fileData": {"mimeType": "text/plain", "fileUri": "gs://b/o"}}]},
			{"role": "model", "parts": [
				{"text": "hm", "thought": true},
				{"functionCall": {"id": "c1", "name": "f", "args": {"n": 12345678901234567890}}, "thoughtSignature": "AQID"},
				{"text": "", "thoughtSignature": "BA=="}]},
			{"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "f", "response": {"ok": true}}}]}
		],
		"tools": [{"functionDeclarations": [{"name": "f", "description": "does f", "parametersJsonSchema": {"type": "object"}}, {"name": "g"}]}],
		"generationConfig": {"maxOutputTokens": 99}
	}`
		if diff := cmp.Diff(parse(t, []byte(want)), parse(t, seen[0].Body)); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
	})
}

func parse(t *testing.T, b []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestResume: a stream that breaks after a continuation token is resumed at that point,
// within the same step.
func TestResume(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		first := raw(`{"candidates":[{"content":{"parts":[{"text":"one "}]},"continuationToken":"AQID"}]}`)
		first.Cut = true
		script := scripts.New(first, standin.Text("two"))
		got, err := collect(t.Context(), b.asking(t, standin.New(script.Answer)), hello())
		if err != nil || len(got) != 3 || got[0].Parts[0].Text+got[1].Parts[0].Text != "one two" || got[2].Finish != model.FinishStop {
			t.Errorf("Generate = %+v, %v, want one, two, STOP", got, err)
		}
		seen := script.Requests()
		if len(seen) != 2 || !bytes.Equal(seen[1].Resume, []byte{1, 2, 3}) || len(seen[1].Contents) != 1 {
			t.Errorf("requests = %+v, want the second to resume with the token", seen)
		}
	})
}

// TestCancel: wherever the service hangs, cancelling ends the step with ctx's error and
// ends the request at the service.
func TestCancel(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		for _, tt := range []struct {
			name   string
			reply  standin.Reply
			chunks int
		}{
			{"before the answer", standin.Reply{Delay: time.Hour}, 0},
			{"after the header", standin.Reply{Hang: true}, 0},
			{"in the answer", standin.Reply{Chunks: standin.Text("a", "b").Chunks[:1], Hang: true}, 1},
			{"inside a chunk", standin.Reply{Raw: `data: {"cand`, Hang: true}, 0},
		} {
			t.Run(tt.name, func(t *testing.T) {
				asked, ended := make(chan struct{}), make(chan struct{})
				m := b.asking(t, standin.New(func(ctx context.Context, _ standin.Request) standin.Reply {
					context.AfterFunc(ctx, func() { close(ended) })
					close(asked)
					return tt.reply
				}))

				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					<-asked
					if tt.chunks == 0 {
						cancel()
					}
				}()

				n := 0
				for _, err := range m.Generate(ctx, hello()) {
					if err != nil {
						if err != context.Canceled {
							t.Errorf("Generate ended with %v, want context.Canceled", err)
						}
						break
					}

					n++
					cancel()
				}

				if n != tt.chunks {
					t.Errorf("Generate gave %d chunks before the end, want %d", n, tt.chunks)
				}

				<-ended
			})
		}
	})
}

// TestCancelClean: a body that is closed because of the cancel may end without an error.
// It does not count as an answer.
func TestCancelClean(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		cancel()
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})}
	m, err := gemini.New(ctx, gemini.Config{Name: "gemini-x", Key: fixed("k"), HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collect(ctx, m, hello()); err != context.Canceled {
		t.Errorf("Generate ended with %v, want context.Canceled", err)
	}
}

// TestBreak: a caller that stops early ends the request.
func TestBreak(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		ended := make(chan struct{})
		m := b.asking(t, standin.New(func(ctx context.Context, _ standin.Request) standin.Reply {
			context.AfterFunc(ctx, func() { close(ended) })
			return standin.Reply{Chunks: standin.Text("a", "b").Chunks, Hang: true}
		}))
		for _, err := range m.Generate(t.Context(), hello()) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		<-ended
	})
}

// TestTooLarge: an endless answer is an error and never takes much memory.
func TestTooLarge(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		mib := bytes.Repeat([]byte("x"), 1<<20)
		event := []byte(`data: {"candidates":[{"content":{"parts":[{"text":"` + string(mib[:1<<18]) + `"}]}}]}` + "\n\n")

		tests := []struct {
			name   string
			status int
			before string
			piece  []byte
			code   int
			alloc  int // MiB in all; many chunks are not in memory at the same time
		}{
			{"one chunk", 200, `data: {"candidates":[{"content":{"parts":[{"text":"`, mib, 0, 64},
			{"many chunks", 200, "", bytes.Repeat(event, 4), 0, 512},
			{"dense", 200, `data: {"candidates":[`, bytes.Repeat([]byte("[],"), 300_000), 0, 8},
			{"dense and in lines", 200, `data: {"candidates":[`, bytes.Repeat([]byte("[],\n\r\n"), 150_000), 0, 8},
			{"one event of many lines", 200, `data: {"candidates":["`, bytes.Repeat([]byte("xxxxxxx\n"), 1<<17), 0, 64},
			{"error", 500, `{"error":{"code":500,"message":"`, mib, 500, 16},
		}

		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(tt.status)
					io.WriteString(w, tt.before)

					for range 50 {
						if _, err := w.Write(tt.piece); err != nil {
							return
						}
					}
				}))

				defer srv.Close()
				m := b.model(t, gemini.Config{BaseURL: srv.URL})
				var err error
				used := dense.Allocated(func() { _, err = collect(t.Context(), m, hello()) })
				var failed *model.Error
				if !errors.As(err, &failed) || failed.Code != tt.code || len(failed.Message) > 1000 {
					t.Errorf("Generate ended with %v, want an *model.Error with code %d and a short message", err, tt.code)
				}

				if got := used >> 20; got > tt.alloc {
					t.Errorf("Generate allocated %d MiB, want at most %d", got, tt.alloc)
				}
			})
		}
	})
}

// TestConstruction: every start makes the client, and a whole start has 30 ms. The cheapest
// of a few runs counts, because the garbage of other tests may be collected meanwhile.
func TestConstruction(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		c := b.complete(t, gemini.Config{Name: "gemini-x"})
		best := time.Hour
		for range 5 {
			used := conformance.Processor()
			if _, err := gemini.New(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			best = min(best, conformance.Processor()-used)
		}
		if best > 10*time.Millisecond {
			t.Errorf("New took %v of the processor", best)
		}
	})
}

func TestStandardLoggerIsSilent(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		t.Setenv("GEMINI_API_KEY", "stray") // with Vertex AI genai would log that it ignores the key
		var out bytes.Buffer
		old := log.Writer()
		log.SetOutput(&out)
		defer log.SetOutput(old)
		cut := standin.Text("a")
		cut.Cut = true
		for _, reply := range []standin.Reply{cut, scripts.CutMidRune("a"), standin.Reply{Raw: strings.Repeat("x", 5<<20)}, raw(`{`)} {
			if _, err := collect(t.Context(), b.asking(t, standin.New(scripts.New(reply).Answer)), hello()); err == nil {
				t.Error("Generate gave no error")
			}
		}
		if out.Len() > 0 {
			t.Errorf("genai printed %q", out.String())
		}
	})
}

// FuzzAnswer: with any bytes from the service a step ends, and in one of the ways that the
// port describes.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"data: {}\n\n", "data: null\n\n", "data: {\"candidates\":[null]}\r\n\r\n", "{\"error\":{\"code\":-1}}", ": ping\n\n",
		`data: {"candidates":[{"content":{"parts":[{"text":"a","functionCall":{"args":[]}}]},"finishReason":"STOP"}],"promptFeedback":{},"usageMetadata":{"promptTokenCount":-1}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		// Every request gets the same answer, so resuming must end too.
		m := withKey.asking(t, standin.New(func(context.Context, standin.Request) standin.Reply { return standin.Reply{Raw: body} }))
		chunks, err := collect(t.Context(), m, hello())
		var failed *model.Error
		if err != nil && (!errors.As(err, &failed) || failed.Code < 0) {
			t.Errorf("Generate ended with %v, want an *model.Error", err)
		}
		for i, c := range chunks {
			if c.Finish != model.FinishNone && i != len(chunks)-1 {
				t.Errorf("chunk %d of %d carries %s", i+1, len(chunks), c.Finish)
			}
		}
	})
}

// TestResumeForever: the limit on all bytes of a step stops a service that never finishes
// but always makes progress.
func TestResumeForever(t *testing.T) {
	asked := 0
	m := withKey.asking(t, standin.New(func(context.Context, standin.Request) standin.Reply {
		asked++
		r := standin.Text(strings.Repeat("x", 3<<20))
		r.Chunks[0].Candidates[0].FinishReason = genai.FinishReasonContinuation
		r.Chunks[0].Candidates[0].ContinuationToken = []byte{byte(asked), byte(asked >> 8)}
		return r
	}))
	_, err := collect(t.Context(), m, hello())
	var failed *model.Error
	if !errors.As(err, &failed) || asked > 6 {
		t.Errorf("Generate ended with %v after %d requests, want an error after 6", err, asked)
	}
}
