package batches_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/lab/conformance"
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
	step := conformance.Size(7, 1)
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
