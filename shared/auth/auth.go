// Package auth identifies callers: clients by API key or ID token, from the file that
// ERRAND_ACCESS names ([Access]), and the queue, the bus and the scheduler by the ID token
// of their service account ([NewDoor]).
//
// It keeps no sessions, issues no tokens and knows neither tasks nor operations: it turns a
// request into a name or a [Refusal]. The tasks that a principal may see follow from its name
// alone, because a task belongs to the principal that sent its first message and does not
// exist for others. A key may have fewer rights than its principal ([Right]). Whoever serves
// operations says which right each of them needs.
package auth

import (
	"context"
	"net/http"
	"strings"
)

// Anonymous is the owner of the messages of unidentified callers, and the value of
// ERRAND_ACCESS that lets them in.
const Anonymous = "anonymous"

// A Principal is an identified caller.
type Principal struct {
	// Owner owns the principal's tasks: its name in the access file, "alice" or
	// "tenant/alice". It is never a credential, and outlives all of them.
	Owner string
	// Via is how the caller was identified, for logs: "key 3k9x2b7q", "google".
	Via string
	// Operator reports whether the principal looks after the webhooks of all owners
	// (/push). It sees no foreign tasks.
	Operator bool

	rights rights // zero: all
	proof  *proof // nil for anonymous callers
}

// Tenant is the part of the owner before the first slash; empty without one.
func (p Principal) Tenant() string { return tenantOf(p.Owner) }

// tenantOf is the part of a name before the first slash; empty without one.
func tenantOf(name string) string {
	tenant, _, ok := strings.Cut(name, "/")
	if !ok {
		return ""
	}
	return tenant
}

// InTenant refuses a request that names a tenant other than the principal's own.
// The tenant of a request only routes it: it never widens what a caller may see.
func (p Principal) InTenant(tenant string) error {
	if tenant == "" || tenant == p.Tenant() {
		return nil
	}
	return &Refusal{
		Status: http.StatusForbidden, Reason: "another tenant",
		Message: "the tenant of the request is not the caller's: leave it out",
	}
}

type principalKey struct{}

// With is ctx with the caller.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From is the caller that With put there. Without one the request was not identified:
// answer it with an error, not as Anonymous.
func From(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}
