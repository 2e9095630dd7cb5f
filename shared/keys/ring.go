// Package keys holds the keys with which the installation signs and seals. All private keys
// are derived from one secret, a ring of keys each of which is used from a time on. They
// seal secrets in records and the credentials that tasks are given, sign webhooks and the
// tokens that name their sender, and sign the URLs of files and those that wake calls.
//
// It does not identify callers (shared/auth does), and it keeps nothing: the ring is read
// from the source of secrets, and every method takes the time.
package keys

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Secret is the name of the secret that holds the ring.
const Secret = "errand-keys"

// Overlap is how long a key goes on signing beside its successor, so that receivers have
// the time to learn the new one.
const Overlap = 7 * 24 * time.Hour

// Limits of a ring. Sixteen keys, changed every month, reach back longer than any sealed
// text is kept.
const (
	maxKeys = 16
	keySize = 32
)

// header is the text that Generate writes above the keys.
const header = "# Keys of Errand. Each line: the time from which it is used, a space, 32 random bytes in base64.\n"

// A Ring is the keys of an installation. Parse makes it, and the zero Ring cannot be used.
// It is safe for concurrent use, and prints, logs and encodes as [keys].
type Ring struct {
	// It is a pointer to a pointer: package fmt prints unexported fields as they are, and
	// if the verb does not fit, even the target of a pointer.
	keys **ring
}

func (r Ring) list() ring { return **r.keys }

// A ring is in the order of the times, which differ. It is never changed and never empty.
type ring []entry

const hidden = "[keys]"

// String says [keys].
func (Ring) String() string { return hidden }

// GoString says [keys].
func (Ring) GoString() string { return hidden }

// MarshalText says [keys], in JSON and in logs too.
func (Ring) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Parse reads a ring: entries FROM KEY on lines of their own or with commas between them,
// where FROM is a time by RFC 3339 and KEY is 32 bytes in base64. The text between a # and
// the end of its line is a comment. The order does not matter. Errors name the line and
// repeat nothing of it.
func Parse(text string) (Ring, error) {
	var keys ring
	lines := map[string]int{} // of a key id

	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		for part := range strings.SplitSeq(line, ",") {
			fields := strings.Fields(part)
			if len(fields) == 0 {
				continue
			}

			e, err := parseEntry(fields)
			if err != nil {
				return Ring{}, fmt.Errorf("keys: line %d: %w", i+1, err)
			}
			if first, twice := lines[e.kid]; twice {
				return Ring{}, fmt.Errorf("keys: line %d: the key of line %d again; make another with cardserver keys", i+1, first)
			}

			for _, o := range keys {
				if o.from.Equal(e.from) {
					return Ring{}, fmt.Errorf("keys: line %d: used from the same time as the key of line %d; give each its own", i+1, lines[o.kid])
				}
			}

			if len(keys) == maxKeys {
				return Ring{}, fmt.Errorf("keys: line %d: more than %d keys; drop the oldest, if nothing is kept any more that they sealed", i+1, maxKeys)
			}

			lines[e.kid] = i + 1
			keys = append(keys, e)
		}
	}

	if len(keys) == 0 {
		return Ring{}, errors.New("keys: no key; cardserver keys makes one")
	}

	slices.SortFunc(keys, func(a, b entry) int { return a.from.Compare(b.from) })
	list := &keys
	return Ring{&list}, nil
}

func parseEntry(fields []string) (entry, error) {
	if len(fields) != 2 {
		return entry{}, errors.New("must be FROM KEY: a time, a space and a key")
	}
	// Neither error is passed on: each quotes its input, and the operator may have swapped
	// the two fields.
	from, err := time.Parse(time.RFC3339, fields[0])
	if err != nil {
		return entry{}, errors.New("FROM must be a time such as 2026-01-31T00:00:00Z")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(fields[1])
	if err != nil || len(key) != keySize {
		return entry{}, fmt.Errorf("KEY must be %d random bytes in base64, as cardserver keys makes them", keySize)
	}
	return derive(from, key)
}

// Generate returns the text of a ring with a fresh key that is used from the given time on,
// in whole seconds, above the content of old. If old is empty, the fresh key is the only
// one.
func Generate(old string, from time.Time) (string, error) {
	if old != "" {
		if _, err := Parse(old); err != nil {
			return "", err
		}
	}
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	fresh := from.UTC().Truncate(time.Second).Format(time.RFC3339) + " " + base64.StdEncoding.EncodeToString(key) + "\n"
	text := header + fresh
	if rest := strings.TrimSpace(strings.ReplaceAll(old, header, "")); rest != "" {
		text += rest + "\n"
	}
	if _, err := Parse(text); err != nil {
		return "", fmt.Errorf("with the fresh key on line 2: %w", err)
	}
	return text, nil
}

// current is the place of the newest key that is used at the time, or of the first one if
// none is yet.
func (r ring) current(now time.Time) int {
	for i, e := range slices.Backward(r) {
		if !e.from.After(now) {
			return i
		}
	}
	return 0
}

// signing are the keys that sign at the time, the current one first.
func (r ring) signing(now time.Time) []entry {
	i := r.current(now)
	keys := []entry{r[i]}
	for ; i > 0 && now.Before(r[i].from.Add(Overlap)); i-- {
		keys = append(keys, r[i-1])
	}
	return keys
}

// announced are the keys whose signatures may be believed at the time, the current one
// first. Keys of a later time are among them: receivers keep public keys, and will have
// these in time.
func (r ring) announced(now time.Time) []entry {
	return append(r.signing(now), r[r.current(now)+1:]...)
}
