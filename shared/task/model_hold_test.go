package task_test

import (
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A hold in the model: a worker that is told by its model's gate to wait.

const (
	opHold           = 'A'
	unsureHeld uint8 = 100 // a worker's hold was applied, and its answer was lost
)

func (s *search) hold(rec uint32, k worker) opResult {
	return s.op(opKey{rec, opHold, [14]uint8{k.told}}, func(r task.Record, res *opResult) (n task.Record) {
		say := &a2a.Message{ID: "waits", Parts: a2a.ContentParts{a2a.NewTextPart("waiting")}}
		wake := start.Add(time.Duration(s.sc.park)*time.Second + time.Second) // random, so never that of a park
		if s.sc.remove.has(holdsLeased) {                                     // as if the lease were none of its business
			r.Lease = task.Lease{}
		}
		var held bool
		n, held, res.changed, res.err = r.Hold(s.now(), task.Parking{Wake: wake, Say: say, Held: true, Model: true}, int(k.told))
		if held {
			res.verdict = task.Parked
		}
		if res.changed && (n.Epoch != r.Epoch || n.Attempt != r.Attempt || n.State() != r.State() || n.Lease != (task.Lease{})) {
			res.bad = "a hold claimed its turn"
		}
		return n
	})
}

// holds parks the turn of a worker that has a job, without a claim. again: the answer of the
// hold was lost. It reports whether the worker is done with the job.
func (s *search) holds(w world, i int, again bool) bool {
	if !again && w.budget[gated] == 0 {
		return false
	}
	res := s.hold(w.rec, w.workers[i])
	if res.verdict != task.Parked {
		return false
	}

	if !again {
		w.budget[gated]--
	}
	if res.changed {
		s.stored(&w, res.rec)
		if w.budget[lost] > 0 {
			n := w
			n.workers[i].pc = unsureHeld
			s.fault(n, lost, i, "worker holds the turn, answer lost")
		}
	}
	s.schedules(w, i, "worker holds the turn")
	return true
}
