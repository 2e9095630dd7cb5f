package gemini_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/genai"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/lab/scripts"
	"errand/shared/model"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestEnvironment: no variable that genai reads changes the key, the service or the host.
func TestEnvironment(t *testing.T) {
	for _, v := range []string{"GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION"} {
		t.Setenv(v, "stray")
	}

	for _, v := range []string{"GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL"} {
		t.Setenv(v, "https://stray.example")
	}

	for _, v := range []string{"GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"} {
		t.Setenv(v, "true")
	}

	var got []string
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		got = append(got, r.Method+" "+r.URL.String()+" "+r.Header.Get("X-Goog-Api-Key")+r.Header.Get("Authorization"))
		return nil, errors.New("offline")
	})}

	for _, base := range []string{"", "https://other.example/gemini/"} {
		for _, b := range []backend{withKey, onVertex} {
			m := b.model(t, gemini.Config{BaseURL: base, HTTPClient: client})
			collect(t.Context(), m, hello())
			m.Check(t.Context())
		}
	}

	want := []string{
		"POST https://generativelanguage.googleapis.com/v1beta/models/gemini-x:streamGenerateContent?alt=sse the-key",
		"GET https://generativelanguage.googleapis.com/v1beta/models/gemini-x the-key",
		"POST https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global/publishers/google/models/gemini-x:streamGenerateContent?alt=sse Bearer the-token-1",
		"POST https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global/publishers/google/models/gemini-x:countTokens Bearer the-token-1",
		"POST https://other.example/gemini/v1beta/models/gemini-x:streamGenerateContent?alt=sse the-key",
		"GET https://other.example/gemini/v1beta/models/gemini-x the-key",
		"POST https://other.example/gemini/v1beta1/projects/p/locations/global/publishers/google/models/gemini-x:streamGenerateContent?alt=sse Bearer the-token-1",
		"POST https://other.example/gemini/v1beta1/projects/p/locations/global/publishers/google/models/gemini-x:countTokens Bearer the-token-1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestConfig(t *testing.T) {
	login(t, (&tokens{}).ServeHTTP)
	key := fixed("secret")
	at := func(project, location string) *gemini.Vertex {
		return &gemini.Vertex{Project: project, Location: location}
	}

	for _, tt := range []struct {
		name   string
		config gemini.Config
		want   string // in the error; empty: no error
	}{
		{"minimal", gemini.Config{Name: "gemini-3.6-flash", Key: key}, ""},
		{"prefix", gemini.Config{Name: "models/gemini-3.6-flash", Key: key}, ""},
		{"tuned", gemini.Config{Name: "tunedModels/mine-1", Key: key, BaseURL: "http://127.0.0.1:9"}, ""},
		{"no name", gemini.Config{Key: key}, "not a model name"},
		{"path", gemini.Config{Name: "../x", Key: key}, "not a model name"},
		{"query", gemini.Config{Name: "a?b", Key: key}, "not a model name"},
		{"method", gemini.Config{Name: "a:b", Key: key}, "not a model name"},
		{"no key", gemini.Config{Name: "m"}, "no API key"},
		{"no scheme", gemini.Config{Name: "m", Key: key, BaseURL: "example.com"}, "base URL"},
		{"other scheme", gemini.Config{Name: "m", Key: key, BaseURL: "file:///etc"}, "base URL"},
		{"no host", gemini.Config{Name: "m", Key: key, BaseURL: "https://"}, "base URL"},

		{"Vertex AI", gemini.Config{Name: "gemini-3.6-flash", Vertex: at("my-project-1", "europe-west1")}, ""},
		{"project of a domain", gemini.Config{Name: "m", Vertex: at("example.com:p", "us")}, ""},
		{"name of the other API", gemini.Config{Name: "models/m", Vertex: at("p", "global")}, "not a model name on Vertex AI"},
		{"no project", gemini.Config{Name: "m", Vertex: at("", "global")}, "set GOOGLE_CLOUD_PROJECT"},
		{"no location", gemini.Config{Name: "m", Vertex: at("p", "")}, "set GOOGLE_CLOUD_LOCATION"},
		{"path as project", gemini.Config{Name: "m", Vertex: at("p/../q", "global")}, "GOOGLE_CLOUD_PROJECT"},
		{"host as location", gemini.Config{Name: "m", Vertex: at("p", "evil.example/")}, "GOOGLE_CLOUD_LOCATION"},
		{"Vertex AI at no URL", gemini.Config{Name: "m", Vertex: at("p", "global"), BaseURL: "example.com"}, "base URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := gemini.New(t.Context(), tt.config)
			if tt.want == "" {
				if err != nil || m.Name() != tt.config.Name {
					t.Errorf("New = %v, %v", m, err)
				}
				return
			}

			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("New = %v, want an error with %q and without the key", err, tt.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		details := func(code int, status string, d ...map[string]any) standin.Reply {
			return standin.Reply{Error: &genai.APIError{Code: code, Status: status, Message: "m", Details: d}}
		}

		delay := func(d any) standin.Reply {
			return details(429, "RESOURCE_EXHAUSTED", map[string]any{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": d})
		}

		throttled := func(d time.Duration) *model.Error {
			return &model.Error{Code: 429, Status: "RESOURCE_EXHAUSTED", Message: "m", RetryAfter: d}
		}

		badKey := map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
		cut := standin.Text("whole")
		cut.Cut = true

		tests := []struct {
			name  string
			reply standin.Reply
			want  *model.Error
		}{
			{"throttled", scripts.Throttle(37 * time.Second), &model.Error{Code: 429, Status: "RESOURCE_EXHAUSTED", Message: "quota exceeded", RetryAfter: 37 * time.Second}},
			{"throttled without a delay", scripts.Throttle(0), &model.Error{Code: 429, Status: "RESOURCE_EXHAUSTED", Message: "quota exceeded"}},
			{"fraction", delay("1.5s"), throttled(1500 * time.Millisecond)},
			{"far too long", delay("99999999s"), throttled(24 * time.Hour)},
			{"overflow", delay("99999999999999999999s"), throttled(0)},
			{"negative", delay("-3s"), throttled(0)},
			{"not a duration", delay("soon"), throttled(0)},
			{"not a string", delay(37), throttled(0)},
			{"bad request", scripts.Fail(400, "INVALID_ARGUMENT", "no"), &model.Error{Code: 400, Status: "INVALID_ARGUMENT", Message: "no"}},
			{"wrong key", details(400, "INVALID_ARGUMENT", badKey), &model.Error{Code: 401, Status: "INVALID_ARGUMENT", Message: "m"}},
			{"unauthorized", scripts.Fail(401, "UNAUTHENTICATED", "no"), &model.Error{Code: 401, Status: "UNAUTHENTICATED", Message: "no"}},
			{"forbidden", scripts.Fail(403, "PERMISSION_DENIED", "key "+b.secret+" may not"), &model.Error{Code: 403, Status: "PERMISSION_DENIED", Message: "key [key] may not"}},
			{"not found", scripts.Fail(404, "NOT_FOUND", "no"), &model.Error{Code: 404, Status: "NOT_FOUND", Message: "no"}},
			{"broken", scripts.Fail(500, "INTERNAL", "oops"), &model.Error{Code: 500, Status: "INTERNAL", Message: "oops"}},
			{"error in the stream", raw(`{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}`, `{"error":{"code":503,"status":"UNAVAILABLE","message":"busy"}}`),
				&model.Error{Code: 503, Status: "UNAVAILABLE", Message: "busy"}},
			{"error outside an event", standin.Reply{Raw: `{"error":{"code":503,"status":"UNAVAILABLE","message":"busy"}}`},
				&model.Error{Code: 503, Status: "UNAVAILABLE", Message: "busy"}},
			{"cut in mid-rune", scripts.CutMidRune("a"), &model.Error{Message: "unexpected EOF", Err: io.ErrUnexpectedEOF}},
			{"cut after the finish", cut, &model.Error{Message: "unexpected EOF", Err: io.ErrUnexpectedEOF}},
			{"ends in mid-rune", standin.Reply{Raw: scripts.CutMidRune("").Raw}, malformed()},
			{"not JSON", raw(`{"secret words`), malformed()},
			{"not an event", standin.Reply{Raw: "<html>secret words</html>\n\n"}, malformed()},
			{"null candidate", raw(`{"candidates":[null]}`), malformed()},
			{"candidates of another type", raw(`{"candidates":"secret words"}`), malformed()},
			{"parts of another type", raw(`{"candidates":[{"content":{"parts":{"text":"secret words"}}}]}`), malformed()},
			{"text of another type", raw(`{"candidates":[{"content":{"parts":[{"text":1}]}}]}`), malformed()},
		}

		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				_, err := collect(t.Context(), b.asking(t, standin.New(scripts.New(tt.reply).Answer)), hello())
				var got *model.Error
				if !errors.As(err, &got) {
					t.Fatalf("Generate ended with %v, want an *model.Error", err)
				}
				if diff := cmp.Diff(*tt.want, *got, cmpopts.IgnoreFields(model.Error{}, "Err", "Cause")); diff != "" {
					t.Errorf("Generate (-want +got):\n%s", diff)
				}
				if tt.want.Err != nil && !errors.Is(got, tt.want.Err) {
					t.Errorf("Generate = %v, want an error that wraps %v", got, tt.want.Err)
				}
			})
		}
	})
}

func malformed() *model.Error {
	return &model.Error{Message: "the answer does not have the form of the Gemini API"}
}

// TestStatusCounts: a gateway may answer for the service with any body.
func TestStatusCounts(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		for _, tt := range []struct {
			name string
			code int
			body string
			want int
		}{
			{"no body", 502, "", 502},
			{"text", 503, "upstream is away", 503},
			{"no code", 500, `{"error":{"message":"m"}}`, 500},
			{"another code", 401, `{"error":{"code":200}}`, 401},
			{"redirect", 307, "", 307},
			{"cut", 503, "cut", 503},
		} {
			t.Run(tt.name, func(t *testing.T) {
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/stolen" {
						t.Errorf("the redirect was followed, with %v", r.Header)
					}

					w.Header().Set("Location", "/stolen")
					if tt.body == "cut" {
						w.Header().Set("Content-Length", "99")
					}

					w.WriteHeader(tt.code)
					io.WriteString(w, tt.body)
				}))

				defer srv.Close()
				m := b.model(t, gemini.Config{BaseURL: srv.URL})
				_, err := collect(t.Context(), m, hello())
				var got *model.Error
				if !errors.As(err, &got) || got.Code != tt.want {
					t.Errorf("Generate ended with %v, want code %d", err, tt.want)
				}
			})
		}
	})
}

// TestSocket: an interrupted stream and an absent service give the same errors over a real
// connection as in memory.
func TestSocket(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		script := scripts.New(standin.Text("a", "b"), scripts.CutMidRune("a"))
		srv := httptest.NewServer(standin.New(script.Answer))
		m := b.model(t, gemini.Config{BaseURL: srv.URL})
		if got, err := collect(t.Context(), m, hello()); err != nil || len(got) != 3 {
			t.Errorf("Generate = %v, %v, want three chunks", got, err)
		}
		got, err := collect(t.Context(), m, hello())
		var failed *model.Error
		if len(got) != 1 || !errors.As(err, &failed) || failed.Code != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Generate = %v, %v, want one chunk and a cut", got, err)
		}
		srv.Close()
		if _, err := collect(t.Context(), m, hello()); !errors.As(err, &failed) || failed.Code != 0 {
			t.Errorf("Generate without a service = %v, want code 0", err)
		}
	})
}

// TestInvalidRequest: a request that cannot be encoded is refused, and no other request is
// sent in its place.
func TestInvalidRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		part := func(p model.Part) model.Request {
			return model.Request{History: []model.Content{{Role: model.RoleModel, Parts: []model.Part{p}}}}
		}
		schema := hello()
		schema.Tools = []model.Tool{{Name: "f", Schema: []byte(`{"type":`)}}
		for name, req := range map[string]model.Request{
			"arguments are cut":    part(model.Part{Call: &model.Call{Name: "f", Args: []byte(`{"a":`)}}),
			"arguments are a list": part(model.Part{Call: &model.Call{Name: "f", Args: []byte(`[1]`)}}),
			"result is a text":     part(model.Part{Result: &model.Result{Name: "f", Value: []byte(`"x"`)}}),
			"result is empty":      part(model.Part{Result: &model.Result{Name: "f"}}),
			"schema is cut":        schema,
		} {
			t.Run(name, func(t *testing.T) {
				script := scripts.New()
				_, err := collect(t.Context(), b.asking(t, standin.New(script.Answer)), req)
				var got *model.Error
				if !errors.As(err, &got) || got.Kind() != model.OfMessage || !strings.Contains(got.Message, " f ") || len(script.Requests()) > 0 {
					t.Errorf("Generate = %v with %d requests, want a refusal that names f", err, len(script.Requests()))
				}
			})
		}
	})
}

func TestCheck(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		for _, tt := range []struct {
			name   string
			reply  standin.Reply
			denied bool
			code   int
		}{
			{"fine", standin.Reply{}, false, 0},
			{"wrong name", scripts.Fail(404, "NOT_FOUND", "no such model"), true, 404},
			{"wrong key", standin.Reply{Error: &genai.APIError{Code: 400, Details: []map[string]any{{"reason": "API_KEY_INVALID"}}}}, true, 401},
			{"overloaded", scripts.Fail(503, "UNAVAILABLE", "busy"), false, 503},
		} {
			t.Run(tt.name, func(t *testing.T) {
				script := scripts.Record(func(context.Context, standin.Request) standin.Reply { return tt.reply })
				err := b.asking(t, standin.New(script.Answer)).Check(t.Context())
				var got *model.Error

				if tt.code == 0 {
					if err != nil {
						t.Errorf("Check = %v", err)
					}
				} else if !errors.As(err, &got) || got.Code != tt.code || (got.Kind() == model.OfOperator) != tt.denied {
					t.Errorf("Check = %v, want code %d", err, tt.code)
				}

				if seen := script.Requests(); len(seen) != 1 || seen[0].Op != b.check {
					t.Errorf("requests = %v, want one %s", seen, b.check)
				}
			})
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.asking(t, standin.New(standin.Talk(0))).Check(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Check with an ended context = %v, want context.Canceled", err)
		}
	})
}

// TestCheckKind: Check refuses a model that generates no text.
func TestCheckKind(t *testing.T) {
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		body := `{"name":"models/gemini-x","supportedGenerationMethods":["embedContent"]}`
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})}
	m, err := gemini.New(t.Context(), gemini.Config{Name: "gemini-x", Key: fixed("k"), HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	var got *model.Error
	if err := m.Check(t.Context()); !errors.As(err, &got) || got.Kind() != model.OfOperator {
		t.Errorf("Check = %v, want a denial", err)
	}
}
