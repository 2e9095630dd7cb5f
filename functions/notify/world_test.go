package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/functions/notify"
	"errand/functions/sweep"
	"errand/shared/adapters/local"
	"errand/shared/bus"
	"errand/shared/keys"
	"errand/shared/lab/faulty"
	base "errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/shared/webhook"
)

// A world is the notify service with a real store and a real queue.
type world struct {
	*base.World
	t       *testing.T
	counted *store
	client  *receivers
	mux     *http.ServeMux
	sweep   *sweep.Sweep
	lanes   map[string]local.Limits // nil: the defaults
	keys    *keys.Keyring
	notify  *notify.Notifier
	shared  bool // a second process takes every other job
	strange bool // the origins of the receivers are new; else they are known, as after a 2xx
}

// issuer is the agent's address.
const issuer = "https://agent.test"

func newWorld(t *testing.T) *world {
	w := &world{t: t, client: &receivers{}, keys: base.Keys(t)}
	w.open("")
	return w
}

// seal encrypts the secrets of a webhook.
func (w *world) seal(url, token, credentials string) string {
	w.t.Helper()
	return webhook.Secrets{Token: token, Credentials: credentials}.Seal(base.Ring(w.t, w.keys), time.Now(), "", url)
}

// open starts the process on a file; without a path it is a new one. The edits change its
// configuration.
func (w *world) open(path string, edits ...func(*notify.Config)) {
	w.t.Helper()
	w.mux = http.NewServeMux()
	w.World = base.New(w.t, base.Config{Path: path, Handler: w.mux, Lanes: w.lanes})
	w.counted = newStore(w.Store)
	c := notify.Config{Desk: w.Desk(w.counted), Store: w.counted, Client: w.client, Keys: w.keys, Issuer: func() string { return issuer }}
	for _, edit := range edits {
		edit(&c)
	}
	n := notify.New(c)
	if w.notify = n; !w.strange {
		w.knows(urlA, urlB)
	}

	w.mux.HandleFunc("POST "+bus.PathEvents, n.ServeEvent)
	w.mux.HandleFunc("POST "+queue.PathDeliver, w.serve(n, notify.New(c)))
	w.mux.HandleFunc("POST "+queue.PathSweep, func(rw http.ResponseWriter, r *http.Request) { w.sweep.ServeHTTP(rw, r) })
}

// serve serves the jobs by one process, or by two in turn.
func (w *world) serve(first, second *notify.Notifier) http.HandlerFunc {
	var jobs atomic.Int64
	return func(rw http.ResponseWriter, r *http.Request) {
		if w.shared && jobs.Add(1)%2 == 0 {
			second.ServeDelivery(rw, r)
			return
		}
		first.ServeDelivery(rw, r)
	}
}

// knows makes the origins of URLs known, as a 2xx does, for tests in which attempts do not wait
// for each other.
func (w *world) knows(urls ...string) {
	for _, url := range urls {
		w.notify.Know("", url)
	}
}

// reopen ends the process and starts the next one.
func (w *world) reopen(edits ...func(*notify.Config)) {
	w.t.Helper()
	w.Close()
	w.open(w.Path, edits...)
}

// through is an edit that replaces the client.
func through(client notify.Client) func(*notify.Config) {
	return func(c *notify.Config) { c.Client = client }
}

// accept stores a task with the given webhooks.
func (w *world) accept(id string, hooks ...task.Webhook) {
	w.t.Helper()
	w.acceptOf("", id, hooks...)
}

// acceptOf stores a task of an owner.
func (w *world) acceptOf(owner, id string, hooks ...task.Webhook) {
	w.t.Helper()
	base.Accept(w.t, w.Store, w.Moment(), task.Acceptance{ID: id, Owner: owner, Webhooks: hooks})
}

func (w *world) update(id string, decide task.Decision) task.Record {
	w.t.Helper()
	return base.Update(w.t, w.Store, id, decide)
}

// finish runs a turn that makes the artifacts, given as names and texts, and ends in the
// state.
func (w *world) finish(id string, state a2a.TaskState, say string, artifacts ...string) task.Record {
	w.t.Helper()
	var events []a2a.Event
	for i := 0; i < len(artifacts); i += 2 {
		events = append(events, base.Artifact(artifacts[i], artifacts[i+1]))
	}
	out := task.Outcome{State: state}
	if say != "" {
		out.Message = a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(say))
	}
	return base.Finish(w.t, w.Store, id, w.Moment(), events, out)
}

// answer sends an interrupted task its next message.
func (w *world) answer(id, text string) {
	w.t.Helper()
	w.update(id, func(r task.Record) (task.Record, bool, error) {
		return r.FollowUp(w.Moment(), a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(text)), task.Request{ID: text, Fingerprint: text})
	})
}

func (w *world) setWebhook(id string, h task.Webhook) {
	w.t.Helper()
	w.update(id, func(r task.Record) (task.Record, bool, error) {
		return r.SetWebhook(w.Moment(), h)
	})
}

// event pushes the event of a notification, as the bus does. Notification 0 is the newest.
func (w *world) event(id string, note int) int {
	w.t.Helper()
	if note == 0 {
		note = len(w.Load(id).Notifications)
	}
	var p bus.Push
	p.Message.Attributes = bus.Event{Task: id, Notification: note, Time: time.Now()}
	body, err := json.Marshal(p)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.post(context.Background(), bus.PathEvents, string(body))
}

// deliver runs one pass and returns when it has ended.
func (w *world) deliver(id string) {
	w.t.Helper()
	body := queue.Job{Task: id}.Body()
	if got := w.post(context.Background(), queue.PathDeliver, string(body)); got != http.StatusNoContent {
		w.t.Errorf("delivery answered %d, want 204", got)
	}
}

func (w *world) post(ctx context.Context, path, body string) int {
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body)))
	return rec.Code
}

func (w *world) hook(id, hook string) task.Webhook {
	w.t.Helper()
	h, ok := w.Load(id).Webhook(hook)
	if !ok {
		w.t.Fatalf("task %s has no hook %s", id, hook)
	}
	return h
}

// A store counts reads and commits, and can fail.
type store struct {
	faulty.Store
	mu      sync.Mutex
	down    bool
	loads   int
	commits int
	loading func() // called before each read
	written func() // called after each commit
}

func newStore(db task.Store) *store {
	s := &store{}
	s.Store = faulty.Store{Store: db, Before: s.before, After: s.after}
	return s
}

var errDown = errors.New("out of order")

func (s *store) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *store) before(c faulty.Call) error {
	s.mu.Lock()
	down, loading := s.down, s.loading
	switch c.Op {
	case faulty.Load:
		s.loads++
	case faulty.Commit:
		s.commits++
	}
	s.mu.Unlock()

	if c.Op != faulty.Load {
		return nil
	}
	if loading != nil {
		loading()
	}
	if down {
		return errDown
	}
	return nil
}

func (s *store) after(c faulty.Call, r task.Record, err error) (task.Record, error) {
	s.mu.Lock()
	written := s.written
	s.mu.Unlock()
	if c.Op == faulty.Commit && written != nil {
		written()
	}
	return r, err
}

// receivers are the webhooks of the world, by URL. An unknown receiver answers 200.
type receivers struct {
	mu  sync.Mutex
	at  map[string]func(*http.Request) (*http.Response, error)
	log []call
}

// used counts the reads and commits.
func (s *store) used() (loads, commits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads, s.commits
}

// A call is one request that arrived.
type call struct {
	at     time.Time
	url    string
	id     string
	header http.Header
	body   string
}

func (c *receivers) on(url string, f func(*http.Request) (*http.Response, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[string]func(*http.Request) (*http.Response, error){}
	}
	c.at[url] = f
}

func (c *receivers) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	url := req.URL.String()
	c.mu.Lock()
	c.log = append(c.log, call{time.Now(), url, req.Header.Get("Webhook-Id"), req.Header, string(body)})
	f := c.at[url]
	c.mu.Unlock()
	if f == nil {
		return status(http.StatusOK), nil
	}
	return f(req)
}

func (c *receivers) calls(url string) []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []call
	for _, one := range c.log {
		if url == "" || one.url == url {
			out = append(out, one)
		}
	}
	return out
}

// ids lists the webhook-ids that arrived at the URL, in order.
func (c *receivers) ids(url string) []string {
	var out []string
	for _, one := range c.calls(url) {
		out = append(out, one.id)
	}
	return out
}

func status(code int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: http.NoBody}
}

// answers always gives the same status.
func answers(code int, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return status(code, header...), nil }
}

// hangs never answers.
func hangs(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}
