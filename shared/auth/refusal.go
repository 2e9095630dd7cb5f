package auth

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// realm is the protection space of challenges (RFC 9110, section 11.5): the agent
// as a whole.
const realm = "errand"

// A Refusal is a request that may not go on, with all parts of its answer.
type Refusal struct {
	// Status is the HTTP status: 401 not identified, 403 identified but not allowed, 429
	// too many wrong credentials or a limit of the caller, 503 the issuer's keys cannot be
	// fetched or a limit of all callers.
	Status int
	// Scheme is the authentication scheme to use: "Bearer".
	Scheme string
	// Realm is the protection space of the credentials.
	Realm string
	// Audiences are the audiences that an ID token may have; empty if none is accepted.
	Audiences []string
	// Message is for the caller: the fault, and its remedy: the credentials that are accepted,
	// or what to do about a limit. It repeats nothing of the credentials.
	Message string
	// Reason is for logs, a few words from a fixed list.
	Reason string
	// By is the right or the limit that refused, for logs: "right cancel", "limit waiting". It
	// is empty for a caller that is not identified, except for "limit attempts".
	By string
	// Claimed is the principal that wrong credentials claim to be, for logs; empty if they
	// name none.
	Claimed string
	// After is the time to wait before another try; zero except for 429 and 503.
	After time.Duration

	// presented is false if there were no credentials at all (RFC 6750, section 3.1: such a
	// challenge has no error code).
	presented bool
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// Unwrap is a2a.ErrUnauthenticated for 401, a2a.ErrUnauthorized for 403, and nil otherwise.
func (r *Refusal) Unwrap() error {
	switch r.Status {
	case http.StatusUnauthorized:
		return a2a.ErrUnauthenticated
	case http.StatusForbidden:
		return a2a.ErrUnauthorized
	}
	return nil
}

// Challenge is the WWW-Authenticate header of a 401, and empty for anything else.
func (r *Refusal) Challenge() string {
	if r.Scheme == "" {
		return ""
	}
	c := fmt.Sprintf("%s realm=%q", r.Scheme, r.Realm)
	if len(r.Audiences) > 0 {
		c += fmt.Sprintf(", audience=%q", strings.Join(r.Audiences, " "))
	}
	if r.presented {
		c += `, error="invalid_token"`
	}
	return c
}
