package sweep

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"errand/shared/task"
)

// repair enqueues the records that were due in the lane when the sweep was enqueued, oldest
// first. The sweep has waited in the lane behind all earlier jobs. A record that has been
// due since then has no job in the lane any more (R10).
func (s *Sweep) repair(ctx context.Context, lane string, added time.Time) (int, error) {
	if now := s.cfg.Desk.Now(); added.After(now) {
		added = now
	}
	return s.each(ctx, lane, added, s.limit(lane), func(ctx context.Context, id string) (task.Record, bool, error) {
		won := false // true in one of several sweeps
		r, err := task.Update(ctx, s.cfg.Store, id, func(r task.Record) (task.Record, bool, error) {
			next, changed, err := r.Swept(s.cfg.Desk.Moment(), added)
			won = changed
			return next, changed, err
		})
		return r, won, err
	})
}

// Refill enqueues all debts of the lane that are due within a minute, also those that are
// too new for a sweep. It is for a process that starts with an empty queue, and for a lane
// that has dropped jobs and has room again (R10, R11). Refill writes no record. The queue
// merges a job with an equal one that waits, and sweeps go by Due as before.
//
// Refill ends with the list, or after Fill records. The lane has overflowed then, and asks
// for another Refill when it is half empty.
func (s *Sweep) Refill(ctx context.Context, lane string) {
	// The Due of a debt within Patience is within Patience, too.
	now := s.cfg.Desk.Moment()
	n, err := s.each(ctx, lane, now.Now.Add(now.Rules.Patience), s.cfg.Fill, func(ctx context.Context, id string) (task.Record, bool, error) {
		r, err := s.cfg.Store.Load(ctx, id)
		return r, true, err
	})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.cfg.Log.ErrorContext(ctx, "refilling", "lane", lane, "put_back", n, "err", err)
	case n > 0:
		s.cfg.Log.InfoContext(ctx, "refilled", "lane", lane, "put_back", n)
	}
}

// each enqueues jobs for the records that are due in the lane by the given time, oldest
// first and some of them concurrently. It ends at the limit, or when the queue refuses a
// job. The function take reads a record and reports whether this sweep enqueues it.
//
// A record on which take fails is skipped, so that it does not block the others. Many such
// records end the pass.
func (s *Sweep) each(ctx context.Context, lane string, before time.Time, limit int, take func(context.Context, string) (task.Record, bool, error)) (int, error) {
	var done, failed, foreign atomic.Int64
	for after := (task.Ref{}); int(done.Load()) < limit; {
		refs, err := s.cfg.Store.Due(ctx, lane, before, after, min(page, limit-int(done.Load())))
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

				r, ours, err := take(ctx, ref.ID)
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
				case !ours:
					return nil
				}

				if err := s.cfg.Desk.Enqueue(ctx, r); err != nil { // in every lane, because Due has moved on
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
