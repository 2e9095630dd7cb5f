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

	p := w.parking(pause, r.Held)
	p.Wake = p.Wake.UTC().Round(0)
	r, err = task.UpdateFrom(context.WithoutCancel(ctx), w.cfg.Store, r, func(r task.Record) (next task.Record, changed bool, err error) {
		next, held, changed, err = r.Hold(w.cfg.Desk.Moment(), p, told)
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

// longestPause bounds what an executor asks for. A call waits as long at most.
const longestPause = task.LaterFor

// ignoreGone leaves a record that cannot be held for such a reason to the claim, which says so.
func ignoreGone(err error) error {
	if errors.Is(err, task.ErrNotFound) || foreign(err) {
		return nil
	}
	return err
}

// parking makes a pause a parking, for a turn that was held so often. It adds the random time of
// the pause to the time that it names: everything that waits for the same thing would else come
// in the same second.
func (w *Worker) parking(p *run.Pause, held int) task.Parking {
	wait := min(p.For, longestPause)
	switch p.Hold {
	case run.Away:
		wait = max(wait+rand.N(task.HoldFor(held)), time.Second)
	case run.Full:
		wait = max(wait+rand.N(task.HoldFull), time.Second)
	}

	return task.Parking{
		Wake: w.cfg.Desk.Now().Add(wait), Say: status(p.Say), Waits: p.Waits,
		Aside: p.Aside, Model: p.Hold != run.NoHold, Held: p.Hold == run.Away,
	}
}

// status is a status message; nil if there is nothing to say.
func status(say string) *a2a.Message {
	if say == "" {
		return nil
	}
	return a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(say))
}
