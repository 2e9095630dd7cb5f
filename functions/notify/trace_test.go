package notify_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/local"
	"errand/shared/bus"
	"errand/shared/serve"
	"errand/shared/task"
)

// The trace is in the event: the push has none, or one of its own.
func TestJobGoesOnInTheTraceOfTheEvent(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	w := newWorld(t)
	if err := w.queue.Queue.(*local.Queue).Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1)
	w.queue.Queue = local.NewQueue(local.QueueConfig{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get(serve.HeaderTrace)
	})})
	w.accept("t1", task.Hook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "")
	body, err := json.Marshal(bus.Push{Message: bus.Message{Attributes: bus.Event{Task: "t1", Note: 1, Trace: trace, Time: time.Now()}}})
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
