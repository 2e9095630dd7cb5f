package notify

import (
	"errors"
	"testing"
	"time"
)

// Crowds at a host that hangs do not push its next free moment out of reach: when
// it answers again, whoever comes then is not told to wait for hours.
func TestCrowdedHostIsSoonFree(t *testing.T) {
	var s hosts
	now := time.Now()
	var leaves []func(error, time.Time)
	enter := func() error {
		leave, _, err := s.enter("h", now, false)
		if err == nil {
			leaves = append(leaves, leave)
		}
		return err
	}
	for range perHost {
		if err := enter(); err != nil {
			t.Fatal("a free slot was refused:", err)
		}
	}
	now = now.Add(attemptFor)
	for range 100_000 {
		if err := enter(); !errors.Is(err, errBusy) {
			t.Fatal("a ninth slot was given:", err)
		}
	}
	for i := range perHost {
		leaves[i](nil, now)
		if err := enter(); err != nil {
			t.Fatal("a slot that was given back was refused:", err)
		}
	}
	_, again, _ := s.enter("h", now, false)
	if wait := again.Sub(now); wait > nearBy+attemptFor {
		t.Errorf("told to come back after %v", wait)
	}
}
