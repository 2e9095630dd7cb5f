package desk

import (
	"context"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// An Item is a line of a batch that is about to run (R19b).
type Item struct {
	Batch    task.Record
	Line     int // from 1
	Message  *a2a.Message
	Metadata map[string]any // of the request, not of the message

	// Prepare is called with the id of the task before that is made, as that of a [Message].
	Prepare func(ctx context.Context, id string) error
}

// Feed makes the task of a line of a batch, and adds its job. A task that is there already is
// found, in whatever state it is: an earlier feeder has made it, or a client that named the
// line before it was fed. After nil the task is durable, and ran, runs or is about to run. An
// unavailable queue is no error, because the sweep adds the job.
//
// The limits of the owner do not count, because a batch bounds its own items.
//
// Errors: task.ErrTooLarge, if the line has no room in a record; task.ErrFull; those of Prepare,
// unless the task is there. After any other error the caller feeds the line again.
func (d *Desk) Feed(ctx context.Context, it Item) error {
	a, err := accepted(it.Batch, it.Line, it.Message)
	if err != nil {
		return err
	}
	a.Request.Metadata = it.Metadata

	now := d.Moment()
	if it.Prepare != nil {
		err = it.Prepare(ctx, a.ID)
	}
	var r task.Record
	if err == nil {
		r, err = task.Accept(now, a)
	}
	if err == nil {
		r, err = d.cfg.Store.Create(ctx, r)
	}
	switch {
	case err == nil:
		d.follow(ctx, r, task.NewDebts(task.Record{}, r, now))
		return nil
	case errors.Is(err, task.ErrTooLarge):
		return err
	}

	r, lerr := d.cfg.Store.Load(ctx, a.ID)
	switch {
	case errors.Is(lerr, task.ErrDeleted):
		return nil
	case errors.Is(lerr, task.ErrUnreadable) && errors.Is(err, task.ErrExists): // it is collected as a failure
		return nil
	case lerr != nil:
		return fmt.Errorf("feeding the line %d of the batch %s: %w", it.Line, it.Batch.ID(), err)
	}
	d.follow(ctx, r, r.Owed(now, now.Now)) // its maker may have died before it could
	return nil
}

// Withhold ends the task of a line, or makes one that has ended: no feeder that has lost its
// batch can begin the line afterwards. state is that of a task which Withhold makes, and why
// becomes the status message. A task that has ended stays as it is.
//
// After an error the caller withholds the line again.
func (d *Desk) Withhold(ctx context.Context, batch task.Record, line int, state a2a.TaskState, why string) error {
	a, err := accepted(batch, line, &a2a.Message{ID: "withheld"})
	if err != nil {
		return err
	}
	say := a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(why))
	say.ID = a.ID + "-withheld" // the same each time, so that a repetition recognises itself
	r, err := task.Withheld(d.Moment(), a, state, say)
	if err == nil {
		_, err = d.cfg.Store.Create(ctx, r)
	}
	if err == nil {
		return nil
	}

	_, cerr := d.ChangeByID(ctx, a.ID, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.Cancel(now, say, nil)
	})
	switch {
	case cerr == nil, errors.Is(cerr, task.ErrTerminal), errors.Is(cerr, task.ErrDeleted):
		return nil
	case missing(cerr): // it was not made
		cerr = err
	}
	return fmt.Errorf("withholding the line %d of the batch %s: %w", line, batch.ID(), cerr)
}

// accepted is what the record of an item has from its batch. The item has the life of its
// batch, is woken with the batch's key, and ends with the batch.
func accepted(batch task.Record, line int, m *a2a.Message) (task.Acceptance, error) {
	id := task.ItemID(batch.ID(), line)
	msg := *m
	msg.Role, msg.TaskID, msg.ContextID = a2a.MessageRoleUser, a2a.TaskID(id), batch.ID()
	print, err := task.Fingerprint(&msg, msg.TaskID, msg.ContextID)
	return task.Acceptance{
		ID: id, Context: batch.ID(), Life: batch.Life, WakeKey: batch.WakeKey, Owner: batch.Owner, Lane: task.Bulk, Ends: batch.Ends,
		Message: &msg, Request: task.Request{ID: msg.ID, Fingerprint: print, Extensions: msg.Extensions},
	}, err
}
