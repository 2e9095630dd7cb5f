// Package api is what our HTTP+JSON operations beside A2A have in common: a row for each
// operation with the right that it needs, the audit log, strict queries and bodies, and errors in
// the form of RFC 9457 or another one.
//
// It knows no task. Each service brings its operations, and says what its errors mean.
package api

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/serve"
)

// An Operation is one row of an API.
type Operation struct {
	Right   auth.Right // that a caller needs
	Changes bool       // the audit log has a line for each request
	Serve   func(*Call) error
}

// Config is what a Handler needs. Other fields than Identify, the
// description, Nothing and Write are required.
type Config struct {
	// Operations are all rows, by method and path: POST /batches/{batch}:pause. A description
	// names the same.
	Operations map[string]Operation

	Access *auth.Access // who may call

	// Identify says who calls. Default: that of Access.
	Identify func(*http.Request) (auth.Principal, error)

	// Describe turns an error of the service into a *Problem or an *auth.Refusal. It returns nil
	// for a fault of ours: that is logged, and the caller is to try again.
	Describe func(error) error

	// Description describes the operations (OpenAPI), at the path DescribedAt. nil: nothing does.
	Description []byte
	DescribedAt string

	Nothing string // what a caller is told at a path that is none; default: where the description is
	Log     *slog.Logger

	Write func(http.ResponseWriter, *Problem) // writes an error; default: as RFC 9457 has it
}

// A Handler serves the operations of an API. It is safe for concurrent use.
type Handler struct {
	cfg   Config
	rows  []row
	verbs bool // paths have them: POST /batches/{batch}:pause
}

// A row is an operation at its place.
type row struct {
	name, method string
	path         []string
	Operation
}

// New makes a Handler.
func New(cfg Config) *Handler {
	if cfg.Write == nil {
		cfg.Write = func(w http.ResponseWriter, p *Problem) { p.write(w) }
	}
	if cfg.Nothing == "" {
		cfg.Nothing = "there is nothing here; " + cfg.DescribedAt + " says what there is"
	}
	if cfg.Identify == nil {
		cfg.Identify = cfg.Access.Identify
	}
	h := &Handler{cfg: cfg}
	for name, o := range cfg.Operations {
		method, path, _ := strings.Cut(name, " ")
		h.rows = append(h.rows, row{name, method, strings.Split(path, "/"), o})
		h.verbs = h.verbs || strings.Contains(path, "}:")
	}
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.cfg.Description != nil && r.URL.Path == h.cfg.DescribedAt && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		serve.Answer{Status: http.StatusOK, Type: "application/yaml", Body: h.cfg.Description, Timeout: WriteFor}.For(r).Write(w)
		return
	}

	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var methods []string

	for _, o := range h.rows {
		if !h.match(r, o.path) {
			continue
		}
		if o.method == r.Method || o.method == http.MethodGet && r.Method == http.MethodHead {
			h.serve(w, r, o)
			return
		}
		methods = append(methods, o.method)
	}

	if len(methods) == 0 {
		h.cfg.Write(w, &Problem{Status: http.StatusNotFound, Detail: h.cfg.Nothing})
		return
	}
	slices.Sort(methods)
	w.Header().Set("Allow", strings.Join(methods, ", "))
	h.cfg.Write(w, &Problem{Status: http.StatusMethodNotAllowed, Detail: "this is asked with " + strings.Join(methods, " or ")})
}

// match compares the path of a request with a pattern, and notes the values of the request's
// path if it matches. Segments are unescaped one by one, so that no value passes for a path. Beside
// verbs no value has a colon.
func (h *Handler) match(r *http.Request, pattern []string) bool {
	segments := strings.Split(r.URL.EscapedPath(), "/")
	if len(segments) != len(pattern) {
		return false
	}

	values := map[string]string{}
	for i, want := range pattern {
		got, err := url.PathUnescape(segments[i])
		name, verb, field := strings.Cut(want, "}")
		switch {
		case err != nil, !field && got != want:
			return false
		case field:
			value, has := strings.CutSuffix(got, verb)
			if !has || value == "" || h.verbs && strings.Contains(value, ":") {
				return false
			}
			values[name[1:]] = value
		}
	}

	for name, value := range values {
		r.SetPathValue(name, value)
	}
	return true
}

// A Call is one request of an identified caller.
type Call struct {
	W http.ResponseWriter
	*http.Request
	Caller auth.Principal

	api       *Handler
	operation string
}

// serve serves an operation to callers that have the right to it.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, o row) {
	line := audit.Of(r.Context())
	line.Operation(o.name, o.Changes)

	p, err := h.cfg.Identify(r)
	line.Caller(p) // also if a limit of the caller refuses it
	if err == nil {
		err = p.May(o.Right)
	}
	if err == nil {
		err = o.Serve(&Call{W: w, Request: r.WithContext(auth.With(r.Context(), p)), Caller: p, api: h, operation: o.name})
	}

	if err != nil {
		h.Fail(w, r, err)
		return
	}
	line.Done()
}

// Fail answers an error of an operation that has no row too. Only faults of ours are logged.
func (h *Handler) Fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p == nil {
		if known := h.cfg.Describe(err); known != nil {
			err = known
		}
		p = problemOf(err)
	}
	if p == nil {
		h.cfg.Log.ErrorContext(r.Context(), "an operation failed", "path", r.Pattern, "err", err)
		p = &Problem{Status: http.StatusServiceUnavailable, Detail: "this cannot be answered now; try again", After: time.Second}
	}
	audit.Of(r.Context()).Failed(p.Status, strings.ToUpper(strings.ReplaceAll(http.StatusText(p.Status), " ", "_")), err)
	h.cfg.Write(w, p)
}

// OrAlways is enter, or without one a function that always has a place.
func OrAlways(enter func(owner string) (leave func(), err error)) func(owner string) (leave func(), err error) {
	if enter == nil {
		return func(string) (func(), error) { return func() {}, nil }
	}
	return enter
}
