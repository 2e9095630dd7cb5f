package gemini

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// Limits on the answers of a service. A record holds less than 1 MiB, so no useful answer
// comes near them. genai alone would buffer 256 MiB for a single event and decode it four
// times, and a decoded value takes hundreds of bytes each time.
const (
	maxAnswer = 16 << 20 // bytes of one step, resumed streams included
	maxEvent  = 4 << 20  // bytes of one event of a stream
	maxValues = 10_000   // JSON values of one event
	maxError  = 64 << 10 // bytes of an error's body; the rest is not read
)

var errTooLarge = errors.New("the answer is too large")

// A call holds the facts about one step that the transport sees and genai does not report.
// It belongs to one goroutine.
type call struct {
	status int    // of the last response
	cut    error  // why the last body ended early
	left   int64  // bytes that the service may still send
	secret string // key or token of the last request; no error may contain it
	retry  string // Retry-After of the last response
}

type callKey struct{}

func withCall(ctx context.Context) (context.Context, *call) {
	c := &call{left: maxAnswer}
	return context.WithValue(ctx, callKey{}, c), c
}

// guarded returns a client that sends the credential, obeys the limits and follows no
// redirect: its target would receive the key or the token.
func guarded(c *http.Client, who credential) *http.Client {
	g := http.Client{}
	if c != nil {
		g = *c
	}
	if g.Transport == nil {
		g.Transport = http.DefaultTransport
	}
	g.Transport = guard{g.Transport, who}
	g.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &g
}

type guard struct {
	next http.RoundTripper
	who  credential
}

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	c, ok := r.Context().Value(callKey{}).(*call)
	var value string
	err := errTooLarge
	if ok && c.left > 0 {
		value, err = g.who.value(r.Context())
	}

	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}

	c.cut, c.secret = nil, value
	r = r.Clone(r.Context())
	r.Header.Del(keyHeader) // genai's, which is not a real key
	r.Header.Set(g.who.header, g.who.prefix+value)
	resp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}

	c.status, c.retry = resp.StatusCode, resp.Header.Get("Retry-After")
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		resp.Body = &body{ReadCloser: resp.Body, call: c}
	} else {
		resp.Body = &errorBody{Reader: io.LimitReader(resp.Body, maxError), Closer: resp.Body}
	}

	return resp, nil
}

// A body hides read errors from genai, which would print them on the standard logger. The
// call keeps the error instead.
type body struct {
	io.ReadCloser
	call  *call
	event event
}

// An event measures one event of a stream before genai decodes it. genai splits events at
// empty lines, so a line end alone does not end one.
type event struct {
	bytes, values   int
	quoted, escaped bool
	last            [3]byte // before the next one
}

// add counts a byte. A comma or an opening bracket outside of strings stands before each
// value but the first.
func (e *event) add(b byte) {
	if b == '\n' && (e.last[2] == '\n' || e.last == [3]byte{'\r', '\n', '\r'}) {
		*e = event{}
		return
	}

	e.last = [3]byte{e.last[1], e.last[2], b}
	e.bytes++

	switch {
	case e.escaped:
		e.escaped = false
	case e.quoted:
		e.escaped, e.quoted = b == '\\', b != '"'
	case b == '"':
		e.quoted = true
	case b == ',' || b == '[' || b == '{':
		e.values++
	}
}

func (e *event) tooLarge() bool { return e.bytes > maxEvent || e.values > maxValues }

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.call.left -= int64(n)
	large := b.call.left <= 0
	for _, c := range p[:n] {
		b.event.add(c)
		large = large || b.event.tooLarge()
	}
	if large {
		b.call.left = 0
		b.call.cut = errTooLarge
		return 0, io.EOF
	}
	if err != nil && err != io.EOF {
		b.call.cut = err
		err = io.EOF
	}
	return n, err
}

type errorBody struct {
	io.Reader
	io.Closer
}
