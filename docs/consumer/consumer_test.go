package main_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/auth"
	"errand/shared/lab/emulator"
)

// An event that is delivered twice, before or after the task was printed, gives one line.
func TestCompletedTaskIsPrintedOnce(t *testing.T) {
	t.Parallel()
	p := newTopic(t, emulator.PubSub(t))
	c := p.start(p.subscribe("pipeline", ""), serve(t, nil))
	p.publish(artifact("a", 1), state("a", 2, a2a.TaskStateCompleted))
	if got := c.line(); got != printedOf("a") {
		t.Errorf("printed %q, want %q", got, printedOf("a"))
	}
	p.publish(state("a", 2, a2a.TaskStateCompleted))
	c.awaitLog("duplicate: a/2")
	p.publish(state("b", 1, a2a.TaskStateCompleted))
	if got := c.line(); got != printedOf("b") {
		t.Errorf("printed %q, want %q", got, printedOf("b"))
	}
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if more := c.printed(); len(more) > 0 {
		t.Errorf("printed %q as well", more)
	}
}

// While one copy of an event is processed, the other copy waits for the result, because the
// first may fail.
func TestCopyWaitsForTheOther(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	p := newTopic(t, emulator.PubSub(t))

	c := p.start(p.subscribe("pipeline", ""), serve(t, func(_ http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		select {
		case <-answer:
		case <-r.Context().Done(): // the test has failed
		}
		return false
	}))

	p.publish(state("a", 1, a2a.TaskStateCompleted))
	<-asked
	p.publish(state("a", 1, a2a.TaskStateCompleted))
	c.awaitLog("another copy of the event is being processed")
	close(answer)
	if got := c.line(); got != printedOf("a") {
		t.Errorf("printed %q, want %q", got, printedOf("a"))
	}

	c.awaitLog("duplicate: a/1")
	if code := c.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if more := c.printed(); len(more) > 0 || len(asked) > 0 {
		t.Errorf("printed %q as well, and sent %d more requests", more, len(asked))
	}
}

// An event is not acknowledged, and so delivered again, until the agent has answered.
func TestEventComesAgainUntilTheAgentAnswers(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(http.ResponseWriter){
		"503":         func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"a wrong key": func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) },
		"another 404": func(w http.ResponseWriter) { http.Error(w, "no such page", http.StatusNotFound) },
		"no task":     func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) },
		"another task": func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"id":"a","status":{"state":"TASK_STATE_WORKING"}}`))
		},
		"a redirect": func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			p := newTopic(t, emulator.PubSub(t))

			c := p.start(p.subscribe("pipeline", ""), serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
				if calls.Add(1) > 2 {
					return false
				}
				refuse(w)
				return true
			}))

			p.publish(state("a", 1, a2a.TaskStateCompleted))
			c.awaitLog("will retry: a/1")
			if got := c.line(); got != printedOf("a") {
				t.Errorf("printed %q, want %q", got, printedOf("a"))
			}
			if n := calls.Load(); n != 3 {
				t.Errorf("the consumer sent %d requests, want 3", n)
			}
		})
	}
}

// An event that this pipeline will never handle is skipped, and is not delivered again.
func TestForeignEventsAreSkipped(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	p := newTopic(t, emulator.PubSub(t))

	c := p.start(p.subscribe("pipeline", ""), serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/foreign") {
			if !strings.HasSuffix(r.URL.Path, "/mine") {
				t.Errorf("the consumer requested %s", r.URL.Path)
			}
			return false
		}

		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
		if err := json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": 404, "details": []any{map[string]any{"reason": "TASK_NOT_FOUND"}}}}); err != nil {
			t.Error(err)
		}

		return true
	}))

	p.publish(state("foreign", 1, a2a.TaskStateCompleted))
	c.awaitLog("skipped: foreign/1: the agent has no such task")
	odd := state("odd", 1, a2a.TaskStateCompleted)
	odd.Kind = "weather"
	p.publish(odd)
	c.awaitLog(`skipped: a message whose ce-type is "errand.task.weather"`)
	p.publish(state("failed", 1, a2a.TaskStateFailed), state("asks", 1, a2a.TaskStateInputRequired), state("mine", 1, a2a.TaskStateCompleted))

	if got := c.line(); got != printedOf("mine") {
		t.Errorf("printed %q, want %q", got, printedOf("mine"))
	}
	if code := c.stop(); code != 0 || asked.Load() != 1 || len(c.printed()) > 0 {
		t.Errorf("exit code %d, %d requests for the foreign task, printed %q", code, asked.Load(), c.printed())
	}
}

// SIGTERM interrupts the event that is being processed, and the next consumer gets it.
func TestStopInterruptsWork(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10)
	p := newTopic(t, emulator.PubSub(t))
	s := p.subscribe("pipeline", "")
	c := p.start(s, serve(t, func(_ http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		<-r.Context().Done() // the consumer has hung up
		return true
	}))
	p.publish(state("a", 1, a2a.TaskStateCompleted))
	<-asked
	if code := c.stop(); code != 0 || !strings.HasSuffix(strings.TrimSpace(c.logs()), "stopped") {
		t.Errorf("exit code %d", code)
	}
	if got := c.printed(); len(got) > 0 {
		t.Errorf("printed %q of a task that it did not read", got)
	}
	if got := p.start(s, serve(t, nil)).line(); got != printedOf("a") {
		t.Errorf("the next consumer printed %q, want %q", got, printedOf("a"))
	}
}

// The key is read from its file, and is sent only to the agent.
func TestKeyIsReadFromItsFile(t *testing.T) {
	t.Parallel()
	key, _ := auth.NewKey()
	file := filepath.Join(t.TempDir(), "ci.key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newTopic(t, emulator.PubSub(t))
	sent := make(chan string, 10)
	c := p.start(p.subscribe("pipeline", ""), serve(t, func(_ http.ResponseWriter, r *http.Request) bool {
		sent <- r.Header.Get("Authorization")
		return false
	}), "-key", "@"+file)
	p.publish(state("a", 1, a2a.TaskStateCompleted))
	c.line()
	if got := <-sent; got != "Bearer "+key {
		t.Errorf("Authorization: %q, want the key as a bearer token", got)
	}
	if strings.Contains(c.logs(), key) {
		t.Error("the key is in the log")
	}
}

func TestFlagsAreChecked(t *testing.T) {
	t.Parallel()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}

	empty := filepath.Join(t.TempDir(), "empty.key")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	const s = "-subscription=projects/p/subscriptions/s"
	for _, row := range []struct {
		args []string
		want string
	}{
		{nil, "-subscription must be"},
		{[]string{"-subscription=s"}, "-subscription must be"},
		{[]string{s, "-agent=agent.example.com"}, "-agent must be"},
		{[]string{s, "-agent=ftp://agent.example.com"}, "-agent must be"},
		{[]string{s, "more"}, "-h lists them"},
		{[]string{s, "-key=@" + empty}, "empty"},
		{[]string{s, "-key=@" + empty + "x"}, "no such file"},
		{[]string{s, "-nonsense"}, "nonsense"},
	} {
		out, err := exec.Command(path, row.args...).CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), row.want) {
			t.Errorf("consumer %q = %v, want exit code 2 and %q\n%s", row.args, err, row.want, out)
		}
	}
}

// The flags in the documents' commands exist.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}

	help, err := exec.Command(path, "-h").CombinedOutput()
	if err != nil {
		t.Fatalf("consumer -h = %v", err)
	}

	for _, document := range []string{"../events.md", "../../infra/README.md"} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}

		commands := regexp.MustCompile("go run ./docs/consumer( .*)").FindAllStringSubmatch(string(text), -1)
		if len(commands) == 0 {
			t.Errorf("%s has no command", document)
		}

		for _, c := range commands {
			for _, flag := range regexp.MustCompile(` (-[a-z]+)`).FindAllStringSubmatch(c[1], -1) {
				if !strings.Contains(string(help), "\n  "+flag[1]+" ") {
					t.Errorf("%s: there is no flag %s", document, flag[1])
				}
			}
		}
	}
}
