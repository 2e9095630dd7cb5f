package peer

import (
	"context"
	"fmt"
	"os"

	"github.com/go-jose/go-jose/v4"

	"errand/shared/keys"
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
		set, err := keys.ParsePublic(data)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return set, err
	}
}
