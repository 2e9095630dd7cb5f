package task_test

import (
	"time"

	"errand/shared/task"
)

// Where a worker or courier is in its work.
const (
	idle      uint8 = iota
	taken           // has a job, and has published the record's open notifications
	unsureOf        // a claim was applied, and its answer was lost
	running         // runs the turn
	rethinks        // a write of the run was applied, and its answer was lost
	publishes       // the turn has ended: publish, and then acknowledge
)

func byWorker(i int) uint8  { return uint8(i + 1) }
func byCourier(i int) uint8 { return uint8(i + 3) }

func seconds32(secs int32) time.Duration { return time.Duration(secs) * time.Second }

// work makes the steps of one worker.
func (s *search) work(w world, i int) {
	k := w.workers[i]
	switch k.pc {
	case idle:
		if i == 0 || w.workers[i-1].pc != idle {
			s.take(w, i)
		}

	case taken:
		s.holds(w, i, false)
		s.claims(w, i, false)

	case unsureHeld:
		if !s.holds(w, i, true) {
			s.claims(w, i, false)
		}

	case unsureOf:
		s.claims(w, i, true)

	case running:
		s.runs(w, i)

	case rethinks:
		switch k.op {
		case opProgress:
			s.progresses(w, i, true)
		case opPark:
			s.parks(w, i, true)
		default:
			s.finishes(w, i, k.op, true)
		}

	case publishes:
		s.publishes(w, i)
	}
}

// take gets a job, reads the record and publishes the notifications that are not known to
// be published.
func (s *search) take(w world, i int) {
	for n, j := range w.jobs {
		if j.lane != turnLane || j.by != 0 || j.at > 0 || n > 0 && j == w.jobs[n-1] {
			continue
		}
		v := w
		v.jobs[n].by = byWorker(i)
		v.sortJobs()
		if v.rec == 0 && s.sc.remove.has(jobFirst) {
			s.stored(&v, s.accept().rec)
		}
		if v.rec == 0 {
			v.drop(byWorker(i))
			s.move(v, i, "worker takes a job without a record")
			continue
		}
		in := s.infos[v.rec]
		s.publish(&v, in.told, in.notes)
		v.workers[i] = worker{pc: taken, name: j.name, retry: j.retry, nonce: in.epoch + 1, told: in.notes}
		s.move(v, i, "worker takes a job, publishes")
	}
}

// publish hands the notifications after..to to the bus.
func (s *search) publish(w *world, after, to uint8) {
	for note := after + 1; note <= to; note++ {
		w.seen.topic |= 1 << (note - 1)
		if s.sc.inline > 0 || len(s.infos[w.rec].hooks) > 0 {
			w.bus[note] = min(w.bus[note]+1, 2)
		}
	}
}

// done acknowledges the worker's job.
func (w *world) done(i int) {
	w.drop(byWorker(i))
	w.workers[i] = worker{}
}

func (s *search) claims(w world, i int, again bool) {
	k := &w.workers[i]
	was := s.infos[w.rec]
	alone := s.apart(s.recs[w.rec], i, *k)
	if alone && !again && w.budget[busy] > 0 {
		n := w
		n.budget[busy]--
		res := s.claim(n.rec, i, *k, again, false)
		if res.verdict != task.Parked {
			s.violation("a turn that must run apart was claimed beside others")
		}
		n.tookOver(was)
		s.stored(&n, res.rec)
		s.schedules(n, i, "worker puts a suspect off")
	}

	res := s.claim(w.rec, i, *k, again, alone)
	if res.changed {
		if res.verdict == task.Claimed && was.live && !(was.leaseName == k.name && k.retry > was.leaseRetry) {
			s.violation("a turn was stolen under a live lease")
		}

		w.tookOver(was)
		s.stored(&w, res.rec)
		if w.budget[lost] > 0 {
			n := w
			n.workers[i].pc = unsureOf
			s.fault(n, lost, i, "worker claims, answer lost")
		}
	}

	in := s.infos[w.rec]
	switch res.verdict {
	case task.Idle:
		s.acknowledges(w, i)
	case task.Parked:
		s.schedules(w, i, "worker parks a suspect")
	case task.Ended:
		k.pc, k.told = publishes, in.notes
		if s.failsInnocent(w) {
			s.violation("an innocent turn was failed")
		}
		s.move(w, i, "worker ends the task")
	case task.Claimed:
		k.pc, k.epoch, k.seq, k.turn, k.msg = running, in.epoch, in.seq, in.turn, in.msg
		s.move(w, i, "worker claims")
	}
}

// failsInnocent reports whether a claim has failed a turn that is neither too old, nor to
// blame for two deaths and errors at least.
func (s *search) failsInnocent(w world) bool { return !s.sc.patient && w.seen.guilty < 2 }

// tookOver counts the death of a worker whose lease another claim takes over.
func (w *world) tookOver(was info) {
	if was.leased && was.alone {
		w.seen.guilty = min(w.seen.guilty+1, 2)
	}
}

// acknowledges is the last step of a worker that has nothing to run. It publishes the
// notifications that were added since it read the record, records that they are published
// if the front door made one of them, and acknowledges the job.
func (s *search) acknowledges(w world, i int) {
	k, in := w.workers[i], s.infos[w.rec]
	told := k.told

	if !s.sc.remove.has(lastLook) {
		s.publish(&w, max(told, in.told), in.notes)
		told = in.notes
	}

	if w.budget[crash] > 0 {
		n := w
		n.workers[i] = worker{}
		n.giveBack(byWorker(i))
		s.fault(n, crash, i, "worker has nothing to run, publishes, dies")
	}

	if res := s.published(w.rec, told); res.changed {
		s.stored(&w, res.rec)
		if w.budget[lost] > 0 {
			n := w
			n.budget[lost]--
			n.workers[i] = worker{}
			n.giveBack(byWorker(i))
			s.emit(n, i, "worker records the publication, answer lost, gives up")
		}
	}

	w.done(i)
	s.move(w, i, "worker has nothing to run, acknowledges")
}

// schedules enqueues a job for the time of the wake-up if that is near, and acknowledges.
func (s *search) schedules(w world, i int, label string) {
	owed := s.soon(s.recs[w.rec], task.Turns)
	if len(owed) > 0 {
		if w.budget[outage] > 0 {
			n := w
			n.workers[i] = worker{}
			n.giveBack(byWorker(i))
			s.fault(n, outage, i, label+", the queue is unavailable: 503")
		}
		if w.budget[crash] > 0 {
			n := w
			n.workers[i] = worker{}
			n.giveBack(byWorker(i))
			s.fault(n, crash, i, label+", dies")
		}
	}
	w.done(i)
	s.enqueue(&w, owed)
	s.move(w, i, label)
}

// runs are the choices of an executor.
func (s *search) runs(w world, i int) {
	k := w.workers[i]
	if s.sc.speaks && k.said == 0 {
		s.progresses(w, i, false)
	}
	if w.budget[throttle] > 0 {
		n := w
		n.budget[throttle]--
		n.workers[i].wake = s.sc.park
		s.parks(n, i, false)
	}

	s.breaksOff(w, i)
	if in := s.infos[w.rec]; w.budget[minute] > 0 && in.alone && in.nonce == nonce(i, k.nonce) {
		n := w
		res := s.beside(n.rec, k)
		s.stored(&n, res.rec)
		s.fault(n, minute, i, "worker lets other turns begin")
	}

	how := uint8(completes)
	if s.sc.asks && k.msg == bit("m1") {
		how = asks
	}
	s.finishes(w, i, how, false)
	if s.sc.fails {
		s.finishes(w, i, fails, false)
	}
}

// breaksOff ends the run in an error. The lease is given back, or that commit fails.
func (s *search) breaksOff(w world, i int) {
	if w.budget[breaks] == 0 {
		return
	}
	w.seen.guilty = min(w.seen.guilty+1, 2)
	k := w.workers[i]
	w.workers[i] = worker{}
	w.giveBack(byWorker(i))
	if w.budget[lost] > 0 {
		n := w
		n.budget[lost]--
		s.fault(n, breaks, i, "run ends in an error, its lease stays")
	}
	res := s.giveBack(w.rec, k)
	if res.changed {
		s.stored(&w, res.rec)
	}
	s.fault(w, breaks, i, "run ends in an error")
}

// written handles the part that all writes of a run have in common. false: the run is over.
func (s *search) written(w *world, i int, res opResult, op uint8, again bool, label string) bool {
	switch {
	case fenced(res.err):
		w.done(i)
		s.move(*w, i, label+": fenced, acknowledges")
		return false
	case res.err != nil:
		s.violation("%s: %v", label, res.err)
	case !res.changed && !again && !s.infos[w.rec].terminal:
		s.violation("%s: a run takes a write for its own that it never wrote", label)
	}
	if res.changed {
		s.stored(w, res.rec)
		if w.budget[lost] > 0 {
			n := *w
			n.workers[i].pc, n.workers[i].op = rethinks, op
			s.afterWrite(&n, i, res, op)
			s.fault(n, lost, i, label+", answer lost")
		}
		s.afterWrite(w, i, res, op)
	}
	return true
}

// afterWrite counts the answer that a write gave.
func (s *search) afterWrite(w *world, i int, res opResult, op uint8) {
	k, in := w.workers[i], s.infos[res.rec]
	if op == opProgress || op == opPark {
		return
	}
	if before := in.turn; before != k.turn && !(before == k.turn+1 && in.leased) {
		s.violation("the result of turn %d ended turn %d", k.turn, before)
	}
	s.answered(w, k)
}

func (s *search) progresses(w world, i int, again bool) {
	res := s.progress(w.rec, w.workers[i], again)
	if s.written(&w, i, res, opProgress, again, "worker makes progress") {
		k := &w.workers[i]
		k.pc, k.op, k.said, k.seq = running, 0, 1, s.infos[w.rec].seq
		s.move(w, i, "worker makes progress")
	}
}

func (s *search) parks(w world, i int, again bool) {
	res := s.parkTurn(w.rec, w.workers[i], again)
	if s.written(&w, i, res, opPark, again, "worker parks the turn") {
		s.schedules(w, i, "worker parks the turn")
	}
}

func (s *search) finishes(w world, i int, how uint8, again bool) {
	res := s.finish(w.rec, w.workers[i], again, how)
	if !s.written(&w, i, res, how, again, "worker finishes") {
		return
	}
	k, in := &w.workers[i], s.infos[w.rec]
	if in.leased && in.nonce == nonce(i, k.nonce) {
		k.pc, k.op, k.said, k.seq, k.turn, k.msg = running, 0, 0, in.seq, in.turn, in.msg
		s.move(w, i, "worker takes the next message")
		return
	}
	k.pc, k.op, k.told = publishes, 0, in.notes
	if s.sc.remove.has(publishFirst) {
		w.drop(byWorker(i))
	}
	s.move(w, i, "worker finishes")
}

// publishes hands the notifications to the bus, and then acknowledges the job.
func (s *search) publishes(w world, i int) {
	s.publish(&w, s.infos[w.rec].told, w.workers[i].told)
	if w.budget[crash] > 0 {
		n := w
		n.workers[i] = worker{}
		n.giveBack(byWorker(i))
		s.fault(n, crash, i, "worker publishes, dies")
	}
	w.done(i)
	s.move(w, i, "worker publishes, acknowledges")
}
