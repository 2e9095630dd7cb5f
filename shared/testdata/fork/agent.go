// An agent that a test puts into worker/agent: it shares nothing with the one that is
// shipped but the names of Definition, Tools and Executor. Its package has no comment of
// the usual form, reads the environment, and has an init, which are its own business.

package agent

import (
	_ "embed"
	"errors"
	"os"

	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/kit"
	"errand/worker/agent/stock"
	"errand/worker/tools"
)

//go:embed agent.yaml
var Definition []byte

var home string

func init() { home = os.Getenv("HOME") }

func Tools(env kit.Env) ([]tools.Tool, error) {
	if home == "" {
		return nil, errors.New("nobody is at home")
	}
	s, err := stock.Open(env)
	if err != nil {
		return nil, err
	}
	return s.Tools(), nil
}

func Executor(env kit.Env, shipped a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error) {
	s, err := stock.Open(env)
	if err != nil {
		return nil, err
	}
	return executor{shipped, s}, nil
}
