// Package kv is the port for small durable values that are not tasks: the steps of
// a task, the state of a batch, the usage of an owner, a cached card.
//
// It has no watch and no counter, and does not look into values. A value that changes
// more than once a second does not belong here, nor does a file.
package kv

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"
)

// Errors that a Store returns. Any other error means that the store was not reached or,
// after a write, that the outcome is unknown.
var (
	ErrNotFound = errors.New("kv: no such entry")
	ErrConflict = errors.New("kv: entry has another version")
	ErrTooLarge = errors.New("kv: value is too large")

	// ErrInvalid reports a key, a prefix, an owner or a time that no entry can have. It is
	// a mistake of the caller.
	ErrInvalid = errors.New("kv: no entry can have this")
)

// Limits. The bytes of a value leave room for key and owner in a Firestore document,
// which has 1 MiB. https://firebase.google.com/docs/firestore/quotas
const (
	LimitKey   = 512       // bytes of a key
	LimitOwner = 1500      // bytes of an owner
	LimitValue = 900 << 10 // bytes of a value
	LimitList  = 1 << 20   // bytes of the keys, owners and values of a list: one entry always fits
	LimitCount = 1000      // entries of a list
)

// A Store keeps small versioned values under keys. It is safe for concurrent use.
//
// A write is atomic, and durable when it returns nil. Reads are linearizable per key. An
// entry is absent for every method from the millisecond of its Expires on, by the store's
// clock, and is deleted later.
//
// Versions are positive. The versions of one key strictly rise, through expiry, deletion
// and creation, so an old version never names a newer value.
//
// The caller retries, and a store makes no long retries of its own. After an error that is
// not one of this package, the write may have been made. ErrConflict may be the answer to
// the caller's own write, if that write was sent again because its first answer was lost.
// In both cases the caller reads and compares.
//
// The bytes of a value are shared, given or returned: neither the store nor the caller
// changes them. A nil value and an empty one are the same.
type Store interface {
	// Get returns the entry. ErrNotFound: there is none, or it has expired.
	Get(ctx context.Context, key string) (Entry, error)

	// Put stores the entry and returns it with its Version. Version 0 creates the entry,
	// and ErrConflict says that it exists. Another Version replaces that version, and
	// ErrConflict says that the entry has another version or does not exist. ErrTooLarge:
	// the value is over LimitValue. An expired entry can be created, but not replaced.
	Put(ctx context.Context, e Entry) (Entry, error)

	// Delete deletes the given version of the entry, or any version if version is 0. An
	// absent entry is deleted already, which is no error. ErrConflict: the entry has
	// another version.
	Delete(ctx context.Context, key string, version int64) error

	// List returns the entries whose keys begin with prefix, which may end within a
	// segment, and come after after, in the order of the bytes of their keys. An entry that
	// is written meanwhile appears as it was before or after the write. A list has at most
	// limit entries (1 to LimitCount; another limit counts as the nearest) and LimitList
	// bytes. It may be shorter, but has one entry if any entry matches: only an empty list
	// says that there are no more.
	List(ctx context.Context, prefix, after string, limit int) ([]Entry, error)

	// Purge deletes up to limit entries that expired before the given time, which must not
	// be in the future, and returns how many. It deletes none in a database that deletes
	// expired entries by itself.
	Purge(ctx context.Context, before time.Time, limit int) (int, error)
}

// An Entry is a value under a key.
type Entry struct {
	// Key is two or more segments of [a-z0-9._-] with / between: the kind of the entry
	// (step, batch, use, card), then something that spreads and never a time: keys that
	// grow at one end are all written to one place.
	// https://firebase.google.com/docs/firestore/best-practices#hotspots
	Key string

	Owner   string // owner of the entry, any UTF-8; "" is the anonymous owner
	Value   []byte
	Version int64
	Expires time.Time // whole milliseconds, rounded down; zero: never
}

// Stored returns the entry as a store keeps it, or the reason why no store can keep it.
func (e Entry) Stored() (Entry, error) {
	if err := CheckKey(e.Key); err != nil {
		return Entry{}, err
	}
	switch year := e.Expires.UTC().Year(); {
	case len(e.Owner) > LimitOwner || !utf8.ValidString(e.Owner):
		return Entry{}, fmt.Errorf("%w: an owner of %d bytes: use valid UTF-8 of at most %d", ErrInvalid, len(e.Owner), LimitOwner)
	case !e.Expires.IsZero() && (year < 1970 || year > 9999):
		return Entry{}, fmt.Errorf("%w: expires in the year %d: use one from 1970 to 9999", ErrInvalid, year)
	case len(e.Value) > LimitValue:
		return Entry{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(e.Value), LimitValue)
	}
	e.Expires = e.Expires.Truncate(time.Millisecond).UTC()
	return e, nil
}

// Size is the number of bytes that the entry counts in a list.
func (e Entry) Size() int { return len(e.Key) + len(e.Owner) + len(e.Value) }

// Expired reports whether the entry is absent at the time now.
func (e Entry) Expired(now time.Time) bool {
	return !e.Expires.IsZero() && e.Expires.UnixMilli() <= now.UnixMilli()
}

var (
	keys  = regexp.MustCompile(`^[a-z0-9._-]+(/[a-z0-9._-]+)+$`)
	parts = regexp.MustCompile(`^[a-z0-9._/-]*$`)
)

// CheckKey returns nil, or ErrInvalid with the reason if no entry can have the key.
func CheckKey(key string) error {
	if len(key) > LimitKey || !keys.MatchString(key) {
		return fmt.Errorf("%w: key %.40q: use two or more segments of a-z, 0-9, '.', '_' and '-' with '/' between, at most %d bytes", ErrInvalid, key, LimitKey)
	}
	return nil
}

// Range returns the keys of a list as a range of strings. The keys that begin with prefix
// and come after after are those from from on and before to.
func Range(prefix, after string) (from, to string, err error) {
	for _, s := range []string{prefix, after} {
		if len(s) > LimitKey || !parts.MatchString(s) {
			return "", "", fmt.Errorf("%w: %.40q in a list: use a-z, 0-9, '.', '_', '-' and '/', at most %d bytes", ErrInvalid, s, LimitKey)
		}
	}
	// No character of a key comes before '-', and all come before '~'.
	return max(prefix, after+"-"), prefix + "~", nil
}
