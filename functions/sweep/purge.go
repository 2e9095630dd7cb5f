package sweep

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/steps"
	"errand/shared/task"
)

// Limits of one purge.
const (
	purgeLimit = 20_000    // tasks of a shard: two sweeps a minute delete more than 500 tasks a second
	linger     = time.Hour // from the expiry of a task to its purge: no run takes so long
)

// purge deletes tasks of a shard that expired an hour ago: first the steps, then the record (R16i). So
// a purge that is broken off leaves a record by which the next one finds the rest. It also
// deletes expired entries of kv, in the first shard. It returns the number of records.
//
// A task whose steps cannot be deleted is skipped, so that it does not block the others.
// Many such tasks end the purge.
func (s *Sweep) purge(ctx context.Context, of task.Shard) (int, error) {
	now := s.cfg.Desk.Now()
	n, err := s.purgeTasks(ctx, of, now.Add(-linger))
	if !of.First() {
		return n, err
	}
	_, kerr := s.cfg.KV.Purge(ctx, now, purgeLimit)
	return n, errors.Join(err, kerr)
}

func (s *Sweep) purgeTasks(ctx context.Context, of task.Shard, before time.Time) (purged int, err error) {
	var failed atomic.Int64
	for after, seen := (task.Ref{}), 0; seen < purgeLimit; {
		list, err := s.cfg.Store.Expired(ctx, of, before, after, min(page, purgeLimit-seen))
		if err != nil || len(list) == 0 {
			return purged, err
		}

		bare, cleared := s.withoutSteps(ctx, list, &failed)
		n, err := s.cfg.Store.Remove(ctx, bare)
		purged += n
		if err = errors.Join(cleared, err); err != nil {
			return purged, err
		}

		seen += len(list)
		after = list[len(list)-1].Ref
	}
	return purged, nil
}

// withoutSteps deletes the steps of tasks, and the files of batches. It returns the tasks that
// have none any more.
func (s *Sweep) withoutSteps(ctx context.Context, list []task.Lapsed, failed *atomic.Int64) (bare []task.Lapsed, err error) {
	done := make([]bool, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(side)

	for i, l := range list {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}

			err := steps.Delete(ctx, s.cfg.KV, l.ID, func(ctx context.Context) (bool, error) { return s.cfg.Store.Replaced(ctx, l) })
			if err == nil && task.IsBatch(l.ID) {
				err = s.clearBatch(ctx, l)
			}
			switch {
			case err == nil:
				done[i] = true
			case errors.Is(err, steps.ErrReplaced): // the later task is purged in its turn
			case failed.Add(1) > unreadable:
				return err
			default:
				s.cfg.Log.ErrorContext(ctx, "the steps or files of an expired task cannot be deleted", "task", l.ID, "err", err)
			}
			return nil
		})
	}

	err = g.Wait()
	for i, l := range list {
		if done[i] {
			bare = append(bare, l)
		}
	}
	return bare, err
}

// clearBatch deletes the state and the files of a batch. Its items are tasks that expire with it.
func (s *Sweep) clearBatch(ctx context.Context, l task.Lapsed) error {
	if s.cfg.Batches == nil {
		return nil
	}
	state, err := s.cfg.KV.Get(ctx, batch.StateKey(l.ID))
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	switch is, err := s.cfg.Store.Replaced(ctx, l); {
	case err != nil:
		return err
	case is: // a later batch of this name makes the files again
		return steps.ErrReplaced
	}

	if err := s.cfg.Batches.DeleteAll(ctx, batch.Folder(l.ID)); err != nil || state.Version == 0 {
		return err
	}
	if err := s.cfg.KV.Delete(ctx, state.Key, state.Version); !errors.Is(err, kv.ErrConflict) {
		return err
	}
	return steps.ErrReplaced
}

// ended reports whether a task that names a file is no more. A record that cannot be read is
// one that is there.
func (s *Sweep) ended(ctx context.Context, id string) (bool, error) {
	_, err := s.cfg.Store.Load(ctx, id)
	switch {
	case errors.Is(err, task.ErrNotFound): // also ErrDeleted
		return true, nil
	case errors.Is(err, task.ErrUnreadable), errors.Is(err, task.ErrNewer):
		return false, nil
	}
	return false, err
}
