package egress

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// publicPorts are the ports of addresses that are not in the allow-list.
var publicPorts = [...]uint16{443, 8443}

// These are addresses that the IANA registries call global but that reach private services
// from inside a cloud.
var (
	denied4 = []string{
		"168.63.129.16/32", // Azure's host: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
		"199.36.153.4/30",  // restricted.googleapis.com: https://cloud.google.com/vpc/docs/configure-private-google-access
		"199.36.153.8/30",  // private.googleapis.com, ibid.
		"34.126.0.0/18",    // Google APIs from inside a VPC, ibid.
	}
	denied6 = []string{
		"2600:2d00:2:1000::/56", // restricted.googleapis.com, ibid.
		"2600:2d00:2:2000::/56", // private.googleapis.com, ibid.
		"2001:4860:8040::/42",   // Google APIs from inside a VPC, ibid.
	}
)

// A guard decides on connections by their addresses.
type guard struct {
	allow  allowList
	own    ownList
	public *ssrf.Guardian
}

func newGuard(allow []Destination, own ownList) (*guard, error) {
	for i, d := range allow {
		if err := d.check(); err != nil {
			return nil, fmt.Errorf("allowed destination %d: %w", i, err)
		}
	}
	return &guard{
		allow: allow,
		own:   own,
		public: ssrf.New(
			ssrf.WithPorts(publicPorts[:]...),
			ssrf.WithDeniedV4Prefixes(prefixes(denied4)...),
			ssrf.WithDeniedV6Prefixes(prefixes(denied6)...),
		),
	}, nil
}

// plainKey is of contexts of requests by plain HTTP.
type plainKey struct{}

// control is the net.Dialer's hook. It sees every address after name resolution, before the
// connection.
func (g *guard) control(ctx context.Context, network, address string, c syscall.RawConn) error {
	if at, err := netip.ParseAddrPort(address); err == nil {
		if g.own.contains(at) {
			return fmt.Errorf("%w: %s is this installation itself", ErrRefused, at)
		}
		if g.allow.contains(at.Addr(), at.Port()) {
			return nil
		}
	}
	if ctx.Value(plainKey{}) != nil {
		return fmt.Errorf("%w: plain HTTP goes only to allowed destinations, and %s is none", ErrRefused, address)
	}
	if err := g.public.Safe(network, address, c); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

func prefixes(list []string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}
