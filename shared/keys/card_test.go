package keys_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"errand/shared/keys"
)

// keySet is what the ring announces at the time.
func keySet(t *testing.T, text []byte) jose.JSONWebKeySet {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// opens checks a signature of the card by a library, with the key that its header names.
func opens(t *testing.T, set jose.JSONWebKeySet, s keys.CardSignature, payload []byte) bool {
	t.Helper()
	signed, err := jose.ParseSignedCompact(s.Protected+".."+s.Signature, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Key(signed.Signatures[0].Header.KeyID) {
		if signed.DetachedVerify(payload, key) == nil {
			return true
		}
	}
	return false
}

// Shows D19.
func TestCardIsSignedWithTheRing(t *testing.T) {
	const url = "https://agent.example.com/.well-known/jwks.json"
	ring, payload := parse(t, line(0, 1)+line(10, 2)), []byte(`{"name":"a"}`)

	for day_, want := range map[float64]int{1: 1, 9.9: 1, 10.1: 2, 16.9: 2, 17.1: 1} {
		now := day(day_)
		all, err := ring.SignCard(now, url, payload)
		if err != nil || len(all) != want {
			t.Fatalf("on day %v SignCard = %d signatures, %v, want %d", day_, len(all), err, want)
		}

		var names []string
		for _, s := range all {
			if !opens(t, keySet(t, ring.JWKS(now)), s, payload) {
				t.Errorf("on day %v a signature does not open", day_)
			}
			if opens(t, keySet(t, ring.JWKS(now)), s, []byte(`{"name":"b"}`)) {
				t.Errorf("on day %v a signature opens for another card", day_)
			}

			text, err := base64.RawURLEncoding.DecodeString(s.Protected)
			var header map[string]string
			if err := json.Unmarshal(text, &header); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"alg": "ES256", "typ": "JOSE", "kid": header["kid"], "jku": url}, header); err != nil || diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			names = append(names, header["kid"])
		}
		if want := ring.CardKeys(now); !slices.Equal(names, want) {
			t.Errorf("on day %v %q sign, want %q", day_, names, want)
		}

		again, err := ring.SignCard(now, url, payload)
		if diff := cmp.Diff(all, again); err != nil || diff != "" {
			t.Errorf("the same card is signed differently (-first +second):\n%s", diff)
		}
	}
}

// A key of tokens opens no card, and a key of the card no token, although both are in one set.
func TestKeysOfTokensAndCardsDiffer(t *testing.T) {
	ring, now := parse(t, line(0, 1)), day(1)
	set := keySet(t, ring.JWKS(now))
	if len(set.Keys) != 2 || set.Keys[0].KeyID == set.Keys[1].KeyID || cmp.Equal(set.Keys[0].Key, set.Keys[1].Key) {
		t.Fatalf("the key set is %+v", set)
	}
	token, err := ring.Token(now, map[string]string{"sub": "x"})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Verify(set.Keys[1]); err == nil || signed.Signatures[0].Header.KeyID != set.Keys[0].KeyID {
		t.Error("a key of the card opens a token")
	}
}
