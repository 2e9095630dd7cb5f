package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
)

// signers are the places of the signing keys, by the public keys that match.
func signers(signatures [][]byte, public []string, message []byte, names map[string]int) []int {
	var by []int
	for _, s := range signatures {
		n := 0
		for _, p := range public {
			raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p, "whpk_"))
			if err == nil && len(raw) == ed25519.PublicKeySize && ed25519.Verify(raw, message, s) {
				n = names[p]
			}
		}
		by = append(by, n)
	}
	return by
}

func kidsOf(t *testing.T, set []byte) []string {
	t.Helper()
	var read jose.JSONWebKeySet
	if err := json.Unmarshal(set, &read); err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, k := range read.Keys {
		kids = append(kids, k.KeyID)
	}
	return kids
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Signatures[0].Protected.KeyID
}

// All owners share the key set, so it has the keys of tokens, which name their owner, and of the
// card, which has none.
func TestJWKSHoldsTheKeysOfTokensAndCards(t *testing.T) {
	text := parse(t, line(0, 1)+line(5, 2)).JWKS(day(1))
	var raw struct{ Keys []map[string]string }
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	if len(raw.Keys) != 4 {
		t.Fatalf("JWKS has %d keys, want 4", len(raw.Keys))
	}
	for i, k := range raw.Keys {
		if k["kty"] != "EC" || k["crv"] != "P-256" || k["alg"] != "ES256" || k["use"] != "sig" || k["kid"] == "" || k["d"] != "" {
			t.Errorf("key %d = %v, want a public P-256 for signatures", i, k)
		}
	}
	set, err := jwk.Parse(text)
	if err != nil || set.Len() != 4 {
		t.Errorf("jwx reads %v, %v", set, err)
	}
}

// Both libraries accept a token by the key set before its key is used by others, while it is
// used, and for seven days after. They accept no other key.
//
// Shows P20.
func TestTokenByTwoLibraries(t *testing.T) {
	r, other := parse(t, line(0, 1)+line(10, 2)), parse(t, line(0, 3))
	token, err := r.Token(day(1), map[string]any{"iss": "https://agent.example.com", "n": 1})
	if err != nil {
		t.Fatal(err)
	}

	const payload = `{"iss":"https://agent.example.com","n":1}`

	check := func(token string, set []byte) (byJose, byJWX bool) {
		var read jose.JSONWebKeySet
		if err := json.Unmarshal(set, &read); err != nil {
			t.Fatal(err)
		}

		if parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256}); err == nil {
			data, err := parsed.Verify(read)
			byJose = err == nil && string(data) == payload
		}

		second, err := jwk.Parse(set)
		if err != nil {
			t.Fatal(err)
		}

		data, err := jws.Verify([]byte(token), jws.WithKeySet(second))
		return byJose, err == nil && string(data) == payload
	}

	for _, row := range []struct {
		name string
		set  []byte
		want bool
	}{
		{"at once", r.JWKS(day(1)), true},
		{"beside its successor", r.JWKS(day(17).Add(-1)), true},
		{"after the overlap", r.JWKS(day(17)), false},
		{"another ring", other.JWKS(day(1)), false},
	} {
		if a, b := check(token, row.set); a != row.want || b != row.want {
			t.Errorf("%s: go-jose accepts: %v, jwx: %v, want %v", row.name, a, b, row.want)
		}
	}

	next, err := r.Token(day(10), map[string]any{"iss": "https://agent.example.com", "n": 1})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := check(next, r.JWKS(day(1))); !a || !b {
		t.Errorf("keys read before the change: go-jose accepts: %v, jwx: %v, want both", a, b)
	}

	parsed, err := jws.Parse([]byte(token))
	if err != nil {
		t.Fatal(err)
	}

	header := parsed.Signatures()[0].ProtectedHeaders()
	if alg, _ := header.Algorithm(); alg != jwa.ES256() {
		t.Errorf("alg = %v, want ES256", alg)
	}
	if typ, _ := header.Type(); typ != "JWT" {
		t.Errorf("typ = %v, want JWT", typ)
	}

	// Every bit of each segment counts. (Some bits of a segment's last letter belong to no
	// byte, and both libraries ignore them.)
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
			if a, b := check(strings.Join(all, "."), r.JWKS(day(1))); a || b {
				t.Errorf("with bit %d of segment %d changed: go-jose accepts: %v, jwx: %v", bit, i, a, b)
			}
		}
	}

	if _, err := r.Token(day(1), func() {}); err == nil {
		t.Error("Token of claims that are no JSON gives no error")
	}
}

// One ring serves all requests.
func TestRingAtOnce(t *testing.T) {
	r := parse(t, line(0, 1))
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 50 {
				if _, err := r.Token(day(0), map[string]string{}); err != nil {
					t.Error(err)
				}
				if got, err := r.Open("b", r.Seal(day(0), "b", []byte("x"))); err != nil || !bytes.Equal(got, []byte("x")) {
					t.Errorf("Open = %q, %v", got, err)
				}
				r.SignEd25519(day(0), "owner", []byte("x"))
			}
		})
	}
}
