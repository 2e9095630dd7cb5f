package trace_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/trace"
	"errand/shared/kv"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

// at is a time of the tests: seconds after their beginning.
func at(seconds int) time.Time {
	return time.Date(2026, 1, 2, 3, 0, seconds, 0, time.UTC)
}

// record is a record in a state, with marks. Its lease ends at second 100.
func record(state a2a.TaskState, stamp int, change func(*task.Record)) task.Record {
	t := at(stamp)
	r := task.Record{
		Task: &a2a.Task{ID: "t", ContextID: "c", Status: a2a.TaskStatus{State: state, Timestamp: &t}}, Owner: "me", Life: "life",
		Requests: []task.Request{{ID: "m1"}}, Turn: 1, Since: at(0),
	}
	if change != nil {
		change(&r)
	}
	return r
}

// marks are written as "KIND RUN TURN SECOND".
func marks(all ...string) (out []task.Mark) {
	for _, text := range all {
		var m task.Mark
		var second int
		if _, err := fmt.Sscan(text, &m.Kind, &m.Run, &m.Turn, &second); err != nil {
			panic(err)
		}
		m.At = at(second)
		if m.Kind == task.MarkParked {
			m.Why = "quota"
		}
		if m.Kind == task.MarkLeftOut {
			m.Why = "2 tasks"
		}
		out = append(out, m)
	}
	return out
}

func shown(t *time.Time) string {
	if t == nil {
		return "?"
	}
	return fmt.Sprint(int(t.Sub(at(0)).Seconds()))
}

const (
	working   = a2a.TaskStateWorking
	completed = a2a.TaskStateCompleted
	asking    = a2a.TaskStateInputRequired
)

var leased = task.Lease{Nonce: "n", Until: at(100)}

// Runs, waits and turns are told by the marks, the lease and the state. What they do not tell
// is not known.
func TestRunsAndWaits(t *testing.T) {
	const now = 50
	for name, row := range map[string]struct {
		r       task.Record
		runs    []string // RUN.TURN BEGIN-END HOW
		unknown int64
		wait    string
		begun   string
	}{
		"new": {record(a2a.TaskStateSubmitted, 0, nil), nil, 0, "worker until ?", "0"},
		"running": {record(working, 1, func(r *task.Record) {
			r.Epoch, r.Lease, r.Marks = 1, leased, marks("claimed 1 1 1")
		}), []string{"1.1 1-? running"}, 0, "", "0"},
		"its lease is over": {record(working, 1, func(r *task.Record) {
			r.Epoch, r.Lease, r.Marks = 1, task.Lease{Nonce: "n", Until: at(40)}, marks("claimed 1 1 1")
		}), []string{"1.1 1-? overdue"}, 0, "", "0"},
		"ended": {record(completed, 9, func(r *task.Record) {
			r.Epoch, r.Marks = 1, marks("claimed 1 1 1")
		}), []string{"1.1 1-9 ended"}, 0, "", "0"},
		"parked": {record(working, 5, func(r *task.Record) {
			r.Epoch, r.Wake, r.Marks = 1, at(60), marks("claimed 1 1 1", "parked 1 1 5")
		}), []string{"1.1 1-5 parked quota"}, 0, "park until 60 quota", "0"},
		"not all of the conversation was shown": {record(completed, 9, func(r *task.Record) {
			r.Epoch, r.Marks = 1, marks("claimed 1 1 1", "left 1 1 2")
		}), []string{"1.1 1-9 ended  left out: 2 tasks"}, 0, "", "0"},
		"parked, and due": {record(working, 5, func(r *task.Record) {
			r.Epoch, r.Wake, r.Marks = 1, at(40), marks("claimed 1 1 1", "parked 1 1 5")
		}), []string{"1.1 1-5 parked quota"}, 0, "worker until ?", "0"},
		"its calls wait": {record(working, 5, func(r *task.Record) {
			r.Epoch, r.Wake, r.Paused, r.Marks = 1, at(900), at(5), marks("claimed 1 1 1", "waiting 1 1 5")
		}), []string{"1.1 1-5 waiting"}, 0, "calls until 900", "0"},
		"its calls have waited": {record(working, 5, func(r *task.Record) {
			r.Epoch, r.Lease, r.Marks, r.Since = 2, leased, marks("claimed 1 1 1", "waiting 1 1 5", "claimed 2 1 30"), at(25)
		}), []string{"1.1 1-5 waiting", "2.1 30-? running"}, 0, "", "?"},
		"workers died": {record(working, 5, func(r *task.Record) {
			r.Epoch, r.Wake, r.Marks = 2, at(60), marks("claimed 1 1 1", "died 1 1 10", "claimed 2 1 10", "died 2 1 20")
		}), []string{"1.1 1-10 died", "2.1 10-20 died"}, 0, "retry until 60", "0"},
		"of an earlier program": {record(completed, 9, func(r *task.Record) { r.Epoch = 3 }), nil, 3, "", "0"},
		"its marks were dropped": {record(completed, 30, func(r *task.Record) {
			r.Epoch, r.Marks = 5, marks("broke 4 1 20", "claimed 5 1 25")
		}), []string{"4.1 ?-20 broke", "5.1 25-30 ended"}, 3, "", "?"},
		"a question between": {record(working, 31, func(r *task.Record) {
			r.Requests, r.Turn, r.Since = append(r.Requests, task.Request{ID: "m2"}, task.Request{ID: "m3"}), 2, at(28)
			r.Epoch, r.Lease, r.Marks = 2, leased, marks("claimed 1 1 1", "claimed 2 2 30")
			r.Notifications = []task.Notification{{At: at(7), Artifact: "a"}, {At: at(8), State: asking}}
		}), []string{"1.1 1-8 ended", "2.2 30-? running"}, 0, "", "28"},
		"asking": {record(asking, 8, func(r *task.Record) { r.Epoch, r.Marks = 1, marks("claimed 1 1 1") }), []string{"1.1 1-8 ended"}, 0, "client until ?", "0"},
	} {
		got := trace.Assemble(row.r, trace.Page{}, at(now), nil)
		var runs []string
		for _, r := range got.Runs {
			text := fmt.Sprintf("%d.%d %s-%s %s %s", r.Number, r.Turn, shown(r.BegunAt), shown(r.EndedAt), r.End, r.Why)
			if r.LeftOut != "" {
				text += " left out: " + r.LeftOut
			}
			runs = append(runs, strings.TrimSpace(text))
		}

		wait := ""
		if w := got.Wait; w != nil {
			wait = strings.TrimSpace(fmt.Sprintf("%s until %s %s", w.For, shown(w.Until), w.Why))
		}

		if diff := cmp.Diff(row.runs, runs); diff != "" || got.UnknownRuns != row.unknown || wait != row.wait {
			t.Errorf("%s: %d unknown runs, waits %q; runs (-want +got):\n%s", name, got.UnknownRuns, wait, diff)
		}
		for _, turn := range got.Turns {
			if now := turn.Number == row.r.Turn; now != (turn.Spent != nil) || now && shown(turn.BegunAt) != row.begun || !now && turn.BegunAt != nil {
				t.Errorf("%s: turn %+v, begun %s", name, turn, shown(turn.BegunAt))
			}
		}
	}
}

// The state of a turn tells its place among the messages.
func TestTurns(t *testing.T) {
	many := func(r *task.Record) {
		r.Turn = 2
		r.Requests = nil
		for i := range 4 {
			r.Requests = append(r.Requests, task.Request{ID: fmt.Sprint("m", i+1)})
		}
	}
	for state, want := range map[a2a.TaskState]string{
		working: "ended open waiting waiting", completed: "ended ended unanswered unanswered", asking: "ended ended waiting waiting",
	} {
		var got []string
		for _, u := range trace.Assemble(record(state, 9, many), trace.Page{}, at(50), nil).Turns {
			got = append(got, u.State)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", state, got, want)
		}
	}

	r := record(working, 9, func(r *task.Record) { r.Requests, r.Turn = make([]task.Request, 150), 150 })
	if got := trace.Assemble(r, trace.Page{}, at(50), nil); len(got.Turns) != 100 || got.Turns[0].Number != 51 || got.TurnCount != 150 {
		t.Errorf("%d turns of %d", len(got.Turns), got.TurnCount)
	}
}

// A call without a result says what has become of it.
func TestStatesOfCalls(t *testing.T) {
	call := func(change func(*task.Call)) task.Call {
		c := task.Call{Name: "x", Effects: true, First: at(10), Begun: at(10), Times: 1, Limit: time.Minute, Keeps: time.Hour}
		if change != nil {
			change(&c)
		}
		return c
	}
	run := func(r *task.Record) { r.Epoch, r.Lease, r.Marks = 1, leased, marks("claimed 1 1 1") }
	again := func(r *task.Record) { r.Epoch, r.Lease, r.Marks = 2, leased, marks("claimed 1 1 1", "claimed 2 1 20") }
	free := func(c *task.Call) { c.Effects = false }

	for name, row := range map[string]struct {
		state a2a.TaskState
		call  task.Call
		rec   func(*task.Record)
		ask   bool
		want  string
	}{
		"runs":                          {working, call(nil), run, false, trace.CallRunning},
		"not begun":                     {working, task.Call{Name: "x", Effects: true}, run, false, trace.CallPending},
		"of the run before":             {working, call(nil), again, false, trace.CallDoubt},
		"of the run before, no effects": {working, call(free), again, false, trace.CallRunning},
		"between runs":                  {working, call(nil), nil, false, trace.CallDoubt},
		"between runs, no effects":      {working, call(free), nil, false, trace.CallPending},
		"later":                         {working, call(func(c *task.Call) { c.Wait, c.Told = at(70), true }), nil, false, trace.CallWaiting},
		"asked":                         {asking, call(nil), nil, true, trace.CallAsked},
		"canceled":                      {a2a.TaskStateCanceled, call(nil), nil, false, trace.CallDoubt},
		"canceled, no effects":          {a2a.TaskStateCanceled, call(free), nil, false, trace.CallDropped},
		"canceled before":               {a2a.TaskStateCanceled, task.Call{Name: "x", Effects: true}, nil, false, trace.CallDropped},
	} {
		r := record(row.state, 30, row.rec)
		r.Steps, r.Step = 1, &task.Step{Number: 1, Epoch: 1, Turn: 1, At: at(10), Calls: []task.Call{row.call}}
		if row.ask {
			r.Step.Asked = &task.Question{At: at(30)}
		}
		got := trace.Assemble(r, trace.Page{Through: 1}, at(50), nil).Steps
		if len(got) != 1 || !got[0].Open || got[0].Calls[0].State != row.want || got[0].Calls[0].Result != nil || (got[0].Question != nil) != row.ask {
			t.Errorf("%s: %+v, want %s", name, got, row.want)
		}
	}
}

// A price is shown if there is one, and content is cut to a bound that falls with the number
// of calls.
func TestPriceAndBounds(t *testing.T) {
	r := record(completed, 9, func(r *task.Record) {
		r.Spent = task.Spent{Prompt: 5, Replies: 1, Unknown: 2, Nanos: 12_300_000, Currency: "EUR"}
		r.Turned = task.Spent{Prompt: 5, Replies: 1}
	})
	got := trace.Assemble(r, trace.Page{}, at(50), nil)
	if got.Spent.Price == nil || *got.Spent.Price != 0.0123 || got.Spent.Currency != "EUR" || got.Spent.Unknown != 2 || got.Turns[0].Spent.Price != nil {
		t.Errorf("spent %+v, of the turn %+v", got.Spent, got.Turns[0].Spent)
	}

	for _, calls := range []int{1, 32, 64, 1024} {
		value := json.RawMessage(`"` + strings.Repeat("ü", 4<<10) + `"`)
		k := task.Kept{Step: task.Step{Number: 1}, Results: map[int]task.Result{}}
		for i := range calls {
			k.Calls = append(k.Calls, task.Call{Name: "x", Args: value})
			k.Results[i] = task.Result{Value: value, At: at(5)}
		}
		r.Steps = 1
		s := trace.Assemble(r, trace.Page{Through: 1, Kept: map[int]task.Kept{1: k}}, at(50), nil).Steps[0]
		text, err := json.Marshal(s)
		if err != nil || len(text) > 900<<10 || s.Open {
			t.Errorf("%d calls: %d bytes, %v", calls, len(text), err)
		}
		for _, c := range s.Calls {
			if !c.Args.Cut || c.Args.Bytes != len(value) || len(c.Args.Begin) < 250 || len(c.Args.Begin) > trace.MaxContent || strings.ContainsRune(c.Args.Begin, '\uFFFD') {
				t.Fatalf("%d calls: %d bytes of %d", calls, len(c.Args.Begin), c.Args.Bytes)
			}
		}
	}
}

func TestCursors(t *testing.T) {
	for _, good := range []string{"0", "7", "000007", "999999999", "t000003/n.pay", "t000003/h." + strings.Repeat("0", 64)} {
		if _, err := trace.ParseCursor(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"-1", "x", "1e3", "1000000000", "t3/n.pay", "t000003/", "t000003/n.A", "t000003/../x", "000007.e1", " 1", "../1"} {
		if _, err := trace.ParseCursor(bad); err == nil {
			t.Errorf("%q is a cursor", bad)
		}
	}
}

// Pages have each step and each result once, in order. Large replies are no steps, entries of
// others are left out, and the open step is on the page of the step before it.
func TestPages(t *testing.T) {
	w := base.New(t, base.Config{})
	store := w.Store.KV()
	put := func(key, owner string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Put(t.Context(), kv.Entry{Key: key, Owner: owner, Value: text}); err != nil {
			t.Fatal(err)
		}
	}

	r := record(working, 9, func(r *task.Record) {
		r.Epoch, r.Lease, r.Steps = 10, leased, 5
		r.Step = &task.Step{Number: 5, Epoch: 10, Hash: "h", Calls: []task.Call{{Name: "x"}}}
	})
	for n := 1; n <= 4; n++ {
		k := task.Kept{Step: task.Step{Number: n, Calls: []task.Call{{Name: "x", Args: json.RawMessage(`{"a":1}`)}}}, Results: map[int]task.Result{0: {Value: json.RawMessage(`{}`)}}}
		put(r.StepKey(n), map[bool]string{true: "other", false: "me"}[n == 3], k)
	}

	put(r.StepKey(4)+".e2", "me", map[string]any{"args": []string{"of another run"}})
	put(r.StepKey(5)+".e9", "me", map[string]any{"args": []any{map[string]any{"of": "another run"}}})
	put(r.StepKey(5)+".e10", "me", map[string]any{"args": []any{map[string]any{"large": true}}})
	put(r.StepPrefix()+"t000001/n.pay", "me", map[string]any{"name": "pay", "result": 1})
	put(r.StepPrefix()+"t000001/n.rest", "other", map[string]any{"name": "rest", "result": 1})
	put(r.StepPrefix()+"t000001/n.ship", "me", "no step")

	read := func(after string) (steps, results []string, next string) {
		c, err := trace.ParseCursor(after)
		if err != nil {
			t.Fatal(err)
		}
		p, err := trace.ReadPage(t.Context(), store, r, c)
		if err != nil {
			t.Fatal(err)
		}

		got := trace.Assemble(r, p, at(50), nil)
		for _, s := range got.Steps {
			args := ""
			if len(s.Calls) > 0 && s.Calls[0].Args != nil {
				args = string(s.Calls[0].Args.Value)
			}
			steps = append(steps, strings.TrimSpace(fmt.Sprintf("%d %v %v %s", s.Number, s.Known, s.Open, args)))
		}

		for _, res := range got.Results {
			results = append(results, fmt.Sprintf("%d %s %v", res.Turn, res.Name, res.Result != nil))
		}
		return steps, results, got.Next
	}

	all := []string{`1 true false {"a":1}`, `2 true false {"a":1}`, `3 false false`, `4 true false {"a":1}`, `5 true true {"large":true}`}
	both := []string{"1 pay true", "1 n.rest false", "1 n.ship false"}
	for _, row := range []struct {
		after          string
		steps, results []string
		next           string
	}{
		{"0", all, both, "t000001/n.ship"},
		{"4", all[4:], both, "t000001/n.ship"},
		{"5", nil, both, "t000001/n.ship"},
		{"t000001/n.pay", nil, both[1:], "t000001/n.ship"},
		{"t000001/n.ship", nil, nil, ""},
	} {
		steps, results, next := read(row.after)
		if !slices.Equal(steps, row.steps) || !slices.Equal(results, row.results) || next != row.next {
			t.Errorf("after %s: %q, %q, next %q", row.after, steps, results, next)
		}
	}
}

// The first page of a short task has all steps, the open one included, of which nothing is
// stored yet. A page after its large reply is empty, and the last.
func TestOpenStepIsOnTheFirstPage(t *testing.T) {
	w := base.New(t, base.Config{})
	r := record(working, 9, func(r *task.Record) {
		r.Epoch, r.Lease, r.Steps = 1, leased, 2
		r.Step = &task.Step{Number: 2, Epoch: 1, Calls: []task.Call{{Name: "x"}}}
	})
	first, err := task.Kept{Step: task.Step{Number: 1}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Store.KV().Put(t.Context(), kv.Entry{Key: r.StepKey(1), Owner: "me", Value: first}); err != nil {
		t.Fatal(err)
	}

	read := func(c trace.Cursor) trace.Page {
		p, err := trace.ReadPage(t.Context(), w.Store.KV(), r, c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := read(trace.Cursor{}); p.Through != 2 || p.Next != "2" {
		t.Errorf("up to step %d, next %q", p.Through, p.Next)
	}

	if _, err := w.Store.KV().Put(t.Context(), kv.Entry{Key: r.StepKey(2) + ".e1", Owner: "me", Value: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	c, err := trace.ParseCursor("2")
	if err != nil {
		t.Fatal(err)
	}
	if p := read(c); p.Through != 2 || p.Next != "" {
		t.Errorf("after step 2: up to step %d, next %q", p.Through, p.Next)
	}
}
