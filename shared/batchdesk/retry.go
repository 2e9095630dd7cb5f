package batchdesk

import (
	"context"
	"errors"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/files"
)

// Retry makes the batch that runs the failed lines of one that has ended, or finds it. It has
// the manifest, the budget and as much time as that one. made is as for [Desk.Submit].
//
// Errors: task.ErrNotFound, ErrRunning, ErrNothing, ErrDropped, *FieldError about an input that is
// no longer what it was, and those of Submit.
func (c *Desk) Retry(ctx context.Context, owner, id string) (b Batch, made bool, err error) {
	of, err := c.Find(ctx, owner, id)
	if err != nil {
		return of, false, err
	}
	return c.repeat(ctx, owner, of, Submission{Input: of.Spec.Input.Name()})
}

// mostAgain is how often a batch goes on that was canceled or has expired.
const mostAgain = 32

// Again submits as [Desk.Submit] does, and a batch that was stopped goes on: if the batch of that
// name and input was canceled or has expired, the batch that repeats it as [Desk.Retry] does is
// made or found, and so on. So it comes to an end that its submitter did not choose only if the
// batch failed. It has the deadline of the submission, if that has one.
//
// A batch that was stopped when every line had an answer is returned as it is. Errors: those of
// Submit and Retry. ErrStopping: try again.
func (c *Desk) Again(ctx context.Context, owner string, sub Submission) (b Batch, made bool, err error) {
	b, made, err = c.Submit(ctx, owner, sub)
	for n := 0; err == nil && !made && b.Stopped(); n++ {
		if n == mostAgain {
			return b, false, &FieldError{"name", "is that of a batch that was stopped too often: take another one"}
		}
		next, more, err := c.repeat(ctx, owner, b, sub)
		switch {
		case errors.Is(err, ErrNothing):
			return b, false, nil
		case errors.Is(err, ErrRunning):
			return b, false, ErrStopping
		case err != nil:
			return b, false, err
		}
		b, made = next, more
	}
	return b, made, err
}

// repeat makes or finds the batch that runs the lines of another one which have no answer. It
// reads the same manifest, by the name that sub has for it.
func (c *Desk) repeat(ctx context.Context, owner string, of Batch, sub Submission) (b Batch, made bool, err error) {
	switch {
	case !of.Complete():
		return of, false, ErrRunning
	case of.Record.State() == a2a.TaskStateRejected, of.State.Lines > 0 && of.State.Counts.Completed >= of.State.Lines:
		return of, false, ErrNothing
	}
	if of.State.Counts.Completed > 0 {
		if _, err := c.cfg.Files.Stat(ctx, batch.ResultsFile(of.ID())); errors.Is(err, files.ErrNotFound) {
			return of, false, ErrDropped
		}
	}

	s := batch.Spec{
		Name: batch.RetryName(of.Spec.Name), Retry: of.ID(), Budget: batch.BudgetOf(of.Record), OnBad: of.Spec.OnBad,
		Deadline: sub.Deadline, Endpoint: of.Spec.Endpoint, Metadata: of.Spec.Metadata,
	}
	if s.Deadline.IsZero() {
		s.Deadline = c.cfg.Desk.Now().UTC().Add(of.Spec.Deadline.Sub(of.Spec.At))
	}
	if s.Input, err = c.pin(ctx, owner, sub.Input); err != nil {
		return of, false, err
	}
	if !s.Input.Same(of.Spec.Input) {
		return of, false, &FieldError{"input", "has changed since the batch was submitted: submit it as another batch"}
	}
	return c.submit(ctx, owner, s)
}
