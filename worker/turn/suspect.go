package turn

import (
	"sync"

	"errand/shared/task"
)

// failures are the turns whose last run here ended in an error: they did not break this
// process. They need not run alone, and so a model that answers only errors does not hold
// up all other turns.
type failures struct {
	mu   sync.Mutex
	last map[string]int64 // epoch of that run, by task
}

// maxFailures bounds the memory of turns that go on elsewhere. A turn that is forgotten
// runs alone.
const maxFailures = 10_000

// ran records the end of a run.
func (t *failures) ran(id string, epoch int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.last, id)
		return
	}
	if t.last == nil || len(t.last) >= maxFailures {
		t.last = map[string]int64{}
	}
	t.last[id] = epoch
}

func (t *failures) outlived(r task.Record) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	epoch, ok := t.last[r.ID()]
	return ok && epoch == r.Epoch
}

// need is the number of slots that the next claim of the record takes: all of them if it is
// going to run a turn that may break its worker (R12). Parking the turn, which a claim does
// first, takes one.
func (w *Worker) need(r task.Record) int64 {
	next := r
	next.Attempt++
	if r.Attempt == 0 || r.Wake.IsZero() || !next.Suspect(w.cfg.Desk.Moment().Rules) || w.failures.outlived(r) {
		return 1
	}
	return allSlots
}
