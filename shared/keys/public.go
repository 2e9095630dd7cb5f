package keys

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// ParsePublic reads a JSON Web Key Set (RFC 7517) of public keys. The error is the end of a sentence
// that begins with the name of the place.
func ParsePublic(text []byte) (set jose.JSONWebKeySet, err error) {
	if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) == 0 {
		return set, errors.New(`must be a JSON Web Key Set with keys, {"keys": [...]}: an agent serves its own at ` + Path)
	}
	for i, key := range set.Keys {
		if !key.IsPublic() || !key.Valid() {
			return set, fmt.Errorf("keys[%d] is no public key: take out private keys and shared secrets", i)
		}
	}
	return set, nil
}
