// Package secret is the port to secrets: keys and tokens by name, read when they are
// needed, so that a rotated one is seen.
//
// It is not configuration (that has no secrets, only names of them), and it keeps nothing:
// the sources do.
package secret

import (
	"context"
	"errors"
	"fmt"
	"regexp"
)

// A Source gives secrets. It is safe for concurrent use. Asking often is cheap, and the
// caller keeps no value for longer than it takes to use it. So rotation is seen within
// minutes at most.
type Source interface {
	// Get returns the newest value of the secret. Errors: ErrName, ErrNotFound,
	// ErrTooLarge, or that the source could not be reached. None of them holds a value,
	// or a part of one.
	Get(ctx context.Context, ref Ref) (Value, error)
}

// MaxSize is how many bytes a secret may have, in any source.
// https://cloud.google.com/secret-manager/quotas#content_limits
const MaxSize = 64 << 10

// Errors of every source.
var (
	ErrName     = errors.New("not a secret's name")
	ErrNotFound = errors.New("no such secret")
	ErrTooLarge = errors.New("secret larger than 64 KiB")
)

// A Ref names a secret. A source gives the newest version of it.
type Ref struct {
	Name string // letters, digits, - and _, beginning with a letter
}

// String is the name.
func (r Ref) String() string { return r.Name }

// names are the names that every source can have: those of Secret Manager that could also
// be a variable. https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create
var names = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,254}$`)

// Check returns ErrName, with the names that are allowed, if r cannot name a secret. The
// error does not repeat r, because r may hold the secret itself.
func (r Ref) Check() error {
	if !names.MatchString(r.Name) {
		return fmt.Errorf("%w: it must have 1 to 255 letters, digits, - and _, and begin with a letter", ErrName)
	}
	return nil
}
