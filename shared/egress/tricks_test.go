package egress_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/egress"

	"golang.org/x/net/dns/dnsmessage"
)

// Rows 78 to 92 of the catalogue. A trap on 127.0.0.1 whose address is allowed stands for a
// public receiver. A trap on ::1 at the same port must not be reached.

// twins starts both.
func twins(t *testing.T) (public, inner *trap) {
	t.Helper()
	for range 10 {
		public = newTrap(t, true, nil)
		_, port, _ := strings.Cut(public.addr(), ":")
		if l, err := net.Listen("tcp6", "[::1]:"+port); err == nil {
			return public, newTrap(t, true, nil, func(s *httptest.Server) {
				s.Listener.Close()
				s.Listener = l
			})
		}
	}
	t.Skip("this machine has no IPv6 on loopback")
	return nil, nil
}

const (
	publicIP = "127.0.0.1"
	innerIP  = "::1"
)

// A zone answers the nth query of a type, from 0, for the name of the trap.
type zone func(n int, network string, m *dnsmessage.Message) bool

// always gives these addresses.
func always(ips ...string) zone {
	return func(_ int, _ string, m *dnsmessage.Message) bool {
		for _, ip := range ips {
			egress.Answer(m, m.Questions[0].Name, netip.MustParseAddr(ip))
		}
		return true
	}
}

// turns gives the nth look-up its zone, with records whose lifetime is zero.
func turns(zones ...zone) zone {
	return func(n int, network string, m *dnsmessage.Message) bool { return zones[n%len(zones)](n, network, m) }
}

// alias has the name lead to target in two steps, which has these addresses.
func alias(target string, ips ...string) zone {
	return func(_ int, _ string, m *dnsmessage.Message) bool {
		q := m.Questions[0]
		chain := []dnsmessage.Name{q.Name, dnsmessage.MustNewName("hop.example.com."), dnsmessage.MustNewName(target)}
		for i, name := range chain[:2] {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeCNAME, Class: q.Class},
				Body:   &dnsmessage.CNAMEResource{CNAME: chain[i+1]},
			})
		}
		for _, ip := range ips {
			egress.Answer(m, chain[2], netip.MustParseAddr(ip))
		}
		return true
	}
}

// fails answers with a code and an address that must not be used.
func fails(code dnsmessage.RCode) zone {
	return func(n int, network string, m *dnsmessage.Message) bool {
		m.RCode = code
		return always(innerIP)(n, network, m)
	}
}

// truncated has the addresses only in its answer over TCP.
func truncated(ips ...string) zone {
	return func(n int, network string, m *dnsmessage.Message) bool {
		if network == "udp" {
			m.Truncated = true
			return true
		}
		return always(ips...)(n, network, m)
	}
}

// Shows decision 21.
func TestRebindingIsRefused(t *testing.T) {
	const (
		reached = iota
		refused
		failed
	)

	many := []string{"10.0.0.1", "fd00::1", "169.254.169.254", innerIP, "192.168.0.1", publicIP}
	for _, tt := range []struct {
		row  string
		zone zone
		want []int // of each of several requests
	}{
		{"control", always(publicIP), []int{reached, reached}},
		{"78 public, then private", turns(always(publicIP), always(innerIP)), []int{reached, refused}},
		{"78 private, then public", turns(always(innerIP), always(publicIP)), []int{refused, reached}},
		{"79 public and private, of two families", always(publicIP, innerIP), []int{reached}},
		{"80 many, one public", always(many...), []int{reached}},
		{"80 many private", always(many[:5]...), []int{refused}},
		{"81 alias of an inner name", alias("metadata.google.internal.", innerIP), []int{refused}},
		{"81 alias of a public address", alias("lb.example.net.", publicIP), []int{reached}},
		{"82 no time to live", turns(always(publicIP), always(innerIP), always(publicIP, innerIP), always("10.0.0.1")), []int{reached, refused, reached, refused}},
		{"83 no such name", fails(dnsmessage.RCodeNameError), []int{failed}},
		{"83 SERVFAIL", fails(dnsmessage.RCodeServerFailure), []int{failed}},
		{"83 REFUSED", fails(dnsmessage.RCodeRefused), []int{failed}},
		{"83 hangs up", func(int, string, *dnsmessage.Message) bool { return false }, []int{failed}},
		{"83 no address", always(), []int{failed}},
		{"83 truncated, then private", truncated(innerIP), []int{refused}},
		{"83 truncated, then public", truncated(publicIP), []int{reached}},
		{"87 moved away", turns(always(publicIP), always(innerIP), always(innerIP)), []int{reached, refused, refused}},
	} {
		t.Run(tt.row, func(t *testing.T) {
			public, inner := twins(t)
			var round atomic.Int32
			c := client(t, public.addr(), leads(public), func(cfg *egress.Config) {
				cfg.Resolver = egress.Hostile(func(network string, m *dnsmessage.Message) bool { return tt.zone(int(round.Load()), network, m) })
			})

			var conns int32
			for i, want := range tt.want {
				round.Store(int32(i))
				resp, err := post(t, c, public.named())
				if (err == nil) != (want == reached) || errors.Is(err, egress.ErrRefused) != (want == refused) {
					t.Errorf("request %d: %v, %v, want %d of reached, refused and failed", i, resp, err, want)
				}
				if want == reached {
					conns++
				}
			}

			if got := public.conns.Load(); got != conns {
				t.Errorf("the public receiver had %d connections, want %d: one for each request", got, conns)
			}
			if got := inner.conns.Load(); got != 0 {
				t.Errorf("the inner one had %d connections, want 0", got)
			}
		})
	}
}

// Rows 84, 85 and 89. All their destinations are allowed, so that it is not the guard that
// stops them.
//
// Shows decision 21.
func TestRedirectsAreNotFollowed(t *testing.T) {
	target := newTrap(t, true, nil)
	elsewhere := strings.Replace(target.named(), "example.com", "other.test", 1)
	type row struct {
		row, header, value string
		status             int
	}

	rows := []row{{"control", "X-Nothing", target.URL, 200}}
	for _, code := range []int{301, 302, 303, 307, 308} {
		rows = append(rows,
			row{fmt.Sprintf("84 %d to an address", code), "Location", target.URL, code},
			row{fmt.Sprintf("84 %d to another host", code), "Location", elsewhere, code},
			row{fmt.Sprintf("84 %d to another port", code), "Location", target.named(), code},
			row{fmt.Sprintf("85 %d without a scheme", code), "Location", "//" + target.addr() + "/", code},
			row{fmt.Sprintf("85 %d to no URL", code), "Location", "https://%zz hunter2", code},
			row{fmt.Sprintf("85 %d to nowhere", code), "Location", "", code},
		)
	}

	rows = append(rows,
		row{"85 Refresh", "Refresh", "0;url=" + target.URL, 200},
		row{"85 Location of another answer", "Location", target.URL, 201},
		row{"89 Alt-Svc", "Alt-Svc", `h2="` + target.addr() + `"; ma=86400, http/1.1="` + target.addr() + `"`, 200},
		row{"88 a change of protocol on the way", "Upgrade", "h2", 426},
	)

	for _, tt := range rows {
		t.Run(tt.row, func(t *testing.T) {
			tr := newTrap(t, true, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(tt.header, tt.value)
				w.WriteHeader(tt.status)
				fmt.Fprintf(w, `<meta http-equiv="refresh" content="0;url=%s">`, target.URL)
			})

			c := client(t, tr.addr()+","+target.addr(), leads(tr, publicIP))
			for range 2 {
				if resp, err := post(t, c, tr.named()); err != nil || resp.StatusCode != tt.status {
					t.Errorf("Do = %v, %v, want %d itself", resp, err, tt.status)
				}
			}

			if got := tr.requests.Load(); got != 2 {
				t.Errorf("the receiver had %d requests, want 2", got)
			}
		})
	}

	if got := target.conns.Load(); got != 0 {
		t.Errorf("what they lead to had %d connections, want 0", got)
	}
}

// TestConnectionsAreNotShared is rows 87 and 88: not between requests, and not, as HTTP/2
// would, between hosts of one certificate.
func TestConnectionsAreNotShared(t *testing.T) {
	var proto atomic.Value
	tr := newTrap(t, true, func(w http.ResponseWriter, r *http.Request) {
		proto.Store(r.Proto)
		if !r.Close {
			t.Error("the request does not say that its connection is for it alone")
		}
	}, func(s *httptest.Server) { s.EnableHTTP2 = true })
	c := client(t, tr.addr(), leads(tr, publicIP))
	for i, url := range []string{tr.named(), tr.named(), strings.Replace(tr.named(), "example.com", "www.example.com", 1)} {
		if resp, err := post(t, c, url); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("Do(%s) = %v, %v, want 200", url, resp, err)
		}
		if got := tr.conns.Load(); got != int32(i+1) || proto.Load() != "HTTP/1.1" {
			t.Errorf("%d connections, %v, want %d, HTTP/1.1", got, proto.Load(), i+1)
		}
	}
}

// The test, row 86, runs itself in another process, because net/http reads these variables
// once, at its first request.
//
// Shows decision 21.
func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
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

// selfSigned makes a certificate for example.com.
func selfSigned(t testing.TB, until time.Time) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, cert
}

// TestWeakOrForeignTLSIsRefused is row 90.
func TestWeakOrForeignTLSIsRefused(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		row, host string
		until     time.Time // of its certificate
		trusted   bool
		version   uint16
		ok        bool
	}{
		{"control", "example.com", now.Add(time.Hour), true, tls.VersionTLS13, true},
		{"control: TLS 1.2", "example.com", now.Add(time.Hour), true, tls.VersionTLS12, true},
		{"90 TLS 1.1", "example.com", now.Add(time.Hour), true, tls.VersionTLS11, false},
		{"90 another name", "other.test", now.Add(time.Hour), true, tls.VersionTLS13, false},
		{"90 signed by itself", "example.com", now.Add(time.Hour), false, tls.VersionTLS13, false},
		{"90 expired", "example.com", now.Add(-time.Hour), true, tls.VersionTLS13, false},
		{"90 not valid yet", "example.com", now.Add(96 * time.Hour), true, tls.VersionTLS13, false},
	} {
		t.Run(tt.row, func(t *testing.T) {
			pair, cert := selfSigned(t, tt.until)
			tr := newTrap(t, true, nil, func(s *httptest.Server) {
				s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tt.version}
			})

			c := client(t, tr.addr(), leads(tr, publicIP), func(cfg *egress.Config) {
				cfg.Roots = x509.NewCertPool()
				if tt.trusted {
					cfg.Roots.AddCert(cert)
				}
			})

			resp, err := post(t, c, strings.Replace(tr.named(), "example.com", tt.host, 1))
			if (err == nil) != tt.ok || errors.Is(err, egress.ErrRefused) {
				t.Errorf("Do = %v, %v, want an answer %v", resp, err, tt.ok)
			}
			if got := tr.requests.Load(); (got > 0) != tt.ok {
				t.Errorf("%d requests, want some only if the receiver is who it says (%v)", got, tt.ok)
			}
		})
	}
}

// TestHostIsTheOneThatWasJudged: the host that was judged is in the handshake and in the
// request, for every spelling, and for every Host that the caller has set.
func TestHostIsTheOneThatWasJudged(t *testing.T) {
	var sni, host atomic.Value
	tr := newTrap(t, true, func(_ http.ResponseWriter, r *http.Request) { host.Store(r.Host) }, func(s *httptest.Server) {
		s.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			sni.Store(h.ServerName)
			return nil, nil
		}}
	})

	_, port, _ := strings.Cut(tr.addr(), ":")
	for _, tt := range []struct{ host, sni, sent string }{
		{"example.com", "example.com", "example.com:" + port},
		{"EXAMPLE.com.", "example.com", "example.com:" + port},
		{"ｅxample。com", "example.com", "example.com:" + port},
		{"bücher.example", "xn--bcher-kva.example", ""}, // the trap's certificate is not for it
	} {
		sni.Store("")
		host.Store("")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+tt.host+":"+port+"/", nil)
		if err != nil {
			t.Fatal(err)
		}

		req.Host = "metadata.google.internal"
		resp, err := client(t, tr.addr(), leads(tr, publicIP)).Do(req)
		if err == nil {
			resp.Body.Close()
		}
		if sni.Load() != tt.sni || host.Load() != tt.sent {
			t.Errorf("%s: SNI %q, Host %q, want %q, %q (%v)", tt.host, sni.Load(), host.Load(), tt.sni, tt.sent, err)
		}
		if req.Host != "metadata.google.internal" || req.URL.Host != tt.host+":"+port {
			t.Errorf("%s: the caller's request was changed: %s, %s", tt.host, req.Host, req.URL.Host)
		}
	}
}

// TestResponsesAreBounded is row 91. The receivers go on until the connection is closed.
func TestResponsesAreBounded(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 8<<20)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}

	chunk := bytes.Repeat([]byte("x"), 32<<10)
	for _, tt := range []struct {
		row     string
		handler http.HandlerFunc
		body    int // bytes that can be read; -1: no answer
	}{
		{"control", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(chunk) }, len(chunk)},
		{"91 header of 10 MB", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 10<<20))
		}, -1},
		{"91 many headers", func(w http.ResponseWriter, r *http.Request) {
			for i := range 10_000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), "x")
			}
		}, -1},
		{"91 flood of 1xx", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}, -1},
		{"91 101", func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}

			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			_, _ = conn.Read(make([]byte, 1))
		}, -1},
		{"91 body without an end", func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, egress.MaxBody},
		{"91 gzip bomb", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				t.Error("asks for compression")
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}, bomb.Len()},
	} {
		t.Run(tt.row, func(t *testing.T) {
			ended := make(chan struct{})
			tr := newTrap(t, false, func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				_, _ = io.Copy(io.Discard, r.Body)
				tt.handler(w, r)
			})

			resp, err := post(t, client(t, tr.addr()), tr.URL)
			<-ended

			if tt.body < 0 {
				if err == nil {
					t.Errorf("Do = %v, want an error", resp.Status)
				}
				return
			}

			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("Do = %v, %v, want 200", resp, err)
			}
			if got, err := io.ReadAll(resp.Body); err != nil || len(got) != tt.body {
				t.Errorf("read %d bytes, %v, want %d", len(got), err, tt.body)
			}
		})
	}
}

// TestErrorsTellNothing is row 92: a client learns nothing about our network from the error
// of a webhook. If no connection is tried, there is no time to compare either.
func TestErrorsTellNothing(t *testing.T) {
	tr := newTrap(t, true, nil)
	closed := newTrap(t, true, nil)
	closedURL, closedAddr, closedElsewhere := closed.named(), closed.addr(), closed.elsewhere()
	closed.Close()
	hangup := newTrap(t, false, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })

	tests := []struct {
		what, allow, url string
		config           func(*egress.Config)
		refused          bool
	}{
		{"refused by its spelling", "", "https://127.0.0.1/hook?token=hunter2", leads(tr), true},
		{"refused by its address", tr.elsewhere(), tr.named(), leads(tr, "127.0.0.1"), true},
		{"refused by its address, nobody listens", closedElsewhere, closedURL, leads(tr, "127.0.0.1"), true},
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

	if got := tr.conns.Load(); got != 0 {
		t.Errorf("the trap had %d connections, want 0", got)
	}
}

// TestCausesQuoteNoAnswer: a receiver knows the request and can send it back, and its
// answer can be long.
func TestCausesQuoteNoAnswer(t *testing.T) {
	for what, answer := range map[string]func(request string) string{
		"the request":          func(request string) string { return request },
		"a header as a status": func(string) string { return "HTTP/1.1 hunter2\r\n\r\n" },
		"a header of no name":  func(string) string { return "HTTP/1.1 200 OK\r\nhunter2\r\n\r\n" },
		"a long line":          func(string) string { return strings.Repeat("hunter2\x01", 7000) + "\r\n\r\n" },
	} {
		tr := newTrap(t, false, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}

			_, _ = io.WriteString(conn, answer(r.Method+" "+r.RequestURI+" HTTP/1.1\r\n\r\n"))
			conn.Close()
		})

		_, err := post(t, client(t, tr.addr(), leads(tr)), tr.URL+"/hook?token=hunter2")
		fault, ok := errors.AsType[*egress.Error](err)
		if !ok {
			t.Errorf("%s: Do = %v, want an *egress.Error", what, err)
			continue
		}

		if cause := fault.Cause(); cause == "" || len(cause) > 100 || strings.Contains(cause, "hunter2") {
			t.Errorf("%s: cause = %.200q, want one without the answer", what, cause)
		}
	}
}

// TestOwnIsNotReachedByAnotherName: no other name leads to an own URL, although the address
// is allowed.
func TestOwnIsNotReachedByAnotherName(t *testing.T) {
	tr := newTrap(t, true, nil)
	c := client(t, tr.addr(), leads(tr, publicIP), func(cfg *egress.Config) { cfg.Own = []string{tr.URL} })
	if resp, err := post(t, c, tr.named()); !errors.Is(err, egress.ErrRefused) || tr.conns.Load() != 0 {
		t.Errorf("Do = %v, %v, and %d connections, want ErrRefused and none", resp, err, tr.conns.Load())
	}
}
