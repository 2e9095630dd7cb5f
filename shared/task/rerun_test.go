package task_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// partly is a task that was canceled in its second turn, with an open step of two calls, of which
// one has begun, and with a message that no turn has taken.
func partly(t *testing.T) task.Record {
	t.Helper()
	must := func(r task.Record, _ bool, err error) task.Record {
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	msg := func(id string) *a2a.Message {
		return &a2a.Message{ID: id, TaskID: "t1", Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart("text of " + id)}}
	}
	step := func(n int) task.Step {
		return task.Step{Number: n, Calls: []task.Call{{Name: "refund", Effects: true, Limit: time.Minute}, {Name: "look"}}}
	}

	r, err := task.Accept(at(0), task.Acceptance{
		ID: "t1", Context: "c1", Life: "life1", Owner: "me", Lane: task.Turns, Message: msg("m1"), Request: task.Request{ID: "m1", Fingerprint: "p1"},
		Webhooks: []task.Webhook{{ID: "h", URL: "https://example.com/hook", Sealed: "sealed"}},
	})
	r = claimed(t, must(r, false, err), at(1), "1")
	r = must(r.OpenStep(at(2), turnOf(r), []a2a.Event{artifact("t1-a", false, "first")}, step(1), []int{0, 1}))
	r = must(r.Finish(at(3), turnOf(r), []a2a.Event{artifact("t1-b", false, "and?")}, task.Outcome{State: a2a.TaskStateInputRequired, Message: msg("q1")}))
	r = must(r.FollowUp(at(4), msg("m2"), task.Request{ID: "m2", Fingerprint: "p2"}))

	r = claimed(t, r, at(5), "2")
	r = must(r.OpenStep(at(6), turnOf(r), []a2a.Event{artifact("t2-kept", false, "kept")}, step(2), []int{0}))
	r = must(r.Progress(at(7), turnOf(r), []a2a.Event{artifact("t2-loose", false, "loose")}))
	r = must(r.FollowUp(at(8), msg("m3"), task.Request{ID: "m3", Fingerprint: "p3"}))
	return must(r.Cancel(at(time.Minute), msg("c"), nil))
}

func rerun(t *testing.T, r task.Record, m task.Moment, as task.Rerunning) task.Record {
	t.Helper()
	n, err := r.Rerun(m, as)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func messages(list []*a2a.Message) (ids []string) {
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	return ids
}

// A rerun goes on where the turn was: after the same messages, with the artifacts of what it keeps,
// from the open step. What the turn had not stored is gone, and waiting messages wait.
func TestRerunGoesOnFromTheTurn(t *testing.T) {
	old := partly(t)
	r := rerun(t, old, at(2*time.Minute), task.Rerunning{ID: "t2", Life: "life2"})

	if got, waiting := messages(r.Task.History), messages(r.Inbox); !slices.Equal(got, []string{"m1", "q1", "m2"}) || !slices.Equal(waiting, []string{"m3"}) {
		t.Errorf("history %v, waiting %v", got, waiting)
	}
	for _, m := range slices.Concat(r.Task.History, r.Inbox) {
		if m.TaskID != "t2" {
			t.Errorf("the message %s is of the task %s", m.ID, m.TaskID)
		}
	}
	if last := r.Task.History[2]; !slices.Equal(last.ReferenceTasks, []a2a.TaskID{"t1"}) || len(old.Task.History[2].ReferenceTasks) > 0 {
		t.Errorf("the message refers to %v, the old one to %v", last.ReferenceTasks, old.Task.History[2].ReferenceTasks)
	}

	if got := texts(r); len(got) != 3 || got["t1-a"] != "first" || got["t1-b"] != "and?" || got["t2-kept"] != "kept" {
		t.Errorf("artifacts %v", got)
	}
	if r.State() != a2a.TaskStateSubmitted || r.Turn != 2 || r.Task.ContextID != "c1" || len(r.Webhooks) > 0 || r.Owner != "me" || len(r.Requests) != 3 {
		t.Errorf("%s, turn %d, context %s, %d webhooks, owner %s", r.State(), r.Turn, r.Task.ContextID, len(r.Webhooks), r.Owner)
	}
	if r.Steps != 2 || r.First != old.First || r.Step == nil || r.Step.Calls[0].Times != 1 || r.Inherited() != 2 || r.Schema != task.Schema {
		t.Errorf("%d steps from %d on, %+v, schema %d", r.Steps, r.First, r.Step, r.Schema)
	}

	r = claimed(t, r, at(3*time.Minute), "3")
	if r.Due.Lane != task.Turns || r.Epoch != 1 {
		t.Errorf("due %v, epoch %d", r.Due, r.Epoch)
	}
	if back := read(t, stored(t, r)); len(back.Origins) != 1 || back.Origins[0] != r.Origins[0] {
		t.Errorf("read back: %+v", back.Origins)
	}
}

// stopped is the record after its client has canceled the task.
func stopped(t *testing.T, r task.Record) task.Record {
	t.Helper()
	n, _, err := r.Cancel(at(time.Hour), a2a.NewMessage(a2a.MessageRoleAgent), nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The calls of a step have the key of the task that opened it, in all reruns. Words from outside
// name the task that waits for them.
func TestCallsKeepTheirKeysInReruns(t *testing.T) {
	old := partly(t)
	r := rerun(t, old, at(time.Hour), task.Rerunning{ID: "t2", Life: "life2"})
	r = claimed(t, r, at(time.Hour), "1")
	r, _, err := r.Bring(at(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	r, _, err = r.OpenStep(at(time.Hour), turnOf(r), nil, task.Step{Number: 3, Calls: []task.Call{{Name: "refund"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r = stopped(t, r)
	again := rerun(t, r, at(2*time.Hour), task.Rerunning{ID: "t3", Life: "life3"})

	for step, want := range map[int]string{1: "t1/life1/1.1", 2: "t1/life1/2.1", 3: "t2/life2/3.1", 4: "t3/life3/4.1"} {
		if got := again.CallKey(step, 0); got != want {
			t.Errorf("the call of step %d has the key %s, want %s", step, got, want)
		}
	}
	if got, own := again.TurnKey(), r.TurnKey(); got != "t1/life1/t2/" || own != got {
		t.Errorf("effects of the turn have the key %s, and %s", got, own)
	}
	if got := again.WakeName(2, 0); got != "t3/life3/2.1" {
		t.Errorf("a word names %s", got)
	}
	if o, ok := again.Origin(); !ok || o.Task != "t2" || o.Prefix() != r.StepPrefix() || !again.Reruns("t1") || !again.Reruns("t2") || again.Reruns("t3") {
		t.Errorf("it runs %+v again", again.Origins)
	}

	anew := rerun(t, stopped(t, again), at(3*time.Hour), task.Rerunning{ID: "t4", Life: "life4", Anew: true})
	if o, _ := anew.Origin(); o.Steps != 1 || o.Turn != 1 || o.Brought || anew.Steps != 1 || anew.Step != nil || anew.CallKey(1, 0) != "t1/life1/1.1" || anew.CallKey(2, 0) != "t4/life4/2.1" || anew.TurnKey() != "t4/life4/t2/" || texts(anew)["t2-kept"] != "" {
		t.Errorf("anew: %d steps, %+v, the key %s, artifacts %v", anew.Steps, anew.Step, anew.CallKey(1, 0), texts(anew))
	}
}

// A rerun that never ran has no steps of its own: a rerun of it takes those of the task before.
// What was copied once is not copied again.
func TestRerunOfARerunThatNeverRan(t *testing.T) {
	never := stopped(t, rerun(t, partly(t), at(time.Hour), task.Rerunning{ID: "t2", Life: "life2"}))
	r := rerun(t, never, at(2*time.Hour), task.Rerunning{ID: "t3", Life: "life3"})
	if o, ok := r.Origin(); !ok || o.Task != "t1" || o.Brought || r.Inherited() != 2 {
		t.Errorf("it goes on from %+v", o)
	}
	r, _, err := r.Bring(at(2 * time.Hour))
	if o, _ := r.Origin(); err != nil || !o.Brought {
		t.Errorf("after it was brought: %+v, %v", r.Origins, err)
	}
	if next := rerun(t, stopped(t, r), at(3*time.Hour), task.Rerunning{ID: "t4", Life: "life4"}); err == nil {
		if o, _ := next.Origin(); o.Task != "t3" || o.Brought {
			t.Errorf("the next one goes on from %+v", o)
		}
	}
}

// A call that waited begins again, and a question that was not answered is asked again.
func TestRerunOfACallThatWaits(t *testing.T) {
	old := partly(t)
	old.Step.Calls[0].Wait, old.Step.Calls[0].Told = start.Add(24*time.Hour), true
	old.Step.Asked = &task.Question{Call: 0}
	m := at(time.Hour)
	r := rerun(t, old, m, task.Rerunning{ID: "t2", Life: "life2"})
	if move, _ := r.Step.Calls[0].Next(m.Now); move != task.Begin || r.Step.Asked != nil {
		t.Errorf("the next move is %v, the question %+v", move, r.Step.Asked)
	}
}

// Webhooks are taken over if that is asked for, with all that is still to come.
func TestRerunTakesOverWebhooks(t *testing.T) {
	r := rerun(t, partly(t), at(time.Hour), task.Rerunning{ID: "t2", Life: "life2", Webhooks: true})
	h, ok := r.Webhook("h")
	if !ok || h.URL != "https://example.com/hook" || h.Sealed != "sealed" || h.Cursor != 0 || h.State != task.WebhookActive {
		t.Errorf("%+v", r.Webhooks)
	}
}

// What cannot be run again is not.
func TestRerunRefuses(t *testing.T) {
	old := partly(t)
	done := old
	completed := *old.Task
	completed.Status.State = a2a.TaskStateCompleted
	done.Task = &completed
	deleted, _, err := old.Delete(at(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	many := old
	many.Origins = make([]task.Origin, 64)
	late := task.Defaults().At(old.Expires.Add(-time.Hour))

	for _, tt := range []struct {
		name string
		r    task.Record
		m    task.Moment
		want error
	}{
		{"open", accepted(t, "x"), at(1), task.ErrOpen},
		{"succeeded", done, at(time.Hour), task.ErrSucceeded},
		{"deleted", deleted, at(time.Hour), task.ErrDeleted},
		{"many reruns", many, at(time.Hour), task.ErrReruns},
		{"about to expire", old, late, task.ErrLate},
		{"of a batch", ofBatch(t), at(time.Hour), task.ErrItem},
	} {
		if _, err := tt.r.Rerun(tt.m, task.Rerunning{ID: "t2"}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	first := stopped(t, accepted(t, "x"))
	late = task.Defaults().At(first.Expires.Add(-time.Hour))
	if _, err := first.Rerun(late, task.Rerunning{ID: "t2", Anew: true}); err != nil {
		t.Errorf("anew, about to expire, with nothing to take over: %v", err)
	}
}

// ofBatch is the task of a batch as a whole.
func ofBatch(t *testing.T) task.Record {
	t.Helper()
	r := partly(t)
	r.Lane = task.Batches
	return r
}
