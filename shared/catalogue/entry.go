package catalogue

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/egress"
)

// A State says how far an entry can be relied on.
type State string

// All states.
const (
	Current State = "current" // the card is as it was registered
	Drifted State = "drifted" // the card changed what matters; registering it again accepts that
	Down    State = "down"    // the card cannot be read, or has a fault; the entry has the last good one
	Forged  State = "forged"  // the card is not signed as it must be; the entry has the last good one
	Expired State = "expired" // no good card was seen for a week
)

// States are all states.
var States = []State{Current, Drifted, Down, Forged, Expired}

// The values of Entry.For.
const (
	ForPublic  = "public"  // everybody whom the access file lets see something
	ForPartner = "partner" // partners
)

// An Entry is an agent in the catalogue, as the store keeps it.
type Entry struct {
	ID    string `json:"id"`
	Owner string `json:"owner"` // who registered it
	URL   string `json:"url"`   // of the card
	For   string `json:"for"`   // who may see it

	Doc  []byte `json:"doc"`            // the last good card, as it was served
	Said []byte `json:"said,omitempty"` // what was signed of it; empty: it is not signed
	Tag  string `json:"tag,omitempty"`  // its ETag
	Key  string `json:"key,omitempty"`  // the name of the key that signed it; empty: it is not signed

	State   State     `json:"state"`
	Since   time.Time `json:"since"`         // of the state
	Why     string    `json:"why,omitempty"` // for a state other than current
	Seen    time.Time `json:"seen"`          // when a good card was read last
	Checked time.Time `json:"checked"`       // when the card was looked for last
	Changes []Change  `json:"changes,omitempty"`
}

// A Change is something that matters and that has changed in a card.
type Change struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

const maxChanges = 20 // the last ones are kept

// said is what may be believed of the entry's card.
func (e Entry) said() []byte {
	if e.Key != "" {
		return e.Said
	}
	return e.Doc
}

// size is the number of bytes that the entry counts.
func (e Entry) size() int { return len(e.Doc) + len(e.Said) }

// Errors of a card, each with its reason behind it.
var (
	errFault  = errors.New("the card has a fault")
	errForged = errors.New("the card is not signed as it must be")
)

// cardURL is the address of the card of the agent at an address, as package peer reads it.
func cardURL(address string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(address) > maxURL:
		return "", fmt.Errorf("must be the address of an agent or of its card, of at most %d bytes", maxURL)
	case strings.HasSuffix(u.Path, ".json"):
		return address, nil
	case u.RawQuery != "":
		return "", errors.New("has a query, which only the address of a card may have, ending with .json before it")
	}
	return strings.TrimRight(address, "/") + card.Path, nil
}

const maxURL = 2000 // bytes

// assess decides whether to believe the card that an entry's address served. It sets the card of the
// entry, and what of it was signed.
func assess(policy auth.Catalogue, e *Entry, doc []byte) error {
	if len(doc) >= egress.MaxBody {
		return fmt.Errorf("%w: it has more than %d KiB", errFault, egress.MaxBody>>10-1)
	}
	at, err := url.Parse(e.URL)
	if err != nil {
		return err
	}

	keys, own := policy.Keys(hostOf(at))
	said, key, err := card.Verify(doc, keys)
	switch {
	case err == nil:
	case !errors.Is(err, card.ErrSignature):
		return fmt.Errorf("%w: it is not an agent card", errFault)
	case own, policy.Signed:
		return fmt.Errorf("%w: by a key that the operator of the catalogue trusts for its host", errForged)
	case e.Key != "":
		return fmt.Errorf("%w: it was signed before", errForged)
	default:
		said, key = nil, ""
	}

	next := *e
	next.Doc, next.Said, next.Key = doc, said, key
	c, err := card.Read(next.said())
	if err != nil {
		return fmt.Errorf("%w: it is not an agent card", errFault)
	}
	if faults := card.Lint(next.said(), policy.Public && e.For == ForPublic); len(faults) > 0 {
		return fmt.Errorf("%w: %s", errFault, faults[0])
	}
	for i, way := range c.SupportedInterfaces {
		if u, err := url.Parse(way.URL); key == "" && (err != nil || u.Scheme != at.Scheme || hostOf(u) != hostOf(at)) {
			return fmt.Errorf("%w: supportedInterfaces[%d] is at another host than the card, which only a signed card may say", errForged, i)
		}
	}
	*e = next
	return nil
}

// hostOf is the host of a URL, with a port if it is not that of the scheme.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	return strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[u.Scheme])
}

// The times of an entry.
const (
	checkEvery  = time.Hour          // a card is looked for again
	expireAfter = 7 * 24 * time.Hour // without a good card
)

// due reports whether the card is to be looked for.
func (e Entry) due(now time.Time) bool { return !now.Before(e.Checked.Add(checkEvery)) }

// checked is the entry after its card was looked for: doc was served, or err says why not.
func checked(policy auth.Catalogue, e Entry, now time.Time, doc []byte, tag string, err error) Entry {
	before := e
	if err == nil {
		err = assess(policy, &e, doc)
	}
	e.Checked = now
	state, why := Current, ""

	switch {
	case errors.Is(err, errForged):
		state, why = Forged, err.Error()
	case err != nil && before.State == Forged: // until there is a good card
		state, why = Forged, before.Why
	case err != nil && now.Sub(e.Seen) >= expireAfter:
		state, why = Expired, "no good card was seen for a week"
	case errors.Is(err, errFault):
		state, why = Down, err.Error()
	case err != nil:
		state, why = Down, "the card cannot be read"

	default:
		e.Seen, e.Tag = now, tag
		what := differences(before, e)
		for _, w := range what {
			e.Changes = append(slices.Clone(e.Changes), Change{now, w})
		}
		e.Changes = e.Changes[max(0, len(e.Changes)-maxChanges):]
		if len(what) > 0 || before.drifted() {
			state, why = Drifted, "what matters has changed since the agent was registered: see changes"
		}
	}

	if e.State, e.Why = state, why; state != before.State {
		e.Since = now
	}
	return e
}

// drifted reports whether the card has changed since it was registered.
func (e Entry) drifted() bool { return len(e.Changes) > 0 }

// differences says what has changed that matters to who relies on a card.
func differences(before, after Entry) (all []string) {
	was, err1 := card.Read(before.said())
	is, err2 := card.Read(after.said())
	if err1 != nil || err2 != nil { // both were read before
		return nil
	}
	if before.Key != after.Key {
		all = append(all, fmt.Sprintf("key: %s, before %s", orNone(after.Key), orNone(before.Key)))
	}
	if was.Name != is.Name {
		all = append(all, "name: another one")
	}
	for _, s := range was.Skills {
		if !slices.ContainsFunc(is.Skills, func(o a2a.AgentSkill) bool { return o.ID == s.ID }) {
			all = append(all, "skills: "+clip(s.ID)+" is gone")
		}
	}
	for _, w := range was.SupportedInterfaces {
		same := func(o *a2a.AgentInterface) bool { return o.URL == w.URL && o.ProtocolBinding == w.ProtocolBinding }
		if !slices.ContainsFunc(is.SupportedInterfaces, same) {
			all = append(all, "supportedInterfaces: "+clip(string(w.ProtocolBinding))+" is no longer where it was")
		}
	}
	return all[:min(len(all), maxChanges)]
}

// clip bounds what a card says in the text of a change.
func clip(s string) string { return string([]rune(s)[:min(len([]rune(s)), 100)]) }

func orNone(key string) string {
	if key == "" {
		return "none"
	}
	return clip(key)
}

func encode(e Entry) ([]byte, error) { return json.Marshal(e) }
