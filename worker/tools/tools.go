// Package tools holds the agent's own Go functions, which the model may call. A fork edits
// it: write a function with [New], put it into [All], and name it under tools in
// agent.yaml, without which the model never sees it.
//
// It is not a registry and knows nothing of tasks or models: worker/executor decides when a
// tool is called and how its result is used.
package tools

// All returns the tools of this program. The list is yours to change.
func All() []Tool {
	return []Tool{
		clock(),
	}
}
