package serve_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/lab/pki"
	"errand/shared/serve"
)

// secured serves over TLS, and says by which protocol and as whom a client came.
type secured struct {
	t       *testing.T
	server  *pki.Authority
	clients *pki.Authority
	folder  string
	address string
	later   atomic.Int64 // seconds that the server's clock is ahead
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{t: t, server: pki.New(t), clients: pki.New(t), folder: t.TempDir()}
	s.server.Folder(s.folder, s.server.Server(), s.clients)
	log := slog.New(slog.DiscardHandler)
	certs, err := serve.ReadCertificates(s.folder, log)
	if err != nil {
		t.Fatal(err)
	}
	certs.AtTime(func() time.Time { return time.Now().Add(time.Duration(s.later.Load()) * time.Second) })

	l, err := serve.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		as := "nobody"
		if len(r.TLS.VerifiedChains) > 0 {
			as = r.TLS.VerifiedChains[0][0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s %s %s", r.Proto, as, serve.Base(r))
	})

	go func() { ended <- serve.Run(ctx, l, h, serve.Options{Log: log, Certificates: certs}) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask asks with a certificate, or none, over a connection of its own.
func (s *secured) ask(client *tls.Certificate, authority *pki.Authority, http2 bool) (string, error) {
	s.t.Helper()
	cfg := &tls.Config{RootCAs: authority.Pool()}
	if client != nil {
		// Sent whether the server's list of authorities has its own or not.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return client, nil }
	}
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: http2, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get("https://" + s.address + "/")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// A client with no certificate is let in as nobody, one with the right certificate as itself, and
// one with a wrong or an old one is not.
func TestCertificatesOfClients(t *testing.T) {
	s := newSecured(t)
	right, old, wrong := s.clients.Client("", time.Now().Add(time.Hour)), s.clients.Client("", time.Now().Add(-time.Minute)), s.server.Client("", time.Now().Add(time.Hour))
	asServer := s.server.Server()
	for name, row := range map[string]struct {
		cert *tls.Certificate
		want string // empty: refused
	}{"none": {nil, "nobody"}, "right": {&right, "client"}, "expired": {&old, ""}, "of another authority": {&wrong, ""}, "of a server": {&asServer, ""}} {
		for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
			got, err := s.ask(row.cert, s.server, http2)
			want := proto + " " + row.want + " https://" + s.address
			if row.want == "" && err == nil || row.want != "" && got != want {
				t.Errorf("%s, %s: %q, %v", name, proto, got, err)
			}
		}
	}
}

// Other files serve new connections within a minute, and files with a fault change nothing.
func TestCertificatesAreReadAgain(t *testing.T) {
	s := newSecured(t)
	former := s.clients.Client("", time.Now().Add(time.Hour))
	if got, err := s.ask(&former, s.server, true); !strings.Contains(got, "client") {
		t.Fatal(got, err)
	}

	if err := os.WriteFile(filepath.Join(s.folder, "tls.key"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.later.Add(61)
	if got, err := s.ask(&former, s.server, true); !strings.Contains(got, "client") {
		t.Errorf("with a file that is rubbish: %q, %v", got, err)
	}

	next, clients := pki.New(t), pki.New(t)
	next.Folder(s.folder, next.Server(), clients)
	if got, err := s.ask(&former, s.server, true); !strings.Contains(got, "client") {
		t.Errorf("within a minute: %q, %v", got, err)
	}
	s.later.Add(61)
	if _, err := s.ask(nil, s.server, true); err == nil {
		t.Error("the former certificate is still shown")
	}
	if _, err := s.ask(&former, next, true); err == nil {
		t.Error("a certificate of the former authority is still accepted")
	}
	own := clients.Client("", time.Now().Add(time.Hour))
	if got, err := s.ask(&own, next, true); !strings.Contains(got, "client") {
		t.Errorf("with the new files: %q, %v", got, err)
	}
}

// A client whose authority is gone does not come in by a session from before.
func TestSessionsAreNotResumed(t *testing.T) {
	s := newSecured(t)
	client := s.clients.Client("", time.Now().Add(time.Hour))
	cfg := &tls.Config{
		RootCAs: s.server.Pool(), ClientSessionCache: tls.NewLRUClientSessionCache(10),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &client, nil },
	}
	for range 3 {
		c, err := tls.Dial("tcp", s.address, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", s.address); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(c); err != nil || !strings.Contains(string(text), "client") { // with the tickets, if there were any
			t.Fatalf("%q, %v", text, err)
		}
		if c.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
		_ = c.Close()
	}
}

// What is no TLS is closed, and stops nobody.
func TestRubbishInsteadOfTLS(t *testing.T) {
	s := newSecured(t)
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("\x16\x03\x01\xff\xff", 100), "\x00"} {
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(io.LimitReader(c, 1<<16))
		if strings.Contains(string(answer), "nobody") {
			t.Errorf("%q is served", text[:1])
		}
		_ = c.Close()
	}
	if got, err := s.ask(nil, s.server, true); !strings.Contains(got, "nobody") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFoldersWithoutCertificates(t *testing.T) {
	a := pki.New(t)
	for name, change := range map[string]func(folder string) error{
		"tls.crt": func(f string) error { return os.Remove(filepath.Join(f, "tls.crt")) },
		"tls.key": func(f string) error { return os.WriteFile(filepath.Join(f, "tls.key"), a.PEM, 0o600) },
		"ca.crt":  func(f string) error { return os.WriteFile(filepath.Join(f, "ca.crt"), nil, 0o600) },
	} {
		folder := t.TempDir()
		a.Folder(folder, a.Server(), a)
		if err := change(folder); err != nil {
			t.Fatal(err)
		}
		if _, err := serve.ReadCertificates(folder, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
