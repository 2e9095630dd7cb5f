package main_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/standin"
	"errand/shared/auth"
)

// A slowModel answers a message that begins with "slow" when release is closed, and every
// other one at once.
type slowModel struct {
	*httptest.Server
	began   chan string // text of each message that it is asked
	release chan struct{}
}

func newSlowModel(t *testing.T) *slowModel {
	m := &slowModel{began: make(chan string, 1000), release: make(chan struct{})}
	m.Server = httptest.NewServer(standin.New(func(ctx context.Context, r standin.Request) standin.Reply {
		if r.Op != standin.OpStream && r.Op != standin.OpGenerate {
			return standin.Reply{}
		}
		text := r.Contents[len(r.Contents)-1].Parts[0].Text
		m.began <- text
		if strings.HasPrefix(text, "slow") {
			select {
			case <-m.release:
			case <-ctx.Done():
			}
		}
		return standin.Text("answer to " + text)
	}))
	t.Cleanup(m.Close)
	return m
}

// await waits until the model is asked n messages.
func (m *slowModel) await(t *testing.T, n int) (texts []string) {
	t.Helper()
	for end := time.After(patience); len(texts) < n; {
		select {
		case text := <-m.began:
			texts = append(texts, text)
		case <-end:
			t.Fatalf("the model was asked %q, want %d messages", texts, n)
		}
	}
	return texts
}

// Two deaths of the process under eight tasks make none of them a reason for another owner to
// wait: that owner's new task begins and ends while all eight are still running or waiting.
// In the end all eight complete.
func TestKilledUnderSlowTasksStopsNoOtherOwner(t *testing.T) {
	t.Parallel()
	mine, hash := auth.NewKey()
	other, otherHash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	text := fmt.Sprintf("principals:\n  - {name: busy, keys: ['%s']}\n  - {name: other, keys: ['%s']}\n", hash, otherHash)
	if err := os.WriteFile(access, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	model := newSlowModel(t)
	p := start(t, "ERRAND_ACCESS="+access, "GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:m@"+model.URL)
	busy, quiet := keyed(t, p, mine), keyed(t, p, other)

	const tasks, atOnce = 8, 4
	var ids []a2a.TaskID
	for i := range tasks {
		ids = append(ids, mustSend(t, busy, immediately(userText(fmt.Sprint("s", i), fmt.Sprint("slow ", i)))).ID)
	}

	model.await(t, tasks)
	p.kill()
	p.start()
	model.await(t, atOnce) // a worker died under all of them, so few run at once
	p.kill()
	p.start()
	model.await(t, atOnce) // the others

	began := time.Now()
	id := mustSend(t, quiet, immediately(userText("q", "quick"))).ID
	for asked := ""; asked != "quick"; {
		asked = model.await(t, 1)[0]
	}
	took := time.Since(began)
	if task := until(t, quiet, id, "terminal", terminal); task.Status.State != a2a.TaskStateCompleted {
		t.Errorf("the other owner's task is %s", task.Status.State)
	}

	t.Logf("the other owner's task began %v after it was sent", took.Round(time.Millisecond))
	for _, id := range ids {
		if task, err := busy.GetTask(t.Context(), &a2a.GetTaskRequest{ID: id}); err != nil || terminal(task) {
			t.Errorf("a slow task has ended already: %+v, %v", task, err)
		}
	}

	close(model.release)
	for _, id := range ids {
		if task := until(t, busy, id, "terminal", terminal); task.Status.State != a2a.TaskStateCompleted {
			t.Errorf("task %s is %s: %+v", id, task.Status.State, task.Status.Message)
		}
	}
}
