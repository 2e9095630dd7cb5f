package wire

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/auth"
	"errand/shared/memory"
	"errand/shared/serve"
)

// Options of a binding. The zero value has usable defaults.
type Options struct {
	MaxBody      int64         // bytes of a request; 0: 1 MiB
	KeepAlive    time.Duration // between comments on a quiet stream; 0: 15 s, as proxies drop idle connections after 30 or 60
	WriteTimeout time.Duration // for one write, so that a client that stops reading is cut; 0: 30 s
	Log          *slog.Logger  // nil: no log

	Memory *Memory // of all requests of the process; nil: that of NewMemory, for this binding alone

	Extensions []a2a.AgentExtension // that the agent card declares

	// Identify names the caller. It runs before the body is read, and its context goes to
	// the handler. Its errors are best of type [auth.Refusal]. A caller in the context needs
	// the right of each operation. Nil: callers are not identified.
	Identify func(*http.Request) (context.Context, error)

	// RequestID names a request in the log and to a client that meets an internal
	// error. Nil, or an empty name: a random one.
	RequestID func(context.Context) string
}

func (o Options) withDefaults() Options {
	if o.MaxBody <= 0 {
		o.MaxBody = 1 << 20
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 15 * time.Second
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.Memory == nil {
		o.Memory = NewMemory()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	mediaJSON = "application/json"
	mediaA2A  = "application/a2a+json"
	mediaSSE  = "text/event-stream"
)

// checkBody refuses a body that is not UTF-8 JSON. Web pages can send a form or
// text/plain to any site without asking, so the type is required.
func checkBody(r *http.Request) error {
	types := r.Header["Content-Type"]
	if len(types) != 1 || types[0] != mediaJSON && !isJSON(types[0]) {
		return &refusal{is: a2a.ErrUnsupportedContentType, status: http.StatusUnsupportedMediaType, message: "Content-Type must be " + mediaJSON + " or " + mediaA2A + ", in UTF-8"}
	}
	return nil
}

func isJSON(contentType string) bool {
	t, params, err := mime.ParseMediaType(contentType)
	if err != nil || t != mediaJSON && t != mediaA2A {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// readBody reads to the end, so that net/http notices later that the client has gone. The
// server (shared/serve) bounds the time in which the body arrives. readBody charges the
// request for the body, and for its JSON values unless there are too many of them (dense):
// then nothing may be decoded.
func readBody(w http.ResponseWriter, r *http.Request, o *Options, c *memory.Charge) (body []byte, dense bool, err error) {
	err = &http.MaxBytesError{Limit: o.MaxBody}
	if r.ContentLength <= o.MaxBody { // a body that is announced as too large is not read
		if body, err = readCharged(w, r, o, c); err == nil {
			n := memory.Values(body)
			if n > maxValues {
				return body, true, nil
			}
			return body, false, take(c, int64(n)*memory.ValueCost)
		}
	}

	if _, ok := errors.AsType[*unavailable](err); ok {
		return nil, false, err
	}
	if _, ok := errors.AsType[*auth.Refusal](err); ok {
		return nil, false, err
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, false, &refusal{is: a2a.ErrInvalidRequest, status: http.StatusRequestEntityTooLarge, message: "the body is larger than " + strconv.FormatInt(o.MaxBody, 10) + " bytes; send the URL of a large file instead of its bytes, or less"}
	}
	if errors.Is(err, serve.ErrEncoding) {
		return nil, false, &refusal{is: a2a.ErrUnsupportedContentType, status: http.StatusUnsupportedMediaType, message: err.Error()}
	}
	if errors.Is(err, serve.ErrNotGzip) {
		return nil, false, &refusal{is: a2a.ErrInvalidRequest, status: http.StatusBadRequest, message: err.Error()}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, false, &refusal{is: a2a.ErrInvalidRequest, status: http.StatusRequestTimeout, message: "the body did not arrive in time"}
	}
	return nil, false, &refusal{is: a2a.ErrInvalidRequest, status: http.StatusBadRequest, message: "the body ended too early"}
}

// readCharged takes the announced size of the body, or the largest one, before the first
// byte, and gives back what the body did not need. A compressed body is charged for what it
// holds.
func readCharged(w http.ResponseWriter, r *http.Request, o *Options, c *memory.Charge) ([]byte, error) {
	from, err := serve.Unpacked(w, r, o.MaxBody)
	if err != nil {
		return nil, err
	}
	size := r.ContentLength
	if size < 0 || serve.Packed(r) {
		size = o.MaxBody
	}
	if err := take(c, size); err != nil {
		return nil, err
	}

	body := bytes.NewBuffer(make([]byte, 0, max(r.ContentLength, 0)+bytes.MinRead))
	if _, err := body.ReadFrom(from); err != nil {
		return nil, err
	}

	c.Give(size - int64(body.Len()))
	return body.Bytes(), nil
}

// answerType is the media type of a JSON answer: of the plain one and A2A's, the one that the
// client likes better, or names first. It is the plain one if the client names neither.
func answerType(r *http.Request) string {
	best, most := mediaJSON, 0.0
	for _, line := range r.Header["Accept"] {
		for one := range strings.SplitSeq(line, ",") {
			kind, params, err := mime.ParseMediaType(one)
			if err != nil || kind != mediaJSON && kind != mediaA2A {
				continue
			}

			weight := 1.0
			if q, ok := params["q"]; ok {
				weight, _ = strconv.ParseFloat(q, 64) // what is no number has no weight
			}
			if weight > most {
				best, most = kind, weight
			}
		}
	}
	return best
}

// report logs the parts of err that the operator needs, and returns those that the client
// may see.
func (o *Options) report(ctx context.Context, operation string, err error) problem {
	if ctx.Err() != nil { // the client has gone, or the server is stopping
		return describe(Unavailable(time.Second, err))
	}
	p := describe(err)
	switch {
	case p.status == http.StatusServiceUnavailable:
		o.Log.WarnContext(ctx, "temporarily unavailable", "operation", operation, "err", err)
	case p.status >= http.StatusInternalServerError:
		id := o.requestID(ctx)
		o.Log.ErrorContext(ctx, "internal error", "operation", operation, "request", id, "err", err)
		if p.unknown {
			p.hide(id)
		}
	}
	return p
}

func (o *Options) requestID(ctx context.Context) string {
	if o.RequestID != nil {
		if id := o.RequestID(ctx); id != "" {
			return id
		}
	}
	return rand.Text()
}

// clip shortens a text of the client's for an error.
func clip(s string, most int) string {
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}
