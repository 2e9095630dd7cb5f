package local_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"errand/shared/adapters/local"
	"errand/shared/queue"
)

// A crowd counts the turns of a quiet owner and of owners that flood the queue.
type crowd struct {
	t       *testing.T
	takes   time.Duration // a turn of a flood, half as long or half as long again
	mu      sync.Mutex
	random  *rand.Rand
	begun   int // turns of floods
	quiet   chan time.Time
	quietly time.Duration // a turn of the quiet owner
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	job, err := queue.Read(w, r)
	if err != nil {
		c.t.Error(err)
	}
	takes := c.quietly
	if strings.HasPrefix(job.Task, "flood") {
		c.mu.Lock()
		c.begun++
		takes = c.takes/2 + time.Duration(c.random.Int64N(int64(c.takes)))
		c.mu.Unlock()
	} else {
		c.quiet <- time.Now()
	}

	select {
	case <-time.After(takes):
	case <-r.Context().Done():
	}
}

func (c *crowd) flooded() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun
}

// Beside one or two owners that flood the queue with turns of any length, a quiet owner's turn
// waits for nothing, because as much as each of them holds is free (R18). Beside ten, those
// that came late hold the last slots. Then the turn waits for one slot, which no owner that
// holds one gets before it.
func TestAQuietOwnerBesideFloods(t *testing.T) {
	const slots = 32 // of one owner alone

	for _, floods := range []int{1, 2, 10} {
		for _, takes := range []time.Duration{2 * time.Second, time.Minute, 10 * time.Minute} {
			t.Run(fmt.Sprintf("%d floods of %v", floods, takes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := &crowd{t: t, takes: takes, quietly: 2 * time.Second, random: rand.New(rand.NewPCG(1, 2)), quiet: make(chan time.Time, 1)}
					q := open(t, local.QueueConfig{Lanes: lanes(local.Limits{Slots: slots}), Handler: c})
					for o := range floods {
						for i := range 2000 {
							addAll(t, q, of(fmt.Sprint("flood", o), fmt.Sprint("flood", o, "-", i)))
						}
					}

					start, longest := time.Now(), time.Duration(0)
					const turns = 40
					for i := range turns {
						time.Sleep(takes / 4)
						sent, before := time.Now(), c.flooded()
						addAll(t, q, of("quiet", fmt.Sprint("quiet", i)))
						wait := (<-c.quiet).Sub(sent)
						longest = max(longest, wait)
						if floods <= 2 && wait > 0 {
							t.Errorf("turn %d waited for %v", i, wait)
						}
						if n := c.flooded() - before; n > floods {
							t.Errorf("turn %d waited for %d turns of others, want %d at most", i, n, floods)
						}
						time.Sleep(c.quietly)
					}

					// The floods had all that a newcomer leaves them.
					rounds := int(time.Since(start) / takes)
					if least := floods * (2*slots/(floods+1) - 1) * rounds * 3 / 4; c.flooded() < min(least, 1500*floods) {
						t.Errorf("%d turns of the floods in %d rounds, want %d or more", c.flooded(), rounds, least)
					}
					t.Logf("the longest wait was %v", longest)
				})
			})
		}
	}
}
