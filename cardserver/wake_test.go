package main_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	"errand/shared/lab/scripts"
)

// A tool passes its wake URL on and waits. All programs are replaced meanwhile, and a POST to the
// URL then ends the wait. The call begins again, and the task has its answer.
func TestWaitingCallIsWokenAfterADeployment(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		asked, ready := make(chan string, 100), atomic.Bool{}
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.URL.Query().Get("wake")
			if ready.Load() {
				_, _ = io.WriteString(w, "ready")
			}
		}))
		t.Cleanup(service.Close)

		script := scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
			for _, c := range r.Contents {
				for _, part := range c.Parts {
					if part.FunctionResponse != nil {
						return standin.Text("It is ready.")
					}
				}
			}
			return standin.Call(&genai.FunctionCall{Name: "await"})
		})
		model := httptest.NewServer(standin.New(script.Answer))
		t.Cleanup(model.Close)
		definition := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(definition, []byte(strings.Replace(ownDefinition, "[report]", "[await]", 1)), 0o600); err != nil {
			t.Fatal(err)
		}

		p := start(t, "ERRAND_AGENT="+definition, "GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:m@"+model.URL,
			"ERRAND_SETTING_SERVICE="+service.URL, "ERRAND_SECRET_SERVICE_TOKEN=token", "ERRAND_AGENT_ALLOW="+strings.TrimPrefix(service.URL, "http://"))
		id := mustSend(t, p.client(), immediately(userText("m1", "Wait!"))).ID
		url := <-asked
		if !strings.HasPrefix(url, p.url()+"/wake/"+string(id)+"/") {
			t.Fatalf("the tool passes %q on", url)
		}

		awaitTask(t, p.client(), id, func(task *a2a.Task) bool {
			m := task.Status.Message
			return m != nil && strings.Contains(m.Parts[0].Text(), "waiting")
		})
		p.stop()
		p.start()
		ready.Store(true)
		if status := posted(t, url+"x"); status != http.StatusNotFound {
			t.Errorf("a forged URL is answered %d", status)
		}
		for range 2 {
			if status := posted(t, url); status != http.StatusNoContent {
				t.Errorf("the URL is answered %d", status)
			}
		}

		task := awaitTask(t, p.client(), id, func(task *a2a.Task) bool { return task.Status.State.Terminal() })
		if task.Status.State != a2a.TaskStateCompleted || text(task) != "It is ready." {
			t.Errorf("the task is %s and says %q", task.Status.State, text(task))
		}
		if again := <-asked; again != url {
			t.Errorf("the call that began again has the URL %s, want %s", again, url)
		}
		if status := posted(t, url); status != http.StatusNoContent {
			t.Errorf("afterwards the URL is answered %d", status)
		}
	})
}

// awaitTask reads a task until it is as wanted.
func awaitTask(t *testing.T, c operations, id a2a.TaskID, wanted func(*a2a.Task) bool) *a2a.Task {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		task, err := c.GetTask(t.Context(), &a2a.GetTaskRequest{ID: id})
		if err == nil && wanted(task) {
			return task
		}
		if time.Now().After(end) {
			t.Fatalf("the task is %+v, %v", task, err)
		}
	}
}

func posted(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Post(url, "", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
