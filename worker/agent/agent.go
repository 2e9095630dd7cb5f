// Package agent is what an installation makes its own. Nothing else in the project names
// anything in it: put another agent.yaml, other tools, another executor and their tests in
// this folder, and all three programs, the image and infra/ are made of them.
package agent

import (
	_ "embed"

	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/kit"
	"errand/worker/tools"
)

// Definition is agent.yaml: what the agent is called, what it can do, and which of the
// tools, settings and secrets it uses.
//
//go:embed agent.yaml
var Definition []byte

// Env is what tools and an executor are given: the settings and secrets that agent.yaml
// names, a guarded HTTP client, a logger. See errand/shared/kit. What belongs to one call,
// such as its task, its caller and its key, is in the call's context: tools.InfoFrom.
type Env = kit.Env

// Tools are the tools that agent.yaml may offer to the model. They are made once, at the
// start of a program that runs turns; an error stops it.
func Tools(Env) ([]tools.Tool, error) {
	return []tools.Tool{clock()}, nil
}

// Executor is what answers messages. It gets the executor that is shipped, which asks the
// model, and returns that one to keep it, another one that calls it, or another one alone.
// Any a2asrv.AgentExecutor becomes durable, unchanged; errand/worker/run says what it may
// know of its turn. An error stops the program at its start.
func Executor(_ Env, shipped a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error) {
	return shipped, nil
}
