package turn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/genai"

	"errand/shared/kv"
	"errand/shared/task"
	"errand/worker/run"
	"errand/worker/steps"
	"errand/worker/tools"
	"errand/worker/turn"
)

// rounds delivers the job of a task until the task has ended, and returns how often.
func (b *bench) rounds(id string) int {
	b.t.Helper()
	for n := 1; n <= 50; n++ {
		r := b.Load(id)
		if wait := r.Wake.Sub(b.clock()); wait > 0 {
			b.advance(wait)
		}
		b.deliver(id, "job", n)
		if b.Load(id).Terminal() {
			return n
		}
	}
	b.t.Fatalf("the task does not end: %+v", b.Load(id))
	return 0
}

// A run whose time is used up, and which has stored nothing, costs an attempt. So a turn that
// does not fit into a run ends, with that reason.
func TestTurnThatFitsInNoRunEnds(t *testing.T) {
	ex := execute(func(ctx context.Context, _ *a2asrv.ExecutorContext, _ func(a2a.Event, error) bool) { <-ctx.Done() })
	b := newBench(t, nil)
	b.configure(ex, func(c *turn.Config) { c.Deadline = 10 * time.Millisecond })
	id := b.send("m", "long", "").ID()

	runs := 0
	for n := range 50 {
		r := b.Load(id)
		if r.Terminal() {
			break
		}
		if wait := r.Wake.Sub(b.clock()); wait > 0 {
			b.advance(wait)
		}
		if code := b.deliver(id, "job", n); code != http.StatusNoContent {
			t.Fatalf("answered %d", code)
		}
		runs = int(b.Load(id).Epoch)
	}

	r := b.Load(id)
	if r.State() != a2a.TaskStateFailed || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "longer than one run") {
		t.Errorf("%s, %+v", r.State(), r.Task.Status.Message)
	}
	if runs != b.Rules.Attempts {
		t.Errorf("%d runs, want %d", runs, b.Rules.Attempts)
	}
}

// Every run of this executor stores one more step and then breaks off. No attempt is lost,
// because each goes on from the steps before, and no step is run twice.
func TestStepsCarryATurnOn(t *testing.T) {
	const parts = 8
	ran := map[string]int{}
	ex := execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		for i := range parts {
			name, fresh := fmt.Sprint("part ", i), false
			_, err := steps.Do(ctx, name, func(context.Context) (int, error) {
				fresh = true
				ran[name]++
				return i, nil
			})
			if err != nil || fresh {
				yield(nil, &steps.Again{Err: errors.Join(err, errors.New("it breaks off"))})
				return
			}
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	})

	b := newBench(t, ex)
	id := b.send("m", "parts", "").ID()
	if n := b.rounds(id); n != parts+1 {
		t.Errorf("%d runs, want %d", n, parts+1)
	}
	if r := b.Load(id); r.State() != a2a.TaskStateCompleted || len(ran) != parts {
		t.Errorf("%s after %v", r.State(), ran)
	}
	for name, n := range ran {
		if n != 1 {
			t.Errorf("%s ran %d times", name, n)
		}
	}
}

// A look for the results of a step finds those that another run has stored since this one has
// read or written the step.
func TestLookFindsResultsOfOtherRuns(t *testing.T) {
	var found []map[int]task.Result
	var b *bench
	b = newBench(t, execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		this, _ := run.From(ctx)
		s, err := this.Steps.Open(ctx, task.Step{Calls: []task.Call{{Name: "one"}, {Name: "two"}}}, []int{0, 1})

		for i, value := range []string{`"first"`, `"second"`} {
			if err != nil {
				break
			}
			other := b.otherRun(string(ec.TaskID), s, map[int]task.Result{i: {Value: json.RawMessage(value)}})
			if _, err = b.Store.KV().Put(ctx, other); err != nil {
				break
			}
			var now map[int]task.Result
			now, err = this.Steps.Keep(ctx, s, nil)
			found = append(found, now)
		}

		if err != nil {
			yield(nil, err)
			return
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	b.deliver(b.send("m", "go", "").ID(), "job", 0)
	if len(found) != 2 || len(found[0]) != 1 || len(found[1]) != 2 || string(found[1][0].Value) != `"first"` {
		t.Errorf("found %v", found)
	}
}

// otherRun is the entry of a step as another run stores it with a further result.
func (b *bench) otherRun(id string, s task.Step, results map[int]task.Result) kv.Entry {
	b.t.Helper()
	e := kv.Entry{Key: b.Load(id).StepKey(s.Number), Owner: "me"}
	k := task.Kept{Step: s}
	if stored, err := b.Store.KV().Get(b.t.Context(), e.Key); err == nil {
		e.Version = stored.Version
		if k, err = task.DecodeKept(stored.Value); err != nil {
			b.t.Error(err)
		}
	}
	k, _ = k.Merge(results)
	text, err := k.Encode()
	if err != nil {
		b.t.Error(err)
	}
	e.Value = text
	return e
}

// An unreadable is a kv store that answers no read while it is down.
type unreadable struct {
	kv.Store
	down atomic.Bool
}

func (u *unreadable) List(ctx context.Context, prefix, after string, limit int) ([]kv.Entry, error) {
	if u.down.Load() {
		return nil, errors.New("the store does not answer")
	}
	return u.Store.List(ctx, prefix, after, limit)
}

// While the steps of a turn cannot be read, the turn waits. It loses no attempt, however long
// that takes.
func TestUnreadableStepsCostNoAttempt(t *testing.T) {
	b := newBench(t, nil)
	u := &unreadable{Store: b.Store.KV()}
	began := 0
	look := tools.New("look", "Looks.", func(ctx context.Context, _ struct{}) (string, error) {
		if began++; began > 1 {
			return "seen", nil
		}
		b.worker.Drain()
		<-ctx.Done()
		return "", ctx.Err()
	})
	ex := shipped(t, []tools.Tool{look}, &genai.FunctionCall{Name: "look"})
	process := func() { b.configure(ex, func(c *turn.Config) { c.KV = u }) }

	process()
	id := b.send("m", "look", "").ID()
	b.deliver(id, "j", 0)

	process()
	u.down.Store(true)
	for n := range 2 * b.Rules.Attempts {
		if code := b.deliver(id, "j", n); code != http.StatusNoContent || b.Load(id).Attempt > 0 {
			t.Fatalf("run %d: answered %d, and attempt %d is counted", n, code, b.Load(id).Attempt)
		}
		b.advance(b.Load(id).Wake.Sub(b.clock()))
	}

	u.down.Store(false)
	b.deliver(id, "j", 0)
	if r := b.Load(id); r.State() != a2a.TaskStateCompleted || began != 2 {
		t.Errorf("%s, and the tool was called %d times", r.State(), began)
	}
}
