package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An entry is one key of a ring with all keys derived from it. The key itself is not kept.
// Two purposes never share a key, so that a leak in one does not help against another.
type entry struct {
	from   time.Time
	kid    string            // its public name
	sealer sealer            // of what records keep
	given  sealer            // of the credentials that tasks are given
	asks   []byte            // key of the URLs that take them
	hooks  []byte            // key of the secrets of webhooks
	files  []byte            // key of the signed URLs of files
	owners []byte            // key of the Ed25519 keys of owners
	names  []byte            // key of the opaque names of owners
	wakes  []byte            // key of the keys of wake URLs
	nist   *ecdsa.PrivateKey // on P-256
	tokens jose.Signer       // with nist
	card   *ecdsa.PrivateKey // on P-256, of the agent card
}

// derive makes an entry of a key. The purposes are part of every stored and sent value:
// they must not change.
func derive(from time.Time, key []byte) (entry, error) {
	e := entry{
		from:   from,
		kid:    name(expand(key, "name")),
		asks:   expand(key, "credential URLs"),
		hooks:  expand(key, "webhook secrets"),
		files:  expand(key, "file URLs"),
		owners: expand(key, "Ed25519 keys of owners"),
		names:  expand(key, "names of owners"),
		wakes:  expand(key, "wake URLs"),
		nist:   scalar(func(i int) []byte { return expand(key, fmt.Sprintf("P-256 %d", i)) }),
		card:   scalar(func(i int) []byte { return expand(key, fmt.Sprintf("card %d", i)) }),
	}
	var err error
	if e.sealer, err = newSealer(expand(key, "seal"), expand(key, "nonces")); err != nil {
		return entry{}, err
	}
	if e.given, err = newSealer(expand(key, "seal credentials"), expand(key, "nonces of credentials")); err != nil {
		return entry{}, err
	}
	e.tokens, err = jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: e.nist, KeyID: e.kid}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return entry{}, fmt.Errorf("making the key of tokens: %w", err)
	}
	return e, nil
}

// expand derives 32 bytes for a purpose.
func expand(key []byte, purpose string) []byte {
	out, err := hkdf.Key(sha256.New, key, nil, "errand/1 "+purpose, 32)
	if err != nil {
		panic(err) // of lengths beyond 255 hashes
	}
	return out
}

// scalar is the first candidate that is a private key of P-256. One in four thousand
// million is not, because it is zero or not below the order of the curve.
func scalar(candidate func(i int) []byte) *ecdsa.PrivateKey {
	for i := 0; ; i++ {
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), candidate(i)); err == nil {
			return key
		}
	}
}

// name is ten characters in base32.
func name(b []byte) string {
	sum := sha256.Sum256(b)
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:nameSize])
}

const nameSize = 10

// mac is a function of all its parts. The length of each goes in before it, so that bytes
// cannot move from one to the next.
func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}
