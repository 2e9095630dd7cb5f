// Package run is what an executor may know of the turn that it runs, beyond the protocol:
// how often the turn was tried, when it must have ended, and how to pause it.
//
// It decides nothing: worker/turn makes a Run and acts on a Pause. An executor that knows
// nothing of this package works all the same.
package run

import (
	"context"
	"fmt"
	"time"
)

// A Run is one attempt of a turn.
type Run struct {
	Turn    int       // the message being answered, from 1
	Attempt int       // of this turn, from 1
	Until   time.Time // when the turn must have ended or paused

	// Flush returns nil when everything yielded so far is durable under this
	// turn's epoch. An executor does what has effects outside only after a nil: for a
	// task that was cancelled, or that another worker has, Flush returns task.ErrFenced.
	Flush func(context.Context) error
}

type key struct{}

// With gives an executor its Run.
func With(ctx context.Context, r Run) context.Context {
	return context.WithValue(ctx, key{}, r)
}

// From finds the Run of the turn that ctx belongs to.
func From(ctx context.Context) (Run, bool) {
	r, ok := ctx.Value(key{}).(Run)
	return r, ok
}

// A Pause is the error with which an executor asks for its turn to be parked: a service
// told it to wait, or it waits for something outside (R4).
type Pause struct {
	For   time.Duration // at least; the turn begins again afterwards
	Say   string        // for the client, as the status message; empty: none
	Alert bool          // an operator must mend something
	Err   error         // the reason, for the log
}

// Error implements error.
func (p *Pause) Error() string { return fmt.Sprintf("pausing for %s: %v", p.For, p.Err) }

// Unwrap gives the reason.
func (p *Pause) Unwrap() error { return p.Err }
