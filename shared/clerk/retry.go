package clerk

import (
	"context"

	"errand/shared/batch"
)

// Retry makes the batch that runs the failed lines of one that has ended, or finds it. It has
// the manifest, the budget and as much time as that one. made is as for [Clerk.Submit].
//
// Errors: task.ErrNotFound, ErrRunning, ErrNothing, *FieldError about an input that is no longer
// what it was, and those of Submit.
func (c *Clerk) Retry(ctx context.Context, owner, id string) (b Batch, made bool, err error) {
	of, err := c.Find(ctx, owner, id)
	switch {
	case err != nil:
		return of, false, err
	case !of.Complete():
		return of, false, ErrRunning
	case of.State.Lines == 0, of.State.Counts.Completed >= of.State.Lines:
		return of, false, ErrNothing
	}

	s := batch.Spec{
		Name: batch.RetryName(of.Spec.Name), Retry: id, Budget: batch.BudgetOf(of.Record), OnBad: of.Spec.OnBad,
		Deadline: c.cfg.Desk.Now().UTC().Add(of.Spec.Deadline.Sub(of.Spec.At)), Endpoint: of.Spec.Endpoint, Metadata: of.Spec.Metadata,
	}
	if s.Input, err = c.pin(ctx, owner, of.Spec.Input.Name()); err != nil {
		return of, false, err
	}
	if s.Input != of.Spec.Input {
		return of, false, &FieldError{"input", "has changed since the batch was submitted: submit it as another batch"}
	}
	return c.submit(ctx, owner, s)
}
