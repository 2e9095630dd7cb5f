package task_test

import (
	"strings"
	"testing"
	"time"
)

// A removal takes a mechanism away. The search must then find the violation that the
// mechanism prevents.
type removal struct {
	scenario
	want string // part of the violation's text; empty: nothing breaks
}

func removals() []removal {
	answer, meanwhile := followUp(2, whenAsked), followUp(2, anytime)
	redriven := request{do: redrivesWebhook, arg: 1, when: whenAsked}
	plain := func(name string, remove mechanism, b budget, requests ...request) scenario {
		return scenario{
			name: name, remove: remove, budget: b, requests: append([]request{send}, requests...), workers: 2,
		}
	}

	hooked := func(sc scenario, n int) scenario {
		sc.inline, sc.couriers = n, 1
		return sc
	}

	deaf := func(sc scenario) scenario {
		sc.deaf = true
		return sc
	}

	answering := func(sc scenario) scenario {
		sc.asks = true
		return sc
	}

	speaking := func(sc scenario) scenario {
		sc.speaks = true
		return sc
	}

	prompt := func(sc scenario) scenario {
		sc.prompt = true
		return sc
	}

	return []removal{
		{deaf(hooked(plain("x1 no sweep", noSweep, budget{outage: 1}, cancel), 1)), "behind for ever"},
		{plain("x2 no sweep, reliable queue", noSweep, budget{crash: 1}), "never answered"},
		{plain("x3 no derived id", derivedID, budget{crash: 1}, send), "one message has 2 tasks"},
		{answering(plain("x4 no fencing", fencing, budget{expire: 1}, answer)), "the result of turn 1 ended turn 2"},
		{plain("x4 no fencing, one turn", fencing, budget{expire: 1}, cancel), ""},
		{speaking(plain("x4 no epoch, one turn that speaks", epoch, budget{expire: 1})), "mixes attempts"},
		{plain("x5 no fencing, no terminal guard", fencing|terminalGuard, nil, cancel), "ended task was changed"},
		{hooked(plain("x6 acknowledge before publishing", publishFirst, budget{crash: 1}), 1), "topic never got"},
		{deaf(hooked(plain("x6 the same, with webhooks as the only observers", publishFirst, budget{crash: 1}), 1)), ""},
		{deaf(hooked(plain("x7 the same, no cursor", publishFirst|noCursor, budget{crash: 1}), 1)), "behind for ever"},
		{hooked(plain("C no cursor, reliable ordered bus", noCursor, budget{crash: 1}, cancel), 1), ""},
		{hooked(plain("x8 no cursor, bus loss", noCursor, budget{busLoss: 1}), 1), "behind for ever"},
		{hooked(plain("x9 no cursor, queue loss", noCursor, budget{queueLoss: 1, crash: 1}), 1), "behind for ever"},
		{hooked(speaking(plain("x10 no cursor, unordered bus", noCursor|busOrder, nil)), 1), "out of order"},
		{plain("x11 the worker creates", jobFirst, budget{queueLoss: 1}), "accepted message is lost"},
		{plain("x12 no lease check", leaseCheck, budget{duplicate: 1}), "stolen under a live lease"},
		{plain("messages not remembered", noSeen, nil, meanwhile, meanwhile), "answered twice"},
		{plain("an end does not recognise itself", finishMemory, budget{lost: 1}, meanwhile), "the result of turn 1 ended turn 2"},
		{prompt(plain("a claim does not recognise itself", claimMemory, budget{lost: 1})), "waits for the end of a lease"},
		{plain("a cancel does not recognise itself", cancelMemory, budget{lost: 1}, cancel), "contradicts"},
		{hooked(answering(plain("generations not compared", generation, nil, request{do: replacesWebhook, arg: 1, when: whenAsked})), 1),
			"has not taken"},
		{hooked(answering(plain("generations not compared, re-driven", generation, nil, redriven)), 1),
			"has not taken"},
		{plain("front door's notifications are no debt", frontDebt, budget{crash: 1}, cancel), "topic never got"},
		{plain("inbox not checked", inboxCheck, nil, meanwhile), "still has messages"},
		{plain("sweep does not record its request", asking, budget{crash: 1}), "jobs pile up"},
		{prompt(plain("no takeover", takeover, budget{crash: 1})), "waits for the end of a lease"},
		{plain("attempts not counted", attempts, budget{poison: 7}), "again and again"},
		{plain("no blame", blame, budget{poison: 7}), "again and again"},
		{plain("turns never alone", apart, budget{poison: 7}), "again and again"},
		{speaking(plain("a hold of a turn that is leased", holdsLeased, budget{gated: 1, expire: 1})), "never wrote"},
		{plain("deaths not told from errors", deaths, budget{crash: 5, minute: 1}), "innocent"},
		{hooked(plain("webhooks not read before each attempt", reading, nil, request{do: dropsWebhook, arg: 1}), 1), "after the delete had returned"},
		{plain("no sweep, which a cancel does not need", noSweep, nil, cancel), ""},
		{plain("a cancel's notification missing among the new debts", noSweep|noNewNotification, nil, cancel), "topic never got"},
		{hooked(answering(plain("no sweep, which a re-drive does not need", noSweep, budget{gone: 1}, redriven)), 1), ""},
		{hooked(answering(plain("a revived webhook missing among the new debts", noSweep|noRevived, budget{gone: 1}, redriven)), 1),
			"behind for ever"},
		{scenario{name: "a deletion leaves no ids", remove: idsStay, requests: []request{send, del, send}}, "one message has 2 tasks"},
		{plain("no last look", lastLook, budget{expire: 1, crash: 1}), "topic never got"},
	}
}

func TestEveryMechanismIsNeeded(t *testing.T) {
	for _, r := range removals() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			sc := r.scenario.ready()
			sc.states = 0
			res := explore(sc)
			switch {
			case r.want == "" && res.bad != "":
				t.Fatal(res.report())
			case res.bad == "" && r.want != "":
				t.Fatalf("nothing breaks in %d states", res.states)
			case !strings.Contains(res.bad, r.want):
				t.Fatalf("want %q, found %s", r.want, res.report())
			}
			t.Logf("%d states, %s: %d steps to %q", res.states, time.Since(began).Round(time.Millisecond), len(res.path), res.bad)
		})
	}
}
