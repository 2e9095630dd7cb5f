package task_test

import (
	"strings"
	"testing"
	"time"
)

// A stepRemoval leaves a part of the protocol of steps out. The search must then find the
// violation that the part prevents.
type stepRemoval struct {
	stepCase
	want string // part of the violation's text
}

func stepRemovals() []stepRemoval {
	mails := func(name string, without gap, b budget) stepCase {
		return stepCase{name: name, script: mailOnly, answers: askWhat, without: without, budget: b}
	}
	pays := func(name string, without gap, b budget) stepCase {
		return stepCase{name: name, script: [][]uint8{{pay}}, answers: []string{saysLeave}, without: without, budget: b}
	}
	old := func(sc stepCase) stepCase {
		sc.keeps = 5 * time.Minute
		return sc
	}

	return []stepRemoval{
		{mails("the epoch of an opened step", stepEpoch, budget{stolen: 1}), "two attempts at mail run at once"},
		{pays("the stored reply", storedReply, budget{killed: 1, delayed: 2}), "pay has two keys"},
		{mails("the commit that says that a call begins", beginCommit, budget{killed: 1, delayed: 1}), "no person said so"},
		{pays("the five seconds of a begin", fiveSeconds, budget{delayed: 2, stolen: 1}), "two attempts at pay run at once"},
		{mails("the five seconds of a begin, and a cancel", fiveSeconds, budget{canceled: 1, delayed: 1}), "after the cancel was answered"},
		{pays("the first result counts", firstResult, budget{overtime: 1, delayed: 2}), "a stored result was replaced"},
		{pays("a run goes on with what is stored", storedFirst, budget{stolen: 1, delayed: 2}), "another result of pay than the stored one"},
		{pays("the wait for the time limit, with keys", limitWait, budget{killed: 1}), "two attempts at pay run at once"},
		{mails("the wait for the time limit, without keys", limitWait, budget{killed: 1}), "which may still run or begin"},
		{mails("the second look for a result", readAgain, budget{overtime: 1, delayed: 2}), "stored when it was looked for"},
		{old(pays("the age of keys", keyAge, budget{killed: 1, delayed: 2})), "may have forgotten the key"},
		{old(pays("the age of keys at a late commit", lateCommit, budget{killed: 1, delayed: 2})), "may have forgotten the key"},
		{mails("the question of an answer", boundAnswer, budget{killed: 1, early: 1}), "no person said so"},
		{mails("a word that came early", keptWord, budget{postponed: 1, word: 1}), "waits although a word came"},
		{mails("the wait of a cancel", cancelWait, budget{canceled: 1}), "after the cancel was answered"},
	}
}

func TestEveryPartOfStepsIsNeeded(t *testing.T) {
	for _, r := range stepRemovals() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			res := exploreSteps(r.stepCase)
			switch {
			case res.bad == "":
				t.Fatalf("nothing breaks in %d states", res.states)
			case !strings.Contains(res.bad, r.want):
				t.Fatalf("want %q, found %s", r.want, res.report())
			}
			t.Logf("%d states, %s: %d steps to %q", res.states, time.Since(began).Round(time.Millisecond), len(res.path), res.bad)
		})
	}
}
