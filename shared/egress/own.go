package egress

import (
	"fmt"
	"net/netip"
	"net/url"

	"errand/shared/loopback"
)

// An endpoint is the end of a URL: an address, or a name as it is looked up, and a port.
type endpoint struct {
	host string
	port uint16
}

// An ownList has the endpoints of this installation. A request to one of them would come
// back to us from inside. Other names that lead to the same address fail at the
// certificate, which is not theirs.
type ownList map[endpoint]bool

// newOwn reads the URLs of Config.Own. A host or port that CheckURL refuses in
// any URL needs no entry, and a name in a private network may be one.
func newOwn(urls []string) (ownList, error) {
	own := ownList{}
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("%q names no host: write it as https://host", raw)
		}
		port, err := portOf(u)
		if err != nil {
			continue
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			own.add(addr.Unmap().String(), port)
		} else if host, err := hostOf(u); err == nil {
			own.add(host, port)
		}
	}
	return own, nil
}

// add adds an endpoint. All spellings of a loopback address stand for each other.
func (l ownList) add(host string, port uint16) {
	l[endpoint{host, port}] = true
	if loopback.Is(host) {
		l[endpoint{"localhost", port}] = true
		for _, addr := range localhost {
			l[endpoint{addr.String(), port}] = true
		}
	}
}

func (l ownList) contains(at netip.AddrPort) bool {
	return l[endpoint{at.Addr().Unmap().String(), at.Port()}]
}
