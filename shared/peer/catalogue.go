package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const (
	catalogued = "/catalogue/agents" // where the agents of a catalogue are, below its address
	maxAnswer  = 1 << 20             // bytes of an answer of a catalogue
	maxNamed   = 10                  // agents that an error names
)

// InCatalogue looks for the card of an agent in the catalogue at an address. Exactly one agent must have what
// query asks for: skill, tag, provider, capability, mode or q. sign adds the credentials of the reader;
// nil: none. Whoever registered the agent chose what is found, so the card is doubtful.
func InCatalogue(address string, query url.Values, client Doer, sign func(*http.Request) error) Reader {
	base := strings.TrimRight(address, "/") + catalogued
	return func(ctx context.Context, _ Copy) (Copy, error) {
		var found struct {
			Agents []struct{ ID string }
			Total  int
		}
		values := url.Values{"pageSize": {fmt.Sprint(maxNamed)}}
		for name, v := range query {
			values[name] = v
		}
		at, err := ask(ctx, base+"?"+values.Encode(), client, sign, &found)
		if err != nil {
			return Copy{}, err
		}
		if found.Total != 1 || len(found.Agents) != 1 {
			return Copy{}, notOne(found.Total, found.Agents)
		}

		var one struct{ Card json.RawMessage }
		if _, err := ask(ctx, base+"/"+url.PathEscape(found.Agents[0].ID), client, sign, &one); err != nil {
			return Copy{}, err
		}
		if len(one.Card) == 0 {
			return Copy{}, errors.New("the catalogue shows no card: it needs credentials")
		}
		return Copy{Doc: one.Card, Origin: at, Doubtful: true}, nil
	}
}

// notOne says how many agents were found, and which.
func notOne(total int, agents []struct{ ID string }) error {
	if total == 0 {
		return errors.New("the catalogue has no agent that is asked for")
	}
	var ids []string
	for _, a := range agents[:min(len(agents), maxNamed)] {
		ids = append(ids, fmt.Sprintf("%.40q", a.ID))
	}
	return fmt.Errorf("the catalogue has %d agents that are asked for, and one is wanted: %s", total, strings.Join(ids, ", "))
}

// ask asks a catalogue, and returns its origin.
func ask(ctx context.Context, at string, client Doer, sign func(*http.Request) error, into any) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return "", fmt.Errorf("the address of a catalogue: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if sign != nil {
		if err := sign(req); err != nil {
			return "", err
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()

	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the catalogue answers %d", res.StatusCode)
	}
	text, whole, err := readUpTo(res.Body, maxAnswer)
	if err == nil && !whole {
		err = fmt.Errorf("the answer of the catalogue has more than %d KiB", maxAnswer>>10)
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	return origin(req.URL), err
}
