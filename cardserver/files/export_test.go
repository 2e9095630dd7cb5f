package files

import (
	"maps"
	"slices"

	"errand/shared/auth"
)

// Routes are the operations, by method and path.
func Routes() []string { return slices.Sorted(maps.Keys((&API{}).operations())) }

// RightOf is the right that an operation needs.
func RightOf(route string) auth.Right { return (&API{}).operations()[route].Right }

// Description is the API's description.
func Description() []byte { return description }
