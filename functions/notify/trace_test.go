package notify_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/functions/notify"
	"errand/shared/adapters/local"
	"errand/shared/bus"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/task"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// The log lines of an event carry its trace, and those of a job the id of its request.
func TestLogLinesCarryTheTrace(t *testing.T) {
	w := newWorld(t)
	var out bytes.Buffer
	w.reopen(func(c *notify.Config) { c.Log = serve.NewCloudLog(&out, "project") })
	body, err := json.Marshal(bus.Push{Message: bus.Message{Attributes: bus.Event{Task: "unknown", Notification: 1, Trace: trace, Time: time.Now()}}})
	if err != nil {
		t.Fatal(err)
	}

	w.post(t.Context(), bus.PathEvents, string(body))
	if !strings.Contains(out.String(), "projects/project/traces/"+trace[3:35]) {
		t.Errorf("the lines of the event are without its trace: %s", out.String())
	}

	out.Reset()
	w.Jobs.Keep()
	w.client.on(urlA, answers(500))
	w.accept("t1", task.Webhook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "")
	job := httptest.NewRequest(http.MethodPost, queue.PathDeliver, bytes.NewReader(queue.Job{Task: "t1"}.Body()))
	serve.Identified(w.mux).ServeHTTP(httptest.NewRecorder(), job)
	if !strings.Contains(out.String(), `"a webhook failed"`) || !strings.Contains(out.String(), `"request":`) {
		t.Errorf("the lines of the job are without its request: %s", out.String())
	}
}

// The job continues the trace of the event, not that of the push.
func TestJobGoesOnInTheTraceOfTheEvent(t *testing.T) {
	w := newWorld(t)
	if err := w.Queue.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1)
	w.Queue = local.NewQueue(local.QueueConfig{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get(serve.HeaderTrace)
	})})
	w.Jobs.Pass(w.Queue)
	w.accept("t1", task.Webhook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "")
	body, err := json.Marshal(bus.Push{Message: bus.Message{Attributes: bus.Event{Task: "t1", Notification: 1, Trace: trace, Time: time.Now()}}})
	if err != nil {
		t.Fatal(err)
	}
	if code := w.post(t.Context(), bus.PathEvents, string(body)); code != http.StatusNoContent {
		t.Fatalf("the event was answered with %d", code)
	}
	if got := <-seen; got != trace {
		t.Errorf("the job has traceparent %q, want %q", got, trace)
	}
}
