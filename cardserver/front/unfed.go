package front

import (
	"context"
	"errors"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/desk"
	"errand/shared/task"
)

// This file has what the operations know of batches: a line without a record is a task (R19g),
// and the task of a batch takes one kind of message.

// missing reports whether an error says that there is no record, not even a deleted one.
func missing(err error) bool {
	return errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrDeleted)
}

// unfed looks for the line of a batch that an id names. Its record may have been made a moment
// ago.
func (o *operations) unfed(ctx context.Context, owner, id string) (task.Record, *batchdesk.Unfed, error) {
	if _, _, item := task.ItemOf(id); !item || o.cfg.Batches == nil {
		return task.Record{}, nil, task.ErrNotFound
	}
	u, err := o.cfg.Batches.Unfed(ctx, owner, id)
	if missing(err) {
		r, err := task.Find(ctx, o.cfg.Store, owner, id)
		return r, nil, err
	}
	if err != nil {
		return task.Record{}, nil, err
	}
	return u.Record(), &u, nil
}

// withhold makes the record of a line that its client cancels.
func (o *operations) withhold(ctx context.Context, u batchdesk.Unfed) (task.Record, error) {
	if err := o.cfg.Batches.Withhold(ctx, u); err != nil {
		return task.Record{}, err
	}
	return o.cfg.Store.Load(ctx, u.ID())
}

// begin makes the record of a line before its turn.
func (o *operations) begin(ctx context.Context, u batchdesk.Unfed) (task.Record, error) {
	if err := o.cfg.Batches.Begin(ctx, u); err != nil {
		return task.Record{}, err
	}
	return o.cfg.Store.Load(ctx, u.ID())
}

// checkWish refuses every message to the task of a batch but one: to go on.
func (o *operations) checkWish(req *a2a.SendMessageRequest) error {
	if len(req.Message.Parts) == 1 && o.cfg.Batches != nil {
		if w, ok := batch.WishIn(req.Message.Parts[0]); ok {
			if f, bad := errors.AsType[*batchdesk.FieldError](o.cfg.Batches.CheckBudget(w.Budget)); bad {
				return wire.Invalid("message.parts[0].data.batch.budget", f.Fault)
			}
			return nil
		}
	}
	return wire.Invalid("message.parts", `are for a batch, which takes one data part: {"batch": {"budget": {"tokens": 1000000}}}, or {"batch": {}} to keep its budget; send other messages to a task of their own`)
}

// refused is the error about a message that was not accepted.
func (o *operations) refused(ctx context.Context, m desk.Message, err error) error {
	id := string(m.Message.TaskID)
	switch {
	case errors.Is(err, task.ErrTerminal) && task.IsBatch(id):
		return a2a.NewError(a2a.ErrUnsupportedOperation, "the batch has ended; submit another one")
	case missing(err) && id != "":
		if _, u, uerr := o.unfed(ctx, m.Owner, id); uerr == nil && u != nil {
			return a2a.NewError(a2a.ErrUnsupportedOperation, "the line of the batch has not begun, and takes no message")
		}
	}
	return failure(err)
}
