package webhook

import (
	"time"

	"errand/shared/task"
)

// A Result is the class of an attempt's outcome, in the words of the log.
type Result string

// Results of attempts. The last two do not count as attempts.
const (
	Delivered Result = "a webhook was delivered"
	Pinged    Result = "a ping was sent"
	Failed    Result = "a webhook failed"
	GivenUp   Result = "a webhook was given up"
	Stopped   Result = "an attempt was cut off"
	Unsigned  Result = "a webhook cannot be signed"
)

// A Verdict is the decision about one attempt.
type Verdict struct {
	Result  Result
	Contact Contact // the state of the host, for its breaker

	task.Delivery              // the outcome to commit; empty if the attempt does not count
	After         task.Webhook // the webhook after it
	More          bool         // another notification may be sent at once

	// Again is when a job must bring back a webhook whose attempt does not count. The zero
	// time leaves the webhook to the sweep.
	Again time.Time
}

// Counts reports whether the attempt counts. Its Tries then hold one attempt.
func (v Verdict) Counts() bool { return len(v.Tries) > 0 }

// Judge decides about one attempt at a webhook, which ended at the given time with the
// answer a. The arguments r and h are those of [Prepare].
//
// A shutdown during the attempt and keys that cannot be read are no fault of the
// receiver. The attempt does not count then, unless the receiver has accepted the notification.
func Judge(r task.Record, h task.Webhook, a Answer, s Schedule, now time.Time) Verdict {
	switch {
	case a.Stopped && !a.ok():
		return Verdict{Result: Stopped, After: h, Again: now}
	case a.Class == ClassKeys:
		return Verdict{Result: Unsigned, After: h}
	}

	try := task.Try{At: now.UTC(), Status: a.Status, Error: a.Class}
	d := task.Delivery{Webhook: h}
	result := Failed

	switch {
	case !h.Ping.IsZero():
		result, d.Pinged = Pinged, true
	case a.ok():
		result, d.Sent = Delivered, 1
	case a.gone():
		result, d.Fail, d.Gone = GivenUp, true, true
	default:
		d.Fail, d.Wait = true, s.next(a, h.Attempt+1, r.OwedSince(h), now)
		if d.Wait.IsZero() {
			result = GivenUp
		}
	}

	if !d.Pinged {
		try.Notification = h.Cursor + 1
	}

	d.Tries = []task.Try{try}
	after := h.After(now, d)
	return Verdict{Result: result, Contact: a.contact(), Delivery: d, After: after, More: a.ok() && r.Ready(after, now)}
}
