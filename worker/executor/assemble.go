package executor

import (
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/kit"
	"errand/worker/tools"
)

// An Own is the code that an installation makes its own: worker/agent.
type Own struct {
	Tools    func(kit.Env) ([]tools.Tool, error)
	Executor func(kit.Env, a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error)
}

// Assemble makes the executor of an installation: an [Executor] with its tools, and in its
// place the installation's own executor, if there is one. c.Tools is not read.
func Assemble(c Config, env kit.Env, own Own) (a2asrv.AgentExecutor, error) {
	var err error
	if c.Tools, err = own.Tools(env); err != nil {
		return nil, fmt.Errorf("worker/agent: Tools: %w", err)
	}
	shipped, err := New(c)
	if err != nil {
		return nil, fmt.Errorf("worker/agent: %w", err)
	}

	exec, err := own.Executor(env, shipped)
	switch {
	case err != nil:
		return nil, fmt.Errorf("worker/agent: Executor: %w", err)
	case exec == nil:
		return nil, errors.New("worker/agent: Executor returned no executor: return shipped to keep it")
	}
	return exec, nil
}
