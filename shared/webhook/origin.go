package webhook

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// Host is the receiver's host, with its port unless the scheme implies it. Two URLs of
// one receiver have the same Host in any spelling. Limits, breakers and logs use it.
func Host(raw string) string {
	o, err := origin(raw)
	if err != nil {
		return ""
	}
	_, host, _ := strings.Cut(o, "://")
	return strings.TrimSuffix(host, ".")
}

// origin is the scheme and host of a URL, with its port unless the scheme implies it, as
// browsers write it. https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin
func origin(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("a webhook's URL must be https://host/path") // url's own error quotes it
	}

	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil {
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return "", errors.New("a webhook's URL must name a valid host")
		}
	}

	port := u.Port()
	switch {
	case port == "", u.Scheme == "https" && port == "443", u.Scheme == "http" && port == "80":
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return u.Scheme + "://" + host, nil
	}

	return u.Scheme + "://" + net.JoinHostPort(host, port), nil
}
