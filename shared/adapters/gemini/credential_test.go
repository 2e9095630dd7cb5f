package gemini_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genai"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/local"
	"errand/shared/adapters/standin"
	"errand/shared/lab/scripts"
	"errand/shared/model"
	"errand/shared/secret"
)

// keyIn reads the key from a folder of secrets.
func keyIn(dir string) func(context.Context) (secret.Value, error) {
	return func(ctx context.Context) (secret.Value, error) {
		return local.Files{Dir: dir}.Get(ctx, secret.Ref{Name: "gemini-api-key"})
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestKeyRotation: while the service refuses the old key and the new one is not in the
// folder, calls fail. As soon as the new key is there, the same Model uses it.
func TestKeyRotation(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "gemini-api-key")
	var valid atomic.Value
	valid.Store("old-key")

	m, err := gemini.New(t.Context(), gemini.Config{Name: "gemini-x", Key: keyIn(dir), HTTPClient: standin.New(func(_ context.Context, r standin.Request) standin.Reply {
		if r.Key == valid.Load() {
			return standin.Text("fine")
		}
		return standin.Reply{Error: &genai.APIError{Code: 400, Status: "INVALID_ARGUMENT", Message: "API key not valid: " + r.Key,
			Details: []map[string]any{{"reason": "API_KEY_INVALID"}}}}
	}).Client()})
	if err != nil {
		t.Fatal(err)
	}

	for _, step := range []struct {
		name, valid, file string
		code              int // 0: no error
	}{
		{"no key yet", "old-key", "", 401},
		{"a key", "old-key", "old-key\n", 0},
		{"revoked", "new-key", "old-key\n", 401},
		{"rotated", "new-key", "new-key\n", 0},
		{"rotated once more", "newer-key", "newer-key", 0},
	} {
		valid.Store(step.valid)
		if step.file != "" {
			write(t, file, step.file)
		}

		for _, ask := range []func() error{
			func() error { _, err := collect(t.Context(), m, hello()); return err },
			func() error { return m.Check(t.Context()) },
		} {
			err := ask()
			var got *model.Error

			switch {
			case step.code == 0 && err != nil:
				t.Errorf("%s: %v", step.name, err)
			case step.code != 0 && (!errors.As(err, &got) || got.Code != step.code || got.Kind() != model.OfOperator || strings.Contains(err.Error(), "old-key")):
				t.Errorf("%s: %v, want code %d without the key", step.name, err, step.code)
			}
		}
	}
}

// TestKeyRotationMidway: an interrupted answer is resumed with the key of that moment.
func TestKeyRotationMidway(t *testing.T) {
	asked := 0
	key := func(context.Context) (secret.Value, error) {
		asked++
		return secret.NewValue(fmt.Appendf(nil, "key-%d", asked))
	}
	first := raw(`{"candidates":[{"content":{"parts":[{"text":"one "}]},"continuationToken":"AQID"}]}`)
	first.Cut = true
	script := scripts.New(first, standin.Text("two"))
	m, err := gemini.New(t.Context(), gemini.Config{Name: "gemini-x", Key: key, HTTPClient: standin.New(script.Answer).Client()})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := collect(t.Context(), m, hello()); err != nil || len(got) != 3 {
		t.Errorf("Generate = %+v, %v, want one, two, STOP", got, err)
	}
	if seen := script.Requests(); len(seen) != 2 || seen[0].Key != "key-1" || seen[1].Key != "key-2" {
		t.Errorf("requests = %+v, want the first with key-1 and the second with key-2", seen)
	}
}

// TestKeyThatIsNone: without a key that fits a header no request is sent, and the turn waits.
func TestKeyThatIsNone(t *testing.T) {
	for _, tt := range []struct{ name, key, want string }{
		{"absent", "", "no such secret"},
		{"blank", " \n", "the API key is empty"},
		{"two lines", "hush\nhush", "the API key is empty, or has"},
		{"not ASCII", "hushé", "the API key is empty, or has"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.key != "" {
				write(t, filepath.Join(dir, "gemini-api-key"), tt.key)
			}
			script := scripts.New()
			m, err := gemini.New(t.Context(), gemini.Config{Name: "gemini-x", Key: keyIn(dir), HTTPClient: standin.New(script.Answer).Client()})
			if err != nil {
				t.Fatal(err)
			}
			_, err = collect(t.Context(), m, hello())
			var got *model.Error
			if !errors.As(err, &got) || got.Kind() != model.OfOperator || !strings.Contains(got.Message, tt.want) || strings.Contains(err.Error(), "hush") || len(script.Requests()) > 0 {
				t.Errorf("Generate = %v with %d requests, want a denial with %q", err, len(script.Requests()), tt.want)
			}
		})
	}
}

func TestKeyEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m, err := gemini.New(ctx, gemini.Config{Name: "gemini-x", HTTPClient: standin.New(standin.Talk(0)).Client(), Key: func(ctx context.Context) (secret.Value, error) {
		cancel()
		<-ctx.Done()
		return secret.Value{}, ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collect(ctx, m, hello()); err != context.Canceled {
		t.Errorf("Generate ended with %v, want context.Canceled", err)
	}
}

// onToken makes a Model on Vertex AI whose tokens come from service.
func onToken(t *testing.T, service http.HandlerFunc, script *scripts.Script) *gemini.Model {
	t.Helper()
	login(t, service)
	m, err := gemini.New(t.Context(), gemini.Config{
		Name: "gemini-x", Vertex: &gemini.Vertex{Project: "p", Location: "global"}, HTTPClient: standin.New(script.Answer).Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTokensAreKept(t *testing.T) {
	script := scripts.New(standin.Text("a"), standin.Text("b"))
	m := onToken(t, (&tokens{}).ServeHTTP, script)
	for range 2 {
		if _, err := collect(t.Context(), m, hello()); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range script.Requests() {
		if r.Key != "the-token-1" || r.Parent != "projects/p/locations/global" {
			t.Errorf("requested with %s in %s, want the-token-1 in projects/p/locations/global", r.Key, r.Parent)
		}
	}
}

// TestTokensAreRenewed: a token that is about to expire is used until the next one has
// been fetched.
func TestTokensAreRenewed(t *testing.T) {
	var sent atomic.Value
	m := onToken(t, (&tokens{brief: true}).ServeHTTP, scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
		sent.Store(r.Key)
		return standin.Text("fine")
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for sent.Load() == nil || sent.Load() == "the-token-1" {
		if _, err := collect(ctx, m, hello()); err != nil {
			t.Fatalf("sent %v: %v", sent.Load(), err)
		}
	}
}

// TestTokenServiceFails: no request is sent, and errors quote neither the answer of the
// token service nor the request to it.
func TestTokenServiceFails(t *testing.T) {
	answer := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			sent, _ := httputil.DumpRequest(r, true)
			w.WriteHeader(code)
			io.WriteString(w, body)
			w.Write(bytes.ReplaceAll(sent, []byte("assertion"), []byte("hush")))
		}
	}

	for _, tt := range []struct {
		name    string
		service http.HandlerFunc
		denied  bool
		want    string
	}{
		{"refused", answer(400, `{"error":"invalid_grant"}`), true, "gcloud auth application-default login"},
		{"unauthorized", answer(401, ``), true, "refused (401)"},
		{"forbidden", answer(403, ``), true, "refused (403)"},
		{"broken", answer(500, ``), false, "answered 500"},
		{"not JSON", answer(200, `<html>`), false, "no access token"},
		{"no token", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{}`) }, false, "has none"},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "no access token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			script := scripts.New()
			m := onToken(t, tt.service, script)
			for name, err := range map[string]error{
				"Generate": func() error { _, err := collect(t.Context(), m, hello()); return err }(),
				"Check":    m.Check(t.Context()),
			} {
				var got *model.Error
				if !errors.As(err, &got) || (got.Kind() == model.OfOperator) != tt.denied || (!tt.denied && got.Code != 0) || !strings.Contains(got.Message, tt.want) {
					t.Errorf("%s = %v, want %q, denied %t", name, err, tt.want, tt.denied)
				}
				if s := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(s, "hush") || strings.Contains(s, "eyJ") {
					t.Errorf("the error of %s quotes the answer or the request: %s", name, s)
				}
			}

			if seen := script.Requests(); len(seen) > 0 {
				t.Errorf("requests = %v, want none", seen)
			}
		})
	}
}

func TestTokenEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := onToken(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // the server notices the end of a request only after its body was read
		cancel()
		<-r.Context().Done()
	}, scripts.New())
	if _, err := collect(ctx, m, hello()); err != context.Canceled {
		t.Errorf("Generate ended with %v, want context.Canceled", err)
	}
}

// TestNoErrorHoldsTheCredential: a service, or a gateway in front of it, may quote the
// whole request.
func TestNoErrorHoldsTheCredential(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		for _, code := range []int{200, 301, 400, 401, 403, 429, 500} {
			for _, format := range []string{"%s", `{"error":{"message":%q}}`, `{"error":{"code":400,"status":%q}}`, "data: %s\n\n", "data: {\"error\":{\"message\":%q}}\n\n"} {
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					got := r.Header.Get("X-Goog-Api-Key") + r.Header.Get("Authorization")
					if !strings.Contains(got, b.secret) {
						t.Errorf("the request came with %q", got)
					}
					if strings.Contains(r.URL.String(), b.secret) {
						t.Errorf("the URL is %s", r.URL)
					}

					w.Header().Set("Location", "/"+b.secret)
					w.WriteHeader(code)
					fmt.Fprintf(w, format, "you sent "+got)
				}))

				m := b.model(t, gemini.Config{BaseURL: srv.URL})
				_, failed := collect(t.Context(), m, hello())
				for _, err := range []error{failed, m.Check(t.Context())} {
					if s := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(s, b.secret) {
						t.Errorf("%d with %s: %s", code, format, s)
					}
				}

				if failed == nil {
					t.Errorf("%d with %s: no error", code, format)
				}

				srv.Close()
				_, failed = collect(t.Context(), m, hello())
				if s := fmt.Sprintf("%v %+v", failed, failed); failed == nil || strings.Contains(s, b.secret) {
					t.Errorf("without a service: %s", s)
				}
			}
		}
	})
}

// A key that is a letter or a word for a gateway that asks for none is no secret. Messages of
// the service stay readable.
func TestPlaceholderIsNotBlottedOut(t *testing.T) {
	for key, want := range map[string]string{
		"x": "You exceeded x", "dummy": "You exceeded dummy", "sk-1234": "You exceeded [key]",
	} {
		script := scripts.New(scripts.Fail(500, "INTERNAL", "You exceeded "+key))
		m, err := gemini.New(t.Context(), gemini.Config{Name: "gemini-x", Key: fixed(key), HTTPClient: standin.New(script.Answer).Client()})
		if err != nil {
			t.Fatal(err)
		}

		_, err = collect(t.Context(), m, hello())
		if e, ok := errors.AsType[*model.Error](err); !ok || e.Message != want {
			t.Errorf("key %q: %v, want %q", key, err, want)
		}
	}
}
