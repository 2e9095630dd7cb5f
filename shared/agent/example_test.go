package agent_test

import (
	"fmt"
	"strings"

	"errand/shared/agent"
)

// A definition needs few fields. Parse reports all faults of one at once.
func ExampleParse() {
	const definition = `
name: Clerk
description: Answers questions about orders.
version: "1"
model: gemini-3.6-flash
skills:
- {id: orders, name: Orders, description: Finds an order., tags: [orders]}
`
	a, err := agent.Parse([]byte(definition))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Name, a.InputModes, a.Limits.Steps)

	_, err = agent.Parse([]byte(strings.Replace(definition, "version", "versoin", 1)))
	fmt.Println(err)
	// Output:
	// Clerk [text/plain] 16
	// version: is required: for example 0.1.0
	// line 4: versoin: unknown key; did you mean "version"?
}
