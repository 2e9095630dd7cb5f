package executor_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/adapters/standin"
	"errand/shared/lab/scripts"
	"errand/worker/tools"
)

// A run decides to make a call again while its receiver still knows the key, but the commit
// of that takes so long that the attempt could end later. It is not made: a person is asked.
func TestNoCallBeginsWithAnOldKey(t *testing.T) {
	s := newSite(t)
	var attempts atomic.Int32
	charge := tools.New("charge", "Charges.", func(context.Context, struct{}) (string, error) {
		attempts.Add(1)
		return "charged", s.point()
	}, tools.Effects(), tools.KeepsKeys(5*time.Minute), tools.TimeLimit(2*time.Minute))
	replies := scripts.New(standin.Call(call("charge", map[string]any{})), standin.Text("Done."))
	s.setup = setup{model: scripted(t, replies), tools: []tools.Tool{charge}}

	var processes atomic.Int32
	s.at = func(n int) {
		if n == 1 {
			processes.Add(1)
		}
		if processes.Load() == 3 && n == 3 { // claimed; the commit that the call begins is under way
			s.mu.Lock()
			s.now = s.now.Add(time.Minute)
			s.mu.Unlock()
		}
	}

	const made = 5 // after the commits of the claim and of the step
	r := s.until(s.send("m1", "Charge.", "").ID(), made)
	if !r.Interrupted() || r.Step == nil || r.Step.Asked == nil || attempts.Load() != 1 {
		t.Errorf("%s, %+v after %d attempts in %d processes", r.State(), r.Step, attempts.Load(), processes.Load())
	}
	if r.Step != nil && r.Step.Calls[0].Times != 3 {
		t.Errorf("%d commits that the call begins, want 3", r.Step.Calls[0].Times)
	}
}
