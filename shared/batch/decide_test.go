package batch_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"errand/shared/batch"
	"errand/shared/task"
)

func TestFeedIsAWindow(t *testing.T) {
	tokens := &batch.Budget{Tokens: 10_000}
	price := &batch.Budget{Price: 1, Currency: "USD"}
	cost := func(n int64) task.Spent { return task.Spent{Prompt: n, Replies: 1} }
	paid := func(nanos int64, currency string) task.Spent {
		return task.Spent{Prompt: 1, Replies: 1, Nanos: nanos, Currency: currency}
	}

	for _, row := range []struct {
		name   string
		state  batch.State
		ended  int
		budget *batch.Budget
		known  batch.Known
		want   int
	}{
		{"at first", batch.State{Lines: 5000}, 0, nil, batch.Known{}, 16},
		{"twice what ended", batch.State{Lines: 5000, Fed: 100}, 40, nil, batch.Known{}, 80},
		{"the last lines", batch.State{Lines: 105, Fed: 100}, 40, nil, batch.Known{}, 5},
		{"none left", batch.State{Lines: 100, Fed: 100}, 40, nil, batch.Known{}, 0},
		{"not scanned", batch.State{}, 0, nil, batch.Known{}, 0},
		{"nearly all open", batch.State{Lines: 9000, Fed: 1990, Open: 1990}, 0, nil, batch.Known{}, 10},
		{"all open", batch.State{Lines: 9000, Fed: 3000, Open: 2000}, 500, nil, batch.Known{}, 0},
		{"more open than may be", batch.State{Lines: 9000, Fed: 3000, Open: 2100}, 500, nil, batch.Known{}, 0},

		{"cost unknown", batch.State{Lines: 9000}, 500, tokens, batch.Known{}, 16},
		{"cost unknown and some made", batch.State{Lines: 9000}, 500, tokens, batch.Known{Pending: 10}, 6},
		{"cost known", batch.State{Lines: 9000}, 500, tokens, batch.Known{Items: 10, Spent: cost(1000)}, 90},
		{"cost known and some made", batch.State{Lines: 9000}, 500, tokens, batch.Known{Items: 10, Pending: 50, Spent: cost(1000)}, 40},
		{"cost known and too many made", batch.State{Lines: 9000}, 500, tokens, batch.Known{Items: 10, Pending: 500, Spent: cost(1000)}, 0},
		{"little left", batch.State{Lines: 9000}, 500, tokens, batch.Known{Items: 100, Spent: cost(9950)}, 1},
		{"used up", batch.State{Lines: 9000}, 500, tokens, batch.Known{Items: 100, Spent: cost(10_000)}, 0},
		{"cheap", batch.State{Lines: 9000}, 1500, tokens, batch.Known{Items: 100, Spent: cost(1)}, 1000},
		{"for nothing", batch.State{Lines: 9000}, 1500, tokens, batch.Known{Items: 100}, 1000},
		{"price", batch.State{Lines: 9000}, 500, price, batch.Known{Items: 10, Spent: paid(100_000_000, "USD")}, 90},
		{"price in another currency", batch.State{Lines: 9000}, 500, price, batch.Known{Items: 10, Spent: paid(100_000_000, "EUR")}, 0},
	} {
		if got := row.state.Feed(row.ended, row.budget, row.known); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}

func TestABudgetTellsItsEnd(t *testing.T) {
	for _, row := range []struct {
		b     *batch.Budget
		spent task.Spent
		say   string
	}{
		{nil, task.Spent{Prompt: math.MaxInt64}, ""},
		{&batch.Budget{Tokens: 1000}, task.Spent{Prompt: 999, Replies: 1}, ""},
		{&batch.Budget{Tokens: 1000}, task.Spent{Prompt: 1234, Replies: 1}, "its budget of 1,000 tokens is used up (1,234)."},
		{&batch.Budget{Price: 2.5, Currency: "USD"}, task.Spent{}, ""},
		{&batch.Budget{Price: 2.5, Currency: "USD"}, task.Spent{Replies: 1, Nanos: 2_499_999_999, Currency: "USD"}, ""},
		{&batch.Budget{Price: 2.5, Currency: "USD"}, task.Spent{Replies: 1, Nanos: 2_500_000_000, Currency: "USD"}, "its budget of 2.50 USD is used up (2.50)."},
		{&batch.Budget{Price: 2.5, Currency: "USD"}, task.Spent{Replies: 1}, "not known in that currency"},
	} {
		used, say := row.b.Used(row.spent)
		if used != (row.say != "") || !strings.Contains(say, row.say) || used && !strings.Contains(say, "cancel the batch") {
			t.Errorf("%+v and %+v: %v, %q", row.b, row.spent, used, say)
		}
	}
}

func TestCollectableSegmentsHaveNoOpenLine(t *testing.T) {
	for _, row := range []struct {
		name  string
		state batch.State
		open  task.Open
		ended bool
		want  [2]int
	}{
		{"nothing fed", batch.State{Lines: 2500}, task.Open{}, false, [2]int{0, 0}},
		{"not whole", batch.State{Lines: 2500, Fed: 999}, task.Open{}, false, [2]int{0, 0}},
		{"one", batch.State{Lines: 2500, Fed: 1000}, task.Open{}, false, [2]int{0, 1}},
		{"a straggler", batch.State{Lines: 2500, Fed: 2500}, task.Open{N: 1, Lowest: 1000}, false, [2]int{0, 0}},
		{"behind it", batch.State{Lines: 2500, Fed: 2500}, task.Open{N: 9, Lowest: 1001}, false, [2]int{0, 1}},
		{"the last line", batch.State{Lines: 2500, Fed: 2500, Segs: 1}, task.Open{N: 1, Lowest: 2500}, false, [2]int{1, 2}},
		{"all", batch.State{Lines: 2500, Fed: 2500, Segs: 1}, task.Open{}, false, [2]int{1, 3}},
		{"all again", batch.State{Lines: 2500, Fed: 2500, Segs: 3}, task.Open{}, false, [2]int{3, 3}},
		{"a look from before", batch.State{Lines: 2500, Fed: 2500, Segs: 2}, task.Open{N: 1, Lowest: 5}, false, [2]int{2, 2}},
		{"even", batch.State{Lines: 2000, Fed: 2000}, task.Open{}, false, [2]int{0, 2}},
		{"ended early", batch.State{Lines: 2500, Fed: 10}, task.Open{}, true, [2]int{0, 3}},
		{"ended early and not settled", batch.State{Lines: 2500, Fed: 1500}, task.Open{N: 1, Lowest: 1400}, true, [2]int{0, 1}},
		{"ended before its scan", batch.State{}, task.Open{}, true, [2]int{0, 0}},
	} {
		from, to := row.state.Collectable(row.open, row.ended)
		if got := [2]int{from, to}; got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
	s := batch.State{Lines: 2500}
	for n, want := range [][2]int{{1, 1000}, {1001, 2000}, {2001, 2500}} {
		if first, last := s.SegmentLines(n); [2]int{first, last} != want {
			t.Errorf("segment %d has the lines %d to %d, want %v", n, first, last, want)
		}
	}
	for lines, want := range map[int]int{0: 0, 1: 1, 1000: 1, 1001: 2, batch.MaxLines: 1000} {
		if got := batch.Segments(lines); got != want {
			t.Errorf("%d lines are %d segments, want %d", lines, got, want)
		}
	}
}

// A batch that is decided upon in any order of ends is fed once, in order, and collected once,
// in order and never before its lines have ended.
func TestDecisionsLeadABatchToItsEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lines := rapid.IntRange(1, 4*batch.PerSegment).Draw(rt, "lines")
		badEvery := rapid.IntRange(2, 50).Draw(rt, "every so many lines cannot run")
		straggler := rapid.IntRange(1, lines).Draw(rt, "straggler")
		w := walk{s: batch.State{Lines: lines}, open: map[int]bool{}, at: now, bad: func(n int) bool { return n%badEvery == 0 }}

		for round := 0; !w.s.Done(); round++ {
			if round > 10_000 {
				rt.Fatalf("it goes round in circles: %+v", w.s)
			}
			w.end(rapid.IntRange(0, 400).Draw(rt, "ended"), straggler, round < 20)
			ended := w.look()
			if w.s.Rate < 0 || math.IsNaN(w.s.Rate) || math.IsInf(w.s.Rate, 0) {
				rt.Fatalf("the rate is %v", w.s.Rate)
			}

			from, to := w.s.Collectable(w.lowest(), false)
			if from != w.s.Segs {
				rt.Fatalf("segment %d comes after %d", from, w.s.Segs)
			}
			for n := from; n < to; n++ {
				first, last := w.s.SegmentLines(n)
				if last > w.s.Fed || w.openIn(first, last) {
					rt.Fatalf("segment %d was collected too early, at %+v", n, w.s)
				}
				w.s = w.s.Collected(batch.Counts{Completed: last - first + 1})
			}

			w.feed(w.s.Feed(ended, nil, batch.Known{}))
			if len(w.open) > batch.MaxOpen || w.s.Open != len(w.open) || w.s.Fed > lines {
				rt.Fatalf("%d are open: %+v", len(w.open), w.s)
			}
		}
		if w.s.Counts.Lines() != lines || w.s.Ended() != lines || w.s.Fed != lines {
			rt.Fatalf("the end is %+v", w.s)
		}
	})
}

// A walk is a batch without stores.
type walk struct {
	s    batch.State
	open map[int]bool
	at   time.Time
	bad  func(line int) bool
}

// end ends the lowest open lines, except for a straggler that holds on.
func (w *walk) end(n, straggler int, holdsOn bool) {
	for line := 1; line <= w.s.Fed && n > 0; line++ {
		if w.open[line] && !(holdsOn && line == straggler) {
			delete(w.open, line)
			n--
		}
	}
}

func (w *walk) lowest() task.Open {
	o := task.Open{N: len(w.open)}
	for line := range w.open {
		if o.Lowest == 0 || line < o.Lowest {
			o.Lowest = line
		}
	}
	return o
}

func (w *walk) openIn(first, last int) bool {
	for line := range w.open {
		if line >= first && line <= last {
			return true
		}
	}
	return false
}

func (w *walk) look() (ended int) {
	w.at = w.at.Add(time.Second)
	w.s, ended = w.s.Looked(w.lowest(), w.at)
	return ended
}

func (w *walk) feed(n int) {
	items, line := 0, w.s.Fed
	for items < n && line < w.s.Lines {
		line++
		if !w.bad(line) {
			w.open[line] = true
			items++
		}
	}
	w.s = w.s.Made(items, line, 0, w.at)
}

// A budget is passed by no more than what the last few items cost more than the others.
func TestABudgetIsPassedByLittle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const lines = 20_000
		each := rapid.Int64Range(1, 500).Draw(rt, "tokens of an item")
		b := &batch.Budget{Tokens: each * rapid.Int64Range(1, 5000).Draw(rt, "items that the budget pays for")}
		s := batch.State{Lines: lines}
		var k batch.Known
		for round := 0; ; round++ {
			if round > 10_000 {
				rt.Fatalf("it neither ends nor waits: %+v, %+v", s, k)
			}
			made := s.Feed(1000, b, k)
			s.Fed, k.Pending = s.Fed+made, k.Pending+made

			ended := min(k.Pending, rapid.IntRange(0, 700).Draw(rt, "ended"))
			k.Pending, k.Items = k.Pending-ended, k.Items+ended
			k.Spent = k.Spent.Add(task.Spent{Prompt: each * int64(ended), Replies: int64(ended)})
			if used, _ := b.Used(k.Spent); used && k.Pending == 0 {
				break
			}
		}
		if over := k.Spent.Tokens() - b.Tokens; over > 16*each {
			rt.Fatalf("the budget of %d is passed by %d, and an item costs %d", b.Tokens, over, each)
		}
	})
}

// The rate is the average at first and forgets what is long ago.
func TestTheRateFollowsTheWork(t *testing.T) {
	s := batch.State{Lines: 100_000}
	at := now
	run := func(seconds, each int) {
		for range seconds {
			s = s.Made(each, s.Fed+each, 0, at)
			at = at.Add(time.Second)
			s, _ = s.Looked(task.Open{}, at)
		}
	}

	run(1, 10)
	if math.Abs(s.Rate-10) > 1e-9 {
		t.Errorf("after a second it is %v, want 10", s.Rate)
	}
	run(20, 10)
	if math.Abs(s.Rate-10) > 1e-9 {
		t.Errorf("after 21 s it is %v, want 10", s.Rate)
	}
	run(60, 100)
	if s.Rate < 60 || s.Rate > 100 {
		t.Errorf("a minute at ten times the speed makes it %v", s.Rate)
	}
	run(600, 100)
	if math.Abs(s.Rate-100) > 0.1 {
		t.Errorf("ten minutes later it is %v, want 100", s.Rate)
	}

	eta, ok := s.ETA(at)
	if want := at.Add(time.Duration(float64(s.Lines-s.Ended())/s.Rate*1e9) * time.Nanosecond).Round(time.Second); !ok || !eta.Equal(want) {
		t.Errorf("the ETA is %v, %v, want %v", eta, ok, want)
	}

	before := s
	if s, ended := s.Looked(task.Open{}, at); s.Rate != before.Rate || ended != 0 {
		t.Errorf("a second look at the same time makes the rate %v", s.Rate)
	}
	if s, ended := (batch.State{Lines: 10, Fed: 10, Open: 2, Began: now, At: now}).Looked(task.Open{N: 5}, at); ended != 0 || s.Rate != 0 {
		t.Errorf("when more are open than before, %d have ended, at a rate of %v", ended, s.Rate)
	}
	for name, s := range map[string]batch.State{"not scanned": {Rate: 1}, "not begun": {Lines: 10}, "standing": {Lines: 10, Fed: 5, Rate: 1e-9}} {
		if eta, ok := s.ETA(now); ok {
			t.Errorf("%s: %v", name, eta)
		}
	}
}

func TestALaterClaimTakesTheStateOver(t *testing.T) {
	s := batch.State{Epoch: 5}
	for epoch, want := range map[int64]bool{4: false, 5: true, 6: true} {
		if got, ok := s.TakeOver(epoch); ok != want || ok && got.Epoch != epoch {
			t.Errorf("epoch %d: %+v, %v", epoch, got, ok)
		}
	}
}

// The largest state fits into the 2 KiB that the design allows it.
func TestAStateIsSmall(t *testing.T) {
	n := math.MaxInt32
	s := batch.State{
		Epoch: math.MaxInt64, Dialect: batch.OpenAI, Lines: n, Bad: n, Fed: n, Offset: math.MaxInt64, Open: n, Segs: n, Began: now, At: now, Rate: 1.0 / 3,
		Counts: batch.Counts{Completed: n, Failed: n, Spent: task.Spent{Prompt: math.MaxInt64, Output: math.MaxInt64, Thought: math.MaxInt64, Cached: math.MaxInt64,
			Replies: math.MaxInt64, Unknown: math.MaxInt64, Nanos: math.MaxInt64, Currency: "USD"}},
		Error: strings.Repeat("x", 1000),
	}
	text, err := json.Marshal(s)
	if err != nil || len(text) > 2<<10 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	var got batch.State
	if err := json.Unmarshal(text, &got); err != nil || !cmp.Equal(s, got) {
		t.Errorf("it is read as %+v, %v", got, err)
	}
}

// spec is a complete one.
func spec() batch.Spec {
	return batch.Spec{
		Name: "nightly", At: now, Deadline: now.Add(time.Hour), Budget: &batch.Budget{Tokens: 1000},
		Input: batch.Input{File: "f1", SHA256: strings.Repeat("0a", 32), Size: 9},
	}
}

func TestAViewTellsHowFarABatchIs(t *testing.T) {
	s := batch.State{
		Dialect: batch.OpenAI, Lines: 100_000, Bad: 3, Fed: 2412, Open: 12, Segs: 2, Began: now, At: now.Add(time.Minute), Rate: 40,
		Counts:   batch.Counts{Completed: 1990, Failed: 10, Spent: task.Spent{Prompt: 1_200_000, Output: 34_567, Replies: 2000, Nanos: 830_000_000, Currency: "USD"}},
		Estimate: batch.Estimate{Input: 60_000_000},
	}
	begun := record(t, spec())
	v := batch.ViewOf(begun, s, now.Add(time.Minute))
	got, err := json.Marshal(v)
	want := `{"id":"` + begun.ID() + `","name":"nightly","state":"TASK_STATE_SUBMITTED","message":"2,400 of 100,000 lines have ended, 10 of them with an error; 40 a second, about 41 min left. 1,234,567 tokens, 0.83 USD.","input":"f1","sha256":"` + strings.Repeat("0a", 32) +
		`","form":"openai","onBadLine":"refuse","created":"2026-11-29T12:00:00Z","began":"2026-11-29T12:00:00Z","deadline":"2026-11-29T13:00:00Z",` +
		`"lines":{"total":100000,"bad":3,"open":12,"ended":2400,"completed":1990,"failed":10},"rate":40,"eta":"2026-11-29T12:41:40Z",` +
		`"tokens":1234567,"price":0.83,"currency":"USD","budget":{"tokens":1000},"estimate":{"input":60000000}}`
	if string(got) != want || err != nil {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
	if got, want := v.Summary(now.Add(time.Minute)), "2,400 of 100,000 lines have ended, 10 of them with an error; 40 a second, about 41 min left. 1,234,567 tokens, 0.83 USD."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	done := s
	done.Fed, done.Open = done.Lines, 0
	if v := batch.ViewOf(begun, done, now.Add(900*time.Millisecond)); !v.ETA.IsZero() {
		t.Errorf("with no line left: %+v", v)
	}

	waits, _, err := begun.Suspend(moment(), a2a.NewMessage(a2a.MessageRoleAgent, text("It waits.")))
	if err != nil {
		t.Fatal(err)
	}
	if v := batch.ViewOf(waits, s, now); v.Message != "It waits." || v.Rate != 0 || !v.ETA.IsZero() {
		t.Errorf("a batch that waits is %+v", v)
	}
	if v := batch.ViewOf(begun, batch.State{}, now); v.Summary(now) != "The manifest is being checked." {
		t.Errorf("at first it is %q", v.Summary(now))
	}
	deleted, _, err := begun.Delete(moment())
	if err != nil {
		t.Fatal(err)
	}
	if v := batch.ViewOf(deleted, s, now); v.ID != begun.ID() || v.Ended.IsZero() {
		t.Errorf("a deleted batch is %+v", v)
	}
}

func ExampleView_Summary() {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for _, v := range []batch.View{
		{},
		{Lines: batch.Progress{Total: 500}},
		{Lines: batch.Progress{Total: 500}, Estimate: batch.Estimate{Input: 20_000}, Budget: &batch.Budget{Tokens: 9000}},
		{Lines: batch.Progress{Total: 500, Ended: 3}, Rate: 0.05, ETA: now.Add(3 * time.Hour)},
		{Lines: batch.Progress{Total: 500, Ended: 500}, Tokens: 9000, Price: 0.0042, Currency: "EUR"},
	} {
		fmt.Println(v.Summary(now))
	}
	// Output:
	// The manifest is being checked.
	// The manifest is checked. Lines: 500.
	// The manifest is checked. Lines: 500, about 20,000 tokens of input. The input alone has about 20,000 tokens, and the budget 9,000: the batch will be paused before it has ended.
	// 3 of 500 lines have ended; 3 a minute, about 3 h left.
	// 500 of 500 lines have ended. 9,000 tokens, 0.0042 EUR.
}
