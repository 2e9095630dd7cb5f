package batches_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/lab/conformance"
	"errand/shared/task"
)

var errDead = errors.New("the process is dead")

// dying runs batches in a process that dies at its n-th call of a store: before the call, or
// after it and before its answer. Another process takes its place. The returned function tells
// whether it has died.
func (b *bench) dying(n int, before bool) (died func() bool) {
	var mu sync.Mutex
	calls, dead := 0, false
	first := (*process)(nil)
	next := func(at bool) error {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return errDead
		}
		if at {
			calls++
		}

		if !at || calls != n {
			return nil
		}
		dead = true
		b.current.Store(b.process(nil))
		first.handler.Drain() // its goroutines end
		close(first.dead)
		return errDead
	}
	first = b.process(&tap{before: func(call) error { return next(before) }, after: func(call) error { return next(!before) }})
	b.current.Store(first)
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return dead
	}
}

// Whenever the process of a batch dies, another one comes to the same files: each line once,
// and no item twice.
func TestBatchSurvivesItsProcess(t *testing.T) {
	const lines = 40
	step := conformance.Long(7, 3, 1)
	for _, before := range []bool{true, false} {
		for n := 1; ; n += step {
			b := newBench(t, nil)
			died := b.dying(n, before)
			id := b.submit(b.spec("all", manifest(lines)))
			r := b.settled(id)

			b.wantEnd(r, a2a.TaskStateCompleted)
			b.wantLines(id, lines)
			if got := b.started.Load(); got != lines {
				t.Errorf("%d items were run, want %d", got, lines)
			}
			if t.Failed() {
				t.Fatalf("the process died at call %d, before it: %v", n, before)
			}
			b.World.Close()
			if !died() {
				t.Logf("it makes fewer than %d calls", n)
				break
			}
		}
	}
}

// The same for a batch that runs the failed lines of another one: the answers of that one are
// taken over, and nothing else runs.
func TestRetrySurvivesItsProcess(t *testing.T) {
	const lines = 8
	step := conformance.Long(4, 4, 1)
	for _, before := range []bool{true, false} {
		n := 1
		if !before {
			n += step / 4 // so it dies at every second call: after one is before the next
		}
		for ; ; n += step {
			b := newBench(t, nil)
			failing := atomic.Bool{}
			failing.Store(true)
			b.answer = func(_ context.Context, ec *a2asrv.ExecutorContext) error {
				if text := told(ec); failing.Load() && (text == one(3) || text == one(lines)) {
					return task.ErrTooLarge
				}
				return nil
			}

			s := b.spec("all", manifest(lines))
			first := b.submit(s)
			b.settled(first)
			b.wantLines(first, lines, 3, lines)

			b.started.Store(0)
			failing.Store(false)
			died := b.dying(n, before)
			s.Name, s.Retry = batch.RetryName(s.Name), first
			id := b.submit(s)

			r := b.settled(id)
			b.wantEnd(r, a2a.TaskStateCompleted)
			b.wantLines(id, lines)
			if got := b.started.Load(); got != 2 {
				t.Errorf("%d items were run, want 2", got)
			}

			if t.Failed() {
				t.Fatalf("the process died at call %d, before it: %v", n, before)
			}
			b.World.Close()
			if !died() {
				t.Logf("it makes fewer than %d calls", n)
				break
			}
		}
	}
}

// A segment that is gone, or has other lines than were counted, is made again before the files are
// made of it.
func TestSegmentsAreMadeAgain(t *testing.T) {
	for name, spoil := range map[string]func(b *bench, segment string) error{
		"gone": func(b *bench, segment string) error { return b.files.Delete(t.Context(), segment) },
		"short": func(b *bench, segment string) error {
			text := b.read(segment)
			_, err := b.files.Put(t.Context(), files.Upload{Name: segment, Owner: owner, MediaType: "application/jsonl"}, strings.NewReader(text[:strings.Index(text, "\n")+1]))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			const lines = batch.PerSegment + 1
			g := b.gated(is(lines))
			id := b.submit(b.spec("all", manifest(lines)))
			b.awaitState(id, func(s batch.State) bool { return s.Segs == 1 })
			if err := spoil(b, batch.ResultsSegment(id, 0)); err != nil {
				t.Fatal(err)
			}
			g.release()

			r := b.await(id, func(r task.Record) bool { return r.Settled || !r.Wake.IsZero() })
			b.wantEnd(r, a2a.TaskStateCompleted)
			b.wantLines(id, lines)
		})
	}
}

// A call of a store that fails once, before it is made or after, loses no line and runs none twice:
// the batch waits a while, and goes on.
func TestBatchSurvivesAFailedCall(t *testing.T) {
	const lines = 40
	step := conformance.Long(11, 4, 1)
	for _, before := range []bool{true, false} {
		for n := 1; ; n += step {
			b := newBench(t, nil)
			now := time.Now()
			b.stop(now)
			var calls atomic.Int64
			fail := func(at bool) error {
				if at && calls.Add(1) == int64(n) {
					return errors.New("the store does not answer")
				}
				return nil
			}

			b.current.Store(b.process(&tap{before: func(call) error { return fail(before) }, after: func(call) error { return fail(!before) }}))

			id := b.submit(b.spec("all", manifest(lines)))
			r := b.await(id, func(r task.Record) bool { return r.Settled || !r.Wake.IsZero() })
			for !r.Settled {
				b.current.Load().idle.Wait()
				now = now.Add(time.Minute)
				b.stop(now)
				b.job(id)
				before := r.Version
				r = b.await(id, func(r task.Record) bool { return r.Settled || r.Version > before && !r.Wake.IsZero() })
			}

			b.wantEnd(r, a2a.TaskStateCompleted)
			b.wantLines(id, lines)
			if got := b.started.Load(); got != lines {
				t.Errorf("%d items were run, want %d", got, lines)
			}
			if t.Failed() {
				t.Fatalf("call %d failed, before it: %v", n, before)
			}
			b.World.Close()
			if calls.Load() < int64(n) {
				t.Logf("it makes fewer than %d calls", n)
				break
			}
		}
	}
}

// dyingAt runs batches in processes that die, one after the other, when they make their n-th item
// and all items before it have ended. The last one lives.
func (b *bench) dyingAt(n, deaths int, id string) *process {
	var mu sync.Mutex
	made, dead := 0, false
	var p *process
	p = b.process(&tap{before: func(c call) error {
		mu.Lock()
		defer mu.Unlock()
		switch _, _, item := task.ItemOf(c.on); {
		case deaths == 0:
			return nil
		case dead:
			return errDead
		case c.method == "Create" && item:
			made++
		}
		if made < n {
			return nil
		}

		dead = true
		for open := []int{0}; len(open) > 0 && b.t.Context().Err() == nil; time.Sleep(time.Millisecond) {
			open, _ = b.Store.OpenLines(b.t.Context(), id, 0, 1)
		}
		b.current.Store(b.dyingAt(n, deaths-1, id))
		p.handler.Drain() // its goroutines end
		close(p.dead)
		return errDead
	}})
	return p
}

// The first round of a run can be long. A process that dies in it has moved its batch on all the
// same, so the next one does not wait.
func TestDeathInTheFirstRoundDelaysNothing(t *testing.T) {
	b, feed := held(t)
	const lines, ended = 1500, 400
	text := manifest(lines)
	id := b.submit(b.spec("all", text))
	r := b.await(id, func(r task.Record) bool { return !r.Wake.IsZero() })
	b.current.Load().idle.Wait()

	// As if a run had died before it could see that so many lines have ended.
	st := b.state(id)
	for raw, err := range batch.Lines(strings.NewReader(text), 0, 1) {
		if err != nil {
			t.Fatal(err)
		}
		item, _ := batch.Form{Input: []string{"text/plain"}}.Parse(batch.Errand, raw.N, raw.Text)
		if err := b.desk.Feed(t.Context(), desk.Item{Batch: r, Line: raw.N, Message: item.For(id)}); err != nil {
			t.Fatal(err)
		}
		if st = st.Made(1, raw.N, raw.Next, b.Now()); raw.N == ended {
			break
		}
	}
	b.setState(id, st)
	for line := 1; line <= ended; line++ {
		b.await(task.ItemID(id, line), task.Record.Terminal)
	}

	before := r.Epoch
	b.current.Store(b.dyingAt(300, 4, id))
	feed(id)
	if r := b.await(id, func(r task.Record) bool { return r.Settled || r.Epoch > before && !r.Wake.IsZero() }); !r.Settled {
		t.Fatalf("after %d deaths and %d attempts it waits until %v", r.Deaths, r.Attempt, r.Wake)
	}
	b.wantEnd(b.Load(id), a2a.TaskStateCompleted)
	b.wantLines(id, lines)
	if got := b.started.Load(); got != lines {
		t.Errorf("%d items were run, want %d", got, lines)
	}
}

// setState overwrites the progress of a batch.
func (b *bench) setState(id string, st batch.State) {
	b.t.Helper()
	e, err := b.Store.KV().Get(b.t.Context(), batch.StateKey(id))
	if err != nil {
		b.t.Fatal(err)
	}
	if e.Value, err = json.Marshal(st); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.Store.KV().Put(b.t.Context(), e); err != nil {
		b.t.Fatal(err)
	}
}
