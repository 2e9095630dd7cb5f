package catalogue_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	door "errand/cardserver/catalogue"
	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/catalogue"
	"errand/shared/keys"
	"errand/shared/kv"
	base "errand/shared/lab/world"
	"errand/shared/peer"
)

// A far has the cards of other agents, by host and path, and serves them over TLS.
type far struct {
	*httptest.Server
	mu    sync.Mutex
	cards map[string]http.HandlerFunc // by URL
}

func newFar(t testing.TB) *far {
	f := &far{cards: map[string]http.HandlerFunc{}}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		does := f.cards["https://"+r.Host+r.URL.Path]
		f.mu.Unlock()
		if does == nil {
			http.NotFound(w, r)
			return
		}
		does(w, r)
	}))
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // tests break connections off
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// serve serves an address from now on; nil: nothing.
func (f *far) serve(url string, does http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cards[url] = does
}

// put serves a card at an address.
func (f *far) put(url string, c *a2a.AgentCard) {
	doc, err := card.Encode(c)
	if err != nil {
		panic(err)
	}
	f.serve(url, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(doc) })
}

// client reaches every host at the server, and follows no redirects, as the guarded one does not.
func (f *far) client() *http.Client {
	to := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, f.Listener.Addr().String())
		},
	}
	return &http.Client{Transport: to, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// cardOf is a card at an address, with one skill of each name.
func cardOf(address, name string, skills ...string) *a2a.AgentCard {
	u, _ := url.Parse(address)
	c := &a2a.AgentCard{
		Name: name, Description: "Helps with " + name, Version: "1.0.0",
		SupportedInterfaces: []*a2a.AgentInterface{{URL: "https://" + u.Host + "/a2a", ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: "1.0"}},
		DefaultInputModes:   []string{"text/plain"}, DefaultOutputModes: []string{"text/plain"},
		Provider: &a2a.AgentProvider{Org: "Org of " + u.Host, URL: "https://" + u.Host},
	}
	for _, s := range skills {
		c.Skills = append(c.Skills, a2a.AgentSkill{ID: s, Name: "Skill " + s, Description: "Does " + s + " well", Tags: []string{"tag-" + s}})
	}
	return c
}

// sign signs a card with a ring.
func sign(t testing.TB, c *a2a.AgentCard, ring keys.Ring) *a2a.AgentCard {
	t.Helper()
	c.Signatures = nil
	doc, err := card.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := card.Canonical(doc, card.Whole)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := ring.SignCard(time.Now(), "https://jku.example"+keys.Path, payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signed {
		c.Signatures = append(c.Signatures, a2a.AgentCardSignature{Protected: s.Protected, Signature: s.Signature})
	}
	return c
}

func newRing(t testing.TB) keys.Ring { return base.Ring(t, base.Keys(t)) }

// trust is the part of the access file with the keys of a host; empty: of all.
func trust(host string, rings ...keys.Ring) string {
	if host != "" {
		host = "host: " + host + ", "
	}
	var all []string
	for _, ring := range rings {
		all = append(all, fmt.Sprintf("{%sjwks: '%s'}", host, ring.JWKS(time.Now())))
	}
	return "trust: [" + strings.Join(all, ", ") + "]"
}

// seed stores an agent as if it had been registered.
func (w *world) seed(owner, at, name string, skills ...string) {
	w.t.Helper()
	doc, err := card.Encode(cardOf(at, name, skills...))
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.Now()
	sum := sha256.Sum256([]byte(owner + at))
	e := catalogue.Entry{ID: hex.EncodeToString(sum[:16]), Owner: owner, URL: at, For: catalogue.ForPublic, Doc: doc, State: catalogue.Current, Since: now, Seen: now, Checked: now}
	text, err := json.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.Store.KV().Put(w.t.Context(), kv.Entry{Key: "agent/" + e.ID, Owner: owner, Value: text}); err != nil {
		w.t.Fatal(err)
	}
}

// counted counts the reads of a store.
type counted struct {
	kv.Store
	reads *atomic.Int64
}

func (c counted) Get(ctx context.Context, key string) (kv.Entry, error) {
	c.reads.Add(1)
	return c.Store.Get(ctx, key)
}

func (c counted) List(ctx context.Context, prefix, after string, limit int) ([]kv.Entry, error) {
	c.reads.Add(1)
	return c.Store.List(ctx, prefix, after, limit)
}

// A world is the catalogue on a real database, with a clock that is moved.
type world struct {
	*base.World
	http.Handler
	t         testing.TB
	far       *far
	agents    *catalogue.Catalogue
	access    *auth.Access
	described *base.Description
	callers   map[string]string // key by name
	passed    atomic.Int64      // by which the clock is ahead
	reads     atomic.Int64
}

// newWorld makes a world. settings is the section of the access file.
func newWorld(t testing.TB, settings string) *world {
	t.Helper()
	w := &world{t: t, far: newFar(t), described: base.Describe(t, door.Description()), callers: map[string]string{}}
	w.described.Answer = func(_ *http.Request, rec *httptest.ResponseRecorder) bool {
		return rec.Header().Get("Content-Type") == "application/json"
	}
	start := time.Now()
	w.World = base.New(t, base.Config{Now: func() time.Time { return start.Add(time.Duration(w.passed.Load())) }})

	text := "limits: {requests: none}\ncatalogue: " + settings + "\nprincipals:\n"
	for name, words := range parts {
		key, hash := auth.NewKey()
		w.callers[name] = key
		text += fmt.Sprintf("  - {name: %s, keys: [%s], catalogue: [%s]}\n", name, hash, words)
	}
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.access, err = auth.Load(path, auth.Options{}); err != nil {
		t.Fatal(err)
	}
	w.Handler, w.agents = w.process(w.far.client(), func(string) error { return nil })
	return w
}

// parts are the callers, and what they are in the catalogue.
var parts = map[string]string{"alice": "register", "bob": "register", "carl": "", "pat": "partner", "ada": "admin"}

// process makes the catalogue as another process does, on the same store.
func (w *world) process(client peer.Doer, check func(string) error) (http.Handler, *catalogue.Catalogue) {
	agents := catalogue.New(catalogue.Config{
		KV: counted{w.Store.KV(), &w.reads}, Client: client, CheckURL: check, Policy: w.access, Now: w.Now, Log: w.Log,
	})
	return door.New(door.Config{Catalogue: agents, Access: w.access, Log: w.Log}), agents
}

// pass moves the clock.
func (w *world) pass(d time.Duration) { w.passed.Add(int64(d)) }

// ask makes a request as a caller, and checks the answer against the description.
func (w *world) ask(h http.Handler, caller, method, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if key := w.callers[caller]; key != "" {
		r.Header.Set("X-API-Key", key)
	}
	return w.described.Serve(h, r)
}

// register registers an agent, which must be taken.
func (w *world) register(caller, address, reach string) door.Agent {
	w.t.Helper()
	body := fmt.Sprintf(`{"url":%q}`, address)
	if reach != "" {
		body = fmt.Sprintf(`{"url":%q,"for":%q}`, address, reach)
	}
	rec := w.ask(w, caller, "POST", "/catalogue/agents", body)
	return read[door.Agent](w, http.StatusOK, rec)
}

// refused registers an agent, which must be refused with a status and a text.
func (w *world) refused(caller, address string, status int, text string) {
	w.t.Helper()
	rec := w.ask(w, caller, "POST", "/catalogue/agents", fmt.Sprintf(`{"url":%q}`, address))
	if rec.Code != status || !strings.Contains(rec.Body.String(), text) {
		w.t.Errorf("%s is answered %d %s, want %d with %q", address, rec.Code, rec.Body, status, text)
	}
}

func (w *world) get(caller, id string) door.Agent {
	w.t.Helper()
	return read[door.Agent](w, http.StatusOK, w.ask(w, caller, "GET", "/catalogue/agents/"+id, ""))
}

// refresh looks for the cards after an hour.
func (w *world) refresh() {
	w.t.Helper()
	w.pass(time.Hour)
	if _, err := w.agents.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.pass(time.Second)
}

// read reads an answer that must have this status.
func read[T any](w *world, status int, rec *httptest.ResponseRecorder) (v T) {
	w.t.Helper()
	if rec.Code != status {
		w.t.Fatalf("%d %s, want %d", rec.Code, rec.Body, status)
	}
	d := json.NewDecoder(bytes.NewReader(rec.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		w.t.Fatal(err)
	}
	return v
}

func namesOf(agents []door.Agent) (all []string) {
	for _, a := range agents {
		all = append(all, a.Name)
	}
	slices.Sort(all)
	return all
}

// sorted are the keys of a map, in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
