// Package peer is the client's side of discovery: it finds the card of another agent where the
// operator says it is, tells whether the card is genuine, keeps it for as long as it may be kept, and
// says how the agent is called and with which credentials.
//
// It believes nothing that a card says about its own keys: a signature counts if it is by a key
// that the operator gave. It sends no messages. A credential goes to the agent's interfaces alone, and
// only where the operator, or who signed the card, says that they are.
package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-jose/go-jose/v4"

	"errand/shared/card"
)

// A Doer sends requests: a guarded client where the URLs are others' choice. It follows no
// redirects.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Config says where the card of an agent is, and what makes it genuine. Read is required.
type Config struct {
	// Read reads the card: [AtURL], [InFile] or [Text].
	Read Reader
	// Keys are the public keys by which the card must be signed. nil: the card need not be
	// signed, and is believed because of where it was read.
	Keys func(context.Context) (jose.JSONWebKeySet, error)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log gets a line when a card cannot be renewed. nil: none.
	Log *slog.Logger
}

// A Peer is another agent. It is safe for concurrent use.
type Peer struct {
	cfg Config

	mu   sync.Mutex
	kept *Known
}

// A Known is a card as it was believed.
type Known struct {
	Card   *a2a.AgentCard // of what was signed, if it was signed
	Signed string         // the name of the key that signed it; empty: none was asked for
	At     time.Time      // when it was read

	copied Copy
}

// Times of a card.
const (
	leastKept = time.Minute        // a card is not read again before
	mostKept  = time.Hour          // and is read again after, whatever its Cache-Control says
	staleFor  = 7 * 24 * time.Hour // a card that cannot be read again is used for so long
)

// New makes a Peer. It reads nothing yet.
func New(cfg Config) *Peer {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Peer{cfg: cfg}
}

// Errors of a Peer. Any other one says that the card could not be read.
var (
	// ErrForged says that the card is signed by no key that was given.
	ErrForged = errors.New("peer: the card is not signed by a known key")
	// ErrNoCard says that what was read is no agent card.
	ErrNoCard = errors.New("peer: not an agent card")
)

// Card returns the agent's card: the one that is kept, or a newer one. A card that has become
// false is never returned again: a forged one is an error, and so is the one before it, after
// the time that it could be kept. While the card cannot be read, the last one is used for a week.
func (p *Peer) Card(ctx context.Context) (*Known, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	if p.kept != nil && now.Before(p.kept.At.Add(p.kept.copied.keep())) {
		return p.kept, nil
	}

	next, err := p.read(ctx, now)
	switch {
	case err == nil:
		p.kept = next
		return next, nil
	case errors.Is(err, ErrForged), errors.Is(err, ErrNoCard), p.kept == nil, now.After(p.kept.At.Add(staleFor)):
		return nil, err
	}
	p.cfg.Log.WarnContext(ctx, "the card of another agent cannot be read again; the last one is used", "age", now.Sub(p.kept.At), "err", err)
	return p.kept, nil
}

// read reads the card again, and checks it.
func (p *Peer) read(ctx context.Context, now time.Time) (*Known, error) {
	var before Copy
	if p.kept != nil {
		before = p.kept.copied
	}
	copied, err := p.cfg.Read(ctx, before)
	if err != nil {
		return nil, err
	}
	if copied.same && p.kept != nil {
		again := *p.kept
		again.At, again.copied.MaxAge = now, copied.MaxAge
		return &again, p.check(ctx, &again) // its key may have been taken back
	}
	k := &Known{At: now, copied: copied}
	return k, p.check(ctx, k)
}

// check believes a card, or says why not.
func (p *Peer) check(ctx context.Context, k *Known) error {
	doc := k.copied.Doc
	if p.cfg.Keys != nil {
		trusted, err := p.cfg.Keys(ctx)
		if err != nil {
			return fmt.Errorf("reading the keys of cards: %w", err)
		}
		believed, kid, err := card.Verify(doc, trusted)
		switch {
		case errors.Is(err, card.ErrSignature):
			return ErrForged
		case err != nil:
			return fmt.Errorf("%w: %w", ErrNoCard, err)
		}
		doc, k.Signed = believed, kid
	}

	c, err := card.Read(doc)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoCard, err)
	}
	k.Card = c
	return nil
}
