package task_test

import (
	"strings"
	"testing"
	"time"

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
