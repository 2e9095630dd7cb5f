// Package agent is what an installation makes its own. Nothing else in the project names
// anything in it: put another agent.yaml, other tools, another executor and their tests in
// this folder, and the programs, the image and infra/ are made of them.
package agent

import (
	_ "embed"

	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/kit"
	"errand/worker/tools"
)

// Definition is agent.yaml: the agent's name, its skills, its model, and the names of its
// tools, settings and secrets.
//
//go:embed agent.yaml
var Definition []byte

// Env gives tools and an executor the settings and secrets that agent.yaml names, a guarded
// HTTP client, and a logger. See errand/shared/kit. tools.InfoFrom finds the task, the
// caller and the key of a call in its context.
type Env = kit.Env

// Tools are the tools that agent.yaml may offer to the model. They are made once, at the
// start of a program that runs turns; an error stops it.
func Tools(Env) ([]tools.Tool, error) {
	return []tools.Tool{clock()}, nil
}

// Executor makes the executor that answers messages. It gets the shipped executor, which
// asks the model. Return that one to keep it, another one around it, or another one alone:
// any a2asrv.AgentExecutor becomes durable, unchanged. errand/worker/run tells it more about
// its turn. An error stops the program at its start.
func Executor(_ Env, shipped a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error) {
	return shipped, nil
}
