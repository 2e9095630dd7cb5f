package conformance

import (
	"fmt"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// heldIsCounted: the tasks of one owner that wait or run are counted, up to one more than
// asked for, and the bytes of all its tasks, if the store counts any.
func heldIsCounted(t *testing.T, s Stored, c *clock) {
	sizes, made := map[string]int64{}, 0
	add := func(owner string, n int, state a2a.TaskState) (last task.Record) {
		for range n {
			made++
			r := create(t, s, record(fmt.Sprint("held", made), func(r *task.Record) {
				r.Owner = owner
				r.Task.Status.State = state
			}))
			enc, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			sizes[owner] += int64(enc.Size())
			last = r
		}
		return last
	}

	add(someone, 3, a2a.TaskStateSubmitted)
	add(someone, 2, a2a.TaskStateWorking)
	add(someone, 4, a2a.TaskStateCompleted)
	add(someone, 1, a2a.TaskStateInputRequired)
	add("other", 1, a2a.TaskStateSubmitted)

	for _, row := range []struct {
		owner         string
		most, waiting int
	}{{someone, 100, 5}, {someone, 5, 5}, {someone, 3, 4}, {"other", 100, 1}, {"nobody", 100, 0}} {
		h, err := s.Held(t.Context(), row.owner, row.most)
		if err != nil || h.Waiting != row.waiting {
			t.Errorf("Held(%s, %d) = %+v, %v, want %d that wait", row.owner, row.most, h, err, row.waiting)
		}
		if h.Bytes >= 0 && h.Bytes != sizes[row.owner] {
			t.Errorf("Held(%s) = %d bytes, want %d", row.owner, h.Bytes, sizes[row.owner])
		}
	}

	removed(t, s, add(someone, 4, a2a.TaskStateAuthRequired), c.now())
	waiting := create(t, s, record("deleted", func(r *task.Record) { r.Owner = "other" }))
	removed(t, s, waiting, c.now())
	if h, err := s.Held(t.Context(), "other", 100); err != nil || h.Waiting != 1 {
		t.Errorf("after a deletion Held = %+v, %v, want 1 that waits", h, err)
	}
}
