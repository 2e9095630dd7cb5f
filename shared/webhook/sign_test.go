package webhook_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand/shared/keys"
	"errand/shared/webhook"
)

const (
	owner = "acme/ci"
	hook  = "https://hooks.example.com/a"
	id    = "1n4ympjgsr5u6zv5ps6mlf6guaqw2wsmdq/1"
)

var body = []byte(`{"task": {"id":"1n4ympjgsr5u6zv5ps6mlf6guaqw2wsmdq"}}`)

// ring makes a ring with one key for each duration, which is used from that long after at.
func ring(t testing.TB, at time.Time, from ...time.Duration) keys.Ring {
	t.Helper()
	r, err := keys.Parse(ringText(at, from...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ringText is the secret from which ring makes its ring.
func ringText(at time.Time, from ...time.Duration) string {
	var text strings.Builder
	for i, d := range from {
		text.WriteString(at.Add(d).Format(time.RFC3339) + " " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i), 0x5a}, 16)) + "\n")
	}
	return text.String()
}

// deliver makes the headers of a delivery.
func deliver(t testing.TB, r keys.Ring, now time.Time) http.Header {
	t.Helper()
	timestamp, signatures, err := webhook.Sign(r, now, owner, hook, id, body)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", signatures)
	return h
}

// believes reports whether the reference library, as the receiver with a secret, accepts the
// delivery.
func believes(t testing.TB, secret string, body []byte, h http.Header) bool {
	t.Helper()
	receiver, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return receiver.Verify(body, h) == nil
}

// believesPublic reports whether a receiver accepts the signatures v1a with a public key. The
// reference library does not know them.
func believesPublic(t testing.TB, public string, body []byte, h http.Header) bool {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
	if err != nil || len(key) != ed25519.PublicKeySize {
		t.Fatalf("public key %s: %d bytes, %v", public, len(key), err)
	}
	content := h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + string(body)
	for s := range strings.SplitSeq(h.Get("webhook-signature"), " ") {
		text, ok := strings.CutPrefix(s, "v1a,")
		signature, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && ed25519.Verify(key, []byte(content), signature) {
			return true
		}
	}
	return false
}

// The rows come from the catalogue of deliveries that a receiver must refuse. They run in
// synctest, because the receiver reads the clock.
func TestWebhookSignatureRows(t *testing.T) {
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	one := ring(t, at, 0)
	row := func(name string, check func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, check) })
	}

	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		row("row 41 without "+name, func(t *testing.T) {
			h := deliver(t, one, time.Now())
			h.Del(name)
			if believes(t, one.Secrets(at, owner, hook)[0], body, h) || believesPublic(t, one.Public(at, owner)[0], body, h) {
				t.Errorf("accepted without %s", name)
			}
		})
	}

	for _, c := range []struct {
		name string
		off  time.Duration
		want bool
	}{
		{"row 42 timestamp 5m01s old", -5*time.Minute - time.Second, false},
		{"row 42 timestamp 5m old", -5 * time.Minute, true},
		{"row 42 timestamp 5m ahead", 5 * time.Minute, true},
		{"row 42 timestamp 5m01s ahead", 5*time.Minute + time.Second, false},
	} {
		row(c.name, func(t *testing.T) {
			h := deliver(t, one, time.Now().Add(c.off))
			if got := believes(t, one.Secrets(at, owner, hook)[0], body, h); got != c.want {
				t.Errorf("accepted = %v, want %v", got, c.want)
			}
		})
	}

	row("row 43 id with a dot", func(t *testing.T) {
		for _, bad := range []string{"", ".", "a.b", "task/1.", "a.1614265330", "two words", "line\nend", "null\x00", "\x7f", "ä"} {
			if ts, s, err := webhook.Sign(one, at, owner, hook, bad, body); err == nil || ts != "" || s != "" {
				t.Errorf("Sign(%q) = %q, %q, %v, want an error", bad, ts, s, err)
			}
			if s, err := webhook.Token(one, at, "https://agent.example.com", owner, hook, bad, "t"); err == nil || s != "" {
				t.Errorf("Token(%q) = %q, %v, want an error", bad, s, err)
			}
		}
	})

	row("row 44 junk first", func(t *testing.T) {
		h := deliver(t, one, time.Now())
		good := h.Get("webhook-signature")

		for _, junk := range []string{"junk", "v1,", "v1", ",", "v2,AAAA", "v1," + base64.StdEncoding.EncodeToString(make([]byte, 32)), "v1a,AAAA"} {
			h.Set("webhook-signature", junk+" "+good)
			if !believes(t, one.Secrets(at, owner, hook)[0], body, h) || !believesPublic(t, one.Public(at, owner)[0], body, h) {
				t.Errorf("refused with %q before the signatures", junk)
			}

			h.Set("webhook-signature", junk)
			if believes(t, one.Secrets(at, owner, hook)[0], body, h) || believesPublic(t, one.Public(at, owner)[0], body, h) {
				t.Errorf("accepted with %q alone", junk)
			}
		}
	})

	row("row 45 v1 only, v1a only, both", func(t *testing.T) {
		h := deliver(t, one, time.Now())
		parts := strings.Split(h.Get("webhook-signature"), " ")
		if len(parts) != 2 || !strings.HasPrefix(parts[0], "v1,") || !strings.HasPrefix(parts[1], "v1a,") {
			t.Fatalf("signatures = %q, want v1 and then v1a", parts)
		}

		for _, c := range []struct {
			signatures string
			v1, v1a    bool
		}{
			{parts[0], true, false},
			{parts[1], false, true},
			{parts[0] + " " + parts[1], true, true},
			{strings.Replace(parts[0], "v1,", "v1a,", 1) + " " + strings.Replace(parts[1], "v1a,", "v1,", 1), false, false},
		} {
			h.Set("webhook-signature", c.signatures)
			if got := believes(t, one.Secrets(at, owner, hook)[0], body, h); got != c.v1 {
				t.Errorf("%q accepted by the secret = %v, want %v", c.signatures, got, c.v1)
			}
			if got := believesPublic(t, one.Public(at, owner)[0], body, h); got != c.v1a {
				t.Errorf("%q accepted by the public key = %v, want %v", c.signatures, got, c.v1a)
			}
		}
	})

	for _, c := range []struct {
		name     string
		after    time.Duration // of the change
		old, new bool
	}{
		{"row 46 before the change", -time.Second, true, false},
		{"row 46 inside the overlap, at its beginning", 0, true, true},
		{"row 46 inside the overlap, at its end", keys.Overlap - time.Second, true, true},
		{"row 46 outside the overlap", keys.Overlap, false, true},
	} {
		row(c.name, func(t *testing.T) {
			r := ring(t, at, -30*day, -c.after)
			old, fresh := ring(t, at, -30*day), r.Secrets(at.Add(99*day), owner, hook)[0]
			h := deliver(t, r, time.Now())
			if got := believes(t, old.Secrets(at, owner, hook)[0], body, h); got != c.old {
				t.Errorf("accepted by the old secret = %v, want %v", got, c.old)
			}
			if got := believes(t, fresh, body, h); got != c.new {
				t.Errorf("accepted by the new secret = %v, want %v", got, c.new)
			}
			if got := believesPublic(t, old.Public(at, owner)[0], body, h); got != c.old {
				t.Errorf("accepted by the old public key = %v, want %v", got, c.old)
			}

			if got := believesPublic(t, r.Public(at.Add(99*day), owner)[0], body, h); got != c.new {
				t.Errorf("accepted by the new public key = %v, want %v", got, c.new)
			}

			// Within the overlap both HMAC signatures come first, then both Ed25519 ones, the
			// new key before the old.
			var kinds []string

			for s := range strings.SplitSeq(h.Get("webhook-signature"), " ") {
				kind, _, _ := strings.Cut(s, ",")
				kinds = append(kinds, kind)
			}

			want := []string{"v1", "v1a"}
			if c.old && c.new {
				want = []string{"v1", "v1", "v1a", "v1a"}
			}
			if !slices.Equal(kinds, want) {
				t.Errorf("signatures are %v, want %v", kinds, want)
			}

			first, _, _ := strings.Cut(h.Get("webhook-signature"), " ")
			h.Set("webhook-signature", first)
			if got := believes(t, fresh, body, h); got != c.new {
				t.Errorf("the first signature is of the new key = %v, want %v", got, c.new)
			}
		})
	}

	row("row 47 secrets under 24 bytes", func(t *testing.T) {
		for _, n := range []int{0, 1, 23, 24, 31} {
			if _, err := keys.Parse("2000-01-01T00:00:00Z " + base64.StdEncoding.EncodeToString(make([]byte, n))); err == nil {
				t.Errorf("a key of %d bytes makes a ring", n)
			}
		}

		for _, s := range ring(t, at, 0, time.Hour, 2*time.Hour).Secrets(at.Add(2*time.Hour), "", "") {
			raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
			if err != nil || len(raw) < 24 {
				t.Errorf("a secret has %d bytes, %v, want at least 24", len(raw), err)
			}
		}

		// The reference library accepts an empty secret. We never sign with one.
		if believes(t, "whsec_", body, deliver(t, one, time.Now())) {
			t.Error("signed with an empty secret")
		}
	})

	row("row 48 body written anew", func(t *testing.T) {
		h := deliver(t, one, time.Now())
		var value any
		if err := json.Unmarshal(body, &value); err != nil {
			t.Fatal(err)
		}

		anew, err := json.Marshal(value)
		if err != nil || bytes.Equal(anew, body) {
			t.Fatalf("the body is written the same: %s, %v", anew, err)
		}
		if believes(t, one.Secrets(at, owner, hook)[0], anew, h) || believesPublic(t, one.Public(at, owner)[0], anew, h) {
			t.Error("accepted with another spelling of the body")
		}
	})

	row("row 49 replayed to another config", func(t *testing.T) {
		h := deliver(t, one, time.Now())
		if !believes(t, one.Secrets(at, owner, hook)[0], body, h) {
			t.Error("refused where it was sent to")
		}

		for _, to := range [][2]string{{owner, "https://hooks.example.com/b"}, {owner, hook + "?"}, {"acme/alice", hook}} {
			if believes(t, one.Secrets(at, to[0], to[1])[0], body, h) {
				t.Errorf("accepted by the receiver of %q", to)
			}
		}

		if believesPublic(t, one.Public(at, "acme/alice")[0], body, h) {
			t.Error("accepted by the public key of another owner")
		}
	})

	row("every bit counts", func(t *testing.T) {
		h := deliver(t, one, time.Now())
		secret, public := one.Secrets(at, owner, hook)[0], one.Public(at, owner)[0]

		for bit := range 8 * len(body) {
			damaged := bytes.Clone(body)
			damaged[bit/8] ^= 1 << (bit % 8)
			if believes(t, secret, damaged, h) || believesPublic(t, public, damaged, h) {
				t.Errorf("accepted with bit %d of the body changed", bit)
			}
		}

		for _, name := range []string{"webhook-id", "webhook-timestamp"} {
			good := h.Get(name)
			for bit := range 8 * len(good) {
				damaged := []byte(good)
				damaged[bit/8] ^= 1 << (bit % 8)
				h.Set(name, string(damaged))
				if believes(t, secret, body, h) || believesPublic(t, public, body, h) {
					t.Errorf("accepted with bit %d of %s changed", bit, name)
				}
			}

			h.Set(name, good)
		}

		for i, signature := range strings.Split(h.Get("webhook-signature"), " ") {
			kind, text, _ := strings.Cut(signature, ",")
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}

			for bit := range 8 * len(raw) {
				damaged := bytes.Clone(raw)
				damaged[bit/8] ^= 1 << (bit % 8)
				h.Set("webhook-signature", kind+","+base64.StdEncoding.EncodeToString(damaged))
				if believes(t, secret, body, h) || believesPublic(t, public, body, h) {
					t.Errorf("accepted with bit %d of signature %d changed", bit, i)
				}
			}
		}
	})
}

// Two libraries accept a token within its lifetime at its audience, and no damaged token.
func TestToken(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 900, time.UTC)
	r := ring(t, now, -time.Hour)
	const issuer = "https://agent.example.com"
	token, err := webhook.Token(r, now, issuer, owner, hook+"?key=CANARY", id, "task-1")
	if err != nil {
		t.Fatal(err)
	}

	var set jose.JSONWebKeySet
	if err := json.Unmarshal(r.JWKS(now), &set); err != nil {
		t.Fatal(err)
	}

	byJose := func(token string, at time.Time, audience string) (map[string]any, error) {
		parsed, err := josejwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			return nil, err
		}

		var c josejwt.Claims
		all := map[string]any{}
		if err := parsed.Claims(set, &c, &all); err != nil {
			return nil, err
		}

		return all, c.ValidateWithLeeway(josejwt.Expected{Issuer: issuer, AnyAudience: josejwt.Audience{audience}, Time: at, ID: id}, 0)
	}

	second, err := jwk.Parse(r.JWKS(now))
	if err != nil {
		t.Fatal(err)
	}

	byJWX := func(token string, at time.Time, audience string) error {
		// Without the required claims jwx takes a token that never expires.
		_, err := jwt.Parse([]byte(token), jwt.WithKeySet(second), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithJwtID(id),
			jwt.WithRequiredClaim("exp"), jwt.WithRequiredClaim("iat"), jwt.WithClock(jwt.ClockFunc(func() time.Time { return at })))
		return err
	}

	const origin = "https://hooks.example.com"
	got, err := byJose(token, now, origin)
	if err != nil {
		t.Fatal(err)
	}

	want := map[string]any{"iss": issuer, "sub": r.Subjects(now, owner)[0], "aud": origin, "jti": id, "taskId": "task-1", "iat": float64(now.Unix()), "exp": float64(now.Unix() + 300)}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("claim %s = %v, want %v", name, got[name], v)
		}
	}

	if len(got) != len(want) {
		t.Errorf("claims = %v, want %v", got, want)
	}

	for _, c := range []struct {
		name     string
		after    time.Duration
		audience string
		want     bool
	}{
		{"at once", 0, origin, true},
		{"at the end", 4*time.Minute + 59*time.Second, origin, true},
		{"after 5m01s", 5*time.Minute + time.Second, origin, false},
		{"elsewhere", 0, "https://other.example.com", false},
		{"with the path", 0, hook, false},
	} {
		if _, err := byJose(token, now.Add(c.after), c.audience); (err == nil) != c.want {
			t.Errorf("%s: go-jose says %v, want accepted = %v", c.name, err, c.want)
		}
		if err := byJWX(token, now.Add(c.after), c.audience); (err == nil) != c.want {
			t.Errorf("%s: jwx says %v, want accepted = %v", c.name, err, c.want)
		}
	}

	segments := strings.Split(token, ".")
	for i, segment := range segments {
		raw, err := base64.RawURLEncoding.DecodeString(segment)
		if err != nil {
			t.Fatal(err)
		}

		for bit := range 8 * len(raw) {
			damaged, all := bytes.Clone(raw), slices.Clone(segments)
			damaged[bit/8] ^= 1 << (bit % 8)
			all[i] = base64.RawURLEncoding.EncodeToString(damaged)
			bad := strings.Join(all, ".")
			if _, err := byJose(bad, now, origin); err == nil {
				t.Errorf("go-jose accepts bit %d of segment %d changed", bit, i)
			}
			if err := byJWX(bad, now, origin); err == nil {
				t.Errorf("jwx accepts bit %d of segment %d changed", bit, i)
			}
		}
	}
}

// The audience of a token is the origin of the URL.
func TestTokenIsForTheOrigin(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := ring(t, now, 0)

	for _, row := range []struct{ url, want string }{
		{"https://hooks.example.com", "https://hooks.example.com"},
		{"https://hooks.example.com:443/a?b", "https://hooks.example.com"},
		{"https://hooks.example.com:8443/a", "https://hooks.example.com:8443"},
		{"http://hooks.example.com:80/", "http://hooks.example.com"},
		{"http://hooks.example.com:443/", "http://hooks.example.com:443"},
		{"HTTPS://Hooks.Example.COM/A", "https://hooks.example.com"},
		{"https://bücher.example/", "https://xn--bcher-kva.example"},
		{"https://user:CANARY@hooks.example.com/", "https://hooks.example.com"},
		{"http://127.0.0.1:9099/", "http://127.0.0.1:9099"},
		{"http://[::1]:9099/", "http://[::1]:9099"},
		{"https://[2001:db8::1]/", "https://[2001:db8::1]"},
		{"ftp://hooks.example.com/", ""},
		{"https:///CANARY", ""},
		{"CANARY", ""},
		{"https://CANARY\x7f", ""},
		{"https://CANARY_ _/", ""},
		{"https://-CANARY-.example/", ""},
	} {
		token, err := webhook.Token(r, now, "https://agent.example.com", owner, row.url, id, "t")
		if row.want == "" {
			if err == nil || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("Token(%s) = %s, %v, want an error that does not repeat it", row.url, token, err)
			}
			continue
		}

		if err != nil {
			t.Errorf("Token(%s): %v", row.url, err)
			continue
		}

		parsed, err := jwt.ParseInsecure([]byte(token))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := parsed.Audience(); !slices.Equal(got, []string{row.want}) {
			t.Errorf("Token(%s) is for %v, want %s", row.url, got, row.want)
		}
	}

	if _, err := webhook.Token(r, now, "", owner, hook, id, "t"); err == nil {
		t.Error("Token without an issuer gives no error")
	}
}

// The reference library makes the same signature, and refuses any other delivery.
func FuzzSign(f *testing.F) {
	f.Add(id, body, int64(1614265330), owner, hook)
	f.Add("a.b", []byte("."), int64(0), "", "")
	f.Add("", []byte{0xff, 0}, int64(-1), "\xff", "x")
	r := ring(f, time.Unix(0, 0).UTC(), 0)

	f.Fuzz(func(t *testing.T, id string, body []byte, unix int64, owner, url string) {
		now := time.Unix(unix, 0)
		timestamp, signatures, err := webhook.Sign(r, now, owner, url, id, body)
		if err != nil {
			if id != "" && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567/") == "" {
				t.Fatalf("Sign(%q) = %v", id, err)
			}
			return
		}

		if strings.Contains(id, ".") || timestamp != strconv.FormatInt(unix, 10) {
			t.Fatalf("Sign(%q, %d) = %s", id, unix, timestamp)
		}

		reference, err := standardwebhooks.NewWebhook(r.Secrets(now, owner, url)[0])
		if err != nil {
			t.Fatal(err)
		}

		want, err := reference.Sign(id, now, body)
		if got, _, _ := strings.Cut(signatures, " "); err != nil || got != want {
			t.Errorf("Sign(%q, %d) = %s, want %s, %v", id, unix, got, want, err)
		}

		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signatures}}
		if err := reference.VerifyIgnoringTimestamp(body, h); err != nil {
			t.Errorf("the reference refuses Sign(%q, %d): %v", id, unix, err)
		}
		if !believesPublic(t, r.Public(now, owner)[0], body, h) {
			t.Errorf("the public key refuses Sign(%q, %d)", id, unix)
		}
		if reference.VerifyIgnoringTimestamp(append(body, '.'), h) == nil {
			t.Errorf("the reference accepts Sign(%q, %d) with another body", id, unix)
		}
	})
}
