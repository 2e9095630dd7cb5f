package local

import (
	"math"
	"time"
)

// Limits bound one lane. A field that is zero or negative takes its default. All owners
// together, and deliveries that belong to nobody, have twice the slots and the capacity of
// one owner alone (R18).
type Limits struct {
	Slots      int           // deliveries of one owner alone at the same time; default 32
	Capacity   int           // deliveries of one owner alone that wait, for a slot or for their time; default 16,384
	Attempts   int           // tries before a delivery is given up; default 100
	MinBackoff time.Duration // wait after the first failure, then doubled each time; default 100 ms, for a bus 10 ms
	MaxBackoff time.Duration // longest wait between two tries; default 10 s
	Deadline   time.Duration // then the context of a delivery ends; default 10 min

	// Most returns the deliveries that an owner may have at the same time, if they are fewer
	// than its share. It must not block. Default: any number.
	Most func(owner string) int64
}

// Defaults. Attempts and Deadline are the same as in a Cloud Tasks queue
// (https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues).
// Its longest backoff is an hour. The one here is short, because people try the agent out
// on their own machine and wait for it.
const (
	defaultSlots      = 32
	defaultCapacity   = 16384
	defaultAttempts   = 100
	defaultMinBackoff = 100 * time.Millisecond
	busMinBackoff     = 10 * time.Millisecond
	defaultMaxBackoff = 10 * time.Second
	defaultDeadline   = 10 * time.Minute
)

func (l Limits) withDefaults(minBackoff time.Duration) Limits {
	if l.Most == nil {
		l.Most = func(string) int64 { return math.MaxInt64 }
	}
	return Limits{
		Slots:      positive(l.Slots, defaultSlots),
		Capacity:   positive(l.Capacity, defaultCapacity),
		Attempts:   positive(l.Attempts, defaultAttempts),
		MinBackoff: positive(l.MinBackoff, minBackoff),
		MaxBackoff: positive(l.MaxBackoff, defaultMaxBackoff),
		Deadline:   positive(l.Deadline, defaultDeadline),
		Most:       l.Most,
	}
}

func positive[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// backoff is the wait after the given number of failures, which is at least 1.
func (l Limits) backoff(failed int) time.Duration {
	d := l.MinBackoff
	for ; failed > 1 && d < l.MaxBackoff; failed-- {
		d *= 2
	}
	return min(d, l.MaxBackoff)
}
