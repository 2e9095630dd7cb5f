package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"runtime/debug"
	"strconv"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/errordetails"
	"github.com/go-json-experiment/json/jsontext"
)

// JSONRPC serves the JSON-RPC binding of A2A 1.0 (section 9) at whatever path it
// is mounted.
//
// An error of an operation is answered with HTTP 200, as clients of JSON-RPC
// expect, except what concerns HTTP itself (405, 408, 413, 415) and 503. A stream
// that fails before its first event is answered as plain JSON with the status of
// the error: a client that waits for events takes 200 for a stream without any.
//
// The sequence of a stream must end when its context ends.
func JSONRPC(h a2asrv.RequestHandler, o Options) http.Handler {
	return &jsonRPC{handler: h, options: o.withDefaults()}
}

type jsonRPC struct {
	handler a2asrv.RequestHandler
	options Options
}

func (j *jsonRPC) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &rpcCall{handler: j.handler, options: &j.options, w: w, r: r, id: null, operation: "?"}
	defer c.close()
	defer c.recover()
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

// An rpcCall is one request on its way through.
type rpcCall struct {
	handler   a2asrv.RequestHandler
	options   *Options
	w         http.ResponseWriter
	r         *http.Request
	id        string // as the client wrote it
	operation string // for the log
	streaming bool   // the method answers with a stream
	events    *events
	call      *a2asrv.CallContext
}

func (c *rpcCall) serve() error {
	if c.r.Method != http.MethodPost {
		c.w.Header().Set("Allow", http.MethodPost)
		return &refusal{http.StatusMethodNotAllowed, "JSON-RPC requests are sent by POST"}
	}
	if err := checkBody(c.r); err != nil {
		return err
	}
	body, err := readBody(c.w, c.r, c.options)
	if err != nil {
		return err
	}
	env, err := parseEnvelope(body)
	c.id = env.id
	if err != nil {
		return err
	}
	c.streaming = env.method == "SendStreamingMessage" || env.method == "SubscribeToTask"
	if err := checkVersion(c.r); err != nil {
		return err
	}
	var ctx context.Context
	ctx, c.call, err = withCall(c.r.Context(), c.r)
	if err != nil {
		return err
	}
	return c.dispatch(ctx, env.method, env.params)
}

func (c *rpcCall) dispatch(ctx context.Context, method string, params []byte) error {
	h := c.handler
	switch method {
	case "SendMessage":
		send := func(ctx context.Context, req *a2a.SendMessageRequest) (*a2a.StreamResponse, error) {
			res, err := h.SendMessage(ctx, req)
			return &a2a.StreamResponse{Event: res}, err
		}
		return unary(ctx, c, "SendMessage", params, (*cursor).sendMessage, send)
	case "SendStreamingMessage":
		return stream(ctx, c, "SendStreamingMessage", params, (*cursor).sendMessage, h.SendStreamingMessage)
	case "GetTask":
		return unary(ctx, c, "GetTask", params, (*cursor).getTask, h.GetTask)
	case "ListTasks":
		list := func(ctx context.Context, req *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
			res, err := h.ListTasks(ctx, req)
			if err == nil && res != nil && !req.IncludeArtifacts {
				res = withoutArtifacts(res)
			}
			return res, err
		}
		return unary(ctx, c, "ListTasks", params, (*cursor).listTasks, list)
	case "CancelTask":
		return unary(ctx, c, "CancelTask", params, (*cursor).cancelTask, h.CancelTask)
	case "SubscribeToTask":
		return stream(ctx, c, "SubscribeToTask", params, (*cursor).subscribe, h.SubscribeToTask)
	case "CreateTaskPushNotificationConfig":
		return unary(ctx, c, "CreateTaskPushNotificationConfig", params, (*cursor).createPushConfig, h.CreateTaskPushConfig)
	case "GetTaskPushNotificationConfig":
		return unary(ctx, c, "GetTaskPushNotificationConfig", params, (*cursor).getPushConfig, h.GetTaskPushConfig)
	case "ListTaskPushNotificationConfigs":
		return unary(ctx, c, "ListTaskPushNotificationConfigs", params, (*cursor).listPushConfigs, h.ListTaskPushConfigs)
	case "DeleteTaskPushNotificationConfig":
		remove := func(ctx context.Context, req *a2a.DeleteTaskPushConfigRequest) (*any, error) {
			return new(any), h.DeleteTaskPushConfig(ctx, req)
		}
		return unary(ctx, c, "DeleteTaskPushNotificationConfig", params, (*cursor).deletePushConfig, remove)
	case "GetExtendedAgentCard":
		return unary(ctx, c, "GetExtendedAgentCard", params, (*cursor).extendedCard, h.GetExtendedAgentCard)
	}
	return a2a.NewError(a2a.ErrMethodNotFound, "A2A "+string(a2a.Version)+" has no method "+strconv.Quote(clip(method, 64)))
}

// unary serves an operation that has one answer.
func unary[Req, Res any](ctx context.Context, c *rpcCall, operation string, params []byte,
	fill func(*cursor) *Req, do func(context.Context, *Req) (*Res, error)) error {
	c.operation = operation
	req, err := decode(params, fill)
	if err != nil {
		return err
	}
	res, err := do(ctx, req)
	if err != nil {
		return err
	}
	if res == nil {
		return errNothing
	}
	b, err := c.result(nil, res)
	if err != nil {
		return err
	}
	echoExtensions(c.w.Header(), c.call)
	write(c.w, c.options, http.StatusOK, answerType(c.r), b)
	return nil
}

// stream serves an operation that answers with events.
func stream[Req any](ctx context.Context, c *rpcCall, operation string, params []byte,
	fill func(*cursor) *Req, do func(context.Context, *Req) iter.Seq2[a2a.Event, error]) error {
	c.operation = operation
	req, err := decode(params, fill)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.events = newEvents(c.w, c.options, cancel)
	for ev, err := range do(ctx, req) {
		if err != nil {
			return err
		}
		b, err := c.result([]byte(dataPrefix), a2a.StreamResponse{Event: ev})
		if err != nil {
			return err
		}
		if !c.events.begun {
			echoExtensions(c.w.Header(), c.call)
		}
		if !c.events.send(b) {
			return nil // the client has gone, or does not read
		}
	}
	if !c.events.begun && ctx.Err() == nil {
		return errNothing
	}
	return nil
}

// begin appends the head of a response.
func (c *rpcCall) begin(b []byte) []byte {
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	return append(b, c.id...)
}

// result appends a response that holds an answer.
func (c *rpcCall) result(b []byte, v any) ([]byte, error) {
	b, err := appendJSON(append(c.begin(b), `,"result":`...), v)
	return append(b, '}'), err
}

// fail answers with an error: as an event where events were sent already.
func (c *rpcCall) fail(err error) {
	p := c.options.report(c.r.Context(), c.operation, err)
	running := c.events != nil && c.events.begun
	var b []byte
	if running {
		b = []byte(dataPrefix)
	}
	told := struct {
		Code    int                   `json:"code"`
		Message string                `json:"message"`
		Data    []*errordetails.Typed `json:"data"`
	}{p.code, p.message, p.details}
	b = append(c.begin(b), `,"error":`...)
	b, err = appendJSON(b, told)
	if err != nil { // what a handler put into the details has no JSON
		told.Data = nil
		b, _ = appendJSON(b, told)
	}
	b = append(b, '}')
	if running {
		c.events.send(b)
		return
	}
	status := http.StatusOK
	if p.plain || c.streaming {
		status = p.status
	}
	if p.retry > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(p.retry))
	}
	write(c.w, c.options, status, answerType(c.r), b)
}

// close ends the stream, if there was one, after its last error.
func (c *rpcCall) close() {
	if c.events != nil {
		c.events.close()
	}
}

// recover turns a panic below into an internal error.
func (c *rpcCall) recover() {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	c.fail(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
}

const null = "null"

// An envelope is a JSON-RPC request, its params not yet decoded.
type envelope struct {
	id     string // null unless it is a valid one
	method string
	params []byte
}

// parseEnvelope checks the whole text and takes it apart. The id is there even
// with an error, where one was read before it.
func parseEnvelope(body []byte) (envelope, error) {
	c := newCursor(body)
	kind := c.d.PeekKind()
	env := c.envelope(body)
	c.end()
	switch {
	case c.err != nil:
		return env, notJSON(c.err)
	case kind == jsontext.KindBeginArray:
		return env, a2a.NewError(a2a.ErrInvalidRequest, "A2A has no batches: send one request at a time")
	case kind != jsontext.KindBeginObject:
		return env, a2a.NewError(a2a.ErrInvalidRequest, "a request must be a JSON object")
	case len(c.bad) > 0:
		return env, a2a.NewError(a2a.ErrInvalidRequest, c.bad[0].field+" "+c.bad[0].description)
	}
	return env, nil
}

func (c *cursor) envelope(body []byte) envelope {
	env := envelope{id: null, params: []byte("{}")}
	version := ""
	for name := range c.object() {
		switch name {
		case "jsonrpc":
			version, _ = c.string()
		case "method":
			env.method, _ = c.string()
		case "id":
			if raw := c.raw(); validID(raw) {
				env.id = string(raw)
			} else {
				c.refuse("must be a string, an integer or null, of at most " + strconv.Itoa(maxID) + " bytes")
			}
		case "params":
			if !c.null() {
				n := len(c.raw())
				end := int(c.d.InputOffset())
				env.params = body[end-n : end]
			}
		}
	}
	if version != "2.0" {
		c.refuseAt("jsonrpc", `must be "2.0"`)
	}
	if env.method == "" {
		c.missing("method")
	}
	return env
}

// validID tells whether raw can be an id. Fractions and exponents are left out:
// JSON-RPC advises against them, and no two programs write them alike.
func validID(raw jsontext.Value) bool {
	switch raw.Kind() {
	case jsontext.KindString, jsontext.KindNull:
		return len(raw) <= maxID
	case jsontext.KindNumber:
		return len(raw) <= maxID && !bytes.ContainsAny(raw, ".eE")
	}
	return false
}

// notJSON says where and why the text of a request is refused. Text is also refused
// that some readers take and others change: a name given twice, half a surrogate
// pair, bytes that are not UTF-8 (RFC 7493).
func notJSON(err error) error {
	message := "the body is not JSON: "
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		message += s.Err.Error() + " at byte " + strconv.FormatInt(s.ByteOffset, 10)
		if s.JSONPointer != "" {
			message += ", in " + string(s.JSONPointer)
		}
	} else {
		message += err.Error()
	}
	return a2a.NewError(a2a.ErrParseError, clip(message, maxPath))
}
