package push_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"errand/cardserver/push"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

// A world is the API on a real store. Its jobs are kept and not delivered.
type world struct {
	*base.World
	http.Handler
	t       *testing.T
	config  push.Config
	router  routers.Router
	callers map[string]string // key by name
}

const hookURL = "https://hooks.example.com/x"

func newWorld(t *testing.T) *world {
	w := &world{World: base.New(t, base.Config{}), t: t, router: description(t)}
	access, callers := base.Access(t, "acme/alice", "other/bob", "ops")
	w.callers = callers
	w.config = push.Config{
		Desk: w.Desk(w.Store), Store: w.Store, KV: w.Store.KV(), Access: access, CheckURL: base.CheckURL(t), Keys: base.Keys(t), Log: w.Log,
	}
	w.Handler = push.New(w.config)
	return w
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
