package task_test

import (
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// parked is a wish to hold a turn for 10 s.
func parked(m task.Moment, say string) task.Parking {
	return task.Parking{Wake: m.Now.Add(10 * time.Second), Say: a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(say)), Model: true, Held: true}
}

func held(t *testing.T, r task.Record, m task.Moment, p task.Parking) (next task.Record, held, changed bool) {
	t.Helper()
	next, held, changed, err := r.Hold(m, p, 0)
	if err != nil {
		t.Fatal(err)
	}
	return next, held, changed
}

// A hold parks a turn without a claim. It knows itself, says why once, and is counted from the
// turn's last progress.
func TestHold(t *testing.T) {
	r, m := accepted(t, "hello"), at(0)
	first := parked(m, "waiting")
	h, ok, changed := held(t, r, m, first)
	if !ok || !changed || !h.Wake.Equal(first.Wake) || h.Held != 1 || h.Epoch != 0 || h.Attempt != 0 || h.Lease != (task.Lease{}) {
		t.Fatalf("held %v: wake %v, held %d, epoch %d, attempt %d, lease %v", ok, h.Wake, h.Held, h.Epoch, h.Attempt, h.Lease)
	}
	if h.State() != r.State() || h.Task.Status.Message.Parts[0].Text() != "waiting" || len(h.Log) != len(r.Log)+1 {
		t.Errorf("the task is %s: %v, with %d events", h.State(), h.Task.Status.Message, len(h.Log))
	}
	if debts := task.NewDebts(r, h, m); len(debts) != 1 || !debts[0].At.Equal(first.Wake) {
		t.Errorf("the hold owes %v, want the wake-up", debts)
	}

	if again, ok, changed := held(t, h, m, first); !ok || changed || again.Held != 1 {
		t.Errorf("a repeated hold: %v, changed %v, held %d", ok, changed, again.Held)
	}
	if _, ok, changed := held(t, h, at(time.Second), parked(at(time.Second), "waiting")); ok || changed {
		t.Error("a turn that is parked was held again")
	}

	later := at(11 * time.Second)
	twice, ok, _ := held(t, h, later, parked(later, "waiting"))
	if !ok || twice.Held != 2 || len(twice.Log) != len(h.Log) || len(twice.Marks) != len(h.Marks) {
		t.Errorf("the second hold: %v, held %d, %d events, %d marks", ok, twice.Held, len(twice.Log), len(twice.Marks))
	}
	full := task.Parking{Wake: later.Now.Add(time.Second), Say: first.Say, Model: true}
	if n, _, _ := held(t, h, later, full); n.Held != 1 {
		t.Errorf("a hold at a full gate was counted: %d", n.Held)
	}
	if n, _, _ := held(t, h, later, parked(later, "no quota")); n.Task.Status.Message.Parts[0].Text() != "no quota" || len(n.Log) != len(h.Log)+1 {
		t.Error("another reason was not said")
	}

	stored, err := twice.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := task.Decode(stored.Head, stored.Body, 1); err != nil || back.Held != 2 {
		t.Errorf("stored and read back: held %d, %v", back.Held, err)
	}
}

// A hold leaves alone what has no turn to run, what a worker has, and what a claim would end or
// park.
func TestHoldLeavesToTheClaim(t *testing.T) {
	r, m := accepted(t, "hello"), at(0)
	running := claimed(t, r, m, "n")
	dead := at(time.Hour)
	canceled, _, err := r.Cancel(m, a2a.NewMessage(a2a.MessageRoleAgent), nil)
	if err != nil {
		t.Fatal(err)
	}
	asking, _, err := running.Finish(m, turnOf(running), nil, task.Outcome{State: a2a.TaskStateInputRequired})
	if err != nil {
		t.Fatal(err)
	}
	calling := running
	calling.Lease, calling.Step = task.Lease{}, &task.Step{Number: 1, Calls: []task.Call{{Name: "f"}}}

	for name, tt := range map[string]struct {
		r task.Record
		m task.Moment
	}{
		"a running turn":               {running, m},
		"a turn whose worker is dead":  {running, dead},
		"a task that has ended":        {canceled, m},
		"a task that waits for a word": {asking, m},
		"a turn that is too old":       {r, at(task.Defaults().Age)},
		"a turn with calls to make":    {calling, m},
	} {
		next, ok, changed, err := tt.r.Hold(tt.m, parked(tt.m, "waiting"), 0)
		if ok || changed || err != nil || next.Held != 0 {
			t.Errorf("%s: held %v, changed %v, %v", name, ok, changed, err)
		}
	}

	calling.Step.Settled = true
	if _, ok, _ := held(t, calling, m, parked(m, "waiting")); !ok {
		t.Error("a turn whose calls have results was not held")
	}
}

// A turn that met the gate while it ran is parked with its attempt given back, and the next run
// is held before its claim. Progress begins the count again.
func TestParkAtTheModel(t *testing.T) {
	r := claimed(t, accepted(t, "hello"), at(0), "n")
	step := task.Step{Number: 1, Calls: []task.Call{{Name: "f"}}}
	r, _, err := r.OpenStep(at(0), turnOf(r), nil, step, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	p, changed, err := r.Park(at(0), turnOf(r), nil, parked(at(0), "waiting"))
	if err != nil || !changed || p.Held != 1 || !p.Step.Settled || r.Step.Settled || !p.MayHold(at(time.Minute)) {
		t.Fatalf("parked: %v, held %d, settled %v, before %v", err, p.Held, p.Step.Settled, r.Step.Settled)
	}
	if again, changed, err := p.Park(at(0), turnOf(r), nil, parked(at(0), "waiting")); err != nil || changed || again.Held != 1 {
		t.Errorf("a repeated park: changed %v, held %d, %v", changed, again.Held, err)
	}

	c := claimed(t, p, at(time.Minute), "n2")
	if c.Held != 1 {
		t.Errorf("a claim has forgotten the holds: %d", c.Held)
	}
	more, _, err := c.OpenStep(at(time.Minute), turnOf(c), nil, task.Step{Number: 2, Calls: step.Calls}, nil)
	if err != nil || more.Held != 0 || more.Step.Settled {
		t.Errorf("after a step: held %d, settled %v, %v", more.Held, more.Step.Settled, err)
	}
}

func TestHoldFor(t *testing.T) {
	var got []time.Duration
	for n := range 9 {
		got = append(got, task.HoldFor(n))
	}
	s := time.Second
	want := []time.Duration{10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 320 * s, 600 * s, 600 * s, 600 * s}
	if diff := cmp.Diff(want, got); diff != "" || task.HoldFor(1<<40) != 600*s {
		t.Errorf("the holds (-want +got):\n%s", diff)
	}
}
