package notify

import (
	"errors"
	"reflect"
	"strconv"
	"testing"
	"time"

	"errand/shared/webhook"
)

// A crowd at a host that hangs does not move the next promised slot far away. When the host
// answers again, the next webhook does not wait for hours.
func TestCrowdedHostIsSoonFree(t *testing.T) {
	s := newHosts(time.Minute)
	now := time.Now()
	var leaves []func(webhook.Contact, time.Time)

	enter := func() error {
		leave, _, err := s.enter(origin{"me", "h"}, now, false)
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
		leaves[i](webhook.Answered, now)
		if err := enter(); err != nil {
			t.Fatal("a slot that was given back was refused:", err)
		}
	}

	_, again, _ := s.enter(origin{"me", "h"}, now, false)
	if wait := again.Sub(now); wait > farthest+farthest/5 {
		t.Errorf("told to come back after %v", wait)
	}
}

// Of a hundred thousand silent hosts, within a minute or within hours, few are remembered.
// A host with an attempt under way is never forgotten.
func TestHostsAreForgotten(t *testing.T) {
	for _, apart := range []time.Duration{0, 10 * time.Millisecond, time.Second} {
		s := newHosts(time.Minute)
		now := time.Now()
		leaveFirst, _, err := s.enter(origin{"me", "first"}, now, false)
		if err != nil {
			t.Fatal(err)
		}

		most := 0
		for i := range 100_000 {
			now = now.Add(apart)
			leave, _, err := s.enter(origin{strconv.Itoa(i), strconv.Itoa(i)}, now, false)
			if err != nil {
				t.Fatal(err)
			}

			leave(webhook.Silent, now)
			most = max(most, len(s.m))
		}

		if most > 2*manyHosts {
			t.Errorf("%v apart: %d hosts remembered, want %d at most", apart, most, 2*manyHosts)
		}
		if s.m["first"] == nil {
			t.Errorf("%v apart: a host at which an attempt is under way was forgotten", apart)
		}

		leaveFirst(webhook.Answered, now)
	}
}

// The memory grows with the attempts under way, and it is not searched for each new host.
func TestManyHostsUnderWay(t *testing.T) {
	s := newHosts(time.Minute)
	now := time.Now()
	passes := 0
	for i := range 2 * perOwner {
		before := reflect.ValueOf(s.m).Pointer()
		if _, _, err := s.enter(origin{strconv.Itoa(i), strconv.Itoa(i)}, now, false); err != nil {
			t.Fatal(err)
		}
		if reflect.ValueOf(s.m).Pointer() != before {
			passes++
		}
	}
	if len(s.m) != 2*perOwner || passes > 0 {
		t.Errorf("%d hosts remembered of %d under way, looked through %d times", len(s.m), 2*perOwner, passes)
	}
}

// Few of a hundred thousand origins are remembered, and none is forgotten during an attempt.
func TestOriginsAreForgotten(t *testing.T) {
	s := newOrigins()
	now := time.Now()
	first := origin{"me", "first"}
	leaveFirst, _, err := s.enter(first, now)
	if err != nil {
		t.Fatal(err)
	}

	most := 0
	for i := range 100_000 {
		now = now.Add(10 * time.Millisecond)
		leave, _, err := s.enter(origin{"me", strconv.Itoa(i)}, now)
		if err != nil {
			t.Fatal(err)
		}

		leave(false, true, now)
		most = max(most, len(s.m))
	}

	if most > 2*manyHosts || s.m[first] == nil {
		t.Errorf("%d origins remembered, want %d at most; the first one is there: %v", most, 2*manyHosts, s.m[first] != nil)
	}
	leaveFirst(true, true, now)
}

// An owner's attempts at many hosts leave half of the slots free, and are promised slots as
// fast as its attempts end. Another owner enters at once.
func TestOwnersShareAttempts(t *testing.T) {
	s := newHosts(time.Minute)
	now := time.Now()
	n := 0
	enter := func(owner string) (leave func(webhook.Contact, time.Time), again time.Time, err error) {
		n++
		return s.enter(origin{owner, strconv.Itoa(n)}, now, false)
	}

	var leaves []func(webhook.Contact, time.Time)
	for range perOwner {
		leave, _, err := enter("many")
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}

	now = now.Add(time.Second)
	var last time.Time
	for range 2 * perOwner {
		_, again, err := enter("many")
		if !errors.Is(err, errMany) || again.Before(last) {
			t.Fatalf("beyond the share: %v, come again in %v", err, again.Sub(now))
		}
		last = again
	}
	if wait := last.Sub(now); wait < time.Second || wait > 5*time.Second {
		t.Errorf("the last of two rounds of attempts, which take a second each, comes again after %v", wait)
	}

	for range perOwner / 2 {
		if _, _, err := enter("quiet"); err != nil {
			t.Fatal("another owner:", err)
		}
	}

	for _, leave := range leaves {
		leave(webhook.Answered, now)
	}
	if _, _, err := enter("many"); err != nil || len(s.owners) != 2 {
		t.Errorf("with free slots: %v; %d owners are remembered", err, len(s.owners))
	}
}
