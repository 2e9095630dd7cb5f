package standin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/model"
	"errand/shared/secret"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ spec, want string }{
		{"", ""},
		{"delay=10m", ""},
		{"delay=0s", ""},
		{"dealy=10m", `unknown option "dealy"; known: delay=DURATION`},
		{"delay=1s,colour=red", `unknown option "colour"`},
		{"delay=1s,", `unknown option ""`},
		{"delay", "not a duration"},
		{"delay=soon", "not a duration"},
		{"delay=-1s", "not a duration"},
		{"delay=1s,delay=2s", "given twice"},
	} {
		_, err := standin.Parse(tt.spec)
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("Parse(%q) = %v, want %q", tt.spec, err, tt.want)
		}
	}
}

func anyKey(context.Context) (secret.Value, error) { return secret.NewValue([]byte("none")) }

// always gives the same reply to every request.
func always(r standin.Reply) standin.Answer {
	return func(context.Context, standin.Request) standin.Reply { return r }
}

func newModel(t *testing.T, spec string) model.Model {
	t.Helper()
	answer, err := standin.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	m, err := gemini.New(t.Context(), gemini.Config{Name: "standin", Key: anyKey, HTTPClient: standin.New(answer).Client(), Silence: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, "delay=10m")
		start := time.Now()
		if err := m.Check(t.Context()); err != nil || time.Since(start) > 0 {
			t.Errorf("Check = %v after %v, want no error at once", err, time.Since(start))
		}

		for _, err := range m.Generate(t.Context(), model.Request{}) {
			if err != nil {
				t.Fatal(err)
			}
		}

		if got := time.Since(start); got != 10*time.Minute {
			t.Errorf("Generate took %v, want 10m", got)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()

		for _, err := range m.Generate(ctx, model.Request{}) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Generate = %v, want context.DeadlineExceeded", err)
			}
		}

		if got := time.Since(start); got != time.Second {
			t.Errorf("the cancelled request ended after %v, want 1s", got)
		}
	})
}

func TestTalk(t *testing.T) {
	ask := model.Tool{Name: "ask", Schema: json.RawMessage(`{"type":"object"}`)}
	clock := model.Tool{Name: "clock"}
	user := func(parts ...model.Part) []model.Content {
		return []model.Content{
			{Role: model.RoleUser, Parts: []model.Part{{Text: "/ask before?"}}},
			{Role: model.RoleUser, Parts: parts},
		}
	}

	const greeting = "This is the stand-in model speaking (set GEMINI_API_KEY for Gemini). "
	for _, tt := range []struct {
		name    string
		history []model.Content
		tools   []model.Tool
		text    string
		call    *model.Call
	}{
		{"echo", user(model.Part{Text: "a"}, model.Part{Text: "b"}), nil, greeting + "You said: a\nb", nil},
		{"nothing", nil, nil, greeting + "You said: ", nil},
		{"long", user(model.Part{Text: strings.Repeat("é", 3000)}), nil, greeting + "You said: " + strings.Repeat("é", 1000) + "...", nil},
		{"ask", user(model.Part{Text: " /ask Which colour? "}), []model.Tool{clock, ask}, "",
			&model.Call{Name: "ask", Args: json.RawMessage(`{"question":"Which colour?"}`)}},
		{"ask without the function", user(model.Part{Text: "/ask me"}), []model.Tool{clock}, greeting + "You said: /ask me", nil},
		{"ask without a question", user(model.Part{Text: "/ask"}), []model.Tool{ask}, greeting + "You said: /ask", nil},
		{"tool", user(model.Part{Text: `/tool clock {"zone": "UTC"}`}), []model.Tool{ask, clock}, "",
			&model.Call{Name: "clock", Args: json.RawMessage(`{"zone":"UTC"}`)}},
		{"tool without arguments", user(model.Part{Text: "/tool clock"}), []model.Tool{clock}, "",
			&model.Call{Name: "clock", Args: json.RawMessage(`{}`)}},
		{"tool with bad arguments", user(model.Part{Text: "/tool clock [1]"}), []model.Tool{clock},
			greeting + `Write the arguments as a JSON object: /tool NAME {"key": "value"}.`, nil},
		{"unknown tool", user(model.Part{Text: "/tool none"}), nil, greeting + `There is no tool "none"; I was offered: none.`, nil},
		{"result", user(model.Part{Result: &model.Result{Name: "clock", Value: json.RawMessage(`{"now":"noon"}`)}}), []model.Tool{clock},
			greeting + `clock answered: {"now":"noon"}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text string
			var call *model.Call
			var end model.Chunk
			var pieces int

			for chunk, err := range newModel(t, "").Generate(t.Context(), model.Request{History: tt.history, Tools: tt.tools}) {
				if err != nil {
					t.Fatal(err)
				}

				for _, p := range chunk.Parts {
					pieces++
					text += p.Text
					call = p.Call
				}

				end = chunk
			}

			if text != tt.text {
				t.Errorf("text = %q, want %q", text, tt.text)
			}
			if diff := cmp.Diff(tt.call, call); diff != "" {
				t.Errorf("call (-want +got):\n%s", diff)
			}
			if end.Finish != model.FinishStop || end.Usage.Prompt == 0 || end.Usage.Output == 0 {
				t.Errorf("end = %+v, want STOP and usage", end)
			}
			if tt.call == nil && pieces != 2 {
				t.Errorf("the text came in %d pieces, want 2", pieces)
			}
		})
	}
}

// TestPaths shows the HTTP interface to clients other than Errand's.
func TestPaths(t *testing.T) {
	const vertex = "/v1beta1/projects/p/locations/l/publishers/google/models/m"
	const hi = `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`
	for _, tt := range []struct {
		name, method, path, body string
		code                     int
		want                     string
	}{
		{"stream", "POST", "/v1beta/models/m:streamGenerateContent?alt=sse", hi, 200, "data: {\"candidates\":"},
		{"whole", "POST", "/v1beta/models/m:generateContent", hi, 200, `"parts":[{"text":"This is`},
		{"count", "POST", "/v1beta/models/m:countTokens", hi, 200, `"totalTokens":`},
		{"get", "GET", "/v1beta/models/m", "", 200, `"name":"models/m"`},
		{"other method", "POST", "/v1beta/models/m:embedContent", hi, 404, "NOT_FOUND"},
		{"get of a method", "GET", "/v1beta/models/m:generateContent", "", 404, "NOT_FOUND"},
		{"other path", "GET", "/v1beta/files/x", "", 404, "NOT_FOUND"},
		{"no model", "GET", "/v1beta/models/", "", 404, "NOT_FOUND"},
		{"bad JSON", "POST", "/v1beta/models/m:generateContent", `{"contents":`, 400, "INVALID_ARGUMENT"},
		{"other shape", "POST", "/v1beta/models/m:generateContent", `{"contents":[null,{"parts":[null]}],"tools":[null,{"functionDeclarations":[null]}]}`, 200, "stand-in"},
		{"too large", "POST", "/v1beta/models/m:generateContent", strings.Repeat(" ", 21<<20), 413, "too large"},
		{"stream on Vertex AI", "POST", vertex + ":streamGenerateContent?alt=sse", hi, 200, "data: {\"candidates\":"},
		{"whole on Vertex AI", "POST", vertex + ":generateContent", hi, 200, `"parts":[{"text":"This is`},
		{"count on Vertex AI", "POST", vertex + ":countTokens", hi, 200, `"totalTokens":`},
		{"get on Vertex AI", "GET", vertex, "", 404, "NOT_FOUND"},
		{"no project", "POST", "/v1beta1/publishers/google/models/m:generateContent", hi, 404, "NOT_FOUND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
			r.Header.Set("X-Goog-Api-Key", "k")
			r.Header.Set("Authorization", "Bearer t")
			w := httptest.NewRecorder()
			standin.New(standin.Talk(0)).ServeHTTP(w, r)
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%s %s = %d %.300s, want %d and %q", tt.method, tt.path, w.Code, w.Body, tt.code, tt.want)
			}
		})
	}

	for path, want := range map[string]int{"/v1beta/models/m:countTokens": 403, vertex + ":countTokens": 401} {
		w := httptest.NewRecorder()
		standin.New(standin.Talk(0)).ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(hi)))
		if w.Code != want {
			t.Errorf("%s without a key or a token = %d, want %d", path, w.Code, want)
		}
	}
}

// TestWhole: generateContent merges the chunks.
func TestWhole(t *testing.T) {
	r := httptest.NewRequest("POST", "/v1beta/models/m:generateContent", strings.NewReader("{}"))
	r.Header.Set("X-Goog-Api-Key", "k")
	w := httptest.NewRecorder()
	standin.New(always(standin.Text("a", "b"))).ServeHTTP(w, r)
	var got genai.GenerateContentResponse
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Text() != "ab" || got.Candidates[0].FinishReason != "STOP" || got.UsageMetadata == nil {
		t.Errorf("answer = %s, want the text ab, STOP and usage", w.Body)
	}
}

// TestStreams: without a socket too, the client can read a chunk before the next one exists.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := standin.Reply{Chunks: standin.Text("first", "second").Chunks[:1], Hang: true}
		client := standin.New(always(reply)).Client()
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "POST", "http://x/v1beta/models/m:streamGenerateContent", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Goog-Api-Key", "k")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		if err != nil || !strings.Contains(line, "first") {
			t.Errorf("first line = %q, %v", line, err)
		}
		cancel()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("reading after the cancel = %v, want context.Canceled", err)
		}
	})
}

// TestEnded: the server does not serve a request whose context has ended.
func TestEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := standin.New(func(context.Context, standin.Request) standin.Reply {
			t.Error("the request was served")
			return standin.Reply{}
		}).Client()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", "http://x/v1beta/models/m", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Goog-Api-Key", "k")
		if resp, err := client.Do(r); !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v, %v, want context.Canceled", resp, err)
		}
		synctest.Wait()
	})
}

// TestPanic: a panic in an Answer fails only that request.
func TestPanic(t *testing.T) {
	client := standin.New(func(context.Context, standin.Request) standin.Reply { panic("oops") }).Client()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://x/v1beta/models/m", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Goog-Api-Key", "k")
	if resp, err := client.Do(r); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("Do = %v, %v, want an error that names the panic", resp, err)
	}
}
