package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	lab "errand/shared/lab/agent"
	"errand/shared/lab/scripts"
)

// An executor of one's own answers in the worker as in one process, and leaves other
// messages to the shipped one.
func TestOwnExecutorAnswers(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		c := start(t).client()
		if task := mustSend(t, c, userText("m1", lab.OwnQuestion)); task.Status.State != a2a.TaskStateCompleted || text(task) != lab.OwnAnswer {
			t.Errorf("the task is %s and says %q", task.Status.State, text(task))
		}
		if task := mustSend(t, c, userText("m2", "hello")); !strings.Contains(text(task), "You said: hello") {
			t.Errorf("the shipped executor says %q", text(task))
		}
	})
}

// ownDefinition names a setting and a secret for the tool of the tests' agent.
const ownDefinition = `name: Reporter
description: Reports.
version: 1.0.0
model: m
skills: [{id: s, name: S, description: d, tags: [t]}]
settings:
  - {name: service, type: url, description: Where report asks.}
secrets:
  - {name: service-token, description: The key of the service.}
tools: [report]
`

// A tool has its setting, its secret, its task, and the way out that the operator allows, in
// the worker as in one process. The secret is in no log.
func TestOwnToolHasWhatItNeeds(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer canary-token" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = io.WriteString(w, "served")
		}))

		t.Cleanup(service.Close)
		script := scripts.New(standin.Call(&genai.FunctionCall{Name: "report"}), standin.Text("Reported."))
		model := httptest.NewServer(standin.New(script.Answer))
		t.Cleanup(model.Close)
		definition := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(definition, []byte(ownDefinition), 0o600); err != nil {
			t.Fatal(err)
		}

		p := start(t, "ERRAND_AGENT="+definition, "GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:m@"+model.URL,
			"ERRAND_SETTING_SERVICE="+service.URL, "ERRAND_SECRET_SERVICE_TOKEN=canary-token", "ERRAND_AGENT_ALLOW="+strings.TrimPrefix(service.URL, "http://"))
		task := mustSend(t, p.client(), userText("m1", "Report!"))
		if text(task) != "Reported." {
			t.Errorf("the task is %+v and says %q", task.Status, text(task))
		}

		want := lab.Report{Answer: "served"}
		want.Task, want.Context, want.Turn, want.Caller, want.Attempt = string(task.ID), task.ContextID, 1, "anonymous", 1
		got := reported(t, script)
		want.Key, want.Wake = got.Key, got.Wake
		if got != want || !regexp.MustCompile(`^`+want.Task+`/[a-z0-9]+/1\.1$`).MatchString(got.Key) || !strings.HasPrefix(got.Wake, p.url()+"/wake/"+got.Key+"?s=") {
			t.Errorf("the tool reports %+v, want %+v with a key and a wake URL", got, want)
		}
		if strings.Contains(p.logged(), "canary-token") {
			t.Error("the log holds the secret")
		}
	})
}

// reported is the tool's result, as the model got it.
func reported(t *testing.T, script *scripts.Script) (r lab.Report) {
	t.Helper()
	for _, req := range script.Requests() {
		for _, c := range req.Contents {
			for _, part := range c.Parts {
				if part.FunctionResponse == nil {
					continue
				}
				b, err := json.Marshal(part.FunctionResponse.Response["output"])
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(b, &r); err != nil || r.Task == "" {
					t.Errorf("the tool answers %s", b)
				}
			}
		}
	}
	return r
}
