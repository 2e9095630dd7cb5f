package task_test

import (
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A task that a claim ends names the calls with effects that had begun. The record does not know
// their results.
func TestEndedTaskNamesCallsThatMayHaveHappened(t *testing.T) {
	m := task.Defaults().At(start)
	r, _, _, err := accepted(t, "x").Claim(m, task.Claim{Lease: task.Lease{Until: start.Add(time.Minute), Nonce: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err = r.OpenStep(m, task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Step{Number: 1, Calls: []task.Call{
		{Name: "look"}, {Name: "refund", Effects: true}, {Name: "mail", Effects: true},
	}}, []int{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if until := r.BeginsUntil(); !until.Equal(start.Add(task.BeginWithin)) {
		t.Errorf("BeginsUntil = %v", until)
	}

	late := task.Defaults().At(start.Add(25 * time.Hour))
	r, v, _, err := r.Claim(late, task.Claim{Lease: task.Lease{Until: late.Now.Add(time.Minute), Nonce: "2"}})
	said := r.Task.Status.Message.Parts[0].Text()
	if v != task.Ended || err != nil || !strings.HasSuffix(said, " These calls had begun, and may have happened: refund (key "+r.CallKey(1, 1)+").") {
		t.Errorf("verdict %v, %v; the status says %q", v, err, said)
	}
}

// A word makes a turn go on not later than it would without the word.
func TestWordDelaysNothing(t *testing.T) {
	m := task.Defaults().At(start)
	r, _, _, err := accepted(t, "x").Claim(m, task.Claim{Lease: task.Lease{Until: start.Add(time.Minute), Nonce: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	fence := task.Fence{Epoch: r.Epoch, Seq: r.Seq}
	if r, _, err = r.OpenStep(m, fence, nil, task.Step{Number: 1, Calls: []task.Call{{Name: "await"}}}, []int{0}); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{task.ToldEvery / 5, task.ToldEvery * 5} {
		wake := start.Add(wait)
		parked, _, err := r.Park(m, fence, nil, task.Parking{Wake: wake, Waits: []task.Wait{{At: wake, Told: true}}})
		if err != nil {
			t.Fatal(err)
		}
		told, changed, err := parked.Tell(m, 1, 0)
		if want := start.Add(min(wait, task.ToldEvery)); !changed || err != nil || !told.Wake.Equal(want) {
			t.Errorf("a wait of %v, told: until %v, want %v; %v", wait, told.Wake, want, err)
		}
		if again, changed, err := told.Tell(m, 1, 0); changed || err != nil || !again.Told {
			t.Errorf("told twice: %v, %v", changed, err)
		}
	}
}

// The age of a turn is the time in which it could run: a wait for the caller's next day is none,
// a park for another reason is.
func TestAgeWithoutTheWaitsOfItsCaller(t *testing.T) {
	ru := task.Defaults()
	for aside, want := range map[bool]task.Verdict{true: task.Claimed, false: task.Ended} {
		r := claimed(t, accepted(t, "x"), at(0), "1")
		wake := start.Add(ru.Age)
		r, _, err := r.Park(at(1), turnOf(r), nil, task.Parking{Wake: wake, Aside: aside})
		if err != nil {
			t.Fatal(err)
		}
		next, verdict, _, err := r.Claim(ru.At(wake), task.Claim{Lease: task.Lease{Until: wake.Add(time.Minute), Nonce: "2"}})
		if err != nil || verdict != want || verdict == task.Ended && next.State() != a2a.TaskStateFailed {
			t.Errorf("aside %v: %v, %s, %v", aside, verdict, next.State(), err)
		}
	}
}

// Artifacts that an attempt has left behind end with the next step of another attempt, unless
// results of calls were stored after them.
func TestArtifactsOfAnotherAttempt(t *testing.T) {
	for _, kept := range []bool{false, true} {
		r := claimed(t, accepted(t, "x"), at(0), "1")
		events := []a2a.Event{artifact("a", false, "half an ans")}
		r, _, err := r.Progress(at(1), turnOf(r), events)
		if err != nil {
			t.Fatal(err)
		}
		if kept {
			if r, _, err = r.KeepMade(at(1), turnOf(r), nil); err != nil {
				t.Fatal(err)
			}
		}

		r = claimed(t, r, at(2*time.Minute), "2")
		step := task.Step{Number: 1, Calls: []task.Call{{Name: "look"}}}
		if r, _, err = r.OpenStep(at(2*time.Minute), turnOf(r), nil, step, []int{0}); err != nil {
			t.Fatal(err)
		}
		r, _, err = r.Finish(at(2*time.Minute), turnOf(r), nil, task.Outcome{State: a2a.TaskStateCompleted})
		if got := len(r.Task.Artifacts) == 1; got != kept || err != nil {
			t.Errorf("kept %v: artifacts %v, %v", kept, texts(r), err)
		}
	}
}

// A commit of artifacts whose answer was lost knows itself.
func TestKeepMadeTwice(t *testing.T) {
	r := claimed(t, accepted(t, "x"), at(0), "1")
	fence, events := turnOf(r), []a2a.Event{artifact("a", false, "file")}
	r, changed, err := r.KeepMade(at(1), fence, events)
	if !changed || err != nil || !r.Made[0].Kept {
		t.Fatalf("%v, %v, %+v", changed, err, r.Made)
	}
	again, changed, err := r.KeepMade(at(2), fence, events)
	if changed || err != nil || again.Seq != r.Seq {
		t.Errorf("again: %v, %v, %d events after %d", changed, err, again.Seq, r.Seq)
	}
	if _, changed, err = r.KeepMade(at(2), turnOf(r), nil); changed || err != nil {
		t.Errorf("with nothing new: %v, %v", changed, err)
	}
}

// An executor of one's own may pause for calls that its step does not have.
func TestWaitOfNoCall(t *testing.T) {
	r := claimed(t, accepted(t, "x"), at(0), "1")
	r, _, err := r.OpenStep(at(0), turnOf(r), nil, task.Step{Number: 1, Calls: []task.Call{{Name: "await"}}}, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	wake := start.Add(time.Hour)
	r, _, err = r.Park(at(1), turnOf(r), nil, task.Parking{Wake: wake, Waits: []task.Wait{{Call: -1, At: wake}, {Call: 1, At: wake}, {Call: 0, At: wake}}})
	if err != nil || !r.Step.Calls[0].Wait.Equal(wake) {
		t.Errorf("%v, %+v", err, r.Step)
	}
}
