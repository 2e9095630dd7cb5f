package catalogue

import (
	"encoding/json"
	"time"

	"errand/shared/catalogue"
)

// An Agent is an agent as a caller sees it. What the caller does not see is left out.
type Agent struct {
	// For every caller who sees the agent.
	ID          string    `json:"id"`
	URL         string    `json:"url"`  // of its card
	Host        string    `json:"host"` // that serves the card: the agent's own name proves nothing
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Version     string    `json:"version"`
	Provider    *Provider `json:"provider,omitempty"`
	Tags        []string  `json:"tags"`
	Signed      bool      `json:"signed"` // by a key that the operator of the catalogue trusts

	// For callers with credentials.
	State            string          `json:"state,omitempty"`
	Since            *time.Time      `json:"since,omitempty"` // of the state
	Skills           []Skill         `json:"skills,omitempty"`
	Capabilities     []string        `json:"capabilities,omitempty"`
	Modes            []string        `json:"modes,omitempty"` // media types that it takes or gives
	DocumentationURL string          `json:"documentationUrl,omitempty"`
	Card             json.RawMessage `json:"card,omitempty"` // as it was served; in the answer about one agent

	// For who registered the agent, and for admins.
	Owner   string     `json:"owner,omitempty"`
	For     string     `json:"for,omitempty"`     // public or partner
	Key     string     `json:"key,omitempty"`     // the name of the key that signed the card
	Why     string     `json:"why,omitempty"`     // for a state other than current
	Seen    *time.Time `json:"seen,omitempty"`    // when a good card was read last
	Checked *time.Time `json:"checked,omitempty"` // when the card was looked for last
	Changes []Change   `json:"changes,omitempty"` // since it was registered
}

// A Provider is who offers an agent, as its card says.
type Provider struct {
	Organization string `json:"organization"`
	URL          string `json:"url"`
}

// A Skill is a skill of an agent.
type Skill struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
}

// A Change is something that matters and that has changed in a card.
type Change struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// A List is a page of agents.
type List struct {
	Agents []Agent `json:"agents"`
	Total  int     `json:"total"`         // agents on all pages
	Next   string  `json:"nextPageToken"` // empty: the list ends here
}

// viewOf is an agent with as much as its level shows.
func viewOf(s catalogue.Seen) Agent {
	c := s.Card
	v := Agent{
		ID: s.ID, URL: s.URL, Host: hostOf(s.URL), Name: c.Name, Description: c.Description, Version: c.Version,
		Tags: append([]string{}, s.Tags...), Signed: s.Key != "",
	}
	if p := c.Provider; p != nil {
		v.Provider = &Provider{p.Org, p.URL}
	}
	if s.Level < catalogue.Usual {
		return v
	}

	v.State, v.Since = string(s.State), utc(s.Since)
	v.Capabilities, v.Modes, v.DocumentationURL = s.Capabilities, s.Modes, c.DocumentationURL
	for _, k := range c.Skills {
		v.Skills = append(v.Skills, Skill{k.ID, k.Name, k.Description, append([]string{}, k.Tags...)})
	}
	if s.Level < catalogue.Full {
		return v
	}

	v.Owner, v.For, v.Key, v.Why = s.Owner, s.For, s.Key, s.Why
	v.Seen, v.Checked = utc(s.Entry.Seen), utc(s.Checked)
	for _, c := range s.Changes {
		v.Changes = append(v.Changes, Change{c.At.UTC(), c.What})
	}
	return v
}

// withCard is the same with the card.
func withCard(s catalogue.Seen) Agent {
	v := viewOf(s)
	if s.Level >= catalogue.Usual {
		v.Card = s.Doc
	}
	return v
}

func utc(t time.Time) *time.Time {
	t = t.UTC()
	return &t
}
