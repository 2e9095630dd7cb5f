package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/cardserver/front/wire"
)

// script is a RequestHandler whose answers a test sets; it keeps the last request.
type script struct {
	a2asrv.RequestHandler // nil: an operation without a script panics

	send   func(context.Context, *a2a.SendMessageRequest) (a2a.SendMessageResult, error)
	stream func(context.Context, *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error]
	get    func(*a2a.GetTaskRequest) (*a2a.Task, error)
	list   func(*a2a.ListTasksRequest) (*a2a.ListTasksResponse, error)
	sub    func(*a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error]
	hooks  map[string]*a2a.PushConfig
	last   any
}

func (s *script) SendMessage(ctx context.Context, r *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
	s.last = r
	if s.send != nil {
		return s.send(ctx, r)
	}
	return task("t1"), nil
}

func (s *script) SendStreamingMessage(ctx context.Context, r *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] {
	s.last = r
	if s.stream != nil {
		return s.stream(ctx, r)
	}
	return events(task("t1"))
}

func (s *script) GetTask(_ context.Context, r *a2a.GetTaskRequest) (*a2a.Task, error) {
	s.last = r
	if s.get != nil {
		return s.get(r)
	}
	return task(r.ID), nil
}

func (s *script) ListTasks(_ context.Context, r *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
	s.last = r
	if s.list != nil {
		return s.list(r)
	}
	return &a2a.ListTasksResponse{PageSize: 50}, nil
}

func (s *script) CancelTask(_ context.Context, r *a2a.CancelTaskRequest) (*a2a.Task, error) {
	s.last = r
	return task(r.ID), nil
}

func (s *script) SubscribeToTask(_ context.Context, r *a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
	s.last = r
	if s.sub != nil {
		return s.sub(r)
	}
	return events(task(r.ID))
}

func (s *script) CreateTaskPushConfig(_ context.Context, r *a2a.PushConfig) (*a2a.PushConfig, error) {
	s.last = r
	if s.hooks == nil {
		s.hooks = map[string]*a2a.PushConfig{}
	}
	s.hooks[r.ID] = r
	return r, nil
}

func (s *script) GetTaskPushConfig(_ context.Context, r *a2a.GetTaskPushConfigRequest) (*a2a.PushConfig, error) {
	s.last = r
	if c := s.hooks[r.ID]; c != nil {
		return c, nil
	}
	return nil, a2a.ErrTaskNotFound
}

func (s *script) ListTaskPushConfigs(_ context.Context, r *a2a.ListTaskPushConfigRequest) (*a2a.ListTaskPushConfigResponse, error) {
	s.last = r
	res := &a2a.ListTaskPushConfigResponse{}
	for _, c := range s.hooks {
		res.Configs = append(res.Configs, c)
	}
	return res, nil
}

func (s *script) DeleteTaskPushConfig(_ context.Context, r *a2a.DeleteTaskPushConfigRequest) error {
	s.last = r
	delete(s.hooks, r.ID)
	return nil
}

func (s *script) GetExtendedAgentCard(_ context.Context, r *a2a.GetExtendedAgentCardRequest) (*a2a.AgentCard, error) {
	s.last = r
	return nil, a2a.ErrExtendedCardNotConfigured
}

func task(id a2a.TaskID) *a2a.Task {
	at := time.Date(2026, 3, 4, 5, 6, 7, 891234567, time.FixedZone("", 3600))
	return &a2a.Task{ID: id, ContextID: "c1", Status: a2a.TaskStatus{State: a2a.TaskStateSubmitted, Timestamp: &at}}
}

func events(all ...a2a.Event) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// A reply is a JSON-RPC response and the HTTP around it.
type reply struct {
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

// field is the first field that the error's BadRequest names.
func (e *rpcError) field() string {
	for _, d := range e.Data {
		if d["@type"] == "type.googleapis.com/google.rpc.BadRequest" {
			return d["fieldViolations"].([]any)[0].(map[string]any)["field"].(string)
		}
	}
	return ""
}

func (e *rpcError) info() map[string]any {
	for _, d := range e.Data {
		if d["@type"] == "type.googleapis.com/google.rpc.ErrorInfo" {
			return d
		}
	}
	return nil
}

func post(h http.Handler, body string, edit ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func call(t testing.TB, h http.Handler, body string, edit ...func(*http.Request)) reply {
	t.Helper()
	return parse(t, post(h, body, edit...))
}

// parse reads a response, which a stream that did not begin has in its only event.
func parse(t testing.TB, res *http.Response) reply {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := reply{status: res.StatusCode, header: res.Header, body: string(b)}
	if res.Header.Get("Content-Type") == "text/event-stream" { // of a stream that did not begin
		b = bytes.TrimPrefix(b, []byte("data: "))
		var whole bool
		if b, whole = bytes.CutSuffix(b, []byte("\n\n")); !whole || bytes.Contains(b, []byte("\n")) {
			t.Fatalf("answer is not one event: %s", r.body)
		}
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("answer is not JSON: %v: %s", err, b)
	}
	if r.JSONRPC != "2.0" || r.ID == nil || (r.Result == nil) == (r.Error == nil) {
		t.Fatalf("answer is not a JSON-RPC response: %s", b)
	}
	return r
}

func header(key string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(key)] = values }
}

func request(method, params string) string {
	return `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":` + params + `}`
}

// message is the params of a SendMessage whose message has these fields. An id, a role and
// one part are added, unless the fields name them.
func message(fields string) string {
	m := ""
	for _, d := range []string{`"messageId":"m1"`, `"role":"ROLE_USER"`, `"parts":[{"text":"hi"}]`} {
		if key, _, _ := strings.Cut(d, ":"); !strings.Contains(fields, key) {
			m += d + ","
		}
	}
	return request("SendMessage", `{"message":{`+strings.TrimSuffix(m+fields, ",")+`}}`)
}

func handler(s *script) http.Handler { return wire.JSONRPC(s, wire.Options{}) }

// BenchmarkSendMessage is a whole request without the network.
func BenchmarkSendMessage(b *testing.B) {
	h := handler(&script{})
	body := message("")
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(body))
	reader := strings.NewReader(body)
	r.Body = io.NopCloser(reader)
	w := nullWriter{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		h.ServeHTTP(w, r)
	}
}

type nullWriter struct{ h http.Header }

func (w nullWriter) Header() http.Header         { return w.h }
func (w nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w nullWriter) WriteHeader(int)             {}
