package smoke_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/infra/smoke"
)

// serving puts front in place of the key set, and lets all other requests through.
func serving(front func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		keys := front(h)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/.well-known/jwks.json" && r.Method == http.MethodGet {
				keys.ServeHTTP(w, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
}

func TestKeySet(t *testing.T) {
	const html, text, js, set = "text/html; charset=UTF-8", "text/plain; charset=utf-8", "application/json", "application/jwk-set+json"
	for _, row := range []struct {
		name   string
		status int
		kind   string
		body   string
		want   []string // empty: no line
	}{
		{"keys", 200, set, `{"keys":[{"kty":"EC","alg":"ES256","kid":"a"},{"kty":"EC","alg":"ES256","kid":"b"}]}`, []string{"ok   keys", "2 public keys"}},
		{"an agent that has none", 404, text, "404 page not found\n", nil},
		{"an agent that has none, with an error in JSON", 404, js, `{"error":{"code":404}}`, nil},
		{"no version", 503, text, "the keys cannot be read now\n", []string{"FAIL keys", "jwks.json: 503 Service Unavailable: the keys cannot be read now",
			"-> the secret errand-keys has no version", "-> on Google Cloud: go run ./cardserver keys | gcloud secrets versions add errand-errand-keys --data-file=-", "ERRAND_KEYS", "note configs"}},
		{"no instance", 503, html, "<html>503</html>", []string{"FAIL keys", "-> Cloud Run could start no instance"}},
		{"no key", 200, set, `{"keys":[]}`, []string{"FAIL keys", "is empty", "-> receivers cannot check webhooks"}},
		{"a private key", 200, set, `{"keys":[{"kty":"EC","alg":"ES256","d":"canary"}]}`, []string{"FAIL keys", "shows a private key", "-> every reader of it"}},
		{"a shared secret", 200, set, `{"keys":[{"kty":"oct","alg":"ES256","k":"canary"}]}`, []string{"FAIL keys", "shows a private key"}},
		{"keys of others", 200, js, `{"keys":[{"kty":"RSA","alg":"RS256"},{"kty":"EC","alg":"ES256"},{"kty":"RSA","alg":"RS256"}]}`, []string{"note keys", `has keys for "RS256". Errand signs`}},
		{"a page", 200, html, "<html>Hello</html>", []string{"note keys", "is no key set (200)"}},
		{"something else", 200, js, `{"name":"x"}`, []string{"note keys", "is no key set (200)"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := agent{run: chats, wrap: serving(page(row.status, "", "", row.kind, row.body))}.start(t)
			report, err := try(t, smoke.Config{URL: s.URL})
			if failed := row.want != nil && strings.Contains(row.want[0], "FAIL"); failed != (err != nil) {
				t.Errorf("Run = %v", err)
			}

			says(t, report, row.want...)
			if row.want == nil && strings.Contains(report, " keys ") {
				t.Errorf("the report has a line about keys:\n%s", report)
			}
			if strings.Contains(report, "canary") {
				t.Errorf("the report has a private key:\n%s", report)
			}
		})
	}
}

// An agent that declares no webhooks needs no keys for them.
func TestKeySetWithoutWebhooks(t *testing.T) {
	s := agent{
		run: chats, wrap: serving(page(503, "", "", "text/plain", "no keys")),
		card: func(c *a2a.AgentCard) { c.Capabilities.PushNotifications = false },
	}.start(t)
	if report, err := try(t, smoke.Config{URL: s.URL}); err != nil || strings.Contains(report, " keys ") {
		t.Errorf("Run = %v\n%s", err, report)
	}
}
