package task_test

import (
	"slices"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"errand/shared/task"
)

// owesAnew checks in which lanes after has debts that before did not have.
func owesAnew(t *testing.T, name string, before, after task.Record, m task.Moment, lanes ...string) {
	t.Helper()
	var got []string
	for _, d := range task.NewDebts(before, after, m) {
		got = append(got, d.Lane)
	}
	if diff := cmp.Diff(lanes, got); diff != "" {
		t.Errorf("%s: lanes of the new debts (-want +got):\n%s", name, diff)
	}
}

// Each decision is followed by the jobs that it needs and by no others. A superfluous job
// costs money, and a task whose job is missing waits for a sweep.
func TestNewDebtsOfADecision(t *testing.T) {
	m := at(time.Hour)
	running := claimed(t, accepted(t, "x"), at(time.Second), "n")

	end := func(r task.Record, state a2a.TaskState) task.Record {
		t.Helper()
		next, _, err := r.Finish(at(2*time.Second), turnOf(r), nil, task.Outcome{State: state})
		if err != nil {
			t.Fatal(err)
		}
		return next
	}

	parked := func(wake time.Duration) task.Record {
		t.Helper()
		next, _, err := running.Park(at(2*time.Second), turnOf(running), nil, task.Parking{Wake: start.Add(wake)})
		if err != nil {
			t.Fatal(err)
		}
		return next
	}

	hooked := func(r task.Record) task.Record {
		t.Helper()
		next, _, err := r.SetWebhook(at(time.Second), task.Webhook{ID: "h", URL: hookURL})
		if err != nil {
			t.Fatal(err)
		}
		return next
	}

	followUp := func(r task.Record) (task.Record, bool, error) {
		return r.FollowUp(m, message(2), task.Request{ID: "m2", Fingerprint: "p2"})
	}

	cancel := func(r task.Record) (task.Record, bool, error) { return r.Cancel(m, &a2a.Message{ID: "c"}, nil) }
	setWebhook := func(r task.Record) (task.Record, bool, error) {
		return r.SetWebhook(m, task.Webhook{ID: "h", URL: hookURL + "/other"})
	}

	redrive := func(r task.Record) (task.Record, bool, error) { return r.Redrive(m, "h", hookOf(t, r).Gen, 0) }
	ping := func(r task.Record) (task.Record, bool, error) { return r.AskPing(m, "h") }
	drop := func(r task.Record) (task.Record, bool, error) { return r.DropWebhook(m, "h") }
	dead := delivered(t, told(t), at(3*time.Second), task.Delivery{Fail: true})
	question := end(hooked(running), a2a.TaskStateInputRequired)

	turns, deliveries := []string{task.Turns}, []string{task.Deliveries}
	for _, c := range []struct {
		name   string
		before task.Record
		decide task.Decision
		lanes  []string
	}{
		{"an answer", question, followUp, turns},
		{"a message to an unclaimed turn", accepted(t, "x"), followUp, nil},
		{"a message to a running turn", running, followUp, nil},
		{"a message to a parked turn", parked(2 * time.Hour), followUp, turns},
		{"a message to a turn parked for less than Patience", parked(time.Hour + 30*time.Second), followUp, turns},

		{"a cancel of an unclaimed turn", accepted(t, "x"), cancel, turns},
		{"a cancel of a running turn", running, cancel, turns},
		{"a cancel with a webhook, which the event's publication reaches", hooked(running), cancel, turns},
		{"a cancel that revives a dead webhook", delivered(t, question, at(3*time.Second), task.Delivery{Fail: true}), cancel, turns},

		{"a webhook for an ended task", end(running, a2a.TaskStateCompleted), setWebhook, deliveries},
		{"a webhook for a running task", running, setWebhook, nil},
		{"a replacement for a webhook with undelivered notifications", told(t), setWebhook, deliveries},
		{"a re-drive", dead, redrive, deliveries},
		{"a re-drive of a webhook that is up to date", delivered(t, told(t), at(3*time.Second), task.Delivery{Sent: 2}), redrive, nil},
		{"a ping", hooked(running), ping, deliveries},
		{"a ping to a dead webhook", dead, ping, deliveries},
		{"deleting a webhook", told(t), drop, nil},
	} {
		after, changed, err := c.decide(c.before)
		if err != nil || !changed {
			t.Errorf("%s: changed %v, %v", c.name, changed, err)
			continue
		}

		owesAnew(t, c.name, c.before, after, m, c.lanes...)
		owesAnew(t, c.name+", again", after, after, m)
	}

	// A cancel at the same time as the message keeps lane and due time.
	first := accepted(t, "x")
	canceled, _, err := first.Cancel(at(0), &a2a.Message{ID: "c"}, nil)
	if err != nil || canceled.Due != first.Due {
		t.Fatalf("after the cancel: due %v, before %v, %v", canceled.Due, first.Due, err)
	}

	owesAnew(t, "a cancel at the same time as its message", first, canceled, at(0), task.Turns)

	owesAnew(t, "a first message", task.Record{}, first, at(0), task.Turns)
	owesAnew(t, "a turn parked for less than Patience", running, parked(time.Minute), at(2*time.Second), task.Turns)
	owesAnew(t, "a parked turn", running, parked(time.Hour), at(2*time.Second))
	owesAnew(t, "the end of a turn, whose publication reaches the webhook", hooked(running), end(hooked(running), a2a.TaskStateCompleted), at(2*time.Second))
}

// lawsOfNewDebts checks three laws. A new debt is a debt of the record. A record has no new
// debts compared with itself. A lane without debts gets a job for its first debt, except
// for notifications, whose publication is the hint.
func lawsOfNewDebts(t *rapid.T, name string, before, after task.Record, m task.Moment) {
	soon := m.Now.Add(m.Rules.Patience)
	in := func(debts []task.Debt, lane string) int {
		return slices.IndexFunc(debts, func(d task.Debt) bool { return d.Lane == lane })
	}
	anew, was, is := task.NewDebts(before, after, m), before.Owed(m, soon), after.Owed(m, soon)
	for _, d := range anew {
		if i := in(is, d.Lane); i < 0 || d.At.Before(is[i].At) {
			t.Fatalf("%s: a new debt in lane %s at %v is not among the debts %v", name, d.Lane, d.At, is)
		}
	}
	for _, d := range is {
		published := d.Lane == task.Deliveries && len(after.Notifications) > len(before.Notifications)
		if in(was, d.Lane) < 0 && in(anew, d.Lane) < 0 && !published {
			t.Fatalf("%s: the first debt in lane %s, at %v, is not among the new ones %v", name, d.Lane, d.At, anew)
		}
	}
	if again := task.NewDebts(after, after, m); len(again) > 0 {
		t.Fatalf("%s: new debts %v of an unchanged record", name, again)
	}
}
