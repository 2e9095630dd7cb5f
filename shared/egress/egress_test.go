package egress_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"errand/shared/egress"
)

// A trap is a local server that counts connections and requests.
type trap struct {
	*httptest.Server
	conns, requests atomic.Int32
}

// newTrap starts a trap; a nil handler answers 200.
func newTrap(t testing.TB, secure bool, handler http.HandlerFunc, change ...func(*httptest.Server)) *trap {
	t.Helper()
	tr := &trap{}
	tr.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr.requests.Add(1)
		if handler != nil {
			handler(w, r)
		}
	}))

	tr.Config.ErrorLog = log.New(io.Discard, "", 0)
	tr.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			tr.conns.Add(1)
		}
	}

	for _, f := range change {
		f(tr.Server)
	}

	if secure {
		tr.StartTLS()
	} else {
		tr.Start()
	}

	t.Cleanup(tr.Close)
	return tr
}

// addr is the trap's address, "127.0.0.1:PORT".
func (tr *trap) addr() string { return tr.Listener.Addr().String() }

// named is the trap's URL by a name its certificate is valid for.
func (tr *trap) named() string {
	_, port, _ := strings.Cut(tr.addr(), ":")
	return "https://example.com:" + port + "/hook?token=hunter2"
}

// elsewhere is an allow-list that has the trap's port, but not its address.
func (tr *trap) elsewhere() string {
	_, port, _ := strings.Cut(tr.addr(), ":")
	return "203.0.113.0/24:" + port
}

// leads makes every name lead to these addresses and trusts the trap.
func leads(tr *trap, addrs ...string) func(*egress.Config) {
	return func(cfg *egress.Config) {
		cfg.Roots = x509.NewCertPool()
		if c := tr.Certificate(); c != nil {
			cfg.Roots.AddCert(c)
		}
		cfg.Resolver = egress.Answering(func(string) []netip.Addr {
			list := make([]netip.Addr, len(addrs))
			for i, a := range addrs {
				list[i] = netip.MustParseAddr(a)
			}
			return list
		})
	}
}

// post sends one request and reads the readable part of the answer.
func post(t testing.TB, c *egress.Client, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("the body of the answer: %v", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}

func TestLoopbackIsReachedOnlyWhenAllowed(t *testing.T) {
	plain, secure := newTrap(t, false, nil), newTrap(t, true, nil)

	tests := []struct {
		what, allow, url string
		trap             *trap
		ok               bool
	}{
		{"address, nothing allowed", "", plain.URL, plain, false},
		{"address, another port allowed", "127.0.0.1:1", plain.URL, plain, false},
		{"address, allowed", plain.addr(), plain.URL, plain, true},
		{"localhost, allowed", plain.addr(), strings.Replace(plain.URL, "127.0.0.1", "localhost", 1), plain, true},
		{"name by plain HTTP, another port allowed", "127.0.0.1:1", strings.Replace(plain.URL, "127.0.0.1", "example.com", 1), plain, false},
		{"name by plain HTTP, allowed", plain.addr(), strings.Replace(plain.URL, "127.0.0.1", "example.com", 1), plain, true},
		{"spelling that CheckURL refuses", plain.addr(), strings.Replace(plain.URL, "127.0.0.1", "127.0.0.1.", 1), plain, false},
		{"name that leads to loopback, port allowed elsewhere", secure.elsewhere(), secure.named(), secure, false},
		{"name that leads to loopback, allowed", secure.addr(), secure.named(), secure, true},
	}

	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			before := tt.trap.conns.Load()
			resp, err := post(t, client(t, tt.allow, leads(tt.trap, "127.0.0.1")), tt.url)
			if tt.ok && (err != nil || resp.StatusCode != http.StatusOK) {
				t.Errorf("Do = %v, %v, want 200", resp, err)
			}
			if !tt.ok && !errors.Is(err, egress.ErrRefused) {
				t.Errorf("Do = %v, %v, want ErrRefused", resp, err)
			}
			if got := tt.trap.conns.Load() - before; (got > 0) != tt.ok {
				t.Errorf("%d connections, want some only if allowed (%v)", got, tt.ok)
			}
		})
	}
}

func TestEveryAddressOfANameIsJudged(t *testing.T) {
	tr := newTrap(t, true, nil)
	c := client(t, tr.addr(), leads(tr, "::1", "10.0.0.1", "169.254.169.254", "127.0.0.1"))
	if resp, err := post(t, c, tr.named()); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("Do = %v, %v, want the one allowed address to answer", resp, err)
	}
	c = client(t, tr.elsewhere(), leads(tr, "::1", "10.0.0.1", "169.254.169.254", "127.0.0.1"))
	if _, err := post(t, c, tr.named()); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("Do = %v, want ErrRefused", err)
	}
}

func TestCookiesAreNotKept(t *testing.T) {
	tr := newTrap(t, false, func(w http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 {
			w.WriteHeader(http.StatusTeapot)
		}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
	})
	c := client(t, tr.addr())
	for range 2 {
		if resp, err := post(t, c, tr.URL); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("Do = %v, %v, want 200 without cookies", resp, err)
		}
	}
}

func TestCancelIsSeenInTheError(t *testing.T) {
	tr := newTrap(t, false, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, tr.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, tr.addr()).Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("Do = %v, want context.Canceled", err)
	}
}

func TestRefusedRequestIsClosed(t *testing.T) {
	body := &closer{}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, "").Do(req); !errors.Is(err, egress.ErrRefused) || !body.closed {
		t.Errorf("Do = %v, body closed %v, want ErrRefused and true", err, body.closed)
	}
}

type closer struct{ closed bool }

func (c *closer) Read([]byte) (int, error) { return 0, fmt.Errorf("read: %w", io.EOF) }
func (c *closer) Close() error             { c.closed = true; return nil }
