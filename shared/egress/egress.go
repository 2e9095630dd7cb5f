// Package egress is the one guarded way out to URLs that others chose, such
// as webhooks. A URL is checked twice: its spelling when it is registered, and
// the address it leads to when a connection is made.
//
// Only the second check is a defence, because a name may lead anywhere and may
// change (DNS rebinding). The first one tells a client early what will never
// work. The package knows nothing of webhooks, retries or signatures.
//
// Connections are kept and shared between all who send to one host; those who
// must not share a connection need a Client each.
package egress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// Times and sizes of one request. A webhook call should take 10 to 30 s
// (A2A 1.0, section 13.2).
const (
	connectTimeout = 5 * time.Second // name resolution included
	headerTimeout  = 15 * time.Second
	totalTimeout   = 30 * time.Second // connection to the last byte of the body
	maxHeader      = 64 << 10
	// MaxBody is how much of a response's body can be read; the rest is cut
	// off without an error.
	MaxBody = 64 << 10
)

// A Config says where a Client may go. The zero value is the public internet,
// by HTTPS.
type Config struct {
	// Allow are destinations that are reached although the rules forbid them.
	Allow []Destination
	// Roots are the certificate authorities. Default: the system's.
	Roots *x509.CertPool
	// Resolver finds addresses. Default: the one written in Go, because the C
	// library's takes 127.1 or 0x7f000001 for an address.
	Resolver *net.Resolver
}

// A Client sends requests to URLs that others chose. Safe for concurrent use.
type Client struct {
	allow allowList
	http  http.Client
}

// New makes a Client.
func New(cfg Config) (*Client, error) {
	g, err := newGuard(cfg.Allow)
	if err != nil {
		return nil, err
	}
	return newClient(cfg, g.control), nil
}

// newClient makes a Client whose connections control decides on.
func newClient(cfg Config, control func(network, address string, _ syscall.RawConn) error) *Client {
	resolver := cfg.Resolver
	if resolver == nil {
		resolver = &net.Resolver{PreferGo: true}
	}
	dialer := &net.Dialer{Timeout: connectTimeout, Resolver: resolver, Control: control}
	return &Client{
		allow: cfg.Allow,
		http: http.Client{
			Timeout:       totalTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			// HTTP/2 stays off, as in any Transport with a dialer of its own:
			// nothing here needs it, and it lets hosts share connections.
			Transport: &http.Transport{
				Proxy:                  nil, // a proxy from the environment would dial for us, unguarded
				DialContext:            dialer.DialContext,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots},
				TLSHandshakeTimeout:    connectTimeout,
				ResponseHeaderTimeout:  headerTimeout,
				MaxResponseHeaderBytes: maxHeader,
				DisableCompression:     true, // a small body cannot unpack to a large one
				MaxIdleConns:           100,
				MaxIdleConnsPerHost:    2,
				IdleConnTimeout:        30 * time.Second,
			},
		},
	}
}

// Do sends req once. Redirects are answers like any other, and not followed;
// the caller closes the body, of which MaxBody bytes can be read. Any error is
// an *Error.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	if err := c.CheckURL(req.URL.String()); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &Error{cause: fmt.Errorf("%w: %w", ErrRefused, err)}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // the URL itself may hold a token
		}
		return nil, &Error{cause: err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, MaxBody), resp.Body}
	return resp, nil
}

// ErrRefused is in the chain of an Error when no connection was attempted,
// because the destination is not one the Client may go to.
var ErrRefused = errors.New("destination refused")

// An Error is a request without an answer. Its text is the same for all of
// them and safe for whoever chose the URL, who could otherwise use us to find
// out what listens inside; Cause is for the operator.
type Error struct{ cause error }

// Error implements error.
func (e *Error) Error() string { return "the destination could not be reached" }

// Unwrap lets errors.Is find ErrRefused and the errors of a context.
func (e *Error) Unwrap() error { return e.cause }

// Cause is what happened, for logs only. It names hosts and addresses, but no
// path, query or header.
func (e *Error) Cause() string { return e.cause.Error() }
