package webhook_test

import (
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
	"errand/shared/webhook"
)

// oneNotification is a completed task with one notification at the given time and one webhook behind it.
func oneNotification(at time.Time) task.Record {
	return task.Record{
		Owner:         owner,
		Seq:           1,
		Task:          &a2a.Task{ID: "t1", ContextID: "c1", Status: a2a.TaskStatus{State: a2a.TaskStateCompleted, Timestamp: &at}},
		Notifications: []task.Notification{{At: at, Seq: 1, State: a2a.TaskStateCompleted}},
		Webhooks:      []task.Webhook{{ID: "h", Gen: 1, URL: hook, State: task.WebhookActive, Since: at, Next: at}},
	}
}

// One decision covers each case of an answer: its class for the log, the state of the host,
// the change to the webhook, and the time at which the webhook comes back.
func TestJudge(t *testing.T) {
	schedule := webhook.Schedule{0, time.Minute}
	now := noon.Add(time.Second)
	timeout := webhook.Answer{Class: webhook.ClassTimeout}

	first := func(*task.Record, *task.Webhook) {}
	last := func(_ *task.Record, h *task.Webhook) { h.Attempt = 1 }
	pinged := func(_ *task.Record, h *task.Webhook) { h.Ping = noon }
	level := func(_ *task.Record, h *task.Webhook) { h.Ping, h.Cursor = noon, 1 }
	behind := func(r *task.Record, h *task.Webhook) { r.Notifications = append(r.Notifications, r.Notifications[0]) }
	over := func(r *task.Record, h *task.Webhook) {
		h.Since, r.Notifications[0].At = noon.Add(-time.Hour), noon.Add(-time.Hour)
	}

	for _, c := range []struct {
		name    string
		edit    func(*task.Record, *task.Webhook)
		answer  webhook.Answer
		result  webhook.Result
		contact webhook.Contact
		change  task.Delivery // without Webhook and Tries
		note    int           // of the attempt that is kept; -1: the attempt does not count
		more    bool
		again   time.Time
	}{
		{name: "accepted", edit: first, answer: webhook.Answer{Status: 204},
			result: webhook.Delivered, contact: webhook.Answered, change: task.Delivery{Sent: 1}, note: 1},
		{name: "accepted, another note follows", edit: behind, answer: webhook.Answer{Status: 200},
			result: webhook.Delivered, contact: webhook.Answered, change: task.Delivery{Sent: 1}, note: 1, more: true},
		{name: "accepted during a shutdown", edit: first, answer: webhook.Answer{Status: 200, Stopped: true},
			result: webhook.Delivered, contact: webhook.Answered, change: task.Delivery{Sent: 1}, note: 1},

		{name: "error status", edit: first, answer: webhook.Answer{Status: 429, RetryAfter: "90"},
			result: webhook.Failed, contact: webhook.Answered, change: task.Delivery{Fail: true, Wait: now.Add(90 * time.Second)}, note: 1},
		{name: "error status, another note follows", edit: behind, answer: webhook.Answer{Status: 429, RetryAfter: "90"},
			result: webhook.Failed, contact: webhook.Answered, change: task.Delivery{Fail: true, Wait: now.Add(90 * time.Second)}, note: 1},
		{name: "no answer to the last attempt", edit: last, answer: timeout,
			result: webhook.GivenUp, contact: webhook.Silent, change: task.Delivery{Fail: true}, note: 1},
		{name: "no answer after twice the schedule", edit: over, answer: timeout,
			result: webhook.GivenUp, contact: webhook.Silent, change: task.Delivery{Fail: true}, note: 1},
		{name: "410", edit: first, answer: webhook.Answer{Status: 410},
			result: webhook.GivenUp, contact: webhook.Answered, change: task.Delivery{Fail: true, Gone: true}, note: 1},
		{name: "no request", edit: last, answer: webhook.Answer{Class: webhook.ClassRequest},
			result: webhook.GivenUp, contact: webhook.NotAsked, change: task.Delivery{Fail: true}, note: 1},
		{name: "refused address", edit: last, answer: webhook.Answer{Class: webhook.ClassRefused},
			result: webhook.GivenUp, contact: webhook.NotAsked, change: task.Delivery{Fail: true}, note: 1},

		{name: "ping accepted, the note follows", edit: pinged, answer: webhook.Answer{Status: 200},
			result: webhook.Pinged, contact: webhook.Answered, change: task.Delivery{Pinged: true}, more: true},
		{name: "ping accepted, no note behind", edit: level, answer: webhook.Answer{Status: 200},
			result: webhook.Pinged, contact: webhook.Answered, change: task.Delivery{Pinged: true}},
		{name: "ping refused", edit: pinged, answer: webhook.Answer{Status: 410},
			result: webhook.Pinged, contact: webhook.Answered, change: task.Delivery{Pinged: true}},
		{name: "ping without an answer", edit: pinged, answer: timeout,
			result: webhook.Pinged, contact: webhook.Silent, change: task.Delivery{Pinged: true}},

		{name: "shutdown", edit: first, answer: webhook.Answer{Class: webhook.ClassTimeout, Stopped: true},
			result: webhook.Stopped, note: -1, again: now},
		{name: "shutdown during a refusal", edit: pinged, answer: webhook.Answer{Status: 500, Stopped: true},
			result: webhook.Stopped, note: -1, again: now},
		{name: "no keys", edit: first, answer: webhook.Answer{Class: webhook.ClassKeys},
			result: webhook.Unsigned, note: -1},
	} {
		r := oneNotification(noon)
		h := r.Webhooks[0]
		c.edit(&r, &h)

		want := webhook.Verdict{Result: c.result, Contact: c.contact, After: h, More: c.more, Again: c.again}
		if c.note >= 0 {
			want.Delivery = c.change
			want.Webhook = h
			want.Tries = []task.Try{{At: now, Notification: c.note, Status: c.answer.Status, Error: c.answer.Class}}
			want.After = h.After(now, want.Delivery)
		}

		got := webhook.Judge(r, h, c.answer, schedule, now)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if got.Counts() != (c.note >= 0) {
			t.Errorf("%s: Counts() = %v", c.name, got.Counts())
		}
	}
}
