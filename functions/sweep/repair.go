package sweep

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"errand/shared/task"
)

// repair enqueues the records of a shard that were due in the lane when the sweep was enqueued, oldest
// first. In a queue that keeps its order the sweep has waited behind all earlier jobs, so
// these records have none there any more. In a queue that does not, each further job for the
// same debts waits twice as long as the one before (R10).
func (s *Sweep) repair(ctx context.Context, lane string, of task.Shard, added time.Time) (int, error) {
	if now := s.cfg.Desk.Now(); added.After(now) {
		added = now
	}
	return s.each(ctx, lane, of, added, s.limit(lane), func(ctx context.Context, id string) (r task.Record, lanes []string, err error) {
		if r, err = s.load(ctx, id); err != nil {
			return r, nil, err
		}
		r, err = task.UpdateFrom(ctx, s.cfg.Store, r, func(r task.Record) (next task.Record, changed bool, err error) {
			next, lanes, err = r.Swept(s.cfg.Desk.Moment(), added)
			return next, len(lanes) > 0, err // one of several sweeps changes it
		})
		return r, lanes, err
	})
}

// Refill enqueues all debts of the lane that are due within a minute, also those that are
// too new for a sweep, and those whose last job a sweep has added within the hour. It is for
// a process that starts with an empty queue, and for a lane that has dropped jobs and has
// room again (R10, R11). Refill writes no record. The queue merges a job with an equal one
// that waits, and sweeps go by Due as before.
//
// Refill ends with the list, or after Fill records. The lane has overflowed then, and asks
// for another Refill when it is half empty.
func (s *Sweep) Refill(ctx context.Context, lane string) {
	now := s.cfg.Desk.Moment()
	by := now.Now.Add(now.Rules.Patience)
	n, err := s.each(ctx, lane, task.Shard{}, now.Now.Add(now.Rules.Longest()), s.cfg.Fill, func(ctx context.Context, id string) (r task.Record, lanes []string, err error) {
		if r, err = s.load(ctx, id); err == nil {
			for _, d := range r.Owed(now, by) { // in all lanes: a record is listed in one only
				lanes = append(lanes, d.Lane)
			}
		}
		return r, lanes, err
	})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.cfg.Log.ErrorContext(ctx, "refilling", "lane", lane, "put_back", n, "err", err)
	case n > 0:
		s.cfg.Log.InfoContext(ctx, "refilled", "lane", lane, "put_back", n)
	}
}

// load reads a record that is due. A batch that its owner has deleted owes the deletion of its
// items.
func (s *Sweep) load(ctx context.Context, id string) (task.Record, error) {
	r, err := s.cfg.Store.Load(ctx, id)
	if errors.Is(err, task.ErrDeleted) {
		err = nil
	}
	return r, err
}

// each enqueues jobs for the records that are due in the lane by the given time, oldest
// first and some of them concurrently. It ends at the limit, or when the queue refuses a
// job. The function take reads a record and returns the lanes in which this sweep enqueues
// it, if any.
//
// A record on which take fails is skipped, so that it does not block the others. Many such
// records end the pass.
func (s *Sweep) each(ctx context.Context, lane string, of task.Shard, before time.Time, limit int,
	take func(context.Context, string) (task.Record, []string, error)) (int, error) {
	var done, failed, foreign atomic.Int64
	for after := (task.Ref{}); int(done.Load()) < limit; {
		refs, err := s.cfg.Store.Due(ctx, lane, of, before, after, min(page, limit-int(done.Load())))
		if err != nil || len(refs) == 0 {
			return int(done.Load()), err
		}

		after = refs[len(refs)-1]
		// Records in progress are completed when another record ends the pass.
		g, ended := errgroup.WithContext(ctx)
		g.SetLimit(side)

		for _, ref := range refs {
			g.Go(func() error {
				if err := ended.Err(); err != nil {
					return err
				}

				r, lanes, err := take(ctx, ref.ID)
				switch {
				case errors.Is(err, task.ErrNotFound):
					return nil
				case errors.Is(err, task.ErrUnreadable): // not an outage: no later read succeeds either, and the store has reported it
					return nil
				case errors.Is(err, task.ErrNewer): // not an outage: another version of the program wrote it
					if foreign.Add(1) == 1 {
						s.cfg.Log.ErrorContext(ctx, "a record that is due, and maybe others, is not for this version of the program", "task", ref.ID, "err", err)
					}
					return nil
				case err != nil && failed.Add(1) > unreadable:
					return err
				case err != nil:
					s.cfg.Log.ErrorContext(ctx, "a record that is due cannot be put back", "task", ref.ID, "err", err)
					return nil
				case len(lanes) == 0:
					return nil
				}

				if err := s.cfg.Desk.Enqueue(ctx, r, lanes...); err != nil {
					return err
				}

				done.Add(1)
				return nil
			})
		}

		if err := g.Wait(); err != nil {
			return int(done.Load()), err
		}
	}

	return int(done.Load()), nil
}
