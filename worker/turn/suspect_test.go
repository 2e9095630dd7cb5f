package turn_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/lab/faulty"
	"errand/shared/task"
	"errand/worker/run"
	"errand/worker/steps"
	"errand/worker/turn"
)

// within fails the test if f does not return soon.
func within(t *testing.T, name string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s waits for another turn", name)
	}
}

// A turn that ends in an error has not broken its worker: it does not wait for the others
// before it is parked or tried again, and the others do not wait for it.
func TestFailingTurnHoldsUpNoOtherTurn(t *testing.T) {
	started, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	runs := 0

	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		switch ec.Message.Parts[0].Text() {
		case "slow":
			close(started)
			<-release

		case "bad":
			runs++
			yield(nil, &steps.Again{Err: errors.New("the model is unavailable")})
			return
		}

		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	slow, bad, good := b.send("s", "slow", "").ID(), b.send("b", "bad", "").ID(), b.send("g", "good", "").ID()
	go func() {
		defer close(ended)
		b.deliver(slow, "slow", 0)
	}()

	<-started
	defer func() {
		close(release)
		<-ended
	}()

	within(t, "the failing turn", func() {
		retry := 0
		next := func() {
			b.deliver(bad, "bad", retry)
			retry++
		}

		next()
		next()

		for _, wait := range b.Rules.Parks {
			next()
			b.advance(wait)
			next()
		}

		next()
	})

	if r := b.Load(bad); runs != b.Rules.Attempts || r.State() != a2a.TaskStateFailed {
		t.Errorf("after %d runs the failing task is %s", runs, r.State())
	}

	within(t, "an ordinary turn", func() {
		if code := b.deliver(good, "good", 0); code != http.StatusNoContent {
			t.Errorf("the ordinary turn was answered %d", code)
		}
	})
}

// apart is the number of deaths after which a turn must run apart (R16g).
func (b *bench) apart() int { return 3 }

// A gate is an executor whose runs begin and end as the test says. A run of a text that is not
// held ends at once.
type gate struct {
	began chan string // text of each run that began
	held  map[string]chan struct{}
}

func newGate(held ...string) *gate {
	g := &gate{began: make(chan string, 100), held: map[string]chan struct{}{}}
	for _, text := range held {
		g.held[text] = make(chan struct{})
	}
	return g
}

func (g *gate) executor() execute {
	return func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		text := ec.Message.Parts[0].Text()
		g.began <- text
		if held := g.held[text]; held != nil {
			<-held
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}
}

// await returns the text of the next run that begins.
func (g *gate) await(t *testing.T) (text string) {
	t.Helper()
	within(t, "the next run", func() { text = <-g.began })
	return text
}

// delivered delivers the first job of a task in the background. The returned function waits
// for the answer.
func (b *bench) delivered(id, name string, retry int) (wait func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.deliver(id, name, retry)
	}()
	return func() { within(b.t, name, func() { <-ended }) }
}

// A turn whose worker died as often as one may without blame waits for the running turns, and
// new ones wait for it. Parking it first is done beside other turns.
func TestTurnThatBreaksItsWorkersRunsAlone(t *testing.T) {
	g := newGate("slow", "bad")
	b := newBench(t, g.executor())
	slow, bad, good := b.send("s", "slow", "").ID(), b.send("b", "bad", "").ID(), b.send("g", "good", "").ID()
	b.died(bad, b.apart())
	slowEnds := b.delivered(slow, "slow", 0)
	if got := g.await(t); got != "slow" {
		t.Fatalf("%s runs", got)
	}

	within(t, "parking the turn", func() { b.deliver(bad, "bad", 10) })
	b.advance(b.Load(bad).Wake.Sub(b.clock()))
	badEnds := b.delivered(bad, "bad", 11)
	time.Sleep(50 * time.Millisecond) // long enough for it to begin, if it may
	if len(g.began) > 0 {
		t.Errorf("%s runs beside the slow turn", <-g.began)
	}

	close(g.held["slow"])
	slowEnds()
	if got := g.await(t); got != "bad" || !b.Load(bad).Lease.Alone {
		t.Fatalf("%s runs, lease %+v", got, b.Load(bad).Lease)
	}

	goodEnds := b.delivered(good, "good", 0)
	time.Sleep(50 * time.Millisecond) // as above
	if len(g.began) > 0 {
		t.Errorf("%s runs beside the suspect", <-g.began)
	}

	close(g.held["bad"])
	badEnds()
	goodEnds()
	if r := b.Load(bad); r.State() != a2a.TaskStateCompleted || r.Deaths+r.Blamed+r.Attempt > 0 {
		t.Errorf("the suspect is %s with %d attempts, %d deaths, %d blamed", r.State(), r.Attempt, r.Deaths, r.Blamed)
	}
}

// Other turns begin beside a turn that has run alone for a while. The record says before that
// it no longer runs alone.
func TestTurnThatRanAloneSharesItsProcess(t *testing.T) {
	g := newGate("bad")
	b := newBench(t, nil)
	b.configure(g.executor(), func(c *turn.Config) { c.Alone = time.Millisecond })
	bad, good := b.send("b", "bad", "").ID(), b.send("g", "good", "").ID()
	b.died(bad, b.apart())
	b.deliver(bad, "bad", 10)
	b.advance(b.Load(bad).Wake.Sub(b.clock()))
	badEnds := b.delivered(bad, "bad", 11)
	if got := g.await(t); got != "bad" {
		t.Fatalf("%s runs", got)
	}

	b.delivered(good, "good", 0)()
	if r := b.Load(bad); b.Load(good).State() != a2a.TaskStateCompleted || r.Lease.Alone || r.Lease == (task.Lease{}) {
		t.Errorf("the other task is %s beside the lease %+v", b.Load(good).State(), r.Lease)
	}

	close(g.held["bad"])
	badEnds()
	if r := b.Load(bad); r.State() != a2a.TaskStateCompleted {
		t.Errorf("the suspect is %s", r.State())
	}
}

// A turn that must run apart does not wait for long turns: it is put off, and new turns begin.
func TestTurnThatFindsNoRoomIsPutOff(t *testing.T) {
	g := newGate("slow")
	b := newBench(t, nil)
	b.configure(g.executor(), func(c *turn.Config) { c.Apart = time.Millisecond })
	slow, bad, good := b.send("s", "slow", "").ID(), b.send("b", "bad", "").ID(), b.send("g", "good", "").ID()
	b.died(bad, b.apart())
	b.deliver(bad, "bad", 10)
	b.advance(b.Load(bad).Wake.Sub(b.clock()))
	slowEnds := b.delivered(slow, "slow", 0)
	g.await(t)

	before := b.Load(bad)
	b.delivered(bad, "bad", 11)()
	if r := b.Load(bad); !r.Wake.After(b.clock()) || r.Attempt != before.Attempt || r.Deaths != before.Deaths || r.Epoch != before.Epoch {
		t.Errorf("put off until %v, with %d attempts and %d deaths", r.Wake, r.Attempt, r.Deaths)
	}

	b.delivered(good, "good", 0)()
	close(g.held["slow"])
	slowEnds()
	b.advance(b.Load(bad).Wake.Sub(b.clock()))
	b.delivered(bad, "bad", 12)()
	if r := b.Load(bad); r.State() != a2a.TaskStateCompleted {
		t.Errorf("the suspect is %s in the end", r.State())
	}
}

// Turns whose worker died once run beside others, a few at a time.
func TestFewSuspectsRunAtOnce(t *testing.T) {
	const most, all = 4, 7
	g := newGate("hit")
	b := newBench(t, g.executor())
	var ends []func()
	for i := range all {
		id := b.send(fmt.Sprint("h", i), "hit", "").ID()
		b.died(id, 1)
		ends = append(ends, b.delivered(id, "bad", 10))
	}

	for range most {
		g.await(t)
	}

	good := b.send("g", "good", "").ID()
	b.delivered(good, "good", 0)()
	if got := g.await(t); got != "good" || len(g.began) > 0 {
		t.Errorf("%s began, and %d more: at most %d suspects run at once", got, len(g.began), most)
	}

	close(g.held["hit"])
	for _, wait := range ends {
		wait()
	}
}

// A turn that kills its process late, after it has let others begin, runs alone for longer the
// next time, and so it fails as well.
func TestTurnThatKillsLateFails(t *testing.T) {
	b := newBench(t, template("x"))
	for _, after := range []time.Duration{0, 90 * time.Second, 3 * time.Minute, 7 * time.Minute, 9*time.Minute - 1} {
		r, deaths := b.send(after.String(), "late", ""), 0
		for r.State() != a2a.TaskStateFailed && deaths < 20 {
			next, verdict, _, err := r.Claim(b.Moment(), task.Claim{Lease: task.Lease{
				Nonce: fmt.Sprint(b.clock()), Until: b.clock().Add(10 * time.Minute), Alone: r.Apart(b.Rules),
			}})
			if err != nil {
				t.Fatal(err)
			}
			if r = next; verdict != task.Claimed {
				b.advance(max(0, r.Wake.Sub(b.clock())))
				continue
			}

			r.Lease.Alone = r.Lease.Alone && b.worker.AloneFor(r, b.Rules) > after
			if r, err = r.LeaseLost(b.Moment(), task.Crew{Turns: 8}); err != nil {
				t.Fatal(err)
			}
			deaths++
			b.advance(after + 1)
		}

		if deaths > 2*b.Rules.Attempts {
			t.Errorf("a turn that kills after %v has killed %d processes", after, deaths)
		}
		t.Logf("a turn that kills after %v fails after %d deaths", after, deaths)
	}
}

// An ordinary turn takes two commits, its claim and its end, beside the accept of its message.
// Giving a lease back takes one, and so does sharing the process.
func TestCommitsOfATurn(t *testing.T) {
	g := newGate("bad")
	var commits atomic.Int32
	b := newBench(t, nil)
	b.configure(execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		if ec.Message.Parts[0].Text() == "fails" {
			yield(nil, &steps.Again{Err: errors.New("the model is unavailable")})
			return
		}
		g.executor()(ctx, ec, yield)
	}), func(c *turn.Config) {
		c.Alone, c.Store = time.Millisecond, faulty.Store{Store: b.Store, After: func(c faulty.Call, r task.Record, err error) (task.Record, error) {
			if c.Op == faulty.Commit {
				commits.Add(1)
			}
			return r, err
		}}
	})

	want := func(name string, n int32) {
		t.Helper()
		if got := commits.Swap(0); got != n {
			t.Errorf("%s takes %d commits, want %d", name, got, n)
		}
	}

	b.deliver(b.send("o", "ordinary", "").ID(), "ordinary", 0)
	want("an ordinary turn", 2)
	g.await(t)
	b.deliver(b.send("f", "fails", "").ID(), "fails", 0)
	want("a turn that ends in an error", 2)

	bad, good := b.send("b", "bad", "").ID(), b.send("g", "good", "").ID()
	b.died(bad, b.apart())
	b.deliver(bad, "bad", 10)
	want("parking a suspect", 1)
	b.advance(b.Load(bad).Wake.Sub(b.clock()))
	ends := b.delivered(bad, "bad", 11)
	g.await(t)
	b.delivered(good, "good", 0)() // begins when the other has shared the process
	close(g.held["bad"])
	ends()
	want("an ordinary turn beside a suspect that ran alone", 2+3)
}

// A run that ends in an error gives its lease back, so that any job may run the turn next. If
// that cannot be stored, the next claim takes it for a death, and blames no turn.
func TestFailedRunGivesItsLeaseBack(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := newBench(t, nil)
		runs := 0
		var down atomic.Bool // the store takes no commits
		ex := execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
			if runs++; runs == 1 {
				down.Store(broken)
				yield(nil, &steps.Again{Err: errors.New("the model is unavailable")})
				return
			}
			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
		})

		store := faulty.Store{Store: b.Store, Before: func(c faulty.Call) error {
			if c.Op == faulty.Commit && down.Load() {
				return errMute
			}
			return nil
		}}

		b.worker = b.newWorker(store, ex, time.Millisecond)
		id := b.send("m", "hello", "").ID()
		if code := b.deliver(id, "job", 0); code != http.StatusInternalServerError {
			t.Errorf("answered %d", code)
		}
		r := b.Load(id)
		if r.Attempt != 1 || r.Deaths != 0 || (r.Lease == (task.Lease{})) == broken {
			t.Fatalf("%d attempts, %d deaths, lease %+v", r.Attempt, r.Deaths, r.Lease)
		}

		down.Store(false)
		name := "another"
		if r.Lease != (task.Lease{}) {
			name = "job"
		}
		b.deliver(id, name, 1)
		if r := b.Load(id); runs != 2 || r.State() != a2a.TaskStateCompleted {
			t.Errorf("after %d runs the task is %s", runs, r.State())
		}
	}
}

// A job wakes a turn that was parked before one of its last claims.
func TestParkedSuspectIsWoken(t *testing.T) {
	b := newBench(t, template("x"))
	b.Rules.Parks = []time.Duration{50 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond}
	b.desk = b.Desk(b.Store)
	b.worker = b.newWorker(b.Store, template("x"), 0)
	id := b.send("m", "hello", "").ID()
	<-b.jobs
	b.died(id, 2)
	if code := b.deliver(id, "bad", 10); code != http.StatusNoContent || b.Load(id).Wake.IsZero() {
		t.Fatalf("answered %d, wake %v", code, b.Load(id).Wake)
	}
	select {
	case got := <-b.jobs:
		if got != id {
			t.Errorf("the job is for task %q", got)
		}
	case <-time.After(time.Minute):
		t.Error("no job wakes the turn")
	}
}

// A turn that has waited to run alone has only the rest of its delivery's time: if its
// lease were longer, the lease would be taken over while the turn runs (R2, R3). If most of
// the time is gone, the queue delivers the job again, and no claim is lost.
func TestTurnThatWaitedToRunAloneEndsWithItsDelivery(t *testing.T) {
	for _, test := range []struct {
		wait  time.Duration
		code  int
		epoch int64
	}{{time.Minute, http.StatusNoContent, 4}, {20 * time.Minute, http.StatusInternalServerError, 3}} {
		started, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		var until time.Time

		ex := execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
			if ec.Message.Parts[0].Text() == "slow" {
				close(started)
				<-release
			} else {
				this, _ := run.From(ctx)
				until = this.Until
			}

			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
		})

		b := newBench(t, ex)
		slow, bad := b.send("s", "slow", "").ID(), b.send("b", "bad", "").ID()
		b.died(bad, b.apart())
		b.deliver(bad, "bad", 10) // parks it
		b.advance(b.Load(bad).Wake.Sub(b.clock()))
		read := make(chan struct{}, 10)

		b.worker = b.newWorker(faulty.Loading(b.Store, func(r task.Record) (task.Record, error) {
			if r.ID() == bad {
				read <- struct{}{}
			}
			return r, nil
		}), ex, 0)

		go func() {
			defer close(ended)
			b.deliver(slow, "slow", 0)
		}()

		<-started
		delivered := b.clock()
		code := make(chan int)
		go func() { code <- b.deliver(bad, "bad", 11) }()
		<-read // from here its time runs
		b.advance(test.wait)
		close(release)

		if got := <-code; got != test.code {
			t.Errorf("after %v: answered %d, want %d", test.wait, got, test.code)
		}

		<-ended
		if r := b.Load(bad); r.Epoch != test.epoch {
			t.Errorf("after %v: %d claims, want %d", test.wait, r.Epoch, test.epoch)
		}
		if end := delivered.Add(29 * time.Minute); until.After(end) {
			t.Errorf("after %v: the run may last until %v, but its delivery ends soon after %v", test.wait, until, end)
		}
	}
}

// died makes the given number of claims of a task, for the job "bad", by workers that died. It
// waits for the wake-ups between them.
func (b *bench) died(id string, times int) {
	b.t.Helper()
	for claimed, retry := 0, 0; claimed < times; retry++ {
		var verdict task.Verdict
		r, err := task.UpdateFrom(b.t.Context(), b.Store, b.Load(id), func(r task.Record) (next task.Record, changed bool, err error) {
			next, verdict, changed, err = r.Claim(b.Moment(), task.Claim{Lease: task.Lease{
				Queue: task.Turns, Name: "bad", Retry: retry, Nonce: fmt.Sprint(retry), Until: b.clock().Add(time.Minute),
			}})
			return next, changed, err
		})
		switch {
		case err != nil:
			b.t.Fatal(err)
		case verdict == task.Claimed:
			claimed++
		case verdict == task.Parked:
			b.advance(r.Wake.Sub(b.clock()))
		default:
			b.t.Fatalf("claim %d: verdict %v", claimed+1, verdict)
		}
	}
}
