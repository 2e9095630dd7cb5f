package webhook

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// A Schedule holds the wait before each attempt at a notification. After the last attempt the webhook
// is dead.
type Schedule []time.Duration

// Standard is the schedule of Standard Webhooks: three days of attempts.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#deliverability-and-reliability
func Standard() Schedule {
	const m, h = time.Minute, time.Hour
	return Schedule{0, 5 * time.Second, 5 * m, 30 * m, 2 * h, 5 * h, 10 * h, 14 * h, 20 * h, 24 * h}
}

// patientFor is the least wait after a timeout or a status 429.
const patientFor = time.Minute

// next is the time of the next attempt after so many failures, the last of them with the
// answer a. The wait is that of the schedule, give or take a fifth, or the receiver's
// Retry-After up to twice that. The zero time gives the notification up: the schedule is used up,
// or a notification owed since then is Over.
func (s Schedule) next(a Answer, failures int, since, now time.Time) time.Time {
	if failures >= len(s) || s.Over(since, now) {
		return time.Time{}
	}

	base := s[failures]
	wait := time.Duration(float64(base) * (0.8 + 0.4*rand.Float64()))
	if a.Status == http.StatusTooManyRequests || a.Class == ClassTimeout {
		base, wait = max(base, patientFor), max(wait, patientFor)
	}

	return now.Add(max(wait, min(retryAfter(a.RetryAfter, now), 2*base)))
}

// Over reports whether a notification owed since then has had twice the time of the schedule.
// Receivers cannot stretch the schedule further. The notification is then tried once more, even
// past an open breaker, and given up, so that an unreachable receiver cannot keep it for
// ever.
func (s Schedule) Over(since, now time.Time) bool {
	var all time.Duration
	for _, wait := range s {
		all += wait
	}
	return now.Sub(since) > 2*all
}

// Later reschedules a notification, owed since then, that was not attempted because its host does
// not answer. It waits at least until soonest, and at least as long again as it has waited
// already, a day at most. So the cost of ten thousand notifications for one dead receiver falls
// with their age, to about the cost of their scheduled attempts.
func (s Schedule) Later(since, now, soonest time.Time) time.Time {
	wait := max(soonest.Sub(now), min(now.Sub(since), 24*time.Hour))
	return now.Add(wait + time.Duration(rand.Int64N(int64(wait)/5+1)))
}
