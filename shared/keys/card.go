package keys

import (
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"time"
)

// A CardSignature is a signature of the agent card in the form of A2A 1.0, section 8.4.2.
type CardSignature struct {
	Protected string `json:"protected"` // the header, in base64url
	Signature string `json:"signature"` // in base64url
}

// CardKeys are the public names of the keys that sign the card at the time, the current one
// first.
func (r Ring) CardKeys(now time.Time) []string {
	var names []string
	for _, e := range r.list().signing(now) {
		names = append(names, e.cardKID())
	}
	return names
}

// SignCard signs a payload with every key that is in use, the current one first (ES256). Each
// header names the key and, if there is one, the URL of the key set. The same payload has the
// same signatures in every process (RFC 6979), so that the card is the same document there.
func (r Ring) SignCard(now time.Time, keySet string, payload []byte) ([]CardSignature, error) {
	var all []CardSignature
	for _, e := range r.list().signing(now) {
		signed, err := e.signCard(keySet, payload)
		if err != nil {
			return nil, fmt.Errorf("signing the card: %w", err)
		}
		all = append(all, signed)
	}
	return all, nil
}

func (e entry) signCard(keySet string, payload []byte) (CardSignature, error) {
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
		Kid string `json:"kid"`
		Jku string `json:"jku,omitempty"`
	}{"ES256", "JOSE", e.cardKID(), keySet})
	if err != nil {
		return CardSignature{}, err
	}

	protected := base64.RawURLEncoding.EncodeToString(header)
	digest := sha256.Sum256([]byte(protected + "." + base64.RawURLEncoding.EncodeToString(payload)))
	der, err := e.card.Sign(nil, digest[:], crypto.SHA256) // without a source of chance it is deterministic
	if err != nil {
		return CardSignature{}, err
	}

	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &pair); err != nil {
		return CardSignature{}, err
	}
	signature := make([]byte, 64) // R and S, 32 bytes each (RFC 7518, section 3.4)
	pair.R.FillBytes(signature[:32])
	pair.S.FillBytes(signature[32:])
	return CardSignature{Protected: protected, Signature: base64.RawURLEncoding.EncodeToString(signature)}, nil
}

// cardKID names the entry's key of the card, beside the one of tokens.
func (e entry) cardKID() string { return e.kid + "-card" }
