// Package audit writes the audit log: who changed something, who was refused, and which
// operator looked at the webhooks of others. Ordinary reads have no line, and other requests
// have one. A stream that ends because its caller is let in no longer has another one.
//
// The lines hold names, ids and words of fixed lists: no content, no URL, no credential, and
// no text of a client. The package decides nothing: whoever serves operations notes here what
// becomes of a request.
package audit

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"

	"golang.org/x/time/rate"

	"errand/shared/auth"
)

// name is the value of the field logger in every line, by which a reader of the log finds
// them.
const name = "audit"

// Lines about callers that are not identified, and about 429, are written up to this rate
// in one process. Both come as fast as a client sends. A later line counts those left out.
const (
	floodRate  = 20 // lines a second
	floodBurst = 200
)

// A Log is the audit log of a process. Safe for concurrent use.
type Log struct {
	log   *slog.Logger
	flood *rate.Limiter
	left  atomic.Int64 // lines left out since the last line
}

// New makes the audit log, whose lines go to log.
func New(log *slog.Logger) *Log {
	return &Log{log: log.With("logger", name), flood: rate.NewLimiter(floodRate, floodBurst)}
}

// A Line is the part of one request in the log, of which more becomes known on its way. It
// belongs to the goroutine of the request. All methods work on a nil Line, and do nothing.
type Line struct {
	log       *Log
	ctx       context.Context
	caller    auth.Principal
	operation string
	task      string
	owner     string // whose webhooks an operator looks at, if they are another's
	changes   bool
	status    int // of the answer; 0: 200
	done      bool
}

type lineKey struct{}

// Begin begins the line of a request.
func (l *Log) Begin(ctx context.Context) context.Context {
	return context.WithValue(ctx, lineKey{}, &Line{log: l, ctx: ctx, operation: "?"})
}

// Of is the line of the request to which ctx belongs, or nil.
func Of(ctx context.Context) *Line {
	l, _ := ctx.Value(lineKey{}).(*Line)
	return l
}

// Caller notes the identified caller; a zero Principal is none.
func (l *Line) Caller(p auth.Principal) {
	if l != nil {
		l.caller = p
	}
}

// Operation notes the name of the operation, and whether it changes anything.
func (l *Line) Operation(name string, changes bool) {
	if l != nil {
		l.operation, l.changes = name, changes
	}
}

// Task notes the id of the task. An id that a client names must have the form of one.
func (l *Line) Task(id string) {
	if l != nil {
		l.task = id
	}
}

// Owner notes whose webhooks are looked at. Looks at those of others have a line.
func (l *Line) Owner(name string) {
	if l != nil && name != l.caller.Owner {
		l.owner = name
	}
}

// Status notes the status of an answer that says that the operation has succeeded, if it is not
// 200.
func (l *Line) Status(code int) {
	if l != nil {
		l.status = code
	}
}

// Done notes that the operation has succeeded. The line is written now, because the answer
// may last: a stream is an answer.
func (l *Line) Done() {
	if l == nil || l.done || !l.changes && l.owner == "" {
		return
	}
	l.done = true
	l.write("operation done", cmp.Or(l.status, http.StatusOK), "", nil)
}

// Failed notes that the operation failed or was refused, with the HTTP status and a word for
// it from a fixed list. A failure after Done is none of the operation, but a refusal is: it
// ended the answer.
func (l *Line) Failed(status int, reason string, err error) {
	if l == nil {
		return
	}
	denied := status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusTooManyRequests
	if !denied && (l.done || !l.changes && l.owner == "") {
		return
	}
	l.done = true

	if (l.caller.Owner == "" || status == http.StatusTooManyRequests) && !l.log.flood.Allow() {
		l.log.left.Add(1)
		return
	}
	no, _ := errors.AsType[*auth.Refusal](err)
	l.write("operation refused", status, reason, no)
}

func (l *Line) write(message string, status int, reason string, no *auth.Refusal) {
	attrs := make([]slog.Attr, 0, 10)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}

	add("caller", l.caller.Owner)
	add("via", l.caller.Via)
	add("operation", l.operation)
	add("task", l.task)
	add("owner", l.owner)
	attrs = append(attrs, slog.Int("status", status))

	if no != nil {
		reason = no.Reason
		add("by", no.By)
		add("claimed", no.Claimed)
	}
	add("reason", reason)
	if n := l.log.left.Swap(0); n > 0 {
		attrs = append(attrs, slog.Int64("leftOut", n))
	}

	l.log.log.LogAttrs(l.ctx, slog.LevelInfo, message, attrs...)
}
