package task_test

import (
	"maps"
	"testing"
	"time"

	"errand/shared/lab/conformance"
	"errand/shared/task"
)

// mechanism is a set of parts of the protocol.
type mechanism uint32

func (m mechanism) has(part mechanism) bool { return m&part != 0 }

// Parts of the protocol that a scenario can remove.
const (
	noSweep mechanism = 1 << iota
	derivedID
	fencing
	epoch
	terminalGuard
	publishFirst
	noCursor
	busOrder
	jobFirst
	leaseCheck
	noSeen
	finishMemory
	claimMemory
	cancelMemory
	generation
	frontDebt
	inboxCheck
	asking
	takeover
	attempts
	lastLook
	reading
	noNewNotification
	noRevived
	idsStay
	deaths
	blame
	apart
	holdsLeased
)

type budget map[int]uint8

// and adds another budget.
func (b budget) and(more budget) budget {
	all := budget{}
	maps.Copy(all, b)
	for which, n := range more {
		all[which] += n
	}
	return all
}

func (b budget) all() (out [faults]uint8) {
	for k, v := range b {
		out[k] = v
	}
	return out
}

var (
	send   = request{do: sends}
	cancel = request{do: cancels}
	del    = request{do: deletes}
)

// followUp is a further message, sent when the client is asked or at another time.
func followUp(msg, when uint8) request { return request{do: follows, arg: msg, when: when} }

// small are rules under which a poisonous turn ends soon.
func small() task.Rules {
	ru := task.Defaults()
	ru.Attempts, ru.Parks = 3, ru.Parks[:2]
	return ru
}

func (sc scenario) ready() scenario {
	if sc.rules.Attempts == 0 {
		sc.rules = task.Defaults()
	}
	if conformance.Long(false, false, true) { // the full search
		sc.requests = append(sc.requests[:len(sc.requests):len(sc.requests)], sc.later...)
		sc.couriers += sc.overlaps
		sc.budget = sc.budget.and(sc.also)
	}
	return sc
}

func TestProtocolHolds(t *testing.T) {
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			wantLawful(t, func() result { return explore(sc.ready()) })
		})
	}
}

// wantLawful explores a world, and fails if a law is broken in it.
func wantLawful(t *testing.T, explore func() result) {
	t.Helper()
	began := time.Now()
	res := explore()
	if res.bad != "" {
		t.Fatal(res.report())
	}
	t.Logf("%d states, %d records, %s", res.states, res.records, time.Since(began).Round(time.Millisecond))
}
