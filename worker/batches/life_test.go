package batches_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/task"
	"errand/worker/batches"
)

// A gate holds items until it is opened.
type gate struct {
	open  chan struct{}
	once  sync.Once
	holds func(text string) bool
}

// gated makes items wait whose texts are to be held. The gate is opened when the test ends.
func (b *bench) gated(holds func(text string) bool) *gate {
	g := &gate{open: make(chan struct{}), holds: holds}
	b.answer = func(ctx context.Context, ec *a2asrv.ExecutorContext) error {
		if !g.holds(told(ec)) {
			return nil
		}
		select {
		case <-g.open:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	b.t.Cleanup(g.release)
	return g
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

func all(string) bool { return true }

// cancel ends a task as the front door does.
func (b *bench) cancel(id string) {
	b.t.Helper()
	_, err := b.desk.ChangeByID(b.t.Context(), id, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.Cancel(now, a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart("canceled")), nil)
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// remove deletes a task as the front door does.
func (b *bench) remove(id string) {
	b.t.Helper()
	_, err := b.desk.ChangeByID(b.t.Context(), id, func(r task.Record, now task.Moment) (task.Record, bool, error) { return r.Delete(now) })
	if err != nil {
		b.t.Fatal(err)
	}
}

// wish sends a batch a message that asks it to go on.
func (b *bench) wish(id string, w batch.Wish) {
	b.t.Helper()
	data, err := w.Data()
	if err != nil {
		b.t.Fatal(err)
	}
	m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewDataPart(data))
	m.TaskID = a2a.TaskID(id)
	if _, err := b.desk.Accept(b.t.Context(), desk.Message{Owner: owner, Message: m}); err != nil {
		b.t.Fatal(err)
	}
}

// one is the text of a line.
func one(line int) string { return fmt.Sprintf("prompt %d", line) }

func is(line int) func(string) bool { return func(text string) bool { return text == one(line) } }

// A line that takes long holds up the files, and nothing else: all others are fed and end. The
// segments below it are written.
func TestStragglerHoldsUpTheFilesAlone(t *testing.T) {
	b := newBench(t, nil)
	const lines, slow = 2100, 1500
	g := b.gated(is(slow))
	id := b.submit(b.spec("all", manifest(lines)))
	st := b.awaitState(id, func(s batch.State) bool { return s.Fed == lines && s.Open == 1 && s.Segs == 1 })
	if st.Ended() != lines-1 || st.Counts.Completed != batch.PerSegment {
		t.Errorf("the progress is %+v", st)
	}
	if got := len(b.results(batch.ResultsSegment(id, 0))); got != batch.PerSegment {
		t.Errorf("the first segment has %d lines", got)
	}

	g.release()
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, lines)
}

// While a batch is paused, no line begins. Then it goes on where it was.
func TestPausedBatchFeedsNothing(t *testing.T) {
	look := time.Hour // once
	b := newBench(t, func(c *batches.Config) { c.Look = look })
	const lines, first = 60, 16
	id := b.submit(b.spec("all", manifest(lines)))
	for line := 1; line <= first; line++ {
		b.await(task.ItemID(id, line), task.Record.Terminal)
	}
	_, err := b.desk.ChangeByID(t.Context(), id, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.Suspend(now, a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart("paused")))
	})
	if err != nil {
		t.Fatal(err)
	}
	b.current.Load().idle.Wait() // the run has lost the batch

	look = time.Millisecond
	b.current.Store(b.process(nil))
	b.job(id)
	b.current.Load().idle.Wait()
	if got := b.items(id, lines); got != first || b.Load(id).State() != a2a.TaskStateInputRequired {
		t.Errorf("%d items were made while the batch is %s", got, b.Load(id).State())
	}

	b.wish(id, batch.Wish{})
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, lines)
	if got := b.started.Load(); got != lines {
		t.Errorf("%d items were run, want %d", got, lines)
	}
}

// items counts the lines of a batch that are tasks.
func (b *bench) items(id string, lines int) (n int) {
	b.t.Helper()
	for line := 1; line <= lines; line++ {
		switch _, err := b.Store.Load(b.t.Context(), task.ItemID(id, line)); {
		case err == nil:
			n++
		case !errors.Is(err, task.ErrNotFound):
			b.t.Fatal(err)
		}
	}
	return n
}

// A canceled batch ends its items. Its files have the answers so far, and tell of each other
// line that it has none.
func TestCanceledBatchEndsItsItems(t *testing.T) {
	b := newBench(t, nil)
	const lines, first = 1100, 10
	b.gated(func(text string) bool { return !strings.HasPrefix(text, "prompt ") || len(text) > len("prompt 9") })
	id := b.submit(b.spec("all", manifest(lines)))
	for line := 1; line < first; line++ {
		b.await(task.ItemID(id, line), task.Record.Terminal)
	}
	b.cancel(id)
	r := b.settled(id)
	b.wantEnd(r, a2a.TaskStateCanceled)

	var failed []int
	for line := first; line <= lines; line++ {
		failed = append(failed, line)
	}
	faults := b.wantLines(id, lines, failed...)
	if last := faults[lines]; last.Error.Code != batch.FaultStopped || last.State != "" {
		t.Errorf("the last line, which was not fed, is %+v", last)
	}
	if open := faults[first]; open.Error.Code != batch.FaultStopped {
		t.Errorf("a line that ran is %+v", open)
	}
	b.noneOpen(id)
}

// noneOpen checks that no item of a batch can still run.
func (b *bench) noneOpen(id string) {
	b.t.Helper()
	if open, err := b.Store.OpenLines(b.t.Context(), id, 0, 10); err != nil || len(open) > 0 {
		b.t.Errorf("open lines: %v, %v", open, err)
	}
}

// At its deadline a batch ends what is open, and fails with files that are whole.
func TestBatchEndsAtItsDeadline(t *testing.T) {
	b := newBench(t, nil)
	const lines = 300
	b.gated(func(text string) bool { return text != one(1) })
	now := time.Now()
	b.stop(now)
	s := b.spec("all", manifest(lines))
	s.Deadline = now.Add(time.Hour).UTC().Truncate(time.Millisecond)
	id := b.submit(s)
	b.await(task.ItemID(id, 1), task.Record.Terminal)
	b.awaitState(id, func(s batch.State) bool { return s.Open > 0 })

	b.stop(now.Add(time.Hour))
	r := b.await(id, task.Record.Terminal)
	if say := b.wantEnd(r, a2a.TaskStateFailed); !strings.Contains(say, "deadline") {
		t.Errorf("the batch says %s", say)
	}
	if len(artifacts(r)) != 2 || !b.state(id).Whole {
		t.Errorf("when the batch ends, it has the artifacts %v, and its state is %+v", artifacts(r), b.state(id))
	}
	b.settled(id)

	var failed []int
	for line := 2; line <= lines; line++ {
		failed = append(failed, line)
	}
	if faults := b.wantLines(id, lines, failed...); faults[lines].Error.Code != batch.FaultExpired {
		t.Errorf("the last line is %+v", faults[lines])
	}
	b.noneOpen(id)
	if r.Expires != r.Ends || !r.Ends.Equal(s.Deadline.Add(b.Rules.Retention)) {
		t.Errorf("the batch expires at %v, and ends at %v", r.Expires, r.Ends)
	}
}

// A batch that is paused does not wait beyond its deadline.
func TestPausedBatchEndsAtItsDeadline(t *testing.T) {
	b := newBench(t, nil)
	b.gated(all)
	now := time.Now()
	b.stop(now)
	s := b.spec("all", manifest(30))
	s.Deadline = now.Add(time.Hour).UTC().Truncate(time.Millisecond)
	id := b.submit(s)
	b.awaitState(id, func(s batch.State) bool { return s.Open > 0 })
	_, err := b.desk.ChangeByID(t.Context(), id, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.Suspend(now, a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart("paused")))
	})
	if err != nil {
		t.Fatal(err)
	}

	b.stop(now.Add(time.Hour))
	b.job(id)
	b.wantEnd(b.settled(id), a2a.TaskStateFailed)
	if got := len(b.results(batch.ErrorsFile(id))); got != 30 {
		t.Errorf("%d lines have an error", got)
	}
	b.noneOpen(id)
}

// A deleted batch leaves nothing behind.
func TestDeletedBatchLeavesNothing(t *testing.T) {
	for name, when := range map[string]func(*bench, string){
		"while it runs": func(b *bench, id string) { b.awaitState(id, func(s batch.State) bool { return s.Open > 0 }) },
		"at its end":    func(b *bench, id string) { b.settled(id) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			const lines = 50
			if name == "while it runs" {
				b.gated(func(text string) bool { return text != one(1) })
			}
			id := b.submit(b.spec("all", manifest(lines)))
			when(b, id)
			b.remove(id)
			for {
				r, err := b.Store.Load(t.Context(), id)
				if errors.Is(err, task.ErrDeleted) && r.Settled {
					break
				}
				b.pause()
			}

			for line := 1; line <= lines; line++ {
				r, err := b.Store.Load(t.Context(), task.ItemID(id, line))
				if err == nil && len(r.Task.Artifacts)+len(r.Task.History) > 0 || err == nil && !r.Terminal() {
					t.Errorf("line %d is still there: %v", line, r.Task)
				}
			}
			for _, name := range []string{batch.IndexFile(id), batch.BadFile(id), batch.ResultsFile(id), batch.ErrorsFile(id)} {
				if _, _, err := b.files.Get(t.Context(), name); err == nil {
					t.Errorf("the file %s is still there", name)
				}
			}
			if _, err := b.Store.KV().Get(t.Context(), batch.StateKey(id)); err == nil {
				t.Error("the state is still there")
			}
			b.noneOpen(id)
		})
	}
}

// When the budget is used up, the batch waits for its client. With a larger one it goes on.
func TestBudget(t *testing.T) {
	b := newBench(t, nil)
	b.spends = task.Spent{Prompt: 10, Replies: 1}
	const lines = 200
	s := b.spec("all", manifest(lines))
	s.Budget = &batch.Budget{Tokens: 500}
	id := b.submit(s)
	r := b.await(id, task.Record.Interrupted)
	if say := b.wantEnd(r, a2a.TaskStateInputRequired); !strings.Contains(say, "500 tokens is used up") {
		t.Errorf("the batch says %s", say)
	}
	b.current.Load().idle.Wait()
	made := b.items(id, lines)
	if made < 50 || made > 50+16 {
		t.Errorf("%d items were made for a budget of 50", made)
	}

	b.wish(id, batch.Wish{Budget: &batch.Budget{Tokens: 100_000}})
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, lines)
	if got := b.state(id).Counts.Spent.Tokens(); got != 10*lines {
		t.Errorf("it cost %d tokens, want %d", got, 10*lines)
	}
}

// An owner without tokens for today waits, and says so. Items that have begun are collected.
func TestTokensOfTheDay(t *testing.T) {
	var mu sync.Mutex
	wait := time.Hour
	b := newBench(t, func(c *batches.Config) {
		c.Wait = func(context.Context, string) (time.Duration, error) {
			mu.Lock()
			defer mu.Unlock()
			return wait, nil
		}
	})
	now := time.Now()
	b.stop(now)
	id := b.submit(b.spec("all", manifest(20)))
	r := b.await(id, func(r task.Record) bool { return !r.Wake.IsZero() })
	if say := b.wantEnd(r, a2a.TaskStateWorking); !strings.Contains(say, "tokens of today") {
		t.Errorf("the batch says %s", say)
	}
	if want := now.Add(time.Hour); !r.Wake.Equal(want) || r.Attempt != 0 || b.started.Load() != 0 {
		t.Errorf("it wakes at %v, want %v, after %d attempts; %d items were run", r.Wake, want, r.Attempt, b.started.Load())
	}

	mu.Lock()
	wait = 0
	mu.Unlock()
	b.stop(now.Add(time.Hour))
	b.job(id)
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, 20)
}
