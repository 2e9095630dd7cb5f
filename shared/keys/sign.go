package keys

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Secrets are the HMAC secrets of an owner's webhooks to a URL: the current one first, then
// those still in use beside it. They have the form whsec_BASE64 of Standard Webhooks, and
// 32 bytes. No two owners or URLs share one.
func (r Ring) Secrets(now time.Time, owner, url string) []string {
	var secrets []string
	for _, e := range r.list().signing(now) {
		secrets = append(secrets, "whsec_"+base64.StdEncoding.EncodeToString(mac(e.hooks, owner, url)))
	}
	return secrets
}

// Files returns the keys of signed URLs, 32 bytes each, for files on this machine. The first
// key is current and signs. The others have signed URLs that may still be in use.
func (r Ring) Files(now time.Time) [][]byte {
	var keys [][]byte
	for _, e := range r.list().signing(now) {
		keys = append(keys, slices.Clone(e.files))
	}
	return keys
}

// Public are the Ed25519 keys that check signatures, in the form whpk_BASE64 of Standard
// Webhooks: the current one first, then those still in use beside it, then future ones.
func (r Ring) Public(now time.Time) []string {
	var public []string
	for _, e := range r.list().announced(now) {
		public = append(public, "whpk_"+base64.StdEncoding.EncodeToString(e.public()))
	}
	return public
}

// SignEd25519 signs message with every key in use, the current one first.
func (r Ring) SignEd25519(now time.Time, message []byte) [][]byte {
	var signatures [][]byte
	for _, e := range r.list().signing(now) {
		signatures = append(signatures, ed25519.Sign(e.edward, message))
	}
	return signatures
}

// JWKS is the JSON Web Key Set of all public keys, in the order of Public: for each key of
// the ring the one of its tokens (ES256), and then its Ed25519 key.
func (r Ring) JWKS(now time.Time) []byte {
	var set jose.JSONWebKeySet
	for _, e := range r.list().announced(now) {
		// Names differ, because receivers look for the name alone.
		set.Keys = append(set.Keys,
			jose.JSONWebKey{Key: &e.nist.PublicKey, KeyID: e.kid, Algorithm: string(jose.ES256), Use: "sig"},
			jose.JSONWebKey{Key: e.public(), KeyID: e.kid + "-ed25519", Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		panic(err) // of keys that are none
	}
	return text
}

// Token is a JSON Web Token with the claims, signed with the current key (ES256).
func (r Ring) Token(now time.Time, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding the claims of a token: %w", err)
	}
	signed, err := r.list().signing(now)[0].tokens.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed.CompactSerialize()
}

func (e entry) public() ed25519.PublicKey { return e.edward.Public().(ed25519.PublicKey) }
