package task

import (
	"context"
	"fmt"
	"time"
)

// A Run is what an executor may know about the turn it runs, beyond the protocol.
// An executor that knows nothing of it works all the same.
type Run struct {
	Turn    int       // the message being answered, from 1
	Attempt int       // of this turn, from 1
	Until   time.Time // when the turn must have ended or paused

	// Flush returns nil when everything yielded so far is durable under this
	// turn's epoch. Whatever has effects outside is done only after a nil: a task
	// that was cancelled, or that another worker has, answers ErrFenced.
	Flush func(context.Context) error
}

type runKey struct{}

// WithRun gives an executor its Run.
func WithRun(ctx context.Context, r Run) context.Context {
	return context.WithValue(ctx, runKey{}, r)
}

// RunFrom finds the Run of the turn that ctx belongs to.
func RunFrom(ctx context.Context) (Run, bool) {
	r, ok := ctx.Value(runKey{}).(Run)
	return r, ok
}

// A Pause is the error with which an executor asks for its turn to be parked: it
// is told to wait, or waits for something outside (R4).
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
