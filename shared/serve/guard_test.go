package serve_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/serve"
)

// short are limits under which a test can wait for an end. A connection without them would
// stay for minutes.
var short = serve.Limits{Read: 200 * time.Millisecond, Write: 200 * time.Millisecond, Discard: 200 * time.Millisecond}

const patience = time.Minute // guards against hanging

// dial opens a connection to the server, which a test may use for as long as its patience.
func (s *server) dial() *net.TCPConn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// exchange sends text and reads to the end of the connection.
func (s *server) exchange(text string) string {
	s.t.Helper()
	c := s.dial()
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	return readAll(s.t, c)
}

// readAll reads until the connection has ended, in whichever way.
func readAll(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Errorf("the connection stays open; it got %q", b)
	}
	return string(b)
}

func refuse(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not you", http.StatusForbidden) }

const announced = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"

// A refused client gets its answer at once, and its connection is closed although the body
// never ends.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	s := start(t, refuse, serve.Options{Limits: serve.Limits{Discard: short.Discard, Read: time.Hour}})
	for name, text := range map[string]string{
		"a byte":                    fmt.Sprintf(announced, 9) + "x",
		"none of a large body":      fmt.Sprintf(announced, 1<<30),
		"a chunk":                   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
		"a body that is no chunk":   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
		"a body that must be asked": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
	} {
		got := s.exchange(text)
		if !strings.HasPrefix(got, "HTTP/1.1 403 ") || !strings.HasSuffix(got, "\r\n\r\nnot you\n") || strings.Count(got, "HTTP/1.1") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// The answer to a refused client waits for no byte of the body.
func TestRefusalIsSentAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, refuse, serve.Options{Limits: serve.Limits{Discard: time.Hour, Read: time.Hour}})
	c := s.dial()
	if _, err := fmt.Fprintf(c, announced, 9); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden || !res.Close {
		t.Errorf("status %d, close %v", res.StatusCode, res.Close)
	}
}

// A client that sends a large body and reads afterwards sees why it was refused.
func TestRefusalReachesAClientThatSendsFirst(t *testing.T) {
	t.Parallel()
	s := start(t, refuse, serve.Options{})
	for _, size := range []int{100 << 10, 300 << 10, 900 << 10, 1<<20 + 100<<10} {
		for name, head := range map[string]string{
			"announced": fmt.Sprintf(announced, size), "chunked": fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", size),
		} {
			c := s.dial()
			if size < 1<<20 { // the buffers hold less than the body
				_ = c.SetWriteBuffer(16 << 10)
			}

			_, err := io.WriteString(c, head)
			if err == nil {
				_, err = c.Write(make([]byte, size))
			}
			if err != nil {
				t.Errorf("%s, %d bytes: %v", name, size, err)
			}
			if got := readAll(t, c); !strings.HasPrefix(got, "HTTP/1.1 403 ") || !strings.HasSuffix(got, "not you\n") {
				t.Errorf("%s, %d bytes: the client reads %q", name, size, got)
			}
		}
	}
}

// A body that does not arrive in time ends with an error for the handler, in a handler that
// sets no deadline.
func TestBodyHasADeadline(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		failed <- err
		w.WriteHeader(http.StatusRequestTimeout)
	}, serve.Options{Limits: short})
	if got := s.exchange(fmt.Sprintf(announced, 9) + "x"); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("the client reads %q", got)
	}
	if err := <-failed; err == nil || !os.IsTimeout(err) {
		t.Errorf("the handler reads %v", err)
	}
}

// A connection whose requests are whole goes on as before, and nothing of an unread body is
// taken for a request.
func TestConnectionGoesOnAfterWholeRequests(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.URL.Path != "/refused" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		w.WriteHeader(http.StatusNoContent)
	}, serve.Options{Limits: serve.Limits{Discard: short.Discard}})

	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	last := "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for name, row := range map[string]struct {
		text  string
		seen  int32
		close int
	}{
		"no body":          {"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + last, 2, 1},
		"a body":           {fmt.Sprintf(announced, 3) + "abc" + last, 2, 1},
		"an unread body":   {fmt.Sprintf(strings.Replace(announced, "/", "/refused", 1), len(smuggled)) + smuggled + last, 1, 1},
		"chunks":           {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + last, 1, 1},
		"chunks and bytes": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 1, 1},
	} {
		seen.Store(0)
		got := s.exchange(row.text)
		if n := strings.Count(got, "HTTP/1.1 204 "); seen.Load() != row.seen || n != int(row.seen) || strings.Count(got, "Connection: close") != row.close {
			t.Errorf("%s: %d requests were seen, and the answers are %q", name, seen.Load(), got)
		}
	}
}

// A client that sends requests and reads no answer is cut off.
func TestUnreadAnswersEndTheConnection(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("x", 64<<10)
	s := start(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) }, serve.Options{Limits: short})
	c := s.dial()
	var err error
	for err == nil {
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Error("the connection stays open")
	}
}

// A late answer, and an answer in parts, have their own time. The request itself ends with
// none of the deadlines: a turn takes minutes.
func TestLateAnswerIsSent(t *testing.T) {
	t.Parallel()
	late := strings.Repeat("late\n", 10_000) // more than net/http keeps back
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != "job" {
			t.Errorf("the body is %q, %v", b, err)
		}

		select {
		case <-time.After(2 * short.Write): // the deadlines that the request began with have passed
		case <-r.Context().Done():
			t.Error("the request has ended before its answer")
		}

		if r.URL.Path == "/answer" {
			serve.Answer{Status: http.StatusOK, Type: "text/plain", Body: []byte(late), Timeout: patience}.Write(w)
			return
		}
		http.Error(w, "late", http.StatusServiceUnavailable)
	}, serve.Options{Limits: short})

	for path, want := range map[string]string{"/answer": late, "/error": "late\n"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			res, err := http.Post(s.url+path, "text/plain", strings.NewReader("job"))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); string(got) != want || err != nil {
				t.Errorf("%.9q, %d bytes, %v", got, len(got), err)
			}
		})
	}
}

// A crowd is a listener whose connections come from addresses of the test's choice.
type crowd struct {
	net.Listener
	from chan string
}

type guest struct {
	net.Conn
	from string
}

func (l crowd) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return guest{c, <-l.from}, nil
}

func (g guest) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(g.from)) }

func (g guest) CloseWrite() error { return g.Conn.(*net.TCPConn).CloseWrite() }

// connect opens a connection from an address, and returns it with its answer to one request.
func (s *server) connect(l crowd, from string) (net.Conn, *http.Response) {
	s.t.Helper()
	c := s.dial()
	l.from <- from
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		s.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body = io.NopCloser(strings.NewReader(string(b)))
	return c, res
}

// One address has at most half of the connections, all addresses together have all, and a
// refused client is told so. Connections from this machine and from a trusted proxy are in
// no share.
func TestConnectionsAreShared(t *testing.T) {
	proxy := func(r *http.Request) netip.Prefix { return netip.Prefix{} }
	const a, same, b, c, here = "[2001:db8:1:1::1]:1", "[2001:db8:1:1::2]:1", "9.9.9.9:1", "8.8.8.8:1", "127.0.0.1:1"
	for name, row := range map[string]struct {
		caller func(*http.Request) netip.Prefix
		from   []string
		status []int
		says   string
	}{
		"by address":     {nil, []string{a, same, a, b, b, c}, []int{204, 204, 429, 204, 204, 503}, "4 connections"},
		"on loopback":    {nil, []string{here, here, here, here, here}, []int{204, 204, 204, 204, 503}, "4 connections"},
		"behind a proxy": {proxy, []string{b, b, b, b, b}, []int{204, 204, 204, 204, 503}, "4 connections"},
	} {
		t.Run(name, func(t *testing.T) {
			s, l := startCrowd(t, serve.Options{Limits: serve.Limits{Connections: 4}, Caller: row.caller})
			var first net.Conn

			for i, from := range row.from {
				conn, res := s.connect(l, from)
				if first == nil {
					first = conn
				}

				text, _ := io.ReadAll(res.Body)
				if res.StatusCode != row.status[i] {
					t.Errorf("connection %d from %s: status %d, want %d", i, from, res.StatusCode, row.status[i])
				}
				if res.StatusCode == 204 {
					continue
				}

				if res.Header.Get("Retry-After") != "1" || !strings.Contains(string(text), "connections") || !res.Close {
					t.Errorf("the refusal is %v %q", res.Header, text)
				}
				if res.StatusCode == 503 && !strings.Contains(string(text), row.says) {
					t.Errorf("the refusal is %q", text)
				}
			}

			first.Close() // makes room for one, as soon as the server has noticed
			for end := time.Now().Add(patience); ; {
				_, res := s.connect(l, row.from[0])
				if res.StatusCode == 204 {
					break
				}
				if time.Now().After(end) {
					t.Fatal("a closed connection makes no room")
				}
			}
		})
	}
}

// startCrowd runs a server whose connections come from addresses of the test's choice.
func startCrowd(t *testing.T, o serve.Options) (*server, crowd) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := crowd{tcp, make(chan string)}
	s := &server{t: t, addr: tcp.Addr().String(), done: make(chan error, 1), log: &lines{}}
	s.serve(l, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, o)
	return s, l
}

// Behind a proxy one address has a share of the requests under way. Others are not held up
// by it, and neither is the platform.
func TestRequestsAreShared(t *testing.T) {
	const most = 3
	begun, release := make(chan struct{}, most), make(chan struct{})
	var under, highest atomic.Int32

	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if n := under.Add(1); n > highest.Load() {
			highest.Store(n)
		}
		defer under.Add(-1)
		if r.URL.Path == "/wait" {
			begun <- struct{}{}
			<-release
		}
	}, serve.Options{
		Limits: serve.Limits{Requests: most},
		Caller: func(r *http.Request) netip.Prefix { return netip.MustParsePrefix(r.Header.Get("From") + "/32") },
	})

	ask := func(from, path string) (int, string, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("From", from)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, res.Header.Get("Retry-After"), string(b)
	}

	var waiting sync.WaitGroup
	for range most {
		waiting.Go(func() {
			if status, _, _ := ask("1.1.1.1", "/wait"); status != 200 {
				t.Errorf("a request within the share: status %d", status)
			}
		})
		<-begun
	}

	if status, after, text := ask("1.1.1.1", "/"); status != 429 || after != "1" || !strings.Contains(text, "too many requests under way") {
		t.Errorf("a request beyond the share: %d, Retry-After %q, %q", status, after, text)
	}
	if status, _, _ := ask("2.2.2.2", "/"); status != 200 {
		t.Errorf("another address: status %d", status)
	}
	if status, _, _ := ask("1.1.1.1", serve.PathReady); status != 204 {
		t.Errorf("the platform: status %d", status)
	}

	close(release)
	waiting.Wait()
	if status, _, _ := ask("1.1.1.1", "/"); status != 200 {
		t.Errorf("a request after the others: status %d", status)
	}
}
