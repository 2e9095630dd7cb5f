package push_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"errand/cardserver/push"
	"errand/shared/adapters/sqlstore"
	"errand/shared/auth"
	"errand/shared/desk"
	"errand/shared/egress"
	"errand/shared/keys"
	"errand/shared/queue"
	"errand/shared/secret"
	"errand/shared/task"
)

// A world is the API on a real store. Its jobs are kept and not delivered.
type world struct {
	http.Handler
	t       *testing.T
	store   *sqlstore.DB
	config  push.Config
	ring    keys.Ring
	router  routers.Router
	callers map[string]string // key by name

	mu   sync.Mutex
	jobs []queue.Job
}

const hookURL = "https://hooks.example.com/x"

func newWorld(t *testing.T) *world {
	w := &world{t: t, router: description(t), callers: map[string]string{}}
	file := "principals:\n"

	for _, name := range []string{"acme/alice", "other/bob", "ops"} {
		key, hash := auth.NewKey()
		w.callers[name] = key
		file += fmt.Sprintf("  - {name: %s, operator: %v, keys: [%s]}\n", name, name == "ops", hash)
	}

	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}

	access, err := auth.Load(path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if w.store, err = sqlstore.Open(t.Context(), filepath.Join(t.TempDir(), "t.db"), sqlstore.Options{}); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})

	out, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}

	text, err := keys.Generate("", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if w.ring, err = keys.Parse(text); err != nil {
		t.Fatal(err)
	}

	w.config = push.Config{
		Store: w.store, Access: access, CheckURL: out.CheckURL, Log: slog.New(slog.DiscardHandler),
		Desk: w.desk(w.store),
		Keys: keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(text)) }}),
	}

	w.Handler = push.New(w.config)
	return w
}

// desk is a desk with the world's queue.
func (w *world) desk(store task.Store) *desk.Desk {
	return desk.New(desk.Config{Store: store, Queue: w, Rules: task.Defaults(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
}

// description is the API's own description, to compare answers with.
func description(t *testing.T) routers.Router {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(push.Description())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return router
}

// Add keeps a job.
func (w *world) Add(_ context.Context, job queue.Job) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs = append(w.jobs, job)
	return nil
}

// asked are the tasks of the jobs that were added since the last call.
func (w *world) asked() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.jobs {
		if j.Queue != task.Deliveries {
			w.t.Errorf("a job for %s", j.Queue)
		}
		ids = append(ids, j.Task)
	}
	w.jobs = nil
	return ids
}

// ask makes a request as a caller, and checks the answer against the description.
func (w *world) ask(caller, method, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader([]byte(body)))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if key := w.callers[caller]; key != "" {
		r.Header.Set("X-API-Key", key)
	}

	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	route, params, err := w.router.FindRoute(r)
	if err != nil {
		return rec // the description does not have it
	}

	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}}

	if rec.Code/100 == 2 {
		r.Body = io.NopCloser(bytes.NewReader([]byte(body)))
		if err := openapi3filter.ValidateRequest(w.t.Context(), in); err != nil {
			w.t.Errorf("%s %s: accepted against its description: %v", method, path, err)
		}
	}

	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: rec.Code, Header: rec.Header(), Options: &openapi3filter.Options{IncludeResponseStatus: true}}
	out.SetBodyBytes(rec.Body.Bytes())
	if err := openapi3filter.ValidateResponse(w.t.Context(), out); err != nil {
		w.t.Errorf("%s %s: answered against its description: %v", method, path, err)
	}

	return rec
}

// want makes a request that must succeed and reads the answer.
func want[T any](w *world, status int, caller, method, path, body string) (v T) {
	w.t.Helper()
	rec := w.ask(caller, method, path, body)
	if rec.Code != status {
		w.t.Fatalf("%s %s: %d %s, want %d", method, path, rec.Code, rec.Body, status)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return v
}

// ended stores an owner's task that has ended with two notifications, with a webhook.
func (w *world) ended(owner, id string) task.Record {
	w.t.Helper()
	m := task.Defaults().At(time.Now())
	msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("go"))
	r, err := task.Accept(m, task.Acceptance{
		ID: id, Context: "c", Owner: owner, Lane: task.Turns, Message: msg, Request: task.Request{ID: msg.ID, Fingerprint: "p"},
		Webhooks: []task.Webhook{{ID: "h", URL: hookURL, Sealed: "sealed-things"}},
	})
	if err == nil {
		_, err = w.store.Create(w.t.Context(), r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.update(id, func(r task.Record) (task.Record, bool, error) {
		n, _, changed, err := r.Claim(m, task.Claim{Lease: task.Lease{Until: m.Now.Add(time.Minute), Nonce: "n"}})
		return n, changed, err
	})
	events := []a2a.Event{&a2a.TaskArtifactUpdateEvent{Artifact: &a2a.Artifact{ID: "art", Parts: a2a.ContentParts{a2a.NewTextPart("x")}}}}
	return w.update(id, func(r task.Record) (task.Record, bool, error) {
		return r.Finish(m, task.Fence{Epoch: r.Epoch, Seq: r.Seq}, events, task.Outcome{State: a2a.TaskStateCompleted})
	})
}

// dead is such a task whose webhook took the first notification and then was given up.
func (w *world) dead(owner, id string) task.Record {
	w.t.Helper()
	w.ended(owner, id)
	m := task.Defaults().At(time.Now())
	return w.update(id, func(r task.Record) (task.Record, bool, error) {
		return r.Delivered(m, []task.Delivery{{Webhook: r.Webhooks[0], Sent: 1, Fail: true, Tries: []task.Try{
			{At: m.Now, Notification: 1, Status: 200}, {At: m.Now, Notification: 2, Error: "connection"},
		}}})
	})
}

func (w *world) update(id string, decide task.Decision) task.Record {
	w.t.Helper()
	r, err := task.Update(w.t.Context(), w.store, id, decide)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) hook(id string) task.Webhook {
	w.t.Helper()
	r, err := w.store.Load(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Webhooks[0]
}
