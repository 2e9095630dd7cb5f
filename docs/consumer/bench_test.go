package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"errand/shared/adapters/gcp"
	"errand/shared/bus"
	"errand/shared/lab/emulator"
)

// patience is how long a test waits for an event that must come.
const patience = 2 * time.Minute

var folder string // folder of the built program

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "errand-consumer-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// program builds the consumer as any user does.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(folder, "consumer")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// A topic is a topic of a Pub/Sub server, with the worker's publisher.
type topic struct {
	t             *testing.T
	host, project string
	publisher     *gcp.Publisher
}

func newTopic(t *testing.T, host string) *topic {
	t.Helper()
	p := &topic{t: t, host: host, project: emulator.Project(t)}
	topics, err := pubsub.NewTopicAdminClient(t.Context(), p.options()...)
	if err != nil {
		t.Fatal(err)
	}
	defer topics.Close()
	if _, err := topics.CreateTopic(t.Context(), &pubsubpb.Topic{Name: p.name()}); err != nil {
		t.Fatal(err)
	}
	if p.publisher, err = gcp.NewPublisher(t.Context(), gcp.PublisherConfig{Topic: p.name(), Endpoint: p.host}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.publisher.Close() })
	return p
}

func (p *topic) name() string { return "projects/" + p.project + "/topics/events" }

func (p *topic) options() []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(p.host), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

// subscriptions returns a client that is closed at the end of the test.
func (p *topic) subscriptions() *pubsub.SubscriptionAdminClient {
	p.t.Helper()
	c, err := pubsub.NewSubscriptionAdminClient(p.t.Context(), p.options()...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	return c
}

// subscribe makes a subscription for a pipeline. It has no retry policy, because with one
// the emulator does not deliver a message again that was refused twice.
func (p *topic) subscribe(name, filter string) string {
	p.t.Helper()
	s, err := p.subscriptions().CreateSubscription(p.t.Context(), &pubsubpb.Subscription{
		Name: "projects/" + p.project + "/subscriptions/" + name, Topic: p.name(), Filter: filter, AckDeadlineSeconds: 60,
	})
	if err != nil {
		p.t.Fatalf("subscribing with %q: %v", filter, err)
	}
	return s.Name
}

func (p *topic) publish(events ...bus.Event) {
	p.t.Helper()
	if err := p.publisher.Publish(p.t.Context(), events...); err != nil {
		p.t.Fatal(err)
	}
}

// state is an event of a task that has reached a state.
func state(task string, note int, s a2a.TaskState) bus.Event {
	return bus.Event{Task: task, Context: "c", Notification: note, Kind: bus.KindState, State: string(s), Time: time.Date(2026, 8, 1, 12, 0, note, 0, time.UTC)}
}

func artifact(task string, note int) bus.Event {
	return bus.Event{Task: task, Context: "c", Notification: note, Kind: bus.KindArtifact, Artifact: "answer", Time: time.Date(2026, 8, 1, 12, 0, note, 0, time.UTC)}
}

// A consumer is the running program.
type consumer struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // lines of the output, as they come
	log    chan string
	done   chan struct{}
	mu     sync.Mutex
	logged strings.Builder
}

// start runs the program on a subscription until the test ends.
func (p *topic) start(subscription, agent string, more ...string) *consumer {
	p.t.Helper()
	path, err := program()
	if err != nil {
		p.t.Fatal(err)
	}

	c := &consumer{t: p.t, lines: make(chan string, 1000), log: make(chan string, 10_000), done: make(chan struct{})}
	c.cmd = exec.Command(path, append([]string{"-subscription", subscription, "-agent", agent}, more...)...)
	c.cmd.Env = append(os.Environ(), "PUBSUB_EMULATOR_HOST="+p.host)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}

	errs, err := c.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}

	var reading sync.WaitGroup
	reading.Go(func() { scan(out, func(line string) { c.lines <- line }) })

	reading.Go(func() {
		scan(errs, func(line string) {
			c.mu.Lock()
			c.logged.WriteString(line + "\n")
			c.mu.Unlock()
			c.log <- line
		})
	})

	go func() {
		defer close(c.done)
		reading.Wait()
		_ = c.cmd.Wait()
	}()

	p.t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.done
		if p.t.Failed() {
			p.t.Logf("the consumer's log:\n%s", c.logs())
		}
	})

	return c
}

func scan(r io.Reader, do func(string)) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		do(lines.Text())
	}
}

// logs is everything logged so far.
func (c *consumer) logs() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logged.String()
}

// line returns the next line of the output.
func (c *consumer) line() string {
	c.t.Helper()
	select {
	case line := <-c.lines:
		return line
	case <-c.done:
		c.t.Fatal("the consumer ended")
	case <-time.After(patience):
		c.t.Fatal("the consumer prints nothing")
	}
	return ""
}

// awaitLog waits until the consumer has logged a line with the words.
func (c *consumer) awaitLog(words string) {
	c.t.Helper()
	end := time.After(patience)
	for {
		select {
		case line := <-c.log:
			if strings.Contains(line, words) {
				return
			}
		case <-c.done:
			c.t.Fatalf("the consumer ended without logging %q", words)
		case <-end:
			c.t.Fatalf("the consumer does not log %q", words)
		}
	}
}

// printed returns the rest of the output of a consumer that has ended.
func (c *consumer) printed() (lines []string) {
	for len(c.lines) > 0 {
		lines = append(lines, <-c.lines)
	}
	return lines
}

// stop ends the consumer as a deployment does, and returns the exit code.
func (c *consumer) stop() int {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatal("the consumer does not stop")
	}
	return c.cmd.ProcessState.ExitCode()
}

// serve runs an agent. Every request that the handler leaves unanswered gets a completed
// task.
func serve(t *testing.T, before func(w http.ResponseWriter, r *http.Request) (answered bool)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before != nil && before(w, r) {
			return
		}
		id, ok := strings.CutPrefix(r.URL.Path, "/tasks/")
		if !ok || r.Method != http.MethodGet || r.Header.Get("A2A-Version") != "1.0" {
			t.Errorf("%s %s in version %q is not GetTask", r.Method, r.URL, r.Header.Get("A2A-Version"))
		}
		at := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
		if err := json.NewEncoder(w).Encode(a2a.Task{
			ID: a2a.TaskID(id), ContextID: "c", Status: a2a.TaskStatus{State: a2a.TaskStateCompleted, Timestamp: &at},
			Artifacts: []*a2a.Artifact{{ID: "answer", Parts: a2a.ContentParts{a2a.NewTextPart("Answer of\n" + id)}}},
		}); err != nil {
			t.Errorf("answering: %v", err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// printedOf is the line about a task that serve completed.
func printedOf(task string) string {
	return task + ` completed 2026-08-01T12:00:00Z: "Answer of\n` + task + `"`
}
