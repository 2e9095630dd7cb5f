package notify

import (
	"sync"
	"time"
)

// perHost is how many attempts may be under way at one host.
const perHost = 8

// hosts counts the attempts under way at each host. It is what this process
// knows: several processes may each have as many.
type hosts struct {
	mu sync.Mutex
	m  map[string]*host
}

type host struct {
	running int
	took    time.Duration // an attempt lately, on average
	moved   time.Time     // when a slot was last taken or given back
	again   time.Time     // promised to the last one that was turned away
}

// What is assumed of a host before its first answer, and the least time before
// one that was turned away comes back.
const (
	tookAtFirst = 100 * time.Millisecond
	turnedAway  = 100 * time.Millisecond
)

// enter takes a slot at the host, or says when to come back. It does not wait.
// Those who are turned away are told to come one after the other, as fast as the
// host has been answering: a slow one gets few jobs, so that the queue stays free
// for the others.
func (s *hosts) enter(name string, now time.Time) (again time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]*host{}
	}
	h := s.m[name]
	if h == nil {
		h = &host{took: tookAtFirst}
		s.m[name] = h
	}
	if h.running < perHost {
		h.running++
		h.moved = now
		return time.Time{}, true
	}
	if soonest := now.Add(turnedAway); h.again.Before(soonest) {
		h.again = soonest
	}
	if h.again.Before(now.Add(nearBy)) { // the others come by Due
		h.again = h.again.Add(max(h.took, now.Sub(h.moved)) / perHost)
	}
	return h.again, false
}

// leave gives back the slot of an attempt that began then.
func (s *hosts) leave(name string, began, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.m[name]
	h.took += (now.Sub(began) - h.took) / 4
	h.moved = now
	if h.running--; h.running == 0 {
		delete(s.m, name)
	}
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
