package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/serve"
)

// JSON answers with a value.
func (q *Call) JSON(status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	audit.Of(q.Context()).Status(status)
	serve.Answer{Status: status, Type: "application/json", Body: append(text, '\n'), Timeout: WriteFor}.For(q.Request).Write(q.W)
	return nil
}

// Nothing answers that the operation has succeeded, and nothing else.
func (q *Call) Nothing() error {
	audit.Of(q.Context()).Status(http.StatusNoContent)
	q.W.WriteHeader(http.StatusNoContent)
	return nil
}

// Query reads the parameters of the request. It refuses unknown and repeated ones.
func (q *Call) Query(names ...string) (url.Values, error) {
	all, err := url.ParseQuery(q.URL.RawQuery)
	if err != nil {
		return nil, Invalid("query", "must be NAME=VALUE, with & between them and the rest percent-encoded")
	}
	for name, values := range all {
		switch {
		case !slices.Contains(names, name):
			return nil, Invalid(name, "is no parameter of this")
		case len(values) > 1:
			return nil, Invalid(name, "stands there twice")
		}
	}
	return all, nil
}

// Number reads a parameter that is a number from 1 to most; without one it is otherwise.
func Number(all url.Values, name string, otherwise, most int) (int, error) {
	if !all.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(all.Get(name))
	if err != nil || n < 1 || n > most {
		return 0, Invalid(name, "must be a number from 1 to "+strconv.Itoa(most))
	}
	return n, nil
}

// Read reads the request's body, a JSON object of most bytes, strictly. No body is an empty
// object. description says where its fields are named. The server bounds the time in which the
// body arrives.
func (q *Call) Read(v any, most int64, description string) error {
	body, err := serve.Unpacked(q.W, q.Request, most)
	if err != nil {
		return Unread(err, most)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return Unread(err, most)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}

	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if field, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && field.Field != "" {
			return Invalid(field.Field, "has another type than "+description+" says")
		}
		return Invalid("body", "must be a JSON object with the fields that "+description+" names")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Invalid("body", "must be one JSON object")
	}
	return nil
}

// Unread is the problem that a body could not be read, of which most bytes may be sent.
func Unread(err error, most int64) error {
	if errors.Is(err, serve.ErrEncoding) {
		return &Problem{Status: http.StatusUnsupportedMediaType, Detail: err.Error(), Field: "Content-Encoding"}
	}
	if errors.Is(err, serve.ErrNotGzip) {
		return &Problem{Status: http.StatusBadRequest, Detail: err.Error(), Field: "body"}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &Problem{Status: http.StatusRequestTimeout, Detail: "the body did not arrive in time", Field: "body"}
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Problem{Status: http.StatusRequestEntityTooLarge, Detail: "the body has more than " + strconv.FormatInt(most, 10) + " bytes", Field: "body"}
	}
	return Invalid("body", "ended too early")
}

// Receive has take read the body of the request, which may be large, of most bytes. Instead of
// the time for a whole request, each part of it has a time of its own to arrive. ctx ends when
// the caller is let in no longer. The error is that of take, or tells the client why its body
// could not be read.
func (q *Call) Receive(most int64, take func(ctx context.Context, body io.Reader) error) error {
	ctx, release := q.api.cfg.Access.Hold(q.Context())
	defer release()
	b := &body{body: q.Body, control: http.NewResponseController(q.W)}
	err := take(ctx, b)
	if err == nil {
		return nil
	}
	if gone := auth.Gone(ctx); gone != nil {
		return gone
	}
	if b.err != nil {
		return Unread(b.err, most)
	}
	return err
}

// ReadFor is the time for a part of a large body to arrive, and readLeast the bytes of a part.
// So a client that sends byte by byte does not hold its connection.
const (
	ReadFor   = 30 * time.Second
	readLeast = 64 << 10
)

// A body is a large body on its way. It notes how reading it failed.
type body struct {
	body    io.Reader
	control *http.ResponseController
	left    int // bytes of the part that arrives
	err     error
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.left <= 0 {
		_ = b.control.SetReadDeadline(time.Now().Add(ReadFor)) // writers of tests know no deadlines
		b.left = readLeast
	}
	n, err := b.body.Read(p)
	b.left -= n
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// Send answers with a content that write writes, of size bytes; -1: not known. The answer may
// last: it ends when its caller is let in no longer. One that cannot be written to its end breaks
// the connection off, so that the client does not take a part for the whole. A HEAD gets the
// headers alone.
func (q *Call) Send(mediaType string, size int64, write func(context.Context, io.Writer) error) {
	ctx, release := q.api.cfg.Access.Hold(q.Context())
	defer release()
	h, control := q.W.Header(), http.NewResponseController(q.W)
	h.Set("Content-Type", mediaType)
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}

	_ = control.SetWriteDeadline(time.Now().Add(WriteFor))
	q.W.WriteHeader(http.StatusOK)
	if q.Method == http.MethodHead {
		return
	}
	if err := write(ctx, &stream{q.W, control}); err != nil {
		q.api.cfg.Log.WarnContext(ctx, "an answer broke off", "operation", q.operation, "err", err)
		panic(http.ErrAbortHandler)
	}
}

// Patiently returns a writer of an answer of any length, whose header the caller writes. Each write
// has a time of its own to be taken.
func (q *Call) Patiently() http.ResponseWriter {
	return &patient{q.W, stream{q.W, http.NewResponseController(q.W)}}
}

type patient struct {
	http.ResponseWriter
	stream
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) { return p.stream.Write(b) }

// A stream is an answer, each write of which has a time of its own to be taken.
type stream struct {
	io.Writer
	control *http.ResponseController
}

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(WriteFor))
	return s.Writer.Write(p)
}
