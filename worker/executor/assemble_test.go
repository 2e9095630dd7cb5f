package executor_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/agent"
	"errand/shared/kit"
	"errand/shared/lab"
	"errand/worker/executor"
	"errand/worker/tools"
)

// An installation's tools are what the model may call, and its executor takes the place of
// the one that is shipped. What it gets wrong stops the program, with the place named.
func TestAssemble(t *testing.T) {
	const definition = "name: A\ndescription: d\nversion: 1.0.0\nmodel: m\nskills: [{id: s, name: S, description: d, tags: [t]}]\ntools: [hello]\n"
	def, err := agent.Parse([]byte(definition))
	if err != nil {
		t.Fatal(err)
	}

	hello := tools.New("hello", "Greets.", func(context.Context, struct{}) (string, error) { return "hello", nil })
	one := func(kit.Env) ([]tools.Tool, error) { return []tools.Tool{hello}, nil }
	keep := func(_ kit.Env, shipped a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error) { return shipped, nil }
	type other struct{ a2asrv.AgentExecutor }

	for _, row := range []struct {
		name string
		own  executor.Own
		want string // in the error
	}{
		{"shipped", executor.Own{Tools: one, Executor: keep}, ""},
		{"another", executor.Own{Tools: one, Executor: func(kit.Env, a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error) { return other{}, nil }}, ""},
		{"no tool", executor.Own{Tools: func(kit.Env) ([]tools.Tool, error) { return nil, nil }, Executor: keep}, `names the tool "hello", which does not exist: write it in worker/agent`},
		{"a tool twice", executor.Own{Tools: func(kit.Env) ([]tools.Tool, error) { return []tools.Tool{hello, hello}, nil }, Executor: keep}, `the name "hello" is taken`},
		{"tools that fail", executor.Own{Tools: func(kit.Env) ([]tools.Tool, error) { return nil, errors.New("no database") }, Executor: keep}, "worker/agent: Tools: no database"},
		{"an executor that fails", executor.Own{Tools: one, Executor: func(kit.Env, a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error) {
			return nil, errors.New("no model")
		}}, "worker/agent: Executor: no model"},
		{"no executor", executor.Own{Tools: one, Executor: func(kit.Env, a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error) { return nil, nil }}, "return shipped to keep it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := executor.Assemble(executor.Config{Agent: def, Model: &chunks{}}, lab.Env(t, []byte(definition), lab.Given{}), row.own)
			if row.want != "" {
				if err == nil || !strings.Contains(err.Error(), row.want) {
					t.Errorf("Assemble = %v, want %q", err, row.want)
				}
				return
			}

			if err != nil {
				t.Fatal(err)
			}

			_, isOther := got.(other)
			_, isShipped := got.(*executor.Executor)
			if isOther != (row.name == "another") || isShipped == isOther {
				t.Errorf("Assemble gives a %T", got)
			}
		})
	}
}
