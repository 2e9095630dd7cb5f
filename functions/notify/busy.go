package notify

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"errand/shared/webhook"
)

// perHost is the limit of concurrent attempts at one host.
const perHost = 8

// The breaker of a host opens after this many attempts in a row without any answer. An
// error status does not count, because it is cheap and may concern a single path. An open
// breaker allows no attempt. Afterwards single attempts probe the host.
const (
	breakAfter = 5
	breakFor   = 10 * time.Second
)

// hosts limits the attempts at each host and holds the breakers. Each process has limits
// and breakers of its own.
type hosts struct {
	near time.Duration // a job brings back a webhook that is put off for less, Due brings the others
	mu   sync.Mutex
	m    map[string]*host
	full int // the number of hosts at which some are forgotten
}

// newHosts knows no host yet.
func newHosts(near time.Duration) *hosts {
	return &hosts{near: near, m: map[string]*host{}, full: manyHosts}
}

// A host has the slots and the breaker of one receiver.
type host struct {
	running int
	took    time.Duration // average of the latest attempts
	moved   time.Time     // when a slot was last taken or given back
	again   time.Time     // the latest near slot that is promised
	far     time.Time     // the latest far slot that is promised
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
}

const (
	tookAtFirst = 100 * time.Millisecond // assumed before the first answer
	turnedAway  = 100 * time.Millisecond // least wait for a slot
	farthest    = time.Hour              // longest wait for a slot; by then more is known
)

// Quiet hosts are forgotten when there are many hosts, and then some of the others. Clients
// can name any number of hosts, and a forgotten host costs a few attempts at most.
const (
	manyHosts = 1000
	quietFor  = time.Minute
)

var (
	errBusy   = errors.New("the host has as many concurrent attempts as it may have")
	errSilent = errors.New("the host does not answer")
)

// Reports to a breaker. The second one counts neither for nor against the host.
var (
	errNoAnswer = errors.New("no answer")
	errNotAsked = errors.New("the host was not asked")
)

// reportOf is the report to a breaker about an attempt; nil: the host is alive.
func reportOf(c webhook.Contact) error {
	switch c {
	case webhook.Answered:
		return nil
	case webhook.Silent:
		return errNoAnswer
	}
	return errNotAsked
}

// enter takes a slot at the host, which leave gives back. It does not wait: with errBusy or
// errSilent it returns when to come again. An urgent attempt passes an open breaker, and
// closes it if the host answers.
func (s *hosts) enter(name string, now time.Time, urgent bool) (leave func(c webhook.Contact, now time.Time), again time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.host(name, now)
	if h.running >= perHost {
		return nil, h.nextSlot(now, s.near), errBusy
	}
	if h.running < perHost/2 { // the host keeps up, so the promises are void
		h.again, h.far = time.Time{}, time.Time{}
	}

	report, err := h.breaker.Allow()
	switch {
	case err == nil:
	case urgent:
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
	return func(c webhook.Contact, end time.Time) {
		s.mu.Lock()
		defer s.mu.Unlock()
		report(reportOf(c))
		h.took += (end.Sub(now) - h.took) / 4
		h.moved = end
		h.running--
	}, time.Time{}, nil
}

// nextSlot promises a slot at a busy host. The slots follow each other as fast as the host
// has been answering. So a slow host gets few jobs, the queue stays free for other hosts,
// and no slot is empty for long. Near slots are promised first, because the webhook may be
// one whose far slot has come.
func (h *host) nextSlot(now time.Time, soon time.Duration) time.Time {
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

// host finds a host or adds it.
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

// newBreaker makes a closed breaker.
func newBreaker() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     breakFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNotAsked) },
	})
}

// forget drops hosts, and then lets their number double before it looks again.
func (s *hosts) forget(now time.Time) {
	s.m = kept(s.m, now, func(h *host) (int, time.Time) { return h.running, h.moved })
	s.full = max(manyHosts, 2*len(s.m))
}

// kept is what is still remembered of all: whatever has attempts under way, and some of what
// had one a moment ago. use returns the number of attempts under way, and when one last began
// or ended.
func kept[K comparable, V any](all map[K]V, now time.Time, use func(V) (running int, moved time.Time)) map[K]V {
	left, idle := map[K]V{}, 0
	for k, v := range all {
		switch running, moved := use(v); {
		case running > 0:
		case now.Sub(moved) < quietFor && idle < manyHosts/2:
			idle++
		default:
			continue
		}
		left[k] = v
	}
	return left
}

// A flight is one webhook of one task that is being served.
type flight struct{ task, hook string }

// flights are the webhooks that this process is serving, each in one pass at a time.
type flights struct {
	mu sync.Mutex
	m  map[flight]bool // true: another pass was turned away meanwhile
}

// begin reports whether the webhook is free, and takes it.
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

// end releases the webhook and reports whether another pass was turned away meanwhile.
func (s *flights) end(f flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.m[f]
	delete(s.m, f)
	return asked
}
