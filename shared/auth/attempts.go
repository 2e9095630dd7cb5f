package auth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// attemptEvery is the time between wrong attempts under one name, after attemptBurst of
	// them.
	attemptEvery = 6 * time.Second
	attemptBurst = 20
	// attemptNames bounds the table: twice as many names, about 1 MiB.
	attemptNames = 4096
)

// attempts counts wrong credentials per name (an address, a principal). It slows only wrong
// attempts. The right credentials are always let in, or a stranger could lock a principal
// out. No number of attempts finds 256 bits.
type attempts struct {
	mu sync.Mutex
	// Names move from old to young when they are wrong again. When young is full, old is
	// forgotten.
	young, old map[string]*rate.Limiter
}

// wrong notes one wrong attempt under each of the names, and returns the time to wait if
// there were too many under one of them.
func (a *attempts) wrong(now time.Time, names ...string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var wait time.Duration
	for _, name := range names {
		r := a.limiter(name).ReserveN(now, 1)
		if d := r.DelayFrom(now); d > 0 {
			r.CancelAt(now)
			wait = max(wait, d)
		}
	}
	return wait
}

func (a *attempts) limiter(name string) *rate.Limiter {
	l := a.young[name]
	if l != nil {
		return l
	}
	if l = a.old[name]; l == nil {
		l = rate.NewLimiter(rate.Every(attemptEvery), attemptBurst)
	}
	if a.young == nil || len(a.young) >= attemptNames {
		a.old, a.young = a.young, make(map[string]*rate.Limiter)
	}
	a.young[name] = l
	return l
}
