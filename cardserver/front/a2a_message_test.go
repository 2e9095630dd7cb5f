package front_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/front"
	"errand/shared/desk"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

// refused sends a request that must be refused with a code and, for params, a field, and
// must change nothing.
func (w *world) refused(t testing.TB, operation, params string, code int, field string) reply {
	t.Helper()
	before := w.versions(t)
	got := w.call(t, operation, params)
	if got.code() != code || field != "" && got.field() != field {
		t.Errorf("%s %.300s is answered %d %s, want %d and field %q", operation, params, got.status, got.body, code, field)
	}
	if after := w.versions(t); !maps.Equal(before, after) {
		t.Errorf("%s %.300s was refused and changed the store", operation, params)
	}
	return got
}

// Shows M1.
func TestAnswerIsOneTask(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		w.work(w.answer)
		for _, immediately := range []string{"false", "true"} {
			got := into[map[string]json.RawMessage](w.call(t, send, configured(message(immediately, ""), `"returnImmediately":`+immediately)))
			if keys := slices.Collect(maps.Keys(got)); !slices.Equal(keys, []string{"task"}) {
				t.Errorf("returnImmediately %s: answered with %v", immediately, keys)
			}
		}
	})
}

// The flag changes nothing but the answer of SendMessage: a stream goes on to its end, and a
// webhook is kept and called.
//
// Shows M5, P15.
func TestReturnImmediatelyChangesNothingElse(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		for _, flag := range []string{"true", "false"} {
			w := b.world(t)
			s := w.open(streaming, configured(message("m", ""), `"returnImmediately":`+flag+`,"taskPushNotificationConfig":{"url":"`+hookURL+`"}`), nil)
			s.await(t, 1)
			id := w.onlyTask(t)
			w.answer(id)
			want := []string{"task SUBMITTED", "WORKING", "artifact the answer", "COMPLETED"}
			if diff := cmp.Diff(want, s.ended(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", flag, diff)
			}
			if r := w.Load(id); len(r.Behind(w.now())) != 1 || len(r.Notifications) != 2 {
				t.Errorf("%s: hooks %+v are to be told %+v", flag, r.Webhooks, r.Notifications)
			}
		}
	})
}

// A client that does not wait for its answer does not stop the work.
//
// Shows M6.
func TestWorkGoesOnWithoutItsClient(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		asked := make(chan string, 1)
		w.work(func(id string) { asked <- id })
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.ServeHTTP(httptest.NewRecorder(), b.request(send, `{"message":`+message("m", "")+`}`).WithContext(ctx))
		}()
		id := <-asked
		leave()
		<-done
		w.answer(id)
		if got := w.call(t, "GetTask", byID(id)).task(); got.Status.State != "TASK_STATE_COMPLETED" || len(got.Artifacts) != 1 {
			t.Errorf("the task is %+v", got)
		}
	})
}

// A client cannot choose the id of a new task.
//
// Shows M12.
func TestUnknownTasksAreNotMade(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		for _, id := range []string{"my-own-id", "abcdefghijklmnopqrstuvwxyz", "a:cancel"} {
			w.refused(t, send, sending(message("m", `"taskId":"`+id+`"`)), -32001, "")
			w.refused(t, streaming, sending(message("m", `"taskId":"`+id+`"`)), -32001, "")
		}
	})
}

// A task that waits for an authorization says for which one, and takes messages meanwhile.
//
// Shows M21, M22.
func TestAuthRequired(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateAuthRequired).ID()
		got := w.call(t, "GetTask", byID(id)).task()
		if got.Status.State != "TASK_STATE_AUTH_REQUIRED" || got.Status.Message == nil || got.Status.Message.Parts[0].Text == "" {
			t.Errorf("the task is %+v", got)
		}
		got = w.call(t, send, sending(message("rather not", `"taskId":"`+id+`"`))).task()
		if got.Status.State != "TASK_STATE_SUBMITTED" || len(got.History) != 3 {
			t.Errorf("after a message the task is %+v", got)
		}
	})
}

// A repeated message is the same task in every operation: a wait goes on and a stream
// resumes. Another message with its id is refused.
//
// Shows M25, decision 3.
func TestSameMessageIsTheSameTask(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		first := w.call(t, send, sending(message("m", ""))).task()
		if again := w.call(t, send, sending(message("m", ""))).task(); !cmp.Equal(first, again) {
			t.Errorf("the same message again: %s", cmp.Diff(first, again))
		}

		s := w.open(streaming, `{"message":`+message("m", "")+`}`, nil)
		s.await(t, 1)
		waiting := make(chan reply)
		go func() { waiting <- w.call(t, send, `{"message":`+message("m", "")+`}`) }()
		w.end(w.claim(first.ID), a2a.TaskStateInputRequired)
		if got := (<-waiting).task(); got.ID != first.ID || got.Status.State != "TASK_STATE_INPUT_REQUIRED" {
			t.Errorf("the waiting send is answered with %+v", got)
		}
		if diff := cmp.Diff([]string{"task SUBMITTED", "WORKING", "INPUT_REQUIRED"}, s.ended(t)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}

		followUp := sending(message("f", `"taskId":"`+first.ID+`"`))
		one := w.call(t, send, followUp).task()
		if two := w.call(t, send, followUp).task(); !cmp.Equal(one, two) || len(two.History) != 3 {
			t.Errorf("the same follow-up again: %+v", two)
		}

		for _, m := range []string{message("m", `"parts":[{"text":"other"}]`), message("f", `"taskId":"`+first.ID+`","parts":[{"text":"other"}]`)} {
			w.refused(t, send, sending(m), -32602, "message.messageId")
		}
	})
}

// The answer to a repeated message says how a task is run again that ended without success. A task that succeeded needs none of that, and reading it says nothing of it.
func TestRepeatedMessageNamesTheRerun(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		for state, want := range map[a2a.TaskState]bool{a2a.TaskStateFailed: true, a2a.TaskStateRejected: true, a2a.TaskStateCompleted: false} {
			m := message(string(state), "")
			id := w.call(t, send, sending(m)).task().ID
			w.end(w.claim(id), state)

			hint := "POST /tasks/" + id + ":rerun"
			for _, answer := range []string{w.call(t, send, sending(m)).body, w.call(t, send, `{"message":`+m+`}`).body} {
				if strings.Contains(answer, hint) != want {
					t.Errorf("%s: %s", state, answer)
				}
			}
			if got := w.call(t, "GetTask", byID(id)).body; strings.Contains(got, hint) {
				t.Errorf("%s: read as %s", state, got)
			}
		}
	})
}

// POST /tasks/{id}:rerun is not of A2A.
func TestRerunIsNoOperationOfA2A(t *testing.T) {
	w := newWorld(t, func(c *front.Config) {
		c.Push = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	})
	for path, want := range map[string]bool{"/tasks/x:rerun": true, "/tasks/x/y:rerun": false, "/tenant/tasks/x:rerun": false, "/tasks/x:cancel": false} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, newRequest("POST", path, "{}"))
		if got := rec.Code == http.StatusTeapot; got != want {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

// Where clients reuse ids, a message that is sent twice runs twice.
//
// Shows M25.
func TestClientsThatReuseMessageIDs(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, func(c *front.Config) {
			c.Desk = desk.New(desk.Config{Store: c.Store, Queue: &base.Jobs{}, Rules: task.Defaults(), Now: time.Now, Log: c.Log, Reused: true})
		})
		one, two := w.call(t, send, sending(message("m", ""))).task(), w.call(t, send, sending(message("m", ""))).task()
		other := w.call(t, send, sending(message("m", `"parts":[{"text":"other"}]`))).task()
		if one.ID == two.ID || other.ID == one.ID || other.ID == two.ID {
			t.Errorf("tasks are %s, %s and %s", one.ID, two.ID, other.ID)
		}
		for turn := 2; turn <= 3; turn++ {
			w.end(w.claim(one.ID), a2a.TaskStateInputRequired)
			got := w.call(t, send, sending(message("m", `"taskId":"`+one.ID+`"`))).task()
			if r := w.Load(one.ID); got.Status.State != "TASK_STATE_SUBMITTED" || r.Turn != turn {
				t.Errorf("the answer no. %d: %+v in turn %d", turn-1, got, r.Turn)
			}
		}
	})
}

// A task that has ended does not change. A further message begins another task in its
// context.
//
// Shows M27.
func TestEndedTasksStayAsTheyAre(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		done := w.insert(anonymous, "m", a2a.TaskStateCompleted)
		before := w.call(t, "GetTask", byID(done.ID())).body
		w.refused(t, send, sending(message("more", `"taskId":"`+done.ID()+`"`)), -32004, "")
		more := w.call(t, send, sending(message("more", `"contextId":"`+done.Task.ContextID+`","referenceTaskIds":["`+done.ID()+`"]`))).task()
		if more.ID == done.ID() || more.ContextID != done.Task.ContextID {
			t.Errorf("the refinement is %+v", more)
		}
		w.answer(more.ID)
		if after := w.call(t, "GetTask", byID(done.ID())).body; after != before {
			t.Errorf("the task was %s\nand is %s", before, after)
		}
	})
}

// A message of the agent has the agent's role, and the task and context of its task.
//
// Shows M30.
func TestAgentsMessagesBelongToTheTask(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.talk(t)
		type said struct{ MessageID, Role, TaskID, ContextID string }
		got := into[struct {
			ContextID string
			Status    struct{ Message said }
			History   []said
		}](w.call(t, "GetTask", byID(id)))
		for _, m := range []said{got.Status.Message, got.History[1]} {
			if m.Role != "ROLE_AGENT" || m.TaskID != id || m.ContextID != got.ContextID || m.MessageID == "" {
				t.Errorf("the agent said %+v in context %s", m, got.ContextID)
			}
		}
	})
}

// A task may be rejected before or after work on it, and has then ended.
//
// Shows M31.
func TestTasksMayBeRejected(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		for i, work := range [][]a2a.Event{nil, {chunk("a", "some", false)}} {
			w.work(func(id string) { w.end(w.claim(id), a2a.TaskStateRejected, work...) })
			got := w.call(t, send, `{"message":`+message(fmt.Sprint(i), "")+`}`).task()
			if got.Status.State != "TASK_STATE_REJECTED" || len(got.Artifacts) != len(work) {
				t.Errorf("the task is %+v", got)
			}
			w.refused(t, send, sending(message("more", `"taskId":"`+got.ID+`"`)), -32004, "")
			w.refused(t, "CancelTask", byID(got.ID), -32002, "")
		}
	})
}

// A context with the name of another owner's context is a new one of the caller's, and shows
// nothing of the other.
//
// Shows decision 27.
func TestContextsBelongToTheirOwner(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		theirs := w.insert("other", "m", a2a.TaskStateCompleted)
		context := theirs.Task.ContextID
		got := w.call(t, send, sending(message("mine", `"contextId":"`+context+`","referenceTaskIds":["`+theirs.ID()+`"]`))).task()
		if id, _ := task.Derive(anonymous, "mine"); got.ID != id || got.ContextID != context {
			t.Errorf("accepted as %+v", got)
		}
		if l := w.list(t, `"contextId":"`+context+`","includeArtifacts":true`); !slices.Equal(ids(l.Tasks), []string{got.ID}) || l.TotalSize != 1 {
			t.Errorf("the context holds %+v", l)
		}
	})
}
