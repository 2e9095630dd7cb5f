package serve

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"errand/shared/loopback"
)

// Listen begins to listen at an address. The error names the remedy.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w; set PORT or ERRAND_LISTEN to a free address", err)
	case err != nil:
		return nil, fmt.Errorf("%w; set ERRAND_LISTEN to an address of this machine, for example 127.0.0.1:8080", err)
	}
	return l, nil
}

// A listener refuses connections beyond the limits. A refused client gets an answer that
// names the limit, before it is asked for its request.
type listener struct {
	net.Listener
	limits  Limits
	proxied bool        // the peer stands for many callers
	tls     *tls.Config // nil: connections are not encrypted
	open    counter
	telling chan struct{} // bounds the refusals that are being told
	log     *slog.Logger
	lines   rate.Sometimes
}

func newListener(l net.Listener, limits Limits, proxied bool, log *slog.Logger) *listener {
	const tellers = 64
	return &listener{
		Listener: l, limits: limits, proxied: proxied, telling: make(chan struct{}, tellers),
		log: log, lines: rate.Sometimes{Interval: time.Minute},
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := l.share(c.RemoteAddr().String())
		if l.tls != nil {
			c = tls.Server(c, l.tls) // the first read shakes hands, within the time of a header
		}
		short := l.take(from)
		if short == enough {
			return &conn{Conn: c, limits: l.limits, release: sync.OnceFunc(func() { l.open.release(from) }), of: l, from: from}, nil
		}
		l.refuse(c, short)
	}
}

// take counts one more connection from a network, or one more request on a connection of
// HTTP/2.
func (l *listener) take(from netip.Prefix) shortage {
	return l.open.take(from, l.limits.Connections, l.limits.Connections/2)
}

// share is the network whose share a connection counts to. Connections from this machine
// and from a proxy count to none: they stand for many callers, or for its user.
func (l *listener) share(peer string) netip.Prefix {
	if l.proxied || loopback.Is(peer) {
		return netip.Prefix{}
	}
	return loopback.Network(peer)
}

// refuse tells the client why it is refused. It does not wait for the client, and tells
// nothing if many others are being told.
func (l *listener) refuse(c net.Conn, short shortage) {
	status, text := l.reason(short)

	select {
	case l.telling <- struct{}{}:
	default:
		_ = c.Close()
		return
	}

	go func() {
		defer func() { <-l.telling }()
		told := &conn{Conn: c, limits: l.limits, release: func() {}}
		told.tell(status, text, fmt.Sprintf("Retry-After: %d\r\n", int(retryAfter.Seconds())))
		_ = told.Close()
	}()
}

// reason is the status and the text of a refusal for want of room.
func (l *listener) reason(short shortage) (status int, text string) {
	const counted = "connections, and requests under way on those of HTTP/2"
	status, text = http.StatusServiceUnavailable, fmt.Sprintf("this agent has %d %s, its most; try again\n", l.limits.Connections, counted)
	if short == shareUsed {
		status, text = http.StatusTooManyRequests, fmt.Sprintf("your address has %d %s, its most; end some, or try again\n", l.limits.Connections/2, counted)
	}
	l.lines.Do(func() { l.log.Warn("connections are refused", "status", status, "limit", l.limits.Connections) })
	return status, text
}

// A conn is an accepted connection.
type conn struct {
	net.Conn
	limits  Limits
	release func() // called once or more

	of   *listener // nil: a refused connection
	from netip.Prefix

	inRequest atomic.Bool  // the header of a request has been read whole, and its answer not written
	lines     atomic.Int64 // of the header that is being read
	greeting  greeting     // written by the reader only, before the first request is whole
}

// state is told by net/http how far a connection is: between two calls of Read, or beside the
// one that waits for a client to leave.
func (c *conn) state(s http.ConnState) {
	c.inRequest.Store(s == http.StateActive)
	c.lines.Store(0)
}

// Read implements net.Conn. It reads a header in small pieces, and not beyond maxLines
// before the last piece: net/http needs about a hundred bytes for a line of five, before
// any handler is asked. The headers of HTTP/2 have no lines, and net/http bounds them.
func (c *conn) Read(p []byte) (int, error) {
	if c.inRequest.Load() || c.greeting.whole() {
		return c.Conn.Read(p)
	}
	if c.lines.Load() > maxLines {
		refused := fmt.Sprintf("the header has more than %d lines\n", maxLines)
		c.tell(http.StatusRequestHeaderFieldsTooLarge, refused, "")
		return 0, io.EOF
	}

	n, err := c.Conn.Read(p[:min(len(p), headerPiece)])
	c.lines.Add(int64(bytes.Count(p[:n], []byte{'\n'})))
	c.greeting.add(p[:n])
	return n, err
}

// tell answers a client that no handler has seen, and waits a moment for its last bytes.
// The headers end with a line break each.
func (c *conn) tell(status int, text, headers string) {
	_ = c.SetDeadline(time.Now().Add(c.limits.Discard)) // an error means that the connection is gone
	_, _ = fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n%s",
		status, http.StatusText(status), plainText, len(text), headers, text)
	_ = c.CloseWrite()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

// CloseWrite sends the end of the answers, and throws away the bytes that the client still
// sends: the system would answer them with a reset, on which clients lose the answer.
// net/http calls it before it closes a connection whose client may still be sending.
func (c *conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(c.limits.Discard)); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, c.Conn, discardMost)
	return err
}
