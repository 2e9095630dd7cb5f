package adk_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
)

// program is the real cardserver, which is the whole agent on one machine, with the folder
// agent of this module in the place of worker/agent. It is built once.
var program = sync.OnceValues(func() (string, error) {
	overlay, err := overlay()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "cardserver")
	out, err := exec.Command("go", "build", "-overlay="+overlay, "-o", path, "errand/cardserver").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

var folder string // of the program

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "errand-adk-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// overlay writes the file for go build -overlay.
func overlay() (string, error) {
	replace := map[string]string{}
	for _, from := range []struct{ dir, by string }{{filepath.Join("..", "..", "worker", "agent"), ""}, {"agent", "agent"}} {
		files, err := os.ReadDir(from.dir)
		if err != nil {
			return "", err
		}
		for _, f := range files {
			own, err := filepath.Abs(filepath.Join("..", "..", "worker", "agent", f.Name()))
			if err != nil {
				return "", err
			}
			if replace[own] = ""; from.by != "" {
				if replace[own], err = filepath.Abs(filepath.Join(from.by, f.Name())); err != nil {
					return "", err
				}
			}
		}
	}

	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

// A process is the program, running in its own folder. Its port stays its own over restarts.
type process struct {
	t    *testing.T
	dir  string
	env  []string
	port int
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	log strings.Builder
}

func start(t *testing.T, env ...string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, dir: t.TempDir(), env: env, port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			log := p.log.String()
			t.Logf("the log (end):\n%s", log[max(0, len(log)-8<<10):])
		}
	})
	return p
}

// patience is how long a test waits for a certain event. It decides nothing: a lost job comes
// back with the first sweep, after a minute.
const patience = 3 * time.Minute

var ready = regexp.MustCompile(`is at (http://\S+)`)

// start begins the program and returns when it listens.
func (p *process) start() {
	p.t.Helper()
	path, err := program()
	if err != nil {
		p.t.Fatal(err)
	}

	p.cmd = exec.Command(path)
	p.cmd.Dir = p.dir
	p.cmd.Env = append([]string{"HOME=" + p.dir, "PATH=" + os.Getenv("PATH"), fmt.Sprintf("PORT=%d", p.port)}, p.env...)
	out, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}

	up, done := make(chan struct{}), make(chan struct{})
	p.done = done
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		told := false
		for lines.Scan() {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
			if !told && ready.MatchString(lines.Text()) {
				told = true
				close(up)
			}
		}
		_ = p.cmd.Wait()
	}()

	select {
	case <-up:
	case <-done:
		p.t.Fatalf("the program ended at start:\n%s", p.log.String())
	case <-time.After(patience):
		p.t.Fatal("the program did not start")
	}
}

// kill ends the program as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) client() *a2aclient.Client {
	p.t.Helper()
	c, err := a2aclient.NewFromEndpoints(context.Background(), []*a2a.AgentInterface{
		a2a.NewAgentInterface(fmt.Sprintf("http://127.0.0.1:%d/", p.port), a2a.TransportProtocolJSONRPC),
	}, a2aclient.WithJSONRPCTransport(&http.Client{}))
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// send sends a message, and returns its task at once.
func (p *process) send(m *a2a.Message) *a2a.Task {
	p.t.Helper()
	res, err := p.client().SendMessage(p.t.Context(), &a2a.SendMessageRequest{
		Message: m, Config: &a2a.SendMessageConfig{ReturnImmediately: true},
	})
	if err != nil {
		p.t.Fatalf("SendMessage: %v", err)
	}
	return res.(*a2a.Task)
}

// until polls the task until it is as wanted.
func (p *process) until(id a2a.TaskID, what string, want func(*a2a.Task) bool) *a2a.Task {
	p.t.Helper()
	c := p.client()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		task, err := c.GetTask(p.t.Context(), &a2a.GetTaskRequest{ID: id})
		if err == nil && want(task) {
			return task
		}
		if time.Now().After(end) {
			p.t.Fatalf("task %s did not become %s: %+v, %v", id, what, task, err)
		}
	}
}

// ended waits for the end of a task.
func (p *process) ended(id a2a.TaskID) *a2a.Task {
	p.t.Helper()
	return p.until(id, "ended", func(t *a2a.Task) bool { return t.Status.State.Terminal() })
}

// asked waits until a task asks its client.
func (p *process) asked(id a2a.TaskID) *a2a.Task {
	p.t.Helper()
	return p.until(id, "a question", func(t *a2a.Task) bool {
		return t.Status.State.Terminal() || t.Status.State == a2a.TaskStateInputRequired
	})
}
