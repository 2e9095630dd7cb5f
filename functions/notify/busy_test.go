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

// An owner whose attempts at a host are slow, or without answers, takes no other owner's
// slots there, opens no breaker of another owner, and is promised its own slots only. All
// owners together have fewer than twice as many slots as one.
func TestOwnersShareAHost(t *testing.T) {
	s := newHosts(time.Minute)
	now := time.Now()
	enter := func(owner string) (leave func(webhook.Contact, time.Time), again time.Time, err error) {
		return s.enter(origin{owner, "h"}, now, false)
	}
	fill := func(owner string) (leaves []func(webhook.Contact, time.Time)) {
		for {
			leave, _, err := enter(owner)
			if err != nil {
				return leaves
			}
			leaves = append(leaves, leave)
		}
	}

	slow := fill("slow")
	for range 10_000 {
		if _, _, err := enter("slow"); !errors.Is(err, errBusy) {
			t.Fatal("a ninth slot was given:", err)
		}
	}
	next, third := fill("next"), fill("third")
	if len(slow) != perHost || len(next) != perHost/2 || len(third) != perHost/4 {
		t.Errorf("three owners got %d, %d and %d slots, want %d, %d and %d", len(slow), len(next), len(third), perHost, perHost/2, perHost/4)
	}
	if _, again, err := enter("next"); !errors.Is(err, errBusy) || again.Sub(now) > time.Second {
		t.Errorf("an owner that waits for one slot of its own: %v, again after %v", err, again.Sub(now))
	}

	for _, leave := range slow {
		leave(webhook.Silent, now)
	}
	if _, _, err := enter("slow"); !errors.Is(err, errSilent) {
		t.Errorf("the owner without answers: %v, want %v", err, errSilent)
	}
	for _, leave := range append(next, third...) {
		leave(webhook.Answered, now)
	}
	leave, _, err := enter("next")
	if err != nil {
		t.Fatal("another owner at the same host:", err)
	}
	leave(webhook.Answered, now)
	if len(s.shared) != 0 || s.slots.Held("slow") != 0 || s.slots.Held("next") != 0 {
		t.Errorf("after the end of all attempts: %d hosts, %d and %d slots", len(s.shared), s.slots.Held("slow"), s.slots.Held("next"))
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
		if s.m[origin{"me", "first"}] == nil {
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
