package smoke

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/loopback"
	"errand/shared/peer"
)

const cardPath = "/.well-known/agent-card.json"

// checkCard fetches and judges the card. Without a usable card no other check is possible.
func (r *run) checkCard(ctx context.Context) bool {
	bad := r.report.check(ctx, "card", "", callTimeout, func(ctx context.Context) (string, error) {
		known, err := r.peer().Card(ctx)
		if err != nil {
			return "", r.noCard(err)
		}
		card := known.Card
		if err := judge(card); err != nil {
			return "", err
		}
		for _, i := range card.SupportedInterfaces {
			if err := r.leadsHere(i); err != nil {
				return "", err
			}
		}
		r.card = card
		r.keyHeader()
		return describe(card) + signed(known), r.encrypted()
	})
	return bad == nil || r.card != nil
}

// peer is the agent that is tried.
func (r *run) peer() *peer.Peer {
	c := peer.Config{Read: peer.AtURL(r.base.String(), r.client, nil)}
	if r.CardKeys != "" {
		c.Keys = peer.KeysInFile(r.CardKeys)
	}
	return peer.New(c)
}

// noCard is the reason why there is no card at the address.
func (r *run) noCard(err error) error {
	switch {
	case errors.Is(err, peer.ErrForged):
		return wrong([]string{
			"the file must have the key set of this agent, got from its operator: an agent serves it at " + r.base.JoinPath("/.well-known/jwks.json").String(),
			"if it has, somebody on the way changed the card, or the agent signs with keys of another installation",
		}, "the card is signed by none of the keys in %s", r.CardKeys)
	case errors.Is(err, peer.ErrNoCard):
		return wrong([]string{"give the address of an agent: " + cardPath + " is read below it"},
			"the text at %s is no agent card: %s", r.base.JoinPath(cardPath), quote(err.Error()))
	}
	return err
}

// signed says whether the card is signed, and by whom.
func signed(k *peer.Known) string {
	switch {
	case k.Signed != "":
		return "; signed by " + quote(k.Signed)
	case len(k.Card.Signatures) > 0:
		return "; signed, which -card-keys checks"
	}
	return ""
}

// judge reports missing parts of a card. Section 4.4.1 of the specification names the
// fields.
func judge(c *a2a.AgentCard) error {
	var missing []string
	for _, f := range []struct {
		name  string
		there bool
	}{
		{"name", c.Name != ""}, {"description", c.Description != ""}, {"version", c.Version != ""},
		{"defaultInputModes", len(c.DefaultInputModes) > 0}, {"defaultOutputModes", len(c.DefaultOutputModes) > 0},
		{"skills", len(c.Skills) > 0}, {"supportedInterfaces", len(c.SupportedInterfaces) > 0},
	} {
		if !f.there {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		mend := []string{"an agent of A2A 1.0 has all of them; an agent of 0.3 only has no supportedInterfaces and cannot be tried"}
		return wrong(mend, "the card lacks %s", strings.Join(missing, ", "))
	}
	if !slices.ContainsFunc(c.SupportedInterfaces, func(i *a2a.AgentInterface) bool { return major(i) == "1" }) {
		return wrong([]string{"only version 1.0 can be tried; protocolVersion must name it"}, "the card declares no interface of A2A 1.0")
	}
	return nil
}

// leadsHere refuses an interface on another host: clients would not reach it, and
// credentials are sent only to the host that the user named. An interface of the address that
// the card should lead to is tried at the address that was named.
func (r *run) leadsHere(i *a2a.AgentInterface) error {
	u, err := url.Parse(i.URL)
	if err != nil || u.Hostname() == "" {
		return wrong([]string{"set ERRAND_URL to the complete address at which clients reach the agent"}, "the card leads to %q, which is no address", quote(i.URL))
	}
	if hostPort(u) != hostPort(r.served) || u.Scheme != r.served.Scheme {
		here := u.Scheme + "://" + u.Host
		return wrong([]string{
			"set ERRAND_URL to the address at which clients reach the agent: " + r.served.String() + ", if this is it",
			"if clients should reach the agent at " + here + ", try it there, or add -card " + here + " to try a new version that gets no requests yet",
		}, "the card leads to %s, and you tried %s: clients follow the card", i.URL, r.base)
	}
	u.Scheme, u.Host = r.base.Scheme, r.base.Host
	i.URL = u.String()
	return nil
}

// encrypted is a fault if others on the way could read the messages.
func (r *run) encrypted() error {
	if r.base.Scheme == "https" || loopback.Is(r.base.Host) {
		return nil
	}
	return wrong([]string{"put TLS in front of the agent (Cloud Run does) and set ERRAND_URL to its https:// address"},
		"%s is not encrypted: messages and credentials can be read on the way", r.base)
}

// keyHeader finds the header in which the card wants API keys.
func (r *run) keyHeader() {
	bearer := false
	for _, s := range r.card.SecuritySchemes {
		switch s := s.(type) {
		case a2a.APIKeySecurityScheme:
			if s.Location == a2a.APIKeySecuritySchemeLocationHeader {
				r.courier.keyHeader = s.Name
				return
			}
		case a2a.HTTPAuthSecurityScheme:
			bearer = bearer || strings.EqualFold(s.Scheme, "Bearer")
		}
	}
	if bearer {
		r.courier.keyHeader = ""
	}
}

// describe summarises the card.
func describe(c *a2a.AgentCard) string {
	var bindings, versions []string
	for _, i := range c.SupportedInterfaces {
		bindings, versions = append(bindings, string(i.ProtocolBinding)), append(versions, string(i.ProtocolVersion))
	}
	s := fmt.Sprintf("%s %s, %s, %s", c.Name, c.Version, list(bindings, "and"), list(versions, "and"))
	if len(c.SecuritySchemes) == 0 {
		return s + "; asks for no credentials"
	}
	var schemes []string
	for name := range c.SecuritySchemes {
		schemes = append(schemes, string(name))
	}
	slices.Sort(schemes)
	return s + "; asks for " + list(schemes, "or")
}

// list joins the names, each once.
func list(names []string, last string) string {
	var once []string
	for _, n := range names {
		if n = strings.Replace(n, "JSONRPC", "JSON-RPC", 1); !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	if n := len(once) - 1; n > 0 {
		return strings.Join(once[:n], ", ") + " " + last + " " + once[n]
	}
	return strings.Join(once, "")
}

// oldUnknown reads a task that does not exist over an interface of 0.3, which must answer
// in its version. Nothing else is tried, because both versions are one agent behind the
// bindings.
func (r *run) oldUnknown(ctx context.Context, i *a2a.AgentInterface) (string, error) {
	id := string(a2a.NewTaskID())
	method, target := http.MethodGet, strings.TrimSuffix(i.URL, "/")+"/v1/tasks/"+id
	var body []byte

	if i.ProtocolBinding == a2a.TransportProtocolJSONRPC {
		method, target = http.MethodPost, i.URL
		body = fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"id":%q}}`, id)
	}

	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return "", err
	}

	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(a2a.SvcParamVersion, string(i.ProtocolVersion))
	resp, err := r.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", err
	}

	var told struct {
		Error struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}

	const taskNotFound = -32001
	switch err := json.Unmarshal(text, &told); {
	case err == nil && told.Error.Code == taskNotFound, err == nil && body == nil && resp.StatusCode == http.StatusNotFound:
		return notThere, nil
	default:
		return "", wrong([]string{"either the card declares an interface that is not served, or a proxy in between changes answers"},
			"the answer about a task that does not exist is %d %s", resp.StatusCode, quote(string(text)))
	}
}
