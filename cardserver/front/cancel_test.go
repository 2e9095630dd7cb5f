package front_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/kv"
	"errand/shared/task"
)

// calling makes a working task with an open step: one call without effects, and two with
// effects, of which the first has begun so long ago.
func (w *world) calling(ago time.Duration) task.Record {
	w.t.Helper()
	r := w.insert(anonymous, "m", a2a.TaskStateWorking)
	m := w.Rules.At(time.Now().Add(-ago))
	r, err := task.Update(context.Background(), w.Store, r.ID(), func(r task.Record) (task.Record, bool, error) {
		return r.OpenStep(m, task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Step{Number: 1, Calls: []task.Call{
			{Name: "look"}, {Name: "refund", Effects: true}, {Name: "mail", Effects: true}, {Name: "ship", Effects: true},
		}}, []int{0, 1, 2})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// result stores the result of a call of the open step.
func (w *world) result(r task.Record, call int) {
	w.t.Helper()
	k, _ := task.Kept{Step: *r.Step}.Merge(map[int]task.Result{call: {Value: []byte(`{}`)}})
	text, err := k.Encode()
	if err == nil {
		_, err = w.Store.KV().Put(context.Background(), kv.Entry{Key: r.StepKey(r.Step.Number), Owner: r.Owner, Value: text})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// said is the text of a task's status.
func said(r task.Record) string { return r.Task.Status.Message.Parts[0].Text() }

// A cancel names the calls that have begun and have no result, and no other.
func TestCancelNamesCallsThatMayHaveHappened(t *testing.T) {
	w := newWorld(t)
	r := w.calling(time.Minute)
	w.result(r, 1)
	if got := w.call(t, "CancelTask", byID(r.ID())); got.Error != nil {
		t.Fatalf("%s", got.body)
	}
	want := "The task was canceled by its client. These calls had begun, and may have happened: mail (key " + r.CallKey(1, 2) + ")."
	if got := said(w.Load(r.ID())); got != want {
		t.Errorf("the status says %q, want %q", got, want)
	}
}

// values is a store that counts its reads, and may fail.
type values struct {
	kv.Store
	n   int
	err error
}

func (s *values) Get(ctx context.Context, key string) (kv.Entry, error) {
	s.n++
	if s.err != nil {
		return kv.Entry{}, s.err
	}
	return s.Store.Get(ctx, key)
}

// Results are read once, and only if a call has begun. A cancel does not depend on them: without
// them it names all calls that have begun.
func TestCancelReadsResultsOnce(t *testing.T) {
	for name, row := range map[string]struct {
		err   error
		names []string
	}{"read": {nil, []string{"mail"}}, "not read": {errors.New("out of order"), []string{"refund", "mail"}}} {
		t.Run(name, func(t *testing.T) {
			var store *values
			w := newWorld(t, func(c *front.Config) {
				store = &values{Store: c.KV, err: row.err}
				c.KV = store
			})
			idle := w.insert(anonymous, "idle", a2a.TaskStateWorking)
			if w.call(t, "CancelTask", byID(idle.ID())); store.n != 0 {
				t.Errorf("%d reads for a task without calls", store.n)
			}

			r := w.calling(time.Minute)
			w.result(r, 1)
			w.call(t, "CancelTask", byID(r.ID()))
			got := said(w.Load(r.ID()))
			if store.n != 1 || strings.Count(got, "(key ") != len(row.names) {
				t.Errorf("%d reads, and the status says %q", store.n, got)
			}
			for _, tool := range row.names {
				if !strings.Contains(got, tool+" (key ") {
					t.Errorf("the status says %q, want %s in it", got, tool)
				}
			}
		})
	}
}

// A cancel that meets a call begun less than 5 s ago is committed at once, and answered when these
// 5 s are over. So is a repeated one, and other requests are answered meanwhile.
func TestCancelWaitsForCallsThatMayBegin(t *testing.T) {
	w := newWorld(t)
	r := w.calling(task.BeginWithin - time.Second)
	over := r.BeginsUntil()
	first, second := make(chan reply), make(chan reply)
	at := make(chan time.Time, 2)
	cancel := func(to chan reply) {
		got := w.call(t, "CancelTask", byID(r.ID()))
		at <- time.Now()
		to <- got
	}

	go cancel(first)
	for w.Load(r.ID()).State() != a2a.TaskStateCanceled {
		time.Sleep(time.Millisecond)
	}
	go cancel(second)
	if got := w.call(t, "GetTask", byID(r.ID())).task(); got.Status.State != "TASK_STATE_CANCELED" {
		t.Errorf("another request finds the task %s", got.Status.State)
	}

	one, two := <-first, <-second
	for range 2 {
		// The world's clock may be a few milliseconds ahead of the real one.
		if answered := <-at; answered.Before(over.Add(-100 * time.Millisecond)) {
			t.Errorf("answered %v before the 5 s were over", over.Sub(answered))
		}
	}
	if one.Error != nil || two.code() != -32002 {
		t.Errorf("answers: %s and %s", one.body, two.body)
	}
}

// A client that goes away while its cancel waits changes nothing: the task is canceled.
func TestCancelOfAClientThatLeaves(t *testing.T) {
	w := newWorld(t)
	r := w.calling(0)
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		req := newRequest("POST", "/", `{"jsonrpc":"2.0","id":1,"method":"CancelTask","params":`+byID(r.ID())+`}`).WithContext(ctx)
		w.do(t, req)
	}()
	for w.Load(r.ID()).State() != a2a.TaskStateCanceled {
		time.Sleep(time.Millisecond)
	}
	leave()
	<-gone
	if got := said(w.Load(r.ID())); !strings.Contains(got, "refund (key ") {
		t.Errorf("the status says %q", got)
	}
}
