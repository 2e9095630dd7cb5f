package notify

import (
	"errors"
	"sync"
	"time"
)

// slowly is the time between two attempts at an origin that is new for an owner. Only one
// attempt is made at a time. The owner may name the origin of a stranger, who then gets few
// requests. The origin is known after its first 2xx, and then has the limits of its host.
const slowly = time.Second

var errNew = errors.New("the origin has not yet taken a webhook of this owner, and gets one attempt a second")

// An origin is a receiver's host as one owner sees it.
type origin struct{ owner, host string }

// origins are the origins to which webhooks were sent. Each process has its own. The store
// knows nothing of them, so after a start every origin is new, until its first 2xx.
type origins struct {
	mu   sync.Mutex
	m    map[origin]*seen
	full int // the number of origins at which some are forgotten
}

// seen is what is known of an origin.
type seen struct {
	known   bool // it has answered 2xx
	running int
	next    time.Time // no attempt begins before, unless the origin is known
	since   time.Time // when the process first saw it
	moved   time.Time // when an attempt last began or ended
}

// newOrigins knows no origin yet.
func newOrigins() *origins { return &origins{m: map[origin]*seen{}, full: manyHosts} }

// enter lets an attempt begin, which leave ends. It does not wait: with errNew it returns
// when to come again.
func (s *origins) enter(o origin, now time.Time) (leave func(taken, asked bool, end time.Time), again time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(o, now)
	if !a.known {
		if a.running > 0 || now.Before(a.next) {
			return nil, now.Add(slowly), errNew
		}
		a.next = now.Add(slowly)
	}

	a.running++
	a.moved = now
	return func(taken, asked bool, end time.Time) {
		s.mu.Lock()
		defer s.mu.Unlock()
		a.running--
		a.moved = end
		a.known = a.known || taken
		if !asked { // nothing was sent, so the next attempt need not wait
			a.next = end
		}
	}, time.Time{}, nil
}

// since returns when the process first saw an origin. Nothing has waited for it before.
func (s *origins) since(o origin, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(o, now).since
}

// find finds an origin or adds it.
func (s *origins) find(o origin, now time.Time) *seen {
	if a := s.m[o]; a != nil {
		return a
	}
	if len(s.m) >= s.full {
		s.forget(now)
	}
	a := &seen{since: now, moved: now}
	s.m[o] = a
	return a
}

// forget drops origins, as hosts are dropped, and then lets their number double before it
// looks again. An origin that is forgotten starts slowly once more.
func (s *origins) forget(now time.Time) {
	s.m = kept(s.m, now, func(a *seen) (int, time.Time) { return a.running, a.moved })
	s.full = max(manyHosts, 2*len(s.m))
}
