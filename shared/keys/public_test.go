package keys_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"errand/shared/keys"
)

// A set of public keys has public keys, and nothing else.
func TestParsePublic(t *testing.T) {
	for _, text := range []string{"", "{}", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"RSA"}]}`} {
		if _, err := keys.ParsePublic([]byte(text)); err == nil {
			t.Errorf("%q are keys", text)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key, KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.ParsePublic(private); err == nil {
		t.Error("a private key is taken")
	}

	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	text, err := keys.Generate("", now)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if set, err := keys.ParsePublic(ring.JWKS(now)); err != nil || len(set.Keys) != 2 {
		t.Errorf("our own: %+v, %v", set, err)
	}
}
