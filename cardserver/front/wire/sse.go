package wire

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"
)

const dataPrefix = "data: "

// ends are the characters at which Python's splitlines, and so many a reader of events, ends a
// line, and which JSON need not escape. An event ends its lines at CR and LF alone
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
var ends = [...]struct{ raw, escaped []byte }{
	{[]byte("\u2028"), []byte(`\u2028`)}, {[]byte("\u2029"), []byte(`\u2029`)}, {[]byte("\u0085"), []byte(`\u0085`)},
}

// oneLine escapes the ends of lines in JSON, which has them in its strings only.
func oneLine(b []byte) []byte {
	for _, e := range ends {
		if bytes.Contains(b, e.raw) {
			b = bytes.ReplaceAll(b, e.raw, e.escaped)
		}
	}
	return b
}

// events writes one stream of server-sent events. The headers go out with the first event,
// so that an earlier failure can still have a status. From then on a comment follows every
// quiet KeepAlive.
//
// Each write has a deadline, and a client that is too slow for it ends only its own stream:
// nothing else waits for these writes.
type events struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	options *Options
	cancel  context.CancelFunc // ends the handler's sequence
	begun   bool               // used by the handler's goroutine only

	mu     sync.Mutex // guards w after the first event, and the fields below
	quiet  *time.Timer
	closed bool
}

func newEvents(w http.ResponseWriter, o *Options, cancel context.CancelFunc) *events {
	return &events{w: w, rc: http.NewResponseController(w), options: o, cancel: cancel}
}

// send writes one event, which must begin with dataPrefix and hold no newline. It returns
// false when the stream is over.
func (s *events) send(event []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if !s.begun {
		s.begun = true
		h := s.w.Header()
		h.Set("Content-Type", mediaSSE)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no") // nginx would hold the events back
		s.w.WriteHeader(http.StatusOK)
		s.quiet = time.AfterFunc(s.options.KeepAlive, s.keepAlive)
	} else {
		s.quiet.Reset(s.options.KeepAlive)
	}
	return s.write(append(event, '\n', '\n'))
}

func (s *events) keepAlive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.write([]byte(": keep-alive\n\n")) {
		s.quiet.Reset(s.options.KeepAlive)
	}
}

// write writes and flushes. The caller holds the lock.
func (s *events) write(b []byte) bool {
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.options.WriteTimeout))
	_, err := s.w.Write(b)
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		s.end()
	}
	return err == nil
}

// close ends the stream. Nothing touches the response afterwards.
func (s *events) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

func (s *events) end() {
	s.closed = true
	s.cancel()
	if s.quiet != nil {
		s.quiet.Stop()
	}
}
