package front_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/front"
	"errand/shared/lab/faulty"
)

const infoType = "type.googleapis.com/google.rpc.ErrorInfo"

// The faults that a client can make or meet at this front door, and their names.
type fault struct {
	operation, params string
	code, status      int // of JSON-RPC, and of HTTP+JSON
	grpc, reason      string
}

// everyFault is a world for every fault of the list.
func everyFault(t testing.TB, b binding) (*world, []fault) {
	var full atomic.Bool
	w := b.world(t, func(c *front.Config) { c.Store = onFullDisk(c.Store, &full) })
	done := w.insert(anonymous, "done", a2a.TaskStateCompleted).ID()
	full.Store(true)
	return w, []fault{
		{"GetTask", byID("nobody-has-this"), -32001, 404, "NOT_FOUND", "TASK_NOT_FOUND"},
		{"CancelTask", byID(done), -32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE"},
		{subscribe, byID(done), -32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION"},
		{"GetExtendedAgentCard", "{}", -32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION"},
		{send, sending(message("m", `"parts":[{"data":{}}]`)), -32005, 400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED"},
		{send, `{"message":`, -32700, 400, "INVALID_ARGUMENT", "PARSE_ERROR"},
		{send, sending(message("m", `"parts":[]`)), -32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS"},
		{streaming, sending(message("m", `"parts":[]`)), -32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS"},
		{send, sending(message("m", "")), -32603, 503, "UNAVAILABLE", "UNAVAILABLE"},
	}
}

// Every error has its code, a message, and details that name its reason, in the form of its
// binding.
//
// Shows E1, E2, E3, E4, E5.
func TestErrorsHaveTheirForm(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w, faults := everyFault(t, b)
		for _, f := range faults {
			got := w.call(t, f.operation, f.params)
			if b.name == rest.name {
				var body struct {
					Error struct {
						Code            int
						Status, Message string
						Details         []map[string]any
					}
				}
				if err := json.Unmarshal([]byte(got.body), &body); err != nil {
					t.Fatal(err)
				}

				if e := body.Error; e.Code != f.status || got.status != f.status || e.Status != f.grpc || e.Message == "" {
					t.Errorf("%s is answered %d %s, want %d %s", f.reason, got.status, got.body, f.status, f.grpc)
				}
			}

			if got.code() != f.code || got.Error.Message == "" {
				t.Errorf("%s is answered %s, want %d", f.reason, got.body, f.code)
			}
			if info := got.detail(infoType); info["reason"] != f.reason || info["domain"] != "a2a-protocol.org" {
				t.Errorf("%s has the ErrorInfo %v", f.reason, info)
			}

			for _, d := range got.Error.Data {
				if kind, _ := d["@type"].(string); !strings.HasPrefix(kind, "type.googleapis.com/") {
					t.Errorf("%s has the detail %v", f.reason, d)
				}
			}

			if strings.Contains(got.body, "disk is full") {
				t.Errorf("%s tells the cause: %s", f.reason, got.body)
			}
		}
	})
}

// The same fault is the same error in both bindings, to the last word and detail.
//
// Shows E9, B-1.
func TestBindingsAgreeOnErrors(t *testing.T) {
	w1, faults := everyFault(t, jsonrpc)
	w2, _ := everyFault(t, rest)
	for _, f := range faults {
		if f.reason == "PARSE_ERROR" { // it names a place in the body, and bodies differ
			continue
		}
		one, two := w1.call(t, f.operation, f.params), w2.call(t, f.operation, f.params)
		if diff := cmp.Diff(one.Error, two.Error); diff != "" || one.Error == nil {
			t.Errorf("%s (-JSON-RPC +HTTP+JSON):\n%s", f.reason, diff)
		}
	}
}

// An unknown path or method is an A2A error that names the ones that are served.
//
// Shows E9.
func TestUnknownPathsAndMethodsAreErrors(t *testing.T) {
	w := rest.world(t)
	id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
	for target, want := range map[string]struct {
		status int
		allow  string
	}{
		"PUT /tasks/" + id: {405, "GET"}, "POST /tasks": {405, "GET"}, "GET /message:send": {405, "POST"},
		"DELETE /message:stream": {405, "POST"}, "GET /tasks/" + id + ":cancel": {405, "POST"}, "PUT /tasks/" + id + ":subscribe": {405, "GET, POST"},
		"PATCH /tasks/" + id + "/pushNotificationConfigs": {405, "GET, POST"}, "POST /tasks/" + id + "/pushNotificationConfigs/h": {405, "GET, DELETE"},
		"POST /extendedAgentCard": {405, "GET"}, "GET /v1/message:stream": {405, "POST"},
		"GET /nothing": {404, ""}, "POST /message:shout": {404, ""}, "POST /tasks/" + id + ":delete": {404, ""}, "GET /a/b/c/d/e/f/g": {404, ""},
		"GET /tasks/" + id + "/history": {404, ""}, "GET /tasks//x": {404, ""}, "GET /v1/extendedAgentCard": {404, ""},
	} {
		method, path, _ := strings.Cut(target, " ")
		got := w.do(t, newRequest(method, path, "{}"))
		if got.status != want.status || got.code() != -32601 || got.header.Get("Allow") != want.allow {
			t.Errorf("%s: %d, Allow %q: %s", target, got.status, got.header.Get("Allow"), got.body)
		}
	}

	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		r := newRequest(method, "/", "{}")
		over := world{via: jsonrpc, Handler: w.Handler}
		if got := over.do(t, r); got.status != 405 || got.code() != -32600 || got.header.Get("Allow") != "POST" {
			t.Errorf("%s /: %d %s", method, got.status, got.body)
		}
	}

	if got := w.send(t, request("tasks/list", "{}")); got.code() != -32601 {
		t.Errorf("a method that 0.3 does not have: %s", got.body)
	}
}

// The log has no text from a client, also when the store fails.
//
// Shows AU10.
func TestNothingOfAMessageIsLogged(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		w := b.world(t, func(c *front.Config) {
			c.Store, c.Log = faulty.Refusing(c.Store, faulty.Create, errors.New("database or disk is full")), logger
		})
		secret := func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") }
		params := configured(message("s3cret", `"parts":[{"text":"s3cret"}],"metadata":{"s3cret":"s3cret"}`),
			`"taskPushNotificationConfig":{"url":"`+hookURL+`?s3cret","token":"s3cret","authentication":{"scheme":"Bearer","credentials":"s3cret"}}`)
		if got := w.call(t, send, params, secret); got.status != 503 {
			t.Errorf("answered %d", got.status)
		}
		w.call(t, send, sending(message("s3cret", `"parts":[{"s3cret":"s3cret"}]`)), secret)
		w.call(t, "GetTask", byID("s3cret"), secret)
		if text := log.String(); strings.Contains(text, "s3cret") || !strings.Contains(text, "temporarily unavailable") {
			t.Errorf("the log says %s", text)
		}
	})
}

// JSON-RPC has one URL for all methods, takes no batches, and answers with JSON or with
// events.
//
// Shows B-2, decision 31.
func TestJSONRPCHasOneURLAndNoBatches(t *testing.T) {
	w := newWorld(t, shortStreams)
	one := request(send, sending(message("m", "")))
	for body, code := range map[string]int{
		`[` + one + `]`: -32600, `[]`: -32600, `{"jsonrpc":"1.0","id":1,"method":"ListTasks"}`: -32600, `{"id":1,"method":"ListTasks"}`: -32600,
		`{"jsonrpc":"2.0","id":1}`: -32600, `{"jsonrpc":"2.0","id":[],"method":"ListTasks"}`: -32600,
		request("tasks.get", "{}"): -32601, request("gettask", "{}"): -32601, `{`: -32700, one: 0, `{"jsonrpc":"2.0","id":"a","method":"ListTasks"}`: 0,
	} {
		got := w.send(t, body)
		if got.code() != code || got.header.Get("Content-Type") != "application/json" || got.status != 200 {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	res := post(w, request(streaming, sending(message("s", ""))))
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" || res.StatusCode != 200 {
		t.Errorf("a stream is %d, %s", res.StatusCode, kind)
	}
	// A batch is many sends that return at once, and one list of their context.
	for _, id := range []string{"1", "2", "3"} {
		w.call(t, send, sending(message(id, `"contextId":"batch"`))).task()
	}
	if l := w.list(t, `"contextId":"batch"`); l.TotalSize != 3 {
		t.Errorf("the batch has %d tasks", l.TotalSize)
	}
}

// Both media types are read. The protocol's own is written when the client asks for it.
//
// Shows B-4, decision 25.
func TestBothMediaTypesAreRead(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		const plain, own = "application/json", "application/a2a+json"
		for i, row := range []struct{ sent, accept, want string }{
			{plain, "", plain}, {own, "", plain}, {plain, "*/*", plain}, {own, own, own}, {plain, plain + ", " + own + ";q=0.9", plain}, {plain + "; charset=utf-8", "text/html", plain},
		} {
			headers := func(r *http.Request) {
				r.Header.Set("Content-Type", row.sent)
				r.Header.Set("Accept", row.accept)
			}

			good, bad := w.call(t, send, sending(message(string(rune('a'+i)), "")), headers), w.call(t, send, "{}", headers)
			if kind := good.header.Get("Content-Type"); good.Error != nil || kind != row.want {
				t.Errorf("%+v: answered as %s: %s", row, kind, good.body)
			}
			if kind := bad.header.Get("Content-Type"); bad.code() != -32602 || kind != row.want {
				t.Errorf("%+v: refused as %s: %s", row, kind, bad.body)
			}
		}

		for _, sent := range []string{"", "text/plain", "application/problem+json", "application/json; charset=latin1"} {
			if got := w.call(t, send, sending(message("m", "")), with("Content-Type", sent)); got.status != 415 {
				t.Errorf("%q: %d %s", sent, got.status, got.body)
			}
		}
	})
}

// A request whose text is not UTF-8 is refused, and every answer is UTF-8.
//
// Shows B-10.
func TestTextIsUTF8(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		for _, text := range []string{"\xff", "\xc0\x80", "\xed\xa0\x80", `\ud800`} {
			if got := w.call(t, send, sending(message("m", `"parts":[{"text":"`+text+`"}]`))); got.code() != -32700 {
				t.Errorf("%q is answered %s", text, got.body)
			}
		}
		const text = "ä 💥 \u2028 <&>"
		w.work(w.answer)
		got := w.call(t, send, `{"message":`+message("m", `"parts":[{"text":"`+text+`"}]`)+`}`)
		if got.task().History[0].Parts[0].Text != text || !strings.Contains(got.body, text) {
			t.Errorf("%q is answered %s", text, got.body)
		}
	})
}
