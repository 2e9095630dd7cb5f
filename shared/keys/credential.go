package keys

import (
	"crypto/hmac"
	"encoding/base64"
	"time"
)

// CredentialSecret is the name of the secret with the ring for credentials where the worker is a
// program of its own: it opens credentials, and reads no other keys. The ring has the form of
// any other. On one machine there is one ring for all purposes.
const CredentialSecret = "errand-credential-keys"

// SealCredential is Seal for a credential that a task is given. [Ring.OpenCredential] opens it,
// and Open does not.
func (r Ring) SealCredential(now time.Time, bound string, plain []byte) string {
	e := r.list()[r.list().current(now)]
	return e.kid + "." + e.given.seal(bound, plain)
}

// OpenCredential is Open for a credential.
func (r Ring) OpenCredential(bound, sealed string) ([]byte, error) {
	return r.open(bound, sealed, CredentialSecret, func(e entry) sealer { return e.given })
}

// SignCredentialURL signs the path of a URL that takes a credential, with the key that is
// current at the time.
func (r Ring) SignCredentialURL(at time.Time, path string) string {
	return r.list()[r.list().current(at)].signCredentialURL(path)
}

// SignedCredentialURL reports whether a key of the ring, be it an old one, made the signature
// of the path. It takes the same time for every answer.
func (r Ring) SignedCredentialURL(path, signature string) bool {
	good := false
	for _, e := range r.list() {
		if hmac.Equal([]byte(e.signCredentialURL(path)), []byte(signature)) {
			good = true
		}
	}
	return good
}

func (e entry) signCredentialURL(path string) string {
	return base64.RawURLEncoding.EncodeToString(mac(e.asks, path)[:wakeSize])
}
