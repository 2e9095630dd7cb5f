package auth

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// rates bound the requests of each caller in a second. The zero value is ready, and safe for
// concurrent use.
type rates struct {
	mu sync.Mutex
	m  map[string]*rate.Limiter // by owner
}

// manyRates bounds the callers that are remembered. A caller that is forgotten has the
// requests of one second again.
const manyRates = 10_000

// take counts a request of an owner, or refuses it. A caller may send the requests of a
// second at once.
func (r *rates) take(owner string, perSecond int64, now time.Time) error {
	if perSecond == None {
		return nil
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.m[owner]
	if l == nil {
		if r.m == nil || len(r.m) >= manyRates {
			r.m = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Limit(perSecond), int(perSecond))
		r.m[owner] = l
	}
	if l.Burst() != int(perSecond) { // the access file has changed
		l.SetLimitAt(now, rate.Limit(perSecond))
		l.SetBurstAt(now, int(perSecond))
	}

	if l.AllowN(now, 1) {
		return nil
	}
	return Limited("requests", time.Second,
		fmt.Sprintf("you send more than %d requests a second; send fewer, or ask for several tasks with one ListTasks", perSecond))
}
