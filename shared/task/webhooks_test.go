package task_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"errand/shared/task"
)

const hookURL = "https://x.test/hook"

// told is a completed task with two notifications and a webhook, which was set before the first notification.
func told(t *testing.T) task.Record {
	t.Helper()
	r, _, err := accepted(t, "x").SetWebhook(at(0), task.Webhook{ID: "h", URL: hookURL, Sealed: "old"})
	if err != nil {
		t.Fatal(err)
	}
	r = claimed(t, r, at(time.Second), "n")
	r, _, err = r.Finish(at(2*time.Second), turnOf(r), []a2a.Event{artifact("a", false, "x")}, task.Outcome{State: a2a.TaskStateCompleted})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// hookOf is the record's webhook.
func hookOf(t *testing.T, r task.Record) task.Webhook {
	t.Helper()
	h, ok := r.Webhook("h")
	if !ok {
		t.Fatal("the hook is gone")
	}
	return h
}

// delivered applies an outcome to the record's webhook.
func delivered(t *testing.T, r task.Record, m task.Moment, d task.Delivery) task.Record {
	t.Helper()
	d.Webhook = hookOf(t, r)
	next, changed, err := r.Delivered(m, []task.Delivery{d})
	if err != nil || !changed {
		t.Fatalf("Delivered(%+v): changed %v, %v", d, changed, err)
	}
	return next
}

// A webhook whose credentials change keeps its backlog. A webhook that gets another receiver does
// not.
func TestReplacedWebhookIsOwedWhatItWas(t *testing.T) {
	r := delivered(t, told(t), at(3*time.Second), task.Delivery{Sent: 1})
	for _, c := range []struct {
		name   string
		hook   task.Webhook
		before func(task.Record) task.Record
		cursor int
	}{
		{"other credentials", task.Webhook{ID: "h", URL: hookURL, Sealed: "new"}, nil, 1},
		{"other credentials, nothing delivered", task.Webhook{ID: "h", URL: hookURL, Sealed: "new"}, func(task.Record) task.Record { return told(t) }, 0},
		{"another receiver", task.Webhook{ID: "h", URL: hookURL + "/2"}, func(task.Record) task.Record { return told(t) }, 1},
	} {
		r := r
		if c.before != nil {
			r = c.before(r)
		}

		next, changed, err := r.SetWebhook(at(4*time.Second), c.hook)
		if err != nil || !changed {
			t.Fatalf("%s: changed %v, %v", c.name, changed, err)
		}

		owesAnew(t, c.name, r, next, at(4*time.Second), task.Deliveries)
		if h := hookOf(t, next); h.Cursor != c.cursor || h.Snapshot != 2 || h.Gen == hookOf(t, r).Gen {
			t.Errorf("%s: %+v, want cursor %d", c.name, h, c.cursor)
		}
	}
}

// A re-drive sends a dead webhook the notifications behind its cursor, or those from a given notification on.
// Outcomes of attempts that were under way do not count.
func TestRedrive(t *testing.T) {
	dead := delivered(t, told(t), at(3*time.Second), task.Delivery{Sent: 1, Fail: true, Gone: true})
	if h := hookOf(t, dead); h.State != task.WebhookDead || !dead.Due.At.IsZero() {
		t.Fatalf("the hook is %+v, the record due %v", h, dead.Due)
	}

	for from, cursor := range map[int]int{0: 1, 1: 0, 2: 1} {
		r, changed, err := dead.Redrive(at(time.Hour), "h", hookOf(t, dead).Gen, from)
		if err != nil || !changed {
			t.Fatalf("Redrive(%d): changed %v, %v", from, changed, err)
		}

		owesAnew(t, fmt.Sprintf("Redrive(%d)", from), dead, r, at(time.Hour), task.Deliveries)
		h := hookOf(t, r)
		want := task.Webhook{ID: "h", Gen: h.Gen, URL: hookURL, Sealed: "old", State: task.WebhookActive, Cursor: cursor,
			Since: at(time.Hour).Now, Next: at(time.Hour).Now, Prompted: at(time.Hour).Now, Tries: h.Tries}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Errorf("Redrive(%d) (-want +got):\n%s", from, diff)
		}
		if h.Gen == hookOf(t, dead).Gen || r.Due != (task.Due{At: at(time.Hour + time.Minute).Now, Lane: task.Deliveries}) {
			t.Errorf("Redrive(%d): generation %d, due %v", from, h.Gen, r.Due)
		}

		if _, changed, _ := r.Delivered(at(time.Hour), []task.Delivery{{Webhook: hookOf(t, dead), Sent: 1}}); changed {
			t.Errorf("Redrive(%d): an attempt of before counts", from)
		}
		if _, changed, err := r.Redrive(at(2*time.Hour), "h", hookOf(t, dead).Gen, from); changed || err != nil {
			t.Errorf("Redrive(%d) again: changed %v, %v", from, changed, err)
		}
	}

	for _, from := range []int{-1, 3} {
		if _, changed, err := dead.Redrive(at(time.Hour), "h", hookOf(t, dead).Gen, from); changed || err != nil {
			t.Errorf("Redrive(%d): changed %v, %v", from, changed, err)
		}
	}
}

// A webhook takes one ping or re-drive in ten seconds. Setting it anew does not change that,
// and a ping that waits may be requested again.
func TestPingsAndRedrivesAreRated(t *testing.T) {
	ping := func(r task.Record, m task.Moment) (task.Record, bool, error) { return r.AskPing(m, "h") }
	redrive := func(r task.Record, m task.Moment) (task.Record, bool, error) {
		return r.Redrive(m, "h", hookOf(t, r).Gen, 0)
	}
	sent := func(r task.Record, m task.Moment) task.Record {
		return delivered(t, r, m, task.Delivery{Pinged: !hookOf(t, r).Ping.IsZero(), Fail: hookOf(t, r).Ping.IsZero()})
	}

	type prompt = func(task.Record, task.Moment) (task.Record, bool, error)
	for name, pair := range map[string][2]prompt{"pings": {ping, ping}, "re-drives": {redrive, redrive}, "a re-drive after a ping": {ping, redrive}, "a ping after a re-drive": {redrive, ping}} {
		r, changed, err := pair[0](told(t), at(time.Hour))
		if err != nil || !changed {
			t.Fatalf("%s: changed %v, %v", name, changed, err)
		}
		r = sent(r, at(time.Hour))

		anew, _, err := r.SetWebhook(at(time.Hour), task.Webhook{ID: "h", URL: hookURL, Sealed: "other"})
		if err != nil {
			t.Fatal(err)
		}

		soon, later := at(time.Hour+10*time.Second-time.Millisecond), at(time.Hour+10*time.Second)
		for _, r := range []task.Record{r, anew} {
			next, changed, err := pair[1](r, soon)
			if !errors.Is(err, task.ErrSoon) || changed || next.Version != r.Version || hookOf(t, r).Rest(soon.Now) != time.Millisecond {
				t.Errorf("%s, too soon: changed %v, %v, rest %v", name, changed, err, hookOf(t, r).Rest(soon.Now))
			}
			if _, changed, err := pair[1](r, later); err != nil || !changed {
				t.Errorf("%s, after ten seconds: changed %v, %v", name, changed, err)
			}
		}
	}
}

// A task has one webhook for a URL. A webhook without an id of its own is the one of its URL.
func TestOneWebhookPerURL(t *testing.T) {
	r := told(t)
	for name, h := range map[string]task.Webhook{"another": {ID: "i", URL: hookURL}, "that was elsewhere": {ID: "j", URL: hookURL}} {
		r, _, err := r.SetWebhook(at(4*time.Second), task.Webhook{ID: "j", URL: hookURL + "/j"})
		if err != nil {
			t.Fatal(err)
		}
		if _, changed, err := r.SetWebhook(at(4*time.Second), h); changed || !errors.Is(err, task.ErrWebhookURL) {
			t.Errorf("%s: changed %v, %v", name, changed, err)
		}
	}

	named := task.WebhookID(hookURL)
	if _, changed, err := r.SetWebhook(at(4*time.Second), task.Webhook{ID: named, URL: hookURL, Sealed: "old"}); changed || err != nil {
		t.Errorf("the same target without an id: changed %v, %v", changed, err)
	}
	next, changed, err := r.SetWebhook(at(4*time.Second), task.Webhook{ID: named, URL: hookURL, Sealed: "new"})
	if err != nil || !changed || len(next.Webhooks) != 1 || hookOf(t, next).ID != "h" || hookOf(t, next).Sealed != "new" {
		t.Errorf("other credentials without an id: changed %v, %v, %+v", changed, err, next.Webhooks)
	}

	if _, err := task.Accept(at(0), task.Acceptance{ID: "t", Message: a2a.NewMessage(a2a.MessageRoleUser), Webhooks: []task.Webhook{{ID: "a", URL: hookURL}, {ID: "b", URL: hookURL}}}); !errors.Is(err, task.ErrWebhookURL) {
		t.Errorf("two in one message: %v", err)
	}
}

// A ping is due until it is sent, also for a dead webhook, and changes nothing else.
func TestPing(t *testing.T) {
	dead := delivered(t, told(t), at(3*time.Second), task.Delivery{Fail: true})
	r, changed, err := dead.AskPing(at(time.Hour), "h")
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	if due := r.Behind(at(time.Hour).Now); len(due) != 1 || r.Due.Lane != task.Deliveries || r.Ready(due[0], at(time.Hour).Now) {
		t.Errorf("hooks to serve %+v, due %v", due, r.Due)
	}
	if again, changed, err := r.AskPing(at(2*time.Hour), "h"); changed || err != nil || !hookOf(t, again).Ping.Equal(at(time.Hour).Now) {
		t.Errorf("asked again: changed %v, %v", changed, err)
	}
	was := hookOf(t, dead)
	try := task.Try{At: at(2 * time.Hour).Now, Status: 204}
	r = delivered(t, r, at(2*time.Hour), task.Delivery{Pinged: true, Tries: []task.Try{try}})
	was.Tries, was.Prompted = append(was.Tries, try), at(time.Hour).Now
	if diff := cmp.Diff(was, hookOf(t, r)); diff != "" {
		t.Errorf("webhook (-want +got):\n%s", diff)
	}
	if len(r.Behind(at(3*time.Hour).Now)) != 0 || !r.Due.At.IsZero() {
		t.Errorf("after the ping something is owed: %v", r.Due)
	}
}

// A webhook that is put off has had no attempt.
func TestPutOff(t *testing.T) {
	r := told(t)
	was := hookOf(t, r)
	r = delivered(t, r, at(3*time.Second), task.Delivery{Wait: at(time.Hour).Now})
	was.Next = at(time.Hour).Now
	if diff := cmp.Diff(was, hookOf(t, r)); diff != "" {
		t.Errorf("webhook (-want +got):\n%s", diff)
	}
	if !r.Due.At.Equal(at(time.Hour).Now) {
		t.Errorf("due %v", r.Due)
	}
}

// Attempts in a row change a webhook as their combined outcome does. So a courier may go on with
// the webhook that it has in hand, and commit the attempts together.
func TestAttemptsInARowAreOneDelivery(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := at(time.Hour).Now
		base := hookOf(t, told(t))
		if rapid.Bool().Draw(rt, "ping") {
			base.Ping = at(time.Minute).Now
		}

		h, all := base, task.Delivery{Webhook: base}
		add := func(d task.Delivery) {
			d.Webhook, d.Tries = h, []task.Try{{At: now, Notification: h.Cursor + 1}}
			h, all = h.After(now, d), all.Then(d)
		}

		for range rapid.IntRange(0, 12).Draw(rt, "accepted") {
			add(task.Delivery{Pinged: !h.Ping.IsZero(), Sent: 1})
		}

		switch rapid.IntRange(0, 3).Draw(rt, "end") {
		case 1:
			add(task.Delivery{Fail: true, Wait: now.Add(time.Minute)})
		case 2:
			add(task.Delivery{Fail: true, Gone: rapid.Bool().Draw(rt, "gone")})
		case 3:
			add(task.Delivery{Pinged: !h.Ping.IsZero()})
		}

		if diff := cmp.Diff(base.After(now, all), h); diff != "" {
			rt.Errorf("webhook (-after one delivery +after its attempts):\n%s", diff)
		}
	})
}

// The schedule of a notification begins with the notification, or with the delivery of the notification before it.
func TestOwedSince(t *testing.T) {
	r := told(t)
	if got := r.OwedSince(hookOf(t, r)); !got.Equal(r.Notifications[0].At) {
		t.Errorf("the first note is owed since %v, want since its time %v", got, r.Notifications[0].At)
	}
	r = delivered(t, r, at(time.Hour), task.Delivery{Sent: 1})
	if got := r.OwedSince(hookOf(t, r)); !got.Equal(at(time.Hour).Now) {
		t.Errorf("the second note is owed since %v, want since the delivery of the first", got)
	}
	r = delivered(t, r, at(2*time.Hour), task.Delivery{Sent: 1})
	if got := r.OwedSince(hookOf(t, r)); !got.Equal(at(2 * time.Hour).Now) {
		t.Errorf("without another note it is %v, want the last delivery", got)
	}
}
