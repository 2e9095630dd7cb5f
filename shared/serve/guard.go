package serve

import (
	"io"
	"net/http"
	"time"
)

// guarded is the first handler of every request. The server has set both deadlines, and
// guarded sees to it that no request outlives its answer:
//
//   - An answer that is given before the end of the body is the last one of its connection.
//     Without the header that says so, net/http would wait for the body before it sends the
//     answer. The rest of the body is thrown away for a moment, by net/http and then by
//     [conn.CloseWrite], and then the connection is closed.
//   - An answer that a handler gave late has as much time to be taken as any other.
//   - A chunked request is the last one of its connection too. If it also had a
//     Content-Length, its connection must be closed (RFC 9112, section 6.1), and net/http
//     does not tell whether it had one.
//
// Requests of HTTP/2 share their connection with others: see [overHTTP2].
func guarded(h http.Handler, l Limits) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = identified(r)
		if c := connOfHTTP2(r); c != nil {
			overHTTP2(c, h, l, w, r)
			return
		}

		var unread *body
		if r.Body != nil && r.Body != http.NoBody {
			unread = &body{ReadCloser: r.Body, header: w.Header(), chunked: r.ContentLength < 0}
			unread.header["Connection"] = closing
			r.Body = unread
		}

		h.ServeHTTP(w, r)

		c := http.NewResponseController(w)
		if unread != nil && !unread.ended {
			_ = c.SetReadDeadline(time.Now().Add(l.Discard)) // an error means that the connection is gone
		}
		_ = c.SetWriteDeadline(time.Now().Add(l.Write))
	})
}

// closing is the value of Connection that closes it. It is never changed.
var closing = []string{"close"}

// A body is the body of a request, and takes the header that closes the connection away at
// its end.
type body struct {
	io.ReadCloser
	header  http.Header // of the answer
	chunked bool
	ended   bool
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && !b.ended {
		b.ended = true
		if !b.chunked {
			delete(b.header, "Connection")
		}
	}
	return n, err
}
