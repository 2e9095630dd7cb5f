package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	old "github.com/a2aproject/a2a-go/a2a"
	oldclient "github.com/a2aproject/a2a-go/a2aclient"
	oldcard "github.com/a2aproject/a2a-go/a2aclient/agentcard"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/google/go-cmp/cmp"
)

// A foreign client is a client that others have written, with its peculiarities.
type foreign struct {
	name    string
	connect func(*testing.T, string, *http.Client) operations
	speaks  string // the form of its requests: HTTP method, path, and JSON-RPC method
	old     bool   // it speaks 0.3
	lists   bool   // it can list tasks: 0.3 has that in HTTP+JSON alone
}

var foreigners = []foreign{
	{"1.0 JSON-RPC", fromCard(a2aclient.WithJSONRPCTransport), `^POST / [A-Z][A-Za-z]+$`, false, true},
	{"1.0 HTTP+JSON", fromCard(a2aclient.WithRESTTransport), `^[A-Z]+ /(message|tasks)\S* $`, false, true},
	{"0.3 JSON-RPC by the newer module", fromCard(compatRPC), `^POST / [a-z]+/[A-Za-z/]+$`, true, false},
	{"0.3 HTTP+JSON by the newer module", fromCard(compatREST), `^[A-Z]+ /v1/\S+ $`, true, true},
	{"0.3 JSON-RPC by the older module", fromOldCard, `^POST / [a-z]+/[A-Za-z/]+$`, true, false},
}

func compatRPC(c *http.Client) a2aclient.FactoryOption {
	return a2av0.WithJSONRPCTransport(a2av0.JSONRPCTransportConfig{Client: c})
}

func compatREST(c *http.Client) a2aclient.FactoryOption {
	return a2av0.WithRESTTransport(a2av0.RESTTransportConfig{Client: c})
}

// fromCard connects to the address that the agent's card has for a transport, and to no
// other.
func fromCard(transport func(*http.Client) a2aclient.FactoryOption) func(*testing.T, string, *http.Client) operations {
	return func(t *testing.T, url string, via *http.Client) operations {
		t.Helper()
		card, err := agentcard.DefaultResolver.Resolve(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		c, err := a2aclient.NewFromCard(t.Context(), card, a2aclient.WithDefaultsDisabled(), transport(via))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func fromOldCard(t *testing.T, url string, via *http.Client) operations {
	t.Helper()
	card, err := oldcard.DefaultResolver.Resolve(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := oldclient.NewFromCard(t.Context(), card, oldclient.WithDefaultsDisabled(), oldclient.WithJSONRPCTransport(via))
	if err != nil {
		t.Fatal(err)
	}
	return oldClient{c}
}

// A witness checks that requests have the right version and binding.
type witness struct {
	t    *testing.T
	form *regexp.Regexp
}

func (w witness) RoundTrip(r *http.Request) (*http.Response, error) {
	var rpc struct{ Method string }
	path := r.URL.Path
	if path == "" { // the card's addresses have none, and clients then send this one
		path = "/"
	}
	if path == "/" {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		if err := json.NewDecoder(body).Decode(&rpc); err != nil {
			return nil, err
		}
	}
	if line := r.Method + " " + path + " " + rpc.Method; !w.form.MatchString(line) {
		w.t.Errorf("the request %q is not what this client should send", line)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// A scene is the agents and receivers of one foreign client's scenario.
type scene struct {
	foreign
	c, second operations // of an agent that answers at once
	held      operations // of an agent whose model holds every answer
	hooks     *mailbox
}

// TestForeignGoClients has the Go SDK's clients go through the scenario, in all their
// versions and bindings, each from the agent's card on.
func TestForeignGoClients(t *testing.T) {
	for _, f := range foreigners {
		t.Run(f.name, func(t *testing.T) {
			hooks := newMailbox(t)
			prompt, slow := start(t, hooks.allow()), start(t, "ERRAND_MODEL=standin:delay=10m")
			via := &http.Client{Transport: witness{t, regexp.MustCompile(f.speaks)}, Timeout: patience} // streams too
			s := &scene{f, f.connect(t, prompt.url(), via), f.connect(t, prompt.url(), via), f.connect(t, slow.url(), via), hooks}
			for _, step := range scenario {
				t.Run(step.name, func(t *testing.T) { step.run(s, t) })
			}
		})
	}
}

var scenario = []struct {
	name string
	run  func(*scene, *testing.T)
}{
	{"send and wait", (*scene).sends},
	{"send and poll", (*scene).polls},
	{"stream", (*scene).streams},
	{"subscribe", (*scene).subscribes},
	{"be asked", (*scene).isAsked},
	{"have a tool called", (*scene).usesATool},
	{"cancel", (*scene).cancels},
	{"what is not there", (*scene).misses},
	{"list", (*scene).listsTasks},
	{"webhooks", (*scene).isPublished},
	{"dangerous webhooks", (*scene).isRefusedWebhooks},
}

func (s *scene) sends(t *testing.T) {
	task := mustSend(t, s.c, userText("send", "hello there"))
	if task.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(task), "You said: hello there") {
		t.Errorf("task %+v says %q", task.Status, text(task))
	}
	again := mustSend(t, s.c, userText("send", "hello there"))
	if diff := cmp.Diff(task, again); diff != "" {
		t.Errorf("the same message gave another answer (-want +got):\n%s", diff)
	}
	_, err := s.c.SendMessage(t.Context(), userText("send", "something else"))
	if !errors.Is(err, a2a.ErrInvalidParams) {
		t.Errorf("the same id with another text: %v", err)
	}
	late := userText("late", "one more thing")
	late.Message.TaskID = task.ID
	if _, err := s.c.SendMessage(t.Context(), late); !errors.Is(err, a2a.ErrUnsupportedOperation) {
		t.Errorf("a message to a task that has ended: %v", err)
	}
}

func (s *scene) polls(t *testing.T) {
	task := mustSend(t, s.c, immediately(userText("poll", "hello there")))
	done := until(t, s.c, task.ID, "terminal", terminal)
	if done.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(done), "You said: hello there") {
		t.Errorf("task %+v says %q", done.Status, text(done))
	}
	// A fast model could make a send that waits look immediate. This one does not answer.
	if held := mustSend(t, s.held, immediately(userText("poll", "hello there"))); terminal(held) {
		t.Errorf("task %+v before there is an answer", held.Status)
	}
}

func (s *scene) streams(t *testing.T) {
	all := events(t, s.c.SendStreamingMessage(t.Context(), userText("stream", "hello there")))
	got := kinds(all)
	if len(got) < 3 || got[0] != "task" || got[len(got)-1] != string(a2a.TaskStateCompleted) {
		t.Fatalf("stream of %v", got)
	}
	stored := s.get(t, all[0].TaskInfo().TaskID)
	if said(all) != text(stored) || !strings.Contains(said(all), "You said: hello there") {
		t.Errorf("the stream said %q, the task says %q", said(all), text(stored))
	}
	ended := s.c.SubscribeToTask(t.Context(), &a2a.SubscribeToTaskRequest{ID: stored.ID})
	for ev, err := range ended {
		if !errors.Is(err, a2a.ErrUnsupportedOperation) || !strings.Contains(err.Error(), "the task has ended; read it with GetTask") {
			t.Errorf("subscribing to a task that has ended: %v, %v", ev, err)
		}
	}
}

func (s *scene) get(t *testing.T, id a2a.TaskID) *a2a.Task {
	t.Helper()
	task, err := s.c.GetTask(t.Context(), &a2a.GetTaskRequest{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// join subscribes and returns after the first event. The rest is read on demand.
func join(t *testing.T, c operations, id a2a.TaskID) (first a2a.Event, rest func() []a2a.Event) {
	t.Helper()
	next, stop := iter.Pull2(c.SubscribeToTask(t.Context(), &a2a.SubscribeToTaskRequest{ID: id}))
	t.Cleanup(stop)
	first, err, ok := next()
	if err != nil || !ok {
		t.Fatalf("subscribing: %v, %v", first, err)
	}
	return first, func() []a2a.Event {
		t.Helper()
		return events(t, func(yield func(a2a.Event, error) bool) {
			for ev, err, ok := next(); ok && yield(ev, err); ev, err, ok = next() {
			}
		})
	}
}

func (s *scene) subscribes(t *testing.T) {
	task := mustSend(t, s.c, userText("subscribe", "/ask Which colour?"))
	first, rest := join(t, s.second, task.ID)
	if now, ok := first.(*a2a.Task); !ok || now.ID != task.ID || now.Status.State != a2a.TaskStateInputRequired {
		t.Errorf("the stream begins with %+v", first)
	}
	answer := userText("subscribe-2", "blue")
	answer.Message.TaskID = task.ID
	done := mustSend(t, s.c, answer)
	all := append([]a2a.Event{first}, rest()...)
	if got := kinds(all); got[len(got)-1] != string(a2a.TaskStateCompleted) {
		t.Errorf("stream of %v", got)
	}
	if said(all) != text(done) || !strings.Contains(said(all), "blue") {
		t.Errorf("the stream said %q, the task says %q", said(all), text(done))
	}
}

func (s *scene) isAsked(t *testing.T) {
	task := mustSend(t, s.c, userText("ask", "/ask Which colour?"))
	if task.Status.State != a2a.TaskStateInputRequired || task.Status.Message == nil || task.Status.Message.Parts[0].Text() != "Which colour?" {
		t.Fatalf("task %+v", task.Status)
	}
	answer := userText("ask-2", "blue, please")
	answer.Message.TaskID, answer.Message.ContextID = task.ID, task.ContextID
	done := mustSend(t, s.c, answer)
	if done.ID != task.ID || done.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(done), "blue, please") {
		t.Errorf("after the answer: %+v, %q", done.Status, text(done))
	}
	var roles []a2a.MessageRole
	for _, m := range s.get(t, task.ID).History {
		roles = append(roles, m.Role)
	}
	if diff := cmp.Diff([]a2a.MessageRole{a2a.MessageRoleUser, a2a.MessageRoleAgent, a2a.MessageRoleUser}, roles); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	one := 1
	short, err := s.c.GetTask(t.Context(), &a2a.GetTaskRequest{ID: task.ID, HistoryLength: &one})
	if err != nil || len(short.History) != 1 || short.History[0].ID != "ask-2" {
		t.Errorf("a history of one: %+v, %v", short, err)
	}
}

func (s *scene) usesATool(t *testing.T) {
	task := mustSend(t, s.c, userText("tool", `/tool clock {"zone":"UTC"}`))
	if task.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(task), "clock answered:") || !strings.Contains(text(task), "UTC") {
		t.Errorf("task %+v says %q", task.Status, text(task))
	}
}

func (s *scene) cancels(t *testing.T) {
	task := mustSend(t, s.held, immediately(userText("cancel", "hello")))
	until(t, s.held, task.ID, "working", func(task *a2a.Task) bool { return task.Status.State == a2a.TaskStateWorking })
	first, rest := join(t, s.held, task.ID)
	if now, ok := first.(*a2a.Task); !ok || now.Status.State != a2a.TaskStateWorking {
		t.Errorf("the stream begins with %+v", first)
	}
	gone, err := s.held.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: task.ID})
	if err != nil || gone.ID != task.ID || gone.Status.State != a2a.TaskStateCanceled {
		t.Fatalf("cancelling: %+v, %v", gone, err)
	}
	if got := kinds(rest()); len(got) == 0 || got[len(got)-1] != string(a2a.TaskStateCanceled) {
		t.Errorf("stream of %v", got)
	}
	if _, err := s.held.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: task.ID}); !errors.Is(err, a2a.ErrTaskNotCancelable) {
		t.Errorf("cancelling again: %v", err)
	}
}

func (s *scene) misses(t *testing.T) {
	const nobody = a2a.TaskID("nosuchtask")
	lost := userText("lost", "hello?")
	lost.Message.TaskID = nobody
	_, sent := s.c.SendMessage(t.Context(), lost)
	_, got := s.c.GetTask(t.Context(), &a2a.GetTaskRequest{ID: nobody})
	_, cancelled := s.c.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: nobody})
	_, hooked := s.c.CreateTaskPushConfig(t.Context(), &a2a.PushConfig{TaskID: nobody, URL: s.hooks.URL})
	for what, err := range map[string]error{"sending to": sent, "reading": got, "cancelling": cancelled, "a webhook of": hooked} {
		if !errors.Is(err, a2a.ErrTaskNotFound) {
			t.Errorf("%s a task that is not there: %v", what, err)
		}
	}
}

func (s *scene) listsTasks(t *testing.T) {
	if !s.lists {
		res, err := s.c.ListTasks(t.Context(), &a2a.ListTasksRequest{})
		if !errors.Is(err, a2a.ErrUnsupportedOperation) && !errors.Is(err, a2a.ErrMethodNotFound) {
			t.Errorf("listing where there is no list: %+v, %v", res, err)
		}
		return
	}

	const here = "red"
	for i := range 5 {
		m := userText(fmt.Sprintf("list-%d", i), "hello")
		m.Message.ContextID = []string{here, "blue"}[i%2]
		mustSend(t, s.c, m)
	}

	asked := userText("list-ask", "/ask Which?")
	asked.Message.ContextID = here
	task := mustSend(t, s.c, asked)
	if _, err := s.c.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: task.ID}); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		name        string
		req         a2a.ListTasksRequest
		want, pages int
	}{
		{"context", a2a.ListTasksRequest{ContextID: here, PageSize: 3}, 4, 2},
		{"context and state", a2a.ListTasksRequest{ContextID: here, Status: a2a.TaskStateCompleted, PageSize: 1}, 3, 3},
		{"another state", a2a.ListTasksRequest{ContextID: here, Status: a2a.TaskStateCanceled}, 1, 1},
		{"none", a2a.ListTasksRequest{ContextID: "green"}, 0, 1},
	} {
		seen, pages := map[a2a.TaskID]bool{}, 0
		for more := true; more; pages++ {
			page, err := s.c.ListTasks(t.Context(), &test.req)
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}

			for _, task := range page.Tasks {
				if seen[task.ID] || task.ContextID != here || task.Artifacts != nil {
					t.Errorf("%s: listed %+v", test.name, task)
				}
				if test.req.Status != "" && task.Status.State != test.req.Status {
					t.Errorf("%s: listed one that is %s", test.name, task.Status.State)
				}

				seen[task.ID] = true
			}

			test.req.PageToken = page.NextPageToken
			more = page.NextPageToken != ""
		}

		if len(seen) != test.want || pages != test.pages {
			t.Errorf("%s: listed %d in %d pages, want %d in %d", test.name, len(seen), pages, test.want, test.pages)
		}
	}
}

func (s *scene) isPublished(t *testing.T) {
	req := userText("told", "/ask Which?")
	req.Config = &a2a.SendMessageConfig{PushConfig: &a2a.PushConfig{ID: "inline", URL: s.hooks.URL + "/inline", Token: "secret"}}
	task := mustSend(t, s.c, req)
	s.hears(t, "/inline", task, a2a.TaskStateInputRequired, "secret", "")

	made, err := s.c.CreateTaskPushConfig(t.Context(), &a2a.PushConfig{TaskID: task.ID, ID: "later", URL: s.hooks.URL + "/later",
		Auth: &a2a.PushAuthInfo{Scheme: "Bearer", Credentials: "key"}})
	if err != nil || made.TaskID != task.ID || made.ID != "later" || made.URL != s.hooks.URL+"/later" {
		t.Fatalf("making a webhook: %+v, %v", made, err)
	}

	got, err := s.c.GetTaskPushConfig(t.Context(), &a2a.GetTaskPushConfigRequest{TaskID: task.ID, ID: "later"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, got); diff != "" {
		t.Errorf("reading a webhook (-want +got):\n%s", diff)
	}
	if ids := s.hookIDs(t, task.ID); len(ids) != 2 || !ids["inline"] || !ids["later"] {
		t.Errorf("listed the webhooks %v", ids)
	}

	answer := userText("told-2", "that one")
	answer.Message.TaskID = task.ID
	mustSend(t, s.c, answer)
	s.hears(t, "/inline", task, a2a.TaskStateCompleted, "secret", "")
	s.hears(t, "/later", task, a2a.TaskStateCompleted, "", "Bearer key")

	if err := s.c.DeleteTaskPushConfig(t.Context(), &a2a.DeleteTaskPushConfigRequest{TaskID: task.ID, ID: "later"}); err != nil {
		t.Error(err)
	}
	if ids := s.hookIDs(t, task.ID); len(ids) != 1 || !ids["inline"] {
		t.Errorf("after deleting one, the webhooks are %v", ids)
	}
	if _, err := s.c.GetTaskPushConfig(t.Context(), &a2a.GetTaskPushConfigRequest{TaskID: task.ID, ID: "later"}); !errors.Is(err, a2a.ErrTaskNotFound) {
		t.Errorf("reading a webhook that was deleted: %v", err)
	}
}

func (s *scene) hookIDs(t *testing.T, id a2a.TaskID) map[string]bool {
	t.Helper()
	all, err := s.c.ListTaskPushConfigs(t.Context(), &a2a.ListTaskPushConfigRequest{TaskID: id})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, c := range all {
		ids[c.ID] = true
	}
	return ids
}

// hears reads the calls to a path, until a state. 0.3 sends the bare task, 1.0 the events
// of a stream.
func (s *scene) hears(t *testing.T, path string, task *a2a.Task, state a2a.TaskState, token, auth string) {
	t.Helper()
	for {
		p := s.hooks.next(t, path)
		name := "A2A-Notification-Token"
		if s.old {
			name = "X-A2A-Notification-Token"
		}
		if got := [...]string{p.header.Get(name), p.header.Get("Authorization")}; got != [...]string{token, auth} {
			t.Errorf("%s: came with %q, want %q and %q", path, got, token, auth)
		}
		id, now, err := s.reads(p.body)
		if err != nil || id != task.ID {
			t.Fatalf("%s: %s: %v", path, p.body, err)
		}
		if now == state {
			return
		}
	}
}

func (s *scene) reads(body []byte) (a2a.TaskID, a2a.TaskState, error) {
	if s.old {
		ev, err := old.UnmarshalEventJSON(body)
		if err != nil {
			return "", "", err
		}

		task, ok := ev.(*old.Task)
		if !ok {
			return "", "", fmt.Errorf("told a %T, want a task", ev)
		}

		return a2a.TaskID(task.ID), a2av0.ToV1TaskState(task.Status.State), nil
	}

	var res a2a.StreamResponse
	if err := json.Unmarshal(body, &res); err != nil {
		return "", "", err
	}

	switch ev := res.Event.(type) {
	case *a2a.Task:
		return ev.ID, ev.Status.State, nil
	case *a2a.TaskStatusUpdateEvent:
		return ev.TaskID, ev.Status.State, nil
	case *a2a.TaskArtifactUpdateEvent:
		return ev.TaskID, "", nil
	}

	return "", "", fmt.Errorf("told a %T", res.Event)
}

func (s *scene) isRefusedWebhooks(t *testing.T) {
	task := mustSend(t, s.c, userText("danger", "/ask Which?"))
	for _, url := range []string{"http://127.0.0.1:1/", "https://10.0.0.1/", "https://metadata.google.internal/", "ftp://example.com/"} {
		made, err := s.c.CreateTaskPushConfig(t.Context(), &a2a.PushConfig{TaskID: task.ID, URL: url})
		if !errors.Is(err, a2a.ErrInvalidParams) {
			t.Errorf("a webhook at %s: %+v, %v", url, made, err)
		}
		req := userText("danger-inline", "hello")
		req.Config = &a2a.SendMessageConfig{PushConfig: &a2a.PushConfig{URL: url}}
		if res, err := s.c.SendMessage(t.Context(), req); !errors.Is(err, a2a.ErrInvalidParams) {
			t.Errorf("a message with a webhook at %s: %+v, %v", url, res, err)
		}
	}
	if ids := s.hookIDs(t, task.ID); len(ids) != 0 {
		t.Errorf("there are the webhooks %v", ids)
	}
}

// A post is a request to a mailbox.
type post struct {
	header http.Header
	body   []byte
}

// A mailbox keeps the requests to it until a test asks for them, by path.
type mailbox struct {
	*httptest.Server
	mu   sync.Mutex
	came map[string]chan post
}

func newMailbox(t *testing.T) *mailbox {
	m := &mailbox{came: map[string]chan post{}}
	m.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender has gone
		}
		m.at(r.URL.Path) <- post{r.Header, body}
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *mailbox) allow() string { return "ERRAND_PUSH_ALLOW=" + strings.TrimPrefix(m.URL, "http://") }

func (m *mailbox) at(path string) chan post {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.came[path] == nil {
		m.came[path] = make(chan post, 100)
	}
	return m.came[path]
}

func (m *mailbox) next(t *testing.T, path string) post {
	t.Helper()
	select {
	case p := <-m.at(path):
		return p
	case <-time.After(patience):
		t.Fatalf("nothing more came to %s", path)
		return post{}
	}
}
