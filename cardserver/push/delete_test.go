package push_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"errand/cardserver/push"
	"errand/functions/sweep"
	"errand/shared/desk"
	"errand/shared/kv"
	"errand/shared/lab/faulty"
	base "errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
)

// A deletion is its owner's alone. For everybody else, an operator included, the task does
// not exist, before and after it.
//
// Shows AU12.
func TestOwnerDeletesATask(t *testing.T) {
	w := newWorld(t)
	w.ended(alice, "t1")
	w.dead(alice, "t2")

	foreign := w.ask(bob, "DELETE", "/tasks/none", "")
	for _, other := range []string{bob, ops} {
		if got := w.ask(other, "DELETE", "/tasks/t1", ""); got.Code != http.StatusNotFound || got.Body.String() != foreign.Body.String() {
			t.Errorf("%s: %d %s, want %d %s", other, got.Code, got.Body, foreign.Code, foreign.Body)
		}
	}
	for range 2 {
		if got := w.ask(alice, "DELETE", "/tasks/t1", ""); got.Code != http.StatusNoContent {
			t.Fatalf("%d %s", got.Code, got.Body)
		}
	}
	for _, other := range []string{bob, ops} {
		if got := w.ask(other, "DELETE", "/tasks/t1", ""); got.Code != http.StatusNotFound || got.Body.String() != foreign.Body.String() {
			t.Errorf("%s, afterwards: %d %s, want %d %s", other, got.Code, got.Body, foreign.Code, foreign.Body)
		}
	}

	if got := w.ask(alice, "GET", "/push/tasks/t1/hooks", ""); got.Code != http.StatusNotFound {
		t.Errorf("its webhooks: %d %s", got.Code, got.Body)
	}
	if got := w.ask(alice, "DELETE", "/tasks/t2", ""); got.Code != http.StatusNoContent {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	if dead := want[letters](w, 200, ops, "GET", "/push/dead-letters?owner=*", ""); len(dead.Webhooks) > 0 {
		t.Errorf("dead letters of deleted tasks: %+v", dead.Webhooks)
	}
	if jobs := w.asked(); len(jobs) > 0 {
		t.Errorf("jobs for deleted tasks: %v", jobs)
	}
}

// A deletion whose answer was lost finds its own effect.
func TestDeletionWithALostAnswer(t *testing.T) {
	w := newWorld(t)
	w.ended(alice, "t1")
	w.config.Desk = w.Desk(faulty.Losing(w.Store, faulty.Commit, 1))
	w.Handler = push.New(w.config)
	if got := w.ask(alice, "DELETE", "/tasks/t1", ""); got.Code != http.StatusNoContent {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	if _, err := w.Store.Load(t.Context(), "t1"); !errors.Is(err, task.ErrDeleted) {
		t.Errorf("Load: %v, want ErrDeleted", err)
	}
}

// steps stores steps of a task and returns how many of it there are.
func (w *world) steps(id string, keys ...string) int {
	w.t.Helper()
	for _, key := range keys {
		if _, err := w.Store.KV().Put(w.t.Context(), kv.Entry{Key: "step/" + id + "/" + key}); err != nil {
			w.t.Fatal(err)
		}
	}
	list, err := w.Store.KV().List(w.t.Context(), "step/"+id+"/", "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(list)
}

// A deletion takes the steps of the task, and those of no other task.
//
// Shows AU12.
func TestDeletionTakesTheSteps(t *testing.T) {
	w := newWorld(t)
	w.ended(alice, "t1")
	w.ended(alice, "t10")
	w.steps("t1", "l1/000001", "l1/000002")
	w.steps("t10", "l1/000001")

	if got := w.ask(bob, "DELETE", "/tasks/t1", ""); got.Code != http.StatusNotFound || w.steps("t1") != 2 {
		t.Errorf("another caller: %d, and %d steps are left, want 404 and 2", got.Code, w.steps("t1"))
	}
	if got := w.ask(alice, "DELETE", "/tasks/t1", ""); got.Code != http.StatusNoContent || w.steps("t1") != 0 {
		t.Errorf("its owner: %d, and %d steps are left, want 204 and none", got.Code, w.steps("t1"))
	}
	if n := w.steps("t10"); n != 1 {
		t.Errorf("%d steps of another task are left, want 1", n)
	}
}

// A stubborn store of entries refuses deletions.
type stubborn struct{ kv.Store }

func (stubborn) Delete(context.Context, string, int64) error { return errors.New("not reached") }

// A deletion that dies before it has deleted the steps is repeated by its caller or, if not,
// completed by the purge. So is one whose run still writes a step.
func TestDeletionThatLeavesSteps(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"repeated", "left", "running"} {
		base.Accept(t, w.Store, w.Moment(), task.Acceptance{ID: id, Owner: alice})
		base.Claim(t, w.Store, id, w.Moment(), time.Minute)
		w.steps(id, "l1/000001", "l1/000002")
	}

	healthy := w.config.KV
	w.config.KV = stubborn{healthy}
	w.Handler = push.New(w.config)
	for _, id := range []string{"repeated", "left"} {
		if got := w.ask(alice, "DELETE", "/tasks/"+id, ""); got.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s, want 503 while there are steps", id, got.Code, got.Body)
		}
		if _, err := w.Store.Load(t.Context(), id); !errors.Is(err, task.ErrDeleted) {
			t.Errorf("Load(%s): %v, want ErrDeleted", id, err)
		}
	}

	w.config.KV = healthy
	w.Handler = push.New(w.config)
	for _, id := range []string{"repeated", "running"} {
		if got := w.ask(alice, "DELETE", "/tasks/"+id, ""); got.Code != http.StatusNoContent || w.steps(id) != 0 {
			t.Errorf("%s: %d, and %d steps are left, want 204 and none", id, got.Code, w.steps(id))
		}
	}

	w.steps("running", "l1/000003") // its run has not noticed yet
	for _, row := range []struct {
		after time.Duration
		want  int
	}{{w.Rules.Retention, 3}, {w.Rules.Retention + 2*time.Hour, 0}} {
		now := func() time.Time { return time.Now().Add(row.after) }
		d := desk.New(desk.Config{Store: w.Store, Queue: w.Jobs, Rules: w.Rules, Now: now, Log: w.Log})
		job := queue.Job{Queue: task.Turns, Path: queue.PathSweep, Sweep: now()}
		sweep.New(sweep.Config{Desk: d, Store: w.Store, KV: healthy, Queue: w.Jobs}).ServeHTTP(
			httptest.NewRecorder(), httptest.NewRequest("POST", queue.PathSweep, bytes.NewReader(job.Body())))
		if n := w.steps("left") + w.steps("running"); n != row.want {
			t.Errorf("%v after the deletions %d steps are left, want %d", row.after, n, row.want)
		}
	}
}

// A deletion that meets a call begun less than 5 s ago is answered when these 5 s are over.
func TestDeletionWaitsForCallsThatMayBegin(t *testing.T) {
	w := newWorld(t)
	now := w.Moment()
	base.Accept(t, w.Store, now, task.Acceptance{ID: "t1", Owner: alice})
	base.Claim(t, w.Store, "t1", now, time.Minute)
	begun := w.Rules.At(time.Now().Add(time.Second - task.BeginWithin))
	r := base.Update(t, w.Store, "t1", func(r task.Record) (task.Record, bool, error) {
		return r.OpenStep(begun, task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Step{Number: 1, Calls: []task.Call{{Name: "refund", Effects: true}}}, []int{0})
	})
	if got := w.ask(alice, "DELETE", "/tasks/t1", ""); got.Code != http.StatusNoContent {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if answered := time.Now(); answered.Before(r.BeginsUntil()) {
		t.Errorf("answered %v before the 5 s were over", r.BeginsUntil().Sub(answered))
	}
}
