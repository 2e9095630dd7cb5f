package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"errand/shared/serve"
)

// A server is a running Run.
type server struct {
	t    *testing.T
	url  string
	addr string
	stop context.CancelFunc
	done chan error
	log  *lines
}

// lines is a log that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func start(t *testing.T, h http.HandlerFunc, o serve.Options) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, url: "http://" + l.Addr().String(), addr: l.Addr().String(), done: make(chan error, 1), log: &lines{}}
	s.serve(l, h, o)
	return s
}

// serve runs Run until the test ends.
func (s *server) serve(l net.Listener, h http.HandlerFunc, o serve.Options) {
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	o.Log = serve.NewLog(s.log)
	go func() { s.done <- serve.Run(ctx, l, h, o) }()
	s.t.Cleanup(s.stop)
}

func (s *server) get(path string) (string, error) {
	res, err := http.Get(s.url + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// stopped waits for Run to return.
func (s *server) stopped() {
	s.t.Helper()
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Errorf("Run: %v", err)
		}
	case <-time.After(2 * time.Minute):
		s.t.Fatal("Run does not return")
	}
}

// When it is told to stop, short requests are answered, streams end, and all the while
// Drain runs, once.
func TestRunStopsInOrder(t *testing.T) {
	for name, tell := range map[string]func(*server){
		"context": func(s *server) { s.stop() },
		"SIGTERM": func(s *server) {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Signal(syscall.SIGTERM)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			begun, draining, answered := make(chan struct{}, 2), make(chan struct{}), make(chan struct{})
			drains := 0

			s := start(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "begun ")
				_ = http.NewResponseController(w).Flush()
				begun <- struct{}{}

				if r.URL.Path == "/stream" {
					<-r.Context().Done()
				} else {
					<-draining
					defer close(answered)
				}

				_, _ = io.WriteString(w, "ended")
			}, serve.Options{Drain: func(ctx context.Context) {
				drains++
				close(draining)

				select {
				case <-answered:
				case <-ctx.Done():
					t.Error("the request was not answered while Drain ran")
				}
			}})

			bodies := make(chan string, 2)
			for _, path := range []string{"/stream", "/short"} {
				go func() {
					body, err := s.get(path)
					if err != nil {
						body = err.Error()
					}
					bodies <- body
				}()
			}

			<-begun
			<-begun
			tell(s)

			for range 2 {
				if body := <-bodies; body != "begun ended" {
					t.Errorf("a request got %q", body)
				}
			}

			s.stopped()
			if drains != 1 {
				t.Errorf("Drain was called %d times", drains)
			}
			if _, err := s.get("/"); err == nil {
				t.Error("it still listens")
			}
		})
	}
}

// A request that neither ends nor answers is cut off when the time is up.
func TestRunCutsOffWhatIsStuck(t *testing.T) {
	release, begun, drain := make(chan struct{}), make(chan struct{}), make(chan struct{})
	defer close(release)
	s := start(t, func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-release
	}, serve.Options{Grace: 50 * time.Millisecond, Drain: func(ctx context.Context) {
		<-ctx.Done()
		<-drain
	}})

	half, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	if _, err := io.WriteString(half, "GET / HTTP/1.1\r\nHo"); err != nil {
		t.Fatal(err)
	}

	failed := make(chan error, 1)
	go func() {
		_, err := s.get("/")
		failed <- err
	}()

	<-begun
	s.stop()
	if err := <-failed; err == nil {
		t.Error("the stuck request was answered")
	}
	if _, err := bufio.NewReader(half).ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the half request: %v", err)
	}

	select {
	case <-s.done:
		t.Error("Run did not wait for Drain")
	case <-time.After(20 * time.Millisecond):
	}

	close(drain)
	s.stopped()
}

// deaf is a listener that breaks.
type deaf struct{ net.Listener }

var errDeaf = errors.New("the network is gone")

func (deaf) Accept() (net.Conn, error) { return nil, errDeaf }

func TestRunReturnsTheListenersError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	err = serve.Run(t.Context(), deaf{l}, http.NotFoundHandler(), serve.Options{Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, errDeaf) {
		t.Errorf("Run: %v", err)
	}
}

// A handler that panics breaks its own request, and is an error in the log.
func TestRunLogsPanics(t *testing.T) {
	s := start(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("a fault of ours")
		}
	}, serve.Options{})
	if _, err := s.get("/panic"); err == nil {
		t.Error("the request was answered")
	}
	if _, err := s.get("/"); err != nil {
		t.Error(err)
	}
	s.stop()
	s.stopped()
	if log := s.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "a fault of ours") {
		t.Errorf("the log is\n%s", log)
	}
}

// Nothing that a stranger sends becomes a line of the log.
//
// Shows AU10.
func TestRunLogsNothingOfStrangers(t *testing.T) {
	s := start(t, http.NotFound, serve.Options{})
	for _, garbage := range []string{"\x16\x03\x01secret of ours\r\n\r\n", "GET /secret\r\n\r\n", "GET / HTTP/1.1\r\nsecret\r\n\r\n"} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, garbage)
		_, _ = io.ReadAll(c)
		c.Close()
	}
	s.stop()
	s.stopped()
	if log := s.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "msg=stopping") {
		t.Errorf("the log is\n%s", log)
	}
}

// Every line that is logged for a request carries its id.
func TestLogLinesCarryTheRequest(t *testing.T) {
	var out bytes.Buffer
	log := serve.NewLog(&out)
	h := serve.Identified(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		log.InfoContext(r.Context(), "one", "asked", serve.RequestID(r.Context()))
		log.With("k", "v").InfoContext(r.Context(), "two", "asked", serve.RequestID(r.Context()))
		log.WithGroup("g").InfoContext(r.Context(), "three", "asked", serve.RequestID(r.Context()))
	}))

	for range 2 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}

	ids := map[string]int{}
	line := regexp.MustCompile(`asked=(\w+) (?:g\.)?request=(\w+)$`)

	for l := range strings.Lines(out.String()) {
		m := line.FindStringSubmatch(strings.TrimSpace(strings.ReplaceAll(l, "g.asked", "asked")))
		if m == nil || m[1] != m[2] || len(m[1]) < 12 {
			t.Errorf("a line is %q", l)
			continue
		}
		ids[m[1]]++
	}

	if len(ids) != 2 {
		t.Errorf("two requests have the ids %v", ids)
	}

	out.Reset()
	log.InfoContext(t.Context(), "outside")
	if strings.Contains(out.String(), "request=") || serve.RequestID(t.Context()) != "" {
		t.Errorf("outside of a request: %q", out.String())
	}
}
