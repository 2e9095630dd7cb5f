package keys

import (
	"crypto/ed25519"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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

// Public are the Ed25519 keys that check an owner's signatures, in the form whpk_BASE64 of
// Standard Webhooks: the current one first, then those still in use beside it, then future
// ones. No two owners share one, so a signature also says whose webhook it is.
func (r Ring) Public(now time.Time, owner string) []string {
	var public []string
	for _, e := range r.list().announced(now) {
		key := e.ed25519(owner).Public().(ed25519.PublicKey)
		public = append(public, "whpk_"+base64.StdEncoding.EncodeToString(key))
	}
	return public
}

// SignEd25519 signs message with every key of the owner that is in use, the current one
// first.
func (r Ring) SignEd25519(now time.Time, owner string, message []byte) [][]byte {
	var signatures [][]byte
	for _, e := range r.list().signing(now) {
		signatures = append(signatures, ed25519.Sign(e.ed25519(owner), message))
	}
	return signatures
}

// Subjects are the opaque names of an owner in tokens: the one that tokens carry now, and
// then those that they will carry. They do not tell the owner's own name. A fresh key of the
// ring brings a fresh name, which tokens carry only when the key before it signs no more:
// until then a receiver knows both, or has the time to learn the new one.
func (r Ring) Subjects(now time.Time, owner string) []string {
	var subjects []string
	signing := r.list().signing(now)
	for _, e := range slices.Backward(signing) {
		subjects = append(subjects, e.subject(owner))
	}
	for _, e := range r.list().announced(now)[len(signing):] {
		subjects = append(subjects, e.subject(owner))
	}
	return subjects
}

// JWKS is the JSON Web Key Set of the keys that check tokens (ES256), in the order of Public,
// and then of those that check signatures of the card. Tokens name their owner, so all owners
// share these keys.
func (r Ring) JWKS(now time.Time) []byte {
	var set jose.JSONWebKeySet
	for _, e := range r.list().announced(now) {
		set.Keys = append(set.Keys,
			jose.JSONWebKey{Key: &e.nist.PublicKey, KeyID: e.kid, Algorithm: string(jose.ES256), Use: "sig"})
	}
	for _, e := range r.list().announced(now) {
		set.Keys = append(set.Keys,
			jose.JSONWebKey{Key: &e.card.PublicKey, KeyID: e.cardKID(), Algorithm: string(jose.ES256), Use: "sig"})
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

// ed25519 is the owner's key for signatures.
func (e entry) ed25519(owner string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(mac(e.owners, owner))
}

// subject is the owner's opaque name: 26 letters and digits.
func (e entry) subject(owner string) string {
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac(e.names, owner))[:subjectSize])
}

// subjectSize is the length of an owner's opaque name. Its 130 bits are not guessed.
const subjectSize = 26
