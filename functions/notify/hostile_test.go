package notify_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"errand/shared/adapters/local"
	"errand/shared/egress"
	"errand/shared/lab/conformance"
	"errand/shared/task"
	"errand/shared/webhook"
)

// patience is the time for which a test waits for an event before it fails.
const patience = 2 * time.Minute

// A hostile is a receiver that misbehaves.
type hostile struct {
	name  string // also begins the names of its tasks
	start func(*street) *httptest.Server
	want  task.Try // status and class of every attempt
	dead  bool     // after the first attempt
}

// hostiles are the kinds of misbehaviour, malicious or not.
func hostiles() []hostile {
	return []hostile{
		{"500", serves(answer(500)), task.Try{Status: 500}, false},
		{"429", serves(answer(429, "Retry-After", "90")), task.Try{Status: 429}, false},
		{"410", serves(answer(410)), task.Try{Status: 410}, true},
		{"301", redirects(301), task.Try{Status: 301}, false},
		{"307", redirects(307), task.Try{Status: 307}, false},
		{"hang", serves(hang), task.Try{Error: webhook.ClassTimeout}, false},
		{"header-in-drops", talks(func(s *street, c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nX: ") }), task.Try{Error: webhook.ClassTimeout}, false},
		{"body-in-drops", talks(func(s *street, c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\n\r\n") }), task.Try{Status: 200}, false},
		{"10-GB-header", talks(func(s *street, c net.Conn) { flood(s, c, "HTTP/1.1 200 OK\r\nX: ") }), task.Try{Error: webhook.ClassExchange}, false},
		{"10-GB-body", talks(func(s *street, c net.Conn) { flood(s, c, "HTTP/1.1 200 OK\r\n\r\n") }), task.Try{Status: 200}, false},
		{"gzip-bomb", serves(bomb), task.Try{Status: 200}, false},
		{"reset", talks(func(s *street, c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }), task.Try{Error: webhook.ClassConnection}, false},
		{"closed-without-an-answer", serves(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), task.Try{Error: webhook.ClassExchange}, false},
		{"silence-instead-of-TLS", secretly(talks(wait)), task.Try{Error: webhook.ClassTimeout}, false},
		{"plain-text-instead-of-TLS", secretly(talks(func(s *street, c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })), task.Try{Error: webhook.ClassTLS}, false},
		{"TLS-1-1", overTLS(tls.VersionTLS11, "127.0.0.1"), task.Try{Error: webhook.ClassTLS}, false},
		{"certificate-for-another-name", overTLS(tls.VersionTLS13, "other.test"), task.Try{Error: webhook.ClassTLS}, false},
		{"GOAWAY", talks(goAway), task.Try{Error: webhook.ClassExchange}, false},
	}
}

// Every kind of hostile receiver is tried on real sockets and through the guarded client.
// The record holds the true outcome. No redirect is followed, no response is read beyond its
// limit, a healthy receiver is served beside the others, and no goroutine is left behind.
func TestHostileReceivers(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newStreet(t)
	for _, h := range s.kinds {
		s.knows(s.url[h.name])
		for _, id := range numbered(h.name+"-", 4) { // too few to open a breaker
			s.owing(s.url[h.name], 2, id)
			s.event(id, 0)
		}
	}

	s.owing(s.url[good], 2, "good")
	s.event("good", 0)

	if conformance.Full() {
		measured(t) // while the slow ones take their time
	}

	for _, h := range s.kinds {
		for _, id := range numbered(h.name+"-", 4) {
			s.judged(h, id)
		}
	}

	s.until("good", func(h task.Webhook) bool { return h.Cursor == 2 })
	if n := s.trapped.Load(); n != 0 {
		t.Errorf("%d requests came where a redirect leads", n)
	}
	if n := s.read.most.Load(); n != egress.MaxBody {
		t.Errorf("%d bytes of a body were read, want %d of the longest", n, egress.MaxBody)
	}

	// The buffers of two sockets hold the bytes that a receiver sends before we hang up.
	if n := s.sent.Load(); n > 64<<20 {
		t.Errorf("a receiver could send %d bytes", n)
	}

	s.end()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			text := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before: %s", runtime.NumGoroutine(), before, text[:runtime.Stack(text, true)])
		}
	}
}

// judged waits for the first attempt of a task and checks its record.
func (s *street) judged(kind hostile, id string) {
	s.t.Helper()
	h := s.until(id, func(h task.Webhook) bool { return len(h.Tries) > 0 })
	for _, try := range h.Tries {
		if try.Status != kind.want.Status || try.Error != kind.want.Error {
			s.t.Errorf("%s: status %d, class %q, want %d, %q", id, try.Status, try.Error, kind.want.Status, kind.want.Error)
		}
	}
	switch first, ok := h.Tries[0], kind.want.Status/100 == 2; {
	case ok && h.Cursor == 0, !ok && h.Cursor > 0, kind.dead != (h.State == task.WebhookDead), h.Gone != kind.dead:
		s.t.Errorf("%s: %+v", id, h)
	case kind.name == "429" && (len(h.Tries) > 1 || h.Next.Sub(first.At) < 90*time.Second):
		s.t.Errorf("%s: tried again %v after %v, want after 90 s", id, h.Next.Sub(first.At), h.Tries)
	}
}

// Receivers that hang, fail or refuse connections delay no other receiver. Each of four
// hanging ones has as many tasks as the healthy one, together far more than the slots of the
// queue, and every webhook of the healthy one arrives at the moment of its commit.
func TestHostileReceiversDelayNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lanes = map[string]local.Limits{task.Turns: {}, task.Deliveries: {Slots: 48}}
		w.reopen()
		bad := map[string]func(*http.Request) (*http.Response, error){"fails": answers(503), "down": down}
		for _, name := range numbered("hangs-", 4) {
			bad[name] = hangs
		}

		for name, f := range bad {
			w.client.on("https://"+name+".test/", f)
		}

		committed := map[string]time.Time{}
		for _, id := range numbered("good-", 40) {
			time.Sleep(12 * time.Millisecond)
			for name := range bad {
				w.owing("https://"+name+".test/", 1, name+id)
				w.event(name+id, 0)
			}

			w.owing(urlA, 1, id)
			committed[id+"/1"] = time.Now()
			w.event(id, 0)
		}

		time.Sleep(time.Minute)

		calls := w.client.calls(urlA)
		if len(calls) != len(committed) {
			t.Errorf("%d webhooks arrived at the healthy receiver, want %d", len(calls), len(committed))
		}

		for _, c := range calls {
			if wait := c.at.Sub(committed[c.id]); wait != 0 {
				t.Errorf("%s arrived %v after its commit", c.id, wait)
			}
		}

		for name := range bad {
			if len(w.client.calls("https://"+name+".test/")) == 0 {
				t.Errorf("the receiver that %s was never tried", name)
			}
		}
	})
}

// measured logs the delay of a healthy receiver's webhooks after their commits, alone and
// beside as many tasks of hostile receivers.
func measured(t *testing.T) {
	s := newStreet(t)
	defer s.end()
	alone := s.p99("alone-", nil)
	t.Logf("p99 %v alone, %v beside hostile receivers", alone, s.p99("beside-", slowFirst(s.kinds)))
}

// slowFirst repeats the slow receivers so often that they would occupy all slots of the
// queue without the limits.
func slowFirst(kinds []hostile) (all []hostile) {
	for _, h := range kinds {
		all = append(all, h)
		if h.want.Error == webhook.ClassTimeout || h.name == "body-in-drops" {
			all = append(all, h, h, h, h)
		}
	}
	return all
}

const sample = 100 // tasks of a round

// p99 is the delay of the healthy receiver in 99 of 100 cases.
func (s *street) p99(name string, beside []hostile) time.Duration {
	s.t.Helper()
	committed := map[string]time.Time{}
	pace := time.NewTicker(12 * time.Millisecond) // a slow delivery does not delay the next task
	defer pace.Stop()

	for i, id := range numbered(name, sample) {
		<-pace.C
		if len(beside) > 0 {
			s.owing(s.url[beside[i%len(beside)].name], 1, "hostile-"+id)
			s.event("hostile-"+id, 0)
		}

		s.owing(s.url[good], 1, id)
		committed[id+"/1"] = time.Now()
		s.event(id, 0)
	}

	var waits []time.Duration
	for range sample {
		select {
		case r := <-s.heard:
			waits = append(waits, r.at.Sub(committed[r.id]))
		case <-time.After(patience):
			s.t.Fatalf("%d of %d were delivered", len(waits), sample)
		}
	}

	slices.Sort(waits)
	return waits[sample*99/100-1]
}

// hangUp closes all open connections.
func (s *street) hangUp() {
	for _, srv := range s.servers {
		srv.CloseClientConnections()
	}
	for _, l := range s.talkers {
		l.hangUp()
	}
}

// A street is a world with receivers on real sockets: a healthy one, one of each hostile
// kind, and a trap to which redirects lead.
type street struct {
	*world
	kinds   []hostile
	url     map[string]string
	servers []*httptest.Server
	talkers []*talker
	roots   *x509.CertPool
	trap    string
	trapped atomic.Int64 // requests to the trap
	sent    atomic.Int64 // the most bytes that one receiver could send
	heard   chan receipt
	read    meter
	written chan bool // a record was committed
	ended   sync.Once
}

// A receipt is one webhook at the healthy receiver.
type receipt struct {
	id string
	at time.Time
}

// good is the name of the healthy receiver.
const good = "good"

func newStreet(t *testing.T) *street {
	s := &street{world: newWorld(t), kinds: hostiles(), url: map[string]string{}, roots: x509.NewCertPool(),
		heard: make(chan receipt, 1000), written: make(chan bool, 1)}
	packed() // on a busy machine it takes longer than the limit of an attempt
	s.trap = serves(func(http.ResponseWriter, *http.Request) { s.trapped.Add(1) })(s).URL
	s.url[good] = overTLS(tls.VersionTLS13, "127.0.0.1")(s).URL
	for _, h := range s.kinds {
		s.url[h.name] = h.start(s).URL + "/hook"
	}

	var allow []string
	for _, srv := range s.servers {
		allow = append(allow, "127.0.0.1/32:"+port(srv.Listener))
	}

	list, err := egress.ParseAllow(strings.Join(allow, ","))
	if err != nil {
		t.Fatal(err)
	}
	if s.read.Client, err = egress.New(egress.Config{Allow: list, Roots: s.roots}); err != nil {
		t.Fatal(err)
	}

	// Four receivers are slow, and each may have eight slots.
	s.lanes = map[string]local.Limits{task.Turns: {}, task.Deliveries: {Slots: 48}}
	s.reopen(through(&s.read))

	s.counted.written = func() {
		select {
		case s.written <- true:
		default:
		}
	}

	t.Cleanup(s.end)
	return s
}

// end closes the receivers, and then the process.
func (s *street) end() {
	s.ended.Do(func() {
		for _, srv := range s.servers {
			srv.Listener.Close() // or another attempt would follow one that was cut off
		}
		s.hangUp()
		for _, srv := range s.servers {
			srv.Close()
		}
		s.Close()
	})
}

// until waits for a commit that brings a task's webhook into the wanted state.
func (s *street) until(id string, want func(task.Webhook) bool) task.Webhook {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		h := s.hook(id, "h")
		if want(h) {
			return h
		}
		select {
		case <-s.written:
		case <-timeout:
			s.t.Fatalf("%s: %+v", id, h)
		}
	}
}

// A meter is the guarded client. It counts the bytes of the longest body that was read.
type meter struct {
	*egress.Client
	most atomic.Int64
}

func (m *meter) Do(req *http.Request) (*http.Response, error) {
	resp, err := m.Client.Do(req)
	if err == nil {
		resp.Body = &metered{resp.Body, m, 0}
	}
	return resp, err
}

type metered struct {
	io.ReadCloser
	of   *meter
	read int64
}

func (b *metered) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	raise(&b.of.most, b.read)
	return n, err
}

func raise(most *atomic.Int64, n int64) {
	for {
		if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
			return
		}
	}
}

func port(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// add starts a server of the street, with TLS if there is a config.
func (s *street) add(f http.HandlerFunc, config *tls.Config) *httptest.Server {
	srv := httptest.NewUnstartedServer(f)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if srv.TLS = config; config != nil {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	s.servers = append(s.servers, srv)
	return srv
}

// serves starts a server that answers with f.
func serves(f http.HandlerFunc) func(*street) *httptest.Server {
	return func(s *street) *httptest.Server { return s.add(f, nil) }
}

func answer(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func redirects(code int) func(*street) *httptest.Server {
	return func(s *street) *httptest.Server { return s.add(answer(code, "Location", s.trap), nil) }
}

// overTLS starts a server like the healthy receiver, under a certificate that the street
// trusts.
func overTLS(newest uint16, name string) func(*street) *httptest.Server {
	return func(s *street) *httptest.Server {
		return s.add(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			s.heard <- receipt{r.Header.Get("Webhook-Id"), time.Now()}
		}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: newest, Certificates: []tls.Certificate{s.certificate(name)}})
	}
}

// secretly gives a server without TLS an https address.
func secretly(start func(*street) *httptest.Server) func(*street) *httptest.Server {
	return func(s *street) *httptest.Server {
		srv := start(s)
		srv.URL = "https" + strings.TrimPrefix(srv.URL, "http")
		return srv
	}
}

// certificate makes a self-signed certificate for a name or address.
func (s *street) certificate(name string) tls.Certificate {
	s.t.Helper()
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	if ip := net.ParseIP(name); ip != nil {
		form.IPAddresses = []net.IP{ip}
	} else {
		form.DNSNames = []string{name}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	s.roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// talks starts a server that passes each connection to f after a first read, and then closes
// it.
func talks(f func(*street, net.Conn)) func(*street) *httptest.Server {
	return func(s *street) *httptest.Server {
		srv := httptest.NewUnstartedServer(nil)
		l := &talker{Listener: srv.Listener, talk: func(c net.Conn) { f(s, c) }}
		srv.Listener, s.talkers = l, append(s.talkers, l)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.Start()
		s.servers = append(s.servers, srv)
		return srv
	}
}

// A talker is a listener that serves each connection itself, in a goroutine.
type talker struct {
	net.Listener
	talk func(net.Conn)
	mu   sync.Mutex
	open []net.Conn
}

func (l *talker) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		l.open = append(l.open, c)
		l.mu.Unlock()
		go func() {
			defer c.Close()
			_, _ = c.Read(make([]byte, 64<<10))
			l.talk(c)
		}()
	}
}

// hangUp closes all open connections.
func (l *talker) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		c.Close()
	}
	l.open = nil
}

// wait sends nothing until the other side hangs up.
func wait(_ *street, c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// drip sends single bytes, with pauses.
func drip(c net.Conn, begin string) {
	_, err := io.WriteString(c, begin)
	for tick := time.NewTicker(200 * time.Millisecond); err == nil; <-tick.C {
		_, err = c.Write([]byte("x"))
	}
}

// flood sends as fast as it can, up to 10 GB.
func flood(s *street, c net.Conn, begin string) {
	_, err := io.WriteString(c, begin)
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for n := 0; err == nil && n < 10<<30; n += len(chunk) {
		raise(&s.sent, int64(n))
		_, err = c.Write(chunk)
	}
}

// hang never answers.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // net/http notices a hang-up only after the body
	<-r.Context().Done()
}

// bomb answers with a small body that unpacks to 100 MB.
func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(packed())
}

var packed = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 100 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	return b.Bytes()
})

// goAway answers with HTTP/2, unasked, and a GOAWAY.
func goAway(s *street, c net.Conn) {
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings()
	_ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil)
	_ = c.(*net.TCPConn).CloseWrite()
	wait(s, c)
}
