package wire

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/errordetails"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/dialect"
)

// REST serves the HTTP+JSON bindings of A2A 1.0 (section 11) and, under /v1, 0.3. It
// answers every path and method: one that the protocol does not have is an A2A error
// too (404, 405).
//
// Path, query and body are read as what JSON-RPC has in its params, so that a request
// means the same in both bindings and is refused for the same reasons.
//
// The sequence of a stream must end when its context ends.
func REST(h a2asrv.RequestHandler, o Options) http.Handler {
	o = o.withDefaults()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{handler: h, options: &o, w: w, r: r, form: restForm{}, operation: "?"}
		c.run(c.serveREST)
	})
}

func (c *call) serveREST() error {
	at, ok := route(c.r.URL.EscapedPath())
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

	c.path = at.path
	operation := at.methods[c.r.Method]

	switch {
	case operation == "":
		c.w.Header().Set("Allow", strings.Join(at.allowed(), ", "))
		return &refusal{is: a2a.ErrMethodNotFound, status: http.StatusMethodNotAllowed, message: "this path is served by " + strings.Join(at.allowed(), " and ")}

	case c.r.Method != http.MethodPost: // a body means nothing there
		params, err := queryParams(c.r.URL.RawQuery)
		if err != nil {
			return err
		}
		return c.do(operation, params)
	}

	params, err := c.body(operation)
	if err != nil {
		return err
	}

	return c.do(operation, params)
}

// checkTenant holds a tenant in a path to what one in a body must be.
func checkTenant(tenant string) error {
	text, err := quoted(nil, tenant)
	if err != nil {
		return Invalid("tenant", "is not UTF-8")
	}
	c := newCursor(text)
	if c.label(maxID); len(c.bad) > 0 {
		return Invalid("tenant", c.bad[0].description)
	}
	return nil
}

// body is the params that a POST sends. One that needs none may have no body at all,
// and then says nothing of its type.
func (c *call) body(operation string) ([]byte, error) {
	optional := operation == opCancel || operation == opSubscribe
	if optional && c.r.ContentLength == 0 {
		return []byte("{}"), nil
	}
	if err := checkBody(c.r); err != nil {
		return nil, err
	}
	text, err := readBody(c.w, c.r, c.options)
	if err == nil && optional && len(text) == 0 {
		text = []byte("{}")
	}
	return text, err
}

// A place is what a path leads to.
type place struct {
	path      path
	version03 bool
	methods   map[string]string // operations by HTTP method
}

func (p place) allowed() []string {
	var all []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		if p.methods[m] != "" {
			all = append(all, m)
		}
	}
	return all
}

// route finds what a path leads to; ok is false when it leads nowhere. Segments are
// unescaped one by one, so that an id cannot pass for a path.
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

	p.path.tenant = segments[0] // the same paths are served under a tenant
	ok = p.lead(segments[1:])
	return p, ok
}

func (p *place) lead(segments []string) bool {
	p.methods = nil
	switch len(segments) {
	case 1:
		switch name := segments[0]; {
		case name == "message:send":
			p.methods = sendMethods
		case name == "message:stream":
			p.methods = streamMethods
		case name == "tasks":
			p.methods = listMethods
		case name == "extendedAgentCard" && !p.version03, name == "card" && p.version03:
			p.methods = cardMethods
		}

	case 2:
		if segments[0] != "tasks" {
			return false
		}
		p.methods = taskMethods
		p.path.task = segments[1]
		// Task ids have no colon: one is the verb's, and another id is nobody's.
		if id, verb, ok := strings.Cut(segments[1], ":"); ok {
			p.methods, p.path.task = verbs[verb], id
		}

	case 3, 4:
		if segments[0] != "tasks" || segments[2] != "pushNotificationConfigs" {
			return false
		}
		p.methods, p.path.task = hooksMethods, segments[1]
		if len(segments) == 4 {
			p.methods, p.path.config = hookMethods, segments[3]
		}
	}

	return p.methods != nil && (len(segments) == 1 || p.path.task != "")
}

var (
	sendMethods   = map[string]string{http.MethodPost: opSend}
	streamMethods = map[string]string{http.MethodPost: opStream}
	listMethods   = map[string]string{http.MethodGet: opList}
	cardMethods   = map[string]string{http.MethodGet: opCard}
	taskMethods   = map[string]string{http.MethodGet: opGet}
	hooksMethods  = map[string]string{http.MethodGet: opListHooks, http.MethodPost: opCreateHook}
	hookMethods   = map[string]string{http.MethodGet: opGetHook, http.MethodDelete: opDeleteHook}

	verbs = map[string]map[string]string{
		"cancel":    {http.MethodPost: opCancel},
		"subscribe": {http.MethodGet: opSubscribe, http.MethodPost: opSubscribe}, // the proto's verb, and the text's
	}
)

// A restForm writes bare results, and errors as 11.6 has them.
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
	if err != nil { // what a handler put into the details has no JSON
		told.Error.Details = nil
		out, _ = dialect.V1.Append(b, told)
	}
	return out
}

func (restForm) status(p problem, _ bool) int { return p.class.status }

func (restForm) failed() string { return "error" }

func (restForm) params() string { return "body" }

// A restForm03 writes errors so that clients of 0.3 find them, which never had one form:
// some read the code of JSON-RPC at the top, some what became 1.0's.
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

// queryParams turns a query into params. Fields are known by their JSON names and
// by the proto's; what else is there is passed over, as in a body.
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

		write, known := queryFields[field]
		if !known {
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
		if b, err = write(b, values[0]); err != nil {
			return nil, Invalid(field, "is not UTF-8")
		}
	}

	return append(b, '}'), nil
}

// queryFields are the fields that requests have in a query, and how their values become
// JSON. A value that is none of its kind becomes a string, which is then refused for
// the same reason as in a body.
var queryFields = map[string]func([]byte, string) ([]byte, error){
	"tenant": quoted, "contextId": quoted, "status": integer, "pageToken": quoted,
	"statusTimestampAfter": quoted, "lastUpdatedAfter": quoted, "configId": quoted,
	"pageSize": integer, "historyLength": integer,
	"includeArtifacts": boolean,
}

func quoted(b []byte, s string) ([]byte, error) { return jsontext.AppendQuote(b, s) }

// integer is also for enums, of which the number is taken beside the name.
func integer(b []byte, s string) ([]byte, error) {
	if n, err := strconv.Atoi(s); err == nil {
		return strconv.AppendInt(b, int64(n), 10), nil
	}
	return quoted(b, s)
}

func boolean(b []byte, s string) ([]byte, error) {
	if s == "true" || s == "false" {
		return append(b, s...), nil
	}
	return quoted(b, s)
}
