package turn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/kv"
	"errand/shared/lab/faulty"
	"errand/shared/memory"
	"errand/shared/task"
	"errand/worker/run"
	"errand/worker/tools"
	"errand/worker/turn"
)

// before keeps what the newest run of an executor knows of its conversation.
func before(got *run.Before) a2asrv.AgentExecutor {
	return execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		this, _ := run.From(ctx)
		*got = this.Before
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	})
}

// inContext accepts a message of the context c, a second after the one before.
func (b *bench) inContext(id string, references ...a2a.TaskID) task.Record {
	b.t.Helper()
	b.advance(time.Second)
	return b.accept(&a2a.Message{
		ID: id, ContextID: "c", Role: a2a.MessageRoleUser, ReferenceTasks: references, Parts: a2a.ContentParts{a2a.NewTextPart(id)},
	})
}

// A run reads as many earlier tasks as its conversation says, and knows how many there are beside
// these. It counts them only if there are more than a list has.
func TestConversationFollowsItsKeys(t *testing.T) {
	for _, tt := range []struct {
		tasks, read, unread, lists int
	}{{0, 0, 9, 2}, {1, 1, 7, 2}, {6, 6, 2, 2}, {7, 7, 1, 2}, {8, 8, 0, 1}, {99, 8, 0, 1}} {
		var got run.Before
		b := newBench(t, before(&got))
		var elsewhere a2a.TaskID
		for i := range 8 {
			elsewhere = b.inContext(fmt.Sprint("m", i)).Task.ID
		}
		lists := 0
		counting := faulty.Store{Store: b.Store, Before: func(c faulty.Call) error {
			if c.Op == faulty.List {
				lists++
			}
			return nil
		}}
		b.configure(before(&got), func(c *turn.Config) {
			c.Store, c.Conversation = counting, &turn.Conversation{Tokens: 1000, Tasks: tt.tasks}
		})

		r := b.inContext("now", elsewhere)
		b.deliver(r.ID(), "j", 0)
		if n := len(got.Tasks) - 1; n != tt.read || got.Unread != tt.unread || got.Crowded || lists != tt.lists {
			t.Errorf("%d tasks: %d read, %d not (for want of memory: %t), %d lists; want %d, %d and %d", tt.tasks, n, got.Unread, got.Crowded, lists, tt.read, tt.unread, tt.lists)
		}
	}
}

// Where the memory of a run has no room for the earlier tasks, it knows so.
func TestConversationWithoutMemory(t *testing.T) {
	var got run.Before
	b := newBench(t, before(&got))
	dense := make([]any, 9000) // 3.6 MB of the 9.5 MB
	for i := range dense {
		dense[i] = 1.0
	}
	for i := range 4 {
		b.advance(time.Second)
		b.accept(&a2a.Message{ID: fmt.Sprint("m", i), ContextID: "c", Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewDataPart(dense)}})
	}
	b.deliver(b.inContext("now").ID(), "j", 0)
	if n := len(got.Tasks) - 1; n != 2 || got.Unread != 2 || !got.Crowded {
		t.Errorf("%d tasks are read, %d not (for want of memory: %t)", n, got.Unread, got.Crowded)
	}
}

// step stores a step of an earlier turn, with a result.
func (b *bench) step(r task.Record, number, size int) {
	b.t.Helper()
	k := task.Kept{
		Step:    task.Step{Number: number, Turn: 1, Reply: json.RawMessage(`[]`), Calls: []task.Call{{Name: "look"}}},
		Results: map[int]task.Result{0: {Value: json.RawMessage(`{"output":"` + strings.Repeat("x", size) + `"}`)}},
	}
	text, err := k.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.Store.KV().Put(b.t.Context(), kv.Entry{Key: r.StepKey(number), Owner: r.Owner, Value: text}); err != nil {
		b.t.Fatal(err)
	}
}

// The newest steps of earlier turns are read, as far as the tokens allow, and the others are counted.
// What else is stored beside them is passed over.
func TestEarlierStepsAreReadFromTheNewest(t *testing.T) {
	const steps = 40
	for _, tt := range []struct{ size, read int }{{10, 40}, {100_000, 10}, {400_000, 2}} {
		var got run.Before
		b := newBench(t, before(&got))
		first := b.inContext("m0")
		for n := 1; n <= steps; n++ {
			b.step(first, n, tt.size)
		}

		for _, key := range []string{first.StepKey(35) + ".e3", first.StepPrefix() + "t000001/mine"} {
			if _, err := b.Store.KV().Put(t.Context(), kv.Entry{Key: key, Owner: "me", Value: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
		}

		_, err := task.Update(t.Context(), b.Store, first.ID(), func(r task.Record) (task.Record, bool, error) {
			r.Steps, r.Schema = steps, task.Schema
			return r.Cancel(b.Moment(), a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("x")), nil)
		})
		if err != nil {
			t.Fatal(err)
		}

		b.deliver(b.inContext("now").ID(), "j", 0)
		e := got.Tasks[first.Task.ID]
		var numbers []int
		for _, k := range e.Steps {
			numbers = append(numbers, k.Number)
		}
		var want []int
		for n := steps - tt.read + 1; n <= steps; n++ {
			want = append(want, n)
		}
		if !slices.Equal(numbers, want) || e.Unread != steps-tt.read {
			t.Errorf("steps of %d bytes: read %v and %d not, want the newest %d", tt.size, numbers, e.Unread, tt.read)
		}
	}
}

// A store that does not answer about earlier steps puts the turn off, and costs it no attempt.
func TestEarlierStepsThatCannotBeReadPutTheTurnOff(t *testing.T) {
	var got run.Before
	b := newBench(t, before(&got))
	first := b.inContext("m0")
	b.configure(shipped(t, []tools.Tool{refundTool()}, &genai.FunctionCall{Name: "refund"}), func(*turn.Config) {})
	b.deliver(first.ID(), "j", 0)
	if r := b.Load(first.ID()); r.State() != a2a.TaskStateCompleted || r.Steps != 1 {
		t.Fatalf("the first task is %s after %d steps", r.State(), r.Steps)
	}

	b.configure(before(&got), func(c *turn.Config) { c.KV = unlisted{c.KV} })
	id := b.inContext("now").ID()
	b.deliver(id, "j", 0)
	if r := b.Load(id); r.Wake.IsZero() || r.Attempt != 0 {
		t.Errorf("the turn is not put off: %s, attempt %d", r.State(), r.Attempt)
	}
}

func refundTool() tools.Tool {
	return tools.New("refund", "Refunds.", func(context.Context, struct{}) (string, error) { return "refunded", nil }, tools.Effects())
}

// An unlisted store lists nothing.
type unlisted struct{ kv.Store }

func (unlisted) List(context.Context, string, string, int) ([]kv.Entry, error) {
	return nil, errors.New("no answer")
}

// A task that stopped within a step has calls of which the record alone knows. The next message
// of its context knows them too.
func TestCallsThatBeganAreKnownLater(t *testing.T) {
	var got run.Before
	b := newBench(t, before(&got))
	started := make(chan struct{})
	refund := tools.New("refund", "Refunds.", func(ctx context.Context, _ struct{}) (string, error) {
		close(started)
		<-ctx.Done()
		return "", ctx.Err()
	}, tools.Effects())

	b.configure(shipped(t, []tools.Tool{refund}, &genai.FunctionCall{Name: "refund"}), func(*turn.Config) {})
	first := b.inContext("m0")
	over := make(chan int)
	go func() { over <- b.deliver(first.ID(), "j", 0) }()
	<-started

	_, err := task.Update(t.Context(), b.Store, first.ID(), func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(b.Moment(), a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("x")), nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	<-over

	b.configure(before(&got), func(*turn.Config) {})
	b.deliver(b.inContext("now").ID(), "j", 0)
	e := got.Tasks[first.Task.ID]
	if len(e.Steps) != 1 || len(e.Steps[0].Results) != 0 || e.Steps[0].Calls[0].Times != 1 || !e.Steps[0].Calls[0].Effects {
		t.Fatalf("the earlier steps: %+v", e.Steps)
	}
	if diff := cmp.Diff(first.CallKey(1, 0), e.Key(1, 0)); diff != "" {
		t.Errorf("its key (-want +got):\n%s", diff)
	}
}

// The steps of earlier turns count in the memory of a run.
func TestEarlierStepsAreCharged(t *testing.T) {
	for _, size := range []int{10, 200_000} {
		pool := memory.Sized(2_000_000)
		b, begun, release := charged(t, func(c *turn.Config) { c.Memory = pool })
		first := b.inContext("m0")
		b.step(first, 1, size)
		_, err := task.Update(t.Context(), b.Store, first.ID(), func(r task.Record) (task.Record, bool, error) {
			r.Steps, r.Schema = 1, task.Schema
			return r.Cancel(b.Moment(), a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("x")), nil)
		})
		if err != nil {
			t.Fatal(err)
		}

		id, code := b.inContext("now").ID(), make(chan int)
		go func() { code <- b.deliver(id, "job", 0) }()
		<-begun
		if err := pool.Charge("").Take(1_300_000); (err != nil) != (size > 10) {
			t.Errorf("a step of %d bytes: %v", size, err)
		}
		release <- true
		<-code
	}
}
