package card

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-jose/go-jose/v4"
)

// Signed derives a card with its signatures, if cfg has a way to sign: those over the fields of
// A2A 1.0, which clients check that know no others, and those over the whole document, fields of
// 0.3 included.
func Signed(cfg Config) (*a2a.AgentCard, error) {
	c, err := Derive(cfg)
	if err != nil || cfg.Sign == nil {
		return c, err
	}
	unsigned, err := Encode(c)
	if err != nil {
		return nil, err
	}
	for _, form := range []Form{Protocol, Whole} {
		payload, err := Canonical(unsigned, form)
		if err != nil {
			return nil, err
		}
		signatures, err := cfg.Sign(cfg.URL, payload)
		if err != nil {
			return nil, err
		}
		c.Signatures = append(c.Signatures, signatures...)
	}
	return c, nil
}

// ErrSignature says that no key opens any signature of a card.
var ErrSignature = errors.New("card: no signature is by a known key")

// maxSignatures is how many signatures of a card are tried: two forms, and all keys of a ring.
const maxSignatures = 32

// Verify looks for a signature of the card by one of the keys, which the caller trusts: it never
// fetches any, and ignores jku. It returns what was signed, which alone may be believed, and
// the name of the key. ErrSignature: there is none.
func Verify(card []byte, trusted jose.JSONWebKeySet) (believed []byte, kid string, err error) {
	var c struct {
		Signatures []a2a.AgentCardSignature `json:"signatures"`
	}
	if err := json.Unmarshal(card, &c); err != nil {
		return nil, "", fmt.Errorf("reading the signatures of a card: %w", err)
	}

	for _, form := range []Form{Whole, Protocol} {
		payload, err := Canonical(card, form)
		if err != nil {
			return nil, "", err
		}
		for _, s := range c.Signatures[:min(len(c.Signatures), maxSignatures)] {
			if kid, ok := opens(s, payload, trusted); ok {
				return payload, kid, nil
			}
		}
	}
	return nil, "", ErrSignature
}

// algorithms are those of signatures that are looked at. All of them have public keys.
var algorithms = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
}

// opens reports whether a trusted key with the name in the header opens the signature.
func opens(s a2a.AgentCardSignature, payload []byte, trusted jose.JSONWebKeySet) (kid string, ok bool) {
	jws, err := jose.ParseSignedCompact(s.Protected+".."+s.Signature, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return "", false
	}

	header := jws.Signatures[0].Protected
	for _, key := range trusted.Key(header.KeyID) {
		if key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if jws.DetachedVerify(payload, key.Key) == nil {
			return header.KeyID, true
		}
	}
	return "", false
}
