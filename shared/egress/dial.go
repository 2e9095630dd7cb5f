package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

const (
	// maxAddrs is how many addresses of a name are tried. Large sites publish fewer. With
	// more, a name's owner could have us knock at many doors.
	maxAddrs = 8
	// minShare is the least time for one of several addresses while there is time: a second
	// is several times the longest way round the earth.
	minShare = time.Second
)

var localhost = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// A dialer finds a name's addresses and connects to one of them. Unlike net.Dialer it
// limits the look-up, so that a slow name server leaves time for the connection.
type dialer struct {
	// resolve is the resolver's LookupNetIP.
	resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)
	// connect connects to an address, if the guard lets it.
	connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// dial tries the addresses in turn. Each gets its share of the time that is left. Of
// several errors it returns the first one of an address that was not refused, because it
// says more, and ErrRefused would be untrue.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs = interleave(addrs)
	addrs = addrs[:min(len(addrs), maxAddrs)]
	var failed error
	for i, addr := range addrs {
		conn, err := d.share(ctx, network, net.JoinHostPort(addr.String(), port), len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		if failed == nil || errors.Is(failed, ErrRefused) {
			failed = err
		}
	}
	return nil, failed
}

// share connects within one of n equal shares of ctx's time.
func (d *dialer) share(ctx context.Context, network, address string, n int) (net.Conn, error) {
	end, _ := ctx.Deadline()
	left := time.Until(end)
	if left <= 0 {
		return nil, context.DeadlineExceeded
	}
	ctx, cancel := context.WithTimeout(ctx, max(left/time.Duration(n), minShare))
	defer cancel()
	return d.connect(ctx, network, address)
}

// lookup finds at least one address of host. The name is complete: the search domains of
// this machine are not tried. A name server has no say about localhost (RFC 6761, section
// 6.3).
func (d *dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	if host == "localhost" {
		return localhost, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	return d.resolve(ctx, "ip", host+".")
}

// interleave alternates between IPv4 and IPv6, beginning with the family that the resolver
// prefers, so that a family without a route costs one share at first.
func interleave(addrs []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, a := range addrs {
		a = a.Unmap()
		if a.Is4() == addrs[0].Unmap().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	var out []netip.Addr
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}
