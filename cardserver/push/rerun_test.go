package push_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/push"
	"errand/shared/desk"
	"errand/shared/lab/faulty"
	base "errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/shared/uploads"
)

// failed stores an owner's task that has failed with a step, with a webhook.
func (w *world) failed(owner, id string) task.Record {
	w.t.Helper()
	m := w.Moment()
	base.Accept(w.t, w.Store, m, task.Acceptance{ID: id, Owner: owner, Life: "life", Webhooks: []task.Webhook{{ID: "h", URL: hookURL, Sealed: "sealed"}}})
	r := base.Claim(w.t, w.Store, id, m, time.Minute)
	r = base.Update(w.t, w.Store, id, func(now task.Record) (task.Record, bool, error) {
		return now.OpenStep(m, task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Step{Number: 1, Calls: []task.Call{{Name: "look"}}}, []int{0})
	})
	return base.Update(w.t, w.Store, id, func(now task.Record) (task.Record, bool, error) {
		return now.Finish(m, task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Outcome{State: a2a.TaskStateFailed})
	})
}

// A rerunAnswer is the answer to a rerun.
type rerunAnswer struct {
	Task    string `json:"taskId"`
	Context string `json:"contextId"`
	State   string `json:"state"`
	Reruns  string `json:"reruns"`
	Steps   int    `json:"steps"`
}

// Asking twice gives the same task, also if the answer of the store was lost, and its job is added
// each time while it waits.
func TestRerunTwice(t *testing.T) {
	w := newWorld(t)
	old := w.failed(alice, "t1")
	w.Jobs.Take()

	w.config.Desk = w.Desk(faulty.Losing(w.Store, faulty.Create, 1))
	w.Handler = push.New(w.config)
	first := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", "")
	second := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", "{}")
	if first != second || first.Task != task.RerunID(alice, "t1") || first.Reruns != "t1" || first.Steps != 1 ||
		first.Context != old.Task.ContextID || first.State != string(a2a.TaskStateSubmitted) {
		t.Errorf("%+v, then %+v", first, second)
	}
	if jobs := w.Jobs.Take(); len(jobs) == 0 || slices.ContainsFunc(jobs, func(j queue.Job) bool { return j.Task != first.Task || j.Queue != task.Turns }) {
		t.Errorf("jobs %+v", jobs)
	}
	if r := w.Load(first.Task); len(r.Webhooks) > 0 || r.Owner != alice {
		t.Errorf("%d webhooks, of %s", len(r.Webhooks), r.Owner)
	}

	again := w.ask(alice, "POST", "/tasks/t1:rerun", `{"anew": true}`)
	if again.Code != http.StatusConflict || !strings.Contains(again.Body.String(), first.Task) {
		t.Errorf("anew, afterwards: %d %s", again.Code, again.Body)
	}
}

// An agent that takes no webhooks takes none over, and makes no task for such a wish.
func TestRerunWithPushSwitchedOff(t *testing.T) {
	w := newWorld(t)
	w.failed(alice, "t1")
	w.config.NoWebhooks = true
	w.Handler = push.New(w.config)
	got := w.ask(alice, "POST", "/tasks/t1:rerun", `{"webhooks": true}`)
	if got.Code != http.StatusBadRequest || !strings.Contains(got.Body.String(), "webhooks cannot be taken over") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if _, err := w.Store.Load(t.Context(), task.RerunID(alice, "t1")); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("there is a task: %v", err)
	}
	if r := w.Load(want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", "").Task); len(r.Webhooks) > 0 {
		t.Errorf("it has %d webhooks", len(r.Webhooks))
	}
}

// What is asked for is done: webhooks, and a beginning without steps.
func TestRerunAnewWithWebhooks(t *testing.T) {
	w := newWorld(t)
	w.failed(alice, "t1")
	got := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", `{"anew": true, "webhooks": true}`)
	if r := w.Load(got.Task); got.Steps != 0 || r.Steps != 0 || len(r.Webhooks) != 1 || r.Webhooks[0].Sealed != "sealed" {
		t.Errorf("%+v: %d steps, %+v", got, r.Steps, r.Webhooks)
	}
}

// A rerun is its owner's alone. For everybody else, an operator included, there is no task.
func TestRerunIsItsOwners(t *testing.T) {
	w := newWorld(t)
	w.failed(alice, "t1")
	none := w.ask(bob, "POST", "/tasks/none:rerun", "")
	for _, other := range []string{bob, ops} {
		if got := w.ask(other, "POST", "/tasks/t1:rerun", ""); got.Code != http.StatusNotFound || got.Body.String() != none.Body.String() {
			t.Errorf("%s: %d %s, want %d %s", other, got.Code, got.Body, none.Code, none.Body)
		}
	}
}

// What cannot be run again is refused with what to do instead, and makes nothing.
func TestRerunThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.ended(alice, "done")
	m := w.Moment()
	base.Accept(t, w.Store, m, task.Acceptance{ID: "open", Owner: alice})
	batch := task.BatchID(alice, "b")
	item := task.ItemID(batch, 1)
	base.Accept(t, w.Store, m, task.Acceptance{ID: item, Context: batch, Owner: alice, Lane: task.Bulk})
	w.failed(alice, "deleted")
	w.ask(alice, "DELETE", "/tasks/deleted", "")
	w.failed(alice, "t1")

	for _, tt := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"/tasks/done:rerun", "", http.StatusConflict, "has succeeded"},
		{"/tasks/open:rerun", "", http.StatusConflict, "cancel it first"},
		{"/tasks/" + item + ":rerun", "", http.StatusConflict, "/batches/{batch}:retry"},
		{"/tasks/deleted:rerun", "", http.StatusNotFound, "deleted by its owner"},
		{"/tasks/t1:rerun?anew=true", "", http.StatusBadRequest, "anew"},
		{"/tasks/t1:rerun", `{"anew": "yes"}`, http.StatusBadRequest, "anew"},
		{"/tasks/t1:rerun", `{"again": true}`, http.StatusBadRequest, "body"},
		{"/tasks/t1:rerun", "[", http.StatusBadRequest, "body"},
	} {
		if got := w.ask(alice, "POST", tt.path, tt.body); got.Code != tt.status || !strings.Contains(got.Body.String(), tt.says) {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.path, tt.body, got.Code, got.Body, tt.status, tt.says)
		}
	}
	if _, err := w.Store.Load(t.Context(), task.RerunID(alice, "t1")); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("a refused request made a task: %v", err)
	}
}

// The limits of messages hold for reruns, but not for one that is made already.
func TestRerunWithoutRoom(t *testing.T) {
	w := newWorld(t)
	w.failed(alice, "t1")
	w.failed(alice, "t2")
	full := false
	w.config.Desk = desk.New(desk.Config{Store: w.Store, Queue: w.Jobs, Rules: w.Rules, Now: w.Now, Log: w.Log, Room: func(context.Context, string) error {
		if full {
			return task.ErrFull
		}
		return nil
	}})
	w.Handler = push.New(w.config)
	first := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", "")
	full = true
	if got := w.ask(alice, "POST", "/tasks/t2:rerun", ""); got.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if again := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", ""); again != first {
		t.Errorf("%+v, want %+v", again, first)
	}
}

// The files that the messages name are kept for the new task, and a file that is gone refuses
// nothing.
func TestRerunKeepsFiles(t *testing.T) {
	w := newWorld(t)
	kept := keeper{}
	w.config.Files = kept
	w.Handler = push.New(w.config)
	m := w.Moment()
	here, gone := "file-"+strings.Repeat("a", 26), "file-"+strings.Repeat("b", 26)
	base.Accept(t, w.Store, m, task.Acceptance{ID: "t1", Owner: alice, Message: &a2a.Message{
		ID: "m", Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewDataPart(map[string]any{"file": here}), a2a.NewDataPart(map[string]any{"file": gone})},
	}})
	base.Claim(t, w.Store, "t1", m, time.Minute)
	base.Finish(t, w.Store, "t1", m, nil, task.Outcome{State: a2a.TaskStateRejected})

	got := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", "")
	if kept[here] != got.Task {
		t.Errorf("kept %v, want %s for %s", kept, here, got.Task)
	}
}

// A keeper has the file of letters a, and notes for which task it is kept.
type keeper map[string]string

func (k keeper) Release(context.Context, string) error { return nil }

func (k keeper) Keep(_ context.Context, _, id, of string, _ time.Time) (uploads.File, error) {
	if !strings.HasSuffix(id, "a") {
		return uploads.File{}, uploads.ErrNotFound
	}
	k[id] = of
	return uploads.File{}, nil
}

// A task is deleted before its rerun has begun: the steps are copied first.
func TestDeletionLeavesTheRerunItsSteps(t *testing.T) {
	w := newWorld(t)
	w.failed(alice, "t1")
	w.steps("t1", "life/000001", "life/t000001/n.x")
	got := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", "")
	if rec := w.ask(alice, "DELETE", "/tasks/t1", ""); rec.Code != http.StatusNoContent {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	r := w.Load(got.Task)
	if o, _ := r.Origin(); !o.Brought || w.steps("t1") != 0 || w.steps(got.Task) != 2 {
		t.Errorf("%+v, %d entries of the old task, %d of the new one", o, w.steps("t1"), w.steps(got.Task))
	}

	if again := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", ""); again.Task != got.Task {
		t.Errorf("asked again after the deletion: %+v", again)
	}
	w.ask(alice, "DELETE", "/tasks/"+got.Task, "")
	if rec := w.ask(alice, "POST", "/tasks/t1:rerun", ""); rec.Code != http.StatusNotFound {
		t.Errorf("asked again after both were deleted: %d %s", rec.Code, rec.Body)
	}
}

// A rerun that is asked for while its task is deleted gets the steps.
func TestRerunDuringADeletion(t *testing.T) {
	w := newWorld(t)
	w.failed(alice, "t1")
	w.steps("t1", "life/000001")
	plain, again := w.config.Desk, ""
	w.config.Desk = w.Desk(faulty.Store{Store: w.Store, Before: func(c faulty.Call) error {
		if c.Op == faulty.Commit && c.ID == "t1" && again == "" {
			r, err := plain.Rerun(t.Context(), desk.Rerun{Owner: alice, Task: "t1"})
			if err != nil {
				t.Error(err)
			}
			again = r.ID()
		}
		return nil
	}})
	w.Handler = push.New(w.config)

	if rec := w.ask(alice, "DELETE", "/tasks/t1", ""); rec.Code != http.StatusNoContent {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if o, _ := w.Load(again).Origin(); !o.Brought || w.steps(again) != 1 || w.steps("t1") != 0 {
		t.Errorf("%+v, %d entries of the new task, %d of the old one", o, w.steps(again), w.steps("t1"))
	}
}

// A task is deleted whose rerun was canceled before it began, and was run again: that one gets the
// steps, and so does one that comes later.
func TestDeletionLeavesALaterRerunItsSteps(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		w := newWorld(t)
		w.failed(alice, "t1")
		w.steps("t1", "life/000001", "life/t000001/n.x")
		never := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/t1:rerun", "").Task
		base.Update(t, w.Store, never, func(r task.Record) (task.Record, bool, error) {
			return r.Cancel(w.Moment(), &a2a.Message{ID: "stop", Role: a2a.MessageRoleAgent}, nil)
		})
		got := want[rerunAnswer](w, http.StatusOK, alice, "POST", "/tasks/"+never+":rerun", "")

		ids := []string{"t1"}
		if deleted {
			ids = []string{never, "t1"}
		}
		for _, id := range ids {
			if rec := w.ask(alice, "DELETE", "/tasks/"+id, ""); rec.Code != http.StatusNoContent {
				t.Fatalf("%d %s", rec.Code, rec.Body)
			}
		}
		r := w.Load(got.Task)
		if o, _ := r.Origin(); !o.Brought || w.steps("t1") != 0 || w.steps(got.Task) != 2 {
			t.Errorf("deleted %v: %+v, %d entries of the old task, %d of the new one", deleted, o, w.steps("t1"), w.steps(got.Task))
		}
	}
}
