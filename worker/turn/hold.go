package turn

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
	"errand/worker/run"
)

// admit asks the executor, before a claim, whether the turn's model can be asked (R17). If it
// cannot, the turn is held: the record is parked, and the job is acknowledged. Never an error,
// which would count as a worker given up (R3), use up the job's tries and slow the queue.
func (w *Worker) admit(ctx context.Context, r task.Record, told int) (leave func(), held bool, err error) {
	leave = func() {}
	gate, ok := w.cfg.Executor.(run.Admitter)
	if !ok || !r.MayHold(w.cfg.Desk.Moment()) {
		return leave, false, nil
	}
	free, pause := gate.Admit(ctx, r.ID())
	if pause == nil {
		return free, false, nil
	}

	h := w.holdFor(pause, r)
	h.Published = told
	r, err = task.UpdateFrom(context.WithoutCancel(ctx), w.cfg.Store, r, func(r task.Record) (next task.Record, changed bool, err error) {
		next, held, changed, err = r.Hold(w.cfg.Desk.Moment(), h)
		return next, changed, err
	})
	if err != nil || !held {
		return leave, false, ignoreGone(err)
	}

	w.cfg.Log.DebugContext(ctx, "turn held", "task", r.ID(), "reason", pause.Err, "wake", r.Wake)
	if err := w.cfg.Desk.Enqueue(ctx, r, r.Lane); err != nil { // the wake-up, if it is near
		return leave, true, err
	}
	return leave, true, w.publishLate(ctx, r, told)
}

// ignoreGone leaves a record that cannot be held for such a reason to the claim, which says so.
func ignoreGone(err error) error {
	if errors.Is(err, task.ErrNotFound) || foreign(err) {
		return nil
	}
	return err
}

// holdFor adds the random time of a pause to the time that it names. Everything that waits for
// the same thing would else come in the same second.
func (w *Worker) holdFor(p *run.Pause, r task.Record) task.Hold {
	wait := p.For
	switch p.Hold {
	case run.Away:
		wait += rand.N(task.HoldFor(r.Held))
	case run.Full:
		wait += rand.N(task.HoldFull)
	}
	wake := w.cfg.Desk.Now().Add(max(wait, time.Second)).UTC().Round(0)
	return task.Hold{Wake: wake, Say: p.Say, Counted: p.Hold == run.Away}
}

// pause parks the turn as the executor asks.
func (s *session) pause(ctx context.Context, p *run.Pause) (task.Record, error) {
	if p.Hold == run.NoHold {
		return s.park(ctx, s.w.cfg.Desk.Now().Add(p.For), p.Say)
	}

	events := s.take()
	s.commit.Lock()
	defer s.commit.Unlock()
	h := s.w.holdFor(p, s.rec)
	park := func(events []a2a.Event) (task.Record, error) {
		return s.persist(ctx, func(r task.Record, t task.Fence) (task.Record, bool, error) {
			return r.ParkHeld(s.w.cfg.Desk.Moment(), t, events, h)
		})
	}

	r, err := park(events)
	if errors.Is(err, task.ErrTooLarge) { // drop the unfinished text, which the retry makes again
		return park(nil)
	}
	return r, err
}
