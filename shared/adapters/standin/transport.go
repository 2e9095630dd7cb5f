package standin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// A transport serves requests with a handler in this process. The client can read a flushed
// chunk at once. Cancelling the request, or closing the body early, ends the handler's
// context, as with a real server.
type transport struct{ handler http.Handler }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}

	ctx, cancel := context.WithCancel(r.Context())
	pr, pw := io.Pipe()
	w := &writer{header: http.Header{}, pipe: pw, ready: make(chan struct{})}
	served := r.WithContext(ctx)
	if served.Body == nil {
		served.Body = http.NoBody
	}

	go func() {
		defer cancel()
		defer served.Body.Close()
		defer func() { w.end(recover(), r.Context().Err()) }()
		t.handler.ServeHTTP(w, served)
	}()

	// The wait for the header and every read end with the request, even if the handler
	// goes on.
	unhook := context.AfterFunc(r.Context(), func() { pw.CloseWithError(r.Context().Err()) })

	select {
	case <-w.ready:
	case <-r.Context().Done():
		cancel()
		return nil, r.Context().Err()
	}

	if w.failed != nil {
		unhook()
		return nil, w.failed
	}

	return &http.Response{
		Status:        fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.sent,
		Body:          &body{PipeReader: pr, release: func() { unhook(); cancel() }},
		ContentLength: -1,
		Request:       r,
	}, nil
}

type body struct {
	*io.PipeReader
	release func()
}

func (b *body) Close() error {
	b.release()
	return b.PipeReader.Close()
}

// A writer keeps written bytes until the handler flushes or returns. Only the handler's
// goroutine uses it, except that RoundTrip reads status, sent and failed after ready is
// closed.
type writer struct {
	header, sent http.Header
	status       int
	failed       error
	buf          bytes.Buffer
	pipe         *io.PipeWriter
	ready        chan struct{}
	once         sync.Once
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.buf.Write(p)
}

func (w *writer) Flush() {
	w.WriteHeader(http.StatusOK)
	w.once.Do(func() { close(w.ready) })
	// An error needs no answer: a reader that has gone has also ended the handler's context.
	w.buf.WriteTo(w.pipe)
	w.buf.Reset()
}

// end finishes the response. After a panic, or when the request has ended, the connection
// breaks.
func (w *writer) end(panicked any, err error) {
	switch {
	case panicked == http.ErrAbortHandler:
		err = io.ErrUnexpectedEOF
	case panicked != nil:
		err = fmt.Errorf("the handler panicked: %v", panicked)
	case err == nil:
		w.Flush()
		w.pipe.Close()
		return
	}
	w.once.Do(func() {
		w.failed = err
		close(w.ready)
	})
	w.pipe.CloseWithError(err)
}
