package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-jose/go-jose/v4"

	"errand/shared/agent"
	"errand/shared/card"
	"errand/shared/keys"
	lab "errand/shared/lab/agent"
	"errand/shared/peer"
)

var start = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

// A far is another agent, with a card that is signed by a ring.
type far struct {
	*httptest.Server
	t     *testing.T
	ring  keys.Ring
	reads atomic.Int64
	does  atomic.Pointer[http.HandlerFunc] // instead of the card
	now   time.Time
}

func newFar(t *testing.T) *far {
	t.Helper()
	text, err := keys.Generate("", start.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	f := &far{t: t, ring: ring, now: start}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *far) serve(w http.ResponseWriter, r *http.Request) {
	f.reads.Add(1)
	if does := f.does.Load(); does != nil {
		(*does)(w, r)
		return
	}
	f.handler().ServeHTTP(w, r)
}

func (f *far) handler() http.Handler {
	a, err := agent.Parse(lab.Definition)
	if err != nil {
		f.t.Error(err)
	}
	h, err := card.New(card.Config{Agent: a, URL: "https://far.example.com", Modified: start, Sign: func(base string, payload []byte) ([]a2a.AgentCardSignature, error) {
		var all []a2a.AgentCardSignature
		signed, err := f.ring.SignCard(start, base+keys.Path, payload)
		for _, s := range signed {
			all = append(all, a2a.AgentCardSignature{Protected: s.Protected, Signature: s.Signature})
		}
		return all, err
	}})
	if err != nil {
		f.t.Error(err)
	}
	return h
}

// does what instead of the card from now on; nil: the card again.
func (f *far) instead(what http.HandlerFunc) {
	if what == nil {
		f.does.Store(nil)
		return
	}
	f.does.Store(&what)
}

// keys are those that the operator gave.
func (f *far) keys(context.Context) (set jose.JSONWebKeySet, err error) {
	err = json.Unmarshal(f.ring.JWKS(start), &set)
	return set, err
}

// client follows no redirects, as the guarded one.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (f *far) peer() *peer.Peer {
	return peer.New(peer.Config{Read: peer.AtURL(f.URL, client, nil), Keys: f.keys, Now: func() time.Time { return f.now }})
}

func TestCardIsReadOnceAndRenewed(t *testing.T) {
	f := newFar(t)
	p := f.peer()
	for range 3 {
		k, err := p.Card(t.Context())
		if err != nil || k.Card.Name == "" || k.Signed != f.ring.CardKeys(start)[0] {
			t.Fatalf("Card = %+v, %v", k, err)
		}
	}
	if n := f.reads.Load(); n != 1 {
		t.Errorf("the card is read %d times", n)
	}

	f.now = f.now.Add(6 * time.Minute) // its Cache-Control says five
	status := 0
	f.instead(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		f.handler().ServeHTTP(rec, r)
		status = rec.Code
		for name, v := range rec.Header() {
			w.Header()[name] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = io.Copy(w, rec.Body)
	})
	if _, err := p.Card(t.Context()); err != nil || status != http.StatusNotModified {
		t.Errorf("a card that has not changed is answered %d, %v", status, err)
	}
	if _, err := p.Card(t.Context()); err != nil || f.reads.Load() != 2 {
		t.Errorf("the card is read %d times, %v", f.reads.Load(), err)
	}
}

// What is no card, or a forged one, is refused, and takes the place of none.
func TestCardsThatAreRefused(t *testing.T) {
	for name, row := range map[string]struct {
		does http.HandlerFunc
		want error // nil: any
	}{
		"forged":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"name":"x","signatures":[]}`) }, peer.ErrForged},
		"no card": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>`) }, peer.ErrNoCard},
		"without end": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		}, peer.ErrNoCard},
		"inwards": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		}, nil},
		"gone": {http.NotFound, nil},
	} {
		f := newFar(t)
		f.instead(row.does)
		p := f.peer()
		if k, err := p.Card(t.Context()); err == nil || row.want != nil && !errors.Is(err, row.want) {
			t.Errorf("%s: Card = %+v, %v", name, k, err)
		}
		f.instead(nil)
		if _, err := p.Card(t.Context()); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

// A card that was genuine serves while its agent is away, for a week, and no longer once it is
// forged or its key is taken back.
func TestAgentThatIsAway(t *testing.T) {
	f := newFar(t)
	p := f.peer()
	if _, err := p.Card(t.Context()); err != nil {
		t.Fatal(err)
	}
	away := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	f.instead(away)
	f.now = start.Add(6 * 24 * time.Hour)
	if _, err := p.Card(t.Context()); err != nil {
		t.Errorf("after six days: %v", err)
	}
	f.now = start.Add(8 * 24 * time.Hour)
	if _, err := p.Card(t.Context()); err == nil {
		t.Error("after eight days the card is still used")
	}

	f.now = start.Add(time.Hour)
	f.instead(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"name":"x"}`) })
	if _, err := p.Card(t.Context()); !errors.Is(err, peer.ErrForged) {
		t.Errorf("a forged card: %v", err)
	}

	f.instead(nil)
	none := peer.New(peer.Config{Read: peer.AtURL(f.URL, client, nil), Keys: func(context.Context) (set jose.JSONWebKeySet, err error) { return set, nil }})
	if _, err := none.Card(t.Context()); !errors.Is(err, peer.ErrForged) {
		t.Errorf("without its key: %v", err)
	}
}

// Shows D24.
func TestCardsThatAreGiven(t *testing.T) {
	f := newFar(t)
	res, err := http.Get(f.URL + card.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	doc, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "card.json")
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		t.Fatal(err)
	}

	for name, read := range map[string]peer.Reader{
		"in a file":                 peer.InFile(path),
		"as text":                   peer.Text(func(context.Context) (string, error) { return string(doc), nil }),
		"at the card's own address": peer.AtURL(f.URL+card.Path, client, nil),
	} {
		k, err := peer.New(peer.Config{Read: read, Keys: f.keys}).Card(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i, err := k.Interface()
		if err != nil || i.ProtocolVersion != "1.0" || i.ProtocolBinding != a2a.TransportProtocolJSONRPC {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
}

func TestInterface(t *testing.T) {
	for _, row := range []struct{ have, want string }{
		{"GRPC 1.0,HTTP+JSON 1.0", "HTTP+JSON 1.0"},
		{"JSONRPC 0.3,HTTP+JSON 1.1", "HTTP+JSON 1.1"},
		{"JSONRPC 0.3.0", "JSONRPC 0.3.0"},
		{"JSONRPC 10.0,GRPC 1.0", ""},
		{"", ""},
	} {
		var c a2a.AgentCard
		for one := range strings.SplitSeq(row.have, ",") {
			binding, version, _ := strings.Cut(one, " ")
			c.SupportedInterfaces = append(c.SupportedInterfaces, &a2a.AgentInterface{ProtocolBinding: a2a.TransportProtocol(binding), ProtocolVersion: a2a.ProtocolVersion(version)})
		}
		got := ""
		if i, err := (&peer.Known{Card: &c}).Interface(); err == nil {
			got = string(i.ProtocolBinding) + " " + string(i.ProtocolVersion)
		}
		if got != row.want {
			t.Errorf("of %q: %q, want %q", row.have, got, row.want)
		}
	}
}
