package auth

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"errand/shared/strict"
)

// A Right is the right to a group of operations, by its name in the access file. Each
// operation needs exactly one.
type Right string

// All rights. A key has those that its entry lists under may, or all. The front door and
// the API about webhooks say which one each of their operations needs.
const (
	Read     Right = "read"     // tasks, and the streams of tasks that exist
	Send     Right = "send"     // messages, and the answers to them
	Cancel   Right = "cancel"   // tasks, and delete them
	Webhooks Right = "webhooks" // register, see and delete the webhooks of a task
	Push     Right = "push"     // see deliveries and repeat them, and the secrets to check them with
)

// Rights returns all rights.
func Rights() []Right { return []Right{Read, Send, Cancel, Webhooks, Push} }

// rights is a set of them, one bit each; zero is the set of all.
type rights uint8

func bit(r Right) rights { return 1 << slices.Index(Rights(), r) }

// rightsOf is the set with these names, which are known; all without any.
func rightsOf(names []string) (set rights) {
	for _, name := range names {
		set |= bit(Right(name))
	}
	return set
}

func (s rights) has(r Right) bool { return s == 0 || s&bit(r) != 0 }

// within reports whether the set has no right that other lacks.
func (s rights) within(other rights) bool {
	return !slices.ContainsFunc(Rights(), func(r Right) bool { return s.has(r) && !other.has(r) })
}

// May returns a [*Refusal] unless the principal's key has the right. Tokens have all.
func (p Principal) May(r Right) error {
	if p.rights.has(r) {
		return nil
	}
	return &Refusal{
		Status: http.StatusForbidden, Reason: "a right is missing", By: "right " + string(r),
		Message: fmt.Sprintf("this API key lacks the right %q: use another key, or have the right added to may in its entry in the access file", r),
	}
}

// slips are the differences between two names that may be slips of the finger.
const slips = 2

func checkRight(s string) string {
	var known []string
	for _, r := range Rights() {
		known = append(known, string(r))
	}
	if slices.Contains(known, s) {
		return ""
	}
	if best, distance := strict.Nearest(s, known, strings.ToLower); distance <= slips {
		return fmt.Sprintf("is no right: did you mean %q?", best)
	}
	return "is no right: known are " + strings.Join(known, ", ")
}

// KeyEntry is the entry of a key in the access file, on one line. may lists rights with
// commas between them. Without an end and rights it is the hash alone. The error names the
// field at fault.
func KeyEntry(hash, expires, may string) (string, error) {
	fields := []string{"hash: " + hash}

	if expires != "" {
		if remedy := checkExpiry(expires); remedy != "" {
			return "", fmt.Errorf("expires %s", remedy)
		}
		if end, _ := parseExpiry(expires); !time.Now().Before(end) {
			return "", fmt.Errorf("expires is over already: %s", end.UTC().Format(time.RFC3339))
		}
		fields = append(fields, `expires: "`+expires+`"`)
	}

	if may != "" {
		names := strings.Split(strings.ReplaceAll(may, " ", ""), ",")
		for i, name := range names {
			if remedy := checkRight(name); remedy != "" {
				return "", fmt.Errorf("may: %q %s", name, remedy)
			}
			if slices.Contains(names[:i], name) {
				return "", fmt.Errorf("may: %q stands there twice", name)
			}
		}
		fields = append(fields, "may: ["+strings.Join(names, ", ")+"]")
	}

	if len(fields) == 1 {
		return hash, nil
	}
	return "{" + strings.Join(fields, ", ") + "}", nil
}
