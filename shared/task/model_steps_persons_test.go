package task_test

import (
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// persons makes the requests of clients, and the words that wake waiting calls.
func (s *stepSearch) persons(w stepWorld) {
	r := s.recs[w.rec]
	if r.Terminal() {
		if w.budget[removed] > 0 && !r.Deleted {
			s.deletes(w)
		}
		return
	}

	if r.Interrupted() {
		s.answers(w)
	}
	if w.budget[early] > 0 {
		n := w
		s.sends(&n, saysDoIt)
		s.fault(n, early, 0, "a person says: do it")
	}
	if w.budget[removed] > 0 {
		s.deletes(w)
	}

	if w.budget[canceled] > 0 {
		n := w
		n.cancel, n.left = true, canBegin(r)
		if s.sc.without.has(cancelWait) {
			n.left = -1
		}
		n.rec = s.cancelTask(w.rec).rec
		s.fault(n, canceled, 0, "the client cancels")
	}

	if w.budget[word] > 0 && r.Step != nil {
		for c, call := range r.Step.Calls {
			if call.Effects {
				n := w
				res := s.tellCall(w.rec, r.Step.Number, c)
				n.rec = res.rec
				if n.seen[dealOf(call)].told = res.changed || r.Told; !n.seen[dealOf(call)].told {
					continue
				}
				s.fault(n, word, c, "a word comes for "+call.Name)
			}
		}
	}
}

// answers are the answers to a question that stands.
func (s *stepSearch) answers(w stepWorld) {
	for n, what := range s.sc.answers {
		v, costs := w, -1
		switch what {
		case saysDoIt:
			costs = agreed
		case saysOther:
			costs = unclear
		}
		if costs >= 0 {
			if v.budget[costs] == 0 {
				continue
			}
			v.budget[costs]--
		}
		s.sends(&v, what)
		s.move(v, n, "a person answers: "+what)
	}
}

// sends sends a message. It answers the question that stands, if there is one.
func (s *stepSearch) sends(w *stepWorld, what string) {
	r := s.recs[w.rec]
	if q := asked(r); q != nil && r.Interrupted() && what == saysDoIt {
		w.seen[dealOf(r.Step.Calls[q.Call])].allowed++
	}
	res := s.send(w.rec, what)
	if res.err != nil {
		s.violation("a message was refused: %v", res.err)
	}
	w.rec = res.rec
}

// deletes deletes the task with its steps. It is answered as a cancel is.
func (s *stepSearch) deletes(w stepWorld) {
	if !s.recs[w.rec].Terminal() {
		w.left = canBegin(s.recs[w.rec])
		if s.sc.without.has(cancelWait) {
			w.left = -1
		}
	}
	w.cancel, w.deleted = true, true
	w.rec = s.deleteTask(w.rec).rec
	for i := range w.kv {
		w.kv[i] = entry{rose: w.kv[i].rose}
	}
	s.fault(w, removed, 0, "the client deletes the task")
}

// strikes are the faults that strike from outside.
func (s *stepSearch) strikes(w stepWorld) {
	for i := range w.hands {
		h := w.hands[i]
		if h.pc == resting {
			continue
		}
		if w.budget[killed] > 0 {
			n := w
			n.hands[i].rest()
			s.fault(n, killed, i, "worker dies")
		}
		if w.budget[drained] > 0 && slices.Contains([]uint8{settling, calling, modelling}, h.pc) {
			s.drains(w, i)
		}
	}

	if l := w.late; l.call > 0 {
		n := w
		n.late = lateResult{}
		e := &n.kv[l.step-1]
		var results [deals]uint8
		results[l.call-1] = l.value
		next, changed := merge(*e, len(s.lateCalls(w)), results)
		if s.sc.without.has(firstResult) {
			next.results[l.call-1], changed = l.value, true
		}
		if changed && !s.stores(e, next) {
			s.violation("an entry changed while nobody wrote it")
		}
		s.emit(n, 0, "a late result comes")
	}
}

// lateCalls is as long as the step of the late result.
func (s *stepSearch) lateCalls(w stepWorld) []uint8 { return s.sc.script[w.late.step-1] }

// drains makes a worker stop: the results of its calls are stored, and the turn is parked.
func (s *stepSearch) drains(w stepWorld, i int) {
	h := &w.hands[i]
	h.running, h.ends = 0, [deals]int32{}
	h.wake, h.chosen, h.pc = 0, 0, parkingTurn
	if h.fresh != [deals]uint8{} {
		h.pc, h.then = keeping, parkingTurn
	}
	s.fault(w, drained, i, "worker must stop")
}

// tellsAll checks, before nothing happens for some seconds, that no call waits for a word that
// has come.
func (s *stepSearch) tellsAll(w stepWorld, secs int32) {
	r := s.recs[w.rec]
	if r.Step == nil || r.Terminal() || r.Interrupted() || !s.resting(w) {
		return
	}
	for _, c := range r.Step.Calls {
		if wait := ahead(c.Wait); w.seen[dealOf(c)].told && c.Told && wait >= secs && secs > int32(task.ToldEvery.Seconds()) {
			s.violation("%s waits although a word came for it", c.Name)
		}
	}
}

// promise checks the end: the task was answered, and all that the model wanted has happened,
// unless a person ended it.
func (s *stepSearch) promise(w stepWorld) {
	r := s.recs[w.rec]
	switch {
	case w.cancel && !s.resting(w):
		s.violation("a worker goes on for ever")
	case w.cancel:
		return
	case r.State() != a2a.TaskStateCompleted || !s.resting(w):
		s.violation("the task ends as %s", r.State())
	}
	for _, want := range s.sc.script {
		if slices.Contains(want, pay) && w.seen[pay].attempts == 0 && s.sc.keeps == 0 {
			s.violation("pay never happened")
		}
	}
}
