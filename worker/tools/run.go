package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrTimeLimit is the error of a call that did not end within its time limit. There is no
// result, and a call with effects may have happened.
var ErrTimeLimit = errors.New("the call took longer than its time limit")

// Run makes a call within the tool's time limit. It returns at the end of the call, of the
// time limit or of ctx, at the first of the three. A result and an error are those of [Call]. Two more errors
// come without a result: [ErrTimeLimit], and ctx.Err() if ctx ended first. An error that the
// function returns after the end of its context counts as that end.
//
// A function that goes on after its context ended is left behind. If it returns a result
// after all, late is called with it, once and from another goroutine, because the call has
// happened. Without late, the result is dropped.
func (t Tool) Run(ctx context.Context, call Call, late func(result json.RawMessage)) (json.RawMessage, error) {
	result, err := within(ctx, t, func(ctx context.Context, ended func() error) (json.RawMessage, error) {
		result, err := call(ctx)
		if end := ended(); end != nil && errors.Is(err, errFailed) {
			return nil, end
		}
		return result, err
	}, func(result json.RawMessage, err error) {
		if late != nil && (err == nil || errors.Is(err, errUnshown)) {
			late(result)
		}
	})
	if errors.Is(err, errExited) {
		result = Refusal("the tool broke down")
	}
	return result, err
}

// A Reconciler asks whether the call with a key happened. If it did, the result is that of a
// [Call]. It ends and fails as [Tool.Run] does.
type Reconciler func(ctx context.Context, key string) (result json.RawMessage, happened bool, err error)

// Reconciler returns the function that was given to [Reconcile], and whether there is one.
func (t Tool) Reconciler() (Reconciler, bool) {
	if t.options.reconcile == nil || t.Fault() != nil {
		return nil, false
	}

	type answer struct {
		result   json.RawMessage
		happened bool
	}
	return func(ctx context.Context, key string) (json.RawMessage, bool, error) {
		a, err := within(ctx, t, func(ctx context.Context, ended func() error) (a answer, err error) {
			a.result, a.happened, err = t.options.reconcile.ask(ctx, key)
			if end := ended(); end != nil && err != nil {
				err = end
			}
			return a, err
		}, func(answer, error) {})
		return a.result, a.happened, err
	}, true
}

// within calls f in a goroutine and returns the result of f. ended tells f whether its context
// has ended, as the error for that. If the context ends before f does, within returns that
// error at once, and late gets the result of f.
func within[T any](ctx context.Context, t Tool, f func(ctx context.Context, ended func() error) (T, error), late func(T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}

	limit := fmt.Errorf("%w of %s", ErrTimeLimit, t.TimeLimit())
	limited, cancel := context.WithTimeoutCause(ctx, t.TimeLimit(), limit)
	defer cancel()
	ended := func() error {
		if context.Cause(limited) == limit {
			return limit
		}
		return limited.Err()
	}

	type outcome struct {
		value T
		err   error
	}
	var decided atomic.Bool // by the first: the end of f, or that of its context
	done := make(chan outcome, 1)
	go func() {
		o := outcome{err: errExited}
		defer func() {
			if decided.CompareAndSwap(false, true) {
				done <- o
			} else {
				late(o.value, o.err)
			}
		}()
		o.value, o.err = f(limited, ended)
	}()

	select {
	case o := <-done:
		return o.value, o.err
	case <-limited.Done():
	}
	if decided.CompareAndSwap(false, true) {
		return none, ended()
	}
	o := <-done // f ended at the same time
	return o.value, o.err
}
