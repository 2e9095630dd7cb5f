package catalogue

import (
	"net/http"

	"errand/shared/auth"
)

// Description is what describes the operations.
func Description() []byte { return description }

// Routes are all operations.
func Routes() (all []string) {
	for name := range (&API{}).operations() {
		all = append(all, name)
	}
	return all
}

// RightOf is the right that an operation needs.
func RightOf(route string) auth.Right { return (&API{}).operations()[route].Right }

// Inner is the API as if the access file had a catalogue.
func Inner(cfg Config) http.Handler { return New(cfg).inner }
