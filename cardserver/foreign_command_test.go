package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// TestCommandOfTheGoSDK has the Go SDK's command line use the agent, by its card, which prefers
// JSON-RPC, and over HTTP+JSON.
func TestCommandOfTheGoSDK(t *testing.T) {
	t.Parallel()
	path, err := exec.Command("go", "tool", "-n", "a2a").Output()
	if err != nil {
		t.Fatalf("building the command: %v", err)
	}

	prompt, held := start(t), start(t, "ERRAND_MODEL=standin:delay=10m")
	for name, flags := range map[string][]string{"card": nil, "rest": {"--transport", "rest"}} {
		t.Run(name, func(t *testing.T) {
			c := a2aCommand{t, strings.TrimSpace(string(path)), append(flags, "-o", "json"), prompt.url()}
			c.sends(name)
			c.streams()
			c.at = held.url()
			c.cancels()
		})
	}
}

// An a2aCommand is the Go SDK's command with an agent.
type a2aCommand struct {
	t     *testing.T
	path  string
	flags []string
	at    string
}

func (c a2aCommand) command(verb string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	c.t.Cleanup(cancel)
	words := append(strings.Fields(verb), c.at)
	return exec.CommandContext(ctx, c.path, append(append(words, args...), c.flags...)...)
}

// says runs the command, and reads what it prints.
func says[T any](c a2aCommand, verb string, args ...string) T {
	c.t.Helper()
	var v T
	cmd := c.command(verb, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%s %q: %v, %s", verb, args, err, &errs)
	}
	if err := json.Unmarshal(out, &v); err != nil {
		c.t.Fatalf("%s %q prints %s: %v", verb, args, out, err)
	}
	return v
}

// refused runs the command, which fails with a text.
func (c a2aCommand) refused(want, verb string, args ...string) {
	c.t.Helper()
	if out, err := c.command(verb, args...).CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
		c.t.Errorf("%s %q: %v, %s; want %q", verb, args, err, out, want)
	}
}

func (c a2aCommand) sends(where string) {
	if card := says[a2a.AgentCard](c, "discover"); card.Name == "" || len(card.SupportedInterfaces) != 4 {
		c.t.Errorf("it prints the card %+v", card)
	}

	done := says[a2a.Task](c, "send", "hello there", "--context", where)
	if done.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(&done), "You said: hello there") {
		c.t.Errorf("the task is %+v and says %q", done.Status, text(&done))
	}
	if got := says[a2a.Task](c, "get task", string(done.ID)); text(&got) != text(&done) {
		c.t.Errorf("the task says %q, then %q", text(&done), text(&got))
	}

	asked := says[a2a.Task](c, "send", "/ask Which colour?", "--context", where)
	if asked.Status.State != a2a.TaskStateInputRequired {
		c.t.Errorf("the task is %+v", asked.Status)
	}
	answered := says[a2a.Task](c, "send", "blue", "--task", string(asked.ID))
	if answered.ID != asked.ID || answered.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(&answered), "blue") {
		c.t.Errorf("the task is %+v and says %q", answered.Status, text(&answered))
	}
	if got := says[a2a.ListTasksResponse](c, "list tasks", "--context", where, "--status", "completed"); len(got.Tasks) != 2 {
		c.t.Errorf("it lists %+v", got.Tasks)
	}

	c.refused("task not found", "get task", "nosuchtask")
	c.refused("the task has ended; read it with GetTask", "subscribe", string(done.ID))
	c.refused("the task has ended", "send", "one more thing", "--stream", "--task", string(done.ID))
}

// eventsOf reads the events that the command prints, until one is as wanted.
func (c a2aCommand) eventsOf(out *json.Decoder, wanted func(a2a.Event) bool) (all []a2a.Event) {
	c.t.Helper()
	for {
		var res a2a.StreamResponse
		if err := out.Decode(&res); err != nil {
			c.t.Fatalf("after %v: %v", kinds(all), err)
		}
		if all = append(all, res.Event); wanted(res.Event) {
			return all
		}
	}
}

// follow begins a command that prints events.
func (c a2aCommand) follow(verb string, args ...string) (out *json.Decoder, end func()) {
	c.t.Helper()
	cmd := c.command(verb, args...)
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return json.NewDecoder(pipe), func() {
		c.t.Helper()
		if err := cmd.Wait(); err != nil {
			c.t.Errorf("%s %q: %v", verb, args, err)
		}
	}
}

func in(state a2a.TaskState) func(a2a.Event) bool {
	return func(ev a2a.Event) bool {
		e, ok := ev.(*a2a.TaskStatusUpdateEvent)
		return ok && e.Status.State == state
	}
}

func (c a2aCommand) streams() {
	out, end := c.follow("send", "hello there", "--stream")
	all := c.eventsOf(out, in(a2a.TaskStateCompleted))
	end()
	if got := kinds(all); got[0] != "task" || !strings.Contains(said(all), "You said: hello there") {
		c.t.Errorf("the stream of %v says %q", got, said(all))
	}
}

// cancels follows a task that another command cancels.
func (c a2aCommand) cancels() {
	task := says[a2a.Task](c, "send", "hello", "--immediate")
	if terminal(&task) {
		c.t.Fatalf("the task is %+v", task.Status)
	}

	out, end := c.follow("subscribe", string(task.ID))
	c.eventsOf(out, func(a2a.Event) bool { return true })
	if gone := says[a2a.Task](c, "cancel", string(task.ID)); gone.Status.State != a2a.TaskStateCanceled {
		c.t.Errorf("the task is %+v", gone.Status)
	}
	c.eventsOf(out, in(a2a.TaskStateCanceled))
	end()
	c.refused("the task has already ended", "cancel", string(task.ID))
}
