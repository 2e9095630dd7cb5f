package main_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/shared/lab/conformance"
)

// A planned kill happens at the first point that is not before its own.
type planned struct {
	point point
	after time.Duration // from a point from which the program goes on
}

// plan spreads kills over the steps of a turn but the last two, and over the kinds of points.
func plan(kills, steps int) (all []planned) {
	kinds := []kind{askBegins, askHalf, askEnds, callBegins, callDone, callEnds, askHalf, callBegins, callDone, callEnds}
	for k := range kills {
		p := point{step: 1 + k*(steps-2)/kills, kind: kinds[k%len(kinds)]}
		all = append(all, planned{p, time.Duration(rand.IntN(20)) * time.Millisecond})
	}
	slices.SortFunc(all, func(a, b planned) int { return order(a.point, b.point) })
	return all
}

func order(a, b point) int {
	return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.kind, b.kind))
}

// mostKills is how often a turn may die here without progress. After the third time it waits
// for 10 s, and after five it fails (R12).
const mostKills = 3

// An executioner says at which points the program dies.
type executioner struct {
	mu     sync.Mutex
	plan   []planned
	armed  bool               // the program lives, and no kill is due
	due    chan time.Duration // when it must die from now
	opened int                // the newest step that is known to be stored
	since  int                // kills since then
	carry  int                // kills that may have come after the next step is stored
}

// at implements the field of shop. A program that must die soon gets no further step.
func (e *executioner) at(_ string, p point) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	opened := p.step
	if p.call == 0 {
		opened--
	}
	if opened > e.opened {
		e.opened, e.since, e.carry = opened, e.carry, 0
	}

	switch {
	case !e.armed:
		return p.kind == askBegins
	case len(e.plan) == 0, e.since == mostKills, order(p, e.plan[0].point) < 0:
		return false
	}
	after := e.plan[0].after
	e.plan, e.armed = e.plan[1:], false
	e.since++
	if p.kind == askEnds {
		e.carry = 1
	}
	if p.kind.ends() {
		e.due <- after
		return false
	}
	e.due <- 0
	return true
}

func (e *executioner) arm() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.armed = true
}

// TestLongTurnIsPaidOnce kills the program up to 100 times under a turn of 40 replies, or 5 times
// under one of 8. The turn goes on where it was: the model gets no more requests than there
// are replies and kills, every call is made, and one with effects has them once. The task
// tells what it cost, and how many replies may have been paid for nothing.
func TestLongTurnIsPaidOnce(t *testing.T) {
	t.Parallel()
	replies, kills := conformance.Size(8, 40), conformance.Long(5, 40, 100)
	s := newShop(t)
	s.calls = func(turn, _ string, step, try int) []*genai.FunctionCall {
		switch {
		case step == replies:
			return nil
		case step%2 == 0:
			return []*genai.FunctionCall{orderCall("look", turn, name("L", step), try)}
		}
		return []*genai.FunctionCall{orderCall("look", turn, name("L", step), try), orderCall("refund", turn, name("R", step), try)}
	}
	e := &executioner{plan: plan(kills, replies), armed: true, due: make(chan time.Duration, 1)}
	s.at = e.at

	p := start(t, s.env()...)
	id := mustSend(t, p.client(), immediately(userText("m", "Long turn"))).ID
	for n := range kills {
		select {
		case after := <-e.due:
			time.Sleep(after) // the moment of the crash
		case <-time.After(2 * patience):
			t.Fatalf("the turn stands still after %d kills", n)
		}
		p.kill()
		e.arm()
		p.start()
	}

	task := untilWithin(t, 2*patience, p.client(), id, "terminal", terminal)
	if task.Status.State != a2a.TaskStateCompleted || text(task) != "All is done." {
		t.Errorf("the task is %s and says %q: %+v", task.Status.State, text(task), task.Status.Message)
	}
	for step := 1; step < replies; step++ {
		checkStep(t, s, step)
	}
	checkPaid(t, s, task, replies, kills)
}

// checkStep checks that the calls of a step were made.
func checkStep(t *testing.T, s *shop, step int) {
	t.Helper()
	if step%2 == 1 && s.times("Long", name("R", step)) != 1 {
		t.Errorf("step %d refunds %d times, want once", step, s.times("Long", name("R", step)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.made, func(d deed) bool { return d.Order.Order == "Long-"+name("L", step) }) {
		t.Errorf("step %d does not look", step)
	}
}

// checkPaid compares the requests that the model got, each of which may have to be paid, with
// what the task tells.
func checkPaid(t *testing.T, s *shop, task *a2a.Task, replies, kills int) {
	t.Helper()
	paid := 0
	s.mu.Lock()
	for _, times := range s.asks["Long"] {
		paid += times
	}
	s.mu.Unlock()
	if paid < replies || paid > replies+kills {
		t.Errorf("the model got %d requests, want %d to %d", paid, replies, replies+kills)
	}

	known, unknown := used(t, task, "steps"), used(t, task, "unknown")
	if known != replies {
		t.Errorf("the cost of %d replies is known, want %d", known, replies)
	}
	if paid > known+unknown || unknown > kills {
		t.Errorf("the cost of %d replies is unknown: the model got %d requests, %d are known, and the program died %d times", unknown, paid, known, kills)
	}

	prompt := 0
	for step := range replies {
		prompt += int(promptOf(step + 1))
	}
	if got := used(t, task, "prompt"); got != prompt {
		t.Errorf("the replies read %d tokens, want %d", got, prompt)
	}
	if got := used(t, task, "output"); got != replies*outputOf {
		t.Errorf("the replies have %d tokens, want %d", got, replies*outputOf)
	}
	t.Logf("%d requests for %d replies, %d kills, %d unknown", paid, replies, kills, unknown)
}

// name is the name of an order.
func name(kind string, step int) string { return fmt.Sprint(kind, step) }
