// Package loopback tells the hosts that are this machine from all others. It resolves no
// names, and knows nothing of who may call which host.
package loopback

import (
	"net"
	"net/netip"
	"strings"
)

// Is reports whether host, with or without a port, is localhost or an address of the
// loopback interface: localhost, 127.0.0.1:8080, [::1].
func Is(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}
