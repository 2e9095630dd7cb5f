package wire_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/cardserver/front/wire"
)

func failing(err error) func(*a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
	return func(*a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
		return func(yield func(a2a.Event, error) bool) { yield(nil, err) }
	}
}

// subscription serves seq to every subscriber.
func subscription(seq func(context.Context) iter.Seq2[a2a.Event, error], o wire.Options) http.Handler {
	return wire.JSONRPC(&script{stream: func(ctx context.Context, _ *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] {
		return seq(ctx)
	}}, o)
}

var streamBody = strings.Replace(message(""), "SendMessage", "SendStreamingMessage", 1)

func open(t *testing.T, url string) (*http.Response, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(streamBody))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res, cancel
}

func TestStream(t *testing.T) {
	update := &a2a.TaskStatusUpdateEvent{TaskID: "t1", ContextID: "c1", Status: a2a.TaskStatus{State: a2a.TaskStateWorking}}
	chunk := &a2a.TaskArtifactUpdateEvent{TaskID: "t1", ContextID: "c1", Append: true, LastChunk: true,
		Artifact: &a2a.Artifact{ID: "a", Name: "n", Parts: a2a.ContentParts{a2a.NewTextPart("x\r\ny\u2028é")}}}
	h := subscription(func(context.Context) iter.Seq2[a2a.Event, error] {
		return events(task("t1"), update, chunk, &a2a.Message{ID: "m", Role: a2a.MessageRoleAgent})
	}, wire.Options{})
	res := post(h, streamBody)
	body, _ := io.ReadAll(res.Body)
	want := `data: {"jsonrpc":"2.0","id":7,"result":{"task":{"id":"t1","contextId":"c1","status":{"state":"TASK_STATE_SUBMITTED","timestamp":"2026-03-04T04:06:07.891Z"}}}}

data: {"jsonrpc":"2.0","id":7,"result":{"statusUpdate":{"contextId":"c1","status":{"state":"TASK_STATE_WORKING"},"taskId":"t1"}}}

data: {"jsonrpc":"2.0","id":7,"result":{"artifactUpdate":{"append":true,"artifact":{"artifactId":"a","name":"n","parts":[{"text":"x\r\ny\u2028é"}]},"contextId":"c1","lastChunk":true,"taskId":"t1"}}}

data: {"jsonrpc":"2.0","id":7,"result":{"message":{"messageId":"m","parts":[],"role":"ROLE_AGENT"}}}

`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("status %d, header %v", res.StatusCode, res.Header)
	}
}

// Extensions that were activated before the first event are in its headers.
func TestStreamEchoesExtensions(t *testing.T) {
	h := subscription(func(ctx context.Context) iter.Seq2[a2a.Event, error] {
		cc, _ := a2asrv.CallContextFrom(ctx)
		cc.Extensions().Activate(&a2a.AgentExtension{URI: "urn:x:b"})
		return events(task("t1"))
	}, wire.Options{})
	if got := post(h, streamBody).Header.Get("A2A-Extensions"); got != "urn:x:b" {
		t.Errorf("echoed extensions are %q", got)
	}
}

// An error after the first event is the last event.
func TestStreamErrorInTheMiddle(t *testing.T) {
	for name, end := range map[string]func() error{
		"error": func() error { return errors.New("hunter2") },
		"panic": func() error { panic("hunter2") },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			h := subscription(func(context.Context) iter.Seq2[a2a.Event, error] {
				return func(yield func(a2a.Event, error) bool) {
					if yield(task("t1"), nil) {
						yield(nil, end())
					}
				}
			}, wire.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), RequestID: func(context.Context) string { return "R1" }})
			body, _ := io.ReadAll(post(h, streamBody).Body)
			all := strings.Split(strings.TrimSpace(string(body)), "\n\n")
			if len(all) != 2 || !strings.HasPrefix(all[1], `data: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"internal error, request R1"`) {
				t.Errorf("stream is %s", body)
			}
			if strings.Contains(string(body), "hunter2") || !strings.Contains(log.String(), "hunter2") {
				t.Errorf("log is %s", log.String())
			}
		})
	}
}

// An error before the first event is the only event.
func TestStreamErrorBeforeTheFirstEvent(t *testing.T) {
	empty := func(context.Context) iter.Seq2[a2a.Event, error] { return events() }
	panics := func(context.Context) iter.Seq2[a2a.Event, error] { panic("hunter2") }
	for _, test := range []struct {
		name string
		seq  func(context.Context) iter.Seq2[a2a.Event, error]
		body string
		edit func(*http.Request)
		code int
	}{
		{"no event", empty, streamBody, header("X"), -32603},
		{"panic", panics, streamBody, header("X"), -32603},
		{"bad params", empty, request("SendStreamingMessage", `{}`), header("X"), -32602},
		{"bad params of subscribe", empty, request("SubscribeToTask", `{}`), header("X"), -32602},
		{"version", empty, streamBody, header("A2A-Version", "0.3"), -32009},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := call(t, subscription(test.seq, wire.Options{}), test.body, test.edit)
			if got.status != 200 || got.Error == nil || got.Error.Code != test.code || got.header.Get("Content-Type") != "text/event-stream" {
				t.Errorf("answer is %d %v %s", got.status, got.header, got.body)
			}
		})
	}
}

// A quiet stream gets comments, and the handler's sequence ends when the client goes.
//
// Shows decision 8.
func TestKeepAliveAndDisconnect(t *testing.T) {
	ended := make(chan error, 1)
	srv := httptest.NewServer(subscription(func(ctx context.Context) iter.Seq2[a2a.Event, error] {
		return func(yield func(a2a.Event, error) bool) {
			yield(task("t1"), nil)
			<-ctx.Done()
			ended <- ctx.Err()
		}
	}, wire.Options{KeepAlive: 5 * time.Millisecond}))
	defer srv.Close()
	res, cancel := open(t, srv.URL)
	lines := bufio.NewScanner(res.Body)
	for comments := 0; comments < 3; {
		if !lines.Scan() {
			t.Fatalf("the stream ended after %d comments: %v", comments, lines.Err())
		}
		if lines.Text() == ": keep-alive" {
			comments++
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the sequence ended with %v", err)
	}
}

// If a comment cannot be written, a silent sequence ends too.
func TestFailedKeepAliveEndsTheSequence(t *testing.T) {
	h := subscription(func(ctx context.Context) iter.Seq2[a2a.Event, error] {
		return func(yield func(a2a.Event, error) bool) {
			yield(task("t1"), nil)
			<-ctx.Done()
		}
	}, wire.Options{KeepAlive: time.Millisecond})
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(streamBody))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(&brokenWriter{ResponseRecorder: httptest.NewRecorder()}, r) // hangs if not
}

// A brokenWriter takes one write.
type brokenWriter struct {
	*httptest.ResponseRecorder
	written bool
}

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.written {
		return 0, net.ErrClosed
	}
	w.written = true
	return w.ResponseRecorder.Write(b)
}

// A client that stops reading is cut, and holds up no other.
func TestSlowReaderIsCut(t *testing.T) {
	ended := make(chan struct{})
	big := &a2a.Message{ID: "m", Role: a2a.MessageRoleAgent, Parts: a2a.ContentParts{a2a.NewTextPart(strings.Repeat("x", 256<<10))}}
	srv := httptest.NewServer(subscription(func(ctx context.Context) iter.Seq2[a2a.Event, error] {
		return func(yield func(a2a.Event, error) bool) {
			defer close(ended)
			for yield(big, nil) {
			}
		}
	}, wire.Options{WriteTimeout: 50 * time.Millisecond}))

	defer srv.Close()
	open(t, srv.URL) // and never read

	select {
	case <-ended:
	case <-time.After(2 * time.Minute):
		t.Fatal("the stream still waits for a client that does not read")
	}

	res, err := http.Post(srv.URL, "application/json", strings.NewReader(message("")))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := parse(t, res); got.Error != nil {
		t.Errorf("another client gets %s", got.body)
	}
}

// A body that never ends is given up, and a long answer outlives the limit of the body.
func TestSlowBody(t *testing.T) {
	release := make(chan struct{})
	s := &script{send: func(ctx context.Context, _ *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
		select {
		case <-release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return task("t1"), nil
	}}

	const limit = 30 * time.Millisecond
	srv := httptest.NewUnstartedServer(wire.JSONRPC(s, wire.Options{}))
	srv.Config.ReadTimeout = limit
	srv.Start()
	defer srv.Close()

	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"); err != nil {
		t.Fatal(err)
	}

	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(t, res); got.status != http.StatusRequestTimeout {
		t.Errorf("a slow body gets %d %s", got.status, got.body)
	}

	time.AfterFunc(5*limit, func() { close(release) })
	res, err = http.Post(srv.URL, "application/json", strings.NewReader(message("")))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := parse(t, res); got.Error != nil {
		t.Errorf("a slow answer is %s", got.body)
	}
}
