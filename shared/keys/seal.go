package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrSealed says that a sealed text cannot be opened.
var ErrSealed = errors.New("cannot be opened")

// Seal encrypts plain with the current key. Open returns it only with the same text bound,
// which names the place that plain belongs to. The result has the form KID.BASE64URL. Under
// one key equal inputs give equal texts. This shows that two are equal, and their length,
// but nothing else.
func (r Ring) Seal(now time.Time, bound string, plain []byte) string {
	e := r.list()[r.list().current(now)]
	return e.kid + "." + e.sealer.seal(bound, plain)
}

// Open returns a text that was sealed under the same bound by any key of the ring. The
// error is ErrSealed. It names a key that is missing, and repeats nothing else.
func (r Ring) Open(bound, sealed string) ([]byte, error) {
	return r.open(bound, sealed, Secret, func(e entry) sealer { return e.sealer })
}

// open opens a text that the sealer of one purpose has sealed, under a key of the secret.
func (r Ring) open(bound, sealed, secret string, of func(entry) sealer) ([]byte, error) {
	kid, text, _ := strings.Cut(sealed, ".")
	if !named(kid) {
		return nil, fmt.Errorf("%w: damaged, or never sealed", ErrSealed)
	}
	for _, e := range r.list() {
		if e.kid != kid {
			continue
		}
		if plain, ok := of(e).open(bound, text); ok {
			return plain, nil
		}
		return nil, fmt.Errorf("%w: damaged, or sealed for something else", ErrSealed)
	}
	return nil, fmt.Errorf("%w: sealed with the key %s, which is not in the secret %s any more; put its line back", ErrSealed, kid, secret)
}

// A sealer seals for one purpose.
type sealer struct {
	aead   cipher.AEAD
	nonces []byte // key of its nonces
}

// newSealer makes a sealer of two keys.
func newSealer(key, nonces []byte) (sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("making a sealing key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return sealer{}, fmt.Errorf("making a sealing key: %w", err)
	}
	return sealer{aead, nonces}, nil
}

func (s sealer) seal(bound string, plain []byte) string {
	// The nonce is made of all inputs. It comes again only with the same content, or by
	// chance, for which two to the 48th different ones would be needed.
	nonce := mac(s.nonces, bound, string(plain))[:s.aead.NonceSize()]
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nonce, nonce, plain, []byte(bound)))
}

func (s sealer) open(bound, text string) ([]byte, bool) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	// One content has one text, but the decoder ignores line ends and stray bits.
	if err != nil || base64.RawURLEncoding.EncodeToString(data) != text || len(data) < s.aead.NonceSize() {
		return nil, false
	}
	nonce, data := data[:s.aead.NonceSize()], data[s.aead.NonceSize():]
	plain, err := s.aead.Open(nil, nonce, data, []byte(bound))
	return plain, err == nil
}

// named reports whether s has the form of a key's name, so that an error may repeat it.
func named(s string) bool {
	return len(s) == nameSize && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}
