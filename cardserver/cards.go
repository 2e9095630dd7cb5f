package main

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/card"
	"errand/shared/keys"
	"errand/shared/task"
)

// cards serves the agent card. The card has the security schemes of the access file and the
// signatures of the installation's keys, and both may change.
type cards struct {
	site *site
	made atomic.Pointer[madeCard]

	looking sync.Mutex // held by the one request that looks whether the card is still true
	looked  time.Time  // when the keys were read
}

// A madeCard is a card and what it was made of.
type madeCard struct {
	security card.Security
	signers  []string // the names of the keys that sign it; none: it is not signed
	http.Handler
}

// keysEvery is how long a card may have the signatures of the former keys, which open for days.
const keysEvery = time.Second

func newCards(s *site) (*cards, error) {
	c := &cards{site: s}
	return c, c.look(context.Background())
}

// ServeHTTP implements http.Handler. While one request looks whether the card is still true,
// the others get the one that is there.
func (c *cards) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.looking.TryLock() {
		if err := c.look(r.Context()); err != nil {
			c.site.log.ErrorContext(r.Context(), "the card stays as it was", "err", err)
		}
		c.looking.Unlock()
	}
	c.made.Load().ServeHTTP(w, r)
}

// look makes the card again if what it is made of has changed. Without its keys the program serves
// the card with its former signatures, or with none.
func (c *cards) look(ctx context.Context) error {
	before := c.made.Load()
	if before == nil {
		before = &madeCard{}
	}
	next := &madeCard{signers: before.signers}
	next.security.Schemes, next.security.Required = c.site.parts.Access.Schemes()

	now := time.Now()
	var ring keys.Ring
	same := reflect.DeepEqual(next.security, before.security) && before.Handler != nil
	if !same || now.Sub(c.looked) >= keysEvery {
		c.looked = now
		var err error
		if ring, err = c.site.parts.Keys.Ring(ctx); err != nil {
			c.site.log.ErrorContext(ctx, "the card is not signed anew", "err", err)
			if same {
				return nil
			}
			next.signers = nil
		} else {
			next.signers = ring.CardKeys(now)
		}
	}
	if same && slices.Equal(next.signers, before.signers) {
		return nil
	}

	cfg := card.Config{Agent: c.site.parts.Agent, Security: next.security, URL: c.site.parts.URL, Loopback: c.site.loopback(), MaxMessage: task.LimitAccept, Modified: now}
	if len(next.signers) > 0 {
		cfg.Sign = func(base string, payload []byte) ([]a2a.AgentCardSignature, error) {
			return sign(ring, now, base, payload)
		}
	}
	h, err := card.New(cfg)
	if err != nil {
		return err
	}
	next.Handler = h
	c.made.Store(next)
	return nil
}

// sign signs a card. Its header names the key set below the agent's address.
func sign(ring keys.Ring, now time.Time, base string, payload []byte) ([]a2a.AgentCardSignature, error) {
	signed, err := ring.SignCard(now, strings.TrimRight(base, "/")+keys.Path, payload)
	if err != nil {
		return nil, err
	}
	var all []a2a.AgentCardSignature
	for _, s := range signed {
		all = append(all, a2a.AgentCardSignature{Protected: s.Protected, Signature: s.Signature})
	}
	return all, nil
}
