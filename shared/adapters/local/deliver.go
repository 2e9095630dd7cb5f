package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"
)

// A parcel is the content of a delivery: a job or an event.
type parcel interface {
	// subject is the id of the parcel's task, for the log.
	subject() string
	// owner is the owner whose slots and place the delivery takes; "" is nobody in particular.
	owner() string
	// post returns the request of one try.
	post(lane string, t try) (path string, header http.Header, body []byte)
}

// A try is one attempt at a delivery.
type try struct {
	name     string    // of the delivery, the same for all its tries
	at       time.Time // the earliest time
	failed   int       // failed tries so far
	answered int       // failed tries whose answer was not 5xx
}

// deliver calls the handler and returns the status of its answer: 500 after a panic, and
// 504, with any later answer, after the deadline. A handler keeps its slot until it
// returns. Cloud Tasks would start the next try beside it, which has no use on one machine.
//
// Cloud Tasks also throttles a whole queue after answers of 429 and 503. A lane does not:
// every delivery has its own backoff.
func (l *lane[M]) deliver(it *item[M]) int {
	ctx, cancel := context.WithTimeout(l.ctx, l.limits.Deadline)
	defer cancel()
	var w response
	if !l.guard(it.msg.subject(), func() {
		path, header, body := it.msg.post(l.name, it.try)
		l.handler.ServeHTTP(&w, newRequest(ctx, path, header, body))
	}) {
		return http.StatusInternalServerError
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return http.StatusGatewayTimeout
	}
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// guard calls f, a delivery for task or a refill, and reports whether f returned without a
// panic.
func (l *lane[M]) guard(task string, f func()) (returned bool) {
	defer func() {
		if !returned {
			v := recover()
			l.log.Error("recovered from a panic", "task", task, "err", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}

// newRequest makes a request as a server passes it to its handler.
func newRequest(ctx context.Context, path string, header http.Header, content []byte) *http.Request {
	r := http.Request{
		Method:        http.MethodPost,
		URL:           &url.URL{Path: path},
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		ContentLength: int64(len(content)),
		Host:          "localhost",
		RequestURI:    path,
	}
	b := new(body)
	b.Reset(content)
	r.Body = b
	return r.WithContext(ctx)
}

type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

// headers makes a header from pairs of a canonical key and a value.
func headers(pairs ...string) http.Header {
	h := make(http.Header, len(pairs)/2)
	values := make([]string, len(pairs)/2)
	for i := range values {
		values[i] = pairs[2*i+1]
		h[pairs[2*i]] = values[i : i+1 : i+1]
	}
	return h
}

// A response keeps the status of an answer and drops the rest, as the queue does.
type response struct {
	header http.Header
	status int
}

func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK { // 1xx come before the final status
		w.status = status
	}
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(p), nil
}
