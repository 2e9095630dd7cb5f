package task_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"errand/shared/task"
)

// A life is a turn whose workers die or end it in errors, one after another.
type life struct {
	t     *testing.T
	now   time.Time
	r     task.Record
	claim int
}

func newLife(t *testing.T) *life { return &life{t: t, now: start, r: accepted(t, "x")} }

func (l *life) moment() task.Moment { return task.Defaults().At(l.now) }

// begin claims the turn, after its waits. alone: nothing else runs in the worker's process.
func (l *life) begin(alone bool) task.Verdict {
	l.t.Helper()
	l.claim++
	for {
		next, v, _, err := l.r.Claim(l.moment(), task.Claim{Lease: task.Lease{
			Until: l.now.Add(time.Minute), Name: "job", Retry: l.claim, Nonce: fmt.Sprint(l.claim), Alone: alone,
		}})
		if err != nil {
			l.t.Fatal(err)
		}
		l.r = next
		if v != task.Parked {
			return v
		}
		if !alone && next.Wake.Sub(l.now) == task.PutOff && next.Apart(task.Defaults()) {
			return v
		}
		l.now = next.Wake
	}
}

// dies opens the store after the death of the process.
func (l *life) dies(crew task.Crew) {
	l.t.Helper()
	next, err := l.r.LeaseLost(l.moment(), crew)
	if err != nil {
		l.t.Fatal(err)
	}
	l.r = next
}

func (l *life) errs() {
	l.t.Helper()
	next, changed, err := l.r.GiveBack(l.moment(), turnOf(l.r), task.Spent{})
	if err != nil || !changed || next.Deaths != l.r.Deaths || next.Attempt != l.r.Attempt {
		l.t.Fatalf("GiveBack: changed %v, %v, %d deaths", changed, err, next.Deaths)
	}
	l.r = next
}

// want checks the counts of the turn.
func (l *life) want(attempts, deaths, blamed int) {
	l.t.Helper()
	if l.r.Attempt != attempts || l.r.Deaths != deaths || l.r.Blamed != blamed || l.r.Lease != (task.Lease{}) {
		l.t.Fatalf("%d attempts, %d deaths, %d blamed, lease %+v, want %d, %d, %d and no lease",
			l.r.Attempt, l.r.Deaths, l.r.Blamed, l.r.Lease, attempts, deaths, blamed)
	}
}

func TestFirstDeathBlamesNoTurn(t *testing.T) {
	for _, crew := range []task.Crew{{Turns: 1}, {Turns: 8}, {Turns: 2, Blamed: 2}} {
		l := newLife(t)
		l.begin(true)
		l.dies(crew)
		l.want(1, 1, 0)
	}
}

func TestLaterDeathBlamesTheOnlySuspect(t *testing.T) {
	for _, test := range []struct {
		name   string
		alone  bool
		crew   task.Crew
		blamed int
	}{
		{"beside an innocent turn", false, task.Crew{Turns: 2, Blamed: 1}, 0},
		{"in a process of its own", false, task.Crew{Turns: 1}, 1},
		{"beside turns that are blamed", false, task.Crew{Turns: 2, Blamed: 2}, 1},
		{"while it ran alone", true, task.Crew{Turns: 8}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLife(t)
			l.begin(false)
			l.dies(task.Crew{Turns: 8})
			l.begin(test.alone)
			l.dies(test.crew)
			l.want(2, 2, test.blamed)
		})
	}
}

// A lease that another claim takes over means a death. Only a lease of a turn that ran alone
// tells which turn is to blame.
func TestLeaseThatIsTakenOverIsADeath(t *testing.T) {
	for alone, blamed := range map[bool]int{false: 0, true: 1} {
		l := newLife(t)
		for range 2 {
			if v := l.begin(alone); v != task.Claimed {
				t.Fatalf("claim: %v", v)
			}
		}
		l.now = l.r.Lease.Until
		if l.begin(alone); l.r.Deaths != 2 || l.r.Blamed != blamed || l.r.Attempt != 3 {
			t.Errorf("alone %v: %d attempts, %d deaths, %d blamed", alone, l.r.Attempt, l.r.Deaths, l.r.Blamed)
		}
	}
}

// A turn that is killed beside others from outside is not failed for it, but runs apart in the
// end, where it is no longer killed by its neighbours.
func TestInnocentTurnIsNotFailed(t *testing.T) {
	l := newLife(t)
	for n := range 40 {
		if v := l.begin(true); v != task.Claimed {
			t.Fatalf("after %d deaths: verdict %v", n, v)
		}
		if n >= task.Defaults().Attempts-1 && !l.r.Apart(task.Defaults()) {
			t.Fatalf("after %d deaths it need not run apart", n)
		}

		next, changed, err := l.r.Beside(l.moment(), turnOf(l.r))
		if err != nil || !changed {
			t.Fatalf("Beside: changed %v, %v", changed, err)
		}

		l.r = next
		l.dies(task.Crew{Turns: 8})
		l.want(n+1, n+1, 0)
	}

	l.now = start.Add(task.Defaults().Age)
	if v := l.begin(true); v != task.Ended || !strings.Contains(l.r.Task.Status.Message.Parts[0].Text(), "in time") {
		t.Errorf("at its age limit: verdict %v, %v", v, l.r.Task.Status.Message)
	}
}

// A turn that kills its process every time ends after as many deaths as there are attempts,
// whether it runs alone in its process from the beginning or not.
func TestTurnThatKillsEndsSoon(t *testing.T) {
	most := task.Defaults().Attempts
	for _, crew := range []task.Crew{{Turns: 1}, {Turns: 8}} {
		l, deaths := newLife(t), 0
		for l.begin(l.r.Apart(task.Defaults())) == task.Claimed {
			l.dies(crew)
			deaths++
		}
		if deaths != most || l.r.State() != "TASK_STATE_FAILED" {
			t.Errorf("%+v: %d deaths, then %s, want %d", crew, deaths, l.r.State(), most)
		}
	}
}

// Errors of runs end a turn as they did before deaths were told from them.
func TestErrorsEndATurn(t *testing.T) {
	l, runs := newLife(t), 0
	for l.begin(false) == task.Claimed {
		l.errs()
		runs++
		l.want(runs, 0, 0)
	}
	if runs != task.Defaults().Attempts || l.r.State() != "TASK_STATE_FAILED" {
		t.Errorf("after %d runs the task is %s", runs, l.r.State())
	}
}

// A turn that must run apart is put off where other turns run. Its attempt is not counted, and
// the claim recognises what it did.
func TestTurnThatMustRunApartIsPutOff(t *testing.T) {
	l := newLife(t)
	for range 3 {
		l.begin(false)
		l.dies(task.Crew{Turns: 8})
	}

	if v := l.begin(false); v != task.Parked {
		t.Fatalf("beside others: verdict %v", v)
	}

	l.want(3, 3, 0)
	again, v, changed, err := l.r.Claim(l.moment(), task.Claim{Lease: task.Lease{Until: l.now.Add(time.Minute), Nonce: "again"}})
	if v != task.Parked || changed || err != nil || !again.Wake.Equal(l.r.Wake) {
		t.Errorf("the claim again: %v, changed %v, %v", v, changed, err)
	}
	if v := l.begin(true); v != task.Claimed || l.r.Attempt != 4 || !l.r.Lease.Alone {
		t.Errorf("alone: verdict %v, %d attempts", v, l.r.Attempt)
	}
}

// A record that an earlier build has stored has no deaths. Its attempts count as before.
func TestAttemptsOfAnEarlierBuild(t *testing.T) {
	l := newLife(t)
	l.r.Attempt = task.Defaults().Attempts - 1
	l.r = bare(l.r)
	if v := l.begin(false); v != task.Claimed || l.r.Attempt != task.Defaults().Attempts {
		t.Fatalf("verdict %v, %d attempts", v, l.r.Attempt)
	}
	l.dies(task.Crew{Turns: 1})
	if v := l.begin(false); v != task.Ended || l.r.State() != "TASK_STATE_FAILED" {
		t.Errorf("beyond the limit: %v, %s", v, l.r.State())
	}
}

// A batch as a whole dies with its items. It is never blamed for that, runs beside others, and
// does not hide the item that is to blame.
func TestBatchIsNoSuspect(t *testing.T) {
	r, _ := aBatch(t)
	for n := range 10 {
		r = begun(t, r, time.Duration(n+1)*time.Hour)
		var err error
		if r, err = r.LeaseLost(at(time.Duration(n+1)*time.Hour), task.Crew{Turns: 1}); err != nil {
			t.Fatal(err)
		}
		r.Wake = at(time.Duration(n+1) * time.Hour).Now // the pause before a later attempt is over by then
		if r.Suspect() || r.Apart(task.Defaults()) || r.Blamed > 0 || r.Spent.Unknown > 0 {
			t.Fatalf("after %d deaths: suspect %v, apart %v, %+v", n+1, r.Suspect(), r.Apart(task.Defaults()), r)
		}
	}

	var crew task.Crew
	crew.Add(r)
	if crew.Turns != 0 {
		t.Errorf("the crew counts %d turns", crew.Turns)
	}
}
