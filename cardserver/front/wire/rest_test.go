package wire_test

import (
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/front/wire"
)

func rest(s *script) http.Handler { return wire.REST(s, wire.Options{}) }

// ask sends a request to HTTP+JSON and returns the answer with its body.
func ask(t testing.TB, h http.Handler, method, target, body string, edit ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// refused is the error of an answer, in words: status, reason, first field.
func refused(t testing.TB, res *http.Response, body string) string {
	t.Helper()

	var got struct {
		Error struct {
			Code    int
			Status  string
			Details []struct {
				Reason          string
				FieldViolations []struct{ Field string }
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Error.Details) == 0 {
		t.Fatalf("%d %s is no error: %v", res.StatusCode, body, err)
	}

	if got.Error.Code != res.StatusCode || got.Error.Status == "" {
		t.Errorf("status %d: %s", res.StatusCode, body)
	}

	words := got.Error.Details[0].Reason
	for _, d := range got.Error.Details {
		for _, f := range d.FieldViolations {
			words += " " + f.Field
		}
	}

	return words
}

const aMessage = `{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"hi"}]}`

// Every path leads to its operation, with the fields that the path names.
func TestPathsLeadToOperations(t *testing.T) {
	hello := &a2a.Message{ID: "m1", Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart("hi")}}
	five := 5
	const hooks = "/pushNotificationConfigs"
	for _, row := range []struct {
		method, target, body string
		want                 any
	}{
		{"POST", "/message:send", `{"message":` + aMessage + `}`, &a2a.SendMessageRequest{Message: hello}},
		{"POST", "/message%3Asend", `{"message":` + aMessage + `}`, &a2a.SendMessageRequest{Message: hello}},
		{"POST", "/message:stream", `{"message":` + aMessage + `}`, &a2a.SendMessageRequest{Message: hello}},
		{"POST", "/acme/message:send", `{"message":` + aMessage + `}`, &a2a.SendMessageRequest{Message: hello, Tenant: "acme"}},
		{"POST", "/acme/message:send", `{"tenant":"acme","message":` + aMessage + `}`, &a2a.SendMessageRequest{Message: hello, Tenant: "acme"}},
		{"GET", "/tasks/t1", "", &a2a.GetTaskRequest{ID: "t1"}},
		{"GET", "/tasks/t%2F1?historyLength=5&history_length_x=1&trace=a&trace=b", "", &a2a.GetTaskRequest{ID: "t/1", HistoryLength: &five}},
		{"GET", "/tasks/tasks", "", &a2a.GetTaskRequest{ID: "tasks"}},
		{"GET", "/acme/tasks/t1", "", &a2a.GetTaskRequest{ID: "t1", Tenant: "acme"}},
		{"GET", "/tasks/t1?tenant=acme", "", &a2a.GetTaskRequest{ID: "t1", Tenant: "acme"}},
		{"GET", "/tasks", "", &a2a.ListTasksRequest{}},
		{"GET", "/acme/tasks?pageSize=5", "", &a2a.ListTasksRequest{Tenant: "acme", PageSize: 5}},
		{"GET", "/tasks?contextId=a%20b&status=TASK_STATE_WORKING&page_size=5&page_token=x%26y&include_artifacts=true", "",
			&a2a.ListTasksRequest{ContextID: "a b", Status: a2a.TaskStateWorking, PageSize: 5, PageToken: "x&y", IncludeArtifacts: true}},
		{"POST", "/tasks/t1:cancel", "", &a2a.CancelTaskRequest{ID: "t1"}},
		{"POST", "/tasks/t1:cancel", `{"id":"t1","metadata":{"why":"late"}}`, &a2a.CancelTaskRequest{ID: "t1", Metadata: map[string]any{"why": "late"}}},
		{"GET", "/tasks/t1:subscribe", "", &a2a.SubscribeToTaskRequest{ID: "t1"}},
		{"POST", "/tasks/t1:subscribe", "", &a2a.SubscribeToTaskRequest{ID: "t1"}},
		{"POST", "/acme/tasks/t1:subscribe", "{}", &a2a.SubscribeToTaskRequest{ID: "t1", Tenant: "acme"}},
		{"POST", "/tasks/t1" + hooks, `{"id":"c1","taskId":"t1","url":"https://example.com/"}`, &a2a.PushConfig{TaskID: "t1", ID: "c1", URL: "https://example.com/"}},
		{"GET", "/tasks/t1" + hooks + "/c1", "", &a2a.GetTaskPushConfigRequest{TaskID: "t1", ID: "c1"}},
		{"GET", "/tasks/t1" + hooks + "?pageSize=2&pageToken=3", "", &a2a.ListTaskPushConfigRequest{TaskID: "t1", PageSize: 2, PageToken: "3"}},
		{"DELETE", "/acme/tasks/t1" + hooks + "/c1", "", &a2a.DeleteTaskPushConfigRequest{TaskID: "t1", ID: "c1", Tenant: "acme"}},
		{"GET", "/v1/tasks/t1", "", &a2a.GetTaskRequest{ID: "t1"}},
		{"GET", "/v1/tasks?status=TASK_STATE_CANCELLED", "", &a2a.ListTasksRequest{Status: a2a.TaskStateCanceled}},
		{"GET", "/v1/tasks?status=5", "", &a2a.ListTasksRequest{Status: a2a.TaskStateCanceled}},
		{"GET", "/tasks?status=3", "", &a2a.ListTasksRequest{Status: a2a.TaskStateCompleted}},
		{"POST", "/v1/tasks/t1:cancel", "", &a2a.CancelTaskRequest{ID: "t1"}},
		{"GET", "/v1/tasks/t1:subscribe", "", &a2a.SubscribeToTaskRequest{ID: "t1"}},
		{"POST", "/v1/tasks/t1:subscribe", "", &a2a.SubscribeToTaskRequest{ID: "t1"}},
		{"GET", "/v1/tasks/t1" + hooks + "/c1", "", &a2a.GetTaskPushConfigRequest{TaskID: "t1", ID: "c1"}},
		{"DELETE", "/v1/tasks/t1" + hooks + "/c1", "", &a2a.DeleteTaskPushConfigRequest{TaskID: "t1", ID: "c1"}},
	} {
		t.Run(row.method+" "+row.target, func(t *testing.T) {
			s := &script{hooks: map[string]*a2a.PushConfig{"c1": {TaskID: "t1", ID: "c1", URL: "https://example.com/"}}}
			if res, body := ask(t, rest(s), row.method, row.target, row.body); res.StatusCode != 200 {
				t.Errorf("status %d: %s", res.StatusCode, body)
			}
			if diff := cmp.Diff(row.want, s.last); diff != "" {
				t.Errorf("the handler got (-want +got):\n%s", diff)
			}
		})
	}
}

// Paths and HTTP methods that A2A does not have are A2A errors too.
//
// Shows E9.
func TestUnknownPathsAndVerbsAreA2AErrors(t *testing.T) {
	for _, row := range []struct{ method, target, want, allow string }{
		{"GET", "/nothing", "404 METHOD_NOT_FOUND", ""},
		{"GET", "//tasks", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/tasks/", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/tasks//pushNotificationConfigs", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/tasks/t1/hooks", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/a/b/tasks/t1", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/v1", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/v1/acme/tasks/t1", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/v1/extendedAgentCard", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/card", "404 METHOD_NOT_FOUND", ""},
		{"POST", "/tasks/t1:pause", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/tasks/t1:", "404 METHOD_NOT_FOUND", ""},
		{"POST", "/tasks/:cancel", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/tasks/%2e%2e/..", "404 METHOD_NOT_FOUND", ""},
		{"GET", "/message:send", "405 METHOD_NOT_FOUND", "POST"},
		{"PUT", "/tasks", "405 METHOD_NOT_FOUND", "GET"},
		{"HEAD", "/tasks", "405", "GET"},
		{"DELETE", "/tasks/t1:subscribe", "405 METHOD_NOT_FOUND", "GET, POST"},
		{"PUT", "/tasks/t1/pushNotificationConfigs", "405 METHOD_NOT_FOUND", "GET, POST"},
		{"PATCH", "/tasks/t1/pushNotificationConfigs/c", "405 METHOD_NOT_FOUND", "GET, DELETE"},
		{"TRACE", "/v1/message:stream", "405 METHOD_NOT_FOUND", "POST"},
	} {
		res, body := ask(t, rest(&script{}), row.method, row.target, "")
		got := res.Status[:3]
		if row.method != "HEAD" {
			got += " " + refused(t, res, body)
		}
		if got != row.want || res.Header.Get("Allow") != row.allow || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %s, Allow %q, want %s, %q", row.method, row.target, got, res.Header.Get("Allow"), row.want, row.allow)
		}
	}
}

// A restRow is a row of the catalogue that only a path, a query or a body without an
// envelope has. All are refused.
type restRow struct{ name, method, target, body, want string }

func catalogueREST() []restRow {
	send := func(fields string) string { return `{"message":{"messageId":"m1","role":"ROLE_USER",` + fields + `}}` }
	const hi = `"parts":[{"text":"hi"}]`
	const parse, params, version = "PARSE_ERROR", "INVALID_PARAMS ", "VERSION_NOT_SUPPORTED"
	return []restRow{
		{"2 open object", "POST", "/message:send", "{", parse},
		{"3 null", "POST", "/message:send", "null", params + "message"},
		{"4 empty array", "POST", "/message:send", "[]", params + "body"},
		{"5 batch", "POST", "/message:send", "[" + send(hi) + "," + send(hi) + "]", params + "body"},
		{"6 string", "POST", "/message:send", `"x"`, params + "body"},
		{"7 BOM", "POST", "/message:send", "\ufeff" + send(hi), parse},
		{"10 NUL", "POST", "/message:send", "{\x00}", parse},
		{"11 trailing garbage", "POST", "/message:send", send(hi) + "x", parse},
		{"12 two values", "POST", "/message:send", send(hi) + send(hi), parse},
		{"13 message twice", "POST", "/message:send", `{"message":1,"message":2}`, parse},
		{"31 no message", "POST", "/message:send", "{}", params + "message"},
		{"51 pageSize 0", "GET", "/tasks?pageSize=0", "", params + "pageSize"},
		{"51 pageSize 101", "GET", "/tasks?pageSize=101", "", params + "pageSize"},
		{"51 pageSize 2^31", "GET", "/tasks?pageSize=2147483648", "", params + "pageSize"},
		{"51 pageSize beyond any integer", "GET", "/tasks?pageSize=99999999999999999999", "", params + "pageSize"},
		{"51 pageSize x", "GET", "/tasks?pageSize=x", "", params + "pageSize"},
		{"51 pageSize empty", "GET", "/tasks?pageSize=", "", params + "pageSize"},
		{"51 pageSize 1.5", "GET", "/tasks?pageSize=1.5", "", params + "pageSize"},
		{"48 historyLength -1", "GET", "/tasks/t1?historyLength=-1", "", params + "historyLength"},
		{"53 status unknown", "GET", "/tasks?status=NOPE", "", params + "status"},
		{"53 status lower case", "GET", "/tasks?status=working", "", params + "status"},
		{"53 status of 0.3", "GET", "/tasks?status=TASK_STATE_CANCELLED", "", params + "status"},
		{"54 no zone", "GET", "/tasks?statusTimestampAfter=2016-12-31T23:59:59", "", params + "statusTimestampAfter"},
		{"54 plus that is a space", "GET", "/tasks?statusTimestampAfter=2016-12-31T23:59:59+01:00", "", params + "statusTimestampAfter"},
		{"55 twice", "GET", "/tasks?pageSize=1&pageSize=2", "", params + "pageSize"},
		{"55 twice in two spellings", "GET", "/tasks?pageSize=1&page_size=1", "", params + "pageSize"},
		{"55 nested", "GET", "/tasks?status[]=TASK_STATE_WORKING", "", params + "status"},
		{"55 nested with a point", "GET", "/tasks?status.x=1", "", params + "status"},
		{"55 8 KB", "GET", "/tasks?contextId=" + strings.Repeat("x", 8<<10), "", params + "contextId"},
		{"55 bool", "GET", "/tasks?includeArtifacts=1", "", params + "includeArtifacts"},
		{"55 bad escape", "GET", "/tasks?contextId=a&x=%25zz&y=%zz", "", params + "query"},
		{"55 semicolon", "GET", "/tasks?contextId=a;pageSize=1", "", params + "query"},
		{"55 not UTF-8", "GET", "/tasks?contextId=%ff", "", params + "contextId"},
		{"57 path and body differ", "POST", "/tasks/t1/pushNotificationConfigs", `{"taskId":"t2","url":"https://example.com/"}`, params + "taskId"},
		{"70 tenants differ", "POST", "/acme/message:send", `{"tenant":"other","message":` + aMessage + `}`, params + "tenant"},
		{"70 tenants differ, in a query", "GET", "/acme/tasks?tenant=other", "", params + "tenant"},
		{"70 tenant long", "GET", "/" + strings.Repeat("x", 1000) + "/tasks?tenant=" + strings.Repeat("x", 1000), "", params + "tenant"},
		{"62 version of the other path", "GET", "/tasks?A2A-Version=0.3", "", version},
		{"62 version of the other path", "GET", "/v1/tasks?A2A-Version=1.0", "", version},
		{"62 version unknown", "GET", "/tasks?a2a-version=2.0", "", version},
		{"62 version twice", "GET", "/tasks?A2A-Version=1.0&A2A-Version=1.0", "", version},
		{"62 version unknown where nothing is", "GET", "/nothing?A2A-Version=2.0", "", version},
	}
}

func TestCatalogueREST(t *testing.T) {
	for _, row := range catalogueREST() {
		t.Run(row.name, func(t *testing.T) {
			s := &script{}
			res, body := ask(t, rest(s), row.method, row.target, row.body)
			if got := refused(t, res, body); got != row.want || res.StatusCode != 400 {
				t.Errorf("got %d %s, want %s: %s", res.StatusCode, got, row.want, body)
			}
			if s.last != nil {
				t.Errorf("the handler was called with %+v", s.last)
			}
		})
	}
}

// Only a cancel or a subscription may come without a body, and a body has a Content-Type
// (B-4).
func TestBodiesOfREST(t *testing.T) {
	for _, row := range []struct {
		target, kind, body string
		status             int
	}{
		{"/message:send", "application/json", `{"message":` + aMessage + `}`, 200},
		{"/message:send", "application/a2a+json", `{"message":` + aMessage + `}`, 200},
		{"/message:send", "text/plain", `{"message":` + aMessage + `}`, 415},
		{"/message:send", "", `{"message":` + aMessage + `}`, 415},
		{"/message:send", "application/json", "", 400},
		{"/message:send", "", "", 415},
		{"/tasks/t1:cancel", "", "", 200},
		{"/tasks/t1:cancel", "application/json", "", 200},
		{"/tasks/t1:cancel", "text/plain", "{}", 415},
		{"/tasks/t1:cancel", "application/json", "{", 400},
		{"/tasks/t1:cancel", "application/json", `{"metadata":5}`, 400},
	} {
		res, body := ask(t, rest(&script{}), "POST", row.target, row.body, func(r *http.Request) {
			r.Header.Del("Content-Type")
			if row.kind != "" {
				r.Header.Set("Content-Type", row.kind)
			}
		})
		if res.StatusCode != row.status {
			t.Errorf("%s with %q of %q: status %d, want %d: %s", row.target, row.body, row.kind, res.StatusCode, row.status, body)
		}
	}

	empty := func(r *http.Request) { // its length is not announced
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("")), -1
		r.Header.Set("Content-Type", "application/json")
	}
	if res, body := ask(t, rest(&script{}), "POST", "/tasks/t1:cancel", "", empty); res.StatusCode != 200 {
		t.Errorf("an empty body in chunks: %d %s", res.StatusCode, body)
	}

	large := wire.REST(&script{}, wire.Options{MaxBody: 100})
	if res, body := ask(t, large, "POST", "/message:send", strings.Repeat(" ", 101)); res.StatusCode != 413 {
		t.Errorf("a large body: %d %s", res.StatusCode, body)
	}
}

// A stream has bare events. An error before them is a plain answer. An error among them is
// an event whose type says so, because clients take an event without a type for a result.
func TestStreamsOfREST(t *testing.T) {
	cut := func(*a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
		return func(yield func(a2a.Event, error) bool) {
			if yield(task("t1"), nil) {
				yield(nil, a2a.ErrTaskNotFound)
			}
		}
	}
	res, body := ask(t, rest(&script{sub: cut}), "GET", "/tasks/t1:subscribe", "")
	first, second, _ := strings.Cut(body, "\n\n")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || !strings.HasPrefix(first, `data: {"task":{"id":"t1"`) {
		t.Errorf("the stream begins with %d %s", res.StatusCode, first)
	}
	if !strings.HasPrefix(second, "event: error\ndata: "+`{"error":{"code":404,"status":"NOT_FOUND"`) {
		t.Errorf("then: %s", second)
	}
	for _, target := range []string{"/tasks/t1:subscribe", "/v1/tasks/t1:subscribe"} {
		res, body = ask(t, rest(&script{sub: failing(a2a.ErrTaskNotFound)}), "GET", target, "")
		if res.StatusCode != 404 || refused(t, res, body) != "TASK_NOT_FOUND" {
			t.Errorf("%s that fails at once: %d %s", target, res.StatusCode, body)
		}
	}
}

// Clients of 0.3 look for errors in two places.
func TestErrorsOf03REST(t *testing.T) {
	s := &script{get: func(*a2a.GetTaskRequest) (*a2a.Task, error) { return nil, a2a.ErrTaskNotFound }}
	res, body := ask(t, rest(s), "GET", "/v1/tasks/t1", "")
	var got struct {
		Code    int
		Message string
		Data    []any
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || res.StatusCode != 404 {
		t.Fatalf("%d %s: %v", res.StatusCode, body, err)
	}
	if got.Code != -32001 || got.Message != "task not found" || len(got.Data) == 0 || refused(t, res, body) != "TASK_NOT_FOUND" {
		t.Errorf("the error is %s", body)
	}
}

// A fault of ours tells the client nothing about itself, in this binding either.
func TestInternalErrorsOfREST(t *testing.T) {
	for _, target := range []string{"/tasks/t1", "/v1/tasks/t1"} {
		s := &script{get: func(*a2a.GetTaskRequest) (*a2a.Task, error) { return nil, errors.New("hunter2") }}
		res, body := ask(t, rest(s), "GET", target, "")
		if res.StatusCode != 500 || refused(t, res, body) != "INTERNAL_ERROR" || strings.Contains(body, "hunter2") {
			t.Errorf("%s: %d %s", target, res.StatusCode, body)
		}
		s.get = func(*a2a.GetTaskRequest) (*a2a.Task, error) { panic("hunter2") }
		if res, body = ask(t, rest(s), "GET", target, ""); res.StatusCode != 500 || strings.Contains(body, "hunter2") {
			t.Errorf("%s that panics: %d %s", target, res.StatusCode, body)
		}
	}
}
