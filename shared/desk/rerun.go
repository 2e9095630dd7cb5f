package desk

import (
	"context"
	"errors"
	"fmt"

	"errand/shared/task"
)

// ErrRerun says that a task was run again already in the other way: anew, or from its steps.
var ErrRerun = errors.New("desk: the task was run again in another way")

// A Rerun says how a task of an owner is run again.
type Rerun struct {
	Owner    string
	Task     string
	Anew     bool // begin without the steps of the turn that did not succeed
	Webhooks bool // take over the webhooks

	// Prepare is called with the record of the new task before it is made, and may be called
	// again. An error refuses the rerun, unless the task is there already. nil: there is nothing
	// to prepare.
	Prepare func(ctx context.Context, r task.Record) error
}

// Rerun makes the task that runs another one again, or finds the one that an equal request has
// made, in whatever state it is (R16i). When it returns nil the task is durable. An unavailable
// queue is no error, because the sweep adds the job.
//
// Errors: those of [task.Record.Rerun], ErrRerun, task.ErrNotFound, task.ErrFull, and those of
// Config.Room and of Prepare. The record of ErrRerun is that of the task that was made. Any other
// error means that the store did not answer and the task may be run again once more.
func (d *Desk) Rerun(ctx context.Context, as Rerun) (task.Record, error) {
	id := task.RerunID(as.Owner, as.Task)
	made, err := d.rerun(ctx, id, as)
	if !missing(err) {
		return made, err
	}
	old, err := task.Find(ctx, d.cfg.Store, as.Owner, as.Task)
	if err != nil {
		return task.Record{}, err
	}

	life, now := life(), d.Moment()
	r, err := old.Rerun(now, task.Rerunning{ID: id, Life: life, WakeKey: d.wakeKey(ctx, id+"/"+life), Anew: as.Anew, Webhooks: as.Webhooks})
	if err != nil {
		return task.Record{}, err
	}
	if err = d.room(ctx, as.Owner); err == nil && as.Prepare != nil {
		err = as.Prepare(ctx, r)
	}
	if err != nil {
		return task.Record{}, err
	}

	stored, err := d.cfg.Store.Create(ctx, r)
	if err == nil {
		d.follow(ctx, stored, task.NewDebts(task.Record{}, stored, now))
		return stored, nil
	}

	// The id is taken, or the answer was lost and the record may be the one just written.
	made, lerr := d.rerun(ctx, id, as)
	if missing(lerr) {
		return task.Record{}, fmt.Errorf("running task %s again: %w", as.Task, err)
	}
	return made, lerr
}

// rerun finds the task that an equal request has made, and adds its job again: its maker may
// have died before it could.
func (d *Desk) rerun(ctx context.Context, id string, as Rerun) (task.Record, error) {
	r, err := task.Find(ctx, d.cfg.Store, as.Owner, id)
	if err != nil {
		return task.Record{}, err
	}
	if n := len(r.Origins); n == 0 || r.Origins[n-1].Anew != as.Anew {
		return r, ErrRerun
	}
	now := d.Moment()
	d.follow(ctx, r, r.Owed(now, now.Now))
	return r, nil
}
