// Package catalogue keeps the agents of an organisation: who registered them, their cards, and
// whether these can be relied on. It decides who sees which agent, and how much of it.
//
// Entries are in the store of small values. Each process has them in memory, and reads those that
// have changed when one entry about all of them says so. A card is believed only as far as package peer
// and the operator's keys allow: never because of what it says about itself.
package catalogue

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"errand/shared/auth"
	"errand/shared/kv"
	"errand/shared/peer"
	"errand/shared/share"
)

// Limits of a catalogue.
const (
	MaxOwn      = 1000     // agents of one owner
	MaxAll      = 20_000   // agents
	MaxOwnBytes = 16 << 20 // bytes of the cards of one owner
	MaxAllBytes = 256 << 20
)

const (
	ofAgents   = "agent/"         // keys of entries
	versionKey = "agents/state"   // key of the entry that says which have changed
	lookEvery  = time.Second      // it is read again after
	allEvery   = 10 * time.Minute // all are: a process that died may have changed one and not said so
	readFor    = 10 * time.Second
	slots      = 32  // registrations at once, half of them of one owner
	lastOnes   = 512 // changed entries that the state names
)

// Errors of a Catalogue.
var (
	// ErrNotFound says that the caller sees no such agent.
	ErrNotFound = errors.New("there is no such agent")
	// ErrTheirs says that the agent is that of another caller.
	ErrTheirs = errors.New("this agent was registered by another caller, who may withdraw it, as an admin of the catalogue may")
	// ErrRegister says that the caller may not register agents.
	ErrRegister = errors.New("you may not register agents: whoever runs this catalogue gives the right with catalogue: [register] in the access file")
	// ErrBusy says that too many cards are being read for the caller.
	ErrBusy = errors.New("too many registrations of yours are in progress; wait for one of them")
)

// A FieldError is a fault of a registration.
type FieldError struct {
	Field, What string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + " " + e.What }

// A FullError says that the catalogue, or the caller's share of it, is full.
type FullError struct {
	Limit string // its name
	What  string
}

// Error implements error.
func (e *FullError) Error() string { return e.What }

// Config is what a Catalogue needs. All fields are required.
type Config struct {
	KV     kv.Store
	Client peer.Doer    // the guarded way out
	Policy *auth.Access // whose keys are trusted, and who sees what
	Now    func() time.Time
	Log    *slog.Logger

	// CheckURL refuses an address that Client would.
	CheckURL func(string) error
}

// A Catalogue is safe for concurrent use, also by several processes.
type Catalogue struct {
	cfg   Config
	slots *share.Pool

	writing sync.Mutex // held while an entry is written, so that none passes a limit beside another

	mu     sync.Mutex // held while entries are read
	at     int64      // the state that is in memory
	loaded bool
	looked time.Time        // when the state was read
	whole  time.Time        // when all entries were
	items  map[string]*item // replaced, and never changed
	list   []*item          // in the order of pages
}

// A state says which entries have changed.
type state struct {
	At   int64    `json:"at"`   // number of changes
	Last []string `json:"last"` // ids of the entries that the last ones were of
}

// New makes a Catalogue. It reads nothing yet.
func New(cfg Config) *Catalogue {
	return &Catalogue{cfg: cfg, slots: share.NewPool(slots), items: map[string]*item{}}
}

// look brings the memory up to date: it is at most a second old. The caller holds c.mu.
func (c *Catalogue) look(ctx context.Context, now time.Time, fresh bool) error {
	if age := now.Sub(c.looked); c.loaded && !fresh && age >= 0 && age < lookEvery {
		return nil
	}
	s, _, err := c.state(ctx)
	if err != nil {
		return err
	}
	behind := s.At - c.at

	switch {
	case !c.loaded, now.Sub(c.whole) >= allEvery:
		c.whole, err = now, c.all(ctx)
	case behind == 0:
	case behind > 0 && behind <= int64(len(s.Last)):
		err = c.some(ctx, s.Last[int64(len(s.Last))-behind:])
	default:
		err = c.all(ctx)
	}
	if err == nil {
		c.at, c.loaded, c.looked = s.At, true, now
	}
	return err
}

// state reads which entries have changed.
func (c *Catalogue) state(ctx context.Context) (s state, version int64, err error) {
	e, err := c.cfg.KV.Get(ctx, versionKey)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return state{}, 0, nil
	case err != nil:
		return state{}, 0, err
	}
	return s, e.Version, json.Unmarshal(e.Value, &s)
}

// all reads all entries.
func (c *Catalogue) all(ctx context.Context) error {
	items, after := map[string]*item{}, ""
	for {
		page, err := c.cfg.KV.List(ctx, ofAgents, after, kv.LimitCount)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			after = e.Key
			c.take(ctx, items, e)
		}
	}
	c.replace(items)
	return nil
}

// some reads the entries of some ids.
func (c *Catalogue) some(ctx context.Context, ids []string) error {
	items := maps.Clone(c.items)
	for _, id := range ids {
		e, err := c.cfg.KV.Get(ctx, ofAgents+id)
		switch {
		case errors.Is(err, kv.ErrNotFound):
			delete(items, id)
		case err != nil:
			return err
		default:
			c.take(ctx, items, e)
		}
	}
	c.replace(items)
	return nil
}

// take adds an entry. One that cannot be read is left out, and named in the log.
func (c *Catalogue) take(ctx context.Context, items map[string]*item, e kv.Entry) {
	id := strings.TrimPrefix(e.Key, ofAgents)
	if before := c.items[id]; before != nil && before.version == e.Version {
		items[id] = before
		return
	}
	i, err := newItem(e)
	if err != nil {
		c.cfg.Log.ErrorContext(ctx, "an agent of the catalogue cannot be read", "id", id, "err", err)
		delete(items, id)
		return
	}
	items[id] = i
}

func (c *Catalogue) replace(items map[string]*item) { c.items, c.list = items, inOrder(items) }

// announce says that entries have changed, after they have been written.
func (c *Catalogue) announce(ctx context.Context, ids ...string) error {
	for {
		s, version, err := c.state(ctx)
		if err != nil {
			return err
		}
		s.At += int64(len(ids))
		s.Last = append(s.Last, ids...)
		s.Last = s.Last[max(0, len(s.Last)-lastOnes):]
		text, err := json.Marshal(s)
		if err != nil {
			return err
		}
		_, err = c.cfg.KV.Put(ctx, kv.Entry{Key: versionKey, Value: text, Version: version})
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

// put stores an entry in the place of a version, if there is room for it. The caller holds c.writing.
func (c *Catalogue) put(ctx context.Context, e Entry, version int64) error {
	if err := c.room(e); err != nil {
		return err
	}
	text, err := encode(e)
	if err != nil {
		return err
	}
	_, err = c.cfg.KV.Put(ctx, kv.Entry{Key: ofAgents + e.ID, Owner: e.Owner, Value: text, Version: version})
	return err
}

// room reports whether the catalogue has room for an entry instead of the one before it.
func (c *Catalogue) room(e Entry) error {
	own, all, ownBytes, allBytes := 1, 1, e.size(), e.size()
	c.mu.Lock()
	list := c.list
	c.mu.Unlock()
	for _, i := range list {
		if i.ID == e.ID {
			continue
		}
		all, allBytes = all+1, allBytes+i.size()
		if i.Owner == e.Owner {
			own, ownBytes = own+1, ownBytes+i.size()
		}
	}

	switch {
	case own > MaxOwn:
		return &FullError{"catalogue agents", fmt.Sprintf("you have registered %d agents, and no more may be: withdraw one", MaxOwn)}
	case ownBytes > MaxOwnBytes:
		return &FullError{"catalogue bytes", fmt.Sprintf("your cards have more than %d MiB together: withdraw one", MaxOwnBytes>>20)}
	case all > MaxAll, allBytes > MaxAllBytes:
		return &FullError{"catalogue", fmt.Sprintf("the catalogue is full: it has %d agents and %d MiB of cards at most", MaxAll, MaxAllBytes>>20)}
	}
	return nil
}

// idOf is the id of an owner's entry for a card. Owners may register the same card, so no answer tells one of
// them of the other.
func idOf(owner, url string) string {
	sum := sha256.Sum256([]byte(owner + "\x00" + url))
	return hex.EncodeToString(sum[:16])
}

// Register reads the card at an address, or of the agent there, and adds it to the catalogue. To
// register an agent again accepts its card as it is now. reach says who may see it.
func (c *Catalogue) Register(ctx context.Context, owner, address, reach string) (Seen, error) {
	if !c.cfg.Policy.Part(owner).Register {
		return Seen{}, ErrRegister
	}
	if reach == "" {
		reach = ForPublic
	}
	if reach != ForPublic && reach != ForPartner {
		return Seen{}, &FieldError{"for", "must be public or partner"}
	}
	at, err := cardURL(address)
	if err == nil {
		err = c.cfg.CheckURL(at)
	}
	if err != nil {
		return Seen{}, &FieldError{"url", err.Error()}
	}

	if c.slots.Take(owner, 1) != nil {
		return Seen{}, ErrBusy
	}
	doc, tag, err := c.read(ctx, Entry{URL: at})
	c.slots.Release(owner, 1)
	now := c.cfg.Now()
	e := Entry{ID: idOf(owner, at), Owner: owner, URL: at, For: reach, Tag: tag, State: Current, Since: now, Seen: now, Checked: now}
	if err == nil {
		err = assess(c.cfg.Policy.Catalogue(), &e, doc)
	}
	if errors.Is(err, errFault) || errors.Is(err, errForged) {
		return Seen{}, &FieldError{"url", "leads to a card that is not taken: " + err.Error()}
	}
	if err != nil {
		return Seen{}, &FieldError{"url", "does not lead to a card that can be read: it must answer 200, without a redirect, in 10 s, and be no private address"}
	}
	return c.add(ctx, e)
}

// add stores a new entry, or one that was registered again.
func (c *Catalogue) add(ctx context.Context, e Entry) (Seen, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		if _, _, err := c.now(ctx, true); err != nil {
			return Seen{}, err
		}

		version := int64(0)
		if before, err := c.cfg.KV.Get(ctx, ofAgents+e.ID); err == nil {
			version = before.Version
		} else if !errors.Is(err, kv.ErrNotFound) {
			return Seen{}, err
		}

		err := c.put(ctx, e, version)
		if errors.Is(err, kv.ErrConflict) {
			continue
		}
		if err == nil {
			err = c.announce(ctx, e.ID)
		}
		if err != nil {
			return Seen{}, err
		}

		_, items, err := c.now(ctx, true)
		if i := items[e.ID]; err == nil && i != nil {
			return Seen{i, Full}, nil
		}
		return Seen{}, cmp.Or(err, error(ErrNotFound))
	}
}

// read reads the card of an entry.
func (c *Catalogue) read(ctx context.Context, e Entry) (doc []byte, tag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	got, err := peer.AtURL(e.URL, c.cfg.Client, nil)(ctx, peer.Copy{Doc: e.Doc, Tag: e.Tag})
	return got.Doc, got.Tag, err
}

// Withdraw removes an agent that the caller has registered. An admin may remove any.
func (c *Catalogue) Withdraw(ctx context.Context, v Viewer, id string) error {
	seen, err := c.Get(ctx, v, id)
	if err != nil {
		return err
	}
	if seen.Owner != v.Owner && !v.Admin {
		return ErrTheirs
	}
	if err := c.cfg.KV.Delete(ctx, ofAgents+id, 0); err != nil {
		return err
	}
	if err := c.announce(ctx, id); err != nil {
		return err
	}
	_, _, err = c.now(ctx, true)
	return err
}
