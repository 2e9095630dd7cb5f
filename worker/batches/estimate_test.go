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
	"github.com/google/go-cmp/cmp"

	"errand/shared/batch"
	"errand/shared/task"
	"errand/worker/batches"
)

// A counter is the executor of a bench that can count: 100 tokens beside each message, and one
// for each byte.
type counter struct {
	*bench
	calls atomic.Int64
	fault error

	mu    sync.Mutex
	until []time.Time // the deadlines of the calls
}

func (c *counter) Count(ctx context.Context, texts []string) (each, tokens int64, err error) {
	c.calls.Add(1)
	until, _ := ctx.Deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = append(c.until, until)
	return 100, int64(len(strings.Join(texts, ""))), c.fault
}

func (c *counter) Price(tokens int64) (nanos int64, currency string) { return 3 * tokens, "USD" }

// counted makes a bench whose executor can count.
func counted(t *testing.T) (*bench, *counter) {
	c := &counter{}
	c.bench = newBench(t, func(config *batches.Config) { config.Items = c })
	return c.bench, c
}

// tokensOf is what the counter makes of the first lines of a manifest.
func tokensOf(lines int) (n int64) {
	for line := 1; line <= lines; line++ {
		n += 100 + int64(len(one(line)))
	}
	return n
}

// A sample is counted once. The state has the estimate as soon as it has the number of lines, and
// before an item is made. Then the record says so, before anything else.
func TestEstimateIsThereBeforeAnItem(t *testing.T) {
	b, c := counted(t)
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		if len(order) == 0 || order[len(order)-1] != what {
			order = append(order, what)
		}
	}

	var id string
	b.current.Store(b.process(&tap{after: func(call call) error {
		switch {
		case call.method == "KV.Put" && call.on == batch.StateKey(id):
			if st := b.state(id); st.Lines > 0 {
				if st.Estimate.Input == 0 {
					t.Error("the state has lines and no estimate")
				}
				note("state")
			}
		case call.method == "Commit" && call.on == id:
			if m := b.Load(id).Task.Status.Message; m != nil {
				note(m.Parts[0].Text())
			}
		case call.method == "Create":
			note("item")
		}
		return nil
	}}))
	const lines = 8 // so few that the sample has them all
	s := b.spec("all", manifest(lines))
	id = task.BatchID(owner, s.Name)
	b.submit(s)
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)

	want := batch.Estimate{Input: tokensOf(lines), Nanos: 3 * tokensOf(lines), Currency: "USD"}
	if st := b.state(id); st.Estimate != want || c.calls.Load() != 1 {
		t.Errorf("the estimate is %+v, want %+v, after %d counts", st.Estimate, want, c.calls.Load())
	}
	mu.Lock()
	defer mu.Unlock()
	says := "The manifest is checked. Lines: 8, about 864 tokens of input, about 0.000003 USD."
	if diff := cmp.Diff([]string{"state", says, "item"}, order[:min(3, len(order))]); diff != "" {
		t.Errorf("the order (-want +got):\n%s", diff)
	}
}

// The same batch again, and another process that goes on with it, count nothing.
func TestEstimateIsMadeOnce(t *testing.T) {
	b, c := counted(t)
	const lines = 8
	s := b.spec("all", manifest(lines))
	slept := b.sleeping(1, func(c call) bool { return c.method == "Create" })
	id := b.submit(s)
	<-slept.asleep
	b.replace(slept)
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	slept.wake()
	slept.idle.Wait()

	b.submit(s)
	b.job(id)
	b.current.Load().idle.Wait()
	if st := b.state(id); st.Estimate.Input != tokensOf(lines) || c.calls.Load() != 1 {
		t.Errorf("the estimate is %+v after %d counts", st.Estimate, c.calls.Load())
	}
}

// A batch that nobody can count goes on without an estimate, and asks no second time. It waits
// for the count for a short time only.
func TestBatchGoesOnWithoutAnEstimate(t *testing.T) {
	b, c := counted(t)
	c.fault = errors.New("away")
	began := time.Now()
	id := b.submit(b.spec("all", manifest(3)))
	b.wantEnd(b.settled(id), a2a.TaskStateCompleted)
	b.wantLines(id, 3)
	if st := b.state(id); st.Estimate != (batch.Estimate{}) || c.calls.Load() != 1 {
		t.Errorf("the estimate is %+v after %d counts", st.Estimate, c.calls.Load())
	}
	if text, err := json.Marshal(b.state(id)); err != nil || strings.Contains(string(text), "estimate") {
		t.Errorf("the state is %s, %v", text, err)
	}
	if wait := c.until[0].Sub(began); wait <= 0 || time.Now().Add(2*time.Second).Before(c.until[0]) {
		t.Errorf("the count may take %v", wait)
	}
}

// Nothing is counted for a batch of which nothing runs.
func TestRefusedBatchIsNotCounted(t *testing.T) {
	b, c := counted(t)
	for name, text := range map[string]string{"bad": twoBad, "blank": "\n"} {
		b.wantEnd(b.settled(b.submit(b.spec(name, text))), a2a.TaskStateRejected)
	}
	s := b.spec("all bad", `{"text": 1}`+"\n")
	s.OnBad = batch.Skip
	id := b.submit(s)
	b.settled(id)
	if st := b.state(id); st.Lines != 1 || st.Estimate != (batch.Estimate{}) || c.calls.Load() != 0 {
		t.Errorf("%+v after %d counts", st, c.calls.Load())
	}
}

// The estimate of a retry is of the lines that run again.
func TestEstimateOfARetry(t *testing.T) {
	b, c := counted(t)
	b.answer = failing(3, 5)
	s := b.spec("all", manifest(8))
	first := b.submit(s)
	b.settled(first)
	s.Name, s.Retry = batch.RetryName(s.Name), first
	second := b.submit(s)
	b.settled(second)
	if got, want := b.state(second).Estimate.Input, tokensOf(8)/4; got != want || c.calls.Load() != 2 {
		t.Errorf("two of 8 lines are estimated as %d tokens, want %d, after %d counts", got, want, c.calls.Load())
	}
}

// failing makes the items of some lines fail.
func failing(lines ...int) func(context.Context, *a2asrv.ExecutorContext) error {
	return func(_ context.Context, ec *a2asrv.ExecutorContext) error {
		for _, line := range lines {
			if told(ec) == one(line) {
				return task.ErrTooLarge
			}
		}
		return nil
	}
}
