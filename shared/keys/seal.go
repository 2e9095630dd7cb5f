package keys

import (
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
	// The nonce is made of all inputs. It comes again only with the same content, or by
	// chance, for which two to the 48th different ones would be needed.
	nonce := mac(e.nonces, bound, string(plain))[:e.sealer.NonceSize()]
	return e.kid + "." + base64.RawURLEncoding.EncodeToString(e.sealer.Seal(nonce, nonce, plain, []byte(bound)))
}

// Open returns a text that was sealed under the same bound by any key of the ring. The
// error is ErrSealed. It names a key that is missing, and repeats nothing else.
func (r Ring) Open(bound, sealed string) ([]byte, error) {
	kid, text, _ := strings.Cut(sealed, ".")
	if !named(kid) {
		return nil, fmt.Errorf("%w: damaged, or never sealed", ErrSealed)
	}
	for _, e := range r.list() {
		if e.kid != kid {
			continue
		}
		data, err := base64.RawURLEncoding.DecodeString(text)
		// One content has one text, but the decoder ignores line ends and stray bits.
		if err == nil && base64.RawURLEncoding.EncodeToString(data) == text && len(data) >= e.sealer.NonceSize() {
			nonce, data := data[:e.sealer.NonceSize()], data[e.sealer.NonceSize():]
			if plain, err := e.sealer.Open(nil, nonce, data, []byte(bound)); err == nil {
				return plain, nil
			}
		}
		return nil, fmt.Errorf("%w: damaged, or sealed for something else", ErrSealed)
	}
	return nil, fmt.Errorf("%w: sealed with the key %s, which is not in the secret %s any more; put its line back", ErrSealed, kid, Secret)
}

// named reports whether s has the form of a key's name, so that an error may repeat it.
func named(s string) bool {
	return len(s) == nameSize && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}
