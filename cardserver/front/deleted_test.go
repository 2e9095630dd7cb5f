package front_test

import (
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	base "errand/shared/lab/world"
	"errand/shared/task"
)

const notFound = -32001

// forget deletes a task as its owner does.
func (w *world) forget(t testing.TB, id string) {
	t.Helper()
	base.Update(t, w.Store, id, func(r task.Record) (task.Record, bool, error) { return r.Delete(w.Moment()) })
}

// A deleted task is not found by any operation, and its owner reads why. The message that made
// it makes no second one.
func TestDeletedTaskIsNotFound(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.call(t, send, sending(message("m", ""))).task().ID
		w.forget(t, id)
		before := w.versions(t)

		for what, r := range map[string]reply{
			"GetTask":              w.call(t, "GetTask", byID(id)),
			"CancelTask":           w.call(t, "CancelTask", byID(id)),
			"the message again":    w.call(t, send, sending(message("m", ""))),
			"a blocking one":       w.call(t, send, configured(message("m", ""), "")),
			"a message to it":      w.call(t, send, sending(message("n", `"taskId":"`+id+`"`))),
			"its webhooks":         w.call(t, "ListTaskPushNotificationConfigs", `{"taskId":"`+id+`"}`),
			"SubscribeToTask":      w.call(t, subscribe, byID(id)),
			"SendStreamingMessage": w.call(t, streaming, sending(message("m", ""))),
		} {
			if r.code() != notFound || !strings.Contains(r.body, "deleted") {
				t.Errorf("%s: %s", what, r.body)
			}
		}

		other := w.call(t, send, sending(message("m", `"parts":[{"text":"something else"}]`)))
		if other.code() != -32602 || other.field() != "message.messageId" {
			t.Errorf("the id with another content: %s", other.body)
		}
		if list := w.call(t, "ListTasks", "{}"); strings.Contains(list.body, id) || !strings.Contains(list.body, `"totalSize":0`) {
			t.Errorf("ListTasks: %s", list.body)
		}
		if after := w.versions(t); len(after) != len(before) {
			t.Errorf("tasks were %v and are %v", before, after)
		}
	})
}

// Streams and blocking sends end when the task is deleted, and say so.
func TestDeletionEndsStreams(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateWorking).ID()
		s := w.open(subscribe, byID(id), nil)
		s.await(t, 1)
		w.forget(t, id)
		s.over(t)
		if !strings.Contains(s.text(), "deleted") {
			t.Errorf("the client is told %s", s.text())
		}

		claimed, answered := make(chan string), make(chan reply)
		w.work(func(id string) { claimed <- w.claim(id).ID() })
		go func() { answered <- w.call(t, send, `{"message":`+message("n", "")+`}`) }()
		w.forget(t, <-claimed)
		if got := <-answered; got.code() != notFound || !strings.Contains(got.body, "deleted") {
			t.Errorf("the blocking send is answered %s", got.body)
		}
	})
}
