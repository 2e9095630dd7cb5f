package notify_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	legacy "github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/queue"
	"errand/shared/task"
)

// decode reads a notification.
func decode(t *testing.T, r io.Reader) a2a.StreamResponse {
	t.Helper()
	var got a2a.StreamResponse
	if err := json.NewDecoder(r).Decode(&got); err != nil {
		t.Error(err)
	}
	return got
}

// jobBody is the body of a task's delivery job.
func jobBody(id string) io.ReadCloser {
	return io.NopCloser(bytes.NewReader(queue.Job{Task: id}.Body()))
}

// describe is a short form of a notification, for comparison.
func describe(t *testing.T, body string) string {
	t.Helper()
	switch e := decode(t, strings.NewReader(body)).Event.(type) {
	case *a2a.Task:
		out := "task " + string(e.Status.State)
		for _, a := range e.Artifacts {
			out += " " + string(a.ID)
		}
		return out
	case *a2a.TaskArtifactUpdateEvent:
		return "artifact " + string(e.Artifact.ID)
	case *a2a.TaskStatusUpdateEvent:
		out := "status " + string(e.Status.State)
		if m := e.Status.Message; m != nil {
			out += " " + m.Parts[0].Text()
		}
		if id, ok := e.Metadata["artifactId"].(string); ok {
			out += " of " + id
		}
		return out
	}
	return "nothing"
}

// Each kind of notification has its body, and a large one is sent thin.
//
// Shows P8, P16, decision 17.
func TestBodiesOfNotifications(t *testing.T) {
	h := task.Webhook{ID: "h", URL: urlA}
	long := strings.Repeat("x", 300_000)
	for _, c := range []struct {
		name string
		do   func(w *world)
		want []string
	}{
		{"artifact, then state", func(w *world) {
			w.accept("t1", h)
			w.finish("t1", a2a.TaskStateCompleted, "done", "a", "x")
			w.deliver("t1")
		}, []string{"artifact a", "status TASK_STATE_COMPLETED done"}},
		{"first of all a state: the state", func(w *world) {
			w.accept("t1", h)
			w.finish("t1", a2a.TaskStateFailed, "no")
			w.deliver("t1")
		}, []string{"status TASK_STATE_FAILED no"}},
		{"hook after the end: the task with its result", func(w *world) {
			w.accept("t1")
			w.finish("t1", a2a.TaskStateCompleted, "", "a", "x", "b", "y")
			w.setWebhook("t1", h)
			w.deliver("t1")
		}, []string{"task TASK_STATE_COMPLETED a b"}},
		{"the same after failures", func(w *world) {
			w.accept("t1")
			w.finish("t1", a2a.TaskStateCompleted, "", "a", "x")
			w.setWebhook("t1", h)
			w.failed("t1", 9)
			w.deliver("t1")
		}, []string{"task TASK_STATE_COMPLETED a"}},
		{"question and answer", func(w *world) {
			w.accept("t1", h)
			w.finish("t1", a2a.TaskStateInputRequired, "which?")
			w.deliver("t1")
			w.answer("t1", "that")
			w.finish("t1", a2a.TaskStateCompleted, "done")
			w.deliver("t1")
		}, []string{"status TASK_STATE_INPUT_REQUIRED which?", "status TASK_STATE_COMPLETED done"}},
		{"a state that has passed", func(w *world) {
			w.accept("t1", h)
			w.finish("t1", a2a.TaskStateInputRequired, "which?")
			w.answer("t1", "that")
			w.finish("t1", a2a.TaskStateCompleted, "")
			w.deliver("t1")
		}, []string{"status TASK_STATE_INPUT_REQUIRED which?", "status TASK_STATE_COMPLETED"}},
		{"large artifact: thin", func(w *world) {
			w.accept("t1", h)
			w.finish("t1", a2a.TaskStateCompleted, "", "a", long)
			w.deliver("t1")
		}, []string{"status TASK_STATE_COMPLETED of a", "status TASK_STATE_COMPLETED"}},
		{"large task: thin", func(w *world) {
			w.accept("t1")
			w.finish("t1", a2a.TaskStateCompleted, "done", "a", long)
			w.setWebhook("t1", h)
			w.deliver("t1")
		}, []string{"status TASK_STATE_COMPLETED done"}},
		{"large message: its beginning", func(w *world) {
			w.accept("t1", h)
			w.finish("t1", a2a.TaskStateCompleted, long)
			w.deliver("t1")
		}, []string{"status TASK_STATE_COMPLETED " + long[:256]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.Jobs.Keep()
			c.do(w)
			var got []string

			for _, one := range w.client.calls("") {
				if len(one.body) > 256<<10 {
					t.Errorf("a body of %d bytes", len(one.body))
				}
				got = append(got, describe(t, one.body))
			}

			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("bodies (-want +got):\n%s", diff)
			}
		})
	}
}

// The times of a status are the task's, in UTC.
func TestBodyTimes(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	w.accept("t1", task.Webhook{ID: "h", URL: urlA})
	r := w.finish("t1", a2a.TaskStateCompleted, "", "a", strings.Repeat("x", 300_000))
	w.deliver("t1")
	for _, one := range w.client.calls("") {
		e := decode(t, strings.NewReader(one.body)).Event.(*a2a.TaskStatusUpdateEvent)
		if !e.Status.Timestamp.Equal(r.Stamp()) || e.Status.Timestamp.Location() != time.UTC {
			t.Errorf("%s has time %v, want %v", one.id, e.Status.Timestamp, r.Stamp())
		}
	}
}

// In 0.3 a ping carries the task's state. A message that is too large is left out.
func TestPingOf03IsBounded(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	w.accept("t1", task.Webhook{ID: "h", URL: urlA, Dialect: "0.3"})
	w.finish("t1", a2a.TaskStateCompleted, strings.Repeat("x", 300_000))
	w.deliver("t1")
	w.askPing("t1")
	w.deliver("t1")
	calls := w.client.calls(urlA)
	last := calls[len(calls)-1]
	if !strings.HasPrefix(last.id, "t1/ping-") || len(last.body) > 256<<10 || !strings.Contains(last.body, `"completed"`) {
		t.Errorf("%s has a body of %d bytes: %.200s", last.id, len(last.body), last.body)
	}
}

// A webhook that was made in 0.3 receives the bare task. The task is complete if it still has
// the state of the notification.
//
// Shows P22.
func TestBodiesOf03(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	w.accept("t1", task.Webhook{ID: "h", URL: urlA, Dialect: "0.3"})
	w.finish("t1", a2a.TaskStateInputRequired, "which?", "a", "x")
	w.answer("t1", "that")
	w.finish("t1", a2a.TaskStateCompleted, "done", "b", "y")
	w.deliver("t1")
	var got []string

	for _, one := range w.client.calls("") {
		if kind := one.header.Get("Content-Type"); kind != "application/json" {
			t.Errorf("Content-Type is %q", kind)
		}

		e, err := legacy.UnmarshalEventJSON([]byte(one.body))
		if err != nil {
			t.Fatalf("%v: %s", err, one.body)
		}

		told, ok := e.(*legacy.Task)
		if !ok {
			t.Fatalf("told a %T", e)
		}

		line := string(told.Status.State)
		for _, a := range told.Artifacts {
			line += " " + string(a.ID)
		}

		got = append(got, line)
	}

	want := []string{"completed a b", "input-required", "completed a b", "completed a b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}
