package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Sentences are all texts of CheckURL. Each goes on after the name of a field, has the
// remedy, and has nothing of the URL in it.
var Sentences = []string{
	"is not a URL: write it as https://host/path",
	"must have a port from 1 to 65535, without leading zeros",
	"must have at most 2048 bytes",
	"must name a host in full, such as hooks.example.com",
	"must name a host that receives webhooks, not an API",
	"must name a host: write it as https://host/path",
	"must name a host; IP addresses are not allowed",
	"must name a public host, not localhost",
	"must name a public host, such as hooks.example.com",
	"must name a valid host: 1 to 63 characters between dots",
	"must name a valid host: letters, digits and hyphens between dots",
	"must not be this agent itself: name the host that receives the webhook",
	"must not contain a fragment: remove # and what follows",
	"must not contain a user name or password: use the authentication field",
	"must not contain spaces, control characters or backslashes: percent-encode them",
	"must not have a colon without a port: write the port, or leave the colon out",
	"must start with https://: plain HTTP goes only to private destinations that the operator has allowed at this port", "must start with https://",
	"must use port 443 or 8443",
}

// private are the networks that the catalogue's addresses lie in, written down a second
// time, apart from the guard. IPv6 outside 2000::/3 is private.
var private = func() (list []netip.Prefix) {
	for _, p := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
		"168.63.129.16/32", "199.36.153.4/30", "199.36.153.8/30", "34.126.0.0/18", "2001::/32", "2001:db8::/32", "2002::/16",
		"3fff::/20", "2600:2d00:2:1000::/56", "2600:2d00:2:2000::/56", "2001:4860:8040::/42",
	} {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}()

func isPrivate(addr netip.Addr) bool {
	return addr.Is6() && !netip.MustParsePrefix("2000::/3").Contains(addr) ||
		slices.ContainsFunc(private, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// hostile reads a name server's addresses from bytes: each is preceded by a byte that says
// whether it has 4 bytes or 16.
func hostile(b []byte) (list []netip.Addr) {
	for len(b) > 0 {
		n := 4 + 12*int(b[0]&1)
		if len(b) <= n {
			return list
		}
		addr, _ := netip.AddrFromSlice(b[1 : 1+n])
		list, b = append(list, addr), b[1+n:]
	}
	return list
}

// FuzzAccepted holds CheckURL, the dialer and the guard together. For every accepted URL
// and all addresses of its name, at each of several requests, no private address is
// connected to unless it is allowed by address and port, and only these are without TLS.
// The connections are not real.
func FuzzAccepted(f *testing.F) {
	v4 := func(ip ...byte) []byte { return append([]byte{0}, ip...) }
	v6 := func(s string) []byte { a := netip.MustParseAddr(s).As16(); return append([]byte{1}, a[:]...) }

	for _, raw := range []string{
		"https://example.com/", "https://example.com:8443/", "https://①②⑦.⓪.⓪.①/", "https://127.1/", "https://[::ffff:7f00:1]:443/",
		"https://a.b@c.d:443/x?y", "https://bücher.example/", "https://EXAMPLE。com./", "https://xn--bcher-kva.example:9000/",
		"http://127.0.0.1:9000/", "http://localhost:9000/", "http://LOCALHOST.:443/", "https://localhost:443/", "http://10.1.2.3:22/",
		"http://[fd00::1]/", "https://inner.internal:9000/", "http://example.com:9000/", "http://receiver:9000/", "https://self.example.com:8443/",
	} {
		f.Add(raw, v4(127, 0, 0, 1))
		f.Add(raw, append(v6("::1"), v4(8, 8, 8, 8)...))
		f.Add(raw, append(v4(10, 0, 0, 1), v6("2606:4700:4700::1111")...))
	}

	for _, d := range denied {
		if addr := netip.MustParseAddr(d.ip); addr.Is4() {
			f.Add("https://example.com/", append([]byte{0}, addr.AsSlice()...))
		} else {
			f.Add("https://example.com/", append([]byte{1}, addr.AsSlice()...))
		}
	}

	list, err := ParseAllow("127.0.0.1:9000,127.0.0.1:443,10.0.0.0/8:*,[fd00:1::/32]:80")
	if err != nil {
		f.Fatal(err)
	}

	own, err := newOwn([]string{"https://self.example.com:8443", "http://10.0.0.1"})
	if err != nil {
		f.Fatal(err)
	}

	allowed := func(at netip.AddrPort) bool {
		addr, port := at.Addr(), at.Port()
		return addr == netip.MustParseAddr("127.0.0.1") && (port == 9000 || port == 443) ||
			netip.MustParsePrefix("10.0.0.0/8").Contains(addr) && at != netip.MustParseAddrPort("10.0.0.1:80") ||
			netip.MustParsePrefix("fd00:1::/32").Contains(addr) && port == 80
	}

	lookedUp := map[bool]*regexp.Regexp{ // by whether private destinations are allowed
		false: regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+\.$`),
		true:  regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.$`), // such as receiver, of Docker Compose
	}
	stop := errors.New("the test ends here")

	f.Fuzz(func(t *testing.T, raw string, answers []byte) {
		ips := hostile(answers)
		if len(ips) == 0 {
			return
		}

		for _, allow := range []allowList{nil, list} {
			g, err := newGuard(allow, own)
			if err != nil {
				t.Fatal(err)
			}

			var scheme string

			control := func(ctx context.Context, network, address string, c syscall.RawConn) error {
				if err := g.control(ctx, network, address, c); err != nil {
					return err
				}

				at := netip.MustParseAddrPort(address)
				at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
				public := scheme == "https" && !isPrivate(at.Addr()) && (at.Port() == 443 || at.Port() == 8443)
				if !public && (allow == nil || !allowed(at)) {
					t.Errorf("%q with %v would connect to %v", raw, ips, at)
				}

				return stop
			}

			var turn atomic.Int32 // the name's first address is another one each time

			names := Hostile(func(_ string, m *dnsmessage.Message) bool {
				q := m.Questions[0]
				if name := q.Name.String(); !lookedUp[allow != nil].MatchString(name) || name == "self.example.com." && raw == "https://self.example.com:8443/" {
					t.Errorf("%q has %q looked up", raw, name)
				}

				for i := range ips {
					Answer(m, q.Name, ips[(i+int(turn.Load()))%len(ips)])
				}

				return true
			})

			d := &dialer{resolve: names.LookupNetIP, connect: (&net.Dialer{ControlContext: control}).DialContext}
			c := newClient(g, nil, d.dial)
			if err := c.CheckURL(raw); err != nil {
				if !slices.Contains(Sentences, err.Error()) {
					t.Errorf("CheckURL(%q) = %q, which is none of its sentences", raw, err)
				}
				continue
			}

			for range 2 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, raw, nil)
				if err != nil {
					t.Fatalf("CheckURL accepted %q, which is no request: %v", raw, err)
				}

				scheme = req.URL.Scheme
				if resp, err := c.Do(req); err == nil {
					resp.Body.Close()
					t.Errorf("Do(%q) = %v, want the test's own error", raw, resp.Status)
				} else if !errors.Is(err, stop) && !errors.Is(err, ErrRefused) {
					t.Errorf("Do(%q) with %v = %v, want it refused or stopped by the test", raw, ips, err.(*Error).Cause())
				}

				turn.Add(1)
			}
		}
	})
}
