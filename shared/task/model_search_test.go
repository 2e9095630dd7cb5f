package task_test

import (
	"fmt"
	"hash/maphash"
	"strings"

	"errand/shared/task"
)

// A scenario is a small world with a budget of faults.
type scenario struct {
	name     string
	requests []request
	inline   int  // webhooks set by the first message
	asks     bool // the first turn ends with a question
	fails    bool // the executor may also fail
	speaks   bool // turns make an artifact, with progress before the end
	patient  bool // time may pass until a question or a turn reaches its age limit
	deaf     bool // the webhooks are the topic's only subscribers
	prompt   bool // no turn needs to wait for the end of a lease
	workers  int
	couriers int
	park     int32 // seconds that a throttled turn waits
	budget   budget
	rules    task.Rules
	remove   mechanism // removed mechanisms
	states   int       // bound on the number of states; 0: none

	// The full search adds these.
	later    []request
	also     budget
	overlaps int // couriers
}

// An explorer walks through the states of a world breadth first. step makes every step that
// is possible in a state, by calling move and emit.
type explorer[W comparable] struct {
	step func(W)
	seed maphash.Seed

	visited map[uint64]uint32
	parent  []uint32
	nth     []uint16
	off, to []uint32
	good    []bool

	out     []W      // results of the step being made
	labels  []string // only while a path is replayed
	telling bool
	moves   int // number of steps that are not faults
	bad     string
}

// A search explores a scenario.
type search struct {
	explorer[world]
	sc    scenario
	recs  []task.Record
	infos []info
	index map[string]uint32
	memo  map[opKey]opResult
}

// A result holds the findings of a search.
type result struct {
	states, records int
	bad             string
	path            []string
	cut             bool // the bound on states was reached
}

func explore(sc scenario) result {
	s := &search{
		sc: sc, index: map[string]uint32{}, memo: map[opKey]opResult{},
		recs: make([]task.Record, 1), infos: make([]info, 1),
	}
	s.step = s.steps
	res := s.explore(world{budget: sc.budget.all()}, sc.states)
	res.records = len(s.recs)
	return res
}

// explore looks for a violation in the states that can be reached from first. With states
// above 0, it stops after about so many.
func (s *explorer[W]) explore(first W, states int) (res result) {
	s.seed, s.visited = maphash.MakeSeed(), map[uint64]uint32{}
	frontier := []W{first}
	s.visited[maphash.Comparable(s.seed, first)] = 0
	s.parent, s.nth = []uint32{0}, []uint16{0}

	for id := 0; len(frontier) > 0; {
		var later []W
		for _, w := range frontier {
			s.off = append(s.off, uint32(len(s.to)))
			s.all(w)

			if s.bad != "" {
				res.bad, res.path = s.bad, s.tell(first, uint32(id), len(s.out))
				res.states = len(s.parent)
				return res
			}

			s.good = append(s.good, s.moves == 0)
			for n, next := range s.out {
				h := maphash.Comparable(s.seed, next)
				to, ok := s.visited[h]
				if !ok {
					to = uint32(len(s.parent))
					s.visited[h] = to
					s.parent, s.nth = append(s.parent, uint32(id)), append(s.nth, uint16(n))
					later = append(later, next)
				}

				s.to = append(s.to, to)
			}

			id++
		}

		frontier = later
		if states > 0 && len(s.parent) > states {
			res.cut = true
			break
		}
	}

	res.states = len(s.parent)
	if stuck, ok := s.stuck(); ok && !res.cut {
		res.bad, res.path = "no good end can be reached", s.tell(first, stuck, -1)
	}

	return res
}

// all makes every step that is possible in w.
func (s *explorer[W]) all(w W) {
	s.out, s.labels, s.moves = s.out[:0], s.labels[:0], 0
	s.step(w)
}

// stuck finds a state from which no good end can be reached.
func (s *explorer[W]) stuck() (uint32, bool) {
	n := len(s.off)
	s.off = append(s.off, uint32(len(s.to)))
	start := make([]uint32, len(s.parent)+1)
	for _, to := range s.to {
		start[to+1]++
	}

	for i := 1; i < len(start); i++ {
		start[i] += start[i-1]
	}

	from, fill := make([]uint32, len(s.to)), append([]uint32(nil), start...)
	var queue []uint32

	for id := range n {
		for _, to := range s.to[s.off[id]:s.off[id+1]] {
			from[fill[to]] = uint32(id)
			fill[to]++
		}

		if s.good[id] {
			queue = append(queue, uint32(id))
		}
	}

	for len(queue) > 0 {
		id := queue[len(queue)-1]
		queue = queue[:len(queue)-1]

		for _, p := range from[start[id]:start[id+1]] {
			if !s.good[p] {
				s.good[p] = true
				queue = append(queue, p)
			}
		}
	}

	for id := range n {
		if !s.good[id] {
			return uint32(id), true
		}
	}

	return 0, false
}

// tell replays the path to a state, and the nth step from there.
func (s *explorer[W]) tell(first W, id uint32, last int) []string {
	var way []uint16
	for ; id != 0; id = s.parent[id] {
		way = append(way, s.nth[id])
	}
	var path []string
	s.telling = true
	w := first
	for i := len(way) - 1; i >= 0; i-- {
		s.bad = ""
		s.all(w)
		path, w = append(path, s.labels[way[i]]), s.out[way[i]]
	}
	if last >= 0 {
		s.all(w)
		if last < len(s.labels) {
			path = append(path, s.labels[last])
		}
	}
	s.telling = false
	return path
}

// steps makes every step that is possible in w. A violation ends the search early.
func (s *search) steps(w world) {
	for i := range s.sc.requests {
		s.front(w, i)
	}
	for i := range s.sc.workers {
		s.work(w, i)
	}
	for i := range s.sc.couriers {
		s.courier(w, i)
	}
	s.events(w)
	s.sweep(w)
	s.outsideFaults(w)
	if s.moves == 0 && s.bad == "" {
		s.tick(w)
	}
	if s.moves == 0 && s.bad == "" {
		s.promise(w)
	}
}

// move adds a step of the protocol, made by the nth process of its kind.
func (s *explorer[W]) move(w W, n int, label string) {
	s.moves++
	s.emit(w, n, label)
}

// fault adds a step that spends from a budget.
func (s *search) fault(w world, which, n int, label string) {
	w.budget[which]--
	s.emit(w, n, label)
}

func (s *explorer[W]) emit(w W, n int, label string) {
	if s.telling && len(s.labels) == len(s.out) {
		s.labels = append(s.labels, fmt.Sprintf("%s (%d)", label, n+1))
	}
	if s.bad == "" {
		s.out = append(s.out, w)
	}
}

func (s *explorer[W]) violation(format string, args ...any) {
	if s.bad == "" {
		s.bad = fmt.Sprintf(format, args...)
	}
}

func (r result) report() string {
	return fmt.Sprintf("%s, after %d steps:\n  %s", r.bad, len(r.path), strings.Join(r.path, "\n  "))
}
