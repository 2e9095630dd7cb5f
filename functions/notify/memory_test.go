package notify_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/functions/notify"
	"errand/shared/memory"
	"errand/shared/task"
)

// While other passes hold the memory, the webhook of a large task is tried later, and that
// is no attempt at it. The webhook of a small task is sent all the same.
func TestLargeDeliveriesWaitForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		pool := memory.Sized(400_000)
		w.reopen(func(c *notify.Config) { c.Memory = pool })
		w.knows(urlA, urlB)
		w.client.on(urlA, answers(http.StatusOK))
		w.client.on(urlB, answers(http.StatusOK))

		others := pool.Charge("")
		if err := others.Take(400_000); err != nil {
			t.Fatal(err)
		}

		w.accept("large", task.Webhook{ID: "h", URL: urlA})
		w.accept("small", task.Webhook{ID: "h", URL: urlB})
		w.finish("large", a2a.TaskStateCompleted, "", "text", strings.Repeat("x", 50_000))
		w.finish("small", a2a.TaskStateCompleted, "done")
		w.deliver("large")
		w.deliver("small")
		if n := len(w.client.calls(urlA)); n > 0 {
			t.Errorf("the large task's webhook was sent %d times without memory", n)
		}
		if len(w.client.calls(urlB)) == 0 {
			t.Error("the small task's webhook was not sent")
		}
		if h := w.hook("large", "h"); h.Attempt != 0 || h.Cursor != 0 || len(h.Tries) > 0 {
			t.Errorf("a pass without memory left %+v", h)
		}

		others.Settle()
		time.Sleep(10 * time.Second) // a job brings it back
		synctest.Wait()
		if h := w.hook("large", "h"); h.Cursor == 0 {
			t.Errorf("the webhook was not sent after memory was free: %+v", h)
		}
		if err := pool.Charge("").Take(400_000); err != nil {
			t.Errorf("after the passes: %v", err)
		}
	})
}
