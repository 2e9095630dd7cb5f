package notify

import (
	"testing"
	"time"
)

// Crowds at a host that hangs do not push its next free moment out of reach: when
// it answers again, whoever comes then is not told to wait for hours.
func TestCrowdedHostIsSoonFree(t *testing.T) {
	var s hosts
	now := time.Now()
	for range perHost {
		if _, ok := s.enter("h", now); !ok {
			t.Fatal("a free slot was refused")
		}
	}
	now = now.Add(attemptFor)
	for range 100_000 {
		if _, ok := s.enter("h", now); ok {
			t.Fatal("a ninth slot was given")
		}
	}
	for range perHost {
		s.leave("h", now, now)
		if _, ok := s.enter("h", now); !ok {
			t.Fatal("a slot that was given back was refused")
		}
	}
	again, _ := s.enter("h", now)
	if wait := again.Sub(now); wait > nearBy+attemptFor {
		t.Errorf("told to come back after %v", wait)
	}
}
