package turn_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/desk"
	"errand/shared/memory"
	"errand/shared/task"
	"errand/worker/turn"
)

// charged is a bench whose worker has room for one large turn. Its executor reports each
// turn that begins, and ends it when it is let go.
func charged(t *testing.T, edit func(*turn.Config)) (b *bench, begun chan string, release chan bool) {
	begun, release = make(chan string, 10), make(chan bool)
	ex := execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		begun <- ec.Message.ID
		if !strings.HasPrefix(ec.Message.ID, "small") {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	})

	b = newBench(t, ex)
	c := turn.Config{Desk: b.desk, Store: b.Store, KV: b.Store.KV(), Bus: b, Executor: ex, Log: b.Log, Memory: memory.Sized(600_000)}
	edit(&c)
	b.worker = turn.New(c)
	return b, begun, release
}

const hundredKB = 100_000 // bytes of a text that makes its turn a large one

// A large turn waits until another one has given its memory back, holds no later small turn
// up, and then runs in the same delivery.
func TestLargeTurnsShareTheMemory(t *testing.T) {
	b, begun, release := charged(t, func(*turn.Config) {})
	text := strings.Repeat("x", hundredKB)
	codes := make(chan int, 3)
	deliver := func(id, text string) {
		r := b.send(id, text, "")
		go func() { codes <- b.deliver(r.ID(), id, 0) }()
		b.awaitState(r.ID(), a2a.TaskStateWorking)
	}

	deliver("first", text)
	if got := <-begun; got != "first" {
		t.Fatalf("%s began", got)
	}
	deliver("second", text)

	small := b.send("small", "x", "")
	if code := b.deliver(small.ID(), "small", 0); code != http.StatusNoContent {
		t.Errorf("the small turn is answered %d", code)
	}
	if got := <-begun; got != "small" {
		t.Errorf("%s began while the first turn held the memory", got)
	}

	release <- true
	if got := <-begun; got != "second" {
		t.Errorf("%s began after the first turn", got)
	}
	release <- true
	for range 2 {
		if code := <-codes; code != http.StatusNoContent {
			t.Errorf("a large turn is answered %d", code)
		}
	}
}

// Values that are decoded count, in the turn's own task and in the tasks beside it.
func TestDenseTurnsAreLarge(t *testing.T) {
	dense := map[string]any{"a": make([]any, 700)} // 280 KB of charge, 4 KB of text
	for _, beside := range []bool{false, true} {
		pool := memory.Sized(600_000)
		b, begun, release := charged(t, func(c *turn.Config) { c.Memory = pool })
		m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("x"))
		m.Metadata = dense
		first := b.accept(m)
		run := first
		if beside {
			next := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("x"))
			next.ContextID = first.Task.ContextID
			run = b.accept(next)
		}

		code := make(chan int)
		go func() { code <- b.deliver(run.ID(), "job", 0) }()
		<-begun
		if err := pool.Charge("").Take(400_000); err == nil {
			t.Errorf("a task with 700 values is not charged (beside the turn's own: %t)", beside)
		}
		release <- true
		<-code
		if err := pool.Charge("").Take(600_000); err != nil {
			t.Errorf("after the turn: %v", err)
		}
	}
}

// A turn that gets no memory in half of its time is parked and gives its job back, and its
// attempt does not count.
func TestTurnWithoutMemoryComesAgain(t *testing.T) {
	pool := memory.Sized(600_000)
	b, begun, release := charged(t, func(c *turn.Config) { c.Memory, c.Deadline = pool, 100*time.Millisecond })
	others := pool.Charge("")
	if err := others.Take(600_000); err != nil {
		t.Fatal(err)
	}

	id := b.send("large", strings.Repeat("x", hundredKB), "").ID()
	if code := b.deliver(id, "job", 0); code != http.StatusNoContent {
		t.Errorf("answered %d", code)
	}
	r := b.Load(id)
	if r.State() != a2a.TaskStateWorking || r.Wake.IsZero() || r.Attempt != 0 || r.Lease != (task.Lease{}) {
		t.Errorf("a turn without memory is left as %s, wake %v, attempt %d, lease %v", r.State(), r.Wake, r.Attempt, r.Lease)
	}
	if len(begun) > 0 {
		t.Error("the turn ran without memory")
	}

	others.Settle()
	b.worker = turn.New(turn.Config{Desk: b.desk, Store: b.Store, KV: b.Store.KV(), Bus: b, Log: b.Log, Memory: pool, Executor: execute(
		func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
		})})
	close(release)
	b.deliver(id, "again", 0)
	if r := b.Load(id); r.State() != a2a.TaskStateCompleted {
		t.Errorf("the turn is %s after its job has come again", r.State())
	}
}

// accept stores a message as the front door does.
func (b *bench) accept(m *a2a.Message) task.Record {
	b.t.Helper()
	r, err := b.desk.Accept(b.t.Context(), desk.Message{Owner: "me", Message: m})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}
