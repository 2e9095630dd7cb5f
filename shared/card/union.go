package card

import (
	"encoding/json"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/dialect"
)

// A union is a card of 1.0 with the fields beside it by which clients of 0.3 find their
// way; the rest of the card reads the same in both.
type union struct {
	*a2a.AgentCard
	ProtocolVersion      string                `json:"protocolVersion"`
	URL                  string                `json:"url"`
	PreferredTransport   a2a.TransportProtocol `json:"preferredTransport"`
	AdditionalInterfaces []oldInterface        `json:"additionalInterfaces"`
}

type oldInterface struct {
	Transport a2a.TransportProtocol `json:"transport"`
	URL       string                `json:"url"`
}

// unite encodes the card for the clients of both versions (D3, D27).
func unite(c *a2a.AgentCard) ([]byte, error) {
	u := union{AgentCard: c, ProtocolVersion: dialect.Version03}
	for _, i := range c.SupportedInterfaces {
		if i.ProtocolVersion != dialect.Version03 {
			continue
		}
		if u.URL == "" {
			u.URL, u.PreferredTransport = i.URL, i.ProtocolBinding
		}
		u.AdditionalInterfaces = append(u.AdditionalInterfaces, oldInterface{i.ProtocolBinding, i.URL})
	}
	return json.Marshal(u)
}
