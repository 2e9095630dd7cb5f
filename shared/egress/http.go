package egress

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of a client for code.
const (
	codeTimeout = time.Minute
	codeIdle    = 30 * time.Second // how long a connection waits for the next request

	// MaxCodeBody is how many bytes of a response's body code can read. The rest is an
	// error, of the type *http.MaxBytesError.
	MaxCodeBody = 16 << 20
)

// NewHTTP makes an http.Client for the installation's own code, such as a tool. The same
// guard judges every address that it connects to, redirects included. Code may choose any
// spelling of a URL, so the client differs from a [Client] elsewhere: it follows redirects,
// keeps connections, and gives a request a minute and a body MaxCodeBody bytes.
//
// A request that fails has an [*Error] in its chain, whose text tells nothing, because the
// model may have chosen the URL. The cause goes to log.
func NewHTTP(cfg Config, log *slog.Logger) (*http.Client, error) {
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	t := c.transport
	t.DisableKeepAlives, t.DisableCompression, t.IdleConnTimeout = false, false, codeIdle
	return &http.Client{Transport: &codeTransport{c, log}, Timeout: codeTimeout}, nil
}

// A codeTransport is the transport of a client for code.
type codeTransport struct {
	client *Client
	log    *slog.Logger
}

// RoundTrip implements http.RoundTripper.
func (t *codeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.send(req)
	if err != nil {
		e := &Error{cause: err}
		t.log.WarnContext(req.Context(), "a request of the agent's own code failed", "cause", e.Cause())
		return nil, e
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, MaxCodeBody)
	return resp, nil
}

func (t *codeTransport) send(req *http.Request) (*http.Response, error) {
	if err := t.client.refuseOwn(req); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	return t.client.transport.RoundTrip(req)
}

// refuseOwn refuses names of this installation. The guard refuses its addresses.
func (c *Client) refuseOwn(req *http.Request) error {
	port, err := portOf(req.URL)
	if err != nil {
		return fmt.Errorf("%w: its port %w", ErrRefused, err)
	}
	if net.ParseIP(req.URL.Hostname()) != nil {
		return nil
	}
	host, err := hostOf(req.URL)
	if err != nil {
		return fmt.Errorf("%w: it %w", ErrRefused, err)
	}
	if c.own[endpoint{host, port}] {
		return fmt.Errorf("%w: %w", ErrRefused, errors.New("it is this installation itself"))
	}
	return nil
}
