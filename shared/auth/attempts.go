package auth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// attemptEvery is how often somebody may be wrong, after attemptBurst times.
	attemptEvery = 6 * time.Second
	attemptBurst = 20
	// attemptNames bounds the table: so many names twice, about 1 MiB.
	attemptNames = 4096
)

// attempts counts wrong credentials per name (an address, a principal). It only
// slows whoever is wrong: the right credentials are let in whatever others tried, or
// anybody could lock a principal out, and no number of attempts finds 256 bits.
type attempts struct {
	mu sync.Mutex
	// Names move from old to young when they are wrong again; when young is full, old
	// is forgotten.
	young, old map[string]*rate.Limiter
}

// wrong notes one wrong attempt under each of the names and returns how long to wait
// when there were too many under one of them.
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
