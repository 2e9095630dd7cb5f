package push_test

import (
	"errors"
	"net/http"
	"testing"

	"errand/cardserver/push"
	"errand/shared/lab/faulty"
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
