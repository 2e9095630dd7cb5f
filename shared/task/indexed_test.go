package task_test

import (
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// An item is in the list of its batch, and open until it ends. Any other record is in its
// owner's list, the batch's own task too.
func TestIndexedItems(t *testing.T) {
	batch := task.BatchID("me", "nightly")
	indexed := func(id string, state a2a.TaskState) task.Indexed {
		at := time.Now()
		return task.Record{Owner: "me", Task: &a2a.Task{
			ID: a2a.TaskID(id), ContextID: batch, Status: a2a.TaskStatus{State: state, Timestamp: &at},
		}}.Indexed()
	}

	for _, state := range []a2a.TaskState{
		a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateInputRequired, a2a.TaskStateAuthRequired,
		a2a.TaskStateCompleted, a2a.TaskStateCanceled, a2a.TaskStateFailed, a2a.TaskStateRejected,
	} {
		i := indexed(task.ItemID(batch, 7), state)
		open, line := batch, 7
		if state.Terminal() {
			open, line = "", 0
		}
		if i.Owner != "me" || i.Lister != task.ItemLister("me", batch) || i.Context != "" || i.Open != open || i.Line != line {
			t.Errorf("an item that is %s has %+v", state, i)
		}

		plain, _ := task.Derive("me", "m")
		for _, id := range []string{batch, plain, task.ItemID(batch, 7) + "0"} {
			if i := indexed(id, state); i.Owner != "me" || i.Lister != "me" || i.Context != batch || i.Open != "" || i.Line != 0 {
				t.Errorf("%s, which is no item, has %+v", id, i)
			}
		}
	}
}

// A query asks for the list in which its records are.
func TestKeysOfQueries(t *testing.T) {
	mine, theirs := task.BatchID("me", "nightly"), task.BatchID("you", "nightly")
	for _, row := range []struct{ owner, context, lister, rest string }{
		{"me", "", "me", ""},
		{"me", "c", "me", "c"},
		{"", "", "", ""},
		{"me", mine, mine + " me", ""},
		{"me", theirs, theirs + " me", ""}, // nothing is in it
		{"me", mine + "x", "me", mine + "x"},
	} {
		lister, rest := task.Query{Owner: row.owner, Context: row.context}.Keys()
		if lister != row.lister || rest != row.rest {
			t.Errorf("the list of %q and %q is %q and %q, want %q and %q", row.owner, row.context, lister, rest, row.lister, row.rest)
		}
		if got := task.OwnerOf(lister); got != row.owner {
			t.Errorf("the owner of %q is %q, want %q", lister, got, row.owner)
		}
	}

	for _, owner := range []string{"", "a b", mine, mine + "x y", "tenant/" + mine + " x"} {
		if got := task.OwnerOf(owner); got != owner {
			t.Errorf("OwnerOf(%q) = %q", owner, got)
		}
		if got := task.OwnerOf(task.ItemLister(owner, mine)); got != owner {
			t.Errorf("the owner of the lister of %q is %q", owner, got)
		}
	}
}
