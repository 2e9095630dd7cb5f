package task_test

import (
	"errors"

	"errand/shared/task"
)

// A request is one request of a client to a front door.
type request struct {
	do   uint8
	arg  uint8 // number of the message or webhook
	when uint8
}

// Kinds of requests, and the times at which they come.
const (
	sends uint8 = iota + 1
	follows
	cancels
	setsWebhook
	replacesWebhook
	dropsWebhook
	redrivesWebhook
	deletes

	anytime uint8 = iota
	whenAsked
	whenWorking
)

// How far a request is.
const (
	notYet uint8 = iota
	unsure       // a write was applied, and its answer was lost
	replied
	brokenOff
)

// front makes the steps of one request: decide and store, add the job, reply.
func (s *search) front(w world, i int) {
	q, at := s.sc.requests[i], w.fronts[i]
	if at > unsure || at == notYet && !s.comes(&w, q) {
		return
	}

	again := at == unsure
	if q.do == sends && s.sc.remove.has(jobFirst) {
		s.add(&w, turnLane, 0)
		w.fronts[i], w.seen.accepted = replied, w.seen.accepted|1
		s.move(w, i, "send: add the job, reply")
		return
	}

	was := w.rec
	if again && q.do != sends { // a repeated send loads the record anew
		was = w.first[i]
	}

	w.first[i] = 0
	res, label := s.decide(&w, q, again)
	var owed []task.Debt
	if res.err == nil && res.rec != 0 {
		owed = s.asked(was, res.rec)
	}

	if res.changed {
		s.stored(&w, res.rec)
		if w.budget[lost] > 0 {
			n := w
			n.fronts[i], n.first[i] = unsure, was
			s.fault(n, lost, i, label+": stored, answer lost")
		}
	}

	if (res.changed || len(owed) > 0) && w.budget[crash] > 0 {
		n := w
		n.fronts[i] = brokenOff
		s.fault(n, crash, i, label+": stored, then dies")
	}

	s.reply(&w, q, res.err)
	w.fronts[i] = replied

	if len(owed) == 0 {
		s.move(w, i, label+", reply")
		return
	}

	if w.budget[outage] > 0 {
		s.fault(w, outage, i, label+": stored, the queue is unavailable, reply")
	}

	s.enqueue(&w, owed)
	s.move(w, i, label+", add the job, reply")
}

// comes reports whether the client makes its request now.
func (s *search) comes(w *world, q request) bool {
	if q.do == sends {
		return true
	}
	in := s.infos[w.rec]
	switch {
	case w.rec == 0:
		return false
	case q.when == whenAsked:
		return in.interrupted
	case q.when == whenWorking:
		return in.turn > 0 && !in.terminal && in.epoch > 0
	}
	return true
}

func (s *search) decide(w *world, q request, again bool) (opResult, string) {
	if s.infos[w.rec].deleted && q.do != deletes { // the store finds no task
		return opResult{rec: w.rec, err: task.ErrDeleted}, "ask for the deleted task"
	}

	switch q.do {
	case sends:
		if w.rec != 0 && !s.sc.remove.has(derivedID) {
			return opResult{rec: w.rec}, "send again"
		}

		w.seen.tasks++
		if w.seen.tasks > 1 {
			return opResult{rec: w.rec}, "send: a second task"
		}

		res := s.accept()
		if s.sc.remove.has(noCursor) {
			w.seen.start[1] = 1
		}

		return res, "send"
	case deletes:
		return s.delete(w.rec), "delete the task"
	case follows:
		return s.followUp(w.rec, q.arg), "follow up"
	case cancels:
		return s.cancel(w.rec, again), "cancel"
	case setsWebhook:
		return s.setWebhook(w.rec, q.arg, 0), "set the webhook"
	case replacesWebhook:
		return s.setWebhook(w.rec, q.arg, 1), "replace the webhook"
	case redrivesWebhook:
		return s.redrive(w.rec, q.arg), "re-drive the webhook"
	default:
		return s.dropWebhook(w.rec, q.arg), "delete the webhook"
	}
}

// reply records the answer that the client gets, and checks that the record allows it.
func (s *search) reply(w *world, q request, err error) {
	seen, in := &w.seen, s.infos[w.rec]
	if errors.Is(err, task.ErrDeleted) {
		return
	}

	switch q.do {
	case deletes:
		seen.deleted = true
		for g := uint8(1); g < maxGens; g++ {
			if seen.start[g] != 0 {
				seen.dropped |= 1 << g
			}
		}

	case sends:
		seen.accepted |= 1

	case follows:
		if err == nil {
			seen.accepted |= 1 << (q.arg - 1)
		} else if !errors.Is(err, task.ErrTerminal) {
			s.violation("follow-up: %v", err)
		}

	case cancels:
		seen.cancel = 1
		if err != nil {
			seen.cancel = 2
		}
		if !in.terminal || seen.cancel == 2 && in.state == "TASK_STATE_CANCELED" || seen.cancel == 1 && in.state != "TASK_STATE_CANCELED" {
			s.violation("the answer to the cancel contradicts the task, which is %s", in.state)
		}

	case dropsWebhook:
		for _, h := range in.hooks {
			if h.id == q.arg {
				s.violation("a deleted webhook is still there")
			}
		}

		for g := uint8(1); g < maxGens; g++ {
			if seen.start[g] != 0 && s.hookOf(w.rec, g) == nil {
				seen.dropped |= 1 << g
			}
		}
	}
}

func (s *search) hookOf(rec uint32, gen uint8) *hookInfo {
	for i := range s.infos[rec].hooks {
		if h := &s.infos[rec].hooks[i]; h.gen == gen {
			return h
		}
	}
	return nil
}

// sweep enqueues the due work again: first it commits the request, then it adds the jobs.
func (s *search) sweep(w world) {
	in := s.infos[w.rec]
	if w.rec == 0 || in.due != 0 || s.sc.remove.has(noSweep) {
		return
	}
	if !s.sc.remove.has(asking) {
		res := s.swept(w.rec)
		if !res.changed {
			return
		}
		s.stored(&w, res.rec)
	}
	if w.budget[crash] > 0 {
		s.fault(w, crash, 0, "sweep: commits its request, then dies")
	}
	if w.budget[outage] > 0 {
		s.fault(w, outage, 0, "sweep: commits its request, the queue is unavailable")
	}
	s.enqueue(&w, s.soon(s.recs[w.rec]))
	s.move(w, 0, "sweep")
}

// tick lets time pass to the next instant at which something happens by itself.
func (s *search) tick(w world) {
	const day = 24 * 3600
	next := int32(-1)
	soonest := func(at int32) {
		if at > 0 && (next < 0 || at < next) {
			next = at
		}
	}

	in := s.infos[w.rec]
	if w.rec != 0 && (in.due <= day || s.sc.patient) && !s.sc.remove.has(noSweep) {
		soonest(in.due)
	}

	for _, j := range w.jobs {
		if j.lane != noLane {
			soonest(j.at)
		}
	}

	if next < 0 {
		return
	}
	if s.sc.prompt && in.live && !in.terminal {
		s.violation("a turn waits for the end of a lease")
	}

	s.pass(&w, next)
	s.move(w, int(next)-1, "seconds pass")
}

// pass lets time pass.
func (s *search) pass(w *world, secs int32) {
	if w.rec != 0 {
		hi, lo := uint8(secs>>16), uint8(secs>>8)
		res := s.op(opKey{w.rec, opAge, [14]uint8{hi, lo, uint8(secs)}}, func(r task.Record, res *opResult) task.Record {
			res.changed = true
			return s.aged(r, seconds32(secs))
		})
		w.rec = res.rec
	}
	for i := range w.jobs {
		w.jobs[i].at = max(0, w.jobs[i].at-secs)
	}
	w.sortJobs()
	for i := range w.workers {
		w.workers[i].wake = max(0, w.workers[i].wake-secs)
	}
}

// outsideFaults makes the faults that strike from outside.
func (s *search) outsideFaults(w world) {
	if w.budget[crash] > 0 {
		for i, k := range w.workers {
			if k.pc != idle {
				n := w
				n.workers[i] = worker{}
				n.giveBack(byWorker(i))
				s.fault(n, crash, i, "worker dies")
			}
		}

		for i, k := range w.couriers {
			if k.pc != idle {
				n := w
				n.couriers[i] = courier{}
				n.giveBack(byCourier(i))
				s.fault(n, crash, i, "courier dies")
			}
		}
	}

	for i, k := range w.workers {
		if w.budget[poison] > 0 && k.pc == running {
			n := w
			n.workers[i] = worker{}
			n.giveBack(byWorker(i))
			s.fault(n, poison, i, "turn kills its worker")
		}
	}

	if w.budget[expire] > 0 {
		for i, k := range w.workers {
			in := s.infos[w.rec]
			if k.pc >= running && in.live && in.nonce == nonce(i, k.nonce) {
				n := w
				s.pass(&n, in.until+30)
				n.giveBack(byWorker(i))
				s.fault(n, expire, i, "lease ends under a live worker")
			}
		}
	}

	s.queueFaults(w)
	if w.budget[restart] > 0 && w.rec != 0 {
		s.restart(w)
	}
}

func (s *search) queueFaults(w world) {
	for i, j := range w.jobs {
		if j.lane == noLane || i > 0 && j == w.jobs[i-1] {
			continue
		}

		if w.budget[duplicate] > 0 {
			n := w
			j.by = 0
			s.addJob(&n, j)
			s.fault(n, duplicate, int(j.name)-1, "queue delivers twice")
		}

		if w.budget[queueLoss] > 0 {
			n := w
			n.jobs[i] = job{}
			n.sortJobs()
			n.seen.qlost = true
			s.fault(n, queueLoss, int(j.name)-1, "queue loses a job")
		}
	}

	for note, count := range w.bus {
		if count == 0 {
			continue
		}

		if w.budget[busLoss] > 0 {
			n := w
			n.bus[note]--
			s.fault(n, busLoss, note-1, "bus loses the event")
		}
	}
}

// restart ends the one local process: queue and bus forget everything, and the store's next
// owner ends the leases and sweeps.
func (s *search) restart(w world) {
	w.workers, w.couriers = [2]worker{}, [2]courier{}
	w.jobs, w.bus = [maxJobs]job{}, [maxNotifications + 1]uint8{}
	for i, at := range w.fronts {
		if at == unsure {
			w.fronts[i], w.first[i] = brokenOff, 0
		}
	}
	w.seen.qlost = true
	if s.infos[w.rec].leased {
		w.seen.guilty = min(w.seen.guilty+1, 2)
	}
	res := s.leaseLost(w.rec)
	s.stored(&w, res.rec)
	s.enqueue(&w, s.soon(s.recs[w.rec]))
	s.fault(w, restart, 0, "everything restarts")
}
