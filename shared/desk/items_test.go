package desk_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/lab/faulty"
	"errand/shared/task"
)

// batch makes a batch, and forgets its job.
func (b *bench) batch() task.Record {
	b.t.Helper()
	s := batch.Spec{Name: "nightly", Input: batch.Input{File: "f"}, Deadline: b.w.Now().Add(time.Hour)}
	r, _, err := b.Batch(b.t.Context(), "me", s)
	if err != nil {
		b.t.Fatal(err)
	}
	b.jobs()
	return r
}

// line makes the item of a line.
func line(of task.Record, n int) desk.Item {
	return desk.Item{Batch: of, Line: n, Message: message("line", "go"), Metadata: map[string]any{"k": "v"}}
}

func (b *bench) feed(it desk.Item) task.Record {
	b.t.Helper()
	if err := b.Feed(b.t.Context(), it); err != nil {
		b.t.Fatal(err)
	}
	return b.w.Load(task.ItemID(it.Batch.ID(), it.Line))
}

func (b *bench) withhold(of task.Record, n int) task.Record {
	b.t.Helper()
	if err := b.Withhold(b.t.Context(), of, n, a2a.TaskStateCanceled, "over"); err != nil {
		b.t.Fatal(err)
	}
	r, err := b.w.Store.Load(b.t.Context(), task.ItemID(of.ID(), n))
	if err != nil && !errors.Is(err, task.ErrDeleted) {
		b.t.Fatal(err)
	}
	return r
}

// An item has what a task needs, its own lane, and the life and the end of its batch. Feeding it
// again finds it, and adds the job again that its feeder may not have added.
func TestFeed(t *testing.T) {
	b := newBench(t)
	of := b.batch()
	r := b.feed(line(of, 7))
	id := task.ItemID(of.ID(), 7)
	b.wantJobs("/bulk " + id)

	if r.Lane != task.Bulk || r.Owner != "me" || r.Task.ContextID != of.ID() || r.Life != of.Life || !r.Ends.Equal(of.Ends) || r.State() != a2a.TaskStateSubmitted {
		t.Errorf("the item is %+v", r)
	}
	if m := r.Task.History[0]; m.TaskID != r.Task.ID || m.ContextID != of.ID() || m.Parts[0].Text() != "go" || r.Request().Metadata["k"] != "v" {
		t.Errorf("its message is %+v", m)
	}

	if again := b.feed(line(of, 7)); again.Version != r.Version {
		t.Error("feeding it again has changed it")
	}
	b.wantJobs("/bulk " + id)

	b.run(id, a2a.TaskStateCompleted)
	b.feed(line(of, 7))
	b.wantJobs()
}

// An item of a batch with URLs for waiting calls has its batch's key, so a worker needs no other.
func TestItemIsWokenWithTheKeyOfItsBatch(t *testing.T) {
	b := newBench(t)
	of := b.batch()
	of.WakeKey = "key"
	if r := b.feed(line(of, 1)); r.WakeKey != "key" {
		t.Errorf("the item has the key %q", r.WakeKey)
	}
}

// A batch is deleted while its end is being settled, or has just been: the deletion has a job of
// its own.
func TestDeletedBatchHasAJob(t *testing.T) {
	for _, settled := range []bool{false, true} {
		b := newBench(t)
		met := b.change(b.batch().ID(), cancels)
		b.jobs()
		if settled {
			b.change(met.ID(), func(r task.Record, now task.Moment) (task.Record, bool, error) { return r.Settle(now) })
		}
		b.jobs()
		if _, err := b.Change(t.Context(), met, func(r task.Record, now task.Moment) (task.Record, bool, error) { return r.Delete(now) }); err != nil {
			t.Fatal(err)
		}
		b.wantJobs("/batch " + met.ID())
	}
}

// A record that exists is found, whatever became of it.
func TestFeedFindsWhatIsThere(t *testing.T) {
	b := newBench(t)
	of := b.batch()
	b.feed(line(of, 1))
	b.jobs()
	_, err := b.ChangeByID(t.Context(), task.ItemID(of.ID(), 1), func(r task.Record, now task.Moment) (task.Record, bool, error) { return r.Delete(now) })
	if err != nil {
		t.Fatal(err)
	}
	b.withhold(of, 2)

	for n := 1; n <= 2; n++ {
		if err := b.Feed(t.Context(), line(of, n)); err != nil {
			t.Errorf("line %d: %v", n, err)
		}
	}
	b.wantJobs()
}

// A lost answer is no error if the record was written. Without a record, Feed fails, and the
// feeder does not go on.
func TestFeedAfterALostAnswer(t *testing.T) {
	b := newBench(t)
	of := b.batch()
	b.configure(func(c *desk.Config) { c.Store = faulty.Losing(b.w.Store, faulty.Create, 1) })
	b.feed(line(of, 1))
	b.wantJobs("/bulk " + task.ItemID(of.ID(), 1))

	b.configure(func(c *desk.Config) { c.Store = faulty.Refusing(b.w.Store, faulty.Create, task.ErrFull) })
	if err := b.Feed(t.Context(), line(of, 2)); !errors.Is(err, task.ErrFull) {
		t.Errorf("with a full disk: %v", err)
	}
	b.wantJobs()
}

// The limits of an owner do not count for items: their batch bounds them.
func TestFeedNeedsNoRoomOfItsOwner(t *testing.T) {
	b := newBench(t)
	of := b.batch()
	b.configure(func(c *desk.Config) {
		c.Room = func(context.Context, string) error { return errors.New("too many wait") }
	})
	b.feed(line(of, 1))
}

// A line that does not fit into a record is refused.
func TestFeedRefusesWhatIsTooLarge(t *testing.T) {
	b := newBench(t)
	it := line(b.batch(), 1)
	it.Message = message("line", strings.Repeat("x", task.LimitAccept))
	if err := b.Feed(t.Context(), it); !errors.Is(err, task.ErrTooLarge) {
		t.Errorf("it is fed: %v", err)
	}
}

// No line can begin that was withheld. Nobody is told of one that has never begun, and one that
// has is canceled.
func TestWithhold(t *testing.T) {
	b := newBench(t)
	of := b.batch()
	r := b.withhold(of, 1)
	if r.State() != a2a.TaskStateCanceled || r.Task.Status.Message.Parts[0].Text() != "over" || len(r.Notifications) != 0 || !r.Due.At.IsZero() || !r.Expires.Equal(of.Ends) {
		t.Errorf("a line that never began is %+v", r)
	}
	b.wantJobs()
	if again := b.withhold(of, 1); again.Version != r.Version {
		t.Error("withholding it again has changed it")
	}
	b.wantJobs()
	if r := b.feed(line(of, 1)); r.State() != a2a.TaskStateCanceled {
		t.Errorf("it is fed: %s", r.State())
	}
	b.wantJobs()

	b.feed(line(of, 2))
	b.jobs()
	if r := b.withhold(of, 2); r.State() != a2a.TaskStateCanceled || len(r.Notifications) != 1 {
		t.Errorf("a line that had begun is %s with %d notifications", r.State(), len(r.Notifications))
	}
	b.wantJobs("/bulk " + task.ItemID(of.ID(), 2)) // announces the end

	b.feed(line(of, 3))
	b.run(task.ItemID(of.ID(), 3), a2a.TaskStateCompleted)
	if r := b.withhold(of, 3); r.State() != a2a.TaskStateCompleted {
		t.Errorf("a line that had ended is %s", r.State())
	}
}

// A batch is no conversation: a message begins none there. The question of an item can be
// answered.
func TestBatchIsNoConversation(t *testing.T) {
	b := newBench(t)
	of := b.batch()
	m := message("m", "hello")
	m.ContextID = of.ID()
	b.refuse(desk.ErrBatch, m)

	r := b.feed(line(of, 1))
	b.run(r.ID(), a2a.TaskStateInputRequired)
	answer := to(r, "answer")
	answer.ContextID = of.ID()
	if r := b.accept(answer); r.State() != a2a.TaskStateSubmitted {
		t.Errorf("the answered item is %s", r.State())
	}
}
