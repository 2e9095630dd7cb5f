package push

import (
	"maps"
	"slices"
)

// Routes are the operations, by method and path.
func Routes() []string { return slices.Sorted(maps.Keys((&API{}).operations())) }

// Description is the API's description.
func Description() []byte { return description }
