package turn

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"

	"errand/shared/task"
)

// A room is the process in which turns run (R12). Suspects run beside other turns, a few at a
// time. A turn that must run apart begins when all others have ended. The others may begin
// again as soon as the turn has shared the room.
type room struct {
	slots    *semaphore.Weighted // one for each turn; a turn that runs alone has all of them
	suspects *semaphore.Weighted // one for each suspect that runs beside other turns
	apart    *semaphore.Weighted // one, for the turn that runs alone or waits for that
}

const (
	allSlots = 1 << 20 // more than any process runs at once: the queue limits ordinary turns
	suspects = 4       // suspects that run beside other turns at once
)

func newRoom() *room {
	return &room{
		slots: semaphore.NewWeighted(allSlots), suspects: semaphore.NewWeighted(suspects), apart: semaphore.NewWeighted(1),
	}
}

// A place is the part of the room that one turn holds.
type place struct {
	room                   *room
	slots, suspects, apart int64
}

// enter waits for a place in which the next claim of the record may run its turn. If the turn
// must run apart and the room does not empty in time, the place is an ordinary one, and the
// claim puts the turn off. now is the moment of that claim.
func (w *Worker) enter(ctx context.Context, r task.Record, c task.Claim) (p *place, now task.Moment, err error) {
	p = &place{room: w.room}
	defer func() {
		if err != nil {
			p.leave()
		}
	}()

	now = w.cfg.Desk.Moment()
	next, runs := trial(r, now, c)
	switch {
	case runs && next.Apart(now.Rules):
		if err := p.takeAll(ctx, w.cfg.Apart); err != nil {
			return p, now, err
		}
	case runs && next.Suspect():
		if err := p.take(ctx, w.room.suspects, &p.suspects, 1); err != nil {
			return p, now, err
		}
	}

	if p.slots == 0 {
		err = p.take(ctx, w.room.slots, &p.slots, 1)
	}
	if runs {
		now = w.cfg.Desk.Moment() // time has passed
	}

	return p, now, err
}

// trial makes the claim without committing it. runs reports whether the turn would run.
func trial(r task.Record, now task.Moment, c task.Claim) (next task.Record, runs bool) {
	if r.Attempt == 0 {
		return r, true // the usual case: no worker has claimed the turn
	}
	c.Lease.Alone = true
	next, verdict, _, err := r.Claim(now, c)
	return next, err == nil && verdict == task.Claimed
}

func (p *place) take(ctx context.Context, from *semaphore.Weighted, held *int64, n int64) error {
	if err := from.Acquire(ctx, n); err != nil {
		return err
	}
	*held = n
	return nil
}

// takeAll waits for the end of all other turns, and keeps new ones from beginning meanwhile.
// Without an error and without all slots, the others went on for too long.
func (p *place) takeAll(ctx context.Context, most time.Duration) error {
	if err := p.take(ctx, p.room.apart, &p.apart, 1); err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if err := p.take(short, p.room.slots, &p.slots, allSlots); err != nil {
		p.leave()
		return ctx.Err()
	}
	return nil
}

func (p *place) alone() bool { return p.slots == allSlots }

// aloneFor is how long the turn may run alone: twice as long after each death in excess of
// those after which it must run apart. So a turn that kills its process late is found out too.
func (w *Worker) aloneFor(r task.Record, ru task.Rules) time.Duration {
	excess := min(max(r.Deaths-(ru.Attempts-1), 0), 10)
	return min(w.cfg.Alone<<excess, w.cfg.Lease)
}

// share lets other turns begin beside a turn that ran alone.
func (p *place) share() {
	if p.alone() {
		p.room.slots.Release(allSlots - 1)
		p.room.apart.Release(p.apart)
		p.slots, p.apart = 1, 0
	}
}

func (p *place) leave() {
	p.room.slots.Release(p.slots)
	p.room.suspects.Release(p.suspects)
	p.room.apart.Release(p.apart)
	*p = place{room: p.room}
}
