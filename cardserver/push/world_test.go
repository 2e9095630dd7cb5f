package push_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/push"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

// A world is the API on a real store. Its jobs are kept and not delivered.
type world struct {
	*base.World
	http.Handler
	t         *testing.T
	config    push.Config
	described *base.Description
	callers   map[string]string // key by name
}

const hookURL = "https://hooks.example.com/x"

func newWorld(t *testing.T) *world {
	w := &world{World: base.New(t, base.Config{}), t: t, described: base.Describe(t, push.Description())}
	access, callers := base.Access(t, "acme/alice", "other/bob", "ops")
	w.callers = callers
	w.config = push.Config{
		Desk: w.Desk(w.Store), Store: w.Store, KV: w.Store.KV(), Access: access, CheckURL: base.CheckURL(t), Keys: base.Keys(t), Log: w.Log,
	}
	w.Handler = push.New(w.config)
	return w
}

// asked are the tasks of the jobs that were added since the last call.
func (w *world) asked() (ids []string) {
	for _, j := range w.Jobs.Take() {
		if j.Queue != task.Deliveries {
			w.t.Errorf("a job for %s", j.Queue)
		}
		ids = append(ids, j.Task)
	}
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

	return w.described.Serve(w.Handler, r)
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
	m := w.Moment()
	base.Accept(w.t, w.Store, m, task.Acceptance{ID: id, Owner: owner, Webhooks: []task.Webhook{{ID: "h", URL: hookURL, Sealed: "sealed-things"}}})
	return base.Finish(w.t, w.Store, id, m, []a2a.Event{base.Artifact("art", "x")}, task.Outcome{State: a2a.TaskStateCompleted})
}

// dead is such a task whose webhook took the first notification and then was given up.
func (w *world) dead(owner, id string) task.Record {
	w.t.Helper()
	w.ended(owner, id)
	m := w.Moment()
	return base.Update(w.t, w.Store, id, func(r task.Record) (task.Record, bool, error) {
		return r.Delivered(m, []task.Delivery{{Webhook: r.Webhooks[0], Sent: 1, Fail: true, Tries: []task.Try{
			{At: m.Now, Notification: 1, Status: 200}, {At: m.Now, Notification: 2, Error: "connection"},
		}}})
	})
}

func (w *world) hook(id string) task.Webhook {
	w.t.Helper()
	return w.Load(id).Webhooks[0]
}
