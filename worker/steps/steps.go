// Package steps lets parts of a turn survive the death of their worker, in any executor and
// any tool. The result of a step is stored, and a later run of the turn gets it without
// running the step again.
//
// It is not a workflow engine. An executor runs from its begin in each run and takes its steps
// in any order. Its work outside of steps is done again in each run.
//
// [Do] is all that an executor needs. The frame puts a [Scope] into its context. Without one,
// as in a test of the executor, Do runs the step and stores nothing.
//
// # Errors
//
// An error that an executor yields is final, as in the A2A SDK: the task becomes FAILED, and the
// client gets a sentence without the text of the error, which is in the log. Yield an [Again] if
// another run of the turn may succeed. Each one counts as an attempt. After five attempts without
// a new step the task is FAILED all the same.
//
// Pass the errors of Do on as they are, or wrapped with %w. They are an Again where a later run
// can go on, for example because the store did not answer. [ErrLimit] is final, and its client
// learns the limits. So are errors of f, unless f returns an Again.
//
// A panic counts as an attempt too, because it is like the death of a worker, which no executor
// can report.
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
	MaxName  = 512      // bytes of a step's name
	MaxSteps = 1000     // of a turn, if its Scope names no other limit
	MaxBytes = 16 << 20 // of the stored steps of a turn, if its Scope names no other limit
)

// ErrLimit is the error of a step for which the turn has no room: its result or its name is
// too large, or there are too many steps. The text names the limit.
var ErrLimit = errors.New("steps: over a limit")

// An Again is the error with which an executor asks for another run of its turn. The run counts
// as an attempt.
type Again struct {
	Err error // the reason, for the log

	// After is the least time until the next run; 0: until the queue delivers the job again. It
	// does not shorten the backoff after several attempts.
	After time.Duration

	Say string // for the client, as the status message until the next run; empty: none
}

// Error implements error.
func (a *Again) Error() string { return fmt.Sprint(a.Err) }

// Unwrap gives the reason.
func (a *Again) Unwrap() error { return a.Err }

// Do returns the stored result of the step of this turn with that name, or runs f and stores
// what it returns. Names are unique in a turn. f may run again if the worker dies before its
// result is stored, so an effect in f needs an idempotency key of its own. Two runs of a turn
// may both run f, if the worker of one was taken for dead. Both get the result that was stored
// first.
//
// A name is any UTF-8 of 1 to 512 bytes. The second Do with a name gets the result of the
// first, also in the same run and from another place of the code. So a name must tell its
// step from all others of the turn, for example by the number of an order. A tool adds the
// key of its call, because a turn may call it more than once. While f runs, a second Do with
// its name waits. If f fails, the second one runs its own. Two steps that wait for each other
// wait until ctx ends.
//
// The result is stored as JSON, by encoding/json. Do returns the value that it reads back from
// JSON, in the first run as in later ones: fields that JSON leaves out are zero in all of
// them. Errors of f are not stored and are returned as they are. A panic of f stores nothing
// either. The text of every other error begins with "steps:". The turn should end with such
// an error. If a later run can go on, it is an [Again].
//
// f is not begun after the end of ctx. A result of f is stored even if ctx ended meanwhile.
func Do[T any](ctx context.Context, name string, f func(context.Context) (T, error)) (T, error) {
	if space, ok := ctx.Value(spaceKey{}).(string); ok && name != "" {
		name = space + name
	}

	s, _ := ctx.Value(scopeKey{}).(*scope)
	prefix := ""
	if s != nil {
		prefix = s.Prefix
	}
	return do(ctx, s, prefix, name, f)
}

// do is Do for steps of one kind, whose keys begin with prefix. A nil scope stores nothing.
func do[T any](ctx context.Context, s *scope, prefix, name string, f func(context.Context) (T, error)) (T, error) {
	var out T
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

	var result json.RawMessage
	err := checkName(name)
	switch {
	case err != nil:
		return out, err
	case s == nil:
		result, err = run(ctx)
	default:
		result, err = s.do(ctx, prefix, name, run)
	}
	if err != nil {
		return out, err
	}

	if err := json.Unmarshal(result, &out); err != nil {
		var none T
		return none, fmt.Errorf("steps: the stored result of step %q is no %s: %w", name, reflect.TypeFor[T](), err)
	}
	return out, nil
}

// checkName returns the reason why no step can have the name.
func checkName(name string) error {
	switch {
	case name == "" || !utf8.ValidString(name):
		return fmt.Errorf("steps: the name %.40q is no name: use UTF-8 of 1 to %d bytes", name, MaxName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: the name %.40q... has %d bytes, at most %d", ErrLimit, name, len(name), MaxName)
	}
	return nil
}

// Key is an idempotency key for the effect of the step with that name. It is the same in all runs of
// the turn, and in a rerun of its task that goes on from its steps. No other step has it. Outside of
// a Scope, as in a test of the executor, it is the name.
func Key(ctx context.Context, name string) string {
	if space, ok := ctx.Value(spaceKey{}).(string); ok {
		name = space + name
	}
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s.Keys + segment(name)
	}
	return name
}

// A Scope says where the steps of a turn are stored.
type Scope struct {
	KV      kv.Store
	Owner   string    // of the entries
	Keys    string    // begins the keys of effects
	Prefix  string    // of the keys of this turn and no other, such as step/TASK/LIFE/t000003/; it ends with /
	Expires time.Time // when the entries end; zero: never

	// Fresh says that no run of this turn was begun before. Then no step is looked up before
	// it is run, which saves a read for each. If it is wrong, f runs again, and the result that
	// was stored first still counts.
	Fresh bool

	// Memos begins the keys of the memos of this turn, such as step/TASK/LIFE/x/t000003/, and
	// Earlier are the tasks whose memos the turn may read, the oldest first.
	Memos   string
	Earlier []Earlier

	// Take takes the memory for a memo that is read. Its error ends the reading. nil: there is
	// enough.
	Take func(value []byte) error

	MaxSteps int // of the turn; 0: MaxSteps
	MaxBytes int // of their entries' values; 0: MaxBytes
}

type scopeKey struct{}

type spaceKey struct{}

// Within gives the steps that are made with the context names of their own: those of one call
// of a tool know no other call's. They count towards the limits of the turn.
func Within(ctx context.Context, space string) context.Context {
	return context.WithValue(ctx, spaceKey{}, space)
}

// With gives one run of a turn its Scope. Steps that are to know each other need the context
// of the same With. Two runs of a turn, each with its own, agree by the store.
func With(ctx context.Context, s Scope) context.Context {
	if s.MaxSteps == 0 {
		s.MaxSteps = MaxSteps
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = MaxBytes
	}
	ctx = context.WithValue(ctx, runsKey{}, []string(nil))
	return context.WithValue(ctx, scopeKey{}, &scope{
		Scope: s, stored: map[string]int{}, running: map[string]chan struct{}{}, counted: map[string]bool{},
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
func (s *scope) entry(key, name string, result json.RawMessage) (kv.Entry, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(Step{name, result}); err != nil {
		return kv.Entry{}, fmt.Errorf("steps: encoding the result of step %q: %w", name, err)
	}
	return kv.Entry{Key: key, Owner: s.Owner, Expires: s.Expires, Value: bytes.TrimSpace(b.Bytes())}, nil
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
