package front_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/agent"
	"errand/shared/card"
	"errand/shared/desk"
	"errand/shared/keys"
	lab "errand/shared/lab/agent"
	base "errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
)

// A world is the front door on a real store and a real queue. Jobs run only if worker is
// set. The tests play the worker through the transitions.
type world struct {
	*base.World
	http.Handler
	t      testing.TB
	clock  atomic.Int64 // milliseconds, one more at every look
	worker atomic.Pointer[func(id string)]
	via    binding
	keys   *keys.Keyring
}

const (
	anonymous = "anonymous" // the owner of the messages of unidentified callers
	host      = "127.0.0.1:8080"
)

func newWorld(t testing.TB, edit ...func(*front.Config)) *world {
	t.Helper()
	w := &world{t: t, via: jsonrpc, keys: base.Keys(t)}
	w.clock.Store(time.Now().UnixMilli())
	w.World = base.New(t, base.Config{Now: w.now, Handler: http.HandlerFunc(w.deliver)})
	access, _ := base.Access(t)

	definition, err := agent.Parse(lab.Definition)
	if err != nil {
		t.Fatal(err)
	}

	cards, err := card.New(card.Config{Agent: definition, Loopback: true, MaxMessage: task.LimitAccept, Modified: time.Now()})
	if err != nil {
		t.Fatal(err)
	}

	cfg := front.Config{
		Store: w.Store, KV: w.Store.KV(), Agent: definition, Access: access, Card: cards, CheckURL: base.CheckURL(t), Keys: w.keys,
		Model: "stand-in", Loopback: true, Log: w.Log, Push: http.NotFoundHandler(),
	}

	for _, f := range edit {
		f(&cfg)
	}

	if cfg.Desk == nil {
		cfg.Desk = desk.New(desk.Config{Store: cfg.Store, Queue: w.Jobs, Rules: w.Rules, Now: w.now, Log: cfg.Log})
	}

	w.Handler = front.New(cfg)
	return w
}

func (w *world) now() time.Time { return time.UnixMilli(w.clock.Add(1)) }

func (w *world) deliver(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Error(err)
	}
	job, err := queue.Parse(body)
	if err != nil {
		w.t.Error(err)
	}
	if run := w.worker.Load(); run != nil && r.URL.Path == queue.PathTurn {
		(*run)(job.Task)
	}
}

// work makes the queue's jobs run f.
func (w *world) work(f func(id string)) { w.worker.Store(&f) }

// claim takes the turn of a task.
func (w *world) claim(id string) task.Record {
	w.t.Helper()
	return base.Claim(w.t, w.Store, id, w.Moment(), time.Hour)
}

// say commits events of the turn that r runs.
func (w *world) say(r task.Record, events ...a2a.Event) task.Record {
	w.t.Helper()
	turn := task.Fence{Epoch: r.Epoch, Seq: r.Seq}
	return base.Update(w.t, w.Store, r.ID(), func(r task.Record) (task.Record, bool, error) {
		return r.Progress(w.Moment(), turn, events)
	})
}

// end ends the turn that r runs in a state, with a message that names the state.
func (w *world) end(r task.Record, state a2a.TaskState, events ...a2a.Event) task.Record {
	w.t.Helper()
	return base.End(w.t, w.Store, r, w.Moment(), events, task.Outcome{State: state, Message: words("it is " + state.String())})
}

// answer is a worker's whole turn: one artifact, and the end.
func (w *world) answer(id string) {
	if r := w.claim(id); !r.Terminal() {
		w.end(r, a2a.TaskStateCompleted, chunk("a", "the answer", false))
	}
}

// insert stores a task of any owner that is in a state.
func (w *world) insert(owner, messageID string, state a2a.TaskState) task.Record {
	w.t.Helper()
	id, contextID := task.Derive(owner, messageID)
	msg := &a2a.Message{ID: messageID, Role: a2a.MessageRoleUser, TaskID: a2a.TaskID(id), ContextID: contextID, Parts: a2a.ContentParts{a2a.NewTextPart("hi")}}
	print, err := task.Fingerprint(msg, msg.TaskID, msg.ContextID)
	if err != nil {
		w.t.Fatal(err)
	}
	r := base.Accept(w.t, w.Store, w.Moment(), task.Acceptance{
		ID: id, Context: contextID, Owner: owner, Message: msg, Request: task.Request{ID: msg.ID, Fingerprint: print},
	})
	switch {
	case state == a2a.TaskStateSubmitted:
		return r
	case state == a2a.TaskStateWorking:
		return w.claim(id)
	}
	return w.end(w.claim(id), state, chunk("a", "the answer", false))
}

func words(text string) *a2a.Message {
	return a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(text))
}

func chunk(id a2a.ArtifactID, text string, more bool) a2a.Event {
	return &a2a.TaskArtifactUpdateEvent{Append: more, Artifact: &a2a.Artifact{ID: id, Parts: a2a.ContentParts{a2a.NewTextPart(text)}}}
}

// A reply is a JSON-RPC response and the HTTP around it.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   string

	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   *rpcError       `json:"error"`
}

type rpcError struct {
	Code    int              `json:"code"`
	Message string           `json:"message"`
	Data    []map[string]any `json:"data"`
}

func (r reply) code() int {
	if r.Error == nil {
		return 0
	}
	return r.Error.Code
}

// field is the first field that the error names.
func (r reply) field() string {
	d := r.detail("type.googleapis.com/google.rpc.BadRequest")
	if d == nil {
		return ""
	}
	return d["fieldViolations"].([]any)[0].(map[string]any)["field"].(string)
}

// detail is the detail of a type that the error has, or nil.
func (r reply) detail(kind string) map[string]any {
	for _, d := range r.Error.Data {
		if d["@type"] == kind {
			return d
		}
	}
	return nil
}

// A seen is the part of a task on the wire that the tests look at.
type seen struct {
	ID        string  `json:"id"`
	ContextID string  `json:"contextId"`
	Status    status  `json:"status"`
	Artifacts []parts `json:"artifacts"`
	History   []parts `json:"history"`
}

type status struct {
	State     string `json:"state"`
	Timestamp string `json:"timestamp"`
	Message   *parts `json:"message"`
}

type parts struct {
	MessageID string `json:"messageId"`
	Parts     []struct {
		Text string `json:"text"`
	} `json:"parts"`
}

func into[T any](r reply) T {
	r.t.Helper()
	var v T
	if r.Error != nil {
		r.t.Fatalf("got error %+v, want a result", *r.Error)
	}
	if err := json.Unmarshal(r.Result, &v); err != nil {
		r.t.Fatalf("%v: %s", err, r.Result)
	}
	return v
}

// task is the task that a reply holds, also when it is the answer to a send.
func (r reply) task() seen {
	r.t.Helper()
	type sent struct {
		Task *seen `json:"task"`
	}
	if s := into[sent](r); s.Task != nil {
		return *s.Task
	}
	return into[seen](r)
}

func post(h http.Handler, body string, edit ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(http.MethodPost, "http://"+host+"/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// send posts a body to JSON-RPC, which must be answered in one piece.
func (w *world) send(t testing.TB, body string) reply {
	t.Helper()
	over := world{via: jsonrpc, Handler: w.Handler}
	return over.do(t, newRequest(http.MethodPost, "/", body))
}

func request(method, params string) string {
	return `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":` + params + `}`
}

// message is a message with these fields. A role and one part are added, unless the fields
// name them.
func message(id, fields string) string {
	m := `{"messageId":"` + id + `"`
	for _, d := range []string{`"role":"ROLE_USER"`, `"parts":[{"text":"hi"}]`} {
		if key, _, _ := strings.Cut(d, ":"); !strings.Contains(fields, key) {
			m += "," + d
		}
	}
	if fields != "" {
		m += "," + fields
	}
	return m + "}"
}

// sending is the params of a send that returns at once.
func sending(message string) string { return configured(message, `"returnImmediately":true`) }

func configured(message, configuration string) string {
	return `{"message":` + message + `,"configuration":{` + configuration + `}}`
}

func byID(id string) string { return `{"id":"` + id + `"}` }

// A stream is one response that is written while the test goes on. With a gate,
// the client reads an event only when the gate lets it.
type stream struct {
	via    binding
	gate   chan struct{} // nil: open
	cancel context.CancelFunc
	done   chan struct{} // closed when the response has ended
	fed    chan struct{} // one value for every event written

	header http.Header
	status int
	mu     sync.Mutex
	buf    bytes.Buffer
}

func (s *stream) Header() http.Header    { return s.header }
func (s *stream) WriteHeader(status int) { s.status = status }
func (s *stream) Flush()                 {}

func (s *stream) Write(b []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	s.buf.Write(b)
	s.mu.Unlock()
	s.fed <- struct{}{}
	return len(b), nil
}

// open begins a stream.
func (w *world) open(method, params string, gate chan struct{}) *stream {
	return w.follow(w.via.request(method, params), gate)
}

func (w *world) follow(r *http.Request, gate chan struct{}) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{via: w.via, gate: gate, cancel: cancel, done: make(chan struct{}), fed: make(chan struct{}, 1000), header: http.Header{}}
	go func() {
		defer close(s.done)
		w.ServeHTTP(s, r.WithContext(ctx))
	}()
	return s
}

// await waits until n more events were written.
func (s *stream) await(t testing.TB, n int) {
	t.Helper()
	for range n {
		select {
		case <-s.fed:
		case <-time.After(2 * time.Minute):
			t.Fatalf("no event came; so far:\n%s", s.text())
		}
	}
}

// over waits until the response has ended.
func (s *stream) over(t testing.TB) {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("the stream does not end; so far:\n%s", s.text())
	}
}

// ended waits until the response has ended, and returns a word for each event.
func (s *stream) ended(t testing.TB) []string {
	t.Helper()
	s.over(t)
	return s.events(t)
}

func (s *stream) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func (s *stream) events(t testing.TB) []string {
	t.Helper()
	var all []string

	for line := range strings.Lines(s.text()) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}

		raw, code, err := s.via.event([]byte(data))
		if err != nil {
			t.Fatalf("%v: %s", err, data)
		}

		if code != 0 {
			all = append(all, "error "+strconv.Itoa(code))
			continue
		}

		var ev struct {
			Task   *seen `json:"task"`
			Status *struct {
				Status status `json:"status"`
			} `json:"statusUpdate"`
			Artifact *struct {
				Artifact parts `json:"artifact"`
			} `json:"artifactUpdate"`
		}
		if err := json.Unmarshal(raw, &ev); err != nil {
			t.Fatalf("%v: %s", err, data)
		}

		switch {
		case ev.Task != nil:
			all = append(all, "task "+short(ev.Task.Status.State))
		case ev.Status != nil:
			all = append(all, short(ev.Status.Status.State))
		case ev.Artifact != nil:
			all = append(all, "artifact "+ev.Artifact.Artifact.Parts[0].Text)
		}
	}

	return all
}

func short(state string) string { return strings.TrimPrefix(state, "TASK_STATE_") }

// versions is the content of the store, by task.
func (w *world) versions(t testing.TB) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	for _, owner := range []string{anonymous, "other"} {
		q := task.Query{Owner: owner, Limit: 100}
		for {
			page, err := w.Store.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Records {
				all[r.ID()] = r.Version
			}
			if !page.More {
				break
			}
			last := page.Records[len(page.Records)-1]
			q.After = task.Ref{At: last.Stamp(), ID: last.ID()}
		}
	}
	return all
}

func ids(tasks []seen) []string {
	return slices.Collect(func(yield func(string) bool) {
		for _, t := range tasks {
			if !yield(t.ID) {
				return
			}
		}
	})
}
