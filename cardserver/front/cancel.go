package front

import (
	"context"
	"errors"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
	"errand/shared/audit"
	"errand/shared/kv"
	"errand/shared/task"
)

// resultsFor bounds the look for the results of calls. A cancel does not wait longer for them.
const resultsFor = 2 * time.Second

// CancelTask implements the operation (R8). One write decides it. The answer waits until no
// call that the cancel met can begin any more, and names those without a result (R16b).
func (o *operations) CancelTask(ctx context.Context, req *a2a.CancelTaskRequest) (*a2a.Task, error) {
	r, unfed, err := o.load(ctx, req.Tenant, req.ID)
	if err != nil {
		return nil, err
	}
	if unfed != nil && !r.Terminal() {
		if r, err = o.withhold(ctx, *unfed); err != nil {
			return nil, failure(err)
		}
		if r.State() == a2a.TaskStateCanceled {
			audit.Of(ctx).Done()
			return r.View(), nil
		}
		unfed = nil
	}
	if unfed != nil {
		return nil, notCancelable(r)
	}

	say := a2a.NewMessage(a2a.MessageRoleAgent)
	look := o.looker(ctx)
	r, err = o.cfg.Desk.Change(ctx, r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		say.Parts = a2a.ContentParts{task.TextPart("The task was canceled by its client." + r.MayHaveHappened(look(r)))}
		return r.Cancel(now, say, req.Metadata)
	})
	ended := errors.Is(err, task.ErrTerminal)
	if err != nil && !ended {
		return nil, failure(err)
	}

	wire.Settled(ctx)
	if !ended {
		audit.Of(ctx).Done() // also if the client goes away while it waits
	}
	if r.State() == a2a.TaskStateCanceled {
		if err := o.cfg.Desk.Settle(ctx, r); err != nil {
			return nil, err
		}
	}
	if ended {
		return nil, notCancelable(r)
	}
	return r.View(), nil
}

// notCancelable is the error about a task that has ended.
func notCancelable(r task.Record) error {
	return a2a.NewError(a2a.ErrTaskNotCancelable, "the task has already ended").
		WithErrorInfoMeta(map[string]string{"state": r.State().String()})
}

// looker returns a function that finds the calls of a record that have begun and have no
// result. It reads the results of a step once, and only if a call has begun. If they cannot be
// read, no result is known.
func (o *operations) looker(ctx context.Context) func(task.Record) []int {
	read := map[int]task.Kept{}
	return func(r task.Record) []int {
		calls := r.Begun()
		if len(calls) == 0 || r.Terminal() {
			return nil
		}

		kept, known := read[r.Step.Number]
		if !known {
			var err error
			if kept, err = o.results(ctx, r); err != nil {
				o.cfg.Log.WarnContext(ctx, "the answer to a cancel names calls that may have a result", "task", r.ID(), "err", err)
			}
			read[r.Step.Number] = kept
		}
		return kept.Unknown(calls)
	}
}

// results reads the results of the open step.
func (o *operations) results(ctx context.Context, r task.Record) (task.Kept, error) {
	ctx, cancel := context.WithTimeout(ctx, resultsFor)
	defer cancel()
	e, err := o.cfg.KV.Get(ctx, r.StepKey(r.Step.Number))
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return task.Kept{}, nil
	case err != nil:
		return task.Kept{}, err
	}
	return task.DecodeKept(e.Value)
}
