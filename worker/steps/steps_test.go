package steps_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/sqlstore"
	"errand/shared/kv"
	"errand/worker/steps"
)

const prefix = "step/task/life/t000003/"

// open opens a database and returns its entries.
func open(t testing.TB, file string) kv.Store {
	t.Helper()
	db, err := sqlstore.Open(context.Background(), file, sqlstore.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db.KV()
}

func store(t testing.TB) kv.Store { return open(t, filepath.Join(t.TempDir(), "errand.db")) }

// run is the context of a new run of the turn.
func run(t testing.TB, s kv.Store, changes ...func(*steps.Scope)) context.Context {
	scope := steps.Scope{KV: s, Owner: "acme", Prefix: prefix}
	for _, change := range changes {
		change(&scope)
	}
	return steps.With(t.Context(), scope)
}

func fresh(s *steps.Scope) { s.Fresh = true }

// counting returns a function for a step that returns how often it has run.
func counting(n *int) func(context.Context) (int, error) {
	return func(context.Context) (int, error) { *n++; return *n, nil }
}

// A net is a store behind a network: calls are counted, and can fail before or after they
// reach it.
type net struct {
	kv.Store
	mu            sync.Mutex
	calls         map[string]int
	before, after func(call string, n int) error // n counts the calls of a kind, from 1; nil: none fails
}

func (s *net) do(call string, reach func() error) error {
	s.mu.Lock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[call]++
	n := s.calls[call]
	s.mu.Unlock()

	if s.before != nil {
		if err := s.before(call, n); err != nil {
			return err
		}
	}
	err := reach()
	if err == nil && s.after != nil {
		return s.after(call, n)
	}
	return err
}

func (s *net) Get(ctx context.Context, key string) (e kv.Entry, err error) {
	err = s.do("get", func() error { e, err = s.Store.Get(ctx, key); return err })
	return e, err
}

func (s *net) Put(ctx context.Context, in kv.Entry) (e kv.Entry, err error) {
	err = s.do("put", func() error { e, err = s.Store.Put(ctx, in); return err })
	return e, err
}

func (s *net) List(ctx context.Context, prefix, after string, limit int) (l []kv.Entry, err error) {
	err = s.do("list", func() error { l, err = s.Store.List(ctx, prefix, after, limit); return err })
	return l, err
}

var errBroke = errors.New("the connection broke")

// breaks fails the first n calls of a kind.
func breaks(kind string, most int) func(string, int) error {
	return func(call string, n int) error {
		if call == kind && n <= most {
			return errBroke
		}
		return nil
	}
}

func TestLaterRunsGetTheStoredResult(t *testing.T) {
	s, ran := store(t), 0
	for n, scope := range []func(*steps.Scope){fresh, func(*steps.Scope) {}, fresh} {
		got, err := steps.Do(run(t, s, scope), "count", counting(&ran))
		if got != 1 || err != nil {
			t.Errorf("run %d: %d, %v; want the 1 that was stored first", n, got, err)
		}
	}
	if ran != 2 { // by the first run, and by the last, which is wrongly fresh
		t.Errorf("the function ran %d times, want 2", ran)
	}
}

func TestAnotherTurnHasItsOwnSteps(t *testing.T) {
	s, ran := store(t), 0
	for n, p := range []string{prefix, "step/task/life/t000004/"} {
		got, err := steps.Do(run(t, s, func(s *steps.Scope) { s.Prefix = p }), "count", counting(&ran))
		if got != n+1 || err != nil {
			t.Errorf("turn %d: %d, %v", n, got, err)
		}
	}
}

func TestWithoutAScopeTheFunctionRuns(t *testing.T) {
	ran := 0
	for n := range 2 {
		if got, err := steps.Do(t.Context(), "count", counting(&ran)); got != n+1 || err != nil {
			t.Errorf("call %d: %d, %v", n, got, err)
		}
	}
}

func TestEveryRunGetsTheSameForm(t *testing.T) {
	type result struct {
		Kept   string `json:"kept"`
		lost   string
		Any    any
		Hidden string `json:"-"`
	}
	full := result{Kept: "<\u2028\xff>", lost: "x", Any: 7, Hidden: "x"}
	want := result{Kept: "<\u2028\ufffd>", Any: 7.0}

	s := store(t)
	for n, ctx := range []context.Context{t.Context(), run(t, s), run(t, s)} {
		got, err := steps.Do(ctx, "form", func(context.Context) (result, error) { return full, nil })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("run %d (-want +got):\n%s", n, diff)
		}
	}
}

func TestErrorsAndPanicsAreNotStored(t *testing.T) {
	s, ran := store(t), 0
	ctx := run(t, s)
	own := errors.New("sold out")
	if _, err := steps.Do(ctx, "count", func(context.Context) (int, error) { return 7, own }); err != own {
		t.Errorf("the error of the function came as %v", err)
	}

	func() {
		defer func() {
			if p := recover(); p != "broken" {
				t.Errorf("the panic came as %v", p)
			}
		}()
		_, _ = steps.Do(ctx, "count", func(context.Context) (int, error) { panic("broken") })
	}()

	if got, err := steps.Do(ctx, "count", counting(&ran)); got != 1 || err != nil {
		t.Errorf("after an error and a panic: %d, %v", got, err)
	}
}

func TestResultsThatCannotBeStored(t *testing.T) {
	s := store(t)
	ctx := run(t, s)
	for name, do := range map[string]func() error{
		"no JSON": func() error {
			_, err := steps.Do(ctx, "a", func(context.Context) (float64, error) { return math.NaN(), nil })
			return err
		},
		"no way back": func() error {
			_, err := steps.Do(ctx, "b", func(context.Context) (fmt.Stringer, error) { return time.Second, nil })
			return err
		},
		"another type than stored": func() error {
			if _, err := steps.Do(ctx, "c", func(context.Context) (string, error) { return "x", nil }); err != nil {
				t.Fatal(err)
			}
			_, err := steps.Do(ctx, "c", func(context.Context) (int, error) { return 1, nil })
			return err
		},
		"the entry of another step": func() error {
			e := kv.Entry{Key: prefix + "n.d", Value: []byte(`{"name":"x","result":1}`)}
			if _, err := s.Put(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			_, err := steps.Do(ctx, "d", func(context.Context) (int, error) { return 1, nil })
			return err
		},
	} {
		if err := do(); err == nil || !strings.HasPrefix(err.Error(), "steps:") || !strings.Contains(err.Error(), `step "`) {
			t.Errorf("%s: %v, want an error that names the step", name, err)
		}
	}

	if _, err := steps.Do(ctx, "b", func(context.Context) (string, error) { return "x", nil }); err != nil {
		t.Errorf("a result with no way back was stored: %v", err)
	}
}

func TestNamesAreApart(t *testing.T) {
	s := store(t)
	long := strings.Repeat("n", 512)
	names := []string{
		"a", "A", "ä", "Ä", "a ", " ", "/", "a/b", "a.b", "..", "\x00", "n.a", "h.a", "64-" + strings.Repeat("x", 61), "65-" + strings.Repeat("x", 62),
		long, long[1:] + "m", "Refund", "refund", "REFUND",
	}

	for range 2 {
		ctx := run(t, s)
		for _, name := range names {
			if got, err := steps.Do(ctx, name, func(context.Context) (string, error) { return name, nil }); got != name || err != nil {
				t.Errorf("step %.20q: %.20q, %v", name, got, err)
			}
		}
	}

	// A plain name is read in its key, and any name in its entry.
	entries, err := s.List(t.Context(), prefix, "", kv.LimitCount)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{}
	for _, e := range entries {
		step, err := steps.Read(e)
		if err != nil || e.Owner != "acme" {
			t.Errorf("entry %s of %q: %v", e.Key, e.Owner, err)
		}
		stored[step.Name] = e.Key
	}
	if len(stored) != len(names) || stored["refund"] != prefix+"n.refund" {
		t.Errorf("%d steps are stored, want %d; refund under %s", len(stored), len(names), stored["refund"])
	}

	for _, bad := range []string{"", "\xff", long + "n"} {
		_, err := steps.Do(run(t, s), bad, func(context.Context) (int, error) { t.Error("it ran"); return 0, nil })
		if err == nil || !strings.Contains(err.Error(), "512") {
			t.Errorf("the name %.20q: %v, want an error with the limit", bad, err)
		}
	}
}

func TestReadOfOtherEntries(t *testing.T) {
	for _, value := range []string{"", "{", "{}", `{"name":"a"}`, `{"result":1}`} {
		if _, err := steps.Read(kv.Entry{Key: "step/a", Value: []byte(value)}); err == nil {
			t.Errorf("Read of %q has no error", value)
		}
	}
}

// A step costs a read and a write, and a fresh turn saves the read. A run that is not fresh
// counts the stored steps once, in lists of up to 1 MiB and an empty one.
func TestCostOfSteps(t *testing.T) {
	for name, tt := range map[string]struct {
		scope func(*steps.Scope)
		want  map[string]int
	}{
		"fresh":     {fresh, map[string]int{"put": 10}},
		"not fresh": {func(*steps.Scope) {}, map[string]int{"get": 10, "put": 10, "list": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &net{Store: store(t)}
			ctx := run(t, s, tt.scope)
			for n := range 10 {
				if _, err := steps.Do(ctx, fmt.Sprint("step-", n), func(context.Context) (int, error) { return n, nil }); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tt.want, s.calls); diff != "" {
				t.Errorf("calls of the store (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSameNameInOneRun(t *testing.T) {
	s, ran := &net{Store: store(t)}, 0
	ctx := run(t, s, fresh)
	for range 2 {
		if got, err := steps.Do(ctx, "count", counting(&ran)); got != 1 || err != nil {
			t.Errorf("%d, %v; want the first result", got, err)
		}
	}
	if ran != 1 {
		t.Errorf("it ran %d times", ran)
	}
}

func TestSameNameAtOnceRunsOnce(t *testing.T) {
	ctx := run(t, store(t), fresh)
	var ran atomic.Int64
	var begun, all sync.WaitGroup
	begun.Add(50)
	for range 50 {
		all.Go(func() {
			begun.Done()
			got, err := steps.Do(ctx, "count", func(context.Context) (int64, error) { begun.Wait(); return ran.Add(1), nil })
			if got != 1 || err != nil {
				t.Errorf("%d, %v; want 1", got, err)
			}
		})
	}
	all.Wait()
	if ran.Load() != 1 {
		t.Errorf("it ran %d times", ran.Load())
	}
}

func TestSecondRunsAfterTheFirstFails(t *testing.T) {
	ctx := run(t, store(t))
	started, fail := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_, err := steps.Do(ctx, "count", func(context.Context) (int, error) { close(started); <-fail; return 0, errBroke })
		if err != errBroke {
			t.Errorf("the first: %v", err)
		}
	})
	all.Go(func() {
		<-started
		waiting, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := steps.Do(waiting, "count", counting(new(int))); !errors.Is(err, context.Canceled) {
			t.Errorf("one that waits is canceled: %v", err)
		}
		close(fail)
		if got, err := steps.Do(ctx, "count", counting(new(int))); got != 1 || err != nil {
			t.Errorf("the second: %d, %v", got, err)
		}
	})
	all.Wait()
}

func TestStepWithinItself(t *testing.T) {
	s := store(t)
	ctx := run(t, s)
	got, err := steps.Do(ctx, "outer", func(ctx context.Context) (string, error) {
		return steps.Do(ctx, "inner", func(ctx context.Context) (string, error) {
			_, err := steps.Do(ctx, "outer", func(context.Context) (string, error) { return "", nil })
			if err == nil || !strings.Contains(err.Error(), "within itself") {
				t.Errorf("a step within itself: %v", err)
			}

			of := steps.With(ctx, steps.Scope{KV: s, Prefix: "step/task/life/other/"})
			return steps.Do(of, "outer", func(context.Context) (string, error) { return "in", nil }) // another one
		})
	})
	if got != "in" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Two runs of a turn, each on its own, go on with the same results.
func TestTwoRunsAgree(t *testing.T) {
	s := store(t)
	var got [2][20]string
	var all sync.WaitGroup
	for n := range got {
		ctx := run(t, s)
		all.Go(func() {
			for step := range got[n] {
				var err error
				got[n][step], err = steps.Do(ctx, fmt.Sprint("step-", step), func(context.Context) (string, error) { return fmt.Sprint("by run ", n), nil })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got[0] != got[1] {
		t.Errorf("the runs go on with different results:\n%v\n%v", got[0], got[1])
	}
}

// A run that was taken for dead stores its result after the other one: it gets the other's.
func TestLaterResultGivesWay(t *testing.T) {
	s := store(t)
	for _, scope := range []func(*steps.Scope){fresh, func(*steps.Scope) {}} {
		got, err := steps.Do(run(t, s, scope), "who", func(context.Context) (string, error) {
			return "second", errors.Join(func() error {
				_, err := steps.Do(run(t, s), "who", func(context.Context) (string, error) { return "first", nil })
				return err
			}())
		})
		if got != "first" || err != nil {
			t.Errorf("%q, %v; want the result that was stored first", got, err)
		}
	}
}

func TestStoreThatBreaks(t *testing.T) {
	for name, s := range map[string]*net{
		"reads fail":         {before: breaks("get", 3)},
		"writes fail":        {before: breaks("put", 3)},
		"answers are lost":   {after: breaks("put", 3)},
		"counts fail":        {before: breaks("list", 3)},
		"all of it together": {before: breaks("get", 2), after: breaks("put", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.Store = store(t)
			ran := 0
			for range 2 {
				if got, err := steps.Do(run(t, s), "count", counting(&ran)); got != 1 || err != nil {
					t.Errorf("%d, %v; want 1", got, err)
				}
			}
			if ran != 1 {
				t.Errorf("it ran %d times", ran)
			}
		})
	}
}

// The answers of all tries are lost. The run cannot know its result, asks again and gets it.
func TestStoreThatStaysAway(t *testing.T) {
	s, ran := &net{Store: store(t), after: breaks("put", 5)}, 0
	ctx := run(t, s, fresh, func(s *steps.Scope) { s.MaxBytes = len(`{"name":"lost","result":1}{"name":"away","result":3}`) })
	if _, err := steps.Do(ctx, "lost", counting(&ran)); err != nil { // the second try conflicts with the first
		t.Errorf("lost answers: %v", err)
	}

	s.before, s.after = breaks("put", math.MaxInt), nil
	_, err := steps.Do(ctx, "away", counting(&ran))
	if _, again := errors.AsType[*steps.Again](err); !again || !errors.Is(err, errBroke) || !strings.HasPrefix(err.Error(), "steps: storing") {
		t.Errorf("a store that stays away: %v", err)
	}

	s.before = nil
	if got, err := steps.Do(ctx, "away", counting(&ran)); got != 3 || err != nil {
		t.Errorf("after it came back: %d, %v; want 3, since nothing was stored", got, err)
	}
}

// The worker stops while a function runs: its result is not lost.
func TestResultAfterTheEndOfTheRunIsStored(t *testing.T) {
	s, ran := store(t), 0
	ctx, cancel := context.WithCancel(run(t, s))
	if _, err := steps.Do(ctx, "count", func(context.Context) (int, error) { cancel(); return 7, nil }); err != nil {
		t.Errorf("the stopped run: %v", err)
	}
	if got, err := steps.Do(run(t, s), "count", counting(&ran)); got != 7 || err != nil {
		t.Errorf("the next run: %d, %v; want the stored 7", got, err)
	}

	for name, scope := range map[string]func(*steps.Scope){"fresh": fresh, "not fresh": func(*steps.Scope) {}} {
		ended, cancel := context.WithCancel(run(t, s, scope))
		cancel()
		if _, err := steps.Do(ended, name, counting(&ran)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: a step of a run that has ended: %v", name, err)
		}
	}
	if ran != 0 {
		t.Error("a step began after its run had ended")
	}
}

// text returns a function for a step whose result is a text of n bytes.
func text(n int) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return strings.Repeat("x", n), nil }
}

// limited reports whether an error is that of a limit and names it.
func limited(err error, limit string) bool {
	_, again := errors.AsType[*steps.Again](err)
	return !again && errors.Is(err, steps.ErrLimit) && strings.Contains(err.Error(), limit)
}

func TestLargestResult(t *testing.T) {
	ctx := run(t, store(t))
	around := len(`{"name":"most","result":""}`)
	if _, err := steps.Do(ctx, "most", text(kv.LimitValue-around)); err != nil {
		t.Errorf("the largest result: %v", err)
	}
	if _, err := steps.Do(ctx, "more", text(kv.LimitValue-around+1)); !limited(err, fmt.Sprint(kv.LimitValue)) {
		t.Errorf("a larger result: %v", err)
	}
}

func TestMostSteps(t *testing.T) {
	refuses := func(context.Context) (string, error) { t.Error("a step without room was run"); return "", nil }
	s := store(t)
	few := func(s *steps.Scope) { s.MaxSteps = 3 }
	for _, name := range []string{"1", "2", "3"} { // a run each
		if _, err := steps.Do(run(t, s, few), name, text(1)); err != nil {
			t.Errorf("step %s: %v", name, err)
		}
	}

	ctx := run(t, s, few)
	if _, err := steps.Do(ctx, "4", refuses); !limited(err, "at most 3") {
		t.Errorf("one more step: %v", err)
	}
	if _, err := steps.Do(ctx, "2", refuses); err != nil {
		t.Errorf("a stored step when there is no room: %v", err)
	}
}

func TestMostBytes(t *testing.T) {
	s := store(t)
	small := func(s *steps.Scope) { s.MaxBytes = 3000 }
	for _, name := range []string{"1", "2"} {
		if _, err := steps.Do(run(t, s, small), name, text(1000)); err != nil {
			t.Errorf("step %s: %v", name, err)
		}
	}
	ctx := run(t, s, small)
	if _, err := steps.Do(ctx, "3", text(1000)); !limited(err, "at most 3000") {
		t.Errorf("a step over the limit: %v", err)
	}
	if _, err := steps.Do(ctx, "4", text(900)); err != nil {
		t.Errorf("a step that fits: %v", err)
	}
}

func TestMostStepsAtOnce(t *testing.T) {
	ctx := run(t, store(t), fresh, func(s *steps.Scope) { s.MaxSteps = 10 })
	var stored, refused atomic.Int64
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() {
			switch _, err := steps.Do(ctx, fmt.Sprint(n), text(1)); {
			case err == nil:
				stored.Add(1)
			case limited(err, "at most 10"):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if stored.Load() != 10 || refused.Load() != 20 {
		t.Errorf("%d steps stored and %d refused, want 10 and 20", stored.Load(), refused.Load())
	}
}

func TestFailedStepsTakeNoRoom(t *testing.T) {
	ctx := run(t, store(t), func(s *steps.Scope) { s.MaxSteps = 1 })
	for range 3 {
		if _, err := steps.Do(ctx, "a", func(context.Context) (int, error) { return 0, errBroke }); err != errBroke {
			t.Error(err)
		}
	}
	if _, err := steps.Do(ctx, "b", text(1)); err != nil {
		t.Error(err)
	}
}

// databaseOfWorker names the database of the worker that TestKilledWorker kills.
const databaseOfWorker = "STEPS_TEST_DATABASE"

// TestWorker is the worker that TestKilledWorker kills: a turn of eight steps. It says when a
// function runs and when its result is stored, and waits each time to be killed or let on.
func TestWorker(t *testing.T) {
	file := os.Getenv(databaseOfWorker)
	if file == "" { // TestKilledWorker runs it with one
		return
	}

	in := bufio.NewScanner(os.Stdin)
	ctx := run(t, open(t, file))
	for n := range 8 {
		result, err := steps.Do(ctx, fmt.Sprint("step-", n), func(context.Context) (int, error) {
			fmt.Println("ran", n)
			in.Scan()
			return os.Getpid(), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("has", n, result)
		in.Scan()
	}
}

// A worker dies by SIGKILL before and after each write of a turn. No step with a stored result
// runs again, and no result changes.
func TestKilledWorker(t *testing.T) {
	file := filepath.Join(t.TempDir(), "errand.db")
	ran, has := map[int]int{}, map[int]int{}

	for kill := 0; ; kill++ { // the worker dies at its line number kill, from 0
		left := kill
		worker := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWorker$")
		worker.Env = append(os.Environ(), databaseOfWorker+"="+file)
		in, err := worker.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := worker.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.Start(); err != nil {
			t.Fatal(err)
		}

		killed := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n, result int
			if _, err := fmt.Sscanf(lines.Text(), "ran %d", &n); err == nil {
				if ran[n]++; has[n] != 0 {
					t.Errorf("kill %d: step %d ran though its result was stored", kill, n)
				}
			} else if _, err := fmt.Sscanf(lines.Text(), "has %d %d", &n, &result); err == nil {
				if has[n] != 0 && has[n] != result {
					t.Errorf("kill %d: step %d had the result %d, and has %d", kill, n, has[n], result)
				}
				has[n] = result
			} else {
				continue // of the test's own end
			}

			if left--; left < 0 {
				killed = true
				if err := worker.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				break
			}
			fmt.Fprintln(in)
		}

		err = worker.Wait()
		if !killed {
			if err != nil {
				t.Fatalf("the worker that was not killed: %v", err)
			}
			break
		}
	}

	for n := range 8 {
		if has[n] == 0 || ran[n] == 0 {
			t.Errorf("step %d ran %d times and has the result %d", n, ran[n], has[n])
		}
	}
}

// The key of an effect is the same in all runs, and differs from those of other steps, also of
// steps with the same name in another space. Without a scope it is the name.
func TestKeysOfEffects(t *testing.T) {
	scope := steps.Scope{KV: store(t), Prefix: "step/t/l/t000001/", Keys: "t/l/t1/"}
	first, second := steps.With(t.Context(), scope), steps.With(t.Context(), scope)
	seen := map[string]string{}
	for _, name := range []string{"pay", "send", "Pay", strings.Repeat("x", 500)} {
		for space, of := range map[string]func(context.Context) context.Context{
			"":     func(ctx context.Context) context.Context { return ctx },
			"1.1/": func(ctx context.Context) context.Context { return steps.Within(ctx, "1.1/") },
		} {
			key := steps.Key(of(first), name)
			if other, taken := seen[key]; taken || !strings.HasPrefix(key, "t/l/t1/") || len(key) > 100 {
				t.Errorf("%s%.10s has the key %s, as %q", space, name, key, other)
			}
			seen[key] = space + name
			if again := steps.Key(of(second), name); again != key {
				t.Errorf("%s%.10s has the key %s, and %s in another run", space, name, key, again)
			}
		}
	}
	if got := steps.Key(t.Context(), "pay"); got != "pay" {
		t.Errorf("without a scope: %s", got)
	}
}
