package gemini_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/secret"
)

// A backend completes a Config for one of the two services.
type backend struct {
	name     string
	check    string // the operation that Check calls
	secret   string // the key or token in the requests
	complete func(testing.TB, gemini.Config) gemini.Config
}

// The two services. Tests of their common behaviour run on both.
var (
	withKey = backend{"Gemini API", standin.OpGet, "the-key",
		func(_ testing.TB, c gemini.Config) gemini.Config {
			c.Key = fixed("the-key")
			return c
		}}
	onVertex = backend{"Vertex AI", standin.OpCount, "the-token-1",
		func(tb testing.TB, c gemini.Config) gemini.Config {
			login(tb, (&tokens{}).ServeHTTP)
			c.Vertex = &gemini.Vertex{Project: "p", Location: "global"}
			return c
		}}
)

func onBoth(t *testing.T, test func(*testing.T, backend)) {
	for _, b := range []backend{withKey, onVertex} {
		t.Run(b.name, func(t *testing.T) { test(t, b) })
	}
}

// model makes a Model that calls this service.
func (b backend) model(tb testing.TB, c gemini.Config) *gemini.Model {
	tb.Helper()
	if c.Name == "" {
		c.Name = "gemini-x"
	}
	m, err := gemini.New(tb.Context(), b.complete(tb, c))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// asking makes a Model whose requests go to s.
func (b backend) asking(tb testing.TB, s *standin.Server) *gemini.Model {
	tb.Helper()
	return b.model(tb, gemini.Config{HTTPClient: s.Client()})
}

func fixed(key string) func(context.Context) (secret.Value, error) {
	return func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(key)) }
}

// tokens is a token service. Each of its tokens is new.
type tokens struct {
	mu    sync.Mutex
	given int
	brief bool // the tokens are about to expire
}

func (s *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given++
	life := 3600
	if s.brief {
		life = 60
	}
	fmt.Fprintf(w, `{"access_token":"the-token-%d","token_type":"Bearer","expires_in":%d}`, s.given, life)
}

// serviceKey is the private key of a service account.
var serviceKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
})

// login makes a service account's file the application default credentials. The file
// names the token service, so that the real flow runs on one machine. Credentials of a
// person would always call Google.
func login(tb testing.TB, service http.HandlerFunc, more ...string) {
	tb.Helper()
	srv := httptest.NewServer(service)
	tb.Cleanup(srv.Close)
	account := map[string]string{
		"type": "service_account", "project_id": "other", "client_email": "errand@p.example.com",
		"private_key_id": "1", "private_key": serviceKey(), "token_uri": srv.URL,
	}
	for i := 0; i+1 < len(more); i += 2 {
		account[more[i]] = more[i+1]
	}
	b, err := json.Marshal(account)
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(tb.TempDir(), "credentials.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
}
