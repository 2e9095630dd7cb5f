package agent_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	frame "errand/shared/agent"
	"errand/shared/lab"
	"errand/worker/agent"
	"errand/worker/executor"
	"errand/worker/tools"
)

// The folder makes an agent: the definition is complete, and its tools exist.
func TestAgentIsAssembled(t *testing.T) {
	def, err := frame.Parse(agent.Definition)
	if err != nil {
		t.Fatal(err)
	}
	env := lab.Env(t, agent.Definition, lab.Given{})
	if _, err := executor.Assemble(executor.Config{Agent: def}, env, executor.Own{Tools: agent.Tools, Executor: agent.Executor}); err != nil {
		t.Error(err)
	}
	if def.Name != "Errand" {
		t.Errorf("the agent is called %s", def.Name)
	}
}

func TestTime(t *testing.T) {
	all, err := agent.Tools(lab.Env(t, agent.Definition, lab.Given{}))
	if err != nil {
		t.Fatal(err)
	}

	var tool tools.Tool
	for _, c := range all {
		if c.Name() == "time" {
			tool = c
		}
	}

	for _, tt := range []struct{ args, want string }{
		{`{}`, `{"output":{"time":"2000-01-01T00:00:00Z","weekday":"Saturday","zone":"UTC"}}`},
		{`{"zone":"America/New_York"}`, `{"output":{"time":"1999-12-31T19:00:00-05:00","weekday":"Friday","zone":"America/New_York"}}`},
		{`{"zone":"Mars/Olympus"}`, `{"error":"there is no such time zone; use an IANA name such as Europe/Berlin"}`},
		{`{"zone":"../../etc/passwd"}`, `{"error":"there is no such time zone; use an IANA name such as Europe/Berlin"}`},
		{`{"zone":"Local"}`, `{"error":"there is no such time zone; use an IANA name such as Europe/Berlin"}`},
	} {
		synctest.Test(t, func(t *testing.T) { // its clock starts with the year 2000
			call, err := tool.Bind(json.RawMessage(tt.args))
			if err != nil {
				t.Fatal(err)
			}

			got, _ := call(t.Context())
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("%s: %s", tt.args, diff)
			}
		})
	}
}
