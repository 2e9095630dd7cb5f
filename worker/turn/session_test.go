package turn_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/lab/faulty"
	"errand/shared/task"
	"errand/worker/run"
)

var errMute = errors.New("the store does not answer")

// mute is a store that applies its calls, and does not answer them while silent is set.
func mute(s task.Store, silent *atomic.Bool) task.Store {
	return faulty.Store{Store: s, After: func(c faulty.Call, r task.Record, err error) (task.Record, error) {
		if silent.Load() && c.Op != faulty.Watch {
			return task.Record{}, errMute
		}
		return r, err
	}}
}

// commitRarely replaces the worker by one on the given store that commits only on Flush and
// at the end.
func (b *bench) commitRarely(store task.Store, ex a2asrv.AgentExecutor) {
	b.worker = b.newWorker(store, ex, time.Hour)
}

func TestProgressWhoseAnswerWasLostIsNotTheEnd(t *testing.T) {
	b := newBench(t, nil)
	var silent atomic.Bool
	runs := 0

	b.commitRarely(mute(b.Store, &silent), execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		runs++
		first := a2a.NewArtifactEvent(ec, a2a.NewTextPart("one "))
		yield(first, nil)
		this, _ := run.From(ctx)
		silent.Store(true)
		if err := this.Flush(ctx); !errors.Is(err, errMute) {
			t.Errorf("Flush with a store that does not answer = %v", err)
		}

		silent.Store(false)
		yield(a2a.NewArtifactUpdateEvent(ec, first.Artifact.ID, a2a.NewTextPart("two")), nil)
		if err := this.Flush(ctx); err != nil {
			t.Error(err)
		}

		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	id := b.send("m", "hello", "").ID()
	if code := b.deliver(id, "job", 0); code != http.StatusNoContent || runs != 1 {
		t.Errorf("answered %d after %d runs", code, runs)
	}

	r := b.Load(id)
	if diff := cmp.Diff([]string{"one two"}, texts(r.Task)); diff != "" || r.State() != a2a.TaskStateCompleted {
		t.Errorf("the task is %s; artifacts (-want +got):\n%s", r.State(), diff)
	}
}

func TestReplacedArtifactCountsOnce(t *testing.T) {
	b := newBench(t, execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		this, _ := run.From(ctx)
		page := a2a.NewArtifactEvent(ec, a2a.NewTextPart(strings.Repeat("x", 200<<10)))
		for range 6 {
			yield(page, nil)
			if err := this.Flush(ctx); err != nil {
				t.Error(err)
			}
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))
	id := b.send("m", "hello", "").ID()
	b.deliver(id, "job", 0)
	if r := b.Load(id); r.State() != a2a.TaskStateCompleted || len(r.Task.Artifacts) != 1 {
		t.Errorf("the task is %s with %d artifacts", r.State(), len(r.Task.Artifacts))
	}
}

// A cancellable executor ends with its context's error, as most executors do, and notes the
// call of Cancel.
type cancellable struct {
	execute
	canceled chan struct{}
}

func (c cancellable) Cancel(context.Context, *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	close(c.canceled)
	return func(func(a2a.Event, error) bool) {}
}

func TestCancelOfTheExecutorIsCalled(t *testing.T) {
	started, canceled := make(chan struct{}), make(chan struct{})
	b := newBench(t, cancellable{func(ctx context.Context, _ *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		close(started)
		<-ctx.Done()
		yield(nil, ctx.Err())
	}, canceled})

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

	if got := <-code; got != http.StatusNoContent {
		t.Errorf("answered %d", got)
	}

	select {
	case <-canceled:
	default:
		t.Error("the executor's Cancel was not called")
	}
}

func TestAnswerThatCannotBeKeptFailsTheTask(t *testing.T) {
	status := func(state a2a.TaskState, parts ...*a2a.Part) a2a.Event {
		return &a2a.TaskStatusUpdateEvent{Status: a2a.TaskStatus{State: state, Message: a2a.NewMessage(a2a.MessageRoleAgent, parts...)}}
	}

	for name, ev := range map[string]a2a.Event{
		"no artifact":           &a2a.TaskArtifactUpdateEvent{},
		"no part":               &a2a.TaskArtifactUpdateEvent{Artifact: &a2a.Artifact{ID: "a", Parts: a2a.ContentParts{nil}}},
		"no content":            &a2a.TaskArtifactUpdateEvent{Artifact: &a2a.Artifact{ID: "a", Parts: a2a.ContentParts{{}}}},
		"no URL":                &a2a.Task{Artifacts: []*a2a.Artifact{{ID: "a", Parts: a2a.ContentParts{{Content: a2a.URL("")}}}}},
		"data that is not JSON": status(a2a.TaskStateWorking, a2a.NewDataPart(math.NaN())),
		"metadata":              &a2a.TaskStatusUpdateEvent{Metadata: map[string]any{"f": func() {}}},
		"metadata of a part":    a2a.NewMessage(a2a.MessageRoleAgent, &a2a.Part{Content: a2a.Text("x"), Metadata: map[string]any{"c": make(chan int)}}),
		"in the final status":   status(a2a.TaskStateCompleted, nil),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
				if yield(ev, nil) {
					yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
				}
			}))

			id := b.send("m", "hello", "").ID()
			if code := b.deliver(id, "job", 0); code != http.StatusNoContent {
				t.Errorf("answered %d", code)
			}

			r := b.Load(id)
			if r.State() != a2a.TaskStateFailed || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "cannot be kept") {
				t.Errorf("the task is %s: %+v", r.State(), r.Task.Status.Message)
			}

			enc, err := r.Encode()
			if err == nil {
				_, err = task.Decode(enc.Head, enc.Body, r.Version)
			}
			if err != nil {
				t.Errorf("the record cannot be read again: %v", err)
			}
		})
	}
}

// What an executor replaces at once is no part of the result, and does not count towards its size.
func TestReplacedArtifactsAreNoResult(t *testing.T) {
	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		for i := range 1000 {
			ev := a2a.NewArtifactUpdateEvent(ec, "a", task.TextPart(fmt.Sprint(i, strings.Repeat("x", 2<<10))))
			ev.Append = false
			if !yield(ev, nil) {
				return
			}
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))
	id := b.send("m", "hello", "").ID()
	b.deliver(id, "job", 0)
	r := b.Load(id)
	if got := texts(r.Task); r.State() != a2a.TaskStateCompleted || len(got) != 1 || !strings.HasPrefix(got[0], "999x") {
		t.Errorf("%s: %d artifacts, %s", r.State(), len(got), shown(r))
	}
}
