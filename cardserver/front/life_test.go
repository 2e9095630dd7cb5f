package front_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/front"
	"errand/shared/task"
)

const send = "SendMessage"

// A blocking send is answered when the task has ended or waits for its client, with all that
// the task has by then.
//
// Shows M2, M3.
func TestBlockingSendWaits(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		for _, state := range []a2a.TaskState{
			a2a.TaskStateCompleted, a2a.TaskStateFailed, a2a.TaskStateRejected, a2a.TaskStateCanceled,
			a2a.TaskStateInputRequired, a2a.TaskStateAuthRequired,
		} {
			t.Run(state.String(), func(t *testing.T) {
				w := b.world(t)
				claimed, answered := make(chan task.Record), make(chan reply)
				w.work(func(id string) { claimed <- w.claim(id) })
				go func() { answered <- w.call(t, send, `{"message":`+message("m", "")+`}`) }()
				r := w.say(<-claimed, chunk("a", "the ", false))

				select {
				case got := <-answered:
					t.Fatalf("answered while the task works: %s", got.body)
				case <-time.After(20 * time.Millisecond):
				}

				w.end(r, state, chunk("a", "answer", true))
				got := (<-answered).task()
				if got.Status.State != state.String() || got.Status.Message == nil || got.Status.Timestamp == "" {
					t.Errorf("status is %+v", got.Status)
				}
				if len(got.Artifacts) != 1 || got.Artifacts[0].Parts[0].Text != "the answer" {
					t.Errorf("artifacts are %+v", got.Artifacts)
				}
			})
		}
	})
}

// A blocking send is answered with the task as it is when the longest wait is over.
//
// Shows M2, decision 1.
func TestBlockingSendIsCapped(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, func(c *front.Config) { c.Wait = time.Millisecond })
		if got := w.call(t, send, `{"message":`+message("m", "")+`}`).task(); got.Status.State != "TASK_STATE_SUBMITTED" {
			t.Errorf("state is %s, want SUBMITTED", got.Status.State)
		}
	})
}

// An immediate send is answered with the new task, before any work on it.
//
// Shows M4, M12, M14.
func TestImmediateSendReturns(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		one, two := w.call(t, send, sending(message("m1", ""))).task(), w.call(t, send, sending(message("m2", ""))).task()
		if one.Status.State != "TASK_STATE_SUBMITTED" || one.ID == "" || one.ContextID == "" {
			t.Errorf("task is %+v", one)
		}
		if one.ID == two.ID || one.ContextID == two.ContextID {
			t.Errorf("two messages share a task or a context: %+v, %+v", one, two)
		}
		if again := w.call(t, send, sending(message("m1", ""))).task(); !cmp.Equal(one, again) {
			t.Errorf("M25: the same message again: %s", cmp.Diff(one, again))
		}
	})
}

// talk makes a task whose history has three messages: m, a question, answer.
func (w *world) talk(t testing.TB) string {
	t.Helper()
	id := w.call(t, send, sending(message("m", ""))).task().ID
	w.end(w.claim(id), a2a.TaskStateInputRequired)
	w.call(t, send, sending(message("answer", `"taskId":"`+id+`"`))).task()
	w.end(w.claim(id), a2a.TaskStateCompleted, chunk("a", "the answer", false))
	return id
}

// Every operation with a historyLength answers with at most so many messages, the newest.
//
// Shows M11.
func TestHistoryLengthBoundsTheHistory(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.talk(t)
		repeat := message("answer", `"taskId":"`+id+`"`)

		for _, row := range []struct {
			length string
			want   int // of all but a list
			listed int
		}{
			{"", 3, 0}, {`"historyLength":0`, 0, 0}, {`"historyLength":1`, 1, 1}, {`"historyLength":2`, 2, 2},
			{`"historyLength":3`, 3, 3}, {`"historyLength":2147483647`, 3, 3},
		} {
			and := ""
			if row.length != "" {
				and = "," + row.length
			}

			type page struct {
				Tasks []seen `json:"tasks"`
			}

			for operation, got := range map[string]struct {
				task seen
				want int
			}{
				send:        {w.call(t, send, configured(repeat, `"returnImmediately":true`+and)).task(), row.want},
				"GetTask":   {w.call(t, "GetTask", `{"id":"`+id+`"`+and+`}`).task(), row.want},
				"ListTasks": {into[page](w.call(t, "ListTasks", "{"+row.length+"}")).Tasks[0], row.listed},
			} {
				h := got.task.History
				if len(h) != got.want || len(h) > 0 && h[len(h)-1].MessageID != "answer" {
					t.Errorf("%s %s: history is %+v, want the newest %d", operation, row.length, h, got.want)
				}
			}
		}
	})
}

// A context that the client names is kept or refused, never replaced. The context of a task
// is inferred, and may be repeated.
//
// Shows M15, M16, M17.
func TestContextsAreKeptOrRefused(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		one := w.call(t, send, sending(message("m1", `"contextId":"my context"`))).task()
		two := w.call(t, send, sending(message("m2", `"contextId":"my context"`))).task()
		if one.ContextID != "my context" || two.ContextID != "my context" || one.ID == two.ID {
			t.Errorf("tasks are %+v and %+v, want two of one context", one, two)
		}

		for i, fields := range []string{"", `,"contextId":"my context"`} {
			got := w.call(t, send, sending(message(fmt.Sprint("f", i), `"taskId":"`+one.ID+`"`+fields))).task()
			if got.ID != one.ID || got.ContextID != "my context" {
				t.Errorf("a follow-up with {%s} is answered with %+v", fields, got)
			}
		}

		before := w.versions(t)
		for _, fields := range []string{
			`"taskId":"` + one.ID + `","contextId":"another"`, `"contextId":"` + strings.Repeat("x", 257) + `"`, `"contextId":" "`,
		} {
			if got := w.call(t, send, sending(message("m4", fields))); got.code() != -32602 || got.field() != "message.contextId" {
				t.Errorf("{%s} is answered %s", fields, got.body)
			}
		}

		if after := w.versions(t); !maps.Equal(before, after) {
			t.Errorf("what was refused changed the store: %v, before %v", after, before)
		}
	})
}

// A question is answered in the same task. A task that has ended takes no more messages.
//
// Shows M13, M19.
func TestAnswersContinueATask(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.call(t, send, sending(message("m", ""))).task().ID
		w.end(w.claim(id), a2a.TaskStateInputRequired)
		w.work(w.answer)
		got := w.call(t, send, `{"message":`+message("answer", `"taskId":"`+id+`","parts":[{"text":"blue"}]`)+`}`).task()
		var history []string
		for _, m := range got.History {
			history = append(history, m.Parts[0].Text)
		}
		if diff := cmp.Diff([]string{"hi", "it is TASK_STATE_INPUT_REQUIRED", "blue"}, history); diff != "" || got.Status.State != "TASK_STATE_COMPLETED" {
			t.Errorf("state is %s, history (-want +got):\n%s", got.Status.State, diff)
		}
		if got := w.call(t, send, sending(message("more", `"taskId":"`+id+`"`))); got.code() != -32004 {
			t.Errorf("M13: a message to a task that has ended: %s", got.body)
		}
		if got := w.call(t, send, sending(message("answer", `"taskId":"`+id+`","parts":[{"text":"blue"}]`))); got.code() != 0 {
			t.Errorf("the same answer again: %s", got.body)
		}
	})
}

// Messages to a running task wait at the end of its history, and their number is bounded.
//
// Shows M20, decision 11.
func TestMessagesToARunningTaskWait(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateWorking).ID()
		room := task.Defaults().Inbox
		for i := range room {
			got := w.call(t, send, sending(message(fmt.Sprint("f", i), `"taskId":"`+id+`"`))).task()
			if n := len(got.History); n != i+2 || got.History[n-1].MessageID != fmt.Sprint("f", i) {
				t.Fatalf("history is %+v", got.History)
			}
		}
		if got := w.call(t, send, sending(message("over", `"taskId":"`+id+`"`))); got.code() != -32004 {
			t.Errorf("one message too many: %s", got.body)
		}
	})
}

// A cancel ends the task at once, and nothing changes the task after that.
//
// Shows C1, C4, C5.
func TestCancelEndsTheTask(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		asked := make(chan string, 9)
		w.work(func(id string) { asked <- id })
		running := w.insert(anonymous, "m", a2a.TaskStateWorking)
		got := w.call(t, "CancelTask", `{"id":"`+running.ID()+`","metadata":{"why":"late"}}`)
		if task := got.task(); task.Status.State != "TASK_STATE_CANCELED" || task.Status.Message == nil {
			t.Errorf("task is %+v", task)
		}
		if meta := w.Load(running.ID()).Task.Metadata; meta["why"] != "late" {
			t.Errorf("C4: metadata is %v", meta)
		}

		if id := <-asked; id != running.ID() { // the job publishes the notification
			t.Errorf("a job for %s was added", id)
		}

		_, err := task.Update(t.Context(), w.Store, running.ID(), func(r task.Record) (task.Record, bool, error) {
			return r.Finish(task.Defaults().At(w.now()), task.Fence{Epoch: running.Epoch, Seq: running.Seq}, nil, task.Outcome{State: a2a.TaskStateCompleted})
		})
		if !errors.Is(err, task.ErrFenced) {
			t.Errorf("C5: a late worker is told %v, want ErrFenced", err)
		}
		if now := w.call(t, "GetTask", byID(running.ID())); string(now.Result) != string(got.Result) {
			t.Errorf("C5: the task is %s, was %s", now.Result, got.Result)
		}
	})
}

// One of many cancels ends the task. The others are answered with the state in which it
// ended.
//
// Shows C2, C3, decision 10.
func TestOneOfManyCancelsWins(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateWorking).ID()
		var all sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}

		for range 100 {
			all.Go(func() {
				got := w.call(t, "CancelTask", byID(id))
				mu.Lock()
				defer mu.Unlock()
				codes[got.code()]++
				if got.Error == nil {
					return
				}
				if meta, _ := got.Error.Data[0]["metadata"].(map[string]any); meta["state"] != "TASK_STATE_CANCELED" {
					t.Errorf("refused with %s", got.body)
				}
			})
		}

		all.Wait()
		if diff := cmp.Diff(map[int]int{0: 1, -32002: 99}, codes); diff != "" {
			t.Errorf("answers by code (-want +got):\n%s", diff)
		}
	})
}
