package catalogue

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/kv"
)

// A Level is how much of an agent a caller sees.
type Level int

// All levels. Each has what the one before has, and more.
const (
	Hidden Level = iota // for the caller there is no such agent
	Brief               // its name, description, version, provider and tags, and where its card is
	Usual               // its skills, modes, capabilities and state, and the card
	Full                // who registered it, for whom, the key, and what has changed
)

// A Viewer is a caller of the catalogue.
type Viewer struct {
	Owner string
	auth.Part
	Public bool // callers without credentials see the public agents
}

// Viewer is the caller with a name.
func (c *Catalogue) Viewer(owner string) Viewer {
	return Viewer{Owner: owner, Part: c.cfg.Policy.Part(owner), Public: c.cfg.Policy.Catalogue().Public}
}

// level decides how much of an entry a caller sees.
func level(v Viewer, e *Entry) Level {
	switch {
	case v.Known && (v.Admin || e.Owner == v.Owner):
		return Full
	case e.State == Forged, e.State == Expired:
		return Hidden
	case v.Known && (v.Partner || e.For == ForPublic):
		return Usual
	case !v.Known && v.Public && e.For == ForPublic:
		return Brief
	}
	return Hidden
}

// An item is an entry in memory, with its card.
type item struct {
	Entry
	Card         *a2a.AgentCard
	Tags         []string         // of all skills, in order
	Capabilities []string         // what it can do beside answering
	Modes        []string         // media types that it takes or gives
	text         [Full + 1]string // where a search for text looks, by level, in lower case
	sort         string           // its place in the list
	version      int64
}

// A Seen is an agent as a caller sees it. Fields above the level are not for the caller.
type Seen struct {
	*item
	Level Level
}

func newItem(stored kv.Entry) (*item, error) {
	i := &item{version: stored.Version}
	if err := json.Unmarshal(stored.Value, &i.Entry); err != nil {
		return nil, err
	}
	c, err := card.Read(i.said())
	if err != nil {
		return nil, err
	}
	i.Card, i.sort = c, strings.ToLower(c.Name)+"\x00"+i.ID

	brief := []string{c.Name, c.Description, c.Version, i.URL}
	if c.Provider != nil {
		brief = append(brief, c.Provider.Org)
	}
	usual := []string{}
	for _, s := range c.Skills {
		i.Tags = append(i.Tags, s.Tags...)
		usual = append(usual, s.ID, s.Name, s.Description)
	}
	slices.Sort(i.Tags)
	i.Tags, i.Capabilities, i.Modes = slices.Compact(i.Tags), capabilitiesOf(c), modesOf(c)

	i.text[Brief] = textOf(append(brief, i.Tags...))
	i.text[Usual] = i.text[Brief] + "\n" + textOf(usual)
	i.text[Full] = i.text[Usual] + "\n" + textOf([]string{i.Owner, i.Key})
	return i, nil
}

// textOf is fields as a search looks at them: no word goes from one into the next.
func textOf(fields []string) string { return strings.ToLower(strings.Join(fields, "\n")) }

// inOrder is the order of pages: by name, then by id.
func inOrder(items map[string]*item) []*item {
	return slices.SortedFunc(maps.Values(items), func(a, b *item) int { return strings.Compare(a.sort, b.sort) })
}

// A Query says which agents are wanted: those that have everything that is set. A field of an agent
// that the caller does not see has nothing.
type Query struct {
	Skill      string // the id or the name of a skill
	Tag        string // of a skill
	Provider   string // the name of its organisation
	Capability string // streaming, pushNotifications, extendedAgentCard, or the URI of an extension
	Mode       string // a media type that it takes or gives
	Text       string // words that its fields have
	State      State  // without it there are no forged and no expired ones
}

// matches decides whether a caller who sees so much of an agent finds it. words are those of the query's text.
func matches(q Query, words []string, i *item, l Level) bool {
	if l == Hidden {
		return false
	}
	if l < Usual && (q.Skill != "" || q.Capability != "" || q.Mode != "" || q.State != "") {
		return false
	}
	ordinary := i.State != Forged && i.State != Expired
	if q.State == "" && !ordinary || q.State != "" && i.State != q.State {
		return false
	}

	is := func(want string) func(string) bool {
		return func(s string) bool { return strings.EqualFold(s, want) }
	}
	switch {
	case q.Skill != "" && !slices.ContainsFunc(i.Card.Skills, func(s a2a.AgentSkill) bool { return s.ID == q.Skill || strings.EqualFold(s.Name, q.Skill) }),
		q.Tag != "" && !slices.ContainsFunc(i.Tags, is(q.Tag)),
		q.Provider != "" && (i.Card.Provider == nil || !strings.EqualFold(i.Card.Provider.Org, q.Provider)),
		q.Capability != "" && !slices.Contains(i.Capabilities, q.Capability),
		q.Mode != "" && !slices.ContainsFunc(i.Modes, is(q.Mode)):
		return false
	}
	for _, word := range words {
		if !strings.Contains(i.text[l], word) {
			return false
		}
	}
	return true
}

// capabilitiesOf are the names of what an agent can do beside answering.
func capabilitiesOf(c *a2a.AgentCard) (all []string) {
	for name, has := range map[string]bool{
		"streaming": c.Capabilities.Streaming, "pushNotifications": c.Capabilities.PushNotifications, "extendedAgentCard": c.Capabilities.ExtendedAgentCard,
	} {
		if has {
			all = append(all, name)
		}
	}
	for _, e := range c.Capabilities.Extensions {
		all = append(all, e.URI)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// modesOf are the media types that an agent takes or gives, in one of its skills or in all.
func modesOf(c *a2a.AgentCard) (all []string) {
	all = slices.Concat(c.DefaultInputModes, c.DefaultOutputModes)
	for _, s := range c.Skills {
		all = append(append(all, s.InputModes...), s.OutputModes...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Place is where an agent stands in the list.
func (s Seen) Place() string { return s.sort }

// now returns the agents as they are, in order, which nobody changes. fresh says that a second ago is
// not good enough.
func (c *Catalogue) now(ctx context.Context, fresh bool) ([]*item, map[string]*item, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.look(ctx, c.cfg.Now(), fresh)
	return c.list, c.items, err
}

// Find returns the agents that a caller finds, which come after a place of the list: at most limit of
// them, and how many there are on all pages. more says that there are further ones.
func (c *Catalogue) Find(ctx context.Context, v Viewer, q Query, after string, limit int) (page []Seen, total int, more bool, err error) {
	list, _, err := c.now(ctx, false)
	if err != nil {
		return nil, 0, false, err
	}
	words := strings.Fields(strings.ToLower(q.Text))
	for _, i := range list {
		l := level(v, &i.Entry)
		if !matches(q, words, i, l) {
			continue
		}
		total++
		switch {
		case i.sort <= after:
		case len(page) < limit:
			page = append(page, Seen{i, l})
		default:
			more = true
		}
	}
	return page, total, more, nil
}

// Get returns an agent as a caller sees it.
func (c *Catalogue) Get(ctx context.Context, v Viewer, id string) (Seen, error) {
	_, items, err := c.now(ctx, false)
	if err != nil {
		return Seen{}, err
	}
	i := items[id]
	if i == nil || level(v, &i.Entry) == Hidden {
		return Seen{}, ErrNotFound
	}
	return Seen{i, level(v, &i.Entry)}, nil
}

// byAge are entries in the order in which their cards are looked for.
func byAge(list []*item) []*item {
	return slices.SortedFunc(slices.Values(list), func(a, b *item) int { return a.Checked.Compare(b.Checked) })
}
