package turn

import (
	"context"
	"errors"
	"time"

	"errand/shared/kv"
	keptsteps "errand/shared/steps"
	"errand/shared/task"
	"errand/worker/run"
)

// errOrigin says that a task cannot go on from the steps of another one, because they are gone.
var errOrigin = errors.New("the task that is run again is gone, and so are its steps")

// errCopied says that they are looked for once more.
var errCopied = errors.New("the task that is run again was deleted, and its steps may be copied at this moment")

// goneFor is the rest of a turn before it looks once more for steps that are gone.
const goneFor = 5 * time.Second

// bring copies what the task has stored that this one runs again, once (R16i). The front door
// deletes no task whose steps are still to be copied.
func (s *session) bring(ctx context.Context, r task.Record) error {
	o, ok := r.Origin()
	if !ok || o.Brought {
		return nil
	}
	if err := keptsteps.Copy(ctx, s.w.cfg.KV, o.Prefix(), r.StepPrefix(), o.Steps, o.Turn); err != nil {
		return unread(err)
	}
	old, err := s.w.cfg.Store.Load(ctx, o.Task)
	gone := errors.Is(err, task.ErrNotFound) || err == nil && old.StepPrefix() != o.Prefix()
	if err != nil && !gone {
		return unread(err)
	}

	if gone { // its deletion has copied them before, unless it came too late to know of this task
		now, err := s.w.cfg.Store.Load(ctx, r.ID())
		if err != nil {
			return unread(err)
		}
		switch o, _ := now.Origin(); {
		case o.Brought:
		case r.Epoch == 1: // the deletion may copy them a moment later
			return &run.Pause{For: goneFor, Err: errCopied}
		default:
			return errOrigin
		}
	}

	s.commit.Lock()
	defer s.commit.Unlock()
	_, err = s.persist(ctx, func(r task.Record, _ task.Fence) (task.Record, bool, error) { return r.Bring(s.w.cfg.Desk.Moment()) })
	return err
}

// lateResults are the results of a step that the tasks which are run again have got since its
// entries were copied: a call of them may have ended later.
func (p *steps) lateResults(ctx context.Context, number int) (map[int]task.Result, error) {
	late := map[int]task.Result{}
	for _, o := range p.r.Origins {
		if number > o.Steps {
			continue
		}
		e, err := p.s.w.cfg.KV.Get(ctx, o.StepKey(number))
		switch {
		case errors.Is(err, kv.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		}

		k, err := task.DecodeKept(e.Value)
		if err != nil {
			return nil, err
		}
		for i, result := range k.Results {
			if _, known := late[i]; !known {
				late[i] = result
			}
		}
	}
	return late, nil
}
