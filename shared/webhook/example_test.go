package webhook_test

import (
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/keys"
	"errand/shared/task"
	"errand/shared/webhook"
)

// A courier prepares a request, sends it, and lets Judge decide about the answer. Here the
// receiver refuses the note of a finished task, which is then sent again.
func Example() {
	now := time.Now()
	text, _ := keys.Generate("", now)
	ring, _ := keys.Parse(text)
	r := task.Record{
		Task:          &a2a.Task{ID: "t1", ContextID: "c1", Status: a2a.TaskStatus{State: a2a.TaskStateCompleted}},
		Notifications: []task.Notification{{At: now, Seq: 1, State: a2a.TaskStateCompleted}},
		Webhooks:      []task.Webhook{{ID: "h", URL: "https://hooks.example.com/a2a", State: task.WebhookActive, Since: now}},
	}

	req, err := webhook.Prepare(ring, "https://agent.example.com", now, r, r.Webhooks[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("POST", req.URL, req.Header.Get("Webhook-Id"))

	schedule := webhook.Schedule{0, time.Minute} // a shorter one than Standard
	verdict := webhook.Judge(r, r.Webhooks[0], webhook.Answer{Status: 503, RetryAfter: "90"}, schedule, now)
	fmt.Println(verdict.Result, "and is due in", verdict.After.Next.Sub(now))
	// Output:
	// POST https://hooks.example.com/a2a t1/1
	// a webhook failed and is due in 1m30s
}
