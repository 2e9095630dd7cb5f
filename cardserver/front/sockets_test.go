package front_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/cardserver/front/wire"
	"errand/cardserver/push"
	"errand/functions/sweep"
	"errand/shared/auth"
	"errand/shared/bus"
	"errand/shared/card"
	"errand/shared/desk"
	"errand/shared/keys"
	"errand/shared/lab/conformance"
	base "errand/shared/lab/world"
	"errand/shared/memory"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/task"
)

// gone is how long a connection may last that its client does not use.
const gone = 45 * time.Second

// buffer is the size of the buffers of both ends for answers, in bytes.
const buffer = 16 << 10

// guard ends a test that hangs.
const guard = 3 * time.Minute

// ports counts the connections of a server, as the server opens and closes them. Its send
// buffers are small, so that an answer that nobody reads soon holds up the server.
type ports struct {
	net.Listener
	opened, open atomic.Int64
	longest      atomic.Int64 // lifetime
}

type port struct {
	*net.TCPConn
	close func()
}

func (p port) Close() error {
	p.close()
	return p.TCPConn.Close()
}

func (p *ports) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}

	tcp, since := c.(*net.TCPConn), time.Now()
	_ = tcp.SetWriteBuffer(buffer)
	_ = tcp.SetReadBuffer(buffer)
	p.opened.Add(1)
	p.open.Add(1)
	return port{tcp, sync.OnceFunc(func() {
		lasted := int64(time.Since(since))
		for old := p.longest.Load(); lasted > old && !p.longest.CompareAndSwap(old, lasted); old = p.longest.Load() {
		}
		p.open.Add(-1)
	})}, nil
}

// listen serves h as a program does.
func listen(t *testing.T, h http.Handler, o serve.Options) *ports {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &ports{Listener: tcp}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	o.Log = serve.NewLog(io.Discard)
	go func() { done <- serve.Run(ctx, p, h, o) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// dial opens a connection, which stays open until the test ends.
func (p *ports) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer) })
	}}
	c, err := d.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(guard))
	return c.(*net.TCPConn)
}

// The ways of holding that need a request of a kind.
const (
	unread = "reads no answer" // any, and the others one with a body
	flood  = "sends a chunk that is too large"
)

// flooded are the paths of the floods, which take time. The long walk floods all paths.
var flooded = []string{"/", "/message:send", "/push/redrive", "/push/tasks/x/hooks/x/redrive"}

// tooLarge is the begin of a chunk of more than any body may have.
var tooLarge = fmt.Sprintf("%x\r\n", 2<<20) + strings.Repeat(" ", 1<<20+100<<10)

// A faulty client holds its connection in one of these ways.
var holding = map[string]func(c *net.TCPConn, head string, every time.Duration) (status int, err error){
	"stops after a byte": func(c *net.TCPConn, head string, _ time.Duration) (int, error) {
		if _, err := io.WriteString(c, head+"{"); err != nil {
			return 0, err
		}
		return toTheEnd(c)
	},
	"sends a byte at a time": func(c *net.TCPConn, head string, every time.Duration) (int, error) {
		if _, err := io.WriteString(c, head); err != nil {
			return 0, err
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		go func() {
			for range tick.C {
				if _, err := io.WriteString(c, " "); err != nil {
					return
				}
			}
		}()
		return toTheEnd(c)
	},
	flood: func(c *net.TCPConn, head string, _ time.Duration) (int, error) {
		go func() { _, _ = io.WriteString(c, head+tooLarge) }() // it is cut off if the server has had enough
		return toTheEnd(c)
	},
	unread: func(c *net.TCPConn, head string, _ time.Duration) (int, error) {
		go func() { // the system tells it late that the server has hung up
			requests := strings.Repeat(head, 50)
			for range 40 { // far more answers than the buffers hold
				if _, err := io.WriteString(c, requests); err != nil {
					return
				}
			}
		}()
		return 0, nil
	},
}

// toTheEnd reads until the connection has ended, in whichever way, and returns the status of
// the first answer.
func toTheEnd(c net.Conn) (int, error) {
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, held(err)
	}
	_, err = io.Copy(io.Discard, in)
	return res.StatusCode, held(err)
}

// held returns err if it says that the connection is still open.
func held(err error) error {
	if e, ok := err.(net.Error); ok && e.Timeout() {
		return err
	}
	return nil
}

// refusals are the ways in which a request can be refused, as headers. The request is for
// KEY if it may go on to its body.
func refusals(key string) map[string]string {
	const json, length = "Content-Type: application/json\r\n", "Content-Length: 9999\r\n"
	identified := "X-API-Key: " + key + "\r\n"
	return map[string]string{
		"no credentials":      json + length,
		"wrong credentials":   "X-API-Key: " + wrongKey + "\r\n" + json + length,
		"another site":        "Origin: https://evil.example.com\r\n" + identified + json + length,
		"another host":        "Host: evil.example.com\r\n" + identified + json + length,
		"another type":        identified + "Content-Type: text/plain\r\n" + length,
		"too large":           identified + json + "Content-Length: 2000000\r\n",
		"a body":              identified + json + length,
		"chunks":              identified + json + "Transfer-Encoding: chunked\r\n",
		"a body on request":   "Expect: 100-continue\r\n" + json + length,
		"no body":             identified,
		"no body, a stranger": "",
	}
}

// heads are all requests of the walk: each method at each path, refused in each way. A
// connection between two requests without a body is held by none of them: it is idle.
func heads(paths []string, key, way string) (all []string) {
	for _, path := range paths {
		for _, method := range conformance.Size([]string{"GET", "POST"}, []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}) {
			for name, headers := range refusals(key) {
				switch {
				case way != unread && strings.HasPrefix(name, "no body"), way == flood && (name != "chunks" || method != http.MethodPost || !conformance.Full() && !slices.Contains(flooded, path)):
					continue
				}
				if !strings.HasPrefix(headers, "Host: ") {
					headers = "Host: 127.0.0.1\r\n" + headers
				}
				all = append(all, method+" "+path+" HTTP/1.1\r\n"+headers+"\r\n")
			}
		}
	}
	return all
}

// served are the paths that package front serves, with x for every segment that a client
// chooses. The operations are those of the code, and the API's those of its description.
func served(t *testing.T, front http.Handler) []string {
	t.Helper()
	paths := []string{"/", card.Path, card.OldPath, keys.Path, serve.PathLive, serve.PathReady, "/nowhere", "/push/openapi.yaml", "/push/nowhere"}

	code, err := os.ReadFile("wire/operations.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\b(path|path03): +"(.+?)"`).FindAllStringSubmatch(string(code), -1) {
		if paths = append(paths, "/v1/"+m[2]); m[1] == "path" {
			paths = append(paths, "/"+m[2])
		}
	}
	paths = append(paths, "/alice/tasks")

	res := httptest.NewRecorder()
	front.ServeHTTP(res, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/push/openapi.yaml", nil))
	for _, m := range regexp.MustCompile(`(?m)^  (/.+):$`).FindAllStringSubmatch(res.Body.String(), -1) {
		paths = append(paths, m[1])
	}

	for i, path := range paths {
		paths[i] = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "x")
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// jobs are the paths at which a program serves jobs, as its main function mounts them.
func jobs(t *testing.T, program string) (paths []string) {
	t.Helper()
	code, err := os.ReadFile("../../" + program + "/main.go")
	if err != nil {
		t.Fatal(err)
	}

	known := map[string]string{
		"queue.PathTurn": queue.PathTurn, "queue.PathDeliver": queue.PathDeliver, "queue.PathSweep": queue.PathSweep,
		"queue.PathBulk": queue.PathBulk, "queue.PathBatch": queue.PathBatch, "bus.PathEvents": bus.PathEvents, "bus.PathSubmit": bus.PathSubmit, "sweep.PathTick": sweep.PathTick,
	}
	for _, name := range regexp.MustCompile(`\b\w+\.Path\w+`).FindAllString(string(code), -1) {
		path, ok := known[name]
		if !ok {
			t.Errorf("%s mounts %s, which this walk does not know", program, name)
		}
		paths = append(paths, path)
	}
	return paths
}

// behindDoors is a handler of the worker or the functions, that serves jobs at these paths.
func behindDoors(t *testing.T, paths []string) http.Handler {
	t.Helper()
	issuer := auth.NewKeys(auth.KeysConfig{Issuer: auth.GoogleIssuer, URL: auth.GoogleKeys})
	mux := http.NewServeMux()
	for _, path := range paths {
		door, err := auth.NewDoor(auth.DoorConfig{
			Issuer: auth.GoogleIssuer, Audience: "https://worker.example.com" + path, Emails: []string{"invoker@p.iam.gserviceaccount.com"},
			Keys: issuer, Log: serve.NewLog(io.Discard),
		})
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle("POST "+path, door(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request came in without a token") })))
	}
	return mux
}

// The clients of the walk hold a connection for every path, method and refusal: by a body
// that does not end, or by answers that they do not read. The server ends each connection.
func TestNoClientHoldsAConnection(t *testing.T) {
	t.Parallel()
	edit, callers := guarded(t, "alice", "ops")
	api := func(c *front.Config) {
		d := desk.New(desk.Config{Store: c.Store, Queue: &base.Jobs{}, Rules: task.Defaults(), Now: time.Now, Log: c.Log})
		c.Push = push.New(push.Config{Desk: d, Store: c.Store.(push.Store), Keys: c.Keys, Access: c.Access, CheckURL: c.CheckURL, Log: c.Log})
	}
	w := newWorld(t, edit, api)
	full := newWorld(t, edit, api, func(c *front.Config) {
		c.Memory = &wire.Memory{Requests: memory.Sized(1), Answers: memory.Sized(1 << 20)}
	})
	sends := []string{"/", "/message:send", "/v1/message:stream"}
	work := append(jobs(t, "worker"), jobs(t, "functions")...)

	const d = 200 * time.Millisecond
	limits := conformance.Size(serve.Limits{Read: d, Write: d, Discard: d}, serve.Limits{})
	one := limits
	one.Requests = 1

	for name, row := range map[string]struct {
		handler http.Handler
		options serve.Options
		paths   []string
		want    []int // statuses, some of all
	}{
		"cardserver":           {w, serve.Options{Limits: limits}, served(t, w), []int{200, 204, 400, 401, 403, 404, 405, 408, 413, 415, 421, 429}},
		"without memory":       {full, serve.Options{Limits: limits}, sends, []int{503}},
		"behind a proxy":       {w, serve.Options{Limits: one, Caller: func(*http.Request) netip.Prefix { return netip.MustParsePrefix("9.9.9.9/32") }}, sends, []int{429}},
		"worker and functions": {behindDoors(t, work), serve.Options{Limits: limits}, append(work, "/nowhere", serve.PathLive, serve.PathReady), []int{204, 401, 404, 405}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			walk(t, listen(t, row.handler, row.options), row.paths, callers["alice"], row.want)
		})
	}
}

// walk holds a connection in each way, and waits until the server has ended it.
func walk(t *testing.T, p *ports, paths []string, key string, want []int) {
	every := conformance.Size(20*time.Millisecond, time.Second)
	slots := make(chan struct{}, conformance.Size(3000, 3500)) // fewer than the server's connections
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]int{}
	var dialed int64

	for way, hold := range holding {
		for _, head := range heads(paths, key, way) {
			slots <- struct{}{}
			c := p.dial(t)
			dialed++
			all.Go(func() {
				defer func() { <-slots }()
				status, err := hold(c, head, every)
				if err != nil {
					t.Errorf("%s: the connection stays open after %q", way, head)
				}
				mu.Lock()
				defer mu.Unlock()
				seen[status]++
			})
		}
	}

	all.Wait()
	for end := time.Now().Add(guard); p.opened.Load() < dialed || p.open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the server holds %d connections", p.open.Load())
		}
	}

	longest := time.Duration(p.longest.Load())
	t.Logf("%d paths, %d connections, the longest took %v; statuses: %v", len(paths), p.opened.Load(), longest, seen)
	if longest > gone {
		t.Errorf("a connection lasted %v, at most %v wanted", longest, gone)
	}
	for _, status := range want {
		if seen[status] == 0 {
			t.Errorf("no request got the status %d", status)
		}
	}
}

// Two thousand connections with half a request each do not stop another caller, who sends
// and reads on connections of its own.
func TestHeldConnectionsStopNobodyElse(t *testing.T) {
	edit, callers := guarded(t, "alice", "mallory")
	w := newWorld(t, edit)
	p := listen(t, w, serve.Options{Limits: serve.Limits{Connections: 4000}})
	const sockets, messages = 2000, 50

	for i := range sockets {
		head := "POST /message:send HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n"
		if i%2 == 0 { // these hold their connection until the deadline of the body
			head += "X-API-Key: " + callers["mallory"] + "\r\n"
		}
		if _, err := io.WriteString(p.dial(t), head+"\r\n{"); err != nil {
			t.Fatal(err)
		}
	}

	ask := func(method, path, body string) (string, time.Duration) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: guard}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", callers["alice"])
		req.Header.Set("Content-Type", "application/json")

		since := time.Now()
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s %s: status %d, %s, %v", method, path, res.StatusCode, b, err)
		}
		return string(b), time.Since(since)
	}

	var accepts, gets []time.Duration
	for i := range messages {
		_, took := ask("POST", "/message:send", fmt.Sprintf(`{"message":{"messageId":"m%d","role":"ROLE_USER","parts":[{"text":"hello"}]},"configuration":{"returnImmediately":true}}`, i))
		accepts = append(accepts, took)
		id, _ := task.Derive("alice", fmt.Sprintf("m%d", i))
		body, took := ask("GET", "/tasks/"+id, "")
		gets = append(gets, took)
		if !strings.Contains(body, `"id":"`+id+`"`) {
			t.Errorf("task %d is read as %s", i, body)
		}
	}

	slices.Sort(accepts)
	slices.Sort(gets)
	t.Logf("beside %d connections: accept p50 %v, p99 %v; get p50 %v, p99 %v", p.open.Load(), accepts[messages/2], accepts[messages*99/100], gets[messages/2], gets[messages*99/100])
	if n := p.opened.Load(); n != sockets+2*messages {
		t.Errorf("%d connections were opened", n)
	}
	page, err := w.Store.List(t.Context(), task.Query{Owner: "alice", Limit: 2 * messages})
	if err != nil || len(page.Records) != messages {
		t.Errorf("there are %d tasks, %v", len(page.Records), err)
	}
}

// Waits and streams go on when the deadlines of their request and their connection are
// over, and their end is answered as at any other time.
func TestWaitsOutliveTheDeadlines(t *testing.T) {
	t.Parallel()
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		const d = 100 * time.Millisecond
		p := listen(t, w, serve.Options{Limits: serve.Limits{Read: d, Write: d, Discard: d, Header: d, Idle: d}})
		claimed := make(chan task.Record, 3)
		var tasks atomic.Int32
		w.work(func(id string) {
			tasks.Add(1)
			claimed <- w.claim(id)
		})

		begun := make(chan struct{}, 3)
		ask := func(operation, params, want string) {
			var res *http.Response
			var err error
			for end := time.Now().Add(guard); ; { // a busy machine may not read a request in time
				r := b.request(operation, params)
				r.URL.Host, r.RequestURI = p.Addr().String(), ""
				if res, err = http.DefaultClient.Do(r); err == nil || tasks.Load() == 2 || time.Now().After(end) {
					break
				}
			}

			if operation != send {
				begun <- struct{}{} // the stream has its first event
			}
			if err != nil {
				t.Errorf("%s: %v", operation, err)
				return
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
				t.Errorf("%s: status %d, %q, %v", operation, res.StatusCode, text, err)
			}
		}

		var waiting sync.WaitGroup
		waiting.Go(func() { ask(send, `{"message":`+message("wait", "")+`}`, "TASK_STATE_COMPLETED") })
		waiting.Go(func() { ask(streaming, sending(message("stream", "")), "TASK_STATE_COMPLETED") })
		first, second := <-claimed, <-claimed
		waiting.Go(func() { ask(subscribe, byID(first.ID()), "TASK_STATE_COMPLETED") })
		<-begun
		<-begun

		time.Sleep(4 * d) // all deadlines are over
		w.end(first, a2a.TaskStateCompleted, chunk("a", "the answer", false))
		w.end(second, a2a.TaskStateCompleted, chunk("a", "the answer", false))
		waiting.Wait()
	})
}
