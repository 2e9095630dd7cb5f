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

	"errand/shared/agent"
	"errand/shared/auth"
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
	private  bool     // it is not for everybody
	signers  []string // the names of the keys that sign it; none: it is not signed
	http.Handler
}

// keysEvery is how long a card may have the signatures of the former keys, which open for days.
const keysEvery = time.Second

func newCards(s *site) (*cards, error) {
	c := &cards{site: s}
	ctx := context.Background()
	if err := c.look(ctx); err != nil {
		return nil, err
	}
	return c, c.lint(ctx)
}

// lint logs what is wrong with the card, with all that callers may see of it. The operator reads it at
// the start: a card with a fault is better than none.
func (c *cards) lint(ctx context.Context) error {
	made := c.made.Load()
	cfg := cardConfig(c.site.parts.Agent, made.security, c.site.address())
	cfg.Known, cfg.See = true, func(string) bool { return true }

	own, err := card.Derive(cfg)
	if err != nil {
		return err
	}
	doc, err := card.Encode(own)
	if err != nil {
		return err
	}
	for _, f := range card.Lint(doc, !made.private && !c.site.loopback()) {
		c.site.log.WarnContext(ctx, "the agent card has a fault", "field", f.Field, "remedy", f.Remedy)
	}
	return nil
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
	next := &madeCard{signers: before.signers, private: !c.site.parts.Access.CardPublic(), security: securityOf(c.site.parts.Access)}

	now := time.Now()
	same := before.Handler != nil && next.private == before.private && reflect.DeepEqual(next.security, before.security)
	if same && now.Sub(c.looked) < keysEvery {
		return nil
	}
	c.looked = now
	sign, names, err := signer(ctx, c.site.parts.Keys, now)
	if err != nil {
		c.site.log.ErrorContext(ctx, "the card is not signed anew", "err", err)
		if same {
			return nil
		}
	}
	if next.signers = names; same && slices.Equal(names, before.signers) {
		return nil
	}

	p := c.site.parts
	cfg := cardConfig(p.Agent, next.security, p.URL)
	cfg.Loopback, cfg.Modified, cfg.Private, cfg.Sign = c.site.loopback(), now, next.private, sign
	if next.Handler, err = card.New(cfg); err != nil {
		return err
	}
	c.made.Store(next)
	return nil
}

// extended makes the card of one owner: with the details of skills, and with the private skills
// that the access file gives it.
func (c *cards) extended(ctx context.Context, owner string) (*a2a.AgentCard, error) {
	sign, _, err := signer(ctx, c.site.parts.Keys, time.Now())
	if err != nil {
		return nil, err
	}

	cfg := cardConfig(c.site.parts.Agent, securityOf(c.site.parts.Access), c.site.address())
	cfg.Known, cfg.Sign = true, sign
	cfg.See = func(skill string) bool { return c.site.parts.Access.MaySee(owner, skill) }
	return card.Signed(cfg)
}

// securityOf are the security schemes of a card by the access file as it is now.
func securityOf(a *auth.Access) (s card.Security) {
	s.Schemes, s.Required = a.Schemes()
	return s
}

// cardConfig is what all cards of an agent have in common.
func cardConfig(a *agent.Agent, security card.Security, url string) card.Config {
	return card.Config{Agent: a, Security: security, URL: url, MaxMessage: task.LimitAccept}
}

type signFunc = func(base string, payload []byte) ([]a2a.AgentCardSignature, error)

// signer signs cards with the keys of the installation as they are now. It also returns their
// names.
func signer(ctx context.Context, from *keys.Keyring, now time.Time) (signFunc, []string, error) {
	ring, err := from.Ring(ctx)
	if err != nil {
		return nil, nil, err
	}
	return func(base string, payload []byte) ([]a2a.AgentCardSignature, error) {
		return sign(ring, now, base, payload)
	}, ring.CardKeys(now), nil
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
