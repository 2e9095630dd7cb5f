// Package card derives the agent card from the agent's definition and serves it at its
// well-known paths: one document that clients of A2A 1.0 and of 0.3 both read.
//
// It knows no other operation of the protocol and no identity: who may read which card is decided
// by its caller, who also makes the extended card of one caller with [Signed]. It has no keys: whoever makes it signs (D17).
package card

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/agent"
	"errand/shared/dialect"
)

// Path is where clients look for the card (A2A 1.0, sections 8.2 and 14.3), OldPath is
// where clients of 0.2 do.
const (
	Path    = "/.well-known/agent-card.json"
	OldPath = "/.well-known/agent.json"
)

// Security is how callers identify themselves. The zero value means that they do not.
type Security struct {
	Schemes  a2a.NamedSecuritySchemes
	Required a2a.SecurityRequirementsOptions // a caller needs to meet one of them
}

// Config is the input of a card.
type Config struct {
	Agent    *agent.Agent
	Security Security

	// URL is where clients reach the agent, for example https://agent.example.com. Every
	// binding and version is served there, and the paths of HTTP+JSON below it.
	URL string

	// Loopback says that the listener is on loopback, and that the Host header of each
	// request was checked. Without it, and without a URL, no card may be kept by a cache:
	// its address is the one that the client named.
	Loopback bool

	// MaxMessage is how many bytes a task may have when it takes a message. The description says
	// so, because the card has no other place for it; 0: it does not.
	MaxMessage int

	// Private says that the card is not for everybody: no shared cache may keep it.
	Private bool

	// Known makes the extended card of one caller, who is known: it has the details of skills,
	// and the private ones that See reports. Without it the card is the public one.
	Known bool
	See   func(skill string) bool // nil: none

	// Sign signs what the card's signatures are made over ([Canonical]), with every key in use. base
	// is where clients reach the agent. nil: the card is not signed.
	Sign func(base string, payload []byte) ([]a2a.AgentCardSignature, error)

	// Modified is the time of the definition's last change: at best the time of the build,
	// at worst the start of the process.
	Modified time.Time
}

// Derive makes the card of the agent at cfg.URL. The addresses for HTTP+JSON end without a
// slash, because clients append paths such as /message:send to them as they are. Those for
// JSON-RPC end with one if there is a path, because proxies redirect POST /path to /path/, and
// clients follow with GET: https://nginx.org/en/docs/http/ngx_http_core_module.html#location
func Derive(cfg Config) (*a2a.AgentCard, error) {
	a := cfg.Agent
	base, rpc, err := clean(cfg.URL)
	if err != nil {
		return nil, err
	}

	c := &a2a.AgentCard{
		SupportedInterfaces: []*a2a.AgentInterface{ // preferred first
			{URL: rpc, ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: dialect.Version1},
			{URL: base, ProtocolBinding: a2a.TransportProtocolHTTPJSON, ProtocolVersion: dialect.Version1},
			{URL: rpc, ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: dialect.Version03},
			{URL: base, ProtocolBinding: a2a.TransportProtocolHTTPJSON, ProtocolVersion: dialect.Version03},
		},
		Capabilities:       a2a.AgentCapabilities{Streaming: a.Capabilities.Streaming, PushNotifications: a.Capabilities.PushNotifications, ExtendedAgentCard: cfg.Security.Schemes != nil, Extensions: Extensions(a)},
		Name:               a.Name,
		Description:        strings.TrimSpace(a.Description) + sizes(cfg.MaxMessage),
		Version:            a.Version,
		DocumentationURL:   a.DocumentationURL,
		IconURL:            a.IconURL,
		DefaultInputModes:  list(a.InputModes),
		DefaultOutputModes: list(a.OutputModes),
		Skills:             make([]a2a.AgentSkill, 0, len(a.Skills)),

		SecuritySchemes:      cfg.Security.Schemes,
		SecurityRequirements: cfg.Security.Required,
	}

	if a.Provider != nil {
		c.Provider = &a2a.AgentProvider{Org: a.Provider.Organization, URL: a.Provider.URL}
	}

	for _, s := range a.Skills {
		if s.Private && (!cfg.Known || cfg.See == nil || !cfg.See(s.ID)) {
			continue
		}
		description := s.Description
		if cfg.Known && s.Details != "" {
			description = strings.TrimSpace(description) + "\n\n" + s.Details
		}
		c.Skills = append(c.Skills, a2a.AgentSkill{
			ID: s.ID, Name: s.Name, Description: description,
			Tags: list(s.Tags), Examples: list(s.Examples),
			InputModes: list(s.InputModes), OutputModes: list(s.OutputModes),
		})
	}

	return c, nil
}

// sizes tells how large a message may be. The bytes of a file are counted in base64, which makes
// four of three, and some room is for the rest of the message.
func sizes(most int) string {
	if most == 0 {
		return ""
	}
	const rest = 8 << 10
	return fmt.Sprintf(" A message may have %d KiB together with its task, and a file in it about %d KiB: send the URL of a larger file.", most>>10, (most-rest)/4*3>>10)
}

// Extensions are the protocol extensions that the card declares.
func Extensions(a *agent.Agent) []a2a.AgentExtension {
	var all []a2a.AgentExtension
	for _, e := range a.Extensions {
		all = append(all, a2a.AgentExtension{URI: e.URI, Description: e.Description, Required: e.Required})
	}
	return all
}

// list copies s. The copy is never nil, because the SDK writes a nil slice of a required
// field as null.
func list(s []string) []string { return append([]string{}, s...) }

// clean checks a base address. It returns it without a slash at its end, and as it is for
// JSON-RPC.
func clean(base string) (rest, rpc string, err error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" {
		return "", "", errors.New("the agent's address must be complete, such as https://agent.example.com")
	}
	if u.User != nil || strings.ContainsAny(base, "?#") {
		return "", "", errors.New("the agent's address must have no user, query or fragment, such as https://agent.example.com")
	}

	rest = strings.TrimRight(base, "/")
	if strings.Trim(u.Path, "/") != "" {
		return rest, rest + "/", nil
	}
	return rest, rest, nil
}
