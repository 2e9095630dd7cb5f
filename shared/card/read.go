package card

import (
	"encoding/json"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Read reads the card of any agent, without its security requirements. The proto and the SDKs
// have two forms of these, and refuse a card with the other one. The security schemes say enough.
func Read(doc []byte) (*a2a.AgentCard, error) {
	fields, err := decode(doc)
	if err != nil {
		return nil, fmt.Errorf("reading a card: %w", err)
	}
	delete(fields, "securityRequirements")
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("reading a card: %w", err)
	}

	c := &a2a.AgentCard{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("reading a card: %w", err)
	}
	return c, nil
}
