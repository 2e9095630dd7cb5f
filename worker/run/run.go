// Package run tells an executor more about its turn than the protocol does: the number of
// attempts, the time by which it must end, a way to pause, and a way to be asked first.
//
// It decides nothing: worker/turn makes a Run and acts on a Pause. An executor that knows
// nothing of this package works all the same.
package run

import (
	"context"
	"fmt"
	"time"

	"errand/shared/task"
)

// A Run is one attempt of a turn.
type Run struct {
	Turn    int       // the message being answered, from 1
	Attempt int       // since the turn's last progress, from 1
	Until   time.Time // when the turn must have ended or paused

	// Flush returns nil when everything yielded so far is durable under this
	// turn's epoch. An executor without steps must see a nil before each effect outside: for a
	// task that was cancelled, or that another worker has, Flush returns task.ErrFenced.
	Flush func(context.Context) error

	// Steps keeps the steps of the turn. nil: there is no store for them.
	Steps Steps

	// Credentials are those that the task was given. nil: there are none, and none can be asked for.
	Credentials Credentials

	// Spent is the cost of the turn in earlier runs. Spend adds the cost of a reply to the
	// next commit of the turn, unless a step carries it.
	Spent task.Spent
	Spend func(task.Spent)

	// Before is what the worker knows of the conversation beyond what A2A tells of it. LeftOut
	// notes, in the next commit of the turn, what the model was not shown of it, in words for the
	// trace.
	Before  Before
	LeftOut func(what string)

	Now func() time.Time // the clock of the record

	// Moved notes that the run has stored, outside of the record, what a later one goes on
	// from. The count of attempts begins again, and using up its time costs the run none.
	Moved func(context.Context)

	// Inherited is the number of the last step that the task has taken over from one which it runs
	// again. The limit of steps counts those after it.
	Inherited int

	Task  string // the task's id
	Epoch int64  // fences what the run stores outside of the record: a later run has a higher one
	Last  bool   // an error of this attempt ends the task
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
	Hold  Hold          // what is added to For

	// UsedUp says that the time of the run was spent on work that came to no end. If the run has
	// also opened and stored nothing, it costs an attempt (R16g).
	UsedUp bool

	// Waits are calls of the open step that asked to begin again later. The turn goes on
	// with the first of them, and its age does not grow meanwhile (R16h).
	Waits []task.Wait

	// Aside says that a limit of the caller keeps the turn from running. Its age does not grow
	// meanwhile.
	Aside bool
}

// A Hold is a random time that a pause lasts beyond its For, so that turns which wait for
// the same thing do not all come at once.
type Hold int

// Holds. Their times are in shared/task.
const (
	NoHold Hold = iota // the pause lasts exactly For
	Away               // the model cannot be asked: the time doubles with each hold since the turn's last progress
	Full               // the model answers, and others are before this turn: a short time
)

// An Admitter is an executor that can tell before a turn is claimed whether it may work on
// it. A turn that may not is held: its record is parked without a claim and without an attempt.
// An executor that is no Admitter is never asked.
type Admitter interface {
	// Admit keeps a place for the turn's first request to the model, until leave is called.
	// With a pause there is no place. Admit may take as long as one small request.
	Admit(ctx context.Context, task string) (leave func(), pause *Pause)
}

// A Counter is an executor that can tell beforehand what its model reads. It is asked once for a
// batch, about a sample of its lines. A batch whose executor is no Counter has no estimate of its
// cost.
type Counter interface {
	// Count returns the tokens that the model reads of the texts together, and each, the tokens
	// that it reads beside any message as it begins to answer one. It generates nothing, and costs
	// a few small requests at most. After an error nobody knows; Count is not called again.
	Count(ctx context.Context, texts []string) (each, tokens int64, err error)

	// Price returns the price of tokens that the model reads, in 1e-9 of a unit of the currency.
	// Without a currency it is not known.
	Price(tokens int64) (nanos int64, currency string)
}

// Error implements error.
func (p *Pause) Error() string { return fmt.Sprintf("pausing for %s: %v", p.For, p.Err) }

// Unwrap gives the reason.
func (p *Pause) Unwrap() error { return p.Err }
