package notify

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// perHost is how many attempts may be under way at one host.
const perHost = 8

// The breaker of a host opens when so many attempts in a row had no answer at all: an
// error status is cheap and may be one path's own. While it is open nobody goes there;
// then one attempt at a time shows whether the host is back.
const (
	breakAfter = 5
	breakFor   = 10 * time.Second
)

// hosts counts the attempts under way at each host, and knows which hosts do not answer.
// It is what this process knows: several processes may each have as many.
type hosts struct {
	near time.Duration // an attempt that is put off for less gets a job, the others come by Due
	mu   sync.Mutex
	m    map[string]*host
	full int // as many of them as are remembered before some are forgotten
}

func newHosts(near time.Duration) *hosts {
	return &hosts{near: near, m: map[string]*host{}, full: manyHosts}
}

type host struct {
	running int
	took    time.Duration // an attempt lately, on average
	moved   time.Time     // when a slot was last taken or given back
	again   time.Time     // promised to the last one that was turned away and comes back soon
	far     time.Time     // promised to the last one that comes back later
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
}

// What is assumed of a host before its first answer, and the least time before
// one that was turned away comes back.
const (
	tookAtFirst = 100 * time.Millisecond
	turnedAway  = 100 * time.Millisecond
	farthest    = time.Hour // what is promised; by then more is known
)

// Hosts that have been quiet for a while are forgotten when there are many, and others
// with them when many are left: whoever registers webhooks can name as many as he likes,
// and a host that is forgotten costs a few attempts at most.
const (
	manyHosts = 1000
	quietFor  = time.Minute
)

var (
	errBusy      = errors.New("as many attempts are under way at the host as may be")
	errSilent    = errors.New("the host does not answer")
	errNoAnswer  = errors.New("no answer")
	errForgotten = errors.New("the host was not asked, or we hung up") // says nothing about it
)

// enter takes a slot at the host, for leave to give back, or says when to come back:
// errBusy, errSilent. It does not wait. With force the breaker is not asked; an answer that is
// had so closes it.
func (s *hosts) enter(name string, now time.Time, force bool) (leave func(result error, now time.Time), again time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.host(name, now)
	if h.running >= perHost {
		return nil, h.turn(now, s.near), errBusy
	}
	if h.running < perHost/2 { // it keeps up: whoever is turned away next need not queue
		h.again, h.far = time.Time{}, time.Time{}
	}

	report, err := h.breaker.Allow()
	switch {
	case err == nil:
	case force:
		report = func(result error) {
			if result == nil {
				h.breaker = newBreaker()
			}
		}

	default:
		return nil, now.Add(breakFor), errSilent
	}

	h.running++
	h.moved = now
	return func(result error, end time.Time) {
		s.mu.Lock()
		defer s.mu.Unlock()
		report(result)
		h.took += (end.Sub(now) - h.took) / 4
		h.moved = end
		h.running--
	}, time.Time{}, nil
}

// turn is when to come back to a busy host: one after the other, as fast as it has been
// answering. So a slow one gets few jobs, the queue stays free for the others, and no slot
// stays empty for long. Whoever comes is first given a near turn, because it may be one
// whose later turn has come.
func (h *host) turn(now time.Time, soon time.Duration) time.Time {
	step := max(h.took, now.Sub(h.moved)) / perHost
	if soonest := now.Add(turnedAway); h.again.Before(soonest) {
		h.again = soonest
	}
	if near := now.Add(soon); h.again.Before(near) {
		h.again = h.again.Add(step)
		return h.again
	} else if h.far.Before(near) {
		h.far = near
	}
	if last := now.Add(farthest); h.far.After(last) {
		return last.Add(rand.N(farthest / 5))
	}
	h.far = h.far.Add(step)
	return h.far
}

// host finds or makes what is known of a host.
func (s *hosts) host(name string, now time.Time) *host {
	if h := s.m[name]; h != nil {
		return h
	}
	if len(s.m) >= s.full {
		s.forget(now)
	}
	h := &host{took: tookAtFirst, moved: now, breaker: newBreaker()}
	s.m[name] = h
	return h
}

func newBreaker() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     breakFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		IsExcluded:  func(err error) bool { return errors.Is(err, errForgotten) },
	})
}

// forget makes room for as many hosts as are left, and does not look at all of them again
// before.
func (s *hosts) forget(now time.Time) {
	kept, idle := map[string]*host{}, 0
	for name, h := range s.m {
		switch {
		case h.running > 0:
		case now.Sub(h.moved) < quietFor && idle < manyHosts/2:
			idle++
		default:
			continue
		}
		kept[name] = h
	}
	s.m, s.full = kept, max(manyHosts, 2*len(kept))
}

// A flight is one hook of one task that is being served.
type flight struct{ task, hook string }

// flights are the hooks that this process is serving: one pass at a time for
// each.
type flights struct {
	mu sync.Mutex
	m  map[flight]bool // true: somebody was turned away meanwhile
}

func (s *flights) begin(f flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[flight]bool{}
	}
	if _, taken := s.m[f]; taken {
		s.m[f] = true
		return false
	}
	s.m[f] = false
	return true
}

// end answers whether somebody was turned away.
func (s *flights) end(f flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.m[f]
	delete(s.m, f)
	return asked
}
