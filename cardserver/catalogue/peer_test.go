package catalogue_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"errand/shared/peer"
)

// A peer finds the card of the one agent that has what it asks for, and is told how many have it otherwise. Its
// signature is checked by the peer's own keys.
func TestPeerInCatalogue(t *testing.T) {
	ring := newRing(t)
	w := newWorld(t, "{strangers: public}")
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	as := func(caller string) func(*http.Request) error {
		return func(r *http.Request) error {
			r.Header.Set("X-API-Key", w.callers[caller])
			return nil
		}
	}
	for name, skill := range map[string]string{"a": "fly", "b": "fly", "c": "swim"} {
		at := "https://" + name + ".example/card.json"
		w.far.put(at, sign(t, cardOf(at, strings.ToUpper(name), skill), ring))
		w.register("alice", at, "")
	}

	read := func(query string, sign func(*http.Request) error) (peer.Copy, error) {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		return peer.InCatalogue(server.URL+"/", values, http.DefaultClient, sign)(t.Context(), peer.Copy{})
	}
	c, err := read("skill=swim", as("carl"))
	if err != nil || !c.Doubtful || c.Origin != server.URL {
		t.Fatalf("%+v, %v", c, err)
	}
	for query, want := range map[string]string{"skill=fly": "has 2 agents", "skill=fly&pageSize=1": "has 2 agents", "skill=dig": "has no agent", "colour=red": "answers 400"} {
		if _, err := read(query, as("carl")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
	if _, err := read("tag=tag-swim", nil); err == nil || !strings.Contains(err.Error(), "needs credentials") {
		t.Errorf("without credentials: %v", err)
	}

	trusted := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(trusted, ring.JWKS(w.Now()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := peer.New(peer.Config{Read: peer.InCatalogue(server.URL, url.Values{"skill": {"swim"}}, http.DefaultClient, as("carl")), Keys: peer.KeysInFile(trusted)})
	if k, err := p.Card(t.Context()); err != nil || k.Signed == "" || k.Card.Name != "C" {
		t.Errorf("%+v, %v", k, err)
	}
}
