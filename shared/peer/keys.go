package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/go-jose/go-jose/v4"
)

// KeysInFile are the keys in a file with a JSON Web Key Set (RFC 7517), which the operator got from
// the agent's operator: cardserver serves its own at keys.Path. The file is read each time that a card is
// checked, so keys may be added and taken back.
func KeysInFile(path string) func(context.Context) (jose.JSONWebKeySet, error) {
	return func(context.Context) (jose.JSONWebKeySet, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return jose.JSONWebKeySet{}, err
		}
		set, err := ParseKeys(data)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return set, err
	}
}

// ParseKeys reads a JSON Web Key Set of public keys.
func ParseKeys(data []byte) (set jose.JSONWebKeySet, err error) {
	if err := json.Unmarshal(data, &set); err != nil {
		return set, fmt.Errorf("is no JSON Web Key Set, {\"keys\": [...]}: %w", err)
	}
	if len(set.Keys) == 0 {
		return set, fmt.Errorf("has no keys: an agent serves its own at /.well-known/jwks.json")
	}
	for i, key := range set.Keys {
		if !key.IsPublic() || !key.Valid() {
			return set, fmt.Errorf("keys[%d] is no public key: take out private keys and shared secrets", i)
		}
	}
	return set, nil
}
