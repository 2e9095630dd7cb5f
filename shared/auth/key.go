package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"hash/crc32"
	"regexp"
	"strings"
	"time"
)

// A key is prefix, id, "_", secret and checksum, in base32: one word to double-click on,
// and one pattern to scan repositories for. The id finds the hash and may be logged. The
// secret has 256 bits. The checksum tells a damaged key from a wrong one.
const (
	keyPrefix  = "errand_"
	hashPrefix = "sha256:"
)

var (
	keyForm  = regexp.MustCompile(`^errand_([a-z2-7]{8})_[a-z2-7]{52}[a-z2-7]{7}$`)
	hashForm = regexp.MustCompile(`^sha256:([a-z2-7]{8}):([0-9a-f]{64})$`)
)

// NewKey makes an API key and the hash of it that goes into the access file. The key
// is shown once and kept nowhere.
func NewKey() (key, hash string) {
	id, secret := make([]byte, 5), make([]byte, 32)
	rand.Read(id) // never fails
	rand.Read(secret)
	key = keyPrefix + word(id) + "_" + word(secret)
	key += checksum(key)
	sum := digest(key)
	return key, hashPrefix + word(id) + ":" + hex.EncodeToString(sum[:])
}

// An apiKey is a key as the access file knows it.
type apiKey struct {
	digest  [sha256.Size]byte
	id      string
	owner   string
	rights  rights
	expires time.Time // the first moment at which it is refused; zero: never
}

func (k *apiKey) expired(now time.Time) bool { return !k.expires.IsZero() && !now.Before(k.expires) }

// digest is SHA-256. Keys are random, with 256 bits, so they cannot be guessed and a slow
// hash would only cost time at every request. A password could be guessed, but never gets
// here: it has neither the form nor the checksum.
func digest(key string) [sha256.Size]byte { return sha256.Sum256([]byte(key)) }

// keyID is the id in a key; empty if the key is damaged or is none.
func keyID(key string) string {
	m := keyForm.FindStringSubmatch(key)
	if m == nil {
		return ""
	}
	if body := key[:len(key)-7]; checksum(body) != key[len(body):] {
		return ""
	}
	return m[1]
}

// is compares in constant time. A key that is not in the file is compared too, with a
// digest that no key has.
func (k *apiKey) is(key string) bool {
	sum := digest(key)
	return subtle.ConstantTimeCompare(k.digest[:], sum[:]) == 1 && k.owner != ""
}

// parseHash reads a hash that NewKey wrote.
func parseHash(s string) (id string, sum [sha256.Size]byte, ok bool) {
	m := hashForm.FindStringSubmatch(s)
	if m == nil {
		return "", sum, false
	}
	_, err := hex.Decode(sum[:], []byte(m[2]))
	return m[1], sum, err == nil
}

func word(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

func checksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	return word([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}
