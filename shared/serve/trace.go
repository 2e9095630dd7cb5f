package serve

import (
	"context"
	"net/http"
	"regexp"
)

// HeaderTrace carries the trace that a request belongs to, in the form of
// https://www.w3.org/TR/trace-context/#traceparent-header. Jobs and events carry it on.
const HeaderTrace = "Traceparent"

type traceKey struct{}

// WithTrace returns a context that belongs to the trace of parent. It ignores texts that
// are not a traceparent of version 00: clients write this header, and its value goes into
// jobs, events and logs.
func WithTrace(ctx context.Context, parent string) context.Context {
	if !traceparent.MatchString(parent) || noTrace.MatchString(parent) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, parent)
}

var (
	traceparent = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	noTrace     = regexp.MustCompile(`^00-(0{32}|[0-9a-f]{32}-0{16})-`) // ids of zeros are invalid
)

// Trace is the traceparent of the trace that ctx belongs to, or empty.
func Trace(ctx context.Context) string {
	parent, _ := ctx.Value(traceKey{}).(string)
	return parent
}

// traced gives a request's context the trace that the request names.
func traced(ctx context.Context, r *http.Request) context.Context {
	if parent := r.Header.Get(HeaderTrace); parent != "" {
		return WithTrace(ctx, parent)
	}
	return ctx
}
