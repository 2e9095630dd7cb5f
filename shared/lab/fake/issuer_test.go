package fake_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"errand/shared/lab/fake"
)

// claims verifies a token with the issuer's published keys and returns its claims.
func claims(t *testing.T, issuer *fake.Issuer, authorization string) map[string]any {
	t.Helper()
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	parts := strings.Split(token, ".")
	if !ok || len(parts) != 3 {
		t.Fatalf("no token: %q", authorization)
	}

	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}

	get(t, issuer.URL+"/.well-known/openid-configuration", &discovery)
	if discovery.Issuer != issuer.URL {
		t.Errorf("the issuer in the discovery document is %q, want %q", discovery.Issuer, issuer.URL)
	}

	var set struct{ Keys []map[string]string }
	get(t, discovery.Keys, &set)
	var header struct{ Alg, Kid string }
	decode(t, parts[0], &header)

	for _, k := range set.Keys {
		if k["kid"] != header.Kid {
			continue
		}
		if k["alg"] != header.Alg || !verifies(t, k, parts[0]+"."+parts[1], parts[2]) {
			t.Errorf("key %v does not verify the token of %+v", k, header)
		}

		var got map[string]any
		decode(t, parts[1], &got)
		return got
	}

	t.Fatalf("no key %q in %v", header.Kid, set.Keys)
	return nil
}

func verifies(t *testing.T, key map[string]string, text, signature string) bool {
	sum := sha256.Sum256([]byte(text))
	sig := raw(t, signature)
	number := func(name string) *big.Int { return new(big.Int).SetBytes(raw(t, key[name])) }
	if key["kty"] == "RSA" {
		pub := &rsa.PublicKey{N: number("n"), E: int(number("e").Int64())}
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], sig) == nil
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, raw(t, key["x"])...), raw(t, key["y"])...))
	return err == nil && len(sig) == 64 &&
		ecdsa.Verify(pub, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}

func get(t *testing.T, url string, v any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}

func raw(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t *testing.T, s string, v any) {
	t.Helper()
	if err := json.Unmarshal(raw(t, s), v); err != nil {
		t.Fatal(err)
	}
}

func TestTokensAreVerifiedByThePublishedKeys(t *testing.T) {
	issuer := fake.NewIssuer(t)
	old, err := issuer.IDToken("a@p.iam.gserviceaccount.com", "https://a.example.com")
	if err != nil {
		t.Fatal(err)
	}

	issuer.Rotate(t, fake.ES256)
	c := issuer.Claims("b@p.iam.gserviceaccount.com", "https://b.example.com")
	c["email_verified"] = false // a test may sign any claims
	odd, err := issuer.Token(c)
	if err != nil {
		t.Fatal(err)
	}

	remote, err := fake.RemoteToken(issuer.URL)("c@p.iam.gserviceaccount.com", "https://c.example.com")
	if err != nil {
		t.Fatal(err)
	}

	for token, want := range map[string]map[string]any{
		old:    {"aud": "https://a.example.com", "email": "a@p.iam.gserviceaccount.com", "email_verified": true, "iss": issuer.URL},
		odd:    {"aud": "https://b.example.com", "email_verified": false},
		remote: {"aud": "https://c.example.com", "email": "c@p.iam.gserviceaccount.com", "email_verified": true},
	} {
		got := claims(t, issuer, "Bearer "+token)
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s is %v, want %v", name, got[name], value)
			}
		}
	}
}

func TestSignedAddsAToken(t *testing.T) {
	issuer := fake.NewIssuer(t)
	const email, audience = "push@p.iam.gserviceaccount.com", "https://functions.example.com"
	var got string

	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Header.Get("Authorization")
		if r.Method != http.MethodPost || r.URL.Path != "/events" || string(body) != "envelope" {
			t.Errorf("the forwarded request is %s %s %s", r.Method, r.URL.Path, body)
		}
		w.WriteHeader(http.StatusTeapot)
	}))

	door := httptest.NewServer(fake.Signed(t, target.URL, email, audience, issuer.IDToken))
	t.Cleanup(door.Close)

	post := func() int {
		resp, err := http.Post(door.URL+"/events", "application/json", strings.NewReader("envelope"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if code := post(); code != http.StatusTeapot {
		t.Errorf("the answer is %d, want the target's", code)
	}

	if c := claims(t, issuer, got); c["email"] != email || c["aud"] != audience {
		t.Errorf("the token has the claims %v", c)
	}

	target.Close()
	if code := post(); code != http.StatusBadGateway {
		t.Errorf("the answer without the target is %d, want 502", code)
	}
}
