package wire

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/errordetails"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/dialect"
)

// JSONRPC serves the JSON-RPC bindings of A2A 1.0 (section 9) and 0.3 at every path. The
// names of the methods tell the versions apart.
//
// An error of an operation is answered with HTTP 200, as clients of JSON-RPC expect, except
// for errors of HTTP itself (405, 408, 413, 415), those about callers, and 503. A stream that
// fails before its first event is a stream of one event, the error. The SDK's client in Go reads
// no body of another status, and takes JSON under 200 for a stream without events; the one in
// JavaScript refuses JSON under 200.
//
// A request without an id is a notification: it is carried out, and answered with 204 and
// nothing else, or with the status of an error of HTTP.
//
// The sequence of a stream must end when its context ends.
func JSONRPC(h a2asrv.RequestHandler, o Options) http.Handler {
	o = o.withDefaults()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := &rpcForm{id: null}
		c := &call{handler: h, options: &o, w: w, r: r, form: f, operation: "?"}
		c.run(func() error { return c.serveRPC(f) })
	})
}

func (c *call) serveRPC(f *rpcForm) error {
	if c.r.Method != http.MethodPost {
		c.w.Header().Set("Allow", http.MethodPost)
		return &refusal{is: a2a.ErrInvalidRequest, status: http.StatusMethodNotAllowed, message: "JSON-RPC requests are sent by POST"}
	}

	if err := checkBody(c.r); err != nil {
		return err
	}

	body, dense, err := readBody(c.w, c.r, c.options, c.charge)
	if err != nil {
		return err
	}

	read := newCursor
	if dense {
		read = newDenseCursor
	}
	env, err := parseEnvelope(read(body), body)
	f.id = env.id
	switch {
	case err != nil:
		return err
	case dense:
		return tooMany("params", env.params)
	}

	c.quiet = env.quiet
	o, version := byMethod(env.method)
	c.dialect, f.bare = version, version == dialect.V03

	if o.serve == nil {
		if err := checkVersion(c.r, ""); err != nil {
			return err
		}
		return a2a.NewError(a2a.ErrMethodNotFound, "A2A has no method "+strconv.Quote(clip(env.method, 64)))
	}

	return c.do(o, params{name: "params", text: env.params})
}

// An rpcForm writes JSON-RPC responses.
type rpcForm struct {
	id string // as the client wrote it

	// bare errors have no data. 0.3 does not define it: some clients of 0.3 read only an
	// object there and some only the list of 1.0, and each fails to read the whole error
	// if data has the other form.
	bare bool
}

func (f *rpcForm) begin(b []byte) []byte {
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	return append(b, f.id...)
}

func (f *rpcForm) result(b []byte, d dialect.Dialect, v any) ([]byte, error) {
	b = append(f.begin(b), `,"result":`...)
	if _, ok := v.(*nothing); ok {
		return append(b, "null}"...), nil
	}
	b, err := d.Append(b, v)
	return append(b, '}'), err
}

func (f *rpcForm) failure(b []byte, p problem) []byte {
	told := struct {
		Code    int                   `json:"code"`
		Message string                `json:"message"`
		Data    []*errordetails.Typed `json:"data,omitempty"`
	}{p.code, p.message, p.details}
	if f.bare {
		told.Data = nil
	}
	b = append(f.begin(b), `,"error":`...)
	b, err := dialect.V1.Append(b, told)
	if err != nil { // details of a handler that have no JSON
		told.Data = nil
		b, _ = dialect.V1.Append(b, told)
	}
	return append(b, '}')
}

func (f *rpcForm) status(p problem) int {
	if p.plain {
		return p.status
	}
	return http.StatusOK
}

func (f *rpcForm) streams(p problem) bool { return !p.plain }

func (f *rpcForm) failed() string { return "" }

const null = "null"

// An envelope is a JSON-RPC request whose params are not decoded yet.
type envelope struct {
	id     string // null unless the request has a valid one
	quiet  bool   // the request has no id: it is a notification, which gets no answer
	method string
	params []byte
}

// parseEnvelope checks the whole text, which c reads, and takes it apart. If the id was read
// before an error, the envelope has it beside the error.
func parseEnvelope(c *cursor, body []byte) (envelope, error) {
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
	env := envelope{id: null, quiet: true, params: []byte("{}")}
	version := ""

	for name := range c.object() {
		switch name {
		case "jsonrpc":
			version, _ = c.string()
		case "method":
			env.method, _ = c.string()

		case "id":
			env.quiet = false
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

// validID tells whether raw can be an id. Fractions and exponents cannot: JSON-RPC advises
// against them, and no two programs write them alike.
func validID(raw jsontext.Value) bool {
	switch raw.Kind() {
	case jsontext.KindString, jsontext.KindNull:
		return len(raw) <= maxID
	case jsontext.KindNumber:
		return len(raw) <= maxID && !bytes.ContainsAny(raw, ".eE")
	}
	return false
}

// notJSON says where and why the text of a request is refused. Some texts that other
// readers accept and change are refused too: a repeated name, half a surrogate pair, bytes
// that are not UTF-8 (RFC 7493).
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
