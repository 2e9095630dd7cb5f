// Package secret is the port to secrets: keys and tokens by name, read when they are
// needed, so that a rotated one is seen.
//
// It is not configuration (that has no secrets, only names of them), and it keeps
// nothing: the sources do.
package secret

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A Source gives secrets. It is safe for concurrent use. Asking often is cheap, and
// the caller keeps no value for longer than it takes to use it: that is how rotation
// is seen, within minutes at most.
type Source interface {
	// Get returns the value of the version that ref names. Errors: ErrName,
	// ErrNotFound, ErrTooLarge, or that the source could not be reached. None of
	// them holds a value, or a part of one.
	Get(ctx context.Context, ref Ref) (Value, error)
}

// Latest is the version that is newest when asked, which an empty version means too.
const Latest = "latest"

// MaxSize is how many bytes a secret may have, in any source.
// https://cloud.google.com/secret-manager/quotas#content_limits
const MaxSize = 64 << 10

// Errors of every source.
var (
	ErrName     = errors.New("not a secret's name")
	ErrNotFound = errors.New("no such secret")
	ErrTooLarge = errors.New("secret larger than 64 KiB")
)

// A Ref names a secret and a version of it.
type Ref struct {
	Name    string // letters, digits, - and _, beginning with a letter
	Version string // a number, or Latest; empty: Latest
}

// ParseRef reads NAME or NAME@VERSION, and checks it.
func ParseRef(s string) (Ref, error) {
	name, version, pinned := strings.Cut(s, "@")
	if pinned && version == "" {
		return Ref{}, fmt.Errorf("%w: no version behind the @; use NAME, NAME@latest or NAME@7", ErrName)
	}
	r := Ref{name, version}
	return r, r.Check()
}

// String is what ParseRef reads.
func (r Ref) String() string {
	if r.Version == "" {
		return r.Name
	}
	return r.Name + "@" + r.Version
}

// Pinned reports whether r names one version, which never changes.
func (r Ref) Pinned() bool { return r.Version != "" && r.Version != Latest }

// Names are those that every source can have: the ones of Secret Manager that could
// also be a variable. https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create
var (
	names    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,254}$`)
	versions = regexp.MustCompile(`^([1-9][0-9]{0,17}|latest|)$`)
)

// Check returns ErrName, with what is allowed, if r cannot name a secret. What it says
// does not repeat r: somebody may have put the secret there.
func (r Ref) Check() error {
	if !names.MatchString(r.Name) {
		return fmt.Errorf("%w: it must have 1 to 255 letters, digits, - and _, and begin with a letter", ErrName)
	}
	if !versions.MatchString(r.Version) {
		return fmt.Errorf("%w: the version must be a number from 1, or latest", ErrName)
	}
	return nil
}
