package serve

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
)

type requestKey struct{}

// Identified gives every request an id, which is in every line logged for the request, and
// the trace that the request names.
func Identified(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, identified(r)) })
}

// identified is a copy of r with an id and its trace.
func identified(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(traced(r.Context(), r), requestKey{}, rand.Text()[:12]))
}

// RequestID is the id of the request that ctx belongs to, or empty.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// NewLog makes the logger of a program on this machine: lines of text, with the
// request's id.
func NewLog(w io.Writer) *slog.Logger {
	return slog.New(withRequest{Handler: slog.NewTextHandler(w, nil)})
}

// NewCloudLog makes the logger of a program on Google Cloud: lines of JSON in the field
// names of Cloud Logging, with the request's id and, where project is known, its trace.
// https://cloud.google.com/logging/docs/structured-logging#special-payload-fields
func NewCloudLog(w io.Writer, project string) *slog.Logger {
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: cloudName})
	return slog.New(withRequest{h, project})
}

// cloudName gives slog's own fields the names of Cloud Logging.
func cloudName(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.LevelKey:
		a.Key = "severity"
		if l, ok := a.Value.Any().(slog.Level); ok && l == slog.LevelWarn {
			a.Value = slog.StringValue("WARNING") // slog says WARN
		}
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}

// withRequest adds the request's id to every record logged with its context, and the trace
// if there is a project to look for it in.
type withRequest struct {
	slog.Handler
	project string
}

func (h withRequest) Handle(ctx context.Context, r slog.Record) error {
	id, trace := RequestID(ctx), Trace(ctx)
	if id != "" || trace != "" {
		r = r.Clone()
	}
	if id != "" {
		r.AddAttrs(slog.String("request", id))
	}
	if trace != "" && h.project != "" {
		// A traceparent is VERSION-TRACE-SPAN-FLAGS, of fixed lengths.
		r.AddAttrs(slog.String("logging.googleapis.com/trace", "projects/"+h.project+"/traces/"+trace[3:35]),
			slog.String("logging.googleapis.com/spanId", trace[36:52]))
	}
	return h.Handler.Handle(ctx, r)
}

func (h withRequest) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withRequest{h.Handler.WithAttrs(attrs), h.project}
}

func (h withRequest) WithGroup(name string) slog.Handler {
	return withRequest{h.Handler.WithGroup(name), h.project}
}
