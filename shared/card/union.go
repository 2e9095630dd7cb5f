package card

import (
	"encoding/json"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/dialect"
)

// A union is a card of 1.0 with the fields beside it that clients of 0.3 need. The rest of
// the card reads the same in both.
type union struct {
	*a2a.AgentCard
	ProtocolVersion      string                `json:"protocolVersion"`
	URL                  string                `json:"url"`
	PreferredTransport   a2a.TransportProtocol `json:"preferredTransport"`
	AdditionalInterfaces []oldInterface        `json:"additionalInterfaces"`

	// Only clients of 0.3 are told which credentials to show. For 1.0 the proto has another
	// form than the Go SDK reads, and a client of either form refuses the whole card in the
	// other. The schemes are there, and a 401 has the rest.
	Requirements *struct{}                                             `json:"securityRequirements,omitempty"`
	Security     []map[a2a.SecuritySchemeName]a2a.SecuritySchemeScopes `json:"security,omitempty"`
	Schemes      map[a2a.SecuritySchemeName]scheme                     `json:"securitySchemes,omitempty"`
}

type oldInterface struct {
	Transport a2a.TransportProtocol `json:"transport"`
	URL       string                `json:"url"`
}

// A scheme is a security scheme in both forms: 1.0 wraps it in a field named after its
// kind, 0.3 has a type.
type scheme struct {
	APIKey        *a2a.APIKeySecurityScheme        `json:"apiKeySecurityScheme,omitempty"`
	HTTP          *a2a.HTTPAuthSecurityScheme      `json:"httpAuthSecurityScheme,omitempty"`
	OpenIDConnect *a2a.OpenIDConnectSecurityScheme `json:"openIdConnectSecurityScheme,omitempty"`
	OAuth2        *a2a.OAuth2SecurityScheme        `json:"oauth2SecurityScheme,omitempty"`
	MutualTLS     *a2a.MutualTLSSecurityScheme     `json:"mtlsSecurityScheme,omitempty"`

	Type             string                           `json:"type"`
	Description      string                           `json:"description,omitempty"`
	In               a2a.APIKeySecuritySchemeLocation `json:"in,omitempty"`
	Name             string                           `json:"name,omitempty"`
	Scheme           string                           `json:"scheme,omitempty"`
	BearerFormat     string                           `json:"bearerFormat,omitempty"`
	OpenIDConnectURL string                           `json:"openIdConnectUrl,omitempty"`
	Flows            json.RawMessage                  `json:"flows,omitempty"`
}

// Encode encodes the card for the clients of both versions (D3, D27).
func Encode(c *a2a.AgentCard) ([]byte, error) {
	u := union{AgentCard: c, ProtocolVersion: dialect.Version03, Schemes: map[a2a.SecuritySchemeName]scheme{}}
	for _, i := range c.SupportedInterfaces {
		if i.ProtocolVersion != dialect.Version03 {
			continue
		}
		if u.URL == "" {
			u.URL, u.PreferredTransport = i.URL, i.ProtocolBinding
		}

		u.AdditionalInterfaces = append(u.AdditionalInterfaces, oldInterface{i.ProtocolBinding, i.URL})
	}

	for _, r := range c.SecurityRequirements {
		u.Security = append(u.Security, r)
	}

	for name, s := range c.SecuritySchemes {
		switch s := s.(type) {
		case a2a.APIKeySecurityScheme:
			u.Schemes[name] = scheme{APIKey: &s, Type: "apiKey", Description: s.Description, In: s.Location, Name: s.Name}
		case a2a.HTTPAuthSecurityScheme:
			u.Schemes[name] = scheme{HTTP: &s, Type: "http", Description: s.Description, Scheme: s.Scheme, BearerFormat: s.BearerFormat}
		case a2a.OpenIDConnectSecurityScheme:
			u.Schemes[name] = scheme{OpenIDConnect: &s, Type: "openIdConnect", Description: s.Description, OpenIDConnectURL: s.OpenIDConnectURL}
		case a2a.OAuth2SecurityScheme:
			flows, err := flowsOf(s)
			if err != nil {
				return nil, err
			}
			u.Schemes[name] = scheme{OAuth2: &s, Type: "oauth2", Description: s.Description, Flows: flows}
		case a2a.MutualTLSSecurityScheme:
			u.Schemes[name] = scheme{MutualTLS: &s, Type: "mutualTLS", Description: s.Description}
		default:
			return nil, fmt.Errorf("the card cannot say a scheme of type %T", s)
		}
	}

	return json.Marshal(u)
}

// flowsOf are the flows of a scheme as both versions write them.
func flowsOf(s a2a.OAuth2SecurityScheme) (json.RawMessage, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var whole struct {
		Flows json.RawMessage `json:"flows"`
	}
	err = json.Unmarshal(text, &whole)
	return whole.Flows, err
}
