package task_test

import (
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A record goes from its first message to its end. Each transition returns a changed copy,
// which a program commits to a Store, most often by Update.
func Example() {
	now := task.Defaults().At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("Hello"))
	r, err := task.Accept(now, task.Acceptance{
		ID: "t1", Context: "c1", Owner: "acme/ci", Lane: task.Turns, Message: message,
		Request: task.Request{ID: message.ID, Fingerprint: "1:fingerprint"},
	})

	if err != nil {
		fmt.Println(err)
		return
	}

	fmt.Println(r.State(), "and a job is due in the lane", r.Owed(now, now.Now)[0].Lane)

	r, verdict, _, err := r.Claim(now, task.Claim{Lease: task.Lease{Until: now.Now.Add(time.Minute), Nonce: "worker 1"}})
	if err != nil || verdict != task.Claimed {
		fmt.Println(verdict, err)
		return
	}

	fmt.Println(r.State(), "in epoch", r.Epoch)

	r, _, err = r.Finish(now, task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Outcome{State: a2a.TaskStateCompleted})
	fmt.Println(r.State(), "with", len(r.Notifications), "notification to publish,", err)
	// Output:
	// TASK_STATE_SUBMITTED and a job is due in the lane turns
	// TASK_STATE_WORKING in epoch 1
	// TASK_STATE_COMPLETED with 1 notification to publish, <nil>
}
