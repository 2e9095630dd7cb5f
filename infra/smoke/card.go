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
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"

	"errand/shared/loopback"
)

const cardPath = "/.well-known/agent-card.json"

// checkCard fetches and judges the card. Without a usable one there is nothing to go by.
func (r *run) checkCard(ctx context.Context) bool {
	var card *a2a.AgentCard
	bad := r.report.check(ctx, "card", "", callTimeout, func(ctx context.Context) (string, error) {
		var err error
		if card, err = (&agentcard.Resolver{Client: r.client, CardParser: parse}).Resolve(ctx, r.base.String()); err != nil {
			return "", r.noCard(err)
		}
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
		return describe(card), r.encrypted()
	})
	return bad == nil || r.card != nil
}

// parse reads a card without its requirements, of which SDKs have two forms and refuse
// a card with the other one: the schemes say what could be asked for.
func parse(data []byte) (*a2a.AgentCard, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	delete(fields, "securityRequirements")
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	return agentcard.DefaultCardParser(data)
}

// noCard is why there is no card at the address.
func (r *run) noCard(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &kind) {
		return wrong([]string{"give the address of an agent: " + cardPath + " is asked for below it"},
			"what is at %s is no agent card: %s", r.base.JoinPath(cardPath), quote(err.Error()))
	}
	return err
}

// judge says what a card lacks. Section 4.4.1 of the specification names the fields.
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
		mend := []string{"an agent of A2A 1.0 has them all; one of 0.3 alone has no supportedInterfaces and cannot be tried"}
		return wrong(mend, "the card lacks %s", strings.Join(missing, ", "))
	}
	if !slices.ContainsFunc(c.SupportedInterfaces, func(i *a2a.AgentInterface) bool { return major(i) == "1" }) {
		return wrong([]string{"1.0 is what is tried here; protocolVersion must say so"}, "the card declares no interface of A2A 1.0")
	}
	return nil
}

// leadsHere refuses an interface elsewhere: clients would not get through, and
// credentials are not sent to a host that nobody named.
func (r *run) leadsHere(i *a2a.AgentInterface) error {
	u, err := url.Parse(i.URL)
	if err != nil || u.Hostname() == "" {
		return wrong([]string{"set ERRAND_URL to the complete address at which clients reach the agent"}, "the card leads to %q, which is no address", quote(i.URL))
	}
	if hostPort(u) != hostPort(r.base) || u.Scheme != r.base.Scheme {
		return wrong([]string{
			"set ERRAND_URL to the address at which clients reach the agent: " + r.base.String() + ", if this is it",
			"if the agent is meant to be reached at " + u.Scheme + "://" + u.Host + ", try it there",
		}, "the card leads to %s, and you asked %s: clients go where the card leads", i.URL, r.base)
	}
	return nil
}

// encrypted is a fault when anybody on the way could read along.
func (r *run) encrypted() error {
	if r.base.Scheme == "https" || loopback.Is(r.base.Host) {
		return nil
	}
	return wrong([]string{"put TLS in front of the agent (Cloud Run does) and set ERRAND_URL to its https:// address"},
		"%s is not encrypted: messages and credentials can be read on the way", r.base)
}

// keyHeader is where the card wants API keys.
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

// describe says what the card declares.
func describe(c *a2a.AgentCard) string {
	var bindings, versions []string
	for _, i := range c.SupportedInterfaces {
		bindings, versions = append(bindings, string(i.ProtocolBinding)), append(versions, string(i.ProtocolVersion))
	}
	s := fmt.Sprintf("%s %s, %s, %s", c.Name, c.Version, list(bindings, "and"), list(versions, "and"))
	if len(c.SecuritySchemes) == 0 {
		return s + "; asks nobody who they are"
	}
	var schemes []string
	for name := range c.SecuritySchemes {
		schemes = append(schemes, string(name))
	}
	slices.Sort(schemes)
	return s + "; asks for " + list(schemes, "or")
}

// list names each once.
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

// oldUnknown asks an interface of 0.3 for a task that does not exist: it answers, and in
// its version. More is not tried, since both versions are one agent behind the bindings.
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
		return "", wrong([]string{"either the card declares an interface that is not served, or something in between changes answers"},
			"asked for a task that does not exist, it answers %d %s", resp.StatusCode, quote(string(text)))
	}
}
