package notify

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"errand/shared/share"
	"errand/shared/webhook"
)

// Limits of concurrent attempts of one owner alone: at one host, and at all hosts. All owners
// together have twice as many as one (R18).
const (
	perHost  = 8
	perOwner = 256
)

// The breaker of an owner's host opens after this many attempts in a row without any answer.
// An error status does not count, because it is cheap and may concern a single path. An open
// breaker allows no attempt. Afterwards single attempts probe the host. Each owner has a
// breaker of its own: a path that hangs may belong to one owner, and the host to many.
const (
	breakAfter = 5
	breakFor   = 10 * time.Second
)

// hosts limits the attempts at each host and of each owner, and holds the breakers. Each
// process has limits and breakers of its own.
//
// Many owners may have receivers at one host. So they share its slots, and an owner whose
// attempts there are slow or without answers delays only itself.
type hosts struct {
	near   time.Duration // a job brings back a webhook that is put off for less, Due brings the others
	slots  *share.Pool   // of all attempts
	mu     sync.Mutex
	m      map[origin]*host
	full   int              // the number of hosts at which some are forgotten
	owners map[string]*pace // of owners with attempts under way
	shared map[string]*room // of hosts with attempts under way
}

// newHosts knows no host yet.
func newHosts(near time.Duration) *hosts {
	return &hosts{near: near, slots: share.NewPool(2 * perOwner), m: map[origin]*host{}, full: manyHosts, owners: map[string]*pace{}, shared: map[string]*room{}}
}

// A room is the slots at one host, which owners share.
type room struct {
	*share.Pool
	running int
}

// A host has the pace and the breaker of one receiver as one owner sees it.
type host struct {
	pace
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
}

// A pace is how fast slots become free at a host, or for an owner.
type pace struct {
	running int
	took    time.Duration // average of the latest attempts
	moved   time.Time     // when a slot was last taken or given back
	again   time.Time     // the latest near slot that is promised
	far     time.Time     // the latest far slot that is promised
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
	errMany   = errors.New("the owner has as many concurrent attempts as it may have")
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

// enter takes a slot of the owner's share and one at the host, which leave gives back. It
// does not wait: with errMany, errBusy or errSilent it returns when to come again. An urgent
// attempt passes an open breaker, and closes it if the host answers.
func (s *hosts) enter(o origin, now time.Time, urgent bool) (leave func(c webhook.Contact, now time.Time), again time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.owners[o.owner]
	if own == nil {
		own = &pace{took: tookAtFirst, moved: now}
	}
	if s.slots.Take(o.owner, 1) != nil {
		return nil, own.nextSlot(now, s.near, perOwner), errMany
	}
	if own.running < perOwner/2 { // there are slots, so the promises are void
		own.again, own.far = time.Time{}, time.Time{}
	}

	h, at := s.host(o, now), s.shared[o.host]
	if at == nil {
		at = &room{Pool: share.NewPool(2 * perHost)}
	}
	report, again, err := h.enter(at, o.owner, now, s.near, urgent)
	if err != nil {
		s.slots.Release(o.owner, 1)
		return nil, again, err
	}

	h.begin(now)
	own.begin(now)
	at.running++
	s.owners[o.owner], s.shared[o.host] = own, at
	return func(c webhook.Contact, end time.Time) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.slots.Release(o.owner, 1)
		at.Release(o.owner, 1)
		report(reportOf(c))
		h.end(now, end)

		if own.end(now, end); own.running == 0 {
			delete(s.owners, o.owner)
		}
		if at.running--; at.running == 0 {
			delete(s.shared, o.host)
		}
	}, time.Time{}, nil
}

// enter takes one of the host's slots, and asks the breaker. With errBusy or errSilent it
// takes none, and returns when to come again.
func (h *host) enter(at *room, owner string, now time.Time, near time.Duration, urgent bool) (report func(error), again time.Time, err error) {
	if h.running >= perHost || at.Take(owner, 1) != nil { // the owner "" has no share in a pool
		return nil, h.nextSlot(now, near, max(h.running, 1)), errBusy
	}
	if h.running < perHost/2 { // the host keeps up, so the promises are void
		h.again, h.far = time.Time{}, time.Time{}
	}

	report, err = h.breaker.Allow()
	switch {
	case err == nil:
		return report, time.Time{}, nil
	case !urgent:
		at.Release(owner, 1)
		return nil, now.Add(breakFor), errSilent
	}
	return func(result error) {
		if result == nil {
			h.breaker = newBreaker()
		}
	}, time.Time{}, nil
}

// begin counts an attempt that begins.
func (p *pace) begin(now time.Time) {
	p.running++
	p.moved = now
}

// end counts the end of an attempt.
func (p *pace) end(began, now time.Time) {
	p.took += (now.Sub(began) - p.took) / 4
	p.moved = now
	p.running--
}

// nextSlot promises one of the slots, all of which are taken. They follow each other as fast
// as attempts have been ending. So a slow host gets few jobs, the queue stays free for other
// hosts, and no slot is empty for long. Near slots are promised first, because the webhook
// may be one whose far slot has come.
func (p *pace) nextSlot(now time.Time, soon time.Duration, slots int) time.Time {
	step := max(p.took, now.Sub(p.moved)) / time.Duration(slots)

	if soonest := now.Add(turnedAway); p.again.Before(soonest) {
		p.again = soonest
	}
	if near := now.Add(soon); p.again.Before(near) {
		p.again = p.again.Add(step)
		return p.again
	} else if p.far.Before(near) {
		p.far = near
	}

	if last := now.Add(farthest); p.far.After(last) {
		return last.Add(rand.N(farthest / 5))
	}
	p.far = p.far.Add(step)
	return p.far
}

// host finds a host or adds it.
func (s *hosts) host(o origin, now time.Time) *host {
	if h := s.m[o]; h != nil {
		return h
	}
	if len(s.m) >= s.full {
		s.forget(now)
	}
	h := &host{pace: pace{took: tookAtFirst, moved: now}, breaker: newBreaker()}
	s.m[o] = h
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

// kept returns the entries to remember: those with attempts under way, and some of those that
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
