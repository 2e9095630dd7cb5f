package egress_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
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
func newTrap(t *testing.T, secure bool, handler http.HandlerFunc, change ...func(*httptest.Server)) *trap {
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

// post sends one request and closes the answer.
func post(t *testing.T, c *egress.Client, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := c.Do(req)
	if err == nil {
		t.Cleanup(func() { resp.Body.Close() })
	}
	return resp, err
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
		{"spelling that CheckURL refuses", plain.addr(), strings.Replace(plain.URL, "127.0.0.1", "example.com", 1), plain, false},
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

func TestDecision21RebindingIsRefused(t *testing.T) {
	tr := newTrap(t, true, nil)
	var moved atomic.Bool
	c := client(t, tr.addr(), leads(tr), func(cfg *egress.Config) {
		cfg.Resolver = egress.Answering(func(string) []netip.Addr {
			if moved.Load() {
				return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("169.254.169.254")}
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		})
	})
	if _, err := post(t, c, tr.named()); err != nil {
		t.Fatal(err)
	}
	moved.Store(true)
	if _, err := post(t, c, tr.named()); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("Do after the name moved = %v, want ErrRefused", err)
	}
}

func TestDecision21RedirectsAreNotFollowed(t *testing.T) {
	target := newTrap(t, false, nil)
	for _, code := range []int{301, 302, 303, 307, 308} {
		tr := newTrap(t, false, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL, code)
		})
		resp, err := post(t, client(t, tr.addr()+","+target.addr()), tr.URL)
		if err != nil || resp.StatusCode != code {
			t.Errorf("Do = %v, %v, want %d itself", resp, err, code)
		}
	}
	if got := target.conns.Load(); got != 0 {
		t.Errorf("the redirect's target had %d connections, want 0", got)
	}
}

// TestDecision21ProxyOfTheEnvironmentIsIgnored runs itself in a process of its own:
// net/http reads these variables once, whoever asks first.
func TestDecision21ProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	const inside = "EGRESS_TEST_PROXY"
	if proxy := os.Getenv(inside); proxy != "" {
		tr := newTrap(t, true, nil)
		if _, err := post(t, client(t, tr.addr()+","+proxy, leads(tr, "127.0.0.1")), tr.named()); err != nil {
			t.Error(err)
		}
		return
	}
	proxy := newTrap(t, false, nil)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"="+proxy.addr(), "NO_PROXY=", "no_proxy=")
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		cmd.Env = append(cmd.Env, name+"="+proxy.URL)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	if got := proxy.conns.Load(); got != 0 {
		t.Errorf("the proxy had %d connections, want 0", got)
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

func TestWeakOrForeignTLSIsRefused(t *testing.T) {
	old := func(s *httptest.Server) {
		s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	}
	for _, tt := range []struct {
		what, url string
		trap      *trap
		trusted   bool
	}{
		{"TLS 1.1", "", newTrap(t, true, nil, old), true},
		{"unknown authority", "", newTrap(t, true, nil), false},
		{"another name", "other.test", newTrap(t, true, nil), true},
	} {
		url := tt.trap.named()
		if tt.url != "" {
			url = strings.Replace(url, "example.com", tt.url, 1)
		}
		c := client(t, tt.trap.addr(), leads(tt.trap, "127.0.0.1"), func(cfg *egress.Config) {
			if !tt.trusted {
				cfg.Roots = nil
			}
		})
		if resp, err := post(t, c, url); err == nil {
			t.Errorf("%s: Do = %v, want an error", tt.what, resp.Status)
		}
		if got := tt.trap.requests.Load(); got != 0 {
			t.Errorf("%s: %d requests, want 0", tt.what, got)
		}
	}
}

func TestResponsesAreBounded(t *testing.T) {
	body := newTrap(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 4*egress.MaxBody))
	})
	resp, err := post(t, client(t, body.addr()), body.URL)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("Do = %v, %v, want 200", resp, err)
	}
	if got, err := io.ReadAll(resp.Body); err != nil || len(got) != egress.MaxBody {
		t.Errorf("read %d bytes, %v, want %d", len(got), err, egress.MaxBody)
	}
	header := newTrap(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 128<<10))
	})
	if resp, err := post(t, client(t, header.addr()), header.URL); err == nil {
		t.Errorf("Do = %v with a header of 128 KiB, want an error", resp.Status)
	}
}

// TestErrorsTellNothing compares what a client could learn about our network
// from the error of a webhook.
func TestErrorsTellNothing(t *testing.T) {
	tr := newTrap(t, true, nil)
	closed := newTrap(t, true, nil)
	closedURL, closedAddr := closed.named(), closed.addr()
	closed.Close()
	hangup := newTrap(t, false, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	tests := []struct {
		what, allow, url string
		config           func(*egress.Config)
		refused          bool
	}{
		{"refused by its spelling", "", "https://127.0.0.1/hook?token=hunter2", leads(tr), true},
		{"refused by its address", tr.elsewhere(), tr.named(), leads(tr, "127.0.0.1"), true},
		{"no such name", tr.addr(), tr.named(), leads(tr), false},
		{"nobody listens", closedAddr, closedURL, leads(tr, "127.0.0.1"), false},
		{"no TLS", hangup.addr(), "https://" + hangup.addr() + "/hook?token=hunter2", leads(tr), false},
		{"hangs up", hangup.addr(), hangup.URL + "/hook?token=hunter2", leads(tr), false},
	}
	for _, tt := range tests {
		_, err := post(t, client(t, tt.allow, tt.config), tt.url)
		fault, ok := errors.AsType[*egress.Error](err)
		if !ok {
			t.Errorf("%s: Do = %v, want an *egress.Error", tt.what, err)
			continue
		}
		if got := err.Error(); got != "the destination could not be reached" {
			t.Errorf("%s: error = %q, want the same for all", tt.what, got)
		}
		if got := errors.Is(err, egress.ErrRefused); got != tt.refused {
			t.Errorf("%s: refused = %v, want %v (%s)", tt.what, got, tt.refused, fault.Cause())
		}
		if cause := fault.Cause(); cause == "" || strings.Contains(cause, "hunter2") {
			t.Errorf("%s: cause = %q, want one without the query", tt.what, cause)
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
