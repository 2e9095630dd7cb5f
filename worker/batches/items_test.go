package batches_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/worker/batches"
	"errand/worker/run"
	"errand/worker/turn"
)

// A waiting is an owner's wait for tokens, with which a test holds the feeder.
type waiting struct{ atomic.Int64 }

func (w *waiting) wait(context.Context, string) (time.Duration, error) {
	return time.Duration(w.Load()), nil
}

// held makes a bench whose batches feed nothing before the returned function is called.
func held(t *testing.T) (b *bench, feed func(id string)) {
	t.Helper()
	w := &waiting{}
	w.Store(int64(time.Hour))
	b = newBench(t, func(c *batches.Config) { c.Wait = w.wait })
	now := time.Now()
	b.stop(now)
	return b, func(id string) {
		w.Store(0)
		b.stop(now.Add(time.Hour))
		b.job(id)
	}
}

// Lines that a client named before they were fed are found in the state that they have then.
func TestFeederFindsWhatIsThere(t *testing.T) {
	b, feed := held(t)
	const lines = 30
	id := b.submit(b.spec("all", manifest(lines)))
	r := b.await(id, func(r task.Record) bool { return !r.Wake.IsZero() })

	form := batch.Form{Input: []string{"text/plain"}}
	item := func(line int) desk.Item {
		it, bad := form.Parse(batch.Errand, line, fmt.Appendf(nil, `{"id": "L%d", "text": "prompt %d"}`, line, line))
		if bad != nil {
			t.Fatal(bad)
		}
		return desk.Item{Batch: r, Line: line, Message: it.For(id)}
	}
	for _, line := range []int{2, 3, 4} {
		if err := b.desk.Feed(t.Context(), item(line)); err != nil {
			t.Fatal(err)
		}
		b.await(task.ItemID(id, line), task.Record.Terminal)
	}
	b.remove(task.ItemID(id, 3))
	if err := b.desk.Withhold(t.Context(), r, 5, a2a.TaskStateCanceled, "The task was canceled by its client."); err != nil {
		t.Fatal(err)
	}

	feed(id)
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	faults := b.wantLines(id, lines, 3, 5)
	if faults[3].Error.Code != batch.FaultDeleted || faults[5].Error.Code != batch.FaultCanceled {
		t.Errorf("the errors are %+v", faults)
	}
	if got := b.started.Load(); got != lines-1 {
		t.Errorf("%d items were run, want %d", got, lines-1)
	}
}

// An item that asks its client holds up its batch until it is answered, as any task does.
func TestItemThatAsks(t *testing.T) {
	b := newBench(t, nil)
	b.answer = func(ctx context.Context, ec *a2asrv.ExecutorContext) error {
		if r, _ := run.From(ctx); told(ec) == one(2) && r.Turn == 1 {
			return &run.Ask{Message: a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart("Which one?"))}
		}
		return nil
	}
	id := b.submit(b.spec("all", manifest(3)))
	b.await(task.ItemID(id, 2), task.Record.Interrupted)
	b.awaitState(id, func(s batch.State) bool { return s.Fed == 3 && s.Open == 1 })

	m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(one(2)))
	m.TaskID = a2a.TaskID(task.ItemID(id, 2))
	if _, err := b.desk.Accept(t.Context(), desk.Message{Owner: owner, Message: m}); err != nil {
		t.Fatal(err)
	}
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, 3)
}

// Lines whose tasks fail are errors, with the reason.
func TestItemThatFails(t *testing.T) {
	b := newBench(t, nil)
	b.answer = func(_ context.Context, ec *a2asrv.ExecutorContext) error {
		if told(ec) == one(2) {
			return task.ErrTooLarge
		}
		return nil
	}
	id := b.submit(b.spec("all", manifest(3)))
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	if f := b.wantLines(id, 3, 2)[2]; f.Error.Code != batch.FaultFailed || !strings.Contains(f.Error.Message, "too large") {
		t.Errorf("the error is %+v", f.Error)
	}
	if st := b.state(id); st.Counts.Completed != 2 || st.Counts.Failed != 1 {
		t.Errorf("the counts are %+v", st.Counts)
	}
}

// An item that has ended by a look may be read as it was before: the write of its end has no
// answer yet. Its line waits for the next look.
func TestItemThatIsReadTooEarly(t *testing.T) {
	b := newBench(t, nil)
	var early sync.Map
	b.current.Store(b.process(&tap{loaded: func(r task.Record) task.Record {
		if _, line, ok := r.Item(); ok && r.Terminal() {
			if _, again := early.LoadOrStore(line, true); !again {
				before := *r.Task
				before.Status = a2a.TaskStatus{State: a2a.TaskStateWorking}
				r.Task = &before
				r.Spent = task.Spent{}
			}
		}
		return r
	}}))
	b.spends = task.Spent{Prompt: 10, Replies: 1}
	const lines = 20
	s := b.spec("all", manifest(lines))
	s.Budget = &batch.Budget{Tokens: 10 * lines} // its reckoning reads them too
	id := b.submit(s)
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, lines)

	early.Clear()
	s = b.spec("plain", manifest(lines))
	id = b.submit(s)
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, lines)
}

// An item sees no other one, although all of them have the batch as their context.
func TestItemsHaveNoConversation(t *testing.T) {
	b := newBench(t, nil)
	var related atomic.Int64
	b.answer = func(_ context.Context, ec *a2asrv.ExecutorContext) error {
		related.Add(int64(len(ec.RelatedTasks) + len(ec.StoredTask.History) - 1))
		return nil
	}
	id := b.submit(b.spec("all", manifest(50)))
	b.settled(id)
	if n := related.Load(); n > 0 {
		t.Errorf("items were shown %d tasks and messages of others", n)
	}
}

// A batch that runs the failed lines of another one has complete files: the answers that there
// are, and those of the lines that ran again.
func TestRetryRunsTheFailedLines(t *testing.T) {
	b := newBench(t, nil)
	const lines = 1010
	var again sync.Map
	b.answer = func(_ context.Context, ec *a2asrv.ExecutorContext) error {
		again.Store(told(ec), true)
		if told(ec) == one(5) || told(ec) == one(1001) {
			return task.ErrTooLarge
		}
		return nil
	}
	s := b.spec("all", manifest(lines))
	first := b.submit(s)
	b.settled(first)
	b.wantLines(first, lines, 5, 1001)

	// The batch before may be gone as soon as the manifest is checked.
	b.started.Store(0)
	again.Clear()
	g := b.gated(all)
	s.Name, s.Retry = batch.RetryName(s.Name), first
	second := b.submit(s)
	b.awaitState(second, func(s batch.State) bool { return s.Fed == lines })
	b.remove(first)
	g.release()

	b.wantEnd(b.settled(second), a2a.TaskStateCompleted)
	b.wantLines(second, lines)
	if n := b.started.Load(); n != 2 {
		t.Errorf("%d items were run, want 2", n)
	}
	if st := b.state(second); st.Counts.Completed != lines || st.Counts.Items != 2 {
		t.Errorf("the counts are %+v", st.Counts)
	}
}

// Without the answers of the batch before there is nothing to complete. Those of somebody else's
// batch are not there for its owner.
func TestRetryOfABatchThatIsGone(t *testing.T) {
	b := newBench(t, nil)
	theirs := task.BatchID("other", "theirs")
	results := files.Upload{Name: batch.ResultsFile(theirs), Owner: "other", MediaType: "application/jsonl"}
	if _, err := b.files.Put(t.Context(), results, strings.NewReader(`{"line": 1, "text": "a secret"}`+"\n")); err != nil {
		t.Fatal(err)
	}
	for _, before := range []string{task.BatchID(owner, "never"), theirs} {
		s := b.spec(before, manifest(3))
		s.Retry = before
		r := b.settled(b.submit(s))
		if say := b.wantEnd(r, a2a.TaskStateFailed); !strings.Contains(say, "is gone") {
			t.Errorf("the batch says %s", say)
		}
	}
}

// A run that is over parks its batch, which goes on in the next one. It costs no attempt,
// however often it happens, and each run begins at the stored cursor.
func TestRunsParkTheirBatch(t *testing.T) {
	b := newBench(t, nil)
	const lines = 40
	g := b.gated(all)
	b.turns = func(c *turn.Config) { c.Deadline = 200 * time.Millisecond }
	b.current.Store(b.process(nil))
	id := b.submit(b.spec("all", manifest(lines)))
	r := b.await(id, func(r task.Record) bool { return r.Epoch > 6 })
	if r.Attempt > 1 {
		t.Errorf("after %d runs it has %d attempts", r.Epoch, r.Attempt)
	}
	g.release()
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, lines)
	if got := b.started.Load(); got != lines {
		t.Errorf("%d items were run, want %d", got, lines)
	}
}

// A process that stops parks its batches at once, with their progress.
func TestStoppingProcessParksItsBatches(t *testing.T) {
	b := newBench(t, func(c *batches.Config) { c.Save = time.Hour })
	b.gated(all)
	const lines = 40
	var made atomic.Int64
	fed := make(chan struct{})
	once := sync.OnceFunc(func() { close(fed) })
	old := b.process(&tap{
		before: func(c call) error {
			if c.method == "Open" && made.Load() == lines { // the round after that of the last item
				once()
			}
			return nil
		},
		after: func(c call) error {
			if _, _, item := task.ItemOf(c.on); c.method == "Create" && item {
				made.Add(1)
			}
			return nil
		},
	})
	b.current.Store(old)
	id := b.submit(b.spec("all", manifest(lines)))
	<-fed
	if st := b.state(id); st.Fed == lines {
		t.Errorf("the progress is stored at once: %+v", st)
	}

	// Another process may get the next delivery.
	b.current.Store(b.process(&tap{before: func(call) error { return errDead }}))
	old.handler.Drain()
	old.idle.Wait()
	if st := b.state(id); st.Fed != lines {
		t.Errorf("the progress is %+v", st)
	}
	if r := b.Load(id); r.Lease != (task.Lease{}) || r.Attempt != 0 {
		t.Errorf("it has the lease %+v and %d attempts", r.Lease, r.Attempt)
	}
}

// A disk that is full parks the batch with the reason. It goes on by itself.
func TestFullDiskParksTheBatch(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	b := newBench(t, func(c *batches.Config) {
		c.Room = func(context.Context) error {
			if full.Load() {
				return task.ErrFull
			}
			return nil
		}
	})
	now := time.Now()
	b.stop(now)
	id := b.submit(b.spec("all", manifest(20)))
	r := b.await(id, func(r task.Record) bool { return !r.Wake.IsZero() })
	if say := b.wantEnd(r, a2a.TaskStateWorking); !strings.Contains(say, "no room") || r.Attempt != 0 {
		t.Errorf("the batch says %s after %d attempts", say, r.Attempt)
	}
	full.Store(false)
	b.stop(now.Add(time.Hour))
	b.job(id)
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, 20)
}

// A manifest that goes while its lines run fails the batch. The lines that ran are in its
// files, with their ids.
func TestManifestThatGoesWhileItIsRead(t *testing.T) {
	b, feed := held(t)
	const lines = 1500
	s := b.spec("all", manifest(lines))
	id := b.submit(s)
	r := b.await(id, func(r task.Record) bool { return !r.Wake.IsZero() })
	it, _ := batch.Form{Input: []string{"text/plain"}}.Parse(batch.Errand, 1, []byte(`{"id": "L1", "text": "prompt 1"}`))
	if err := b.desk.Feed(t.Context(), desk.Item{Batch: r, Line: 1, Message: it.For(id)}); err != nil {
		t.Fatal(err)
	}
	b.await(task.ItemID(id, 1), task.Record.Terminal)
	if err := b.uploads.Delete(t.Context(), owner, s.Input.File); err != nil {
		t.Fatal(err)
	}

	feed(id)
	if say := b.wantEnd(b.settled(id), a2a.TaskStateFailed); !strings.Contains(say, "gone") {
		t.Errorf("the batch says %s", say)
	}
	var failed []int
	for line := 2; line <= lines; line++ {
		failed = append(failed, line)
	}
	b.wantLines(id, lines, failed...)
}

// What a batch costs: each item is created, claimed and ended by one write each, has one job, and
// is read once when it is collected. The number of items is counted without reading them.
func TestCostOfAnItem(t *testing.T) {
	b := newBench(t, func(c *batches.Config) { c.Look, c.Save = 50*time.Millisecond, time.Hour })
	const lines = 300
	var mu sync.Mutex
	calls := map[string]int{}
	count := func(who string) func(call) error {
		return func(c call) error {
			mu.Lock()
			defer mu.Unlock()
			if _, _, item := task.ItemOf(c.on); item || c.method == "OpenLines" {
				calls[who+c.method]++
			}
			return nil
		}
	}
	b.ran.before = count("item: ")
	b.current.Store(b.process(&tap{before: count("batch: ")}))
	id := b.submit(b.spec("all", manifest(lines)))
	b.settled(id)

	mu.Lock()
	defer mu.Unlock()
	want := map[string]int{
		"batch: Create": lines, "batch: Load": lines, "batch: OpenLines": 1, // the last one settles
		"item: Load": lines, "item: Commit": 2 * lines,
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	jobs := map[string]int{}
	for _, j := range b.Jobs.All() {
		jobs[j.Queue]++
	}
	if diff := cmp.Diff(map[string]int{queue.Batches: 1, queue.Bulk: lines}, jobs); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

// A look is one call, whatever the size of the batch: no item is read and nothing is written.
func TestCostOfALook(t *testing.T) {
	for _, lines := range []int{40, 1200} {
		var mu sync.Mutex
		calls := map[string]int{}
		b := newBench(t, func(c *batches.Config) { c.Save = time.Hour })
		g := b.gated(is(1))
		b.current.Store(b.process(&tap{before: func(c call) error {
			mu.Lock()
			defer mu.Unlock()
			calls[c.method]++
			return nil
		}}))
		looks := func() int {
			mu.Lock()
			defer mu.Unlock()
			return calls["Open"]
		}

		id := b.submit(b.spec("all", manifest(lines)))
		for line := 2; line <= lines; line++ {
			b.await(task.ItemID(id, line), task.Record.Terminal)
		}
		for n := looks(); looks() < n+2; b.pause() { // the round that has fed the last line is over
		}
		mu.Lock()
		clear(calls)
		mu.Unlock()
		for looks() < 20 {
			b.pause()
		}
		mu.Lock()
		if n := calls["Open"]; len(calls) > 1 {
			t.Errorf("%d looks at a batch of %d lines made the calls %v", n, lines, calls)
		}
		mu.Unlock()

		g.release()
		b.settled(id)
		b.wantLines(id, lines)
	}
}
