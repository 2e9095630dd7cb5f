package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// Values of a tool whose options name no others, and the highest that they may name.
const (
	DefaultTimeLimit = 2 * time.Minute  // of one call
	MaxTimeLimit     = 25 * time.Minute // of one call: it must fit into a run, which takes 29 min

	// DefaultKeyAge is how long the receiver of a tool with effects remembers keys. Stripe,
	// for one, keeps them for at least that time. https://docs.stripe.com/api/idempotent_requests
	DefaultKeyAge = 24 * time.Hour
)

// An Option changes a Tool that is being made. The order of options does not matter.
type Option func(*options)

// options are the values that options set, before their defaults.
type options struct {
	effects   bool
	keyAge    *time.Duration // nil: not named
	timeLimit *time.Duration // nil: not named
	alone     bool
	reconcile *reconcile // nil: none
}

// A reconcile is a function given to [Reconcile].
type reconcile struct {
	ask func(ctx context.Context, key string) (result json.RawMessage, happened bool, err error) // nil: no function was given
	out reflect.Type
}

// Effects marks a tool that changes something outside, such as one that sends a mail. A call
// is made only after a commit that it begins, and never after the task was cancelled. After a crash it may be called again with the same Key of its [Info], by which
// the receiver recognises the call. Effects alone says that the receiver remembers keys for
// [DefaultKeyAge]. If it does not, [KeepsKeys] must say so.
func Effects() Option { return func(o *options) { o.effects = true } }

// KeepsKeys tells how long the receiver of a tool with [Effects] remembers the keys of calls.
// A call whose outcome is unknown is made again only within this time of its first begin.
// Afterwards the tool's [Reconcile] is asked, or else a person.
//
// KeepsKeys(0) says that the receiver recognises no keys. Such a call is not made again while
// its outcome is unknown, and no other call of the same step runs beside it.
func KeepsKeys(d time.Duration) Option { return func(o *options) { o.keyAge = &d } }

// TimeLimit sets how long one call may take, instead of [DefaultTimeLimit], and at most
// [MaxTimeLimit]. The context of the call ends with it. A call that goes on regardless is
// left behind. A call that must wait for longer returns [Later] or [Wake].
func TimeLimit(d time.Duration) Option { return func(o *options) { o.timeLimit = &d } }

// Alone keeps the other calls of the same step from running beside a call of the tool.
func Alone() Option { return func(o *options) { o.alone = true } }

// Reconcile adds to a tool with [Effects] a function that finds out whether a call happened. It
// is asked after a crash if the call cannot be made again with its key: f returns whether the
// call with that key happened, and its result if it did. A call that did not happen is made.
// f returns an error if it cannot tell, and then a person is asked. f changes nothing, may
// be asked more than once, and has the tool's time limit.
//
// Out is the type that the tool's own function returns. Another type is a fault.
func Reconcile[Out any](f func(ctx context.Context, key string) (out Out, happened bool, err error)) Option {
	r := &reconcile{out: reflect.TypeFor[Out]()}
	if f != nil {
		r.ask = func(ctx context.Context, key string) (json.RawMessage, bool, error) { return ask(ctx, key, f) }
	}
	return func(o *options) { o.reconcile = r }
}

// ask asks the function of a Reconcile. A panic in it is an error.
func ask[Out any](ctx context.Context, key string, f func(context.Context, string) (Out, bool, error)) (result json.RawMessage, happened bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, happened, err = nil, false, panicked(p)
		}
	}()

	out, happened, err := f(ctx, key)
	if err != nil || !happened {
		return nil, false, err
	}
	result, _ = encode(out) // a result that cannot be shown has a text that says so, as for a call
	return result, true, nil
}

// fault returns the reason why a tool whose function returns an out cannot have the options.
func (o options) fault(out reflect.Type) error {
	switch r := o.reconcile; {
	case o.keyAge != nil && !o.effects:
		return errors.New("it has KeepsKeys without Effects: only calls with effects need their keys remembered; add tools.Effects(), or leave KeepsKeys out")
	case o.keyAge != nil && *o.keyAge < 0:
		return fmt.Errorf("its KeepsKeys is %s: name how long the receiver remembers keys, or 0 if it does not", *o.keyAge)
	case o.timeLimit != nil && (*o.timeLimit <= 0 || *o.timeLimit > MaxTimeLimit):
		return fmt.Errorf("its TimeLimit is %s: it must be over 0 and at most %s; a call that takes longer returns tools.Later or tools.Wake", *o.timeLimit, MaxTimeLimit)
	case r == nil:
		return nil
	case !o.effects:
		return errors.New("it has Reconcile without Effects: a call without effects is simply made again; add tools.Effects(), or leave Reconcile out")
	case r.ask == nil:
		return errors.New("its Reconcile has no function")
	case r.out != out:
		return fmt.Errorf("its Reconcile returns %s, but the tool returns %s: both must return the same type", r.out, out)
	}
	return nil
}

// HasEffects reports whether the tool was made with [Effects].
func (t Tool) HasEffects() bool { return t.options.effects }

// KeyAge is how long the receiver of a tool with effects remembers the key of a call. It is 0
// if the receiver remembers none, and for a tool without effects.
func (t Tool) KeyAge() time.Duration {
	switch {
	case !t.options.effects:
		return 0
	case t.options.keyAge != nil:
		return *t.options.keyAge
	}
	return DefaultKeyAge
}

// TimeLimit is how long one call may take.
func (t Tool) TimeLimit() time.Duration {
	if t.options.timeLimit != nil {
		return *t.options.timeLimit
	}
	return DefaultTimeLimit
}

// RunsAlone reports whether no other call of the same step may run beside a call of the tool:
// it was made with [Alone], or has effects and a receiver that remembers no keys.
func (t Tool) RunsAlone() bool {
	return t.options.alone || t.HasEffects() && t.KeyAge() == 0
}
