package webhook

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// A Schedule is the wait before each attempt at a note; when it is used up the hook is
// dead.
type Schedule []time.Duration

// Standard is the schedule of Standard Webhooks: three days of attempts.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#deliverability-and-reliability
func Standard() Schedule {
	const m, h = time.Minute, time.Hour
	return Schedule{0, 5 * time.Second, 5 * m, 30 * m, 2 * h, 5 * h, 10 * h, 14 * h, 20 * h, 24 * h}
}

// patientFor is the least wait after a receiver was too slow or asked us to slow
// down.
const patientFor = time.Minute

// Next is when to try a note again that has failed so often, the last time with a: after
// the schedule's wait, give or take a fifth, or what the receiver asks for up to twice
// that. The zero time: never, because the schedule is used up or the note, which was
// first owed at since, is Over.
func (s Schedule) Next(a Answer, failures int, since, now time.Time) time.Time {
	if failures >= len(s) || s.Over(since, now) {
		return time.Time{}
	}
	base := s[failures]
	wait := time.Duration(float64(base) * (0.8 + 0.4*rand.Float64()))
	if a.Status == http.StatusTooManyRequests || a.Class == ClassTimeout {
		base, wait = max(base, patientFor), max(wait, patientFor)
	}
	return now.Add(max(wait, min(a.After, 2*base)))
}

// Over says that a note owed since then has had twice the time of the schedule, which is
// what receivers can stretch it to. It is tried once more, whatever else speaks against
// it, and then given up: a receiver that is never reached must not keep it for ever.
func (s Schedule) Over(since, now time.Time) bool {
	var all time.Duration
	for _, wait := range s {
		all += wait
	}
	return now.Sub(since) > 2*all
}

// Later is when to come back for a note, owed since then, that was not attempted because
// its receiver does not answer: not sooner than said, and only after as long again as it
// has waited, a day at most. So ten thousand notes that wait for one dead receiver cost
// less and less, about as much as the attempts of their schedule.
func (s Schedule) Later(since, now, soonest time.Time) time.Time {
	wait := max(soonest.Sub(now), min(now.Sub(since), 24*time.Hour))
	return now.Add(wait + time.Duration(rand.Int64N(int64(wait)/5+1)))
}
