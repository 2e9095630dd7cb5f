package task_test

import (
	"slices"
	"testing"
	"time"

	"errand/shared/lab/conformance"
	"errand/shared/task"
)

// This model check is about the steps of turns (R16). All changes of the record and of the
// results in package kv are made by the code that runs in production. Around it, the test
// models what the packages worker/turn and worker/executor do between their writes, the
// model, the receivers of calls, and the persons.

// A stepCase is a small world with a budget of faults.
type stepCase struct {
	name    string
	script  [][]uint8     // what the model wants, step by step; then it answers
	keeps   time.Duration // how long the receiver of pay keeps keys; 0: for longer than the world lasts
	knows   bool          // mail has a function that knows what became of a call
	answers []string      // what persons say
	budget  budget
	also    budget // the full search adds these
	without gap
	states  int // bound on the number of states; 0: none
}

// A gap is a set of parts of the protocol that are left out.
type gap uint16

func (g gap) has(part gap) bool { return g&part != 0 }

// Parts of the protocol of steps.
const (
	stepEpoch   gap = 1 << iota // a step is opened under the epoch
	storedReply                 // a run goes on from the stored reply
	beginCommit                 // a commit says that a call begins
	fiveSeconds                 // a call begins within five seconds after its commit
	firstResult                 // the first result of a call counts
	storedFirst                 // a run goes on with the results that are stored
	limitWait                   // nothing is done about a call until its time limit is over
	readAgain                   // then its result is looked for
	keyAge                      // a call is made again only while its receiver knows its key
	lateCommit                  // that is looked at again after the commit
	boundAnswer                 // only a message answers a question that came while it stood
	keptWord                    // a word is kept until the next claim
	cancelWait                  // a cancel is answered when no call can begin any more
)

var (
	askWhat  = []string{saysDoIt, saysHappened, saysLeave}
	payMail  = [][]uint8{{pay, mail}}
	mailOnly = [][]uint8{{mail}}
)

func stepCases() []stepCase {
	return []stepCase{
		{
			name: "kills", script: payMail, answers: askWhat,
			budget: budget{killed: 3, unheard: 2, agreed: 1}, also: budget{delayed: 1},
		}, {
			name: "takeovers", script: payMail, answers: askWhat,
			budget: budget{stolen: 1, delayed: 2, moment: 1, agreed: 1}, also: budget{killed: 1},
		}, {
			name: "cancel", script: payMail, answers: []string{saysLeave},
			budget: budget{canceled: 1, stolen: 1, delayed: 2, moment: 1}, also: budget{unheard: 1},
		}, {
			name: "deleted", script: payMail, answers: []string{saysLeave},
			budget: budget{removed: 1, stolen: 1, delayed: 1, moment: 1}, also: budget{unheard: 1, killed: 1},
		}, {
			name: "questions", script: mailOnly, answers: append(slices.Clone(askWhat), saysOther),
			budget: budget{killed: 2, early: 1, agreed: 2, unclear: 1}, also: budget{stolen: 1, early: 1, unheard: 1},
		}, {
			name: "late results", script: payMail, answers: askWhat,
			budget: budget{overtime: 1, delayed: 2, killed: 1, agreed: 1}, also: budget{stolen: 1, unheard: 1},
		}, {
			name: "old keys", script: [][]uint8{{pay, look}}, keeps: 5 * time.Minute, answers: askWhat,
			budget: budget{killed: 2, delayed: 1, agreed: 1}, also: budget{moment: 1, delayed: 1, unheard: 1},
		}, {
			name: "two questions", script: payMail, keeps: time.Second, answers: askWhat,
			budget: budget{killed: 2, agreed: 2}, also: budget{early: 1, unclear: 1, stolen: 1},
		}, {
			name: "a tool that knows", script: payMail, knows: true,
			budget: budget{killed: 2, delayed: 1}, also: budget{stolen: 1, unheard: 1},
		}, {
			name: "later", script: payMail, answers: askWhat,
			budget: budget{postponed: 2, word: 2, killed: 1}, also: budget{stolen: 1, early: 1},
		}, {
			name: "stops", script: [][]uint8{{pay, mail, look}}, answers: []string{saysLeave},
			budget: budget{drained: 2, unheard: 1}, also: budget{stolen: 1, delayed: 1},
		}, {
			name: "two steps", script: [][]uint8{{pay}, {mail}}, answers: []string{saysLeave},
			budget: budget{stolen: 1, killed: 1, early: 1, delayed: 1}, also: budget{agreed: 1},
		},
	}
}

func (sc stepCase) ready() stepCase {
	if conformance.Long(false, false, true) {
		sc.budget = sc.budget.and(sc.also)
	}
	return sc
}

func TestStepsSurvive(t *testing.T) {
	for _, sc := range stepCases() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			wantLawful(t, func() result { return exploreSteps(sc.ready()) })
		})
	}
}

// A stepSearch explores a stepCase.
type stepSearch struct {
	explorer[stepWorld]
	sc    stepCase
	rules task.Rules
	recs  []task.Record
	index map[string]uint32
	memo  map[stepOp]stepResult
}

func exploreSteps(sc stepCase) result {
	s := &stepSearch{
		sc: sc, rules: task.Defaults(), recs: make([]task.Record, 1), index: map[string]uint32{}, memo: map[stepOp]stepResult{},
	}
	s.step = s.steps

	r, err := task.Accept(s.now(), task.Acceptance{
		ID: "t", Context: "c", Life: "l", Owner: "o", Lane: task.Turns, Message: message(1), Request: task.Request{ID: message(1).ID, Fingerprint: "p"},
	})
	if err != nil {
		return result{bad: err.Error()}
	}
	first := stepWorld{rec: s.intern(r), left: -1}
	for which, n := range sc.budget {
		first.budget[which] = n
	}

	res := s.explore(first, sc.states)
	res.records = len(s.recs)
	return res
}

// steps makes every step that is possible in w.
func (s *stepSearch) steps(w stepWorld) {
	for i := range w.hands {
		s.work(w, i)
	}
	s.persons(w)

	next := s.nextInstant(w)
	switch {
	case next <= 0:
	case s.moves == 0:
		s.tellsAll(w, next)
		s.pass(&w, next)
		s.move(w, int(next)-1, "seconds pass")
	case w.budget[delayed] > 0:
		n := w
		s.pass(&n, next)
		s.fault(n, delayed, int(next)-1, "seconds pass meanwhile")
	}
	if w.budget[moment] > 0 && (next <= 0 || next > 3) {
		n := w
		s.pass(&n, 3)
		s.fault(n, moment, 2, "seconds pass meanwhile")
	}

	s.strikes(w)
	if s.moves == 0 && s.bad == "" {
		s.promise(w)
	}
}

func (s *stepSearch) fault(w stepWorld, which, n int, label string) {
	w.budget[which]--
	s.emit(w, n, label)
}

// nextInstant is when something becomes possible, or impossible, by itself, in seconds from
// now.
func (s *stepSearch) nextInstant(w stepWorld) int32 {
	next := int32(0)
	soonest := func(at int32) {
		if at > 0 && (next == 0 || at < next) {
			next = at
		}
	}

	r := s.recs[w.rec]
	if !r.Terminal() {
		for _, at := range []time.Time{r.Lease.Until, r.Wake} {
			if !at.IsZero() {
				soonest(ahead(at))
			}
		}
	}

	soonest(w.left + 1)
	for i := range w.hands {
		h := &w.hands[i]
		if h.pc == resting {
			continue
		}
		s.instantsOf(s.recs[h.rec], soonest)
		for _, at := range h.ends {
			soonest(at)
		}
	}
	if s.resting(w) {
		s.instantsOf(r, soonest)
	}
	return next
}

func (s *stepSearch) resting(w stepWorld) bool {
	return w.hands[0].pc == resting && w.hands[1].pc == resting
}

// instantsOf are the instants of the calls of a record.
func (s *stepSearch) instantsOf(r task.Record, soonest func(int32)) {
	if r.Step == nil || r.Terminal() {
		return
	}
	for _, c := range r.Step.Calls {
		if c.Begun.IsZero() {
			continue
		}
		soonest(ahead(c.Begun) + window + 1)
		soonest(ahead(c.Begun) + over)
		if s.sc.keeps != 0 {
			soonest(ahead(c.First.Add(c.Keeps)) - over + 1)
		}
	}
}

// pass lets time pass.
func (s *stepSearch) pass(w *stepWorld, secs int32) {
	back := func(at *int32, floor int32) { *at = max(*at-secs, floor) }
	w.rec = s.aged(w.rec, secs)
	back(&w.left, -1)
	for i := range w.seen {
		q := &w.seen[i]
		back(&q.first, -s.young())
		back(&q.busy, 0)
	}

	for i := range w.hands {
		h := &w.hands[i]
		if h.pc == resting {
			continue
		}
		h.rec = s.aged(h.rec, secs)
		back(&h.until, 0)
		back(&h.wake, 0)
		for c := range h.ends {
			back(&h.ends[c], 0)
			back(&h.waitAt[c], 0)
		}
	}
}

func (s *stepSearch) aged(rec uint32, secs int32) uint32 {
	return s.op(rec, stepAge, func(r task.Record, res *stepResult) task.Record {
		res.changed = true
		return s.passed(r, secs)
	}, secs).rec
}
