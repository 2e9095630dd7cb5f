package serve_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"errand/shared/lab/frames"
	"errand/shared/serve"
)

// window is more than any answer of these tests, in bytes.
const window = 1 << 20

// greet opens a connection of HTTP/2.
func (s *server) greet(window uint32) *frames.Client {
	s.t.Helper()
	return greet(s.t, s.dial(), window)
}

func greet(t *testing.T, c net.Conn, window uint32) *frames.Client {
	t.Helper()
	f, err := frames.New(c, window)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// ask begins a request.
func ask(t *testing.T, f *frames.Client, method, path string, body bool, fields ...string) uint32 {
	t.Helper()
	id, err := f.Ask(method, path, body, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// end reads an answer to its end.
func end(t *testing.T, f *frames.Client, id uint32) *frames.Answer {
	t.Helper()
	a, err := f.End(id)
	if err != nil {
		t.Fatalf("the answer to %d is %+v: %v", id, a, err)
	}
	return a
}

// goesOn checks that a connection still takes requests.
func goesOn(t *testing.T, f *frames.Client) {
	t.Helper()
	if a := end(t, f, ask(t, f, "GET", serve.PathLive, false)); a.Status != http.StatusNoContent {
		t.Errorf("a later request on the connection gets %+v", a)
	}
}

// overHTTP2 is a client of HTTP/2 without TLS.
func overHTTP2(t *testing.T) *http.Client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// One port takes both versions of HTTP.
func TestBothVersionsOnOnePort(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Proto, " ", string(b), err)
	}, serve.Options{})
	for want, client := range map[string]*http.Client{"HTTP/1.1 job<nil>": http.DefaultClient, "HTTP/2.0 job<nil>": overHTTP2(t)} {
		res, err := client.Post(s.url, "text/plain", strings.NewReader("job"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(got) != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if got := s.exchange(http2.ClientPreface[:16] + "X: 1\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("half a greeting gets %q", got)
	}
}

// On one connection of HTTP/2 a refusal waits for no body, and ends its own request only.
func TestRefusalEndsItsStream(t *testing.T) {
	t.Parallel()
	s := start(t, refuse, serve.Options{Limits: serve.Limits{Discard: time.Hour, Read: time.Hour, Write: time.Hour}})
	f := s.greet(window)
	for name, fields := range map[string][]string{"of any size": nil, "announced": {"content-length", "9"}, "that must be asked": {"content-length", "9", "expect", "100-continue"}} {
		if a := end(t, f, ask(t, f, "POST", "/", true, fields...)); a.Status != http.StatusForbidden || string(a.Body) != "not you\n" {
			t.Errorf("a body %s: %+v", name, a)
		}
	}
	goesOn(t, f)
}

// The word of the greeting is a method as any other: its request is one of HTTP/2 too, and the
// others of its connection go on.
func TestMethodOfTheGreeting(t *testing.T) {
	t.Parallel()
	s := start(t, refuse, serve.Options{})
	f := s.greet(window)
	first := ask(t, f, "PRI", "*", true)
	for last := uint32(0); last == 0; {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, away := frame.(*http2.GoAwayFrame); away {
			t.Fatal("the connection is closed")
		}
		if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
			last = data.StreamID
		}
	}
	if err := f.WriteRSTStream(first, http2.ErrCodeCancel); err != nil {
		t.Fatal(err)
	}
	goesOn(t, f)
}

// The body of a request of HTTP/2 has a deadline, in a handler that sets none.
func TestStreamBodyHasADeadline(t *testing.T) {
	t.Parallel()
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the handler reads %v", err)
		}
		w.WriteHeader(http.StatusRequestTimeout)
	}, serve.Options{Limits: short})
	f := s.greet(window)
	if a := end(t, f, ask(t, f, "POST", "/", true)); a.Status != http.StatusRequestTimeout {
		t.Errorf("the client gets %+v", a)
	}
	if a := end(t, f, ask(t, f, "GET", "/", true)); a.Status != http.StatusBadRequest {
		t.Errorf("a body without a meaning: %+v", a)
	}
	goesOn(t, f)
}

// A body without a meaning fills no window that others need: of many requests with one on a
// connection, whose handlers take their time, none keeps the next body away.
func TestBodyWithoutAMeaningIsThrownAway(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			begun <- struct{}{}
			<-release
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}, serve.Options{})
	f := s.greet(window)

	const requests, piece = 100, 16 << 10
	var ids []uint32
	for range requests { // 6 MiB, and a connection has less than 4
		id := ask(t, f, "GET", "/", true)
		for n := range 4 {
			if err := f.WriteData(id, n == 3, make([]byte, piece)); err != nil {
				t.Fatal(err)
			}
		}
		ids = append(ids, id)
		<-begun
	}
	id := ask(t, f, "POST", "/", true)
	if err := f.WriteData(id, true, make([]byte, piece)); err != nil {
		t.Fatal(err)
	}
	if a := end(t, f, id); string(a.Body) != fmt.Sprint(piece, nil) {
		t.Errorf("the body after them: %+v", a)
	}

	close(release)
	for _, id := range ids {
		if a := end(t, f, id); a.Status != http.StatusOK || a.Reset != 0 {
			t.Errorf("a request with a body: %+v", a)
		}
	}
}

// An answer that its client does not take is reset, and the others on its connection go on.
func TestUnreadAnswersEndTheirStreams(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("x", 64<<10)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = io.WriteString(w, page)
		case "/small":
			_, _ = io.WriteString(w, "x")
		case "/answer":
			serve.Answer{Status: http.StatusOK, Type: "text/plain", Body: []byte(page), Timeout: short.Write}.Write(w)
		}
	}, serve.Options{Limits: short})

	f := s.greet(0)
	for _, path := range []string{"/large", "/small", "/answer"} {
		if a := end(t, f, ask(t, f, "GET", path, false)); a.Status != http.StatusOK || a.Reset != http2.ErrCodeInternal {
			t.Errorf("%s: %+v", path, a)
		}
	}
	goesOn(t, f)
}

// A connection of HTTP/2 whose client takes nothing ends, although its windows are open.
func TestUnreadConnectionsEnd(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("x", 16<<20)
	ended := make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for r.Context().Err() == nil {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Hour)) // as if it were another part of a stream
			_, _ = io.WriteString(w, page)
		}
	}, serve.Options{Limits: short})

	c := s.dial()
	if err := c.SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	f := greet(t, c, 1<<31-1)
	if err := f.WriteWindowUpdate(0, 1<<30); err != nil {
		t.Fatal(err)
	}
	ask(t, f, "GET", "/", false)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("a client that takes nothing holds its connection")
	}
}

// A late answer of HTTP/2, and one in parts, have their own time, as in HTTP/1.
func TestLateAnswerOfAStreamIsSent(t *testing.T) {
	t.Parallel()
	const parts, size, in = 2, 10_000, time.Second
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		for range parts {
			select {
			case <-time.After(3 * in / 2): // every deadline that was set before has passed
			case <-r.Context().Done():
				t.Error("the request has ended before its answer")
			}
			if r.URL.Path == "/deadlines" {
				_ = c.SetWriteDeadline(time.Now().Add(in))
			}
			_, _ = io.WriteString(w, strings.Repeat("late\n", size/5))
			_ = c.Flush()
		}
	}, serve.Options{Limits: serve.Limits{Write: in}})
	for _, path := range []string{"/", "/deadlines"} {
		f := s.greet(window)
		if a := end(t, f, ask(t, f, "GET", path, false)); len(a.Body) != parts*size || a.Reset != 0 {
			t.Errorf("%s: %d bytes, reset %v", path, len(a.Body), a.Reset)
		}
	}
}

// A client of HTTP/2 that takes its request back, or leaves, ends the request.
func TestRequestOfAClientThatLeavesEnds(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}, 2), make(chan struct{}, 2)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}, serve.Options{})

	c := s.dial()
	f := greet(t, c, window)
	for _, leave := range []func(id uint32) error{
		func(id uint32) error { return f.WriteRSTStream(id, http2.ErrCodeCancel) },
		func(uint32) error { return c.Close() },
	} {
		id := ask(t, f, "GET", "/", false)
		<-begun
		if err := leave(id); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("the request goes on without its client")
		}
	}
}

// A request of HTTP/2 counts as a connection while it is under way: in its address's share,
// and among all.
func TestStreamsAreShared(t *testing.T) {
	const wait = "/wait"
	begun, release := make(chan struct{}), make(chan struct{})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := crowd{tcp, make(chan string)}
	s := &server{t: t, addr: tcp.Addr().String(), done: make(chan error, 1), log: &lines{}}
	s.serve(l, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == wait {
			begun <- struct{}{}
			<-release
		}
		w.WriteHeader(http.StatusNoContent)
	}, serve.Options{Limits: serve.Limits{Connections: 10}})

	connect := func(from string) *frames.Client {
		c := s.dial()
		l.from <- from
		return greet(t, c, window)
	}
	waiting := func(f *frames.Client, n int) (ids []uint32) {
		for range n {
			ids = append(ids, ask(t, f, "GET", wait, false))
			<-begun
		}
		return ids
	}
	refused := func(f *frames.Client, status int) {
		t.Helper()
		a := end(t, f, ask(t, f, "GET", "/", false))
		if a.Status != status || a.Header["retry-after"] != "1" || !strings.Contains(string(a.Body), "HTTP/2") {
			t.Errorf("the refusal is %+v", a)
		}
	}

	a := connect("9.9.9.9:1")
	first := waiting(a, 4) // with the connection half of all
	refused(a, http.StatusTooManyRequests)
	if _, res := s.connect(l, "9.9.9.9:2"); res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a connection of the same address: status %d", res.StatusCode)
	}
	b := connect("8.8.8.8:1")
	second := waiting(b, 4)
	refused(b, http.StatusTooManyRequests)
	if _, res := s.connect(l, "7.7.7.7:1"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a connection of a third address: status %d", res.StatusCode)
	}

	close(release)
	for _, id := range first {
		end(t, a, id)
	}
	for _, id := range second {
		end(t, b, id)
	}
	for n := time.Now().Add(patience); end(t, a, ask(t, a, "GET", "/", false)).Status != http.StatusNoContent; {
		if time.Now().After(n) {
			t.Fatal("requests that have ended make no room")
		}
	}
}

// A connection of HTTP/2 without a request ends: one that is silent, one whose header does not
// end, and one that is kept for nothing.
func TestIdleHTTP2ConnectionsEnd(t *testing.T) {
	t.Parallel()
	limits := serve.Limits{Read: time.Hour, Header: 100 * time.Millisecond, Idle: 100 * time.Millisecond, Discard: short.Discard}
	s := start(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, serve.Options{Limits: limits})

	for name, begin := range map[string]func(f *frames.Client) error{
		"silent": func(*frames.Client) error { return nil },
		"kept": func(f *frames.Client) error {
			id, err := f.Ask("GET", "/", false)
			if err == nil {
				_, err = f.End(id)
			}
			return err
		},
		"half a header": func(f *frames.Client) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndStream: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := s.greet(window)
			if err := begin(f); err != nil {
				t.Fatal(err)
			}
			var err error
			for err == nil {
				err = f.Read()
			}
			if err, ok := err.(net.Error); ok && err.Timeout() {
				t.Error("the connection stays open")
			}
		})
	}

	t.Run("half a greeting", func(t *testing.T) {
		t.Parallel()
		s.exchange(http2.ClientPreface[:20])
	})
}

// The headers of HTTP/2 cost no more than those of HTTP/1.
func TestStreamHeadersCostLittle(t *testing.T) {
	const connections, requests, most = 4, 50, 80 << 10
	begun, release := make(chan struct{}), make(chan struct{})
	s := start(t, func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-release
	}, serve.Options{})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}

	var fields []string
	for i := range 450 {
		fields = append(fields, fmt.Sprintf("%x", 100+i), "")
	}
	before := heap()
	for range connections {
		f := s.greet(window)
		for range requests {
			ask(t, f, "GET", "/", false, fields...)
			<-begun
		}
	}
	cost := (heap() - before) / (connections * requests)
	t.Logf("a request with the worst header costs %d bytes", cost)
	if cost > most {
		t.Errorf("a request costs %d bytes, at most %d wanted", cost, most)
	}
	close(release)

	for i := range 100 {
		fields = append(fields, fmt.Sprintf("%x", 1000+i), "")
	}
	f := s.greet(window)
	if a := end(t, f, ask(t, f, "GET", serve.PathLive, false, fields...)); a.Status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a larger header: %+v", a)
	}
}

// A stop ends the requests of HTTP/2 as it ends others.
func TestStopEndsStreams(t *testing.T) {
	begun := make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		_, _ = io.WriteString(w, "as it is")
	}, serve.Options{})
	f := s.greet(window)
	id := ask(t, f, "GET", "/", false)
	<-begun
	s.stop()
	if a := end(t, f, id); string(a.Body) != "as it is" {
		t.Errorf("the answer is %+v", a)
	}
	s.stopped()
}

// Nothing that a stranger sends over HTTP/2 becomes a line of the log, and a panic does.
func TestLogOfHTTP2(t *testing.T) {
	s := start(t, func(http.ResponseWriter, *http.Request) { panic("a fault of ours") }, serve.Options{})
	for _, garbage := range []func(f *frames.Client) error{
		func(f *frames.Client) error { return f.WriteRawFrame(http2.FrameData, 0, 0, []byte("secret")) },
		func(f *frames.Client) error { return f.WriteRawFrame(http2.FrameSettings, 0, 7, []byte("secret")) },
		func(f *frames.Client) error { return f.WriteGoAway(0, http2.ErrCodeNo, []byte("secret")) },
	} {
		f := s.greet(window)
		if err := garbage(f); err != nil {
			t.Fatal(err)
		}
		for f.Read() == nil {
		}
	}
	f := s.greet(window)
	if a := end(t, f, ask(t, f, "GET", "/", false)); a.Reset != http2.ErrCodeInternal {
		t.Errorf("a panic: %+v", a)
	}
	s.stop()
	s.stopped()
	log := []byte(s.log.String())
	if !bytes.Contains(log, []byte("a fault of ours")) || bytes.Contains(log, []byte("secret")) || bytes.Count(log, []byte("\n")) != 2 {
		t.Errorf("the log is\n%s", log)
	}
}
