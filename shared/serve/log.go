package serve

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
)

type requestKey struct{}

// Identified gives every request an id, which every line logged for it carries, and
// the trace that it names.
func Identified(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(traced(r.Context(), r), requestKey{}, rand.Text()[:12])
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// RequestID is the id of the request that ctx belongs to, or empty.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// NewLog makes the logger of a program: lines of text, with the request's id.
func NewLog(w io.Writer) *slog.Logger {
	return slog.New(withRequest{slog.NewTextHandler(w, nil)})
}

// withRequest adds the request's id to every record logged with its context.
type withRequest struct{ slog.Handler }

func (h withRequest) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("request", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h withRequest) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withRequest{h.Handler.WithAttrs(attrs)}
}

func (h withRequest) WithGroup(name string) slog.Handler {
	return withRequest{h.Handler.WithGroup(name)}
}
