package desk

import (
	"context"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/task"
)

// A Mismatch says that the name of a batch was used for another one. Field is the field of the
// spec that tells the two apart.
type Mismatch struct{ Field string }

// Error implements error.
func (m *Mismatch) Error() string { return "desk: the batch of this name has another " + m.Field }

// submission is the id of the first message of every batch.
const submission = "submission"

// Batch makes the task of a batch, or finds the one that the same submission has made. made
// reports which of the two. The spec is complete: its input is pinned, and nothing in it is
// checked here. When Batch returns nil the batch is durable. An unavailable queue is no
// error, because the sweep adds the job. A batch that is made already needs no room.
//
// Errors: *Mismatch, task.ErrDeleted (its owner has deleted the batch of this name),
// task.ErrTooLarge, and those of Config.Room. Any other error means that the store did not
// answer, and the caller may submit again.
func (d *Desk) Batch(ctx context.Context, owner string, s batch.Spec) (r task.Record, made bool, err error) {
	r, now, err := d.newBatch(ctx, owner, s)
	if err != nil {
		return task.Record{}, false, err
	}

	full := d.room(ctx, owner)
	if err = full; err == nil {
		var stored task.Record
		if stored, err = d.cfg.Store.Create(ctx, r); err == nil {
			d.follow(ctx, stored, task.NewDebts(task.Record{}, stored, now))
			return stored, true, nil
		}
	}
	if errors.Is(err, task.ErrTooLarge) {
		return task.Record{}, false, err
	}

	// The name is taken, or the answer was lost and the record may be the one just written.
	again, lerr := d.FindBatch(ctx, owner, s)
	switch {
	case missing(lerr):
		return task.Record{}, false, fmt.Errorf("making batch %s: %w", r.ID(), err)
	case lerr != nil:
		return task.Record{}, false, lerr
	}

	now = d.Moment()
	d.follow(ctx, again, again.Owed(now, now.Now))
	return again, again.Life == r.Life, nil
}

// newBatch decides about the record of a new batch.
func (d *Desk) newBatch(ctx context.Context, owner string, s batch.Spec) (task.Record, task.Moment, error) {
	id, now := task.BatchID(owner, s.Name), d.Moment()
	data, err := s.Data()
	if err != nil {
		return task.Record{}, now, err
	}

	msg := &a2a.Message{
		ID: submission, Role: a2a.MessageRoleUser, TaskID: a2a.TaskID(id), ContextID: id, Parts: a2a.ContentParts{a2a.NewDataPart(data)},
	}
	print, err := task.Fingerprint(msg, msg.TaskID, msg.ContextID)
	if err != nil {
		return task.Record{}, now, err
	}

	life := life()
	r, err := task.Accept(now, task.Acceptance{
		ID: id, Context: id, Life: life, WakeKey: d.wakeKey(ctx, id+"/"+life), Owner: owner, Lane: task.Batches, Message: msg,
		Request: task.Request{ID: submission, Fingerprint: print}, Ends: s.Deadline.Add(now.Rules.Retention),
	})
	return r, now, err
}

// FindBatch finds the batch that a spec names. It changes nothing. Errors: *Mismatch,
// task.ErrNotFound, task.ErrDeleted, and those of the store.
func (d *Desk) FindBatch(ctx context.Context, owner string, s batch.Spec) (task.Record, error) {
	r, err := task.Find(ctx, d.cfg.Store, owner, task.BatchID(owner, s.Name))
	if err != nil {
		return task.Record{}, err
	}
	earlier, err := batch.SpecOf(r)
	if err != nil {
		return task.Record{}, err
	}
	if field := s.Differs(earlier); field != "" {
		return task.Record{}, &Mismatch{field}
	}
	return r, nil
}
