// Package steps makes parts of a turn survive the death of their worker, in any executor and
// any tool: what a step has returned is stored, and a later run of the turn gets it without
// running the step again.
//
// It is not a workflow engine. An executor runs from its begin in each run, and decides again
// in which order it takes its steps. What it does outside of steps is done again.
//
// [Do] is all that an executor needs. The frame puts a [Scope] into its context; without one,
// as in a test of the executor, Do stores nothing.
package steps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"time"
	"unicode/utf8"

	"errand/shared/kv"
)

// Limits.
const (
	maxName  = 512      // bytes of a step's name
	MaxSteps = 1000     // of a turn, if its Scope names no other limit
	MaxBytes = 16 << 20 // of the stored steps of a turn, if its Scope names no other limit
)

// ErrLimit is the error of a step for which the turn has no room: its result or its name is
// too large, or there are too many steps. The text names the limit.
var ErrLimit = errors.New("steps: over a limit")

// Do returns the stored result of the step of this turn with that name, or runs f and stores
// what it returns. Names are unique in a turn. f may run again if the worker dies before its
// result is stored, so an effect in f needs an idempotency key of its own.
//
// A name is any UTF-8 of 1 to 512 bytes. Whichever code uses a name second gets the result of
// the first, in the same run too, so the name holds what tells the step from others, such as
// the number of an order. A tool adds its call's key, since it may be called more than once
// in a turn. While one f runs, a second Do with its name waits. If the first f fails, the
// second one runs. A step that waits for itself, through another one, waits until ctx ends.
//
// The result is stored as JSON, by encoding/json. Do returns what it reads back from the
// stored form, in the first run as in the later ones: fields that JSON leaves out are zero in
// all of them. Errors of f are not stored, and are returned as they are. A panic of f stores
// nothing either. All other errors begin with "steps:", and the turn should end with them: a
// later run of it goes on.
//
// A result that f returned is stored even if ctx has ended meanwhile. If another run of the
// turn has stored one before, Do returns that one.
func Do[T any](ctx context.Context, name string, f func(context.Context) (T, error)) (T, error) {
	var out T
	switch {
	case name == "" || !utf8.ValidString(name):
		return out, fmt.Errorf("steps: the name %.40q is no name: use UTF-8 of 1 to %d bytes", name, maxName)
	case len(name) > maxName:
		return out, fmt.Errorf("%w: the name %.40q... has %d bytes, at most %d", ErrLimit, name, len(name), maxName)
	}

	run := func(ctx context.Context) (json.RawMessage, error) {
		v, err := f(ctx)
		if err != nil {
			return nil, err
		}
		result, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(result, new(T))
		}
		if err != nil {
			return nil, fmt.Errorf("steps: the result of step %q, %s, cannot be stored as JSON and read again: %w", name, reflect.TypeFor[T](), err)
		}
		return result, nil
	}

	s, _ := ctx.Value(scopeKey{}).(*scope)
	result, err := s.do(ctx, name, run)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(result, &out); err != nil {
		var none T
		return none, fmt.Errorf("steps: the stored result of step %q is no %s: %w", name, reflect.TypeFor[T](), err)
	}
	return out, nil
}

// A Scope says where the steps of a turn are stored.
type Scope struct {
	KV      kv.Store
	Owner   string    // of the entries
	Prefix  string    // of the keys of this turn and no other, such as step/TASK/LIFE/t000003/; it ends with /
	Expires time.Time // when the entries end; zero: never

	// Fresh says that no run of this turn was begun before. Then no step is looked up before
	// it is run, which saves a read for each. If it is wrong, f runs again, and the result that
	// was stored first still counts.
	Fresh bool

	MaxSteps int // of the turn; 0: MaxSteps
	MaxBytes int // of their entries' values; 0: MaxBytes
}

type scopeKey struct{}

// With gives one run of a turn its Scope. Steps that are to know each other need the context
// of the same With. Two runs of a turn, each with its own, agree by the store.
func With(ctx context.Context, s Scope) context.Context {
	if s.MaxSteps == 0 {
		s.MaxSteps = MaxSteps
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = MaxBytes
	}
	return context.WithValue(ctx, scopeKey{}, &scope{
		Scope: s, stored: map[string]int{}, running: map[string]chan struct{}{}, counted: s.Fresh,
	})
}

// A Step is a step as it is stored, for those who show the steps of a task.
type Step struct {
	Name   string          `json:"name"`
	Result json.RawMessage `json:"result"`
}

// Read reads an entry of a step.
func Read(e kv.Entry) (Step, error) {
	var s Step
	if err := json.Unmarshal(e.Value, &s); err != nil || s.Name == "" || s.Result == nil {
		return s, fmt.Errorf("steps: the entry %s holds no step", e.Key)
	}
	return s, nil
}

// entry makes the entry of a step.
func (s *scope) entry(name string, result json.RawMessage) (kv.Entry, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(Step{name, result}); err != nil {
		return kv.Entry{}, fmt.Errorf("steps: encoding the result of step %q: %w", name, err)
	}
	return kv.Entry{Key: s.Prefix + segment(name), Owner: s.Owner, Expires: s.Expires, Value: bytes.TrimSpace(b.Bytes())}, nil
}

// plain are the names that are a segment of a key as they are.
var plain = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

// segment is the last segment of a step's key. The first letter tells a name from a hash, so
// no two names share a segment. Keys have no capitals, so names with capitals are hashes.
func segment(name string) string {
	if plain.MatchString(name) {
		return "n." + name
	}
	sum := sha256.Sum256([]byte(name))
	return "h." + hex.EncodeToString(sum[:])
}
