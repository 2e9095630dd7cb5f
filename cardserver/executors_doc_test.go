package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
)

// aroundExecutor is an agent.go for the executors of docs/executors.md. The document has its end.
const aroundExecutor = `package agent

import (
	_ "embed"

	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/kit"
	"errand/worker/tools"
)

//go:embed agent.yaml
var Definition []byte

type Env = kit.Env

func Tools(Env) ([]tools.Tool, error) { return nil, nil }

`

const definitionOfExecutor = `name: Own
description: Has an executor of its own.
version: 1.0.0
model: m
skills: [{id: s, name: S, description: d, tags: [t]}]
settings:
  - {name: shop, type: url, description: Where the shop is.}
`

// documented builds cardserver with an executor of docs/executors.md.
func documented(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		document, err := os.ReadFile("../docs/executors.md")
		if err != nil {
			return "", err
		}
		program := map[string]string{}
		for _, m := range regexp.MustCompile("(?s)```go ([a-z]+)\n(.*?)```").FindAllSubmatch(document, -1) {
			program[string(m[1])] = string(m[2])
		}

		dir := filepath.Join(folder, "executor-"+name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", err
		}
		own, err := filepath.Abs("../worker/agent")
		if err != nil {
			return "", err
		}
		present, err := os.ReadDir(own)
		if err != nil {
			return "", err
		}

		replace := map[string]string{}
		for _, f := range present {
			replace[filepath.Join(own, f.Name())] = ""
		}
		for file, text := range map[string]string{"agent.go": aroundExecutor + program["agent"], "executor.go": program[name], "agent.yaml": definitionOfExecutor} {
			path := filepath.Join(dir, file)
			replace[filepath.Join(own, file)] = path
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return "", err
			}
		}

		overlay, err := json.Marshal(map[string]any{"Replace": replace})
		if err != nil {
			return "", err
		}
		list, path := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "cardserver")
		if err := os.WriteFile(list, overlay, 0o600); err != nil {
			return "", err
		}
		if out, err := exec.Command("go", "build", "-overlay="+list, "-o", path, "errand/cardserver").CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	})
}

// A seller is a shop that answers an executor, and notes what it was asked.
type seller struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // path and key
}

// newSeller returns a seller. answer gets the request, and how many were made of its path so far.
func newSeller(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int)) *seller {
	s := &seller{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Idempotency-Key")))
		n := 0
		for _, a := range s.asked {
			if strings.HasPrefix(a, r.URL.Path) {
				n++
			}
		}
		s.mu.Unlock()
		answer(w, r, n)
	}))
	t.Cleanup(s.Close)
	return s
}

// executes starts the program of an executor.
func (s *seller) executes(t *testing.T, name string) *process {
	t.Helper()
	return launch(t, name, freePort(t), "ERRAND_SETTING_SHOP="+s.URL, "ERRAND_AGENT_ALLOW="+strings.TrimPrefix(s.URL, "http://"))
}

func (s *seller) was() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// The first executor of the document answers with a bare message. The client has a task.
func TestDocumentedExecutor(t *testing.T) {
	c := newSeller(t, nil).executes(t, "hello").client()
	task := mustSend(t, c, userText("m1", "Good morning"))
	if m := task.Status.Message; task.Status.State != a2a.TaskStateCompleted || m == nil || m.Parts[0].Text() != "You said: Good morning" {
		t.Errorf("the task is %+v", task.Status)
	}
}

// The executor with steps goes on after a crash: what was paid is not paid again, and what was
// under way is asked for again with its key. The shop is busy at first, then
// needs time, and in the end refuses.
func TestDocumentedSteps(t *testing.T) {
	sending, release := make(chan struct{}), make(chan struct{})
	s := newSeller(t, func(w http.ResponseWriter, r *http.Request, n int) {
		switch {
		case r.URL.Path == "/pay" && n == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/pay" && n == 2:
			w.WriteHeader(http.StatusAccepted)
		case r.URL.Path == "/pay" && n > 3:
			w.WriteHeader(http.StatusPaymentRequired)
		case r.URL.Path == "/send" && n == 1:
			close(sending)
			<-release
		default:
			_, _ = io.WriteString(w, fmt.Sprint("number ", n))
		}
	})
	p := s.executes(t, "order")

	id := mustSend(t, p.client(), immediately(userText("m1", "A book"))).ID
	<-sending
	p.kill()
	close(release)
	p.start()

	task := until(t, p.client(), id, "ended", terminal)
	if task.Status.State != a2a.TaskStateCompleted || text(task) != "pay: number 3send: number 2" {
		t.Errorf("%s, and the task says %q", task.Status.State, text(task))
	}
	asked := s.was()
	pay := "/pay " + strings.TrimPrefix(asked[0], "/pay ") // the key of the first request is that of all
	send := "/send " + strings.TrimSuffix(strings.TrimPrefix(pay, "/pay "), "pay") + "send"
	if diff := cmp.Diff([]string{pay, pay, pay, send, send}, asked); diff != "" || !strings.HasPrefix(pay, "/pay "+string(id)+"/") {
		t.Errorf("the shop was asked (-want +got):\n%s", diff)
	}

	task = mustSend(t, p.client(), userText("m2", "Another one"))
	if says := task.Status.Message; task.Status.State != a2a.TaskStateFailed || len(s.was()) != 6 || strings.Contains(says.Parts[0].Text(), "shop") {
		t.Errorf("after a refusal %s, %+v, and %d requests", task.Status.State, says, len(s.was()))
	}
	if !strings.Contains(p.logged(), "the shop answers 402") {
		t.Error("the log does not tell the error")
	}
}
