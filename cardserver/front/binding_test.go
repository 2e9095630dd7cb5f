package front_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"errand/cardserver/front"
)

// A binding sends an operation of 1.0 and reads its answer. Operations and params have the
// names of JSON-RPC, so that one test runs over both bindings.
type binding struct {
	name    string
	whole   string                                       // the name of a whole request in errors
	request func(operation, params string) *http.Request // nil: the binding cannot say it
	reply   func(r *reply, body []byte) error
	event   func(data []byte) (event json.RawMessage, code int, err error)
}

var (
	jsonrpc = binding{"JSON-RPC", "params", rpcRequest, rpcReply, rpcEvent}
	rest    = binding{"HTTP+JSON", "body", restRequest, restReply, restEvent}
)

// via runs a test over each binding: they are functionally identical (5.1).
func via(t *testing.T, test func(t *testing.T, b binding)) {
	for _, b := range []binding{jsonrpc, rest} {
		t.Run(b.name, func(t *testing.T) { test(t, b) })
	}
}

// world is a new world whose calls go over the binding.
func (b binding) world(t testing.TB, edit ...func(*front.Config)) *world {
	w := newWorld(t, edit...)
	w.via = b
	return w
}

func newRequest(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, "http://"+host+"/", strings.NewReader(body))
	u, err := url.Parse("http://" + host + target)
	if err != nil {
		return nil
	}
	r.URL, r.RequestURI = u, target
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func rpcRequest(operation, params string) *http.Request {
	return newRequest(http.MethodPost, "/", request(operation, params))
}

// rpcReply reads a response, which a stream that did not begin has in its only event.
func rpcReply(r *reply, body []byte) error {
	if r.header.Get("Content-Type") == "text/event-stream" {
		body = bytes.TrimPrefix(body, []byte("data: "))
		var whole bool
		if body, whole = bytes.CutSuffix(body, []byte("\n\n")); !whole || bytes.Contains(body, []byte("\n")) {
			return fmt.Errorf("not one event")
		}
	}
	if err := json.Unmarshal(body, r); err != nil {
		return err
	}
	if r.JSONRPC != "2.0" || r.ID == nil || (r.Result == nil) == (r.Error == nil) {
		return fmt.Errorf("not a JSON-RPC response")
	}
	return nil
}

func rpcEvent(data []byte) (json.RawMessage, int, error) {
	var r reply
	if err := rpcReply(&r, data); err != nil {
		return nil, 0, err
	}
	return r.Result, r.code(), nil
}

// restRequest says in HTTP+JSON the same as the params in JSON-RPC.
func restRequest(operation, params string) *http.Request {
	switch operation {
	case "SendMessage":
		return newRequest(http.MethodPost, "/message:send", params)
	case "SendStreamingMessage":
		return newRequest(http.MethodPost, "/message:stream", params)
	}

	var p map[string]json.RawMessage
	if json.Unmarshal([]byte(params), &p) != nil {
		return nil
	}

	segment := func(name string) string {
		var s string
		_ = json.Unmarshal(p[name], &s) // a value that is not a string leaves a path that leads elsewhere
		delete(p, name)
		return url.PathEscape(s)
	}

	query := func() string {
		q := url.Values{}
		for name, raw := range p {
			var s string
			if json.Unmarshal(raw, &s) != nil {
				s = string(raw)
			}
			q.Set(name, s)
		}

		if len(q) == 0 {
			return ""
		}

		return "?" + q.Encode()
	}

	switch operation {
	case "GetTask":
		return newRequest(http.MethodGet, "/tasks/"+segment("id")+query(), "")
	case "ListTasks":
		return newRequest(http.MethodGet, "/tasks"+query(), "")
	case "CancelTask":
		return newRequest(http.MethodPost, "/tasks/"+segment("id")+":cancel", params)
	case "SubscribeToTask":
		return newRequest(http.MethodGet, "/tasks/"+segment("id")+":subscribe", "")
	case "CreateTaskPushNotificationConfig":
		return newRequest(http.MethodPost, "/tasks/"+segment("taskId")+"/pushNotificationConfigs", params)
	case "GetTaskPushNotificationConfig":
		return newRequest(http.MethodGet, "/tasks/"+segment("taskId")+"/pushNotificationConfigs/"+segment("id"), "")
	case "ListTaskPushNotificationConfigs":
		return newRequest(http.MethodGet, "/tasks/"+segment("taskId")+"/pushNotificationConfigs"+query(), "")
	case "DeleteTaskPushNotificationConfig":
		return newRequest(http.MethodDelete, "/tasks/"+segment("taskId")+"/pushNotificationConfigs/"+segment("id"), "")
	case "GetExtendedAgentCard":
		return newRequest(http.MethodGet, "/extendedAgentCard", "")
	}

	return nil
}

// reasons are the codes of JSON-RPC for the names in HTTP+JSON.
var reasons = map[string]int{
	"TASK_NOT_FOUND": -32001, "TASK_NOT_CANCELABLE": -32002, "PUSH_NOTIFICATION_NOT_SUPPORTED": -32003,
	"UNSUPPORTED_OPERATION": -32004, "CONTENT_TYPE_NOT_SUPPORTED": -32005, "INVALID_AGENT_RESPONSE": -32006,
	"EXTENDED_AGENT_CARD_NOT_CONFIGURED": -32007, "EXTENSION_SUPPORT_REQUIRED": -32008, "VERSION_NOT_SUPPORTED": -32009,
	"PARSE_ERROR": -32700, "INVALID_REQUEST": -32600, "METHOD_NOT_FOUND": -32601, "INVALID_PARAMS": -32602,
	"INTERNAL_ERROR": -32603, "UNAVAILABLE": -32603, "RESOURCE_EXHAUSTED": -32603, "UNAUTHENTICATED": -31401, "UNAUTHORIZED": -31403,
}

// restReply turns an answer into the one that JSON-RPC would give.
func restReply(r *reply, body []byte) error {
	var failed struct {
		Error *struct {
			Code    int
			Status  string
			Message string
			Details []map[string]any
		}
	}
	if err := json.Unmarshal(body, &failed); err != nil {
		return err
	}

	if (failed.Error == nil) != (r.status == http.StatusOK) {
		return fmt.Errorf("status %d", r.status)
	}

	if failed.Error == nil {
		r.Result = body
		return nil
	}

	e := failed.Error
	if e.Code != r.status || e.Status == "" || e.Message == "" {
		return fmt.Errorf("the error is not complete")
	}

	r.Error = &rpcError{Message: e.Message, Data: e.Details}
	info := r.detail("type.googleapis.com/google.rpc.ErrorInfo")
	reason, _ := info["reason"].(string)
	if r.Error.Code = reasons[reason]; r.Error.Code == 0 || info["domain"] != "a2a-protocol.org" {
		return fmt.Errorf("no ErrorInfo that is known")
	}

	return nil
}

func restEvent(data []byte) (json.RawMessage, int, error) {
	r := reply{status: http.StatusOK}
	var failed struct{ Error *struct{ Code int } }
	if err := json.Unmarshal(data, &failed); err != nil {
		return nil, 0, err
	}
	if failed.Error != nil {
		r.status = failed.Error.Code
	}
	err := restReply(&r, data)
	return r.Result, r.code(), err
}

// call runs an operation over the world's binding; it must be answered in one piece.
func (w *world) call(t testing.TB, operation, params string, edit ...func(*http.Request)) reply {
	t.Helper()
	r := w.via.request(operation, params)
	if r == nil {
		t.Fatalf("%s has no request for %s %s", w.via.name, operation, params)
	}
	for _, f := range edit {
		f(r)
	}
	return w.do(t, r)
}

func (w *world) do(t testing.TB, r *http.Request) reply {
	t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	res := rec.Result()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := reply{t: t, status: res.StatusCode, header: res.Header, body: string(b)}
	if err := w.via.reply(&out, b); err != nil {
		t.Fatalf("%s: %d %s is no answer: %v", w.via.name, res.StatusCode, b, err)
	}
	return out
}

// with sets a header.
func with(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values) }
}
