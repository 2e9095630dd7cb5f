package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// maxURL is the longest URL that every browser and proxy carries.
const maxURL = 2048

// CheckURL reports whether a URL has a chance to be reached. It judges the spelling and
// resolves no name. The error is for the person who chose the URL: it has the remedy, and
// never repeats the URL.
func (c *Client) CheckURL(raw string) error {
	_, err := c.check(raw)
	return err
}

// check is CheckURL, and returns the host and port of the URL in the spelling in which they
// were judged.
func (c *Client) check(raw string) (host string, err error) {
	u, err := split(raw)
	if err != nil {
		return "", err
	}

	port, err := portOf(u)
	if err != nil {
		return "", err
	}

	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if !c.allow.contains(addr, port) { // never true of an address with a zone
			return "", errors.New("must name a host; IP addresses are not allowed")
		}
		if c.own.contains(netip.AddrPortFrom(addr, port)) {
			return "", errOwn
		}

		return u.Host, nil
	}

	host, err = hostOf(u)
	if err != nil {
		return "", err
	}
	if err := c.checkHost(u.Scheme, host, port); err != nil {
		return "", err
	}
	if text := u.Port(); text != "" {
		host += ":" + text
	}

	return host, nil
}

var errOwn = errors.New("must not be this agent itself: name the host that receives the webhook")

func (c *Client) checkHost(scheme, host string, port uint16) error {
	if c.own[endpoint{host, port}] {
		return errOwn
	}
	if host == "localhost" {
		if !c.allow.hasLoopback(port) {
			return errors.New("must name a public host, not localhost")
		}
		return nil
	}
	if scheme != "https" && !c.allow.hasPort(port) {
		return errors.New("must start with https://: plain HTTP goes only to private destinations that the operator has allowed at this port")
	}
	if !slices.Contains(publicPorts[:], port) && !c.allow.hasPort(port) {
		return errors.New("must use port 443 or 8443")
	}
	return checkName(host, c.allow.hasPort(port))
}

// split parses raw and refuses parts that a webhook never needs.
func split(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("must have at most %d bytes", maxURL)
	}
	odd := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }
	if strings.ContainsFunc(raw, odd) {
		return nil, errors.New("must not contain spaces, control characters or backslashes: percent-encode them")
	}
	u, err := url.Parse(raw)
	if err != nil { // its text quotes the URL, which may hold a token
		return nil, errors.New("is not a URL: write it as https://host/path")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("must start with https://")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("must name a host: write it as https://host/path")
	case u.User != nil:
		return nil, errors.New("must not contain a user name or password: use the authentication field")
	case strings.Contains(raw, "#"):
		return nil, errors.New("must not contain a fragment: remove # and what follows")
	}
	return u, nil
}

// portOf is the port that will be dialled.
func portOf(u *url.URL) (uint16, error) {
	text := u.Port()
	if text == "" {
		if strings.HasSuffix(u.Host, ":") {
			return 0, errors.New("must not have a colon without a port: write the port, or leave the colon out")
		}
		if u.Scheme == "http" {
			return 80, nil
		}
		return 443, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
		return 0, errors.New("must have a port from 1 to 65535, without leading zeros")
	}
	return uint16(n), nil
}

// hostOf is the host's name as it will be looked up, without a dot at its end. net/http
// converts other scripts by the same profile.
func hostOf(u *url.URL) (string, error) {
	host, err := idna.Lookup.ToASCII(u.Hostname())
	host = strings.TrimSuffix(host, ".")
	if err != nil || host == "" || len(host) > 253 {
		return "", errors.New("must name a valid host: letters, digits and hyphens between dots")
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return "", errors.New("must name a valid host: 1 to 63 characters between dots")
		}
	}
	return host, nil
}

// number is a last label that other resolvers take for part of an address
// (https://url.spec.whatwg.org/#ends-in-a-number-checker). No top-level domain looks like
// it.
var number = regexp.MustCompile(`^([0-9]+|0x[0-9a-f]*)$`)

// inner are domains that lead to private hosts by definition (RFC 6761, RFC 6762, RFC 8375,
// and ICANN's reservation).
var inner = []string{"localhost", "internal", "local", "home.arpa"}

// checkName judges a host's name; private says that private addresses may be reached at its
// port.
func checkName(host string, private bool) error {
	dot := strings.LastIndexByte(host, '.')
	if number.MatchString(host[dot+1:]) {
		return errors.New("must name a host; IP addresses are not allowed")
	}
	if dot < 0 && !private {
		return errors.New("must name a host in full, such as hooks.example.com")
	}
	for _, domain := range inner {
		if strings.HasSuffix(host, "."+domain) && !private {
			return errors.New("must name a public host, such as hooks.example.com")
		}
	}
	// Our own credentials, or a private route to them, do not make these hosts receivers.
	if host == "googleapis.com" || strings.HasSuffix(host, ".googleapis.com") {
		return errors.New("must name a host that receives webhooks, not an API")
	}
	return nil
}
