package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/audit"
	"errand/shared/auth"
)

// A fixed handler answers every operation with one error, or with success.
type fixed struct{ err error }

func (f fixed) task() (*a2a.Task, error) {
	if f.err != nil {
		return nil, f.err
	}
	return &a2a.Task{ID: "t", ContextID: "c", Status: a2a.TaskStatus{State: a2a.TaskStateCompleted}}, nil
}

func (f fixed) events() iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		t, err := f.task()
		yield(t, err)
	}
}

func (f fixed) SendMessage(context.Context, *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
	return f.task()
}

func (f fixed) SendStreamingMessage(context.Context, *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] {
	return f.events()
}

func (f fixed) SubscribeToTask(context.Context, *a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
	return f.events()
}

func (f fixed) GetTask(context.Context, *a2a.GetTaskRequest) (*a2a.Task, error) { return f.task() }

func (f fixed) CancelTask(context.Context, *a2a.CancelTaskRequest) (*a2a.Task, error) {
	return f.task()
}

func (f fixed) ListTasks(context.Context, *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
	return &a2a.ListTasksResponse{}, f.err
}

func (f fixed) CreateTaskPushConfig(_ context.Context, c *a2a.PushConfig) (*a2a.PushConfig, error) {
	return c, f.err
}

func (f fixed) GetTaskPushConfig(context.Context, *a2a.GetTaskPushConfigRequest) (*a2a.PushConfig, error) {
	return &a2a.PushConfig{}, f.err
}

func (f fixed) ListTaskPushConfigs(context.Context, *a2a.ListTaskPushConfigRequest) (*a2a.ListTaskPushConfigResponse, error) {
	return &a2a.ListTaskPushConfigResponse{}, f.err
}

func (f fixed) DeleteTaskPushConfig(context.Context, *a2a.DeleteTaskPushConfigRequest) error {
	return f.err
}

func (f fixed) GetExtendedAgentCard(context.Context, *a2a.GetExtendedAgentCardRequest) (*a2a.AgentCard, error) {
	return &a2a.AgentCard{}, f.err
}

// A rightsWorld has a key for each right, and one for each set of all others.
type rightsWorld struct {
	*testing.T
	access       *auth.Access
	only, butFor map[auth.Right]string // keys
	log          bytes.Buffer          // of the audit
}

func newRightsWorld(t *testing.T) *rightsWorld {
	w := &rightsWorld{T: t, only: map[auth.Right]string{}, butFor: map[auth.Right]string{}}
	text := "limits: {requests: none}\nprincipals:\n  - name: acme/ci\n    keys:\n"
	add := func(may []auth.Right) string {
		key, hash := auth.NewKey()
		list, err := json.Marshal(may)
		if err != nil {
			t.Fatal(err)
		}
		text += "      - {hash: " + hash + ", may: " + string(list) + "}\n"
		return key
	}

	for _, r := range auth.Rights() {
		w.only[r] = add([]auth.Right{r})
		w.butFor[r] = add(slices.DeleteFunc(auth.Rights(), func(other auth.Right) bool { return other == r }))
	}

	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	access, err := auth.Load(path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.access = access
	return w
}

// A way is a request for an operation in one version over one binding.
type way struct {
	name, verb, path, body string
	rpc                    bool
}

// ways are all ways to request an operation, from its row.
func (o *operation) ways() (all []way) {
	const (
		v1     = `{"id":"t","taskId":"t","url":"https://hooks.example.com/","message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"canary-text"}]}}`
		rpc03  = `{"id":"t","taskId":"t","pushNotificationConfigId":"c","pushNotificationConfig":{"url":"https://hooks.example.com/"},"message":{"kind":"message","messageId":"m","role":"user","parts":[{"kind":"text","text":"canary-text"}]}}`
		rest03 = `{"config":{"pushNotificationConfig":{"url":"https://hooks.example.com/"}},"message":{"messageId":"m","role":"ROLE_USER","content":[{"text":"canary-text"}]}}`
	)
	envelope := func(method, params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	}
	fill := strings.NewReplacer("{task}", "t", "{config}", "c")

	if o.name != "" {
		all = append(all, way{"JSON-RPC 1.0", "POST", "/", envelope(o.name, v1), true})
	}
	if o.name03 != "" {
		all = append(all, way{"JSON-RPC 0.3", "POST", "/", envelope(o.name03, rpc03), true})
	}
	for _, verb := range o.verbs {
		path03 := o.path
		if o.path03 != "" {
			path03 = o.path03
		}
		all = append(all, way{"HTTP+JSON 1.0", verb, "/" + fill.Replace(o.path), v1, false}, way{"HTTP+JSON 0.3", verb, "/v1/" + fill.Replace(path03), rest03, false})
	}
	return all
}

// ask makes the request with a key, and returns the status that the error names, 200 without
// one, and the text of the answer.
func (w *rightsWorld) ask(h a2asrv.RequestHandler, by way, key string) (status int, text string) {
	w.Helper()
	options := Options{Identify: func(r *http.Request) (context.Context, error) {
		p, err := w.access.Identify(r)
		audit.Of(r.Context()).Caller(p)
		return auth.With(r.Context(), p), err
	}}
	handler := REST(h, options)
	if by.rpc {
		handler = JSONRPC(h, options)
	}

	r := httptest.NewRequest(by.verb, by.path+"?q=canary-query", nil)
	if by.verb == http.MethodPost {
		r = httptest.NewRequest(by.verb, by.path+"?q=canary-query", strings.NewReader(by.body))
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	rec := httptest.NewRecorder()
	w.log.Reset()
	log := audit.New(slog.New(slog.NewJSONHandler(&w.log, nil)))
	handler.ServeHTTP(rec, r.WithContext(log.Begin(r.Context())))
	return rec.Code, rec.Body.String()
}

// lines are the lines of the audit log since the last request.
func (w *rightsWorld) lines() (all []map[string]any) {
	w.Helper()
	for line := range strings.Lines(w.log.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			w.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// Every operation needs exactly one right, in both versions and bindings. The refusal names
// it. A row without a right fails, so that none is forgotten.
func TestEveryOperationNeedsOneRight(t *testing.T) {
	w := newRightsWorld(t)
	for i := range operations {
		o := &operations[i]
		if o.serve == nil {
			continue
		}
		if !slices.Contains(auth.Rights(), o.right) {
			t.Errorf("%s needs the right %q, which does not exist", o.name, o.right)
			continue
		}
		for _, by := range o.ways() {
			for _, r := range auth.Rights() {
				status, text := w.ask(fixed{}, by, w.only[r])
				if want := map[bool]int{true: 200, false: 403}[r == o.right]; status != want {
					t.Errorf("%s over %s with the right %s alone: %d %s, want %d", o.name, by.name, r, status, text, want)
				}
			}

			status, text := w.ask(fixed{}, by, w.butFor[o.right])
			if status != 403 || !strings.Contains(text, `the right \"`+string(o.right)+`\"`) {
				t.Errorf("%s over %s without the right: %d %s", o.name, by.name, status, text)
			}
			if by.rpc && !strings.Contains(text, `"code":-31403`) {
				t.Errorf("%s over %s without the right: %s", o.name, by.name, text)
			}
		}
	}
}

// The audit log has one line for each operation that changes something, whatever becomes of
// it, and for each refusal. Ordinary reads have none.
func TestAuditOfEveryOperation(t *testing.T) {
	changing := []string{"SendMessage", "SendStreamingMessage", "CancelTask", "CreateTaskPushNotificationConfig", "DeleteTaskPushNotificationConfig"}
	w := newRightsWorld(t)
	limit := &auth.Refusal{Status: 429, Reason: "too many", By: "limit waiting", Message: "too many"}

	for i := range operations {
		o := &operations[i]
		if o.serve == nil {
			continue
		}

		changes := slices.Contains(changing, o.name)
		for _, by := range o.ways() {
			for _, row := range []struct {
				name   string
				err    error
				key    string
				status int
				always bool
				by     string
			}{
				{"ok", nil, w.only[o.right], 200, false, ""},
				{"401", nil, "", 401, true, ""},
				{"403", nil, w.butFor[o.right], 403, true, "right " + string(o.right)},
				{"404", a2a.ErrTaskNotFound, w.only[o.right], 404, false, ""},
				{"409", a2a.NewError(a2a.ErrTaskNotCancelable, "canary-text"), w.only[o.right], 400, false, ""},
				{"429", limit, w.only[o.right], 429, true, "limit waiting"},
				{"500", os.ErrClosed, w.only[o.right], 500, false, ""},
			} {
				w.ask(fixed{row.err}, by, row.key)

				all := w.lines()
				if want := changes || row.always; len(all) != map[bool]int{true: 1, false: 0}[want] {
					t.Errorf("%s over %s, %s: %d lines, want one: %v", o.name, by.name, row.name, len(all), want)
				}
				for _, line := range all {
					w.check(o, by, row.name, line, row.status, row.by)
				}
			}
		}
	}
}

func (w *rightsWorld) check(o *operation, by way, name string, line map[string]any, status int, reason string) {
	w.Helper()
	operation, caller := o.name, "acme/ci"
	if status == 401 {
		caller = ""
		if by.rpc {
			operation = "?" // the body, which names it, is not read
		}
	}
	text := func(field string) string { s, _ := line[field].(string); return s }
	if line["logger"] != "audit" || text("operation") != operation || text("caller") != caller || line["status"] != float64(status) || text("by") != reason {
		w.Errorf("%s over %s, %s: %v", o.name, by.name, name, line)
	}
	if (caller != "") != strings.HasPrefix(text("via"), "key ") || (status == 200) == (text("reason") != "") {
		w.Errorf("%s over %s, %s: %v", o.name, by.name, name, line)
	}
	if strings.Contains(w.log.String(), "canary") || strings.Contains(w.log.String(), "errand_") {
		w.Errorf("%s over %s, %s: the line has content: %s", o.name, by.name, name, w.log.String())
	}
}
