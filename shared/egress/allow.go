package egress

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// A Destination is a range of addresses with a port that the operator allows.
type Destination struct {
	Prefix netip.Prefix
	Port   uint16 // 0: any port
}

// ParseAllow reads a comma-separated list of PREFIX:PORT. The prefix is in CIDR form or a
// single address, IPv6 stands in brackets, and the port * means any: 127.0.0.1:8888,
// 10.0.0.0/8:*, [fd00::/8]:443. An empty list allows nothing.
func ParseAllow(list string) ([]Destination, error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	var all []Destination
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		d, err := parseDestination(entry)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", entry, err)
		}
		all = append(all, d)
	}
	return all, nil
}

func parseDestination(entry string) (Destination, error) {
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		return Destination{}, fmt.Errorf("write PREFIX:PORT, such as 10.0.0.0/8:443, 127.0.0.1:* or [fd00::/8]:443")
	}
	var d Destination
	if port != "*" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return Destination{}, fmt.Errorf("the port must be a number from 1 to 65535, or * for any")
		}
		d.Port = uint16(n)
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() == "" {
		d.Prefix = netip.PrefixFrom(addr, addr.BitLen())
	} else if d.Prefix, err = netip.ParsePrefix(host); err != nil {
		return Destination{}, fmt.Errorf("%q is neither an address nor a prefix in CIDR form, such as 10.0.0.0/8; names are not possible", host)
	}
	return d, d.check()
}

// check refuses prefixes that would never match, match other addresses than they seem to,
// or allow destinations that no operator means.
func (d Destination) check() error {
	switch {
	case !d.Prefix.IsValid():
		return fmt.Errorf("the prefix is missing")
	case d.Prefix.Addr().Is4In6():
		return fmt.Errorf("write the IPv4 form, such as 127.0.0.0/8")
	case d.Prefix != d.Prefix.Masked():
		return fmt.Errorf("bits are set behind the prefix: write %s", d.Prefix.Masked())
	case d.Prefix.Bits() < widest(d.Prefix.Addr()):
		return fmt.Errorf("the prefix is wider than any private network, and would allow nearly every address: name the networks that you mean, such as 10.0.0.0/8")
	}
	for _, at := range metadata {
		if d.Prefix.Contains(at) && (d.Port == 0 || d.Port == metadataPort) {
			return fmt.Errorf("it includes the metadata server %s at port %d, which gives this machine's credentials to every caller: name a smaller prefix, or another port", at, metadataPort)
		}
	}
	return nil
}

// widest is the length of the widest prefix of a private network: 10.0.0.0/8 and fc00::/7
// (RFC 1918, RFC 4193).
func widest(addr netip.Addr) int {
	if addr.Is4() {
		return 8
	}
	return 7
}

// metadata are the servers that give a machine in a cloud its credentials, at metadataPort.
var metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), // https://cloud.google.com/compute/docs/metadata/querying-metadata, and of AWS and Azure
	netip.MustParseAddr("fd20:ce::254"),    // ibid., IPv6
	netip.MustParseAddr("fd00:ec2::254"),   // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
	netip.MustParseAddr("169.254.170.2"),   // https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
}

const metadataPort = 80

// An allowList overrides the rules, by address and port together.
type allowList []Destination

func (l allowList) contains(addr netip.Addr, port uint16) bool {
	addr = addr.Unmap()
	for _, d := range l {
		if d.Prefix.Contains(addr) && (d.Port == 0 || d.Port == port) {
			return true
		}
	}
	return false
}

// hasPort reports whether some destination is allowed at port.
func (l allowList) hasPort(port uint16) bool {
	for _, d := range l {
		if d.Port == 0 || d.Port == port {
			return true
		}
	}
	return false
}

// hasLoopback reports whether localhost can be meant at port.
func (l allowList) hasLoopback(port uint16) bool {
	return l.contains(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port) || l.contains(netip.IPv6Loopback(), port)
}
