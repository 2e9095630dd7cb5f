package auth

import "slices"

// reserved are the first segments of paths that are not tenants: those of A2A, of our own APIs, and
// some that are kept free. The protocol is served below /TENANT too, so a tenant with such a
// name would stand in their way.
var reserved = []string{
	".well-known", "agents", "batches", "catalogue", "credentials", "extendedAgentCard", "files", "live", "message:send", "message:stream",
	"push", "ready", "tasks", "v1", "wake",
}

// Reserved reports whether a first segment of a path is not a tenant. All paths that clients
// call begin with a reserved segment, or with a tenant and an operation of A2A.
func Reserved(segment string) bool { return slices.Contains(reserved, segment) }
