// Package usage counts the tokens that the model takes for each owner in a day, for all
// processes together.
//
// It is not an invoice: the tokens that a process counted in the ten seconds before it was
// killed are lost, and other processes see a count ten seconds late. It refuses nothing
// either. Its callers ask whether the limit of an owner is used up, and decide.
package usage

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"math"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"errand/shared/kv"
)

// Limits of a Meter.
const (
	every   = 10 * time.Second // least time between two writes of a process, and between two reads of an owner's day
	entries = 16               // entries of an owner and day, which all processes share
	kept    = 48 * time.Hour   // an entry's age at its end, from the begin of its day
	longest = time.Hour        // that Wait returns
	callFor = 10 * time.Second // one write of all counts
	many    = 10_000           // days of owners after which those without tokens of this process are forgotten
)

// Config holds the parts of a Meter. Without Now the clock is the system's. Without Log
// nothing is logged.
type Config struct {
	KV kv.Store

	// Limit returns how many tokens an owner may use in a day. Owners without a limit are
	// not counted, and cost neither reads nor writes.
	Limit func(owner string) (tokens int64, limited bool)

	Now func() time.Time
	Log *slog.Logger
}

// A Meter counts in memory, and keeps what this process has counted in one of the 16 entries
// of each owner and day. A nil Meter counts nothing. It is safe for concurrent use.
//
// An entry names its processes, each with all that it has counted. So a write may be repeated
// after an unknown outcome, and processes that share an entry are all counted.
type Meter struct {
	cfg     Config
	process string // its name in the entries
	number  int    // of its entries

	writing sync.Mutex // held by the one flush that runs

	mu      sync.Mutex
	counts  map[dayOf]*count
	day     string      // of the newest count
	full    int         // counts after which some are forgotten
	flushed time.Time   // when the last flush began
	next    *time.Timer // the next flush; nil: none is needed
	closed  bool
}

// A dayOf is a day of an owner.
type dayOf struct{ owner, day string }

// A count is what a process knows about a day of an owner.
type count struct {
	own, written int64 // counted here, and how much of it is stored
	others       int64 // counted by other processes
	read         time.Time
	turn         chan struct{} // held by the one call that reads
}

// New returns a Meter. The caller closes it before the store.
func New(cfg Config) *Meter {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Meter{cfg: cfg, process: rand.Text()[:13], number: mathrand.IntN(entries), counts: map[dayOf]*count{}, full: many}
}

// Add counts tokens of an owner, today in UTC. The tokens are stored in the background,
// within ten seconds.
func (m *Meter) Add(owner string, tokens int64) {
	if m == nil || tokens <= 0 {
		return
	}
	if _, limited := m.cfg.Limit(owner); !limited {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, c := m.today(owner)
	c.own += tokens
	m.schedule()
}

// Today returns the tokens that an owner has used today in UTC. It reads the counts of other
// processes at most every ten seconds. With an error it returns those that it knows about,
// and no more than there are.
func (m *Meter) Today(ctx context.Context, owner string) (int64, error) {
	used, _, err := m.used(ctx, owner)
	return used, err
}

// used returns the tokens that an owner has used today, and its limit. Those of an owner
// without a limit are not counted.
func (m *Meter) used(ctx context.Context, owner string) (used, limit int64, err error) {
	if m == nil {
		return 0, math.MaxInt64, nil
	}
	limit, limited := m.cfg.Limit(owner)
	if !limited {
		return 0, math.MaxInt64, nil
	}

	m.mu.Lock()
	d, c := m.today(owner)
	m.mu.Unlock()

	err = m.refresh(ctx, d, c)
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.own + c.others, limit, err
}

// Wait returns how long an owner has to wait whose tokens of today are used up: until
// midnight in UTC, but at most an hour, because the limit may be raised. It returns 0 for an
// owner who may go on. The error says that the counts could not be read: then nothing is
// known to be used up.
func (m *Meter) Wait(ctx context.Context, owner string) (time.Duration, error) {
	used, limit, err := m.used(ctx, owner)
	if used < limit {
		return 0, err
	}
	now := m.cfg.Now().UTC()
	midnight := now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	return min(midnight.Sub(now), longest), nil
}

// Close writes what is not stored yet. Tokens that are added later are not stored.
func (m *Meter) Close() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	m.closed = true
	if m.next != nil {
		m.next.Stop()
	}
	m.mu.Unlock()
	return m.flush()
}

// today returns the count of an owner's day. m.mu is held.
func (m *Meter) today(owner string) (dayOf, *count) {
	d := dayOf{owner, m.cfg.Now().UTC().Format(time.DateOnly)}
	c := m.counts[d]
	if c == nil {
		if d.day != m.day || len(m.counts) >= m.full {
			m.forget(d.day)
		}
		c = &count{turn: make(chan struct{}, 1)}
		m.counts[d] = c
	}
	return d, c
}

// forget drops the days before today that are stored, all that have nearly expired, and
// today's counts without tokens of this process, which can be read again. It then lets their
// number double before it looks again. m.mu is held.
func (m *Meter) forget(today string) {
	yesterday := m.cfg.Now().UTC().Add(-24 * time.Hour).Format(time.DateOnly)
	for d, c := range m.counts {
		if d.day < yesterday || d.day != today && c.own == c.written || c.own == 0 {
			delete(m.counts, d)
		}
	}
	m.day, m.full = today, max(many, 2*len(m.counts))
}

// schedule has the counts written, at once if the last time is long ago. m.mu is held.
func (m *Meter) schedule() {
	if m.next != nil || m.closed {
		return
	}
	m.next = time.AfterFunc(max(m.flushed.Add(every).Sub(m.cfg.Now()), 0), func() {
		if err := m.flush(); err != nil {
			m.cfg.Log.Warn("tokens of callers with a limit could not be stored, and are stored later", "err", err)
		}
	})
}

// flush writes all counts that are not stored. What fails is written next time.
func (m *Meter) flush() error {
	m.writing.Lock()
	defer m.writing.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), callFor)
	defer cancel()

	m.mu.Lock()
	m.next, m.flushed = nil, m.cfg.Now()
	due := map[dayOf]int64{}
	for d, c := range m.counts {
		if c.own > c.written {
			due[d] = c.own
		}
	}
	m.mu.Unlock()

	var bad []error
	for d, own := range due {
		err := m.write(ctx, d, own)
		m.mu.Lock()
		if err != nil {
			bad = append(bad, err)
			m.schedule()
		} else if c := m.counts[d]; c != nil {
			c.written = own
		}
		m.mu.Unlock()
	}

	return errors.Join(bad...)
}
