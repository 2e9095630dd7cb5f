// Package egress is the one guarded way out to URLs that others chose, such as webhooks. A
// URL is checked twice: its spelling when it is registered and before each request, and
// every address that it leads to when a connection is made.
//
// Only the check of the address is a defence, because a name may lead anywhere and may
// change (DNS rebinding). The check of the spelling tells a client early that a URL will
// never work. The package knows nothing of webhooks, retries or signatures.
//
// Every request has its own connection. None is shared between two owners of URLs, or
// outlives the address that its name had.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// Times and sizes of one request. A webhook call should take 10 to 30 s
// (A2A 1.0, section 13.2).
const (
	connectTimeout = 5 * time.Second // from the name to a TCP connection
	dnsTimeout     = 2 * time.Second // of that time
	tlsTimeout     = 5 * time.Second
	totalTimeout   = 15 * time.Second // from the name to the last byte of the body
	maxHeader      = 64 << 10
	maxCause       = 512
	// MaxBody is how many bytes of a response's body can be read. The rest is cut off
	// without an error.
	MaxBody = 64 << 10
)

// A Config says where a Client may go. The zero value is the public internet, by HTTPS.
type Config struct {
	// Allow are destinations that are reached although the rules forbid them.
	Allow []Destination
	// Own are URLs of this installation. A Client never connects to their schemes, hosts
	// and ports, even if Allow has them.
	Own []string
	// Roots are the certificate authorities. Default: the system's.
	Roots *x509.CertPool
	// Resolver finds addresses. Default: the one written in Go, because the C library's
	// takes 127.1 or 0x7f000001 for an address.
	Resolver *net.Resolver
}

// A Client sends requests to URLs that others chose. Safe for concurrent use.
type Client struct {
	allow     allowList
	own       ownList
	transport *http.Transport
}

// New makes a Client.
func New(cfg Config) (*Client, error) {
	own, err := newOwn(cfg.Own)
	if err != nil {
		return nil, err
	}
	g, err := newGuard(cfg.Allow, own)
	if err != nil {
		return nil, err
	}
	resolver := cfg.Resolver
	if resolver == nil {
		resolver = &net.Resolver{PreferGo: true}
	}
	d := &dialer{resolve: resolver.LookupNetIP, connect: (&net.Dialer{ControlContext: g.control}).DialContext}
	return newClient(g, cfg.Roots, d.dial), nil
}

// newClient makes a Client that asks g before it dials; dial asks g again.
func newClient(g *guard, roots *x509.CertPool, dial func(ctx context.Context, network, address string) (net.Conn, error)) *Client {
	return &Client{
		allow: g.allow,
		own:   g.own,
		// HTTP/2 stays off, as in any Transport with its own dialer. It is not needed here,
		// and it lets hosts share connections.
		transport: &http.Transport{
			Proxy:                  nil, // a proxy from the environment would dial for us, unguarded
			DialContext:            dial,
			DisableKeepAlives:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    tlsTimeout,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true, // a small body cannot unpack to a large one
		},
	}
}

// Do sends req once, with the host of its URL as Host. Redirects are answers like any
// other, and not followed. The caller closes the body, of which MaxBody bytes can be read.
// Any error is an *Error.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	host, err := c.check(req.URL.String())
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &Error{cause: fmt.Errorf("%w: its URL %w", ErrRefused, err)}
	}

	ctx, cancel := context.WithTimeout(req.Context(), totalTimeout)
	if req.URL.Scheme == "http" {
		ctx = context.WithValue(ctx, plainKey{}, true)
	}
	var answered atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotFirstResponseByte: func() { answered.Store(true) },
	}))

	to := *req.URL
	to.Host = host
	req.URL, req.Host = &to, ""

	// An http.Client would follow redirects, keep cookies and put the URL, which may hold a
	// token, into errors. A Transport does none of that.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		cancel()
		return nil, &Error{cause: err, answered: answered.Load()}
	}

	if resp.StatusCode == http.StatusSwitchingProtocols {
		// The request did not ask to switch protocols, and the body would be the bare
		// connection, which the time limit does not bound.
		resp.Body.Close()
		cancel()
		return nil, &Error{cause: errors.New("the answer changes the protocol, with status 101")}
	}

	resp.Body = &body{io.LimitReader(resp.Body, MaxBody), resp.Body, cancel}
	return resp, nil
}

// A body is the beginning of a response's body. Closing it ends the request.
type body struct {
	io.Reader
	rest   io.Closer
	cancel context.CancelFunc
}

func (b *body) Close() error {
	defer b.cancel()
	return b.rest.Close()
}

// ErrRefused is in the chain of an Error if no connection was attempted, because the Client
// may not go to the destination.
var ErrRefused = errors.New("destination refused")

// An Error is a request without an answer. Its text is the same for all of them and safe
// for the person who chose the URL, who could otherwise use us to scan an inner network.
// Cause is for the operator.
type Error struct {
	cause    error
	answered bool // at least one byte came back
}

// Error implements error.
func (e *Error) Error() string { return "the destination could not be reached" }

// Unwrap lets errors.Is find ErrRefused and the errors of a context.
func (e *Error) Unwrap() error { return e.cause }

// Cause is the cause of the error, for logs only. It names hosts and addresses, but no
// path, query or header of the request: net/http quotes an answer that it cannot read, and
// a receiver can send the request back.
func (e *Error) Cause() string {
	if e.answered {
		return "the answer is not HTTP, too long, or cut off"
	}
	text := e.cause.Error()
	return text[:min(len(text), maxCause)] // a certificate can have many names
}
