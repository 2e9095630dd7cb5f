package wire

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/errordetails"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/dialect"
)

// REST serves the HTTP+JSON bindings of A2A 1.0 (section 11) and, under /v1, of 0.3. It
// answers every path and HTTP method: an unknown one gets an A2A error too (404, 405).
//
// Path, query and body become the params that JSON-RPC would have, so that a request means
// the same in both bindings and is refused for the same reasons.
//
// The sequence of a stream must end when its context ends.
func REST(h a2asrv.RequestHandler, o Options) http.Handler {
	o = o.withDefaults()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{handler: h, options: &o, w: w, r: r, form: restForm{}, operation: "?"}
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			private(w.Header())
		}
		at, ok := route(r.URL.EscapedPath())
		if o := at.operation(r.Method); o != nil { // also for the audit of callers who are not identified
			audit.Of(r.Context()).Operation(o.name, o.changes)
		}
		c.run(func() error { return c.serveREST(at, ok) })
	})
}

func (c *call) serveREST(at place, ok bool) error {
	if at.version03 {
		c.dialect, c.form = dialect.V03REST, restForm03{}
	}

	if !ok {
		if err := checkVersion(c.r, ""); err != nil {
			return err
		}
		return a2a.NewError(a2a.ErrMethodNotFound, "nothing is here: A2A has no such path; the agent card says what is served and where")
	}

	if at.path.tenant != "" {
		if err := checkTenant(at.path.tenant); err != nil {
			return err
		}
	}

	o := at.operation(c.r.Method)
	if o == nil {
		var verbs []string
		for _, o := range at.operations {
			verbs = append(verbs, o.verbs...)
		}
		c.w.Header().Set("Allow", strings.Join(verbs, ", "))
		return &refusal{is: a2a.ErrMethodNotFound, status: http.StatusMethodNotAllowed, message: "this path is served by " + strings.Join(verbs, " and ")}
	}

	var err error
	p := params{name: "body", path: at.path}

	if c.r.Method == http.MethodPost {
		p.text, err = c.body(o)
	} else { // where HTTP gives a body no meaning
		p.untyped = true
		p.text, err = queryParams(c.r.URL.RawQuery)
	}

	if err != nil {
		return err
	}

	return c.do(o, p)
}

// private keeps the answer to a GET out of caches, which may keep it otherwise: RFC 9111
// (section 3.5) protects the answers to requests with Authorization only, and callers may
// have an API key. The names are those of the headers that make answers differ.
func private(h http.Header) {
	v := []string{"no-store", "Accept, A2A-Version, A2A-Extensions, Authorization, X-API-Key", "nosniff"} // one allocation for all
	h["Cache-Control"], h["Vary"], h["X-Content-Type-Options"] = v[:1:1], v[1:2:2], v[2:]
}

// checkTenant applies the rules for a tenant in a body to one in a path.
func checkTenant(tenant string) error {
	text, err := jsontext.AppendQuote(nil, tenant)
	if err != nil {
		return Invalid("tenant", "is not UTF-8")
	}
	c := newCursor(text)
	if c.label(maxID); len(c.bad) > 0 {
		return Invalid("tenant", c.bad[0].description)
	}
	return nil
}

// body is the params of a POST. A request that needs none may have no body at all, and then
// no Content-Type.
func (c *call) body(o *operation) ([]byte, error) {
	if o.bodyless && c.r.ContentLength == 0 {
		return []byte("{}"), nil
	}
	if err := checkBody(c.r); err != nil {
		return nil, err
	}
	text, dense, err := readBody(c.w, c.r, c.options, c.charge)
	switch {
	case err != nil:
		return nil, err
	case dense:
		return nil, tooMany("body", text)
	case o.bodyless && len(text) == 0:
		text = []byte("{}")
	}
	return text, nil
}

// A place is the end of a path.
type place struct {
	path       path
	version03  bool
	operations []*operation // one at least, each with verbs of its own
}

// operation is the operation of an HTTP method, or nil.
func (p *place) operation(verb string) *operation {
	for _, o := range p.operations {
		if slices.Contains(o.verbs, verb) {
			return o
		}
	}
	return nil
}

// route finds the place of a path; ok is false if there is none. Segments are unescaped one
// by one, so that an id cannot pass for a path.
func route(escaped string) (p place, ok bool) {
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return p, false
	}

	segments := strings.Split(rest, "/")
	if len(segments) > 6 {
		return p, false
	}

	for i, s := range segments {
		var err error
		if segments[i], err = url.PathUnescape(s); err != nil || segments[i] == "" {
			return p, false
		}
	}

	if segments[0] == "v1" {
		p.version03 = true
		ok = p.lead(segments[1:])
		return p, ok
	}

	if p.lead(segments) {
		return p, true
	}

	if auth.Reserved(segments[0]) {
		return p, false
	}
	p.path.tenant = segments[0] // the same paths are served under a tenant
	ok = p.lead(segments[1:])
	return p, ok
}

// lead finds the operations at a path.
func (p *place) lead(segments []string) bool {
	for i := range operations {
		o := &operations[i]
		pattern := o.path
		if p.version03 && o.path03 != "" {
			pattern = o.path03
		}
		if at, ok := match(pattern, segments); ok {
			p.operations = append(p.operations, o)
			p.path.task, p.path.config = at.task, at.config
		}
	}
	return len(p.operations) > 0
}

// match compares a path with the pattern of an operation, and takes from the path the
// fields that the pattern names.
func match(pattern string, segments []string) (at path, ok bool) {
	for want := range strings.SplitSeq(pattern, "/") {
		if len(segments) == 0 {
			return at, false
		}
		got := segments[0]
		segments = segments[1:]

		switch field, verb, isField := strings.Cut(want, "}"); {
		case !isField && got != want:
			return at, false
		case field == "{task":
			at.task = got
			if len(segments) == 0 { // a task's id has no colon: a verb follows it
				at.task, _, _ = strings.Cut(got, ":")
			}
			if at.task == "" || got[len(at.task):] != verb {
				return at, false
			}
		case field == "{config":
			at.config = got
		}
	}
	return at, len(segments) == 0
}

// A restForm writes bare results, and errors in the form of 11.6.
type restForm struct{}

func (restForm) result(b []byte, d dialect.Dialect, v any) ([]byte, error) {
	if _, ok := v.(*nothing); ok {
		return append(b, "{}"...), nil
	}
	return d.Append(b, v)
}

// A status is an error of the HTTP+JSON binding.
type status struct {
	Code    int                   `json:"code"` // HTTP
	Status  string                `json:"status"`
	Message string                `json:"message"`
	Details []*errordetails.Typed `json:"details"`
}

func (restForm) failure(b []byte, p problem) []byte {
	type body struct {
		Error status `json:"error"`
	}
	told := body{status{p.class.status, p.grpc, p.message, p.details}}
	out, err := dialect.V1.Append(b, told)
	if err != nil { // details of a handler that have no JSON
		told.Error.Details = nil
		out, _ = dialect.V1.Append(b, told)
	}
	return out
}

func (restForm) status(p problem) int { return p.class.status }

func (restForm) streams(problem) bool { return false }

func (restForm) failed() string { return "error" }

// A restForm03 writes errors in two places, because 0.3 never had one form: some clients
// read the code of JSON-RPC at the top, some the form that 1.0 adopted.
type restForm03 struct{ restForm }

func (restForm03) failure(b []byte, p problem) []byte {
	type body struct {
		Code    int                   `json:"code"` // JSON-RPC
		Message string                `json:"message"`
		Data    []*errordetails.Typed `json:"data"`
		Error   status                `json:"error"`
	}
	told := body{p.code, p.message, p.details, status{p.class.status, p.grpc, p.message, p.details}}
	out, err := dialect.V1.Append(b, told)
	if err != nil {
		told.Data, told.Error.Details = nil, nil
		out, _ = dialect.V1.Append(b, told)
	}
	return out
}

// queryParams makes an object of a query, whose values are all strings. It knows fields by
// their JSON names and by those of the proto, and ignores others, as in a body.
func queryParams(raw string) ([]byte, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, Invalid("query", "is not properly encoded")
	}

	b := []byte("{")
	seen := map[string]bool{}

	for name, values := range query {
		field, _, nested := strings.Cut(lowerCamel(name), "[")
		if !nested {
			field, _, nested = strings.Cut(field, ".")
		}

		if !isQueryField(field) {
			continue
		}
		if nested || len(values) > 1 || seen[field] {
			return nil, Invalid(field, "must be given once, as "+field+"=value")
		}

		seen[field] = true
		if len(b) > 1 {
			b = append(b, ',')
		}

		b = fmt.Appendf(b, "%q:", field)
		if b, err = jsontext.AppendQuote(b, values[0]); err != nil {
			return nil, Invalid(field, "is not UTF-8")
		}
	}

	return append(b, '}'), nil
}

// isQueryField tells whether some operation has the field in its query.
func isQueryField(name string) bool {
	return name == "tenant" || slices.ContainsFunc(operations[:], func(o operation) bool { return slices.Contains(o.query, name) })
}
