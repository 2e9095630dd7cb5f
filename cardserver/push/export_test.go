package push

import (
	"maps"
	"slices"

	"errand/shared/auth"
)

// Routes are the operations of callers, by method and path.
func Routes() []string { return slices.Sorted(maps.Keys((&API{}).operations())) }

// WakeRoute is the operation that needs no caller.
const WakeRoute = wakeRoute

// RightOf is the right that an operation needs.
func RightOf(route string) auth.Right { return (&API{}).operations()[route].Right }

// Description is the API's description.
func Description() []byte { return description }
