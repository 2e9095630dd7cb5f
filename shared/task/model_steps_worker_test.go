package task_test

import (
	"errors"
	"slices"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// work makes the steps of one worker. A worker that has nothing to do until a time makes none.
func (s *stepSearch) work(w stepWorld, i int) {
	switch w.hands[i].pc {
	case resting:
		s.claims(w, i)
	case readingSteps:
		s.readsPast(w, i)
	case settling:
		s.settles(w, i)
	case beginning:
		s.begins(w, i)
	case calling:
		s.calls(w, i)

	case keeping:
		s.keepsResults(w, i)
	case getting:
		w.hands[i].known, w.hands[i].pc = *s.entryOf(&w, i), keeping
		s.move(w, i, "worker reads the results")
	case looking:
		s.looks(w, i)

	case askingPerson:
		s.asksPerson(w, i)
	case parkingTurn:
		s.commit(w, i, s.parkTurn(w.rec, &w.hands[i]), "worker parks the turn", (*hand).rest)
	case modelling:
		s.asksModel(w, i)
	case opening:
		s.opens(w, i)
	case ending:
		s.ends(w, i)
	case breaking:
		s.commit(w, i, s.breakOff(w.rec, &w.hands[i]), "worker gives its lease back", (*hand).rest)
	}
}

func (h *hand) rest() { *h = hand{} }

func (s *stepSearch) stepOf(h *hand) *task.Step { return s.recs[h.rec].Step }

func (s *stepSearch) entryOf(w *stepWorld, i int) *entry {
	return &w.kv[s.stepOf(&w.hands[i]).Number-1]
}

// commit makes a commit of a run. If its answer is lost, the run makes it again.
func (s *stepSearch) commit(w stepWorld, i int, res stepResult, label string, then func(*hand)) {
	h := &w.hands[i]
	switch {
	case errors.Is(res.err, task.ErrFenced):
		h.rest()
		s.move(w, i, label+": fenced")
		return
	case res.err != nil && h.pc == breaking:
		s.violation("%s: %v", label, res.err)
		return
	case res.err != nil:
		h.pc = breaking
		s.move(w, i, label+": "+res.err.Error())
		return
	}

	if w.rec = res.rec; res.changed && w.budget[unheard] > 0 {
		s.fault(w, unheard, i, label+", answer lost")
	}
	h.rec = w.rec
	then(h)
	s.move(w, i, label)
}

// alive reports whether the worker that holds the lease lives.
func (s *stepSearch) alive(w stepWorld, r task.Record) bool {
	return slices.ContainsFunc(w.hands[:], func(h hand) bool { return h.pc != resting && int64(h.epoch) == r.Epoch })
}

func (s *stepSearch) claims(w stepWorld, i int) {
	r := s.recs[w.rec]
	leased := r.Lease != (task.Lease{})
	live := leased && r.Lease.Until.After(start)
	switch {
	case i > 0 && w.hands[0].pc == resting, r.Terminal(), r.Interrupted(), r.Wake.After(start):
	case !live || !s.alive(w, r):
		s.claimsNow(w, i, s.move, "worker claims")
	case w.budget[stolen] > 0:
		w.budget[stolen]--
		s.claimsNow(w, i, s.emit, "worker takes the turn of another one over")
	}
}

func (s *stepSearch) claimsNow(w stepWorld, i int, move func(stepWorld, int, string), label string) {
	res := s.claim(w.rec, i)
	w.rec = res.rec
	switch res.verdict {
	case task.Claimed:
		w.hands[i] = hand{pc: readingSteps, rec: w.rec, epoch: uint8(s.recs[w.rec].Epoch), until: runFor}
	case task.Ended:
		s.violation("an innocent turn was failed")
	}
	move(w, i, label)
}

// readsPast reads the steps of the work that the turn goes on with.
func (s *stepSearch) readsPast(w stepWorld, i int) {
	h := &w.hands[i]
	r := s.recs[h.rec]
	for n := r.First + 1; n < r.Steps; n++ {
		if w.kv[n-1].version == 0 && !w.deleted {
			s.violation("the results of an earlier step are gone")
		}
	}

	if r.Step == nil || s.sc.without.has(storedReply) {
		h.pc = modelling
		s.move(w, i, "worker reads the steps")
		return
	}

	h.known = *s.entryOf(&w, i)
	h.results, h.pc = h.known.results, settling
	if q, m := asked(r), r.Task.History[0]; q != nil && q.Answer == m.ID && h.results[q.Call] == 0 {
		if c := r.Step.Calls[q.Call]; c.Times == q.Times && c.Hash == q.Hash {
			h.pc, h.then, h.chosen = looking, readingSteps, 1<<q.Call
		}
	}
	s.move(w, i, "worker reads the steps")
}

// A turnPlan is what to do next about the calls of a step, as the executor plans it.
type turnPlan struct {
	begin, make, look uint8
	doubt             int // -1: none
	until             int32
	holds             bool
}

func (s *stepSearch) plan(h *hand, step *task.Step) turnPlan {
	p := turnPlan{doubt: -1}
	alone := uint8(0)
	for i, c := range step.Calls {
		bit := uint8(1) << i
		m, until := s.next(h, i, c)
		switch {
		case h.results[i] != 0 || h.fresh[i] != 0:
		case m == task.Hold:
			if !p.holds || until < p.until {
				p.holds, p.until = true, until
			}

		case c.Effects && c.Times > 0 && c.Wait.IsZero() && (h.begun|h.read)&bit == 0:
			p.look |= bit
		case m == task.Doubt:
			if p.doubt < 0 {
				p.doubt = i
			}

		default:
			if m == task.Begin && !s.sc.without.has(beginCommit) {
				p.begin |= bit
			}
			if c.Effects && c.Keeps == 0 {
				alone |= bit
			} else {
				p.make |= bit
			}
		}
	}

	if p.make == 0 {
		p.make = alone & -alone
	}
	p.begin &= p.make
	return p
}

// next is the move of a call in a run.
func (s *stepSearch) next(h *hand, i int, c task.Call) (task.Move, int32) {
	bit := uint8(1) << i
	switch {
	case h.waits&bit != 0:
		return task.Hold, h.waitAt[i]
	case h.allowed&bit != 0:
		return task.Begin, 0
	case h.begun&bit != 0:
		if start.Sub(c.Begun) <= task.BeginWithin || s.sc.without.has(fiveSeconds) {
			return task.Repeat, 0
		}
		return task.Begin, 0
	}

	if s.sc.without.has(keyAge) && c.Keeps > 0 {
		c.Keeps *= 1000
	}
	m, until := c.Next(start)
	if m == task.Hold && !c.Wait.After(start) && s.sc.without.has(limitWait) {
		m, _ = c.Next(until)
	}
	if m != task.Hold {
		return m, 0
	}
	return m, ahead(until)
}

// settles goes on with the calls of the open step.
func (s *stepSearch) settles(w stepWorld, i int) {
	h := &w.hands[i]
	step := s.stepOf(h)
	p := s.plan(h, step)
	switch {
	case p.make&^h.begun != 0 && h.until < callLimit:
		h.pc, h.wake, h.chosen = parkingTurn, 0, 0
		s.move(w, i, "a call does not fit into the rest of the run")

	case p.begin != 0:
		h.pc, h.chosen = beginning, p.begin
		s.move(w, i, "worker decides to begin calls")

	case p.make != 0:
		for c := range step.Calls {
			if p.make&(1<<c) != 0 {
				s.attempt(&w, h, c)
			}
		}
		h.pc = calling
		s.move(w, i, "worker makes calls")

	case h.fresh != [deals]uint8{}:
		h.pc, h.then = keeping, settling
		s.move(w, i, "worker has results")

	case p.look != 0:
		h.pc, h.then, h.chosen = looking, settling, p.look
		s.move(w, i, "worker looks for results")

	case p.doubt >= 0:
		s.resolves(w, i, p.doubt)

	case p.holds:
		s.holds(w, i, p.until)

	default:
		h.pc = modelling
		s.move(w, i, "worker has all results")
	}
}

// holds parks the turn until something may be done about its calls. A short wait is no step.
func (s *stepSearch) holds(w stepWorld, i int, until int32) {
	h := &w.hands[i]
	waiting := h.waits
	for c, call := range s.stepOf(h).Calls {
		if !call.Wait.IsZero() && h.results[c] == 0 && waiting&(1<<c) == 0 {
			waiting |= 1 << c
			h.waitAt[c] = ahead(call.Wait)
			if call.Told {
				h.told |= 1 << c
			}
		}
	}
	if waiting == 0 && until <= 10 && until < h.until {
		return
	}
	h.pc, h.wake, h.chosen = parkingTurn, until, waiting
	s.move(w, i, "worker decides to park")
}

// resolves finds out about a call that may have happened.
func (s *stepSearch) resolves(w stepWorld, i, call int) {
	h := &w.hands[i]
	if h.missed&(1<<call) != 0 {
		s.violation("a call is in doubt although its result was stored when it was looked for")
	}

	d := dealOf(s.stepOf(h).Calls[call])
	switch {
	case d == mail && s.sc.knows && w.seen[d].attempts > 0:
		h.fresh[call] = resultOf(h, confirmed)
		s.move(w, i, "the tool says that it happened")
	case d == mail && s.sc.knows:
		h.allowed |= 1 << call
		s.move(w, i, "the tool says that it did not happen")
	default:
		h.pc, h.chosen = askingPerson, uint8(call)
		s.move(w, i, "worker decides to ask a person")
	}
}

// begins commits that calls begin.
func (s *stepSearch) begins(w stepWorld, i int) {
	before := s.stepOf(&w.hands[i]).Calls
	s.commit(w, i, s.beginCalls(w.rec, &w.hands[i]), "worker commits that calls begin", func(h *hand) {
		for c, call := range s.stepOf(h).Calls {
			bit := h.chosen & (1 << c)
			sure := h.allowed&bit != 0 || !before[c].Wait.IsZero()
			if h.begun &^= bit; sure || call.InTime() || s.sc.without.has(keyAge|lateCommit) {
				h.begun |= bit
			}
			h.read, h.allowed = h.read&^bit, h.allowed&^bit
		}
		h.pc = settling
	})
}

// attempt is an attempt at a call: it reaches its receiver. Then the laws of receivers must
// hold.
func (s *stepSearch) attempt(w *stepWorld, h *hand, call int) {
	step, bit := s.stepOf(h), uint8(1)<<call
	c := step.Calls[call]
	d := dealOf(c)
	h.begun, h.running, h.ends[call] = h.begun&^bit, h.running|bit, callLimit
	if !c.Effects {
		return
	}

	q := &w.seen[d]
	now := s.recs[w.rec]
	again := q.attempts > 0
	switch {
	case w.cancel && w.left < 0:
		s.violation("%s begins after the cancel was answered", c.Name)
	case again && (int(q.step) != step.Number || q.words != wordsOf(c)):
		s.violation("%s has two keys, or two kinds of arguments", c.Name)
	case q.busy > 0:
		s.violation("two attempts at %s run at once", c.Name)
	case !w.deleted && !s.sc.without.has(beginCommit|fiveSeconds) && tooLate(now.Step, step.Number, call, again):
		s.violation("%s begins without a commit of the last 5 seconds", c.Name)
	case d == pay && again && s.sc.keeps > 0 && callLimit > q.first+int32(s.sc.keeps/time.Second) && q.allowed == 0:
		s.violation("%s begins so late that its receiver may have forgotten the key", c.Name)
	case d == mail && q.attempts > q.allowed:
		s.violation("%s was called twice, and no person said so", c.Name)
	}

	if !again {
		q.step, q.words, q.first = uint8(step.Number), wordsOf(c), 0
	}
	switch {
	case d == mail || !again:
		q.attempts++
	case q.allowed > 0:
		q.allowed--
	}
	q.busy, q.told = callLimit, false
}

// tooLate reports whether no commit allows an attempt. An attempt with a key that its receiver
// knows may come a moment after the step: another run has found the result of an earlier one.
func tooLate(open *task.Step, number, call int, again bool) bool {
	if open == nil || open.Number != number {
		return !again
	}
	return start.Sub(open.Calls[call].Begun) > task.BeginWithin
}

// calls are the ends of calls that run.
func (s *stepSearch) calls(w stepWorld, i int) {
	step := s.stepOf(&w.hands[i])
	for c, call := range step.Calls {
		bit := uint8(1) << c
		if w.hands[i].running&bit == 0 {
			continue
		}

		n := w
		h := &n.hands[i]
		h.fresh[c] = resultOf(h, returned)
		s.callEnds(n, i, c, s.move, "a call returns: "+call.Name)

		if w.hands[i].ends[c] <= 0 {
			s.overtime(w, i, c)
		}

		if call.Effects && w.budget[postponed] > 0 {
			n := w
			n.budget[postponed]--
			h := &n.hands[i]
			h.waits, h.told, h.waitAt[c] = h.waits|bit, h.told|bit, leaves
			n.seen[dealOf(call)].attempts--
			s.callEnds(n, i, c, s.emit, "a call wants to begin again later: "+call.Name)
		}
	}

	if w.hands[i].fresh != [deals]uint8{} {
		w.hands[i].pc, w.hands[i].then = keeping, calling
		s.move(w, i, "worker has results")
	}
}

// overtime ends a call at its time limit. Its result may come later.
func (s *stepSearch) overtime(w stepWorld, i, c int) {
	h := &w.hands[i]
	call := s.stepOf(h).Calls[c]
	if !call.Effects {
		h.fresh[c] = resultOf(h, refused)
	}
	if call.Effects && w.budget[overtime] > 0 {
		n := w
		n.budget[overtime]--
		n.late = lateResult{uint8(s.stepOf(h).Number), uint8(c) + 1, resultOf(h, belated)}
		s.callEnds(n, i, c, s.emit, "a call takes too long, and goes on: "+call.Name)
	}
	s.callEnds(w, i, c, s.move, "a call takes too long: "+call.Name)
}

// callEnds ends a call. After the last one, the results are stored.
func (s *stepSearch) callEnds(w stepWorld, i, c int, move func(stepWorld, int, string), label string) {
	h := &w.hands[i]
	h.running &^= 1 << c
	h.ends[c] = 0
	w.seen[dealOf(s.stepOf(h).Calls[c])].busy = 0
	if h.running == 0 {
		h.pc = settling
		if h.fresh != [deals]uint8{} {
			h.pc, h.then = keeping, settling
		}
	}
	move(w, i, label)
}

// keepsResults stores the new results of a run.
func (s *stepSearch) keepsResults(w stepWorld, i int) {
	h, e := &w.hands[i], s.entryOf(&w, i)
	mine := h.fresh
	next, changed := merge(h.known, len(s.stepOf(h).Calls), mine)
	if s.sc.without.has(firstResult) {
		changed = true
		for c, v := range mine {
			if v != 0 {
				next.results[c] = v
			}
		}
	}

	goesOn := func() {
		h.known, h.results, h.fresh, h.pc, h.then = next, next.results, [deals]uint8{}, h.then, 0
		for c, v := range mine {
			if v != 0 && s.sc.without.has(storedFirst) {
				h.results[c] = v
			}
		}
	}

	if !changed {
		goesOn()
		s.move(w, i, "worker finds all its results stored")
		return
	}

	if !s.stores(e, next) {
		h.known, h.pc = *e, keeping
		s.move(w, i, "worker stores results: conflict, reads")
		return
	}
	next = *e
	if w.budget[unheard] > 0 {
		n := w
		n.hands[i].pc = getting
		s.fault(n, unheard, i, "worker stores results, answer lost")
	}
	goesOn()
	s.move(w, i, "worker stores results")
}

// stores puts an entry into package kv. A result that is stored stays.
func (s *stepSearch) stores(e *entry, next entry) bool {
	was := *e
	if !e.put(next) {
		return false
	}
	for c, v := range was.results {
		if v != 0 && e.results[c] != v {
			s.violation("a stored result was replaced")
		}
	}
	return true
}

// looks reads the results again, and honours the answer of a person.
func (s *stepSearch) looks(w stepWorld, i int) {
	h, e := &w.hands[i], *s.entryOf(&w, i)
	if !s.sc.without.has(readAgain) {
		h.known, h.results = e, e.results
	}
	for c, v := range e.results {
		if v != 0 && h.results[c] == 0 {
			h.missed |= 1 << c
		}
	}
	h.read |= h.chosen
	answers := h.then == readingSteps
	h.pc, h.then = settling, 0
	if !answers {
		s.move(w, i, "worker has looked for results")
		return
	}

	q, m := s.stepOf(h).Asked, s.recs[h.rec].Task.History[0]
	if h.results[q.Call] != 0 {
		s.move(w, i, "worker has found the result that a person was asked about")
		return
	}
	switch answerIn(m) {
	case saysDoIt:
		h.allowed |= 1 << q.Call
	case saysHappened:
		h.fresh[q.Call] = resultOf(h, confirmed)
	case saysLeave:
		h.fresh[q.Call] = resultOf(h, leftAlone)
	default:
		h.pc, h.chosen = askingPerson, uint8(q.Call)
	}
	s.move(w, i, "worker honours the answer: "+answerIn(m))
}

// asksPerson ends the turn with a question.
func (s *stepSearch) asksPerson(w stepWorld, i int) {
	h := &w.hands[i]
	c := s.stepOf(h).Calls[h.chosen]
	res := s.ask(w.rec, h, int(h.chosen))
	if res.changed && (ahead(c.Begun)+over > 0 || w.seen[dealOf(c)].busy > 0) {
		s.violation("a person is asked about %s, which may still run or begin", c.Name)
	}
	s.commit(w, i, res, "worker asks a person about "+c.Name, (*hand).rest)
}

// asksModel asks the model, which gets its last reply. The results that it is told must be
// those that are stored, and each call that happened must have one.
func (s *stepSearch) asksModel(w stepWorld, i int) {
	h := &w.hands[i]
	r := s.recs[h.rec]
	told := r.Steps - r.First
	if s.sc.without.has(storedReply) && r.Step != nil && r.Step.Epoch != r.Epoch {
		told = 0
	}

	if told > 0 && !w.deleted {
		stored := w.kv[r.Steps-1].results
		for c, call := range r.Step.Calls {
			switch {
			case h.results[c] == 0 || stored[c] == 0:
				s.violation("the model is asked although %s has no result", call.Name)
			case h.results[c] != stored[c]:
				s.violation("the model is told another result of %s than the stored one", call.Name)
			}
		}
	}

	h.words, w.asked = w.asked, 1-w.asked
	h.pc = ending
	if r.First == 0 && told < len(s.sc.script) {
		h.pc = opening
	}
	s.move(w, i, "the model replies")
}

// opens opens a step. The first calls begin with it.
func (s *stepSearch) opens(w stepWorld, i int) {
	h := &w.hands[i]
	r := s.recs[h.rec]
	told := r.Steps - r.First
	if s.sc.without.has(storedReply) {
		told = 0
	}
	want := s.sc.script[told]

	step := s.reply(r.Steps+1, want, h.words)
	fresh := hand{epoch: h.epoch, until: h.until}
	mask := s.plan(&fresh, &step).begin
	if s.sc.without.has(beginCommit) {
		mask = s.plan(&fresh, &step).make
	}
	if h.until < callLimit {
		mask = 0
	}
	var begins []int
	for c := range step.Calls {
		if mask&(1<<c) != 0 {
			begins = append(begins, c)
		}
	}

	s.commit(w, i, s.openStep(w.rec, h, want, begins), "worker opens a step", func(h *hand) {
		fresh.pc, fresh.rec, fresh.begun = settling, h.rec, mask
		*h = fresh
	})
}

// ends ends the turn. If a message waits, the worker goes on with it.
func (s *stepSearch) ends(w stepWorld, i int) {
	res := s.endTurn(w.rec, &w.hands[i])
	s.commit(w, i, res, "worker completes the task", func(h *hand) {
		r := s.recs[h.rec]
		if r.State() == a2a.TaskStateWorking && r.Lease != (task.Lease{}) && r.Epoch == int64(h.epoch) {
			*h = hand{pc: readingSteps, rec: h.rec, epoch: h.epoch, until: h.until}
			return
		}
		h.rest()
	})
}
