package auth_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/shared/auth"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

const clientAudience = "https://agent.example.com"

// An accessWorld is an agent with two tenants, keys, and issuers.
type accessWorld struct {
	*testing.T
	idp, corp *idp
	clock     *clock
	log       *journal
	access    *auth.Access

	ci, ciNext, bob, revoked string // keys
}

func newAccessWorld(t *testing.T) *accessWorld {
	w := &accessWorld{T: t, idp: newIDP(t), corp: newIDP(t), clock: newClock(), log: &journal{}}
	ci, ciHash := auth.NewKey()
	ciNext, ciNextHash := auth.NewKey()
	bob, bobHash := auth.NewKey()
	w.ci, w.ciNext, w.bob = ci, ciNext, bob
	w.revoked, _ = auth.NewKey()

	w.load(strings.NewReplacer("CI-NEXT", ciNextHash, "CI", ciHash, "BOB", bobHash).Replace(`
principals:
  - name: acme/ci
    keys:
      - CI
      - CI-NEXT
  - name: acme/alice
    tokens:
      - issuer: idp
        email: alice@acme.example
      - issuer: idp
        subject: "77"
  - name: other/bob
    keys: [BOB]
issuers:
  - name: idp
    issuer: IDP
    audiences: [https://agent.example.com, https://agent-abc.a.run.app]
    keysUrl: IDP/keys
  - name: corp
    issuer: CORP
    audiences: [https://agent.example.com]
    everyone: true
`))

	return w
}

func (w *accessWorld) load(text string) {
	w.Helper()
	text = strings.NewReplacer("IDP", w.idp.URL, "CORP", w.corp.URL).Replace(text)
	a, err := auth.Load(write(w.T, text), auth.Options{Now: w.clock.Now, Log: w.log.logger(), Proxies: 1})
	if err != nil {
		w.Fatal(err)
	}
	w.access = a
}

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// token is a token of the client alice.
func (w *accessWorld) token(changes ...func(*made)) string {
	return w.idp.token(w.clock, append([]func(*made){claim("aud", clientAudience), claim("email", "alice@acme.example")}, changes...)...)
}

func (w *accessWorld) identify(headers ...string) (auth.Principal, *auth.Refusal) {
	w.Helper()
	r := httptest.NewRequest("POST", "/?key="+w.ci+"&access_token="+w.ci, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	p, err := w.access.Identify(r)
	if err == nil {
		return p, nil
	}
	no, ok := errors.AsType[*auth.Refusal](err)
	if !ok {
		w.Fatalf("Identify: %v is no Refusal", err)
	}
	return p, no
}

// The numbers are those of a catalogue of client tokens.
func TestClientTokens(t *testing.T) {
	w := newAccessWorld(t)
	bearer := func(s string) []string { return []string{authorization, "Bearer " + s} }
	short := "errand_abcdefgh_letmein"
	const no, notYou = http.StatusUnauthorized, http.StatusForbidden
	for _, row := range []struct {
		name    string
		owner   string // or else
		status  int
		headers []string
	}{
		{"00 key as bearer", "acme/ci", 0, bearer(w.ci)},
		{"00 key, lower-case scheme", "acme/ci", 0, []string{authorization, "bearer  " + w.ci}},
		{"00 key in its own header", "acme/ci", 0, []string{"x-api-key", w.ci}},
		{"00 token by e-mail", "acme/alice", 0, bearer(w.token())},
		{"00 token by subject", "acme/alice", 0, bearer(w.token(claim("sub", "77"), claim("email", nil)))},
		{"00 token for the other audience", "acme/alice", 0, bearer(w.token(claim("aud", "https://agent-abc.a.run.app")))},
		{"00 token of everyone's issuer", "corp/1029384756", 0, bearer(w.corp.token(w.clock, claim("aud", clientAudience)))},
		{"00 token beside one for Cloud Run", "acme/alice", 0, append(bearer(w.token()), "X-Serverless-Authorization", "Bearer x.y.SIGNATURE_REMOVED_BY_GOOGLE")},
		{"32 none, and the key in the query", "", no, nil},
		{"32 wrong key", "", no, bearer(swapSecret(w.ci, w.bob))},
		{"32 revoked key", "", no, bearer(w.revoked)},
		{"32 damaged key", "", no, bearer(w.ci[:len(w.ci)-1])},
		{"32 key with a space", "", no, bearer(w.ci + " ")},
		{"32 key in capitals", "", no, bearer(strings.ToUpper(w.ci))},
		{"32 short key", "", no, bearer(short)},
		{"32 key as Basic", "", no, []string{authorization, "Basic " + w.ci}},
		{"32 key without a scheme", "", no, []string{authorization, w.ci}},
		{"32 key and token", "", no, append(bearer(w.token()), "X-API-Key", w.ci)},
		{"32 two keys", "", no, []string{"X-API-Key", w.ci, "X-API-Key", w.bob}},
		{"32 two Authorization headers", "", no, append(bearer(w.ci), bearer(w.ci)...)},
		{"32 key in a cookie", "", no, []string{"Cookie", "key=" + w.ci}},
		{"32 token in the header of keys", "", no, []string{"X-API-Key", w.token()}},
		{"32 hash of a key", "", no, bearer("sha256:abcdefgh:00")},
		{"32 empty key", "", no, []string{"X-API-Key", ""}},
		{"33 token of another issuer", "", no, bearer(w.token(claim("iss", "https://login.example.com")))},
		{"33 token of one issuer signed by another", "", no, bearer(w.token(claim("iss", w.corp.URL), head("kid", "rsa-9")))},
		{"33 token for another agent", "", no, bearer(w.token(claim("aud", "https://agent.other.example")))},
		{"33 token for two agents", "", no, bearer(w.token(claim("aud", []string{clientAudience, "https://agent.other.example"})))},
		{"33 token of a stranger", "", notYou, bearer(w.token(claim("email", "mallory@acme.example")))},
		{"33 token with an unverified e-mail", "", notYou, bearer(w.token(claim("email_verified", false)))},
		{"33 token without a subject, of everyone's issuer", "", notYou, bearer(w.corp.token(w.clock, claim("aud", clientAudience), claim("sub", nil)))},
		{"33 subject with a line break", "", notYou, bearer(w.corp.token(w.clock, claim("aud", clientAudience), claim("sub", "a\nb")))},
		{"33 alice's e-mail by another issuer", "corp/1029384756", 0, bearer(w.corp.token(w.clock, claim("aud", clientAudience), claim("email", "alice@acme.example")))},
		{"35 expired token", "", no, bearer(w.token(claim("exp", w.clock.in(-time.Second))))},
		{"35 token for a day", "", no, bearer(w.token(claim("exp", w.clock.in(24*time.Hour))))},
		{"36 the next key", "acme/ci", 0, bearer(w.ciNext)},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.clock.move(6 * time.Second) // one more wrong one is allowed
			p, no := w.identify(row.headers...)

			if row.owner != "" {
				if no != nil || p.Owner != row.owner {
					t.Errorf("is %q, %v, want %q", p.Owner, no, row.owner)
				}
				return
			}

			if no == nil || no.Status != row.status || p != (auth.Principal{}) {
				t.Fatalf("is %q, refusal %+v, want %d", p.Owner, no, row.status)
			}

			for _, h := range row.headers {
				if v := strings.TrimPrefix(h, "Bearer "); len(v) > 20 && strings.Contains(no.Message+no.Challenge()+w.log.String(), v[8:]) {
					t.Errorf("repeats the credential: %s", no.Message)
				}
			}
		})
	}
}

// swapSecret is a key with the id of one key and the secret of another, and a fitting
// checksum: a guess at the first key.
func swapSecret(id, secret string) string {
	return auth.WithChecksum(id[:16] + secret[16:len(secret)-7])
}

func TestClientTokensOfOneTenantInAnother(t *testing.T) { // 33
	for _, row := range []struct {
		owner, tenant string
		ok            bool
	}{
		{"acme/ci", "", true}, {"acme/ci", "acme", true}, {"acme/ci", "other", false}, {"acme/ci", "acme/ci", false},
		{"alice", "", true}, {"alice", "alice", false}, {auth.Anonymous, "", true}, {auth.Anonymous, "acme", false},
	} {
		err := auth.Principal{Owner: row.owner}.InTenant(row.tenant)
		if (err == nil) != row.ok || err != nil && !errors.Is(err, a2a.ErrUnauthorized) {
			t.Errorf("%s in tenant %q: %v", row.owner, row.tenant, err)
		}
	}
}

// A call that began with a good token goes on; the next one is refused.
func TestClientTokenExpiresDuringACall(t *testing.T) { // 35
	w := newAccessWorld(t)
	token := w.token()
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set(authorization, "Bearer "+token)

	p, err := w.access.Identify(r)
	if err != nil {
		t.Fatal(err)
	}

	call := auth.With(r.Context(), p)
	w.clock.move(time.Hour)
	if _, err := w.access.Identify(r); err == nil {
		t.Error("a new call with the same token is let in")
	}
	if p, ok := auth.From(call); !ok || p.Owner != "acme/alice" {
		t.Errorf("the call that had begun has the caller %v", p)
	}
}

// Shows AU9.
func TestClientKeyRotation(t *testing.T) { // 36
	w := newAccessWorld(t)
	old, oldHash := auth.NewKey()
	next, nextHash := auth.NewKey()
	for _, step := range []struct {
		keys      string
		old, next bool
	}{
		{oldHash, true, false}, {oldHash + ", " + nextHash, true, true}, {nextHash, false, true},
	} {
		w.load("principals: [{name: alice, keys: [" + step.keys + "]}]")
		for key, ok := range map[string]bool{old: step.old, next: step.next} {
			p, no := w.identify(authorization, "Bearer "+key)
			if ok && p.Owner != "alice" || !ok && no == nil {
				t.Errorf("keys %s: %q is %q, %v", step.keys, key[:16], p.Owner, no)
			}
		}
	}
}

func TestRefusalSaysWhatToSend(t *testing.T) { // 37, 38
	w := newAccessWorld(t)
	_, no := w.identify()
	want := `Bearer realm="errand", audience="https://agent.example.com https://agent-abc.a.run.app"`
	if no.Status != 401 || no.Scheme != "Bearer" || no.Realm != "errand" || no.Challenge() != want {
		t.Errorf("without credentials: %+v, challenge %s", no, no.Challenge())
	}

	for _, part := range []string{"no credentials", "X-API-Key", "Bearer", w.idp.URL, clientAudience} {
		if !strings.Contains(no.Message, part) {
			t.Errorf("the message does not say %s: %s", part, no.Message)
		}
	}

	if !errors.Is(no, a2a.ErrUnauthenticated) {
		t.Error("a 401 is not a2a.ErrUnauthenticated")
	}
	if _, no = w.identify(authorization, "Bearer "+w.revoked); no.Challenge() != want+`, error="invalid_token"` {
		t.Errorf("with a wrong key: %s", no.Challenge())
	}

	_, no = w.identify(authorization, "Bearer "+w.token(claim("email", "mallory@acme.example")))
	if no.Challenge() != "" || !errors.Is(no, a2a.ErrUnauthorized) {
		t.Errorf("403: challenge %q, %v", no.Challenge(), no)
	}

	slip := map[bool]string{true: "y", false: "z"}[w.ci[20] == 'z']
	if _, no = w.identify(authorization, "Bearer "+w.ci[:20]+slip+w.ci[21:]); !strings.Contains(no.Message, "checksum") {
		t.Errorf("a slip of the pen: %s", no.Message)
	}

	// The answer does not show whether a key was revoked, is unknown or has another secret.
	_, revoked := w.identify(authorization, "Bearer "+w.revoked)
	_, wrong := w.identify(authorization, "Bearer "+swapSecret(w.ci, w.bob))
	if revoked.Message != wrong.Message {
		t.Errorf("told apart:\n%s\n%s", revoked.Message, wrong.Message)
	}
}

func TestIssuerOutOfReachIsNoVerdict(t *testing.T) {
	w := newAccessWorld(t)
	w.idp.breakWith(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	for range 50 {
		_, no := w.identify(authorization, "Bearer "+w.token())
		if no == nil || no.Status != http.StatusServiceUnavailable || no.After <= 0 || no.Challenge() != "" {
			t.Fatalf("refusal %+v", no)
		}
	}
	if p, _ := w.identify(authorization, "Bearer "+w.ci); p.Owner != "acme/ci" {
		t.Error("a key needs no issuer")
	}
}

func TestBruteForce(t *testing.T) { // 39
	w := newAccessWorld(t)

	tries := func(from, credentials string) (first429 int, last *auth.Refusal) {
		for i := range 100 {
			_, no := w.identify(authorization, "Bearer "+credentials, "X-Forwarded-For", "6.6.6.6, "+from)
			if no.Status == http.StatusTooManyRequests {
				return i, no
			}
		}

		return -1, nil
	}

	n, no := tries("1.1.1.1", w.revoked)
	if n != 20 || no.After <= 0 || no.After > 6*time.Second || no.Challenge() != "" {
		t.Errorf("429 after %d, %+v", n, no)
	}
	if n, _ := tries("1.1.1.2", swapSecret(w.ci, w.bob)); n != 20 {
		t.Errorf("from another address, at acme/ci: 429 after %d", n)
	}

	if n, _ := tries("1.1.1.3", swapSecret(w.ci, w.bob)); n != 0 {
		t.Errorf("at acme/ci from a third address: 429 after %d", n)
	}
	if n, _ := tries("1.1.1.4", w.token(signedBy(foreign().rsa))); n != 20 {
		t.Errorf("forged tokens of acme/alice: 429 after %d", n)
	}
	if n, _ := tries("1.1.1.5", w.token(signedBy(foreign().rsa))); n != 0 {
		t.Errorf("forged tokens of acme/alice from elsewhere: 429 after %d", n)
	}

	for _, from := range []string{"1.1.1.1", "1.1.1.2", "9.9.9.9"} {
		if p, no := w.identify(authorization, "Bearer "+w.ci, "X-Forwarded-For", from); p.Owner != "acme/ci" {
			t.Errorf("the right key is locked out from %s: %+v", from, no)
		}
	}

	if n, _ := tries("2001:db8::1", w.revoked); n != 20 {
		t.Errorf("IPv6: 429 after %d", n)
	}
	if n, _ := tries("2001:db8::2", w.revoked); n != 0 {
		t.Errorf("IPv6, the same network: 429 after %d", n)
	}

	for range 100 {
		if _, no := w.identify("X-Forwarded-For", "3.3.3.3"); no.Status != http.StatusUnauthorized {
			t.Fatalf("no credentials are no attempt: %+v", no)
		}
	}

	w.clock.move(6 * time.Second)
	if n, _ := tries("1.1.1.1", w.revoked); n != 1 {
		t.Errorf("later: 429 after %d", n)
	}
}

// The comparison is crypto/subtle's, over digests of one length. This test shows the rest:
// no part of a right key helps a guess.
func TestConstantTimeCompare(t *testing.T) { // 40
	w := newAccessWorld(t)
	for i := 16; i < len(w.ci)-7; i++ {
		w.clock.move(6 * time.Second)
		c := byte('a')
		if w.ci[i] == c {
			c = 'b'
		}
		near := auth.WithChecksum(w.ci[:i] + string(c) + w.ci[i+1:len(w.ci)-7])
		if _, no := w.identify(authorization, "Bearer "+near); no == nil || no.Reason != "not an API key of this agent" {
			t.Fatalf("with another character at %d: %+v", i, no)
		}
	}
}

func TestAnonymous(t *testing.T) {
	for _, row := range []struct{ loopback, said, ok bool }{
		{true, false, true}, {true, true, true}, {false, true, true}, {false, false, false},
	} {
		path := map[bool]string{true: "anonymous"}[row.said]
		a, err := auth.Load(path, auth.Options{})
		if err != nil {
			t.Fatal(err)
		}

		err = a.Check(row.loopback)
		if (err == nil) != row.ok {
			t.Errorf("Load(%q).Check(%v) = %v", path, row.loopback, err)
		}
		if err != nil && !strings.Contains(err.Error(), "ERRAND_ACCESS=anonymous") {
			t.Errorf("no remedy: %v", err)
		}

		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set(authorization, "Bearer whatever")
		if p, err := a.Identify(r); err != nil || p.Owner != "anonymous" || !a.Anonymous() {
			t.Errorf("anonymous caller: %v, %v", p, err)
		}
		if s, o := a.Schemes(); s != nil || o != nil {
			t.Errorf("anonymous schemes: %v, %v", s, o)
		}
	}

	w := newAccessWorld(t)
	if err := w.access.Check(false); err != nil || w.access.Anonymous() {
		t.Errorf("with a file: %v", err)
	}
	if _, ok := auth.From(t.Context()); ok {
		t.Error("a request that was not identified has a caller")
	}
}

// Only the file makes a principal an operator.
func TestOperator(t *testing.T) {
	w := newAccessWorld(t)
	ops, opsHash := auth.NewKey()
	other, otherHash := auth.NewKey()
	w.load("principals: [{name: ops, operator: true, keys: [" + opsHash + "]}, {name: other, operator: false, keys: [" + otherHash + "]}]")
	for key, want := range map[string]bool{ops: true, other: false} {
		if p, no := w.identify(authorization, "Bearer "+key); no != nil || p.Operator != want {
			t.Errorf("%s: operator %v, %v, want %v", p.Owner, p.Operator, no, want)
		}
	}
}
