package auth_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"errand/shared/auth"
)

const serverless = "X-Serverless-Authorization"

// strip is a token as Cloud Run passes it on: of Google, without its signature.
func strip(p *idp, c *clock, changes ...func(*made)) string {
	token := p.token(c, append([]func(*made){claim("iss", auth.GoogleIssuer)}, changes...)...)
	return "Bearer " + token[:strings.LastIndex(token, ".")] + ".SIGNATURE_REMOVED_BY_GOOGLE"
}

// Where Cloud Run checks, doors believe the one token that it has checked, and no other one without
// a signature. Where it does not, they believe none.
func TestDoorBehindTheCheckOfCloudRun(t *testing.T) {
	w := newDoorWorld(t)
	c := w.clock
	good, other := strip(w.idp, c), strip(w.idp, c, claim("email", "other@acme.example"))
	const in, no, notYou = http.StatusOK, http.StatusUnauthorized, http.StatusForbidden

	for _, row := range []struct {
		name    string
		want    int // with the check; without it nobody comes in
		headers []string
	}{
		{"in Authorization", in, []string{authorization, good}},
		{"in X-Serverless-Authorization", in, []string{serverless, good}},
		{"in both: the other one was not checked", in, []string{serverless, good, authorization, other}},
		{"another account, and ours forged", notYou, []string{serverless, other, authorization, good}},
		{"another account", notYou, []string{authorization, other}},
		{"no verified e-mail", no, []string{authorization, strip(w.idp, c, claim("email_verified", false))}},
		{"another audience", no, []string{authorization, strip(w.idp, c, claim("aud", audience+"/notify"))}},
		{"another issuer", no, []string{authorization, strip(w.idp, c, claim("iss", w.idp.URL))}},
		{"expired", no, []string{authorization, strip(w.idp, c, claim("exp", c.in(-time.Second)))}},
		{"valid for a day", no, []string{authorization, strip(w.idp, c, claim("exp", c.in(24*time.Hour)))}},
		{"two in Authorization", no, []string{authorization, good, authorization, good}},
		{"two in X-Serverless-Authorization", no, []string{serverless, other, serverless, good}},
		{"another scheme", no, []string{serverless, strings.Replace(good, "Bearer", "Basic", 1)}},
		{"no claims", no, []string{authorization, "Bearer a.b.SIGNATURE_REMOVED_BY_GOOGLE"}},
		{"a signature that is empty", no, []string{authorization, strings.TrimSuffix(good, "SIGNATURE_REMOVED_BY_GOOGLE")}},
		{"none", no, nil},
	} {
		for _, checked := range []bool{true, false} {
			guard, err := auth.NewDoor(auth.DoorConfig{
				Issuer: auth.GoogleIssuer, Audience: audience, Emails: []string{invoker}, Keys: w.keys, Now: c.Now, Checked: checked, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}

			want := row.want
			if !checked && want == in {
				want = no
			}
			w.door = guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			if got := w.knock(row.headers...).StatusCode; got != want && (checked || got == in) {
				t.Errorf("%s, checked %v: answered %d, want %d", row.name, checked, got, want)
			}
		}
	}
}

// Where Cloud Run checks, the identity that it has checked is the caller's by the rules of the
// access file, and a credential of the agent's own goes before it.
func TestCallersBehindTheCheckOfCloudRun(t *testing.T) {
	idp, c := newIDP(t), newClock()
	key, hash := auth.NewKey()
	revoked, _ := auth.NewKey()
	file := write(t, `
principals:
  - {name: acme/ci, keys: [`+hash+`]}
  - {name: acme/alice, tokens: [{issuer: google, email: alice@acme.example}]}
issuers:
  - {name: google, issuer: `+auth.GoogleIssuer+`, audiences: [`+clientAudience+`], keysUrl: `+idp.URL+`/keys}
  - {name: corp, issuer: `+idp.URL+`, audiences: [`+clientAudience+`], everyone: true}
`)

	of := func(email string, changes ...func(*made)) string {
		return strip(idp, c, append([]func(*made){claim("aud", clientAudience), claim("email", email), claim("sub", "sub of "+email)}, changes...)...)
	}
	signed := func(email string) string {
		return "Bearer " + idp.token(c, claim("iss", auth.GoogleIssuer), claim("aud", clientAudience), claim("email", email))
	}
	both := func(email string) string { // of, with its signature
		return "Bearer " + idp.token(c, claim("iss", auth.GoogleIssuer), claim("aud", clientAudience), claim("email", email), claim("sub", "sub of "+email))
	}
	const alice, mallory = "alice@acme.example", "mallory@acme.example"

	for _, row := range []struct {
		name    string
		file    string // the owner by the file, or the beginning of a reason
		all     string // the same with ERRAND_ACCESS=anonymous
		headers []string
	}{
		{"in Authorization", "acme/alice", "google/sub of " + alice, []string{authorization, of(alice)}},
		{"in X-Serverless-Authorization", "acme/alice", "google/sub of " + alice, []string{serverless, of(alice)}},
		{"beside a key", "acme/ci", "not an API key", []string{authorization, of(alice), "X-API-Key", key}},
		{"before a key", "acme/ci", "not an API key", []string{serverless, of(alice), authorization, "Bearer " + key}},
		{"beside a wrong key", "not an API key", "not an API key", []string{authorization, of(alice), "X-API-Key", revoked}},
		{"before a signed token", "acme/alice", "not for this audience", []string{serverless, of(mallory), authorization, signed(alice)}},
		{"the same one in both, as clients send it", "acme/alice", "google/sub of " + alice, []string{serverless, of(alice), authorization, both(alice)}},
		{"before a forged one", "the signature was removed, and", "the signature was removed, and", []string{serverless, of(mallory), authorization, of(alice)}},
		{"not in the file", "a token of somebody", "google/sub of " + mallory, []string{authorization, of(mallory)}},
		{"no verified e-mail", "no verified e-mail", "no verified e-mail", []string{authorization, of(alice, claim("email_verified", false))}},
		{"another audience", "not for this audience", "google/sub of " + alice, []string{authorization, of(alice, claim("aud", "https://agent-abc.a.run.app"))}},
		{"another issuer", "of another issuer", "of another issuer", []string{authorization, of(alice, claim("iss", idp.URL))}},
		{"expired", "expired", "expired", []string{authorization, of(alice, claim("exp", c.in(0)))}},
		{"no credentials", "no credentials", "no credentials", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			for path, want := range map[string]string{file: row.file, auth.Anonymous: row.all} {
				a, err := auth.Load(path, auth.Options{Now: c.Now, Checked: true})
				if err != nil {
					t.Fatal(err)
				}
				if got := identified(a, row.headers); !strings.HasPrefix(got, want) || got == "" {
					t.Errorf("%q: %q, want %q", path, got, want)
				}
			}

			// Without the check nobody is known by such a token.
			a, err := auth.Load(file, auth.Options{Now: c.Now})
			if err != nil {
				t.Fatal(err)
			}
			signed := strings.HasPrefix(row.name, "before a signed token") || strings.HasPrefix(row.name, "the same one")
			if got := identified(a, row.headers); got == "acme/alice" && !signed {
				t.Errorf("without the check: %q", got)
			}
		})
	}
}

// identified is the owner of a request with these headers, or the reason of the refusal.
func identified(a *auth.Access, headers []string) string {
	r := httptest.NewRequest("POST", "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	p, err := a.Identify(r)
	if no, ok := err.(*auth.Refusal); ok {
		return no.Reason
	}
	return p.Owner
}

// Everybody whom Cloud Run lets in is told apart, has the usual limits, and finds on the card what
// to send.
func TestAnonymousBehindTheCheckOfCloudRun(t *testing.T) {
	c := newClock()
	a, err := auth.Load(auth.Anonymous, auth.Options{Now: c.Now, Checked: true})
	if err != nil {
		t.Fatal(err)
	}
	if a.Anonymous() || a.Check(false) != nil {
		t.Errorf("anonymous %v, %v", a.Anonymous(), a.Check(false))
	}
	if schemes, options := a.Schemes(); len(schemes) != 1 || len(options) != 1 {
		t.Errorf("schemes %v, %v", schemes, options)
	}
	if got := a.Limits("google/1").Requests; got == auth.None {
		t.Error("callers have no limit of requests")
	}

	c.move(time.Hour) // the file would be read again
	if got := identified(a, []string{authorization, strip(newIDP(t), c)}); got != "google/1029384756" {
		t.Errorf("an hour later: %q", got)
	}
}
