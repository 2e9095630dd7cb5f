package gate

import (
	"math/rand/v2"
	"net/http"
	"time"

	"errand/shared/model"
)

// Times and counts of a gate. The first failures of an outage are seen by many turns at once,
// so three turns are few. A probe is worth its price when a minute has passed.
const (
	probeFirst = 2 * time.Second // after the gate has closed, doubling
	probeMost  = time.Minute     // between two probes, unless the service names a longer wait
	failing    = 3               // turns that had an error, with no success between, until the gate closes
	enough     = 10              // requests of others that say more than a probe
	through    = 9               // of ten of them that must have got through, or the service is to blame
	remembered = 10_000          // turns whose last failure is known
	recent     = 5 * time.Minute // how long a failure that was the service's speaks for a message
	outcomes   = 32              // requests whose outcome is known for so long
)

// A state is the knowledge of a gate. It makes all decisions and does nothing else: the times come
// in as arguments. The zero state is open and limits nothing.
type state struct {
	closed model.Cause // why the gate is closed; empty: it is open
	since  time.Time   // when it closed or opened
	next   time.Time   // closed: when the next probe is due
	probes int         // closed: probes that failed

	limit  int            // requests at once; 0: any number, because the gate has never closed
	taken  int            // requests under way, and places that are kept
	places map[string]int // places that are kept, by turn
	begun  time.Time      // when the last place was taken
	reply  time.Duration  // time of a reply, on average

	failed  map[string]bool // turns that had an error since the last success
	count   count           // of all requests of turns that have ended
	past    map[string]past // turns with a failure since their last success, which may be the message's fault
	history []outcome       // of requests, the newest last, as far as it is known whose fault a failure was
}

// A count is a number of requests and how many of them got through.
type count struct{ made, passed int }

// A past is the history of a turn since its last success.
type past struct {
	count    count // at its last failure
	failures int   // that may be the message's fault
}

// An outcome is how a request ended: with a reply, or with a failure of the service. A failure
// is known to be the service's when the same request gets through later.
type outcome struct {
	at time.Time
	ok bool
}

// A request is one under way.
type request struct {
	turn  string
	start time.Time
	count count // at its start
}

// A verdict says whose fault a failed request is.
type verdict int

const (
	innocent verdict = iota // the service failed
	guilty                  // the service works for others: it counts as an attempt of the message
	unsure                  // a probe must tell
)

// A change of the gate, for the log.
type change int

const (
	nothing change = iota
	closes
	worsens // it is closed, and now an operator must mend something
	opens
)

// take keeps a place for a request of the turn. Without one, the gate is closed, or full
// until another request ends and at least until the given time.
func (s *state) take(now time.Time, turn string) (ok bool, until time.Time) {
	if s.closed != "" {
		return false, s.next
	}
	if s.limit > 0 {
		until = s.begun.Add(s.reply / time.Duration(s.limit))
		if s.taken >= s.limit || now.Before(until) {
			return false, until
		}
	}
	if s.places == nil {
		s.places = map[string]int{}
	}
	s.places[turn]++
	s.taken++
	s.begun = now
	return true, now
}

// leave gives a place back that no request has used.
func (s *state) leave(turn string) {
	if s.useUp(turn) {
		s.taken--
	}
}

// useUp ends the keeping of a place, and reports whether one was kept.
func (s *state) useUp(turn string) bool {
	n := s.places[turn]
	if n > 1 {
		s.places[turn] = n - 1
	} else {
		delete(s.places, turn)
	}
	return n > 0
}

// start begins a request in the place that is kept for its turn, or in a new one.
func (s *state) start(now time.Time, turn string) (q request, ok bool, until time.Time) {
	if s.closed != "" {
		s.leave(turn)
		return request{}, false, s.next
	}
	if s.places[turn] == 0 {
		if ok, until = s.take(now, turn); !ok {
			return request{}, false, until
		}
	}
	s.useUp(turn)
	return request{turn, now, s.count}, true, now
}

// abandon ends a request that says nothing about the service: its turn was stopped.
func (s *state) abandon() { s.taken-- }

// succeed ends a request to which the service has replied.
func (s *state) succeed(now time.Time, q request) {
	s.taken--
	s.count.made++
	s.count.passed++
	for range s.past[q.turn].failures {
		s.note(now, false)
	}
	delete(s.past, q.turn)
	s.note(now, true)
	s.replied(now.Sub(q.start))
	if s.limit > 0 {
		s.limit++
	}
}

// note keeps the outcome of a request.
func (s *state) note(now time.Time, ok bool) {
	if len(s.history) == outcomes {
		s.history = s.history[1:]
	}
	s.history = append(s.history, outcome{now, ok})
}

// flaky reports whether the service itself has failed more than one in ten requests of late.
func (s *state) flaky(now time.Time) bool {
	all, bad := 0, 0
	for _, o := range s.history {
		if now.Sub(o.at) > recent {
			continue
		}
		if all++; !o.ok {
			bad++
		}
	}
	return bad*10 > all
}

// replied takes note of a reply.
func (s *state) replied(took time.Duration) {
	clear(s.failed)
	if s.reply == 0 {
		s.reply = took
	}
	s.reply += (took - s.reply) / 8
}

// fail ends a request that the service has failed.
func (s *state) fail(now time.Time, q request, e *model.Error) (verdict, change) {
	s.taken--
	s.count.made++
	p, known := s.past[q.turn]
	before := p.count
	if !known {
		before = q.count
	}
	others := count{s.count.made - before.made - 1, s.count.passed - before.passed}

	mayBe := e.Why().MayBeOfMessage()
	switch {
	case mayBe:
		s.remember(q.turn, past{s.count, p.failures + 1})
	case known: // this request is not one of others
		s.remember(q.turn, past{count{before.made + 1, before.passed}, p.failures})
	}

	what := s.judge(now, q, e)
	switch {
	case !mayBe || s.closed != "" || s.flaky(now):
		return innocent, what
	case others.made < enough:
		return unsure, what
	case others.passed*10 >= others.made*through:
		return guilty, what
	}
	return innocent, what
}

func (s *state) remember(turn string, p past) {
	if s.past == nil || len(s.past) >= remembered { // turns that never came back
		s.past = map[string]past{}
	}
	s.past[turn] = p
}

// judge decides whether an error closes the gate. A request that began before the gate opened
// has seen the outage that is over.
func (s *state) judge(now time.Time, q request, e *model.Error) change {
	why := e.Why()
	switch {
	case s.closed != "" && why.Kind() == model.OfOperator && s.closed.Kind() != model.OfOperator:
		s.closed = why
		return worsens
	case s.closed != "" || q.start.Before(s.since):
		return nothing
	case e.Code == http.StatusTooManyRequests, why == model.Unreached, why.Kind() == model.OfOperator: // every request would fail
	default:
		if s.failed == nil {
			s.failed = map[string]bool{}
		}
		if s.failed[q.turn] = true; len(s.failed) < failing {
			return nothing
		}
	}

	clear(s.failed)
	s.closed, s.since, s.probes = why, now, 0
	s.schedule(now, now, e.RetryAfter)
	return closes
}

// schedule sets the time of the next probe after something that began at start and ended now:
// never before the service has said.
func (s *state) schedule(start, now time.Time, retryAfter time.Duration) {
	wait := min(probeFirst<<min(s.probes, 10), probeMost)
	s.next = start.Add(wait - rand.N(wait/2))
	if at := now.Add(retryAfter + rand.N(retryAfter/10+time.Second)); retryAfter > 0 && at.After(s.next) {
		s.next = at
	}
}

// due reports whether a closed gate needs a probe now.
func (s *state) due(now time.Time) bool { return s.closed != "" && !now.Before(s.next) }

// probed takes the outcome of a probe that began at start; e is nil if the service replied.
func (s *state) probed(now, start time.Time, e *model.Error) change {
	switch {
	case e != nil && s.closed == "":
		return s.judge(now, request{turn: "probe", start: start}, e)

	case e != nil:
		s.probes++
		s.schedule(start, now, e.RetryAfter)
		return s.judge(now, request{}, e)

	case s.closed == "":
		s.replied(now.Sub(start))
		return nothing
	}

	s.closed, s.since, s.probes = "", now, 0
	s.limit, s.reply = 1, now.Sub(start)
	clear(s.failed)
	return opens
}
