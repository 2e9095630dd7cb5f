package turn_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/desk"
	"errand/shared/lab/faulty"
	base "errand/shared/lab/world"
	"errand/shared/task"
	"errand/worker/turn"
)

// A task that was run again is in the conversation once: as the rerun. The rerun itself does not
// see it, but it sees the tasks that came since.
func TestRerunTakesThePlaceOfItsTask(t *testing.T) {
	seen := map[a2a.TaskID][]a2a.TaskID{}
	fails := true
	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		for _, r := range ec.RelatedTasks {
			seen[ec.TaskID] = append(seen[ec.TaskID], r.ID)
		}
		state := a2a.TaskStateCompleted
		if fails {
			state = a2a.TaskStateFailed
		}
		yield(a2a.NewStatusUpdateEvent(ec, state, nil), nil)
	}))

	next := func(id string) {
		t.Helper()
		b.deliver(id, id, 0)
		b.advance(time.Second)
	}
	inContext := func(id, of string) string {
		t.Helper()
		r, err := b.desk.Accept(t.Context(), desk.Message{Owner: "me", Message: &a2a.Message{
			ID: id, ContextID: of, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(id)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return r.ID()
	}

	first := b.send("m1", "one", "")
	next(first.ID())
	fails = false
	second := inContext("m2", first.Task.ContextID)
	next(second)
	again, err := b.desk.Rerun(t.Context(), desk.Rerun{Owner: "me", Task: first.ID()})
	if err != nil {
		t.Fatal(err)
	}
	next(again.ID())
	third := inContext("m3", first.Task.ContextID)
	next(third)

	want := map[a2a.TaskID][]a2a.TaskID{
		a2a.TaskID(second):     {first.Task.ID},
		a2a.TaskID(again.ID()): {a2a.TaskID(second)},
		a2a.TaskID(third):      {a2a.TaskID(second), a2a.TaskID(again.ID())},
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("related tasks (-want +got):\n%s", diff)
	}
}

// While the steps of a task are copied, its owner deletes it, which copies them first. The rerun goes
// on, as it does if it has seen that itself.
func TestDeletionWhileStepsAreCopied(t *testing.T) {
	fails := true
	b := newBench(t, nil)
	var old, again task.Record
	deletes := sync.OnceFunc(func() {
		base.Update(t, b.Store, again.ID(), func(r task.Record) (task.Record, bool, error) { return r.Bring(b.Moment()) })
		base.Update(t, b.Store, old.ID(), func(r task.Record) (task.Record, bool, error) { return r.Delete(b.Moment()) })
	})
	store := faulty.Store{Store: b.Store, Before: func(c faulty.Call) error {
		if c.Op == faulty.Load && again.Task != nil && c.ID == old.ID() {
			deletes()
		}
		return nil
	}}
	b.configure(execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		state := a2a.TaskStateCompleted
		if fails {
			state = a2a.TaskStateFailed
		}
		yield(a2a.NewStatusUpdateEvent(ec, state, nil), nil)
	}), func(c *turn.Config) { c.Store = store })

	old = b.send("m1", "one", "")
	b.deliver(old.ID(), "job", 0)
	fails = false
	var err error
	if again, err = b.desk.Rerun(t.Context(), desk.Rerun{Owner: "me", Task: old.ID()}); err != nil {
		t.Fatal(err)
	}
	b.deliver(again.ID(), "job2", 0)
	if r := b.Load(again.ID()); r.State() != a2a.TaskStateCompleted {
		t.Errorf("%s: %s", r.State(), shown(r))
	}
}
