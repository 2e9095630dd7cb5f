package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/errordetails"

	"errand/cardserver/front/wire"
	"errand/shared/auth"
)

func TestErrors(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.1: password hunter2")
	for _, test := range []struct {
		name   string
		err    error
		code   int
		reason string
		says   string
		status int
		logged bool
	}{
		{"sentinel", a2a.ErrTaskNotFound, -32001, "TASK_NOT_FOUND", "task not found", 200, false},
		{"wrapped sentinel", fmt.Errorf("%w: %w", a2a.ErrTaskNotFound, secret), -32001, "TASK_NOT_FOUND", "task not found", 200, false},
		{"message", a2a.NewError(a2a.ErrTaskNotCancelable, "it is done"), -32002, "TASK_NOT_CANCELABLE", "it is done", 200, false},
		{"push", a2a.ErrPushNotificationNotSupported, -32003, "PUSH_NOTIFICATION_NOT_SUPPORTED", "push notification not supported", 200, false},
		{"operation", a2a.ErrUnsupportedOperation, -32004, "UNSUPPORTED_OPERATION", "this operation is not supported", 200, false},
		{"content type", a2a.ErrUnsupportedContentType, -32005, "CONTENT_TYPE_NOT_SUPPORTED", "incompatible content types", 200, false},
		{"agent", a2a.ErrInvalidAgentResponse, -32006, "INVALID_AGENT_RESPONSE", "invalid agent response", 200, true},
		{"extension", a2a.ErrExtensionSupportRequired, -32008, "EXTENSION_SUPPORT_REQUIRED", "extension support required", 200, false},
		{"unauthenticated", a2a.ErrUnauthenticated, -31401, "UNAUTHENTICATED", "unauthenticated", 200, false},
		{"unauthorized", a2a.ErrUnauthorized, -31403, "UNAUTHORIZED", "permission denied", 200, false},
		{"invalid", wire.Invalid("message.taskId", "is for another context"), -32602, "INVALID_PARAMS", "message.taskId is for another context", 200, false},
		{"unavailable", wire.Unavailable(1500*time.Millisecond, secret), -32603, "UNAVAILABLE", "temporarily unavailable, try again", 503, true},
		{"unavailable with a remedy", &auth.Refusal{Status: 503, After: 2 * time.Second, Reason: "no place", By: "limit streams", Message: "ask for the task from time to time"},
			-32603, "UNAVAILABLE", "ask for the task from time to time", 503, true},
		{"unknown", secret, -32603, "INTERNAL_ERROR", "internal error, request R1", 200, true},
		{"unknown in an a2a.Error", a2a.NewError(secret, "with hunter2"), -32603, "INTERNAL_ERROR", "internal error, request R1", 200, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			s := &script{
				get: func(*a2a.GetTaskRequest) (*a2a.Task, error) { return nil, test.err },
				sub: failing(test.err),
			}

			h := wire.JSONRPC(s, wire.Options{
				Log:       slog.New(slog.NewTextHandler(&log, nil)),
				RequestID: func(context.Context) string { return "R1" },
			})

			for _, method := range []string{"GetTask", "SubscribeToTask"} {
				log.Reset()
				got := call(t, h, request(method, `{"id":"t"}`))
				if got.Error == nil {
					t.Fatalf("%s: %s", method, got.body)
				}
				if got.status != test.status || got.Error.Code != test.code || got.Error.Message != test.says || got.Error.info()["reason"] != test.reason {
					t.Errorf("%s answers %d %s, want %d, code %d, reason %s, %q", method, got.status, got.body, test.status, test.code, test.reason, test.says)
				}
				streamed := method == "SubscribeToTask" && test.status == 200
				if ct := got.header.Get("Content-Type"); streamed != (ct == "text/event-stream") || !streamed && ct != "application/json" {
					t.Errorf("%s: Content-Type is %q", method, ct)
				}

				if strings.Contains(got.body, "hunter2") {
					t.Errorf("%s tells the cause: %s", method, got.body)
				}

				lines := strings.Count(log.String(), "\n")
				if test.logged != (lines == 1) || test.logged != strings.Contains(log.String(), "err=") || lines > 1 {
					t.Errorf("%s logs %q", method, log.String())
				}
				if retry := got.header.Get("Retry-After"); (test.reason == "UNAVAILABLE") != (retry == "2") {
					t.Errorf("%s: Retry-After is %q", method, retry)
				}
			}
		})
	}
}

// The details of a handler reach the client, under the one ErrorInfo.
func TestErrorDetails(t *testing.T) {
	s := &script{get: func(*a2a.GetTaskRequest) (*a2a.Task, error) {
		return nil, a2a.NewError(a2a.ErrTaskNotCancelable, "done").
			WithErrorInfoMeta(map[string]string{"state": "TASK_STATE_CANCELED"}).
			WithDetails(map[string]any{"x": 1}).
			WithTypedDetails(errordetails.NewTyped("type.googleapis.com/google.rpc.Help", map[string]any{"y": "z"}), &errordetails.Typed{TypeURL: "nothing"})
	}}
	got := call(t, handler(s), request("GetTask", `{"id":"t"}`))
	want := []map[string]any{
		{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "a2a-protocol.org", "reason": "TASK_NOT_CANCELABLE",
			"metadata": map[string]any{"state": "TASK_STATE_CANCELED"}},
		{"@type": "type.googleapis.com/google.rpc.Help", "y": "z"},
		{"@type": "type.googleapis.com/google.protobuf.Struct", "x": 1.0},
	}
	if diff := cmp.Diff(want, got.Error.Data); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	s := &script{get: func(*a2a.GetTaskRequest) (*a2a.Task, error) { panic("hunter2") }}
	h := wire.JSONRPC(s, wire.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	got := call(t, h, request("GetTask", `{"id":"t"}`))
	if got.Error.Code != -32603 || string(got.ID) != "7" || strings.Contains(got.body, "hunter2") {
		t.Errorf("answer is %s", got.body)
	}
	if !strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "errors_test.go") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("log is %s", log.String())
	}
	id, _ := got.Error.info()["metadata"].(map[string]any)["requestId"].(string)
	if id == "" || !strings.Contains(log.String(), "request="+id) {
		t.Errorf("request %q is not in the log %s", id, log.String())
	}
}

// A handler that answers nothing is at fault, not the client.
func TestNothing(t *testing.T) {
	s := &script{
		send: func(context.Context, *a2a.SendMessageRequest) (a2a.SendMessageResult, error) { return nil, nil },
		get:  func(*a2a.GetTaskRequest) (*a2a.Task, error) { return nil, nil },
		list: func(*a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) { return nil, nil },
	}
	for _, body := range []string{message(""), request("GetTask", `{"id":"t"}`), request("ListTasks", `{}`)} {
		if got := call(t, handler(s), body); got.Error == nil || got.Error.Code != -32603 {
			t.Errorf("%s: %s", body, got.body)
		}
	}
}

// A client that has gone is not worth a line in the log.
func TestCancelledIsNotLogged(t *testing.T) {
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	s := &script{send: func(ctx context.Context, _ *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
		cancel()
		return nil, fmt.Errorf("waiting: %w", ctx.Err())
	}}
	h := wire.JSONRPC(s, wire.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	got := call(t, h, message(""), func(r *http.Request) { *r = *r.WithContext(ctx) })
	if got.status != http.StatusServiceUnavailable || log.Len() > 0 {
		t.Errorf("status %d, log %q", got.status, log.String())
	}
}

// Shows V6.
func TestServiceParameters(t *testing.T) {
	ext := &a2a.AgentExtension{URI: "urn:x:b"}
	outer := a2asrv.NewAuthenticatedUser("ann", nil)
	var uris []string
	var user string
	var leaked bool

	s := &script{send: func(ctx context.Context, _ *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
		cc, _ := a2asrv.CallContextFrom(ctx)
		uris, user = cc.Extensions().RequestedURIs(), cc.User.Name
		_, leaked = cc.ServiceParams().Get("Authorization")
		cc.Extensions().Activate(ext)
		return task("t"), nil
	}}

	got := call(t, handler(s), message(""),
		header("A2A-Extensions", "urn:x:a, urn:x:b", "urn:x:c,,urn:x:a"),
		header("Authorization", "Bearer s"),
		func(r *http.Request) {
			ctx, cc := a2asrv.NewCallContext(r.Context(), nil)
			cc.User = outer
			*r = *r.WithContext(ctx)
		})

	if diff := cmp.Diff([]string{"urn:x:a", "urn:x:b", "urn:x:c"}, uris); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
	if user != "ann" || leaked {
		t.Errorf("user is %q; credentials in the call context: %v", user, leaked)
	}
	if echoed := got.header.Get("A2A-Extensions"); echoed != "urn:x:b" {
		t.Errorf("echoed extensions are %q", echoed)
	}
}

func TestAnswerType(t *testing.T) {
	got := call(t, handler(&script{}), message(""), header("Accept", "text/html, application/a2a+json;q=0.5"))
	if ct := got.header.Get("Content-Type"); ct != "application/a2a+json" {
		t.Errorf("Content-Type is %q", ct)
	}
}

func TestBodyLimit(t *testing.T) {
	h := wire.JSONRPC(&script{}, wire.Options{MaxBody: 1000})
	padded := func(n int) string { return message("") + strings.Repeat(" ", n-len(message(""))) }
	for _, test := range []struct {
		name   string
		body   string
		hide   bool // chunked: the length is not announced
		status int
	}{
		{"28 at the limit", padded(1000), false, 200},
		{"28 one more", padded(1001), false, 413},
		{"28 at the limit, chunked", padded(1000), true, 200},
		{"28 one more, chunked", padded(1001), true, 413},
		{"27 much more, chunked", padded(1 << 20), true, 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := call(t, h, test.body, func(r *http.Request) {
				if test.hide {
					r.ContentLength = -1
				}
			})

			if got.status != test.status {
				t.Errorf("status is %d, want %d: %s", got.status, test.status, got.body)
			}
			if test.status == 413 && got.Error.Code != -32600 {
				t.Errorf("answer is %s", got.body)
			}
		})
	}
}

// A client that announces too large a body is refused at once, and need not send it.
func TestAnnouncedBodyIsNotRead(t *testing.T) {
	got := call(t, handler(&script{}), "", func(r *http.Request) {
		r.ContentLength = 10 << 30
		r.Body = io.NopCloser(errReader{})
	})
	if got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("answer is %d %s", got.status, got.body)
	}
}

// A body that ends early is an error of the client, not of ours.
func TestShortBody(t *testing.T) {
	got := call(t, handler(&script{}), "", func(r *http.Request) {
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"json`), errReader{}))
	})
	if got.status != http.StatusBadRequest || got.Error.Code != -32600 {
		t.Errorf("answer is %d %s", got.status, got.body)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
