package turn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/kv"
	"errand/shared/lab/faulty"
	"errand/shared/task"
	"errand/worker/run"
	"errand/worker/steps"
	"errand/worker/turn"
)

// ends is an executor that says something, and then ends each run with err.
func ends(runs *int, err error) execute {
	return func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		*runs++
		if yield(a2a.NewArtifactUpdateEvent(ec, "a", a2a.NewTextPart("so far")), nil) {
			yield(nil, err)
		}
	}
}

// An error of an executor ends its task at once, as in the SDK. The client gets a sentence and
// what was said before, and the log the error.
func TestErrorIsFinal(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string // in the message to the client
	}{
		"an error":         {errors.New("dial tcp 10.0.0.1: password hunter2"), "The task was ended: the agent failed to do the work."},
		"one of a library": {fmt.Errorf("hunter2: %w", context.DeadlineExceeded), "The task was ended: the agent failed to do the work."},
		"a limit of steps": {fmt.Errorf("%w: hunter2", steps.ErrLimit), "1000 steps, 16 MiB for all of them, 900 KiB for the result of one, 512 bytes for its name"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			runs := 0
			b := newBench(t, nil)
			b.configure(ends(&runs, tt.err), func(c *turn.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })

			id := b.send("m", "hello", "").ID()
			if code := b.deliver(id, "job", 0); code != http.StatusNoContent {
				t.Errorf("answered %d", code)
			}
			b.deliver(id, "job", 0)

			r := b.Load(id)
			if m := r.Task.Status.Message; runs != 1 || r.State() != a2a.TaskStateFailed || !strings.Contains(m.Parts[0].Text(), tt.want) {
				t.Errorf("after %d runs %s: %+v", runs, r.State(), m)
			}
			if hinted := strings.Contains(r.Task.Status.Message.Parts[0].Text(), ":rerun"); hinted == errors.Is(tt.err, steps.ErrLimit) {
				t.Errorf("the hint at a rerun is there: %v", hinted)
			}
			if diff := cmp.Diff([]string{"so far"}, texts(r.Task)); diff != "" {
				t.Errorf("the result (-want +got):\n%s", diff)
			}

			enc, err := r.Encode()
			if err != nil || strings.Contains(string(enc.Head)+string(enc.Body), "hunter2") {
				t.Errorf("the record holds the error: %v", err)
			}
			if !strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "task="+id) {
				t.Errorf("the log does not tell the error: %s", log.String())
			}
		})
	}
}

// Nothing after an end counts: not an event of an executor that does not look at what yield
// returns, nor a panic. Its work is not done again.
func TestNothingAfterAnEndCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		play func(done func(a2a.TaskState), yield func(a2a.Event, error) bool)
		want a2a.TaskState
	}{
		"another end": {func(done func(a2a.TaskState), _ func(a2a.Event, error) bool) {
			done(a2a.TaskStateRejected)
			done(a2a.TaskStateCompleted)
		}, a2a.TaskStateRejected},
		"an error": {func(done func(a2a.TaskState), yield func(a2a.Event, error) bool) {
			done(a2a.TaskStateCompleted)
			yield(nil, errors.New("late"))
		}, a2a.TaskStateCompleted},
		"an end after an error": {func(done func(a2a.TaskState), yield func(a2a.Event, error) bool) {
			yield(nil, errors.New("no"))
			done(a2a.TaskStateCompleted)
		}, a2a.TaskStateFailed},
		"a panic": {func(done func(a2a.TaskState), _ func(a2a.Event, error) bool) {
			done(a2a.TaskStateCompleted)
			panic("late")
		}, a2a.TaskStateCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
				runs++
				tt.play(func(state a2a.TaskState) { yield(a2a.NewStatusUpdateEvent(ec, state, nil), nil) }, yield)
			}))
			id := b.send("m", "hello", "").ID()
			b.deliver(id, "job", 0)
			b.deliver(id, "job", 0)
			if r := b.Load(id); r.State() != tt.want || runs != 1 {
				t.Errorf("%s after %d runs, want %s", r.State(), runs, tt.want)
			}
		})
	}
}

// An executor that asks for another run gets one, until its attempts are used up.
func TestAgainIsTriedAgain(t *testing.T) {
	runs := 0
	b := newBench(t, ends(&runs, fmt.Errorf("asking: %w", &steps.Again{Err: errors.New("busy")})))
	id := b.send("m", "hello", "").ID()
	b.rounds(id)

	r := b.Load(id)
	if runs != b.Rules.Attempts || r.State() != a2a.TaskStateFailed || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "tried several times") {
		t.Errorf("after %d runs %s: %+v", runs, r.State(), r.Task.Status.Message)
	}
}

// An executor may ask that time passes before its next run. The turn is parked, the run counts
// as an attempt, and the backoff is not shorter for it.
func TestAgainAfter(t *testing.T) {
	const after = 30 * time.Second
	runs := 0
	b := newBench(t, ends(&runs, &steps.Again{Err: errors.New("busy"), After: after}))
	id := b.send("m", "hello", "").ID()

	want := []time.Duration{after, after, time.Minute, 5 * time.Minute} // the rules' backoff, if it is longer
	for n, wait := range want {
		if code := b.deliver(id, "job", n); code != http.StatusNoContent {
			t.Fatalf("run %d was answered %d", n+1, code)
		}
		r := b.Load(id)
		if got := r.Wake.Sub(b.clock()); got != wait || r.Attempt != n+1 || r.Lease != (task.Lease{}) {
			t.Errorf("run %d: parked for %s with %d attempts, want %s", n+1, got, r.Attempt, wait)
		}

		b.advance(wait - time.Second)
		b.deliver(id, "early", 0)
		if runs != n+1 {
			t.Errorf("%d runs before the time", runs)
		}
		b.advance(time.Second)
	}

	if code := b.deliver(id, "job", 9); code != http.StatusInternalServerError {
		t.Errorf("the last run was answered %d", code)
	}
	b.deliver(id, "job", 10)
	if r := b.Load(id); runs != b.Rules.Attempts || r.State() != a2a.TaskStateFailed || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "tried several times") {
		t.Errorf("after %d runs %s: %+v", runs, r.State(), r.Task.Status.Message)
	}
}

// An error that is another one's reason keeps its meaning.
func TestErrorsAroundOthers(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want a2a.TaskState
	}{
		"a pause":    {&steps.Again{Err: &run.Pause{For: time.Hour}}, a2a.TaskStateWorking},
		"a question": {&steps.Again{Err: &run.Ask{Message: a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("Sure?"))}}, a2a.TaskStateInputRequired},
		"too large":  {fmt.Errorf("adding: %w", task.ErrTooLarge), a2a.TaskStateFailed},
		"fenced":     {fmt.Errorf("flushing: %w", task.ErrFenced), a2a.TaskStateWorking},
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			b := newBench(t, ends(&runs, tt.err))
			id := b.send("m", "hello", "").ID()
			if code := b.deliver(id, "job", 0); code != http.StatusNoContent || b.Load(id).State() != tt.want {
				t.Errorf("answered %d, and the task is %s", code, b.Load(id).State())
			}
		})
	}
}

// Nothing counts after the final event.
func TestEventsAfterTheEnd(t *testing.T) {
	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		if yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil) {
			t.Error("the executor is asked for more")
			yield(nil, errors.New("late"))
		}
	}))
	id := b.send("m", "hello", "").ID()
	b.deliver(id, "job", 0)
	if r := b.Load(id); r.State() != a2a.TaskStateCompleted {
		t.Errorf("the task is %s", r.State())
	}
}

// deaf is a kv store whose writes are not answered while it is down.
type deaf struct {
	kv.Store
	down atomic.Bool
}

func (m *deaf) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	if m.down.Load() {
		return kv.Entry{}, errMute
	}
	return m.Store.Put(ctx, e)
}

// An executor that passes on what the store made fail gets another run: it need not know which
// errors are worth one.
func TestErrorsOfTheStoreAreTriedAgain(t *testing.T) {
	var flushDown atomic.Bool
	b := newBench(t, nil)
	values := &deaf{Store: b.Store.KV()}
	store := faulty.Store{Store: b.Store, Before: func(c faulty.Call) error {
		if c.Op == faulty.Commit && flushDown.Load() {
			return errMute
		}
		return nil
	}}

	for name, fail := range map[string]func(context.Context) error{
		"a step": func(ctx context.Context) error {
			values.down.Store(true)
			defer values.down.Store(false)
			_, err := steps.Do(ctx, "step", func(context.Context) (int, error) { return 1, nil })
			return err
		},
		"a flush": func(ctx context.Context) error {
			flushDown.Store(true)
			defer flushDown.Store(false)
			this, _ := run.From(ctx)
			return this.Flush(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			ex := execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
				if !yield(a2a.NewArtifactUpdateEvent(ec, "a", a2a.NewTextPart("so far")), nil) {
					return
				}
				if runs++; runs == 1 {
					yield(nil, fmt.Errorf("working: %w", fail(ctx)))
					return
				}
				yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
			})

			b.configure(ex, func(c *turn.Config) { c.Store, c.KV, c.Pace = store, values, each(time.Hour) })
			id := b.send(name, "hello", "").ID()
			if code := b.deliver(id, name, 0); code != http.StatusInternalServerError || b.Load(id).Attempt != 1 {
				t.Errorf("answered %d, and attempt %d is counted", code, b.Load(id).Attempt)
			}
			b.deliver(id, name, 1)
			if r := b.Load(id); runs != 2 || r.State() != a2a.TaskStateCompleted {
				t.Errorf("after %d runs the task is %s", runs, r.State())
			}
		})
	}
}

// A run that asks for another one may say why. The turn is parked at once, even if it need not
// wait, so that every reader of the task sees the word; the run counts as an attempt.
func TestAgainSays(t *testing.T) {
	runs := 0
	b := newBench(t, ends(&runs, &steps.Again{Err: errors.New("empty"), Say: "It is tried again."}))
	id := b.send("m", "hello", "").ID()
	if code := b.deliver(id, "job", 0); code != http.StatusNoContent {
		t.Errorf("answered %d", code)
	}
	r := b.Load(id)
	if m := r.Task.Status.Message; m == nil || m.Parts[0].Text() != "It is tried again." || r.Attempt != 1 || !r.Wake.Equal(b.clock()) || r.Lease != (task.Lease{}) {
		t.Errorf("attempt %d, wakes at %v, %+v", r.Attempt, r.Wake, m)
	}
	if id := <-b.jobs; id != r.ID() {
		t.Errorf("a job for %s", id)
	}

	b.rounds(id)
	if r := b.Load(id); runs != b.Rules.Attempts || r.State() != a2a.TaskStateFailed || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "tried several times") {
		t.Errorf("after %d runs %s: %+v", runs, r.State(), r.Task.Status.Message)
	}
}
