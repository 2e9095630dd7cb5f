package batchdesk_test

import (
	"context"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/lab/faulty"
	"errand/shared/lab/world"
	"errand/shared/task"
)

// watched has the desk read records by a store that tells of the values that a watch has had. In
// between, then does what a worker does.
func (b *bench) watched(then func(seen int)) (watches *int) {
	watches = new(int)
	b.configure(func(c *batchdesk.Config) {
		c.Store = faulty.Store{Store: b.w.Store, Before: func(c faulty.Call) error {
			if c.Op == faulty.Watch {
				*watches++
				then(c.Seen)
			}
			return nil
		}}
	})
	return watches
}

// say commits what a run says.
func (b *bench) say(id, text string) {
	b.Helper()
	world.Update(b, b.w.Store, id, func(r task.Record) (task.Record, bool, error) {
		event := a2a.NewStatusUpdateEvent(a2a.TaskInfo{TaskID: a2a.TaskID(id), ContextID: id}, a2a.TaskStateWorking, a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(text)))
		return r.Progress(b.w.Moment(), task.Fence{Epoch: r.Epoch, Seq: r.Seq}, []a2a.Event{event})
	})
}

// A wait ends with the change of the record behind the one that has the number of lines, and not
// with a change before.
func TestAwaitEndsWithTheScan(t *testing.T) {
	b := newBench(t)
	first := b.named(alice, "n")
	id := first.ID()
	b.watched(func(seen int) {
		switch seen {
		case 1: // the record as it was submitted
			world.Claim(b, b.w.Store, id, b.w.Moment(), time.Minute)
		case 2:
			b.w.SetBatch(id, batch.State{Lines: 3, Estimate: batch.Estimate{Input: 5}})
			b.say(id, "checked")
		}
	})
	got := b.Await(t.Context(), first)
	if got.State.Lines != 3 || got.State.Estimate.Input != 5 || got.Message() != "checked" || !got.Checked() {
		t.Errorf("the batch is %+v", got)
	}
}

// A scan that ended before the watch began is found.
func TestAwaitMissesNothing(t *testing.T) {
	b := newBench(t)
	first := b.named(alice, "n")
	world.Claim(b, b.w.Store, first.ID(), b.w.Moment(), time.Minute)
	b.w.SetBatch(first.ID(), batch.State{Lines: 3})
	if got := b.Await(t.Context(), first); got.State.Lines != 3 {
		t.Errorf("the batch is %+v", got)
	}
}

// A batch of which nothing more is to be known soon is not waited for.
func TestAwaitOfABatchThatIsKnown(t *testing.T) {
	b := newBench(t)
	watches := b.watched(func(int) {})
	scanned, ended, waits := b.named(alice, "scanned"), b.named(alice, "ended"), b.named(alice, "waits")
	b.w.SetBatch(scanned.ID(), batch.State{Lines: 3})
	b.w.EndBatch(ended.ID(), a2a.TaskStateCanceled, batch.State{})
	if _, err := b.Pause(t.Context(), alice, waits.ID()); err != nil {
		t.Fatal(err)
	}
	for _, of := range []batchdesk.Batch{scanned, ended, waits} {
		now, err := b.Find(t.Context(), alice, of.ID())
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Await(t.Context(), now); !got.Checked() || got.Record.Version != now.Record.Version {
			t.Errorf("%s: %+v", of.Spec.Name, got)
		}
	}
	if *watches != 0 {
		t.Errorf("they were watched %d times", *watches)
	}
}

// A wait ends with its context, with a rejection, and when the batch is deleted. Its answer is
// what was known last.
func TestAwaitEnds(t *testing.T) {
	b := newBench(t)
	first := b.named(alice, "n")
	ctx, cancel := context.WithCancel(t.Context())
	b.watched(func(seen int) {
		if seen == 1 {
			cancel()
		}
	})
	if got := b.Await(ctx, first); got.Checked() || got.Record.Version != first.Record.Version {
		t.Errorf("without a scan it is %+v", got)
	}

	// A rejection is in the state first, and then in the record.
	id := first.ID()
	b.watched(func(seen int) {
		switch seen {
		case 1:
			b.w.SetBatch(id, batch.State{Lines: 3, Bad: 1, Error: "bad"})
			world.Claim(b, b.w.Store, id, b.w.Moment(), time.Minute)
		case 2:
			b.w.EndBatch(id, a2a.TaskStateRejected, batch.State{Lines: 3, Bad: 1, Error: "bad"})
		}
	})
	if got := b.Await(t.Context(), first); got.Record.State() != a2a.TaskStateRejected {
		t.Errorf("a rejected batch is %+v", got)
	}

	second := b.named(alice, "m")
	b.watched(func(seen int) {
		if seen == 1 {
			if _, err := b.config.Desk.ChangeByID(t.Context(), second.ID(), task.Record.Delete); err != nil {
				t.Error(err)
			}
		}
	})
	if got := b.Await(t.Context(), second); got.ID() != second.ID() {
		t.Errorf("a deleted batch is %+v", got)
	}
}
