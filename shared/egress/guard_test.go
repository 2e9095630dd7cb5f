package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
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

// denied are addresses that no foreign URL may lead to: the rows of the catalogue, from
// loopback and private networks to the metadata of clouds and the ways to write an IPv4
// address in an IPv6 one.
var denied = []struct {
	row      int
	ip, what string
}{
	{1, "127.0.0.1", ""},
	{2, "127.255.255.254", ""},
	{3, "0.0.0.0", ""},
	{4, "0.1.2.3", ""},
	{5, "10.0.0.1", ""},
	{6, "172.16.0.1", ""},
	{7, "172.31.255.255", ""},
	{8, "192.168.1.1", ""},
	{9, "169.254.169.254", "metadata"},
	{10, "169.254.170.2", "metadata of ECS"},
	{11, "100.64.0.1", "shared by carriers"},
	{12, "100.100.100.200", "metadata of Alibaba"},
	{13, "192.0.0.192", "metadata of Oracle"},
	{14, "192.0.2.1", "documentation"},
	{15, "198.18.0.1", "benchmarks"},
	{16, "198.51.100.1", "documentation"},
	{17, "203.0.113.1", "documentation"},
	{18, "192.88.99.1", "6to4 relays"},
	{19, "224.0.0.1", "multicast"},
	{20, "240.0.0.1", "reserved"},
	{21, "255.255.255.255", "broadcast"},
	{22, "168.63.129.16", "Azure's host"},
	{23, "199.36.153.8", "private.googleapis.com"},
	{24, "199.36.153.4", "restricted.googleapis.com"},
	{25, "34.126.0.1", "Google APIs inside a VPC"},
	{26, "::1", ""},
	{27, "::", ""},
	{28, "::ffff:127.0.0.1", "IPv4 mapped"},
	{29, "::ffff:169.254.169.254", "IPv4 mapped"},
	{30, "::7f00:1", "IPv4 compatible"},
	{31, "64:ff9b::7f00:1", "NAT64"},
	{32, "64:ff9b::a9fe:a9fe", "NAT64"},
	{33, "64:ff9b:1::a9fe:a9fe", "local NAT64"},
	{34, "2002:7f00:1::", "6to4"},
	{35, "2002:a9fe:a9fe::", "6to4"},
	{36, "2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"},
	{37, "fe80::1", "link-local"},
	{38, "fec0::1", "site-local"},
	{39, "fc00::1", "unique local"},
	{40, "fd00:ec2::254", "metadata of AWS"},
	{41, "fd20:ce::254", "metadata of Google"},
	{42, "ff02::1", "multicast"},
	{43, "100::1", "discarded"},
	{44, "2001:db8::1", "documentation"},
	{45, "3fff::1", "documentation"},
	{46, "5f00::1", "segment routing"},
	{47, "2600:2d00:2:2000::1", "private.googleapis.com"},
	{48, "::ffff:0:7f00:1", "IPv4 translated"},
	{0, "fe80::1%1", "with a zone"},
	{0, "2600:2d00:2:1000::1", "restricted.googleapis.com"},
	{0, "2001:4860:8040::1", "Google APIs inside a VPC"},
}

// Shows P17, decision 21.
func TestGuardRefusesAddresses(t *testing.T) {
	g, err := newGuard(nil, nil)
	if err != nil {
		t.Fatal(err)
	}

	for _, d := range denied {
		t.Run(fmt.Sprintf("%d %s", d.row, d.ip), func(t *testing.T) {
			addr := netip.MustParseAddr(d.ip)
			for _, port := range publicPorts {
				if err := g.control(t.Context(), network(addr), netip.AddrPortFrom(addr, port).String(), nil); !errors.Is(err, ErrRefused) {
					t.Errorf("control(%s, %d) = %v, want ErrRefused: %s", d.ip, port, err, d.what)
				}
			}
		})
	}

	for _, ip := range []string{"172.32.0.1", "8.8.8.8", "2606:4700:4700::1111"} {
		t.Run("control "+ip, func(t *testing.T) {
			addr := netip.MustParseAddr(ip)
			for _, port := range []uint16{443, 8443, 0, 22, 25, 80, 8080} {
				want := port == 443 || port == 8443
				if err := g.control(t.Context(), network(addr), netip.AddrPortFrom(addr, port).String(), nil); (err == nil) != want {
					t.Errorf("control(%s, %d) = %v, want allowed %v", ip, port, err, want)
				}
			}
		})
	}

	for _, odd := range [][2]string{{"udp4", "8.8.8.8:443"}, {"unix", "/run/x"}, {"tcp4", "example.com:443"}, {"tcp4", ""}} {
		if err := g.control(t.Context(), odd[0], odd[1], nil); !errors.Is(err, ErrRefused) {
			t.Errorf("control(%s, %s) = %v, want ErrRefused", odd[0], odd[1], err)
		}
	}
}

func TestGuardAllowsByAddressAndPort(t *testing.T) {
	list, err := ParseAllow("127.0.0.1:8888,10.0.0.0/8:*,[fd00::/8]:443")
	if err != nil {
		t.Fatal(err)
	}

	own, err := newOwn([]string{"http://10.0.0.9:8080", "https://[fd00::9]"})
	if err != nil {
		t.Fatal(err)
	}

	g, err := newGuard(list, own)
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
		"10.0.0.9:8080":           false, // own
		"[::ffff:10.0.0.9]:8080":  false, // own
		"10.0.0.9:8081":           true,
		"[fd12::1]:443":           true,
		"[fd00::9]:443":           false, // own
		"[fd12::1]:8443":          false,
		"8.8.8.8:443":             true,
		"8.8.8.8:8888":            false,
	} {
		at := netip.MustParseAddrPort(address)
		if err := g.control(t.Context(), network(at.Addr()), address, nil); (err == nil) != want {
			t.Errorf("control(%s) = %v, want allowed %v", address, err, want)
		}
	}
}

// TestSilentReceiverIsGivenUp runs on a pipe, because virtual time does not pass while a
// real connection is open.
func TestSilentReceiverIsGivenUp(t *testing.T) {
	for what, answer := range map[string]string{
		"no answer":             "",
		"no end of the header":  "HTTP/1.1 200 OK\r\nX-Slow: ",
		"no end of the body":    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
		"an answer before ours": "HTTP/1.1 103 Early Hints\r\n\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list, err := ParseAllow("10.0.0.1:80")
				if err != nil {
					t.Fatal(err)
				}

				c := newClient(&guard{allow: list}, nil, pipe(answer))
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

				if got := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || got != totalTimeout {
					t.Errorf("Do took %v and gave %v, want a timeout after %v", got, err, totalTimeout)
				}
			})
		})
	}
}
