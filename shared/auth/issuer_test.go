package auth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"errand/shared/auth"

	"github.com/go-jose/go-jose/v4"
)

// A clock stands still unless it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// in is the clock in so many seconds, as tokens write it.
func (c *clock) in(d time.Duration) int64 { return c.Now().Add(d).Unix() }

// pair holds the keys of an issuer. Making RSA keys takes long, so tests share them.
type pair struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

var (
	ours    = sync.OnceValue(newPair)
	foreign = sync.OnceValue(newPair)
)

func newPair() pair {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return pair{r, e}
}

// An idp is an issuer with a discovery document and a key set that tests can break.
type idp struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetches int
	broken  http.HandlerFunc // answers instead
}

func newIDP(t testing.TB) *idp {
	p := &idp{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.fetches++
		broken, keys := p.broken, p.keys
		p.mu.Unlock()
		if broken != nil {
			broken(w, r)
			return
		}
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: keys})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	p.publish(jwk("rsa-1", "RS256", &ours().rsa.PublicKey), jwk("ec-1", "ES256", &ours().ec.PublicKey))
	return p
}

func jwk(id, alg string, key any) jose.JSONWebKey {
	return jose.JSONWebKey{KeyID: id, Algorithm: alg, Use: "sig", Key: key}
}

func (p *idp) publish(keys ...jose.JSONWebKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

func (p *idp) breakWith(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = h
}

func (p *idp) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// A made token is put together by hand, so that it can have any fault.
type made struct {
	header, claims map[string]any
	raw            []byte // the claims, if a map cannot hold them
	key            any
}

const (
	audience = "https://worker.example.com"
	invoker  = "errand-invoker@acme.iam.gserviceaccount.com"
)

// token is a good token; changes spoil it.
func (p *idp) token(c *clock, changes ...func(*made)) string {
	m := &made{
		header: map[string]any{"alg": "RS256", "kid": "rsa-1", "typ": "JWT"},
		claims: map[string]any{
			"iss": p.URL, "aud": audience, "sub": "1029384756", "email": invoker, "email_verified": true,
			"iat": c.in(0), "exp": c.in(time.Hour),
		},
		key: ours().rsa,
	}
	for _, change := range changes {
		change(m)
	}
	return m.String()
}

// claim sets a claim; nil removes it.
func claim(name string, value any) func(*made) {
	return func(m *made) { set(m.claims, name, value) }
}

func head(name string, value any) func(*made) {
	return func(m *made) { set(m.header, name, value) }
}

func signedBy(key any) func(*made) { return func(m *made) { m.key = key } }

func set(m map[string]any, name string, value any) {
	if maps.Copy(m, map[string]any{name: value}); value == nil {
		delete(m, name)
	}
}

// edit changes the text of the claims: for numbers that Go does not have.
func edit(old, new string) func(*made) {
	return func(m *made) {
		m.raw, _ = json.Marshal(m.claims)
		m.raw = bytes.Replace(m.raw, []byte(old), []byte(new), 1)
	}
}

func (m *made) String() string {
	head, err := json.Marshal(m.header)
	if err != nil {
		panic(err)
	}

	body := m.raw
	if body == nil {
		if body, err = json.Marshal(m.claims); err != nil {
			panic(err)
		}
	}

	text := b64(head) + "." + b64(body)
	sum := sha256.Sum256([]byte(text))
	var sig []byte

	switch key := m.key.(type) {
	case *rsa.PrivateKey:
		sig, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		r, s, serr := ecdsa.Sign(rand.Reader, key, sum[:])
		if err = serr; err == nil {
			sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case func([]byte) []byte:
		sig = key([]byte(text))
	}

	if err != nil {
		panic(err)
	}

	return text + "." + b64(sig)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// A journal is a log that tests read.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(j, nil)) }

// A doorWorld is a door with a handler behind it.
type doorWorld struct {
	idp   *idp
	clock *clock
	log   *journal
	keys  *auth.Keys
	door  http.Handler
	let   int // requests that came through
}

func newDoorWorld(t testing.TB) *doorWorld {
	w := &doorWorld{idp: newIDP(t), clock: newClock(), log: &journal{}}
	w.keys = auth.NewKeys(auth.KeysConfig{Issuer: w.idp.URL, URL: w.idp.URL + "/keys", Now: w.clock.Now})
	w.door = w.newDoor(t, audience)
	return w
}

func (w *doorWorld) newDoor(t testing.TB, audience string) http.Handler {
	guard, err := auth.NewDoor(auth.DoorConfig{
		Issuer: w.idp.URL, Audience: audience, Emails: []string{invoker}, Keys: w.keys, Now: w.clock.Now, Log: w.log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.let++ }))
}

// knock sends a request with these headers, name and value by turns.
func (w *doorWorld) knock(headers ...string) *http.Response {
	r := httptest.NewRequest("POST", "/turn", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.door.ServeHTTP(rec, r)
	return rec.Result()
}

// writeKeys writes a key set: of one key, or a list.
func writeKeys(w http.ResponseWriter, keys any) {
	if k, ok := keys.(jose.JSONWebKey); ok {
		keys = []jose.JSONWebKey{k}
	}
	json.NewEncoder(w).Encode(map[string]any{"keys": keys})
}
