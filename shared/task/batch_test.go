package task_test

import (
	"errors"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// aBatch is a batch whose deadline is in an hour, with a run.
func aBatch(t *testing.T) (r task.Record, deadline time.Time) {
	t.Helper()
	deadline = at(time.Hour).Now
	msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("lines"))
	id := task.BatchID("me", "nightly")
	r, err := task.Accept(at(0), task.Acceptance{
		ID: id, Context: id, Owner: "me", Lane: task.Batches, Message: msg, Request: task.Request{ID: msg.ID, Fingerprint: "p"},
		Ends: deadline.Add(task.Defaults().Retention),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, deadline
}

func begun(t *testing.T, r task.Record, after time.Duration) task.Record {
	t.Helper()
	m := at(after)
	r, v, _, err := r.Claim(m, task.Claim{Lease: task.Lease{Until: m.Now.Add(time.Minute), Nonce: after.String()}})
	if err != nil || v != task.Claimed {
		t.Fatalf("claimed: %v, %v", v, err)
	}
	return r
}

// A suspended task waits for its client and does nothing: its run may not write any more.
func TestSuspend(t *testing.T) {
	r, _ := aBatch(t)
	r = begun(t, r, time.Second)
	r, _, err := r.FollowUp(at(2*time.Second), a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("more")), task.Request{ID: "m2", Fingerprint: "p2"})
	if err != nil {
		t.Fatal(err)
	}

	run, say := turnOf(r), &a2a.Message{ID: "s"}
	p, changed, err := r.Suspend(at(3*time.Second), say)
	if err != nil || !changed || p.State() != a2a.TaskStateInputRequired || p.Lease != (task.Lease{}) || len(p.Notifications) != 1 {
		t.Fatalf("suspended: %v, %v, %s with the lease %v and %d notifications", changed, err, p.State(), p.Lease, len(p.Notifications))
	}
	if len(p.Inbox) != 0 || len(p.Task.History) != 2 || p.Turn != 2 {
		t.Errorf("%d messages wait, %d are in the history, the turn is %d", len(p.Inbox), len(p.Task.History), p.Turn)
	}
	if _, _, err := p.Progress(at(4*time.Second), run, []a2a.Event{artifact("a", false, "x")}); !errors.Is(err, task.ErrFenced) {
		t.Errorf("a write of the run: %v", err)
	}
	if _, changed, err := p.Suspend(at(4*time.Second), say); changed || err != nil {
		t.Errorf("once more: %v, %v", changed, err)
	}

	next, _, err := p.FollowUp(at(5*time.Second), a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("go on")), task.Request{ID: "m3", Fingerprint: "p3"})
	if err != nil || next.State() != a2a.TaskStateSubmitted {
		t.Fatalf("a message to it: %s, %v", next.State(), err)
	}
	if next = begun(t, next, 6*time.Second); next.Turn != 3 || next.Attempt != 1 {
		t.Errorf("turn %d, attempt %d", next.Turn, next.Attempt)
	}

	ended, _, err := next.Cancel(at(7*time.Second), &a2a.Message{ID: "c"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ended.Suspend(at(8*time.Second), say); !errors.Is(err, task.ErrTerminal) {
		t.Errorf("after the end: %v", err)
	}
}

// A batch and its items expire at the time that was set when they were accepted. A batch that
// waits for its client ends at its deadline, because its items expire by it.
func TestEnds(t *testing.T) {
	r, deadline := aBatch(t)
	ended, _, err := r.Cancel(at(time.Minute), &a2a.Message{ID: "c"}, nil)
	if err != nil || !ended.Expires.Equal(r.Ends) {
		t.Errorf("it expires at %v, %v, want %v", ended.Expires, err, r.Ends)
	}

	p, _, err := r.Suspend(at(time.Minute), &a2a.Message{ID: "s"})
	if err == nil {
		p, _, err = p.MarkPublished(at(time.Minute), 1)
	}
	if err != nil || !p.Due.At.Equal(deadline) {
		t.Fatalf("the sweep looks at it at %v, %v, want %v", p.Due.At, err, deadline)
	}
	claim := func(m task.Moment) task.Verdict {
		_, v, _, err := p.Claim(m, task.Claim{Lease: task.Lease{Until: m.Now.Add(time.Minute), Nonce: "n"}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}

	if v := claim(at(time.Hour - time.Millisecond)); v != task.Idle {
		t.Errorf("before its deadline: %v", v)
	}
	if v := claim(at(time.Hour)); v != task.Ended {
		t.Errorf("at its deadline: %v", v)
	}
}

// A batch has no age limit but its deadline.
func TestBatchesGrowOld(t *testing.T) {
	r, _ := aBatch(t)
	begun(t, r, 6*24*time.Hour)
}

// A batch that has ended owes a job until what it leaves behind is settled, also after its
// owner has deleted it.
func TestSettle(t *testing.T) {
	r, _ := aBatch(t)
	if _, changed, err := r.Settle(at(0)); changed || err != nil {
		t.Errorf("before its end: %v, %v", changed, err)
	}

	canceled, _, err := r.Cancel(at(time.Minute), &a2a.Message{ID: "c"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if debts := task.NewDebts(r, canceled, at(time.Minute)); len(debts) == 0 || debts[0].Lane != task.Batches {
		t.Errorf("the cancel adds jobs for %v", debts)
	}
	canceled, _, err = canceled.MarkPublished(at(time.Minute), 1)
	if err != nil {
		t.Fatal(err)
	}

	deleted, _, err := canceled.Delete(at(2 * time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	settled, changed, err := canceled.Settle(at(2 * time.Minute))
	if err != nil || !changed {
		t.Fatalf("settled: %v, %v", changed, err)
	}
	again, _, err := settled.Delete(at(3 * time.Minute))
	if err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name string
		r    task.Record
		owes bool
	}{{"canceled", canceled, true}, {"deleted", deleted, true}, {"settled", settled, false}, {"deleted after it was settled", again, true}} {
		if owes := c.r.Due.Lane == task.Batches; owes != c.owes {
			t.Errorf("%s: it owes a job: %v", c.name, owes)
		}
	}
}
