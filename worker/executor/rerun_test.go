package executor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/standin"
	"errand/shared/desk"
	"errand/shared/kv"
	"errand/shared/lab/scripts"
	"errand/shared/task"
	"errand/worker/tools"
)

// stop cancels a task as its client does.
func (s *site) stop(id string) task.Record {
	s.t.Helper()
	r, err := s.desk.ChangeByID(s.t.Context(), id, func(r task.Record, m task.Moment) (task.Record, bool, error) {
		return r.Cancel(m, &a2a.Message{ID: "stop", Role: a2a.MessageRoleAgent}, nil)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// again runs a task again.
func (s *site) again(id string, anew bool) task.Record {
	s.t.Helper()
	r, err := s.desk.Rerun(s.t.Context(), desk.Rerun{Owner: "me", Task: id, Anew: anew})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// A turn dies at each of its points and is canceled, and the task is run again, in a process that
// dies too. Each refund is made once, with the key and the arguments of the stored call.
func TestRerunRefundsOnce(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		t.Run(map[bool]string{true: "keys are kept", false: "keys are not kept"}[keeps], func(t *testing.T) {
			for kill, points := 1, 12; kill < points; kill++ { // as TestRefundIsMadeOnce counts them
				t.Run(fmt.Sprint("point ", kill), func(t *testing.T) {
					s := newSite(t)
					b := &bank{s: s, keeps: keeps, keys: map[string]string{}}
					s.setup = setup{model: scripted(t, fickle()), tools: []tools.Tool{b.refund()}}
					id := s.send("m1", "Refund A-1 and A-2.", "").ID()
					s.process(id, kill)
					if s.Load(id).Terminal() {
						t.Fatal("the turn has ended before the point")
					}
					s.stop(id)

					r := s.until(s.again(id, false).ID(), kill)
					for n := 2; r.Interrupted(); n++ {
						r = answerTruly(s, b, r, n)
					}
					if diff := cmp.Diff([]string{"A-1 100", "A-2 200"}, b.refunds()); diff != "" {
						t.Errorf("refunds (-want +got):\n%s", diff)
					}
					if got := answerOf(r); r.State() != a2a.TaskStateCompleted || got != "Refunded both." {
						t.Errorf("%s, %q, %+v", r.State(), got, r.Task.Status.Message)
					}
				})
			}
		})
	}
}

// A task that failed for a limit goes on from its steps with a limit of its own, and anew from
// none of them.
func TestRerunHasStepsOfItsOwn(t *testing.T) {
	for _, anew := range []bool{false, true} {
		s := newSite(t)
		limits := defaults()
		limits.Steps = 3
		made := map[string]int{}
		count := tools.New("count", "Counts.", func(ctx context.Context, _ struct{}) (string, error) {
			made[tools.InfoFrom(ctx).Key]++
			return "one more", nil
		})
		s.setup = setup{model: scripted(t, script(5, "count")), tools: []tools.Tool{count}, limits: limits}

		failed := s.until(s.send("m1", "Count to five.", "").ID())
		if failed.State() != a2a.TaskStateFailed || failed.Steps != 3 {
			t.Fatalf("%s after %d steps", failed.State(), failed.Steps)
		}
		r := s.until(s.again(failed.ID(), anew).ID())
		if r.State() != a2a.TaskStateCompleted || len(made) != 5 || r.Spent.Replies != 3 {
			t.Errorf("anew %v: %s, %d replies, calls %v", anew, r.State(), r.Spent.Replies, made)
		}
		for key, times := range made {
			if times != 1 {
				t.Errorf("anew %v: the call %s was made %d times", anew, key, times)
			}
		}
		if want := map[bool]int{false: 5, true: 2}[anew]; r.Steps != want {
			t.Errorf("anew %v: %d steps, want %d", anew, r.Steps, want)
		}
	}
}

// A rerun costs one commit more than another turn, and a copy of each entry. Without anything to take
// over it costs no more than that.
func TestWritesOfARerun(t *testing.T) {
	for anew, want := range map[bool][]string{false: {"commit", "put", "commit", "commit"}, true: {"commit", "commit"}} {
		s := newSite(t)
		limits := defaults()
		limits.Steps = 1
		count := tools.New("count", "Counts.", func(context.Context, struct{}) (string, error) { return "one", nil })
		s.setup = setup{model: scripted(t, scripts.New(standin.Call(call("count", nil)), standin.Text("Done."))), tools: []tools.Tool{count}, limits: limits}
		failed := s.until(s.send("m1", "Count.", "").ID())

		s.writes = nil
		if r := s.until(s.again(failed.ID(), anew).ID()); r.State() != a2a.TaskStateCompleted {
			t.Errorf("%s: %q", r.State(), says(r))
		}
		if diff := cmp.Diff(want, s.writes); diff != "" {
			t.Errorf("anew %v: writes (-want +got):\n%s", anew, diff)
		}
	}
}

// A rerun that begins its turn anew remembers the calls of the turns before.
func TestRerunAnewRemembersEarlierTurns(t *testing.T) {
	s := newSite(t)
	made := 0
	refund := tools.New("refund", "Refunds.", func(context.Context, struct{}) (string, error) { made++; return "refunded", nil }, tools.Effects())
	script := scripts.New(
		standin.Call(call("refund", nil)), standin.Call(call("ask", map[string]any{"question": "More?"})),
		standin.Call(call("refund", nil)), scripts.Fail(http.StatusBadRequest, "INVALID_ARGUMENT", "no"), scripts.Fail(http.StatusBadRequest, "INVALID_ARGUMENT", "no"),
	)
	s.setup = setup{model: scripted(t, script), tools: []tools.Tool{refund}}
	id := s.until(s.send("m1", "Refund.", "").ID()).ID()
	s.send("m2", "Yes.", id)
	if r := s.until(id); r.State() != a2a.TaskStateFailed || r.Steps != 2 {
		t.Fatalf("%s after %d steps", r.State(), r.Steps)
	}

	last := scripts.New(standin.Text("Done."))
	s.setup.model = scripted(t, last)
	r := s.until(s.again(id, true).ID())
	if r.State() != a2a.TaskStateCompleted || r.Steps != 1 {
		t.Errorf("%s after %d steps: %q", r.State(), r.Steps, says(r))
	}
	if got := strings.Count(plain(last.Requests()[0].Contents), "call refund"); got != 1 {
		t.Errorf("the model was shown %d calls, want that of the first turn:\n%s", got, plain(last.Requests()[0].Contents))
	}
}

// A call of the old task ends after its steps were copied. The rerun finds its result before it
// does anything about the call.
func TestRerunFindsALateResult(t *testing.T) {
	s := newSite(t)
	b := &bank{s: s, keys: map[string]string{}}
	s.setup = setup{model: scripted(t, fickle()), tools: []tools.Tool{b.refund()}}
	id := s.send("m1", "Refund A-1 and A-2.", "").ID()
	s.process(id, 5) // in the first refund
	old := s.stop(id)
	again := s.again(id, false)

	s.process(again.ID(), 0) // copies the steps, and waits for the time limit of the calls
	late := task.Kept{Step: *old.Step, Results: map[int]task.Result{}}
	for i, c := range old.Step.Calls {
		var order struct{ Order string }
		if err := json.Unmarshal(c.Args, &order); err != nil {
			t.Fatal(err)
		}
		b.made = append(b.made, order.Order)
		late.Results[i] = task.Result{Value: json.RawMessage(`{"output":"refunded late"}`), At: time.Now()}
	}
	text, err := late.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store.KV().Put(t.Context(), kv.Entry{Key: old.StepKey(1), Owner: "me", Value: text}); err != nil {
		t.Fatal(err)
	}

	refunds := len(b.refunds())
	if r := s.until(again.ID()); r.State() != a2a.TaskStateCompleted || len(b.refunds()) != refunds {
		t.Errorf("%s, %v", r.State(), b.refunds())
	}
}

// A rerun that is canceled before it has copied the steps is run again itself. It goes on from the
// steps all the same, and so does a rerun of that one.
func TestRerunOfARerunThatNeverRan(t *testing.T) {
	s := newSite(t)
	limits := defaults()
	limits.Steps = 3
	made := map[string]int{}
	count := tools.New("count", "Counts.", func(ctx context.Context, _ struct{}) (string, error) {
		made[tools.InfoFrom(ctx).Key]++
		return "one more", nil
	}, tools.Effects())
	s.setup = setup{model: scripted(t, script(8, "count")), tools: []tools.Tool{count}, limits: limits}

	failed := s.until(s.send("m1", "Count to eight.", "").ID())
	never := s.stop(s.again(failed.ID(), false).ID())
	second := s.until(s.again(never.ID(), false).ID())
	if second.State() != a2a.TaskStateFailed || second.Steps != 6 {
		t.Fatalf("%s after %d steps", second.State(), second.Steps)
	}
	r := s.until(s.again(second.ID(), false).ID())
	if r.State() != a2a.TaskStateCompleted || r.Steps != 8 || len(made) != 8 {
		t.Errorf("%s after %d steps, calls %v: %q", r.State(), r.Steps, made, says(r))
	}
	for key, times := range made {
		if times != 1 {
			t.Errorf("the call %s was made %d times", key, times)
		}
	}
	kept, err := s.Store.KV().List(t.Context(), r.StepPrefix(), "", kv.LimitCount)
	if err != nil || len(kept) != 8 {
		t.Errorf("%d steps are stored: %v", len(kept), err)
	}
}

// The steps of a task whose origin is gone cannot be copied, and the task says so. It makes no
// call anew.
func TestRerunOfATaskThatIsGone(t *testing.T) {
	s := newSite(t)
	calls := 0
	count := tools.New("count", "Counts.", func(context.Context, struct{}) (string, error) { calls++; return "one", nil }, tools.Effects())
	limits := defaults()
	limits.Steps = 1
	s.setup = setup{model: scripted(t, scripts.New(standin.Call(call("count", nil)), standin.Text("Done."))), tools: []tools.Tool{count}, limits: limits}
	failed := s.until(s.send("m1", "Count.", "").ID())
	again := s.again(failed.ID(), false)
	if _, err := s.desk.ChangeByID(t.Context(), failed.ID(), func(r task.Record, m task.Moment) (task.Record, bool, error) { return r.Delete(m) }); err != nil {
		t.Fatal(err)
	}
	if r := s.until(again.ID()); r.State() != a2a.TaskStateFailed || calls != 1 {
		t.Errorf("%s after %d calls: %q", r.State(), calls, says(r))
	}
}
