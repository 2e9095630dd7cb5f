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

	"errand/shared/adapters/sqlstore"
	"errand/shared/desk"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/worker/run"
)

// template is an executor as the SDK's documentation shows it, with artifacts of
// random ids. It knows nothing of leases, attempts or crashes.
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

func TestDecision9ForeignExecutorIsCrashProof(t *testing.T) {
	attempts := 0
	whole := template("one ", "two ", "three")

	b := newBench(t, execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		attempts++
		n := 0

		whole(ctx, ec, func(ev a2a.Event, err error) bool {
			if n++; attempts == 1 && n == 3 {
				if this, ok := run.From(ctx); !ok || this.Flush(ctx) != nil { // what was said is in the record
					t.Error("the first attempt could not commit")
				}
				panic("the process dies here")
			}

			return yield(ev, err)
		})
	}))

	id := b.send("m", "hello", "").ID()
	if code := b.deliver(id, "job", 0); code != http.StatusServiceUnavailable {
		t.Errorf("a broken attempt was answered %d", code)
	}
	if got := texts(b.load(id).Task); len(got) != 1 || got[0] != "one " {
		t.Errorf("after the crash the task says %q", got)
	}
	if code := b.deliver(id, "job", 1); code != http.StatusNoContent {
		t.Errorf("the second attempt was answered %d", code)
	}

	r := b.load(id)
	if diff := cmp.Diff([]string{"one two three"}, texts(r.Task)); diff != "" {
		t.Errorf("attempts are mixed:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1 artifact", "2 state_COMPLETED"}, b.published()); diff != "" {
		t.Error(diff)
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
			<-release // does not even look at its context: a stalled process
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
	if r := b.load(id); r.Epoch != 1 {
		t.Fatalf("a live lease was taken: epoch %d", r.Epoch)
	}

	if code := b.deliver(id, "job", 1); code != http.StatusNoContent {
		t.Errorf("the takeover was answered %d", code)
	}

	r := b.load(id)
	if r.Epoch != 2 || r.State() != a2a.TaskStateCompleted {
		t.Errorf("after the takeover: epoch %d, %s", r.Epoch, r.State())
	}

	close(release) // the zombie wakes up and wants to write
	if code := <-first; code != http.StatusNoContent {
		t.Errorf("the zombie was answered %d", code)
	}
	if diff := cmp.Diff(texts(r.Task), texts(b.load(id).Task)); diff != "" {
		t.Errorf("the zombie wrote:\n%s", diff)
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
	_, err := task.Update(t.Context(), b.store, id, func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(b.rules.At(b.clock()), a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("stop")), nil)
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
	if got := b.load(id).State(); got != a2a.TaskStateCanceled {
		t.Errorf("the task is %s", got)
	}
	if code := b.deliver(id, "cancel's job", 0); code != http.StatusNoContent {
		t.Errorf("the cancel's job was answered %d", code)
	}

	if diff := cmp.Diff([]string{"1 state_CANCELED"}, b.published()); diff != "" {
		t.Error(diff)
	}
	if r := b.load(id); r.Told != 1 || !r.Due.At.IsZero() {
		t.Errorf("after publishing the cancel: told %d, due %v", r.Told, r.Due)
	}
}

// A store that did not answer the watch once must not let a cancelled run go on to its
// end, with the model being paid for.
func TestCancelStopsTheRunWhoseWatchBroke(t *testing.T) {
	started := make(chan struct{})
	ex := execute(func(ctx context.Context, _ *a2asrv.ExecutorContext, _ func(a2a.Event, error) bool) {
		close(started)
		<-ctx.Done()
	})

	b := newBench(t, ex)
	cut := &cutting{Store: b.store, cut: make(chan struct{})}
	b.worker = b.newWorker(cut, ex, 0)
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
	<-cut.cut
	_, err := task.Update(t.Context(), b.store, id, func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(b.rules.At(b.clock()), nil, nil)
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

// cutting is a store whose first watch breaks off.
type cutting struct {
	task.Store
	once sync.Once
	cut  chan struct{}
}

func (c *cutting) Watch(ctx context.Context, id string) iter.Seq2[task.Record, error] {
	return func(yield func(task.Record, error) bool) {
		first := false
		c.once.Do(func() { first = true })
		if first {
			yield(task.Record{}, errors.New("no answer"))
			close(c.cut)
			return
		}
		c.Store.Watch(ctx, id)(yield)
	}
}

func TestDrainParksWithWhatWasSaid(t *testing.T) {
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
	r := b.load(id)
	if r.Lease != (task.Lease{}) || r.Attempt != 0 || r.Wake.IsZero() || texts(r.Task)[0] != "half" {
		t.Errorf("after the drain: lease %v, attempt %d, wake %v, said %q", r.Lease, r.Attempt, r.Wake, texts(r.Task))
	}
	if got := <-b.jobs; got != id {
		t.Errorf("job for %q", got)
	}
}

// A queue that was lost hangs up and brings nothing again: the turn does not wait for
// the end of a lease that nobody uses.
func TestTurnNobodyWaitsForIsParked(t *testing.T) {
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
	<-b.jobs // of the accept
	ctx, hangUp := context.WithCancel(t.Context())
	go func() { <-running; hangUp() }()
	b.deliverTo(ctx, r.ID(), "q1", 0)
	r = b.load(r.ID())
	if !r.Lease.Until.IsZero() || r.Wake.IsZero() || r.Attempt != 0 || len(r.Task.Artifacts) != 1 {
		t.Errorf("the turn was not parked: lease %+v, wake %v, attempt %d, artifacts %v", r.Lease, r.Wake, r.Attempt, r.Task.Artifacts)
	}

	select {
	case id := <-b.jobs:
		if id != r.ID() {
			t.Errorf("a job of %s", id)
		}
	case <-time.After(2 * time.Minute):
		t.Error("nobody asks for the turn")
	}
}

func TestDecision5PauseParks(t *testing.T) {
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

		r := b.load(id)
		if want := b.clock().Add(test.wait); !r.Wake.Equal(want) || r.Attempt != 0 || r.Task.Status.Message.Parts[0].Text() != "waiting" {
			t.Errorf("%s: wake %v, want %v; attempt %d", test.wait, r.Wake, want, r.Attempt)
		}
		if code := b.deliver(id, "early", 0); code != http.StatusNoContent || b.load(id).Epoch != 1 {
			t.Errorf("%s: a parked turn was run early", test.wait)
		}

		if !test.job {
			if r.Due.At.Before(r.Wake) {
				t.Errorf("due %v, before its wake %v", r.Due.At, r.Wake)
			}
			continue
		}

		if err := b.queue.Close(t.Context()); err != nil { // the job is there or it is not
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
			t.Errorf("job for %q", got)
		}
	case <-time.After(2 * time.Minute):
		t.Error("nobody wakes the turn")
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
		if code := next(); code != http.StatusServiceUnavailable {
			t.Fatalf("run %d was answered %d", runs, code)
		}
	}

	for _, wait := range b.rules.Parks {
		if code := next(); code != http.StatusNoContent {
			t.Fatalf("parking was answered %d", code)
		}
		if got := b.load(id).Wake.Sub(b.clock()); got != wait {
			t.Errorf("after %d runs parked for %s, want %s", runs, got, wait)
		}

		b.pass(wait)
		if code := next(); code != http.StatusServiceUnavailable {
			t.Fatalf("run %d was answered %d", runs, code)
		}
	}

	if code := next(); code != http.StatusNoContent {
		t.Errorf("the end was answered %d", code)
	}

	r := b.load(id)
	if r.State() != a2a.TaskStateFailed || runs != b.rules.Attempts || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "broke off") {
		t.Errorf("after %d runs the task is %s: %v", runs, r.State(), r.Task.Status.Message)
	}
	if diff := cmp.Diff([]string{"1 state_FAILED"}, b.published()); diff != "" {
		t.Error(diff)
	}
}

func TestDecision16ResultThatDoesNotFitFailsTheTask(t *testing.T) {
	b := newBench(t, template(strings.Repeat("x", 500<<10), strings.Repeat("y", 500<<10)))
	id := b.send("m", "hello", "").ID()
	if code := b.deliver(id, "job", 0); code != http.StatusNoContent {
		t.Errorf("answered %d", code)
	}
	r := b.load(id)
	if r.State() != a2a.TaskStateFailed || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "too large") {
		t.Errorf("the task is %s: %+v", r.State(), r.Task.Status.Message)
	}
}

func TestSilentExecutorFailsTheTask(t *testing.T) {
	b := newBench(t, execute(func(context.Context, *a2asrv.ExecutorContext, func(a2a.Event, error) bool) {}))
	id := b.send("m", "hello", "").ID()
	b.deliver(id, "job", 0)
	if r := b.load(id); r.State() != a2a.TaskStateFailed {
		t.Errorf("the task is %s", r.State())
	}
}

func TestM27M30BareMessageCompletesTheTask(t *testing.T) {
	b := newBench(t, execute(func(_ context.Context, _ *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		yield(a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("done")), nil)
	}))
	id := b.send("m", "hello", "").ID()
	b.deliver(id, "job", 0)
	r := b.load(id)
	m := r.Task.Status.Message
	if r.State() != a2a.TaskStateCompleted || m.Parts[0].Text() != "done" || m.TaskID != r.Task.ID || m.ContextID == "" {
		t.Errorf("the task is %s: %+v", r.State(), m)
	}
}

func TestDecision4EventsArePublishedBeforeTheJobIsAcknowledged(t *testing.T) {
	b := newBench(t, template("hello"))
	id := b.send("m", "hello", "").ID()
	b.failed = true
	if code := b.deliver(id, "job", 0); code != http.StatusServiceUnavailable {
		t.Errorf("without the topic the job was answered %d", code)
	}
	if r := b.load(id); r.State() != a2a.TaskStateCompleted {
		t.Errorf("the result waits for the topic: %s", r.State())
	}
	b.mu.Lock()
	b.failed = false
	b.mu.Unlock()
	if code := b.deliver(id, "job", 1); code != http.StatusNoContent {
		t.Errorf("the redelivery was answered %d", code)
	}
	if diff := cmp.Diff([]string{"1 artifact", "2 state_COMPLETED"}, b.published()); diff != "" {
		t.Error(diff)
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

	r := b.load(id)
	if diff := cmp.Diff([]string{"on first", "on second"}, texts(r.Task)); diff != "" || r.State() != a2a.TaskStateCompleted {
		t.Errorf("the task is %s:\n%s", r.State(), diff)
	}
	if diff := cmp.Diff([]string{"1 artifact", "2 artifact", "3 state_COMPLETED"}, b.published()); diff != "" {
		t.Error(diff)
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

	for r, err := range b.store.Watch(ctx, id) {
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

func TestM18ExecutorSeesTheConversation(t *testing.T) {
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
	b.pass(time.Second)

	for i, text := range []string{"two", "three"} {
		r, err := b.desk.Accept(t.Context(), desk.Message{Owner: "me", Message: &a2a.Message{
			ID: fmt.Sprint("n", i), ContextID: first.Task.ContextID, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)},
		}})
		if err != nil {
			t.Fatal(err)
		}

		b.deliver(r.ID(), fmt.Sprint("j", i), 0)
		b.pass(time.Second)
	}

	if diff := cmp.Diff([]string{"one", "two"}, related); diff != "" {
		t.Errorf("the third task's conversation:\n%s", diff)
	}
}

func TestLargeConversationIsCutToItsNewestPart(t *testing.T) {
	var related []string
	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		related = nil
		for _, r := range ec.RelatedTasks {
			related = append(related, r.History[0].ID)
		}
		yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart(strings.Repeat("x", 400<<10))), nil)
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	first := b.send("m0", "hello", "")
	b.deliver(first.ID(), "job", 0)

	for i := 1; i <= 4; i++ {
		b.pass(time.Second)
		r, err := b.desk.Accept(t.Context(), desk.Message{Owner: "me", Message: &a2a.Message{
			ID: fmt.Sprint("m", i), ContextID: first.Task.ContextID, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart("more")},
		}})
		if err != nil {
			t.Fatal(err)
		}

		b.deliver(r.ID(), "job", 0)
	}

	if diff := cmp.Diff([]string{"m2", "m3"}, related); diff != "" {
		t.Errorf("the fifth task is shown:\n%s", diff)
	}
}

// A slowStore lets something happen between a worker's first look and its claim.
type slowStore struct {
	*sqlstore.DB
	once      sync.Once
	meanwhile func()
}

func (s *slowStore) Load(ctx context.Context, id string) (task.Record, error) {
	r, err := s.DB.Load(ctx, id)
	s.once.Do(s.meanwhile)
	return r, err
}

func TestNotesMadeAfterTheFirstLookArePublished(t *testing.T) {
	b := newBench(t, template("unused"))
	id := b.send("m", "hello", "").ID()
	b.worker = b.newWorker(&slowStore{DB: b.store, meanwhile: func() { // another worker finishes, and dies before it publishes
		r, _, _, err := b.load(id).Claim(b.rules.At(b.clock()), task.Claim{Lease: task.Lease{Until: b.clock().Add(time.Minute), Nonce: "other"}})
		if err == nil {
			r, _, err = r.Finish(b.rules.At(b.clock()), task.Turn{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Outcome{State: a2a.TaskStateCompleted})
		}
		if err == nil {
			_, err = b.store.Commit(t.Context(), r)
		}
		if err != nil {
			t.Error(err)
		}
	}}, template("unused"), 0)
	if code := b.deliver(id, "job", 0); code != http.StatusNoContent {
		t.Errorf("answered %d", code)
	}
	if diff := cmp.Diff([]string{"1 state_COMPLETED"}, b.published()); diff != "" {
		t.Error(diff)
	}
}

func TestRubbishIsTakenOffTheQueue(t *testing.T) {
	b := newBench(t, template("x"))
	for _, body := range []string{"", "{", "null", `{"id":""}`, `{"id":7}`, `{"id":"unknown"}`, `{"queue":"turns","sweep":"2026-01-01T00:00:00Z"}`, strings.Repeat("x", 70<<10)} {
		w := httptest.NewRecorder()
		b.worker.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", queue.PathTurn, strings.NewReader(body)))
		if w.Code != http.StatusNoContent {
			t.Errorf("%q was answered %d: it would come back for ever", body, w.Code)
		}
	}
}

// What this version of the program cannot change or read, it never will: an error
// would bring the job back a hundred times and slow the queue down. The record still
// owes the turn, and a sweep brings it to whoever can.
func TestRecordsOfOtherVersionsAreTakenOffTheQueue(t *testing.T) {
	for name, load := range map[string]func(task.Record) (task.Record, error){
		"newer":      func(r task.Record) (task.Record, error) { r.Schema = task.Schema + 1; return r, nil },
		"unreadable": func(task.Record) (task.Record, error) { return task.Decode([]byte("{"), nil, 1) },
	} {
		b := newBench(t, template("x"))
		id := b.send("m", "hi", "").ID()
		b.worker = b.newWorker(other{b.store, load}, template("x"), 0)
		if code := b.deliver(id, "j", 0); code != http.StatusNoContent {
			t.Errorf("%s: answered %d: it would come back for ever", name, code)
		}
		if r := b.load(id); r.Epoch != 0 || r.Due.At.IsZero() {
			t.Errorf("%s: epoch %d, due %v", name, r.Epoch, r.Due)
		}
	}
}

// other is a store whose records another version has written.
type other struct {
	task.Store
	load func(task.Record) (task.Record, error)
}

func (o other) Load(ctx context.Context, id string) (task.Record, error) {
	r, err := o.Store.Load(ctx, id)
	if err != nil {
		return r, err
	}
	return o.load(r)
}
