package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// protocols are HTTP/1 and HTTP/2 on one port. Clients of HTTP/2 begin with its greeting
// (RFC 9113, section 3.3), because programs serve no TLS.
func protocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &p
}

// A connection of HTTP/2 takes in so much of bodies that no handler has read.
const (
	streamWindow     = 64 << 10  // bytes of one request, as RFC 9113 has it (section 6.9.2)
	connectionWindow = 4<<20 - 1 // bytes of all requests, the most that net/http takes
)

// http2 are the limits of one connection of HTTP/2.
func (l Limits) http2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          streams,
		MaxReceiveBufferPerStream:     streamWindow,
		MaxReceiveBufferPerConnection: connectionWindow,
		WriteByteTimeout:              l.Write, // of a connection that takes nothing
	}
}

// connOfHTTP2 is the connection of HTTP/2 that a request came on; nil: it came by HTTP/1. Half a
// greeting names HTTP/2 too, and is answered as HTTP/1.
func connOfHTTP2(r *http.Request) *conn {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok && c.greeting.whole() {
		return c
	}
	return nil
}

// overHTTP2 serves a request of HTTP/2. It counts as a connection, since it costs as much.
// No request holds another one of its connection: net/http resets its stream after an answer
// that was given before the end of the body, or that is not taken in time. A body without a
// meaning is thrown away first, because what no handler reads fills the window that all
// requests share.
func overHTTP2(c *conn, h http.Handler, l Limits, w http.ResponseWriter, r *http.Request) {
	if short := c.of.take(c.from); short != enough {
		c.of.refuseStream(w, short)
		return
	}
	defer c.of.open.release(c.from)

	s := &stream{ResponseWriter: w, control: http.NewResponseController(w), most: l.Write}
	s.rest()
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		if _, err := io.CopyN(io.Discard, r.Body, discardMost); !errors.Is(err, io.EOF) {
			Answer{Status: http.StatusBadRequest, Type: plainText, Body: []byte(r.Method + " has no body here\n"), Timeout: l.Write}.Write(s)
			s.arm(time.Time{})
			return
		}
	}

	h.ServeHTTP(s, r)
	s.arm(time.Time{})
}

type connKey struct{}

// withConn gives the requests of a connection their conn.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// refuseStream tells a request of HTTP/2 that there is no room for it, or resets its stream if
// many others are being told.
func (l *listener) refuseStream(w http.ResponseWriter, short shortage) {
	status, text := l.reason(short)
	select {
	case l.telling <- struct{}{}:
		defer func() { <-l.telling }()
	default:
		panic(http.ErrAbortHandler)
	}
	Answer{Status: status, Type: plainText, Body: []byte(text), RetryAfter: retryAfter, Timeout: l.limits.Discard}.Write(w)
	_ = http.NewResponseController(w).Flush() // an error means that the client has gone
}

// A stream is the answer to a request of HTTP/2. Its deadline is one for writes, as that of
// HTTP/1: net/http would reset the stream of a handler that waits.
type stream struct {
	http.ResponseWriter
	control *http.ResponseController
	most    time.Duration // for a write without a deadline of the handler
	by      time.Time     // the handler's deadline
}

// SetWriteDeadline is called by [http.ResponseController].
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.by = t
	return nil
}

// Unwrap is called by [http.ResponseController].
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	s.arm(s.by)
	defer s.rest()
	return s.ResponseWriter.Write(p)
}

// FlushError is called by [http.ResponseController].
func (s *stream) FlushError() error {
	s.arm(s.by)
	defer s.rest()
	return s.control.Flush()
}

// arm gives what follows until the time by; without one, the longest time of a write.
func (s *stream) arm(by time.Time) {
	if by.IsZero() {
		by = time.Now().Add(s.most)
	}
	_ = s.control.SetWriteDeadline(by) // an error means that the connection is gone
}

// rest lets the handler wait for as long as it likes.
func (s *stream) rest() { _ = s.control.SetWriteDeadline(time.Time{}) }

// preface is the greeting of HTTP/2: https://www.rfc-editor.org/rfc/rfc9113#section-3.4
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// A greeting is how many bytes of the preface a connection has begun with; -1: it has begun
// with something else.
type greeting int

// add notes the next bytes.
func (g *greeting) add(p []byte) {
	if *g < 0 || g.whole() {
		return
	}
	n := min(len(p), len(preface)-int(*g))
	if string(p[:n]) != preface[*g:int(*g)+n] {
		*g = -1
		return
	}
	*g += greeting(n)
}

// whole reports whether the connection is one of HTTP/2.
func (g *greeting) whole() bool { return *g == greeting(len(preface)) }

// faults leaves out what net/http says of the frames of strangers.
type faults struct{ slog.Handler }

// Handle implements slog.Handler.
func (h faults) Handle(ctx context.Context, r slog.Record) error {
	ofFrames := strings.HasPrefix(r.Message, "http2: ") && !strings.HasPrefix(r.Message, "http2: panic")
	if ofFrames || strings.HasPrefix(r.Message, "timeout waiting for") { // SETTINGS, or the answer to a PING
		return nil
	}
	return h.Handler.Handle(ctx, r)
}
