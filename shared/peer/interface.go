package peer

import (
	"errors"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// ErrInterface says that the agent speaks nothing that is spoken here.
var ErrInterface = errors.New("peer: the card has no interface of A2A 1.0 or 0.3 over JSON-RPC or HTTP+JSON")

// bindings and versions are those that are spoken here. The first version is preferred.
var (
	bindings = []a2a.TransportProtocol{a2a.TransportProtocolJSONRPC, a2a.TransportProtocolHTTPJSON}
	versions = []string{"1", "0.3"}
)

// Interface is the interface by which the agent is called: the first of its list that is spoken
// here (A2A 1.0, section 8.3.2), of the newest version.
func (k *Known) Interface() (*a2a.AgentInterface, error) {
	for _, version := range versions {
		i := slices.IndexFunc(k.Card.SupportedInterfaces, func(i *a2a.AgentInterface) bool {
			return i != nil && slices.Contains(bindings, i.ProtocolBinding) && is(string(i.ProtocolVersion), version)
		})
		if i >= 0 {
			return k.Card.SupportedInterfaces[i], nil
		}
	}
	return nil, ErrInterface
}

// is reports whether a version is the wanted one, or a smaller step of it: 1.0 and 1.1 are 1.
func is(version, want string) bool {
	return version == want || strings.HasPrefix(version, want+".")
}
