package main_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"

	"errand/shared/lab"
	"errand/shared/lab/fake"
)

// programs are the real programs, with the agent of the tests in them. Each is built once for
// all tests of the package.
var programs = map[string]func() (string, error){
	"cardserver": build("cardserver"), "worker": build("worker"), "functions": build("functions"),
	"cardserver before": before("cardserver"), "worker before": before("worker"), "functions before": before("functions"),
	"hello": documented("hello"), "order": documented("order"), "vault": documented("vault"),
}

var folder string // of the programs

func build(program string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		path := filepath.Join(folder, program)
		overlay, err := lab.Overlay(folder)
		if err != nil {
			return "", err
		}
		out, err := exec.Command("go", "build", overlay, "-o", path, "errand/"+program).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	})
}

// sideBySide is how many parallel tests run at once. They wait for clocks and for other
// processes, and need little of this one's processors.
const sideBySide = "4"

func TestMain(m *testing.M) {
	fake.Main()
	flag.Parse()
	err := flag.Set("test.parallel", sideBySide)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if folder, err = os.MkdirTemp("", "errand-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// A process is one of the real programs, running in its own folder.
type process struct {
	t       testing.TB
	program string
	dir     string
	env     []string
	port    int
	group   string // the folder of the cgroup that the program is in; empty: the one of the test
	cmd     *exec.Cmd
	done    chan struct{}

	mu  sync.Mutex
	log strings.Builder
}

// start runs the front door, which is the whole agent, with more environment. Its port
// stays its own over restarts.
func start(t testing.TB, env ...string) *process {
	t.Helper()
	return launch(t, "cardserver", freePort(t), env...)
}

// launch runs a program until the test ends.
func launch(t testing.TB, program string, port int, env ...string) *process {
	t.Helper()
	p := &process{t: t, program: program, dir: t.TempDir(), env: env, port: port}
	p.run()
	return p
}

// run starts the program, and ends it with the test.
func (p *process) run() {
	p.t.Helper()
	p.start()
	p.t.Cleanup(func() {
		p.kill()
		if p.t.Failed() {
			p.t.Logf("the log of %s (end):\n%s", p.program, tail(p.logged(), 8<<10))
		}
	})
}

// patience is how long a test waits for a certain event. It guards against hanging on a
// busy machine, and decides nothing: a lost job comes back with the first sweep after a
// minute (R10).
const patience = 3 * time.Minute

// freePort returns a port that stays free until the test listens there. It lies below the
// ports that the system gives to outgoing connections, and no two tests of a process get
// the same one.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(10_000)
		if _, taken := ports.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

var ports sync.Map // given out by freePort

var ready = regexp.MustCompile(`(?:is|are) at (https?://\S+)`)

// start begins the program and returns when it listens.
func (p *process) start() {
	p.t.Helper()
	path, err := programs[p.program]()
	if err != nil {
		p.t.Fatal(err)
	}

	p.cmd = exec.Command(path)
	if p.group != "" {
		p.cmd = exec.Command("sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$1"`, p.group, path)
	}
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
		p.t.Fatalf("the program ended at start:\n%s", p.logged())
	case <-time.After(patience):
		p.t.Fatalf("the program did not start:\n%s", p.logged())
	}
}

// kill ends the program as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends the program as a deployment does.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatal("the program did not stop")
	}
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) url() string { return fmt.Sprintf("http://127.0.0.1:%d", p.port) }

// client is the SDK's own client, over JSON-RPC.
func (p *process) client() *a2aclient.Client { return clientOf(p.t, p.url()) }

func clientOf(t testing.TB, url string) *a2aclient.Client {
	t.Helper()
	c, err := a2aclient.NewFromEndpoints(context.Background(), []*a2a.AgentInterface{
		a2a.NewAgentInterface(url+"/", a2a.TransportProtocolJSONRPC),
	}, a2aclient.WithJSONRPCTransport(&http.Client{}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func userText(id, text string) *a2a.SendMessageRequest {
	return &a2a.SendMessageRequest{Message: &a2a.Message{
		ID: id, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)},
	}}
}

func immediately(r *a2a.SendMessageRequest) *a2a.SendMessageRequest {
	if r.Config == nil {
		r.Config = &a2a.SendMessageConfig{}
	}
	r.Config.ReturnImmediately = true
	return r
}

// operations are the methods of the SDK's client, for any binding.
type operations interface {
	SendMessage(context.Context, *a2a.SendMessageRequest) (a2a.SendMessageResult, error)
	SendStreamingMessage(context.Context, *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error]
	GetTask(context.Context, *a2a.GetTaskRequest) (*a2a.Task, error)
	ListTasks(context.Context, *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error)
	CancelTask(context.Context, *a2a.CancelTaskRequest) (*a2a.Task, error)
	SubscribeToTask(context.Context, *a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error]
	CreateTaskPushConfig(context.Context, *a2a.PushConfig) (*a2a.PushConfig, error)
	GetTaskPushConfig(context.Context, *a2a.GetTaskPushConfigRequest) (*a2a.PushConfig, error)
	ListTaskPushConfigs(context.Context, *a2a.ListTaskPushConfigRequest) ([]*a2a.PushConfig, error)
	DeleteTaskPushConfig(context.Context, *a2a.DeleteTaskPushConfigRequest) error
}

func mustSend(t *testing.T, c operations, r *a2a.SendMessageRequest) *a2a.Task {
	t.Helper()
	res, err := c.SendMessage(t.Context(), r)
	if err != nil {
		t.Fatalf("SendMessage: %v", err)
	}
	task, ok := res.(*a2a.Task)
	if !ok {
		t.Fatalf("SendMessage = %T, want a task", res)
	}
	return task
}

func text(task *a2a.Task) string {
	var s strings.Builder
	for _, a := range task.Artifacts {
		for _, p := range a.Parts {
			s.WriteString(p.Text())
		}
	}
	return s.String()
}

// until polls GetTask until the task is as wanted.
func until(t *testing.T, c operations, id a2a.TaskID, what string, want func(*a2a.Task) bool) *a2a.Task {
	t.Helper()
	return untilWithin(t, patience, c, id, what, want)
}

func untilWithin(t *testing.T, within time.Duration, c operations, id a2a.TaskID, what string, want func(*a2a.Task) bool) *a2a.Task {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for {
		task, err := c.GetTask(t.Context(), &a2a.GetTaskRequest{ID: id})
		if err == nil && want(task) {
			return task
		}
		select {
		case <-end:
			t.Fatalf("task %s did not become %s: %+v, %v", id, what, task, err)
		case <-tick.C:
		}
	}
}

func terminal(task *a2a.Task) bool { return task.Status.State.Terminal() }

// refusal starts a program that must not start, and returns its message.
func refusal(t *testing.T, p *process) string {
	t.Helper()
	path, err := programs[p.program]()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Dir = p.dir
	cmd.Env = append([]string{"HOME=" + p.dir, fmt.Sprintf("PORT=%d", p.port)}, p.env...)
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Errorf("the program started: %v", p.env)
	}
	return string(out)
}
