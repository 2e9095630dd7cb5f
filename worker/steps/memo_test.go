package steps_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/shared/kv"
	"errand/worker/steps"
)

// turnOf is a run of a turn of a task, which may read the memos of the tasks, its own last.
func turnOf(task string, turn int, tasks ...string) func(*steps.Scope) {
	under := func(task string) string { return "step/" + task + "/life/" }
	return func(s *steps.Scope) {
		s.Prefix = fmt.Sprintf("%st%06d/", under(task), turn)
		s.Memos = fmt.Sprintf("%sx/t%06d/", under(task), turn)
		for _, t := range append(tasks, task) {
			s.Earlier = append(s.Earlier, steps.Earlier{Task: t, Prefix: under(t) + "x/"})
		}
	}
}

func leave(t *testing.T, ctx context.Context, name, value string) {
	t.Helper()
	if _, err := steps.Leave(ctx, name, value); err != nil {
		t.Fatal(err)
	}
}

// texts are the memos that a turn is shown, in one form.
func texts(t *testing.T, ctx context.Context) (all []string) {
	t.Helper()
	memos, whole, err := steps.Memos(ctx)
	if err != nil || !whole {
		t.Fatalf("Memos: %t, %v", whole, err)
	}
	for _, m := range memos {
		var value string
		if err := json.Unmarshal(m.Value, &value); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %d %s=%s", m.Task, m.Turn, m.Name, value))
	}
	return all
}

// A turn is shown what the turns before it have left, in the order of tasks, turns and names. It
// is shown no memo of its own, of a task that is not of its conversation, or of another owner.
func TestLaterTurnsReadMemos(t *testing.T) {
	s := store(t)
	first := run(t, s, turnOf("a", 1))
	leave(t, first, "two", "A2")
	leave(t, first, "one", "A1")
	leave(t, run(t, s, turnOf("a", 2)), "one", "A3")
	leave(t, run(t, s, turnOf("b", 1)), "one", "B1")
	leave(t, run(t, s, turnOf("c", 1)), "one", "C1")
	leave(t, run(t, s, turnOf("d", 1), func(s *steps.Scope) { s.Owner = "other" }), "one", "D1")

	later := run(t, s, turnOf("b", 2, "a", "d"))
	leave(t, later, "one", "B2")
	want := []string{"a 1 one=A1", "a 1 two=A2", "a 2 one=A3", "b 1 one=B1"}
	if diff := cmp.Diff(want, texts(t, later)); diff != "" {
		t.Errorf("the memos: %s", diff)
	}
}

// All runs of a turn get the memo that was stored first. It is no step, and has the name of none.
func TestFirstMemoCounts(t *testing.T) {
	s := store(t)
	for n, change := range []func(*steps.Scope){fresh, func(*steps.Scope) {}, fresh} {
		ctx := run(t, s, turnOf("a", 1), change)
		if got, err := steps.Leave(ctx, "name", n); got != 0 || err != nil {
			t.Errorf("run %d: %d, %v; want the 0 that was stored first", n, got, err)
		}
		if got, err := steps.Do(ctx, "name", func(context.Context) (string, error) { return "step", nil }); got != "step" || err != nil {
			t.Errorf("run %d: the step is %q, %v", n, got, err)
		}
	}
}

// Memos count towards the limits of the turn's steps, in later runs too.
func TestMemosHaveTheLimitsOfSteps(t *testing.T) {
	s := store(t)
	few := func(s *steps.Scope) { s.MaxSteps = 2 }
	ctx := run(t, s, turnOf("a", 1), few)
	leave(t, ctx, "one", "1")
	leave(t, ctx, "two", "2")
	for name, ctx := range map[string]context.Context{"the same run": ctx, "a later run": run(t, s, turnOf("a", 1), few)} {
		if _, err := steps.Leave(ctx, "three", "3"); !errors.Is(err, steps.ErrLimit) {
			t.Errorf("%s: %v, want ErrLimit", name, err)
		}
	}
}

// Of the memos of a long conversation the newest are shown, and the caller is told: of a task
// with many and of many tasks.
func TestOldMemosAreLeftOut(t *testing.T) {
	s := store(t)
	large := strings.Repeat("x", 300<<10)
	const most = steps.MaxMemos / (300 << 10)
	for n := range 3 * most {
		leave(t, run(t, s, turnOf("long", n+1)), "one", large)
	}
	leave(t, run(t, s, turnOf("other", 1)), "one", large)

	for _, tt := range []struct {
		task, other string
		want        []string
	}{
		{"long", "other", []string{"long 7", "long 8", "long 9"}},
		{"other", "long", []string{"long 8", "long 9", "other 1"}},
	} {
		memos, all, err := steps.Memos(run(t, s, turnOf(tt.task, 10, tt.other)))
		var got []string
		for _, m := range memos {
			got = append(got, fmt.Sprint(m.Task, " ", m.Turn))
			if len(m.Value) < len(large) {
				t.Errorf("the memo of turn %d has %d bytes", m.Turn, len(m.Value))
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || all || err != nil {
			t.Errorf("all %t, %v: %s", all, err, diff)
		}
	}
}

// The memory of memos is taken before the executor has them. Without it there are none.
func TestMemosTakeMemory(t *testing.T) {
	s, full, taken := store(t), errors.New("there is no memory"), 0
	leave(t, run(t, s, turnOf("a", 1)), "one", "A1")
	ctx := run(t, s, turnOf("a", 2), func(s *steps.Scope) {
		s.Take = func(value []byte) error { taken += len(value); return full }
	})
	if memos, _, err := steps.Memos(ctx); !errors.Is(err, full) || len(memos) > 0 || taken != len(`"A1"`) {
		t.Errorf("%v, %v, after taking %d bytes", memos, err, taken)
	}
}

// A store that does not answer is asked again. If it never does, the turn may run again.
func TestMemosAreReadAgain(t *testing.T) {
	s := store(t)
	leave(t, run(t, s, turnOf("a", 1)), "one", "A1")
	slow := &net{Store: s, before: breaks("list", 2)}
	if got := texts(t, run(t, slow, turnOf("a", 2))); len(got) != 1 {
		t.Errorf("the memos are %q", got)
	}

	_, _, err := steps.Memos(run(t, &net{Store: s, before: breaks("list", 1000)}, turnOf("a", 2)))
	if _, again := errors.AsType[*steps.Again](err); !again || !errors.Is(err, errBroke) || !strings.HasPrefix(err.Error(), "steps:") {
		t.Errorf("%v, want an Again", err)
	}
}

// Without a Scope, as in a test of an executor, a memo is given back and kept nowhere.
func TestWithoutAScopeThereAreNoMemos(t *testing.T) {
	for name, ctx := range map[string]context.Context{"no scope": t.Context(), "no memos": run(t, kv.Store(nil))} {
		if got, err := steps.Leave(ctx, "one", 1); got != 1 || err != nil {
			t.Errorf("%s: Leave = %d, %v", name, got, err)
		}
		if got, all, err := steps.Memos(ctx); len(got) > 0 || !all || err != nil {
			t.Errorf("%s: Memos = %v, %t, %v", name, got, all, err)
		}
	}
}
