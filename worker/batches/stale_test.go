package batches_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/lab/conformance"
	"errand/shared/task"
	"errand/worker/batches"
)

// A sleeper is a process that stops at one of its calls, and goes on later, although the queue
// has given it up and another process has its batch. What it has begun to write, it writes.
type sleeper struct {
	*process
	asleep chan struct{} // closed when it stops
	wake   func()
}

// sleeping runs batches in a process that stops at its n-th call of those that count.
func (b *bench) sleeping(n int, counts func(call) bool) *sleeper {
	var mu sync.Mutex
	calls, goOn := 0, make(chan struct{})
	s := &sleeper{asleep: make(chan struct{}), wake: sync.OnceFunc(func() { close(goOn) })}
	s.process = b.process(&tap{stubborn: true, before: func(c call) error {
		mu.Lock()
		if counts(c) {
			calls++
		}
		if stops := calls == n; stops && counts(c) {
			close(s.asleep)
			mu.Unlock()
			<-goOn
			return nil
		}
		mu.Unlock()
		return nil
	}})
	b.current.Store(s.process)
	b.t.Cleanup(s.wake)
	return s
}

// replace has the queue give the sleeper up. Another process gets the next delivery.
func (b *bench) replace(s *sleeper) {
	b.current.Store(b.process(nil))
	close(s.dead)
}

// A process that has lost its batch, and does not know it, changes nothing any more: the files
// stay as the other process has made them, each item is run once, and the state is of the later
// run.
func TestStaleProcessChangesNothing(t *testing.T) {
	const lines = 40
	step := conformance.Size(11, 1)
	any := func(call) bool { return true }
	for n := 1; ; n += step {
		b := newBench(t, nil)
		s := b.sleeping(n, any)
		id := b.submit(b.spec("all", manifest(lines)))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			b.settled(id)
		}()
		select {
		case <-s.asleep:
		case <-ended: // it makes fewer calls
			t.Logf("it makes fewer than %d calls", n)
			return
		}

		b.replace(s)
		<-ended
		answers, failures, st := b.read(batch.ResultsFile(id)), b.read(batch.ErrorsFile(id)), b.state(id)
		s.wake()
		s.idle.Wait()

		b.wantEnd(b.Load(id), a2a.TaskStateCompleted)
		b.wantLines(id, lines)
		if b.read(batch.ResultsFile(id)) != answers || b.read(batch.ErrorsFile(id)) != failures {
			t.Error("the files have changed")
		}
		now := b.state(id)
		now.Epoch = st.Epoch // a late settlement takes the state over, and finds nothing to do
		if now != st {
			t.Errorf("the state has changed from %+v to %+v", st, now)
		}
		if got := b.started.Load(); got != lines {
			t.Errorf("%d items were run, want %d", got, lines)
		}
		if t.Failed() {
			t.Fatalf("the process slept at call %d", n)
		}
		b.World.Close()
	}
}

// A process that has lost its batch begins no item after the batch has ended.
func TestStaleFeederBeginsNothing(t *testing.T) {
	for name, end := range map[string]func(*bench, string){"canceled": (*bench).cancel, "deleted": (*bench).remove} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			const lines, at = 100, 20
			s := b.sleeping(at, func(c call) bool { return c.method == "Create" })
			id := b.submit(b.spec("all", manifest(lines)))
			<-s.asleep
			b.replace(s)
			end(b, id)
			for {
				if r, err := b.Store.Load(t.Context(), id); (err == nil || errors.Is(err, task.ErrDeleted)) && r.Settled {
					break
				}
				b.pause()
			}

			began := b.started.Load()
			s.wake()
			s.idle.Wait()
			b.noneOpen(id)
			if now := b.started.Load(); now != began {
				t.Errorf("%d items began after the batch had ended", now-began)
			}
		})
	}
}

// A run makes no item far behind the cursor that is stored, also if it stores it seldom. So the one
// that ends the batch knows which items a run that has lost it may still make.
func TestFeederStaysNearItsStoredCursor(t *testing.T) {
	const lines = batch.MaxOpen + 300
	b := newBench(t, func(c *batches.Config) { c.Save = time.Hour })
	far := make(chan string, lines)
	b.current.Store(b.process(&tap{before: func(c call) error {
		id, line, item := task.ItemOf(c.on)
		if c.method != "Create" || !item || line <= batch.MaxOpen {
			return nil
		}
		if st := b.state(id); line > st.Fed+batch.MaxOpen {
			far <- fmt.Sprintf("line %d is made while the stored cursor is at %d", line, st.Fed)
		}
		return nil
	}}))
	id := b.submit(b.spec("all", manifest(lines)))
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, lines)
	if len(far) > 0 {
		t.Errorf("%d times an item is far from the cursor: %s", len(far), <-far)
	}
}
