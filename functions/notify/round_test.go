package notify

import (
	"testing"
	"time"

	"errand/shared/task"
	"errand/shared/webhook"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// A webhook whose host has no slot comes back later. Its next time is committed only if that is
// not soon, and a ping never changes the time of a notification.
func TestPutOff(t *testing.T) {
	n := &Notifier{cfg: Config{Schedule: webhook.Standard()}, hosts: newHosts(time.Minute)}
	p := pass{Notifier: n}
	soon, later := noon.Add(time.Second), noon.Add(time.Hour)

	for _, c := range []struct {
		name   string
		ping   time.Time
		why    error
		again  time.Time
		commit bool
	}{
		{"busy, a slot soon", time.Time{}, errBusy, soon, false},
		{"busy, a slot later", time.Time{}, errBusy, later, true},
		{"silent", time.Time{}, errSilent, soon, true},
		{"busy for a ping", noon, errBusy, later, false},
	} {
		b := p.putOff(round{since: noon, after: task.Webhook{Ping: c.ping}}, c.why, c.again, noon)
		if !b.hold || b.again.Before(c.again) || b.Fail {
			t.Errorf("%s: %+v, want to come back at %v or later", c.name, b, c.again)
		}
		if b.Wait.IsZero() == c.commit || c.commit && !b.Wait.Equal(b.again) {
			t.Errorf("%s: the committed time is %v, and the hook comes back at %v", c.name, b.Wait, b.again)
		}
	}
}

// After a delivery the round goes on with the schedule of the next notification.
func TestRoundGoesOnWithTheNextNotification(t *testing.T) {
	h := task.Webhook{State: task.WebhookActive, Since: noon}
	d := task.Delivery{Webhook: h, Sent: 1, Tries: []task.Try{{At: noon.Add(time.Hour), Notification: 1, Status: 200}}}
	v := webhook.Verdict{Delivery: d, After: h.After(noon.Add(time.Hour), d), Contact: webhook.Answered, More: true}
	b := round{Delivery: task.Delivery{Webhook: h}, after: h, since: noon}.with(v)
	if !b.since.Equal(noon.Add(time.Hour)) || b.after.Cursor != 1 || b.Sent != 1 || !b.more || b.hold {
		t.Errorf("after one delivery: %+v", b)
	}
}
