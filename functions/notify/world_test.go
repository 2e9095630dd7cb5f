package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/functions/notify"
	"errand/functions/sweep"
	"errand/shared/adapters/local"
	"errand/shared/adapters/sqlstore"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/keys"
	"errand/shared/lab/faulty"
	"errand/shared/queue"
	"errand/shared/secret"
	"errand/shared/task"
	"errand/shared/webhook"
)

// A world is the notify service with a real store and a real queue.
type world struct {
	t      *testing.T
	path   string
	db     *sqlstore.DB
	store  *store
	queue  *jobs
	client *receivers
	mux    *http.ServeMux
	sweep  *sweep.Sweep
	lanes  map[string]local.Limits // nil: the defaults
	rules  task.Rules
	keys   *keys.Keyring
}

// issuer is the agent's address.
const issuer = "https://agent.test"

func newWorld(t *testing.T) *world {
	w := &world{t: t, path: filepath.Join(t.TempDir(), "errand.db"), client: &receivers{}, rules: task.Defaults()}
	text, err := keys.Generate("", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.keys = keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(text)) }})
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

// ring reads the ring of keys.
func (w *world) ring() keys.Ring {
	w.t.Helper()
	ring, err := w.keys.Ring(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return ring
}

// seal encrypts the secrets of a webhook.
func (w *world) seal(url, token, credentials string) string {
	w.t.Helper()
	return webhook.Secrets{Token: token, Credentials: credentials}.Seal(w.ring(), time.Now(), "", url)
}

// open starts the process. The edits change its configuration.
func (w *world) open(edits ...func(*notify.Config)) {
	w.t.Helper()
	db, err := sqlstore.Open(context.Background(), w.path, sqlstore.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db, w.store, w.mux = db, newStore(db), http.NewServeMux()
	w.queue = &jobs{Queue: local.NewQueue(local.QueueConfig{Handler: w.mux, Lanes: w.lanes})}
	c := notify.Config{Desk: w.desk(w.store), Store: w.store, Client: w.client, Keys: w.keys, Issuer: func() string { return issuer }}
	for _, edit := range edits {
		edit(&c)
	}
	n := notify.New(c)
	w.mux.HandleFunc("POST "+bus.PathEvents, n.ServeEvent)
	w.mux.HandleFunc("POST "+queue.PathDeliver, n.ServeDelivery)
	w.mux.HandleFunc("POST "+queue.PathSweep, func(rw http.ResponseWriter, r *http.Request) { w.sweep.ServeHTTP(rw, r) })
}

// reopen ends the process and starts the next one.
func (w *world) reopen(edits ...func(*notify.Config)) {
	w.t.Helper()
	w.close()
	w.open(edits...)
}

// through is an edit that replaces the client.
func through(client notify.Client) func(*notify.Config) {
	return func(c *notify.Config) { c.Client = client }
}

// desk makes a desk with the world's queue.
func (w *world) desk(store task.Store) *desk.Desk {
	return desk.New(desk.Config{Store: store, Queue: w.queue, Rules: w.rules, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := errors.Join(w.queue.Queue.(*local.Queue).Close(ctx), w.db.Close()); err != nil {
		w.t.Error(err)
	}
}

// accept stores a task with the given webhooks.
func (w *world) accept(id string, hooks ...task.Webhook) {
	w.t.Helper()
	msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("go"))
	r, err := task.Accept(w.rules.At(time.Now()), task.Acceptance{
		ID: id, Context: "c", Lane: task.Turns, Message: msg, Request: task.Request{ID: msg.ID, Fingerprint: "p"}, Webhooks: hooks,
	})
	if err == nil {
		_, err = w.db.Create(w.t.Context(), r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(id string, decide task.Decision) task.Record {
	w.t.Helper()
	r, err := task.Update(context.Background(), w.db, id, decide)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// finish runs a turn that makes the artifacts, given as names and texts, and ends in the
// state.
func (w *world) finish(id string, state a2a.TaskState, say string, artifacts ...string) task.Record {
	w.t.Helper()
	m := w.rules.At(time.Now())
	r := w.update(id, func(r task.Record) (task.Record, bool, error) {
		n, _, changed, err := r.Claim(m, task.Claim{Lease: task.Lease{Until: m.Now.Add(time.Minute), Nonce: fmt.Sprint(r.Epoch)}})
		return n, changed, err
	})
	var events []a2a.Event
	for i := 0; i < len(artifacts); i += 2 {
		events = append(events, &a2a.TaskArtifactUpdateEvent{Artifact: &a2a.Artifact{
			ID: a2a.ArtifactID(artifacts[i]), Parts: a2a.ContentParts{a2a.NewTextPart(artifacts[i+1])},
		}})
	}
	out := task.Outcome{State: state}
	if say != "" {
		out.Message = a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(say))
	}
	turn := task.Fence{Epoch: r.Epoch, Seq: r.Seq}
	return w.update(id, func(r task.Record) (task.Record, bool, error) { return r.Finish(m, turn, events, out) })
}

// answer sends an interrupted task its next message.
func (w *world) answer(id, text string) {
	w.t.Helper()
	w.update(id, func(r task.Record) (task.Record, bool, error) {
		return r.FollowUp(w.rules.At(time.Now()), a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(text)), task.Request{ID: text, Fingerprint: text})
	})
}

func (w *world) setWebhook(id string, h task.Webhook) {
	w.t.Helper()
	w.update(id, func(r task.Record) (task.Record, bool, error) {
		return r.SetWebhook(w.rules.At(time.Now()), h)
	})
}

// event pushes the event of a notification, as the bus does. Notification 0 is the newest.
func (w *world) event(id string, note int) int {
	w.t.Helper()
	r, err := w.db.Load(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	if note == 0 {
		note = len(r.Notifications)
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
	r, err := w.db.Load(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	h, ok := r.Webhook(hook)
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

// jobs is a queue that remembers the enqueued jobs. It can fail, or keep the jobs.
type jobs struct {
	queue.Queue
	mu    sync.Mutex
	added []queue.Job
	down  bool
	keep  bool
}

func (q *jobs) Add(ctx context.Context, job queue.Job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down {
		return errDown
	}
	q.added = append(q.added, job)
	if q.keep {
		return nil
	}
	return q.Queue.Add(ctx, job)
}

func (q *jobs) all() []queue.Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]queue.Job(nil), q.added...)
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
