package sweep

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"errand/shared/task"
)

// repair puts back what was due in the queue when the sweep was added, oldest
// first. The sweep has waited in that queue behind everything added before it, so
// what is still due from then waits there no more (R10).
func (s *Sweep) repair(ctx context.Context, lane string, added time.Time) (int, error) {
	if now := s.Desk.Now(); added.After(now) {
		added = now
	}
	return s.each(ctx, lane, added, s.limit(lane), func(ctx context.Context, id string) (task.Record, bool, error) {
		won := false // of several sweeps, one
		r, err := task.Update(ctx, s.Store, id, func(r task.Record) (task.Record, bool, error) {
			next, changed, err := r.Swept(s.Desk.Moment(), added)
			won = changed
			return next, changed, err
		})
		return r, won, err
	})
}

// Refill puts back everything the records owe the queue within a minute, whether
// the sweep would look at them already or not: at the start of a process whose
// queue has forgotten everything, and when a lane that had to drop jobs has room
// again (R10, R11). It writes nothing: what already waits is one with what is
// added, and the sweeps go by Due as ever.
//
// It ends because the listing does, or after Fill records: the lane has overflowed
// then, and asks again when it is half empty.
func (s *Sweep) Refill(ctx context.Context, lane string) {
	// What is owed within Patience has its Due within Patience.
	now := s.Desk.Moment()
	n, err := s.each(ctx, lane, now.Now.Add(now.Rules.Patience), s.Fill, func(ctx context.Context, id string) (task.Record, bool, error) {
		r, err := s.Store.Load(ctx, id)
		return r, true, err
	})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.Log.Error("refilling", "lane", lane, "put_back", n, "err", err)
	case n > 0:
		s.Log.Info("refilled", "lane", lane, "put_back", n)
	}
}

// each asks for what the records owe that are due in the queue by the given time,
// oldest first, a few side by side, until so many are put back or one cannot be.
// take reads a record, and says whether it is this sweep's to put back.
//
// A record that take fails on is left out, or it would keep all others from being
// repaired; only many of them end the pass.
func (s *Sweep) each(ctx context.Context, lane string, before time.Time, limit int, take func(context.Context, string) (task.Record, bool, error)) (int, error) {
	var done, failed, foreign atomic.Int64
	for after := (task.Ref{}); int(done.Load()) < limit; {
		refs, err := s.Store.Due(ctx, lane, before, after, min(page, limit-int(done.Load())))
		if err != nil || len(refs) == 0 {
			return int(done.Load()), err
		}

		after = refs[len(refs)-1]
		// Those that have begun end properly when another one ends the pass.
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
				case errors.Is(err, task.ErrNewer), errors.Is(err, task.ErrUnreadable): // no outage: left to the version it is of
					if foreign.Add(1) == 1 {
						s.Log.Error("a record that is due, and maybe others, is not for this version of the program", "task", ref.ID, "err", err)
					}
					return nil

				case err != nil && failed.Add(1) > unreadable:
					return err
				case err != nil:
					s.Log.Error("a record that is due cannot be put back", "task", ref.ID, "err", err)
					return nil

				case !ours:
					return nil
				}

				if err := s.Desk.Enqueue(ctx, r); err != nil { // in every lane: no sweep looks at it sooner
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
