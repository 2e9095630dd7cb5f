package egress

import (
	"bytes"
	"errors"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// These tests are inside the package because they ask the dial-time guard
// about addresses that no test may really connect to.

func network(addr netip.Addr) string {
	if addr.Is4() {
		return "tcp4"
	}
	return "tcp6"
}

func TestP17Decision21GuardRefusesAddresses(t *testing.T) {
	g, err := newGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1",
		"198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
		"199.36.153.8", "199.36.153.4", "34.126.0.1", "::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
		"::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::",
		"2001:0:4136:e378:8000:63bf:3fff:fdd2", "fe80::1", "fe80::1%1", "fec0::1", "fc00::1", "fd00:ec2::254",
		"fd20:ce::254", "ff02::1", "100::1", "2001:db8::1", "3fff::1", "5f00::1", "2600:2d00:2:1000::1",
		"2600:2d00:2:2000::1", "2001:4860:8040::1", "::ffff:0:7f00:1",
	} {
		addr := netip.MustParseAddr(ip)
		for _, port := range publicPorts {
			if err := g.control(network(addr), netip.AddrPortFrom(addr, port).String(), nil); !errors.Is(err, ErrRefused) {
				t.Errorf("control(%s, %d) = %v, want ErrRefused", ip, port, err)
			}
		}
	}
	for _, ip := range []string{"172.32.0.1", "8.8.8.8", "2606:4700:4700::1111"} {
		addr := netip.MustParseAddr(ip)
		for _, port := range []uint16{443, 8443, 0, 22, 25, 80, 8080} {
			want := port == 443 || port == 8443
			if err := g.control(network(addr), netip.AddrPortFrom(addr, port).String(), nil); (err == nil) != want {
				t.Errorf("control(%s, %d) = %v, want allowed %v", ip, port, err, want)
			}
		}
	}
	for _, odd := range [][2]string{{"udp4", "8.8.8.8:443"}, {"unix", "/run/x"}, {"tcp4", "example.com:443"}, {"tcp4", ""}} {
		if err := g.control(odd[0], odd[1], nil); !errors.Is(err, ErrRefused) {
			t.Errorf("control(%s, %s) = %v, want ErrRefused", odd[0], odd[1], err)
		}
	}
}

func TestGuardAllowsByAddressAndPort(t *testing.T) {
	list, err := ParseAllow("127.0.0.1:8888,10.0.0.0/8:*,[fd00::/8]:443")
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGuard(list)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"127.0.0.1:8888":          true,
		"[::ffff:127.0.0.1]:8888": true,
		"127.0.0.1:443":           false,
		"127.0.0.2:8888":          false,
		"10.255.0.1:22":           true,
		"11.0.0.1:22":             false,
		"[fd12::1]:443":           true,
		"[fd12::1]:8443":          false,
		"8.8.8.8:443":             true,
		"8.8.8.8:8888":            false,
	} {
		at := netip.MustParseAddrPort(address)
		if err := g.control(network(at.Addr()), address, nil); (err == nil) != want {
			t.Errorf("control(%s) = %v, want allowed %v", address, err, want)
		}
	}
}

// TestSilentReceiverIsGivenUp runs on a pipe, since virtual time does not pass
// while a real connection is open.
func TestSilentReceiverIsGivenUp(t *testing.T) {
	tests := []struct {
		what, answer string
		want         time.Duration
	}{
		{"no answer", "", headerTimeout},
		{"no end of the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", totalTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list, err := ParseAllow("10.0.0.1:80")
				if err != nil {
					t.Fatal(err)
				}
				c := newClient(Config{Allow: list}, nil)
				transport := c.http.Transport.(*http.Transport)
				transport.DialContext = pipe(tt.answer)
				defer transport.CloseIdleConnections()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://10.0.0.1/", nil)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				resp, err := c.Do(req)
				if err == nil {
					_, err = new(bytes.Buffer).ReadFrom(resp.Body)
					resp.Body.Close()
				}
				if got := time.Since(start); err == nil || got != tt.want {
					t.Errorf("Do took %v and gave %v, want an error after %v", got, err, tt.want)
				}
			})
		})
	}
}

// FuzzAccepted holds CheckURL and the guard together: whatever URL is accepted
// and wherever its name leads, no private address is connected to.
func FuzzAccepted(f *testing.F) {
	f.Add("https://example.com/", []byte{127, 0, 0, 1})
	f.Add("https://example.com:8443/", []byte{169, 254, 169, 254})
	f.Add("https://①②⑦.⓪.⓪.①/", []byte{8, 8, 8, 8})
	f.Add("https://127.1/", []byte{10, 0, 0, 1})
	f.Add("https://[::ffff:7f00:1]:443/", []byte("\x20\x02\x7f\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add("https://a.b@c.d:443/x?y", []byte("\xfd\x20\x00\xce\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x54"))
	g, err := newGuard(nil)
	if err != nil {
		f.Fatal(err)
	}
	stop := errors.New("the test ends here")
	f.Fuzz(func(t *testing.T, raw string, ip []byte) {
		addr, ok := netip.AddrFromSlice(ip)
		if !ok {
			return
		}
		control := func(network, address string, c syscall.RawConn) error {
			if err := g.control(network, address, c); err != nil {
				return err
			}
			at := netip.MustParseAddrPort(address)
			to := at.Addr().Unmap()
			if !to.IsGlobalUnicast() || to.IsPrivate() || to.IsLoopback() || at.Port() != 443 && at.Port() != 8443 {
				t.Errorf("%q with %v would connect to %v", raw, addr, at)
			}
			return stop
		}
		c := newClient(Config{Resolver: Answering(func(string) []netip.Addr { return []netip.Addr{addr} })}, control)
		defer c.http.CloseIdleConnections()
		if c.CheckURL(raw) != nil {
			return
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, raw, nil)
		if err != nil {
			t.Fatalf("CheckURL accepted %q, which is no request: %v", raw, err)
		}
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("Do(%q) = %v, want the test's own error", raw, resp.Status)
		}
	})
}
