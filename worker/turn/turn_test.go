package turn_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/desk"
	"errand/shared/lab/faulty"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/worker/run"
	"errand/worker/turn"
)

// template is an executor as the SDK's documentation shows it, with random artifact ids. It
// knows nothing of leases, attempts or crashes.
func template(chunks ...string) execute {
	return func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		if ec.StoredTask == nil {
			if !yield(a2a.NewSubmittedTask(ec, ec.Message), nil) {
				return
			}
		}
		if !yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateWorking, nil), nil) {
			return
		}
		var id a2a.ArtifactID
		for _, c := range chunks {
			ev := a2a.NewArtifactUpdateEvent(ec, id, a2a.NewTextPart(c))
			if id == "" {
				ev = a2a.NewArtifactEvent(ec, a2a.NewTextPart(c))
				id = ev.Artifact.ID
			}
			if !yield(ev, nil) {
				return
			}
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}
}

// An executor that knows nothing of Errand survives a crash: its second attempt replaces the
// text of the first. Shows decision 9.
func TestForeignExecutorIsCrashProof(t *testing.T) {
	attempts := 0
	whole := template("one ", "two ", "three")

	b := newBench(t, execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		attempts++
		n := 0

		whole(ctx, ec, func(ev a2a.Event, err error) bool {
			if n++; attempts == 1 && n == 3 {
				if this, ok := run.From(ctx); !ok || this.Flush(ctx) != nil { // the first text is in the record
					t.Error("the first attempt could not commit")
				}
				panic("the process dies here")
			}

			return yield(ev, err)
		})
	}))

	id := b.send("m", "hello", "").ID()
	if code := b.deliver(id, "job", 0); code != http.StatusInternalServerError {
		t.Errorf("a broken attempt was answered %d", code)
	}
	if got := texts(b.Load(id).Task); len(got) != 1 || got[0] != "one " {
		t.Errorf("after the crash the task says %q", got)
	}
	if code := b.deliver(id, "job", 1); code != http.StatusNoContent {
		t.Errorf("the second attempt was answered %d", code)
	}

	r := b.Load(id)
	if diff := cmp.Diff([]string{"one two three"}, texts(r.Task)); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1 artifact", "2 state_COMPLETED"}, b.published()); diff != "" {
		t.Errorf("published events (-want +got):\n%s", diff)
	}
	if code := b.deliver(id, "job", 2); code != http.StatusNoContent || attempts != 2 {
		t.Errorf("a redelivery of finished work was answered %d after %d runs", code, attempts)
	}
}

func TestLiveLeaseIsLeftAloneUnlessTheQueueGaveItUp(t *testing.T) {
	running, release := make(chan int64, 10), make(chan struct{})
	var runs atomic.Int64

	b := newBench(t, execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		n := runs.Add(1)
		running <- n
		if n == 1 {
			<-release // a stalled process ignores its context
		}

		yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart(fmt.Sprint("attempt ", n))), nil)
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	id := b.send("m", "hello", "").ID()
	first := make(chan int)
	go func() { first <- b.deliver(id, "job", 0) }()
	<-running
	if code := b.deliver(id, "another job", 5); code != http.StatusNoContent {
		t.Errorf("a job under a live lease was answered %d", code)
	}
	if r := b.Load(id); r.Epoch != 1 {
		t.Fatalf("a live lease was taken: epoch %d", r.Epoch)
	}

	if code := b.deliver(id, "job", 1); code != http.StatusNoContent {
		t.Errorf("the takeover was answered %d", code)
	}

	r := b.Load(id)
	if r.Epoch != 2 || r.State() != a2a.TaskStateCompleted {
		t.Errorf("after the takeover: epoch %d, %s", r.Epoch, r.State())
	}

	close(release) // the zombie wakes up and wants to write
	if code := <-first; code != http.StatusNoContent {
		t.Errorf("the zombie was answered %d", code)
	}
	if diff := cmp.Diff(texts(r.Task), texts(b.Load(id).Task)); diff != "" {
		t.Errorf("the zombie wrote (-want +got):\n%s", diff)
	}
}

func TestCancelStopsTheRun(t *testing.T) {
	started, stopped := make(chan struct{}), make(chan error, 1)
	flushed := make(chan error, 1)

	b := newBench(t, execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		close(started)
		<-ctx.Done()
		this, _ := run.From(ctx)
		flushed <- this.Flush(context.WithoutCancel(ctx))
		stopped <- ctx.Err()
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	id := b.send("m", "hello", "").ID()
	code := make(chan int)
	go func() { code <- b.deliver(id, "job", 0) }()
	<-started
	_, err := task.Update(t.Context(), b.Store, id, func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(b.Moment(), a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("stop")), nil)
	})
	if err != nil {
		t.Fatal(err)
	}

	if err := <-flushed; !errors.Is(err, task.ErrFenced) {
		t.Errorf("Flush after the cancel = %v: an effect would have happened", err)
	}

	<-stopped
	if got := <-code; got != http.StatusNoContent {
		t.Errorf("the cancelled run was answered %d", got)
	}
	if got := b.Load(id).State(); got != a2a.TaskStateCanceled {
		t.Errorf("the task is %s", got)
	}
	if code := b.deliver(id, "cancel's job", 0); code != http.StatusNoContent {
		t.Errorf("the cancel's job was answered %d", code)
	}

	if diff := cmp.Diff([]string{"1 state_CANCELED"}, b.published()); diff != "" {
		t.Errorf("published events (-want +got):\n%s", diff)
	}
	if r := b.Load(id); r.Published != 1 || !r.Due.At.IsZero() {
		t.Errorf("after publishing the cancel: told %d, due %v", r.Published, r.Due)
	}
}

// A deletion stops the run, fences its writes, and calls the executor's Cancel.
func TestDeletionStopsTheRun(t *testing.T) {
	started, flushed := make(chan struct{}), make(chan error, 1)
	ex := &canceled{execute: func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		close(started)
		<-ctx.Done()
		this, _ := run.From(ctx)
		flushed <- this.Flush(context.WithoutCancel(ctx))
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}}

	b := newBench(t, ex)
	id := b.send("m", "hello", "").ID()
	code := make(chan int)
	go func() { code <- b.deliver(id, "job", 0) }()
	<-started
	_, err := task.Update(t.Context(), b.Store, id, func(r task.Record) (task.Record, bool, error) { return r.Delete(b.Moment()) })
	if err != nil {
		t.Fatal(err)
	}

	if err := <-flushed; !errors.Is(err, task.ErrFenced) {
		t.Errorf("Flush after the deletion = %v: an effect would have happened", err)
	}
	if got := <-code; got != http.StatusNoContent || ex.calls != 1 {
		t.Errorf("the run was answered %d, and Cancel was called %d times", got, ex.calls)
	}
	if code := b.deliver(id, "another job", 0); code != http.StatusNoContent {
		t.Errorf("a job of the deleted task was answered %d", code)
	}

	r, err := b.Store.Load(t.Context(), id)
	if !errors.Is(err, task.ErrDeleted) || len(r.Task.History) > 0 || len(r.Task.Artifacts) > 0 {
		t.Errorf("Load = %+v, %v", r.Task, err)
	}
	if got := b.published(); len(got) > 0 {
		t.Errorf("published events: %v", got)
	}
}

// canceled is an executor that counts the calls of Cancel.
type canceled struct {
	execute
	calls int
}

func (c *canceled) Cancel(context.Context, *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	c.calls++
	return func(func(a2a.Event, error) bool) {}
}

// A cancel stops the run even if the store has failed to answer the watch once. The model
// would otherwise be paid for to the end.
func TestCancelStopsTheRunWhoseWatchBroke(t *testing.T) {
	started := make(chan struct{})
	ex := execute(func(ctx context.Context, _ *a2asrv.ExecutorContext, _ func(a2a.Event, error) bool) {
		close(started)
		<-ctx.Done()
	})

	b := newBench(t, ex)
	cut := make(chan struct{})
	var once sync.Once
	breaks := func(c faulty.Call) (err error) {
		if c.Op == faulty.Watch {
			once.Do(func() { err = errors.New("no answer"); close(cut) })
		}
		return err
	}

	b.worker = b.newWorker(faulty.Store{Store: b.Store, Before: breaks}, ex, 0)
	id := b.send("m", "hello", "").ID()
	code := make(chan int, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	go func() {
		req := httptest.NewRequestWithContext(ctx, "POST", queue.PathTurn, strings.NewReader(`{"id":"`+id+`"}`))
		w := httptest.NewRecorder()
		b.worker.ServeHTTP(w, req)
		code <- w.Code
	}()

	<-started
	<-cut
	_, err := task.Update(t.Context(), b.Store, id, func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(b.Moment(), nil, nil)
	})
	if err != nil {
		t.Fatal(err)
	}

	select {
	case got := <-code:
		if got != http.StatusNoContent {
			t.Errorf("the cancelled run was answered %d", got)
		}

	case <-time.After(2 * time.Minute):
		t.Error("the cancelled run goes on")
		stop()
		<-code
	}
}

func TestDrainParksWithTheTextSoFar(t *testing.T) {
	started := make(chan struct{})
	b := newBench(t, execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart("half")), nil)
		close(started)
		<-ctx.Done()
	}))
	id := b.send("m", "hello", "").ID()
	<-b.jobs
	code := make(chan int)
	go func() { code <- b.deliver(id, "job", 0) }()
	<-started
	b.worker.Drain()
	if got := <-code; got != http.StatusNoContent {
		t.Errorf("the drained run was answered %d", got)
	}
	r := b.Load(id)
	if r.Lease != (task.Lease{}) || r.Attempt != 0 || r.Wake.IsZero() || texts(r.Task)[0] != "half" {
		t.Errorf("after the drain: lease %v, attempt %d, wake %v, said %q", r.Lease, r.Attempt, r.Wake, texts(r.Task))
	}
	if got := <-b.jobs; got != id {
		t.Errorf("the job is for task %q", got)
	}
}

// A queue that was lost hangs up and delivers nothing again. The turn is parked and does
// not wait for the end of an unused lease.
func TestTurnIsParkedWhenTheQueueHangsUp(t *testing.T) {
	running := make(chan struct{})
	b := newBench(t, execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		if !yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart("half")), nil) {
			return
		}
		close(running)
		<-ctx.Done()
		yield(nil, ctx.Err())
	}))

	r := b.send("m1", "hello", "")
	<-b.jobs // the accept's job
	ctx, hangUp := context.WithCancel(t.Context())
	go func() { <-running; hangUp() }()
	b.deliverUntil(ctx, r.ID(), "q1", 0)
	r = b.Load(r.ID())
	if !r.Lease.Until.IsZero() || r.Wake.IsZero() || r.Attempt != 0 || len(r.Task.Artifacts) != 1 {
		t.Errorf("the turn was not parked: lease %+v, wake %v, attempt %d, artifacts %v", r.Lease, r.Wake, r.Attempt, r.Task.Artifacts)
	}

	select {
	case id := <-b.jobs:
		if id != r.ID() {
			t.Errorf("the job is for task %s", id)
		}
	case <-time.After(2 * time.Minute):
		t.Error("no job is added for the turn")
	}
}

// A pause parks the turn until its time. Shows decision 5.
func TestPauseParks(t *testing.T) {
	for _, test := range []struct {
		wait time.Duration
		job  bool
	}{{2 * time.Second, true}, {time.Hour, false}} {
		b := newBench(t, execute(func(_ context.Context, _ *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
			yield(nil, &run.Pause{For: test.wait, Say: "waiting", Err: errors.New("429")})
		}))

		id := b.send("m", "hello", "").ID()
		<-b.jobs
		if code := b.deliver(id, "job", 0); code != http.StatusNoContent {
			t.Errorf("%s: answered %d", test.wait, code)
		}

		r := b.Load(id)
		if want := b.clock().Add(test.wait); !r.Wake.Equal(want) || r.Attempt != 0 || r.Task.Status.Message.Parts[0].Text() != "waiting" {
			t.Errorf("%s: wake %v, want %v; attempt %d", test.wait, r.Wake, want, r.Attempt)
		}
		if code := b.deliver(id, "early", 0); code != http.StatusNoContent || b.Load(id).Epoch != 1 {
			t.Errorf("%s: a parked turn was run early", test.wait)
		}

		if !test.job {
			if r.Due.At.Before(r.Wake) {
				t.Errorf("due %v, before its wake %v", r.Due.At, r.Wake)
			}
			continue
		}

		if err := b.Queue.Close(t.Context()); err != nil { // Close waits for the job if there is one
			t.Fatal(err)
		}
	}
}

func TestWakeUpIsAddedWithItsTime(t *testing.T) {
	b := newBench(t, execute(func(_ context.Context, _ *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		yield(nil, &run.Pause{For: 50 * time.Millisecond, Err: errors.New("429")})
	}))
	id := b.send("m", "hello", "").ID()
	<-b.jobs
	b.deliver(id, "job", 0)
	select {
	case got := <-b.jobs:
		if got != id {
			t.Errorf("the job is for task %q", got)
		}
	case <-time.After(2 * time.Minute):
		t.Error("no job wakes the turn")
	}
}

func TestPoisonIsParkedLongerAndThenFails(t *testing.T) {
	runs := 0
	b := newBench(t, execute(func(context.Context, *a2asrv.ExecutorContext, func(a2a.Event, error) bool) {
		runs++
		panic("always")
	}))

	id := b.send("m", "hello", "").ID()
	retry := 0
	next := func() int {
		retry++
		return b.deliver(id, "job", retry)
	}

	for range 2 {
		if code := next(); code != http.StatusInternalServerError {
			t.Fatalf("run %d was answered %d", runs, code)
		}
	}

	for _, wait := range b.Rules.Parks {
		if code := next(); code != http.StatusNoContent {
			t.Fatalf("parking was answered %d", code)
		}
		if got := b.Load(id).Wake.Sub(b.clock()); got != wait {
			t.Errorf("after %d runs parked for %s, want %s", runs, got, wait)
		}

		b.advance(wait)
		if code := next(); code != http.StatusInternalServerError {
			t.Fatalf("run %d was answered %d", runs, code)
		}
	}

	if code := next(); code != http.StatusNoContent {
		t.Errorf("the end was answered %d", code)
	}

	r := b.Load(id)
	if r.State() != a2a.TaskStateFailed || runs != b.Rules.Attempts || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "broke off") {
		t.Errorf("after %d runs the task is %s: %v", runs, r.State(), r.Task.Status.Message)
	}
	if diff := cmp.Diff([]string{"1 state_FAILED"}, b.published()); diff != "" {
		t.Errorf("published events (-want +got):\n%s", diff)
	}
}

// A result that does not fit into a record fails the task. Shows decision 16.
func TestResultThatDoesNotFitFailsTheTask(t *testing.T) {
	b := newBench(t, template(strings.Repeat("x", 500<<10), strings.Repeat("y", 500<<10)))
	id := b.send("m", "hello", "").ID()
	if code := b.deliver(id, "job", 0); code != http.StatusNoContent {
		t.Errorf("answered %d", code)
	}
	r := b.Load(id)
	if r.State() != a2a.TaskStateFailed || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "too large") {
		t.Errorf("the task is %s: %+v", r.State(), r.Task.Status.Message)
	}
}

func TestSilentExecutorFailsTheTask(t *testing.T) {
	b := newBench(t, execute(func(context.Context, *a2asrv.ExecutorContext, func(a2a.Event, error) bool) {}))
	id := b.send("m", "hello", "").ID()
	b.deliver(id, "job", 0)
	if r := b.Load(id); r.State() != a2a.TaskStateFailed {
		t.Errorf("the task is %s", r.State())
	}
}

// A bare message of the executor completes the task. Shows M27, M30.
func TestBareMessageCompletesTheTask(t *testing.T) {
	b := newBench(t, execute(func(_ context.Context, _ *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		yield(a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("done")), nil)
	}))
	id := b.send("m", "hello", "").ID()
	b.deliver(id, "job", 0)
	r := b.Load(id)
	m := r.Task.Status.Message
	if r.State() != a2a.TaskStateCompleted || m.Parts[0].Text() != "done" || m.TaskID != r.Task.ID || m.ContextID == "" {
		t.Errorf("the task is %s: %+v", r.State(), m)
	}
}

// Without the topic the job is not acknowledged. Shows decision 4.
func TestEventsArePublishedBeforeTheJobIsAcknowledged(t *testing.T) {
	b := newBench(t, template("hello"))
	id := b.send("m", "hello", "").ID()
	b.failed = true
	if code := b.deliver(id, "job", 0); code != http.StatusInternalServerError {
		t.Errorf("without the topic the job was answered %d", code)
	}
	if r := b.Load(id); r.State() != a2a.TaskStateCompleted {
		t.Errorf("the result waits for the topic: %s", r.State())
	}
	b.mu.Lock()
	b.failed = false
	b.mu.Unlock()
	if code := b.deliver(id, "job", 1); code != http.StatusNoContent {
		t.Errorf("the redelivery was answered %d", code)
	}
	if diff := cmp.Diff([]string{"1 artifact", "2 state_COMPLETED"}, b.published()); diff != "" {
		t.Errorf("published events (-want +got):\n%s", diff)
	}
}

func TestWaitingMessageIsTakenBeforeTheTaskCompletes(t *testing.T) {
	started, more := make(chan struct{}), make(chan struct{})
	var heard []string

	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		heard = append(heard, ec.Message.Parts[0].Text())
		if len(heard) == 1 {
			close(started)
			<-more
		}

		yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart("on "+ec.Message.Parts[0].Text())), nil)
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	id := b.send("m1", "first", "").ID()
	code := make(chan int)
	go func() { code <- b.deliver(id, "job", 0) }()
	<-started
	b.send("m2", "second", id)
	close(more)
	if got := <-code; got != http.StatusNoContent {
		t.Errorf("answered %d", got)
	}

	r := b.Load(id)
	if diff := cmp.Diff([]string{"on first", "on second"}, texts(r.Task)); diff != "" || r.State() != a2a.TaskStateCompleted {
		t.Errorf("the task is %s; artifacts (-want +got):\n%s", r.State(), diff)
	}
	if diff := cmp.Diff([]string{"1 artifact", "2 artifact", "3 state_COMPLETED"}, b.published()); diff != "" {
		t.Errorf("published events (-want +got):\n%s", diff)
	}
}

func TestLongAnswerIsSeenWhileItIsMade(t *testing.T) {
	said, goOn := make(chan struct{}), make(chan struct{})
	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart("so far")), nil)
		close(said)
		<-goOn
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	id := b.send("m", "hello", "").ID()
	code := make(chan int)
	go func() { code <- b.deliver(id, "job", 0) }()
	<-said
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	for r, err := range b.Store.Watch(ctx, id) {
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(r.Task); len(got) == 1 && got[0] == "so far" {
			break
		}
	}

	close(goOn)
	<-code
	b.awaitState(id, a2a.TaskStateCompleted)
}

// An executor sees the earlier tasks of the conversation. Shows M18.
func TestExecutorSeesTheConversation(t *testing.T) {
	var related []string

	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		related = nil
		for _, r := range ec.RelatedTasks {
			related = append(related, r.History[0].Parts[0].Text())
			r.History[0].Parts[0].Content = a2a.Text("spoiled")
		}

		ec.Message.Parts[0].Content = a2a.Text("spoiled")
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	first := b.send("m1", "one", "")
	b.deliver(first.ID(), "j1", 0)
	b.advance(time.Second)

	for i, text := range []string{"two", "three"} {
		r, err := b.desk.Accept(t.Context(), desk.Message{Owner: "me", Message: &a2a.Message{
			ID: fmt.Sprint("n", i), ContextID: first.Task.ContextID, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)},
		}})
		if err != nil {
			t.Fatal(err)
		}

		b.deliver(r.ID(), fmt.Sprint("j", i), 0)
		b.advance(time.Second)
	}

	if diff := cmp.Diff([]string{"one", "two"}, related); diff != "" {
		t.Errorf("conversation of the third task (-want +got):\n%s", diff)
	}
}

func TestLargeConversationIsCutToItsNewestPart(t *testing.T) {
	var related []string
	ex := execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		related = nil
		for _, r := range ec.RelatedTasks {
			related = append(related, r.History[0].ID)
		}
		yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart(strings.Repeat("x", 400<<10))), nil)
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	})
	b := newBench(t, ex)
	b.configure(ex, func(c *turn.Config) { c.Conversation = &turn.Conversation{Tokens: 0, Tasks: 4} }) // 4.25 MiB, and 1.6 MB for each

	first := b.send("m0", "hello", "")
	b.deliver(first.ID(), "job", 0)

	for i := 1; i <= 4; i++ {
		b.advance(time.Second)
		r, err := b.desk.Accept(t.Context(), desk.Message{Owner: "me", Message: &a2a.Message{
			ID: fmt.Sprint("m", i), ContextID: first.Task.ContextID, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart("more")},
		}})
		if err != nil {
			t.Fatal(err)
		}

		b.deliver(r.ID(), "job", 0)
	}

	if diff := cmp.Diff([]string{"m2", "m3"}, related); diff != "" {
		t.Errorf("conversation of the fifth task (-want +got):\n%s", diff)
	}
}

// Related tasks of few bytes and many values cost as much memory as large ones, and are cut
// as those are.
func TestDenseConversationIsCutToItsNewestPart(t *testing.T) {
	var related []string
	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		related = nil
		for _, r := range ec.RelatedTasks {
			related = append(related, r.History[0].ID)
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	dense := make([]any, 9000) // 3.6 MB of the 9.5 MB, in 18 KB of text
	for i := range dense {
		dense[i] = 1.0
	}
	contextID := ""
	for i := range 5 {
		b.advance(time.Second)
		r, err := b.desk.Accept(t.Context(), desk.Message{Owner: "me", Message: &a2a.Message{
			ID: fmt.Sprint("m", i), ContextID: contextID, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewDataPart(dense)},
		}})
		if err != nil {
			t.Fatal(err)
		}

		contextID = r.Task.ContextID
		b.deliver(r.ID(), "job", 0)
	}

	if diff := cmp.Diff([]string{"m2", "m3"}, related); diff != "" {
		t.Errorf("conversation of the fifth task (-want +got):\n%s", diff)
	}
}

func TestNotificationsMadeAfterTheFirstReadArePublished(t *testing.T) {
	b := newBench(t, template("unused"))
	id := b.send("m", "hello", "").ID()

	meanwhile := sync.OnceFunc(func() { // between the first look and the claim another worker finishes, and dies before it publishes
		r, _, _, err := b.Load(id).Claim(b.Moment(), task.Claim{Lease: task.Lease{Until: b.clock().Add(time.Minute), Nonce: "other"}})
		if err == nil {
			r, _, err = r.Finish(b.Moment(), task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Outcome{State: a2a.TaskStateCompleted})
		}
		if err == nil {
			_, err = b.Store.Commit(t.Context(), r)
		}
		if err != nil {
			t.Error(err)
		}
	})

	b.worker = b.newWorker(faulty.Store{Store: b.Store, After: func(c faulty.Call, r task.Record, err error) (task.Record, error) {
		if c.Op == faulty.Load {
			meanwhile()
		}
		return r, err
	}}, template("unused"), 0)

	if code := b.deliver(id, "job", 0); code != http.StatusNoContent {
		t.Errorf("answered %d", code)
	}
	if diff := cmp.Diff([]string{"1 state_COMPLETED"}, b.published()); diff != "" {
		t.Errorf("published events (-want +got):\n%s", diff)
	}
}

func TestMalformedJobsAreAcknowledged(t *testing.T) {
	b := newBench(t, template("x"))
	for _, body := range []string{"", "{", "null", `{"id":""}`, `{"id":7}`, `{"id":"unknown"}`, `{"queue":"turns","sweep":"2026-01-01T00:00:00Z"}`, strings.Repeat("x", 70<<10)} {
		w := httptest.NewRecorder()
		b.worker.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", queue.PathTurn, strings.NewReader(body)))
		if w.Code != http.StatusNoContent {
			t.Errorf("%q was answered %d: the queue would deliver it for ever", body, w.Code)
		}
	}
}

// A record that this version of the program cannot change or read stays so: an error would
// bring the job back a hundred times and slow the queue down. The turn is still pending in
// the record, and the sweep of a version that can run it adds a job.
func TestJobsForRecordsOfOtherVersionsAreAcknowledged(t *testing.T) {
	for name, load := range map[string]func(task.Record) (task.Record, error){
		"newer":      faulty.Newer,
		"unreadable": faulty.Unreadable,
	} {
		b := newBench(t, template("x"))
		id := b.send("m", "hi", "").ID()
		b.worker = b.newWorker(faulty.Loading(b.Store, load), template("x"), 0)
		if code := b.deliver(id, "j", 0); code != http.StatusNoContent {
			t.Errorf("%s: answered %d: the queue would deliver the job for ever", name, code)
		}
		if r := b.Load(id); r.Epoch != 0 || r.Due.At.IsZero() {
			t.Errorf("%s: epoch %d, due %v", name, r.Epoch, r.Due)
		}
	}
}

// A turn may pause again and again: no attempt is counted, and the status says why it waits.
func TestPausesCountNoAttempt(t *testing.T) {
	b := newBench(t, execute(func(_ context.Context, _ *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		yield(nil, &run.Pause{For: time.Hour, Say: "Tomorrow.", Err: errors.New("used up")})
	}))
	id := b.send("m1", "hello", "").ID()
	for n := range 20 {
		if code := b.deliver(id, fmt.Sprint("job", n), 0); code != http.StatusNoContent {
			t.Fatalf("pause %d: answered %d", n, code)
		}
		r := b.Load(id)
		if r.Attempt != 0 || r.State() != a2a.TaskStateWorking || r.Lease != (task.Lease{}) || !r.Wake.Equal(b.clock().Add(time.Hour)) {
			t.Fatalf("pause %d: attempt %d, %s, lease %v, wake %v", n, r.Attempt, r.State(), r.Lease, r.Wake)
		}
		if m := r.Task.Status.Message; m == nil || m.Parts[0].Text() != "Tomorrow." {
			t.Fatalf("pause %d: says %v", n, m)
		}
		b.advance(time.Hour)
	}
}
