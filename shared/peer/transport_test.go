package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/peer"
	"errand/shared/secret"
)

// sent is what reached an agent: the hosts, with the credential of each request.
type sent map[string]string

func (s sent) Do(r *http.Request) (*http.Response, error) {
	s[r.URL.Scheme+"://"+r.URL.Host] = r.Header.Get("X-Key") + r.Header.Get("Authorization")
	w := httptest.NewRecorder()
	return w.Result(), nil
}

// secrets are those of the tests, by name.
type secrets map[string]string

func (s secrets) Get(_ context.Context, ref secret.Ref) (secret.Value, error) {
	return secret.NewValue([]byte(s[ref.Name]))
}

// A credential goes where the operator or a signature says that the agent is, and to no
// other place.
func TestWhereCredentialsGo(t *testing.T) {
	at := func(urls ...string) string {
		var all []string
		for _, u := range urls {
			all = append(all, `{"url":"`+u+`","protocolBinding":"JSONRPC","protocolVersion":"1.0"}`)
		}
		return `{"name":"x","supportedInterfaces":[` + strings.Join(all, ",") + `]}`
	}
	read := func(c peer.Copy) peer.Reader {
		return func(context.Context, peer.Copy) (peer.Copy, error) { return c, nil }
	}
	key := peer.APIKey{Secrets: secrets{"k": "very-secret"}, Ref: secret.Ref{Name: "k"}}

	for name, row := range map[string]struct {
		card peer.Copy
		to   string
		ok   bool
	}{
		"to the origin of the card":      {peer.Copy{Doc: []byte(at("https://a.example/rpc")), Origin: "https://a.example"}, "https://a.example/rpc", true},
		"spelled in another way":         {peer.Copy{Doc: []byte(at("https://A.example:443/rpc")), Origin: "https://a.example"}, "https://a.example/rpc", true},
		"the card leads elsewhere":       {peer.Copy{Doc: []byte(at("https://b.example/rpc")), Origin: "https://a.example"}, "https://b.example/rpc", false},
		"not in the card":                {peer.Copy{Doc: []byte(at("https://a.example/rpc")), Origin: "https://a.example"}, "https://b.example/rpc", false},
		"another port":                   {peer.Copy{Doc: []byte(at("https://a.example:8443/rpc")), Origin: "https://a.example"}, "https://a.example:8443/rpc", false},
		"in the clear":                   {peer.Copy{Doc: []byte(at("http://a.example/rpc")), Origin: "http://a.example"}, "http://a.example/rpc", false},
		"on this machine":                {peer.Copy{Doc: []byte(at("http://127.0.0.1:8080")), Origin: "http://127.0.0.1:8080"}, "http://127.0.0.1:8080/", true},
		"a card that the operator gave":  {peer.Copy{Doc: []byte(at("https://b.example/rpc"))}, "https://b.example/rpc", true},
		"a card that somebody else gave": {peer.Copy{Doc: []byte(at("https://b.example/rpc")), Doubtful: true}, "https://b.example/rpc", false},
		"no card":                        {peer.Copy{Doc: []byte("<html>")}, "https://a.example/rpc", false},
	} {
		got := sent{}
		client := &http.Client{Transport: peer.New(peer.Config{Read: read(row.card)}).Transport(key, got)}
		res, err := client.Post(row.to, "application/json", strings.NewReader("{}"))
		if err == nil {
			_ = res.Body.Close()
		}
		if (err == nil) != row.ok || len(got) > 0 != row.ok {
			t.Errorf("%s: %v, sent %v", name, err, got)
		}
		if err != nil && strings.Contains(err.Error(), "very-secret") {
			t.Errorf("%s: the error has the secret: %v", name, err)
		}
	}
}

// A signed card says itself where its agent is, and the key is no longer sent once the card is
// forged.
func TestSignedCardSaysWhereItsAgentIs(t *testing.T) {
	f := newFar(t)
	p := f.peer()
	got := sent{}
	client := &http.Client{Transport: p.Transport(peer.APIKey{Secrets: secrets{"k": "s"}, Ref: secret.Ref{Name: "k"}}, got)}
	call := func() error {
		res, err := client.Get("https://far.example.com/")
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	if err := call(); err != nil || got["https://far.example.com"] != "Bearer s" {
		t.Errorf("%v, sent %v", err, got)
	}

	clear(got)
	f.now = f.now.Add(2 * 60 * 60 * 1e9)
	f.instead(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"name":"x"}`)) })
	if err := call(); !errors.Is(err, peer.ErrForged) || len(got) > 0 {
		t.Errorf("with a forged card: %v, sent %v", err, got)
	}
}

func TestAPIKeyGoesWhereTheCardSays(t *testing.T) {
	key := peer.APIKey{Secrets: secrets{"k": "s\n"}, Ref: secret.Ref{Name: "k"}}
	for name, row := range map[string]struct {
		schemes a2a.NamedSecuritySchemes
		want    string
	}{
		"X-Key":         {a2a.NamedSecuritySchemes{"k": a2a.APIKeySecurityScheme{Location: a2a.APIKeySecuritySchemeLocationHeader, Name: "X-Key"}}, "s"},
		"Authorization": {nil, "Bearer s"},
	} {
		r := httptest.NewRequest(http.MethodGet, "https://a.example", nil)
		if err := key.Put(t.Context(), &a2a.AgentCard{SecuritySchemes: row.schemes}, r); err != nil || r.Header.Get(name) != row.want {
			t.Errorf("%s = %q, %v", name, r.Header.Get(name), err)
		}
	}
	key.Ref.Name = "other"
	if err := key.Put(t.Context(), &a2a.AgentCard{}, httptest.NewRequest(http.MethodGet, "https://a.example", nil)); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("without a secret: %v", err)
	}
}

// An OAuth token is asked for once, and again with another secret of the client.
func TestOAuthTokenIsKept(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		_, key, basic := r.BasicAuth()
		if !basic { // the library tries both ways
			key = r.FormValue("client_secret")
		}
		if key == "bad-secret" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "not " + key})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token of " + key, "token_type": "Bearer", "expires_in": 3600})
	}))
	t.Cleanup(server.Close)
	mine := secrets{"c": "one"}
	o := &peer.OAuth{TokenURL: server.URL, ClientID: "me", Secrets: mine, Ref: secret.Ref{Name: "c"}, Client: server.Client()}

	put := func() (string, error) {
		r := httptest.NewRequest(http.MethodGet, "https://a.example", nil)
		err := o.Put(t.Context(), &a2a.AgentCard{}, r)
		return r.Header.Get("Authorization"), err
	}
	for range 3 {
		if got, err := put(); got != "Bearer token of one" || err != nil || asked != 1 {
			t.Errorf("%q, %v, asked %d times", got, err, asked)
		}
	}
	mine["c"] = "two"

	if got, err := put(); got != "Bearer token of two" || err != nil || asked != 2 {
		t.Errorf("with another secret: %q, %v, asked %d times", got, err, asked)
	}
	mine["c"] = "bad-secret"
	if got, err := put(); got != "" || err == nil || strings.Contains(err.Error(), "bad-secret") {
		t.Errorf("refused: %q, %v", got, err)
	}
	server.Close()
	mine["c"] = "three"
	if got, err := put(); got != "" || err == nil || strings.Contains(err.Error(), "three") {
		t.Errorf("without the server: %q, %v", got, err)
	}
}

func TestGoogleIDIsForTheAgent(t *testing.T) {
	g := peer.GoogleID{Token: func(_ context.Context, audience string) (string, error) { return "for " + audience + "\n", nil }}
	r := httptest.NewRequest(http.MethodGet, "https://a.example/rpc?x", nil)
	if err := g.Put(t.Context(), &a2a.AgentCard{}, r); err != nil || r.Header.Get("Authorization") != "Bearer for https://a.example" {
		t.Errorf("%q, %v", r.Header.Get("Authorization"), err)
	}
}
