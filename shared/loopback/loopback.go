// Package loopback tells hosts by their addresses: those that are this machine from all
// others, and those of one customer from those of the next. It resolves no names, and knows
// nothing of who may call which host.
package loopback

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Is reports whether host, with or without a port, is localhost or an address of the
// loopback interface: localhost, 127.0.0.1:8080, [::1].
func Is(host string) bool {
	if h, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
			return false // 127.0.0.1:8080;id is more than an address
		}
		host = h
	} else if h, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(h, "]"); !ok {
			return false
		}
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() && ip.Zone() == "" // a zone is any text
}

// Network is the network of one customer that host, an address with or without a port,
// belongs to: an IPv4 address alone, an IPv6 address with all others of its /64. It is the
// zero Prefix if host is not an address.
func Network(host string) netip.Prefix {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}
