package serve

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// An Answer is a whole answer to a request. Every handler that answers with JSON writes its
// results and errors with it.
type Answer struct {
	Status     int
	Type       string // the media type of Body
	Body       []byte
	RetryAfter time.Duration // rounded up to seconds; 0: no such header
	Challenge  string        // WWW-Authenticate; empty: no such header
	Timeout    time.Duration // for the client to take the answer

	encoding string // of Body; empty: none
	varies   bool   // with what the client reads
}

// Write sends the answer. It returns no error, because an error means that the client has
// gone. net/http takes the deadline away after the answer.
func (a Answer) Write(w http.ResponseWriter) {
	h := w.Header()
	if a.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.RetryAfter.Seconds()))))
	}
	if a.Challenge != "" {
		h.Set("WWW-Authenticate", a.Challenge)
	}
	if a.varies {
		h.Add("Vary", "Accept-Encoding")
	}
	if a.encoding != "" {
		h.Set("Content-Encoding", a.encoding)
	}
	h.Set("Content-Type", a.Type)
	h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.Timeout)) // writers of tests know no deadlines
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}
