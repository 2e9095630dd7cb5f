package wire

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/dialect"
	"errand/shared/memory"
	"errand/shared/serve"
)

// A call is one request on its way through, of any binding and version.
type call struct {
	handler   a2asrv.RequestHandler
	options   *Options
	w         http.ResponseWriter
	r         *http.Request
	form      form
	dialect   dialect.Dialect
	operation string // for the log
	streaming bool   // the answer is a stream
	quiet     bool   // nobody waits for an answer
	events    *events
	cc        *a2asrv.CallContext
	names     map[string]string // the fields that the client calls otherwise than 1.0 does
	charge    *memory.Charge
}

// A form is the way in which a binding writes its answers.
type form interface {
	// result appends the answer v, written in the dialect.
	result(b []byte, d dialect.Dialect, v any) ([]byte, error)
	// failure appends the answer to an error. It cannot fail: details that have no JSON are
	// left out.
	failure(b []byte, p problem) []byte
	// status is the HTTP status of a failure before the first byte of an answer.
	status(p problem) int
	// streams reports whether a stream that fails before its first event is a stream of that
	// failure alone.
	streams(p problem) bool
	// failed is the type of the event for a failure in a stream that has begun; empty: the
	// usual one.
	failed() string
}

// The params of a request are its fields, from the body, the query and the path.
type params struct {
	name    string // the name that clients have for the text
	text    []byte // JSON
	untyped bool   // the text was made of a query, where every value is a string
	path    path
}

// A path holds the fields that HTTP+JSON has in the path of a request.
type path struct{ tenant, task, config string }

// do serves an operation, if the caller has the right to it.
func (c *call) do(o *operation, p params) error {
	c.operation = o.name
	audit.Of(c.r.Context()).Operation(o.name, o.changes)
	if caller, ok := auth.From(c.r.Context()); ok {
		if err := caller.May(o.right); err != nil {
			return err
		}
	}
	return o.serve(c, p)
}

// run serves the call and answers every error and panic of it.
func (c *call) run(serve func() error) {
	defer func() { // the stream, if there was one, ends after its last error
		if c.events != nil {
			c.events.close()
		}
	}()
	defer c.recover()
	err := c.identify()
	if err == nil {
		c.charge = c.options.Memory.Requests.Charge(c.owner())
		defer c.charge.Settle()
		err = serve()
	}
	if err != nil {
		c.fail(err)
		return
	}
	audit.Of(c.r.Context()).Done()
}

func (c *call) identify() error {
	if c.options.Identify == nil {
		return nil
	}
	ctx, err := c.options.Identify(c.r)
	if err == nil {
		c.r = c.r.WithContext(ctx)
	}
	return err
}

// owner is whose share of the memory the call takes; nobody's without identification.
func (c *call) owner() string {
	p, _ := auth.From(c.r.Context())
	return p.Owner
}

// recover turns a panic below into an internal error.
func (c *call) recover() {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	c.fail(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
}

// answer writes the one result of an operation.
func (c *call) answer(res any) error {
	if c.quiet {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	b, err := c.form.result(nil, c.dialect, res)
	if err != nil {
		return err
	}
	return c.options.Memory.holding(c.owner(), b, func() {
		c.echo()
		serve.Answer{Status: http.StatusOK, Type: answerType(c.r), Body: b, Timeout: c.options.WriteTimeout}.For(c.r).Write(c.w)
	})
}

// send writes events until they end. cancel ends ctx, and with it the events, when the
// client has gone or does not read.
func (c *call) send(ctx context.Context, cancel context.CancelFunc, all iter.Seq2[a2a.Event, error]) error {
	c.events = newEvents(c.w, c.options, cancel)

	for ev, err := range all {
		switch {
		case err == nil:
		case ctx.Err() != nil && c.r.Context().Err() == nil:
			return nil // the stream was given up: the client does not read
		default:
			return err
		}

		if c.quiet { // it has begun, and goes on without its client
			c.w.WriteHeader(http.StatusNoContent)
			return nil
		}

		b, err := c.form.result([]byte(dataPrefix), c.dialect, a2a.StreamResponse{Event: ev})
		if err != nil {
			return err
		}

		b = oneLine(b)
		sent := false
		if err := c.options.Memory.holding(c.owner(), b, func() {
			if !c.events.begun {
				c.echo()
			}
			sent = c.events.send(b)
		}); err != nil {
			return err
		}
		if !sent {
			return nil // the client has gone, or does not read
		}
	}

	if !c.events.begun && ctx.Err() == nil {
		return dialect.ErrNothing
	}

	return nil
}

// fail answers with an error. If events were sent already, the error is an event, and where the
// binding wants it so the only event of a stream that did not begin.
func (c *call) fail(err error) {
	p := c.options.report(c.r.Context(), c.operation, err)
	p.rename(c.names)
	audit.Of(c.r.Context()).Failed(p.class.status, p.reason, err)
	if c.quiet && !p.plain {
		c.w.WriteHeader(http.StatusNoContent)
		return
	}

	if c.streaming && (c.events != nil && c.events.begun || c.form.streams(p)) {
		if c.events == nil {
			c.events = newEvents(c.w, c.options, func() {})
		}
		var b []byte
		if kind := c.form.failed(); kind != "" {
			b = append(b, "event: "+kind+"\n"...)
		}
		c.events.send(oneLine(c.form.failure(append(b, dataPrefix...), p)))
		return
	}

	var body []byte
	if !c.quiet {
		body = c.form.failure(nil, p)
	}
	serve.Answer{
		Status: c.form.status(p), Type: answerType(c.r), Body: body,
		RetryAfter: time.Duration(p.retry) * time.Second, Challenge: p.challenge, Timeout: c.options.WriteTimeout,
	}.For(c.r).Write(c.w)
}
