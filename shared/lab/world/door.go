package world

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"errand/shared/audit"
	"errand/shared/auth"
)

// This file has what the tests of our HTTP+JSON doors share.

// A Description is what a door says of its operations (OpenAPI), to compare answers with.
type Description struct {
	// Form and Answer report whether the body of a request, and that of an answer, have a form
	// that is described. nil: all have.
	Form   func(*http.Request) bool
	Answer func(*http.Request, *httptest.ResponseRecorder) bool

	t      testing.TB
	doc    *openapi3.T
	router routers.Router
}

// Describe reads a description, which must be a valid one.
func Describe(t testing.TB, text []byte) *Description {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err == nil {
		err = doc.Validate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &Description{t: t, doc: doc, router: router}
}

// Operations are those that are described, by method and path, in order.
func (d *Description) Operations() (all []string) {
	for path, item := range d.doc.Paths.Map() {
		for method := range item.Operations() {
			all = append(all, method+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// Serve has a door serve a request, and compares its answer with the description, if that has the
// path: a request that is accepted and any answer must be as described.
func (d *Description) Serve(door http.Handler, r *http.Request) *httptest.ResponseRecorder {
	d.t.Helper()
	form := d.Form == nil || d.Form(r)
	var text []byte
	if form {
		var err error
		if text, err = io.ReadAll(r.Body); err != nil {
			d.t.Fatal(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(text))
	}

	rec := httptest.NewRecorder()
	door.ServeHTTP(rec, r)
	route, params, err := d.router.FindRoute(r)
	if err != nil {
		return rec
	}

	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, ExcludeRequestBody: !form,
	}}
	if rec.Code/100 == 2 {
		r.Body = io.NopCloser(bytes.NewReader(text))
		if err := openapi3filter.ValidateRequest(d.t.Context(), in); err != nil {
			d.t.Errorf("%s %s: accepted against its description: %v", r.Method, r.URL, err)
		}
	}

	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: rec.Code, Header: rec.Header(), Options: &openapi3filter.Options{
		IncludeResponseStatus: true, ExcludeResponseBody: d.Answer != nil && !d.Answer(r, rec),
	}}
	out.SetBodyBytes(rec.Body.Bytes())
	if err := openapi3filter.ValidateResponse(d.t.Context(), out); err != nil {
		d.t.Errorf("%s %s: answered against its description: %v", r.Method, r.URL, err)
	}
	return rec
}

// OneRight checks that each operation of a door needs exactly one right, and names it in its
// refusal. paths puts values into a route, and serve makes the door for callers.
func OneRight(t *testing.T, routes []string, rightOf func(route string) auth.Right, paths *strings.Replacer, serve func(*auth.Access) http.Handler) {
	t.Helper()
	key, text := map[auth.Right]string{}, "limits: {requests: none}\nprincipals:\n- name: acme/alice\n  keys:\n"
	for _, r := range auth.Rights() {
		k, hash := auth.NewKey()
		key[r] = k
		text += fmt.Sprintf("  - {hash: %s, may: [%s]}\n", hash, r)
	}

	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	access, err := auth.Load(path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}

	door := serve(access)
	for _, route := range routes {
		right := rightOf(route)
		if !slices.Contains(auth.Rights(), right) {
			t.Errorf("%s needs the right %q, which does not exist", route, right)
		}

		method, at, _ := strings.Cut(route, " ")
		for _, r := range auth.Rights() {
			req := httptest.NewRequest(method, paths.Replace(at), nil)
			req.Header.Set("X-API-Key", key[r])
			rec := httptest.NewRecorder()
			door.ServeHTTP(rec, req)
			if (rec.Code == http.StatusForbidden) != (r != right) {
				t.Errorf("%s with the right %s alone: %d %s", route, r, rec.Code, rec.Body)
			}
			if r != right && !strings.Contains(rec.Body.String(), `the right \"`+string(right)+`\"`) {
				t.Errorf("%s with the right %s alone: %s", route, r, rec.Body)
			}
		}
	}
}

// Audited returns a door whose requests have lines of the audit log, in JSON.
func Audited(door http.Handler) (audited http.Handler, log *bytes.Buffer) {
	log = &bytes.Buffer{}
	lines := audit.New(slog.New(slog.NewJSONHandler(log, nil)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		door.ServeHTTP(w, r.WithContext(lines.Begin(r.Context())))
	}), log
}

// A Heap watches how far the heap grows while large bodies pass.
type Heap struct{ before, peak uint64 }

// WatchHeap begins to watch.
func WatchHeap() *Heap {
	h := &Heap{}
	runtime.GC()
	h.sample()
	h.before = h.peak
	return h
}

func (h *Heap) sample() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.peak = max(h.peak, m.HeapAlloc)
}

// Grown is how many bytes were held at most since the beginning, of those moments when a body
// was looked at.
func (h *Heap) Grown() int64 { return int64(h.peak) - int64(h.before) }

// sampleEvery is how many bytes of a body pass between two looks at the heap.
const sampleEvery = 8 << 20

// Body is a body of so many bytes, which looks at the heap as it is read.
func (h *Heap) Body(size int) io.Reader { return &largeBody{h, size} }

type largeBody struct {
	heap *Heap
	left int
}

var manyX = bytes.Repeat([]byte("x"), 1<<10)

// Read implements io.Reader.
func (b *largeBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), b.left)], manyX)
	if b.left%sampleEvery < n {
		b.heap.sample()
	}
	b.left -= n
	return n, nil
}

// A Counted is an answer whose bytes are counted and not kept.
type Counted struct {
	Bytes  int
	heap   *Heap
	header http.Header
}

// Answer is an answer which looks at the heap as it is written.
func (h *Heap) Answer() *Counted { return &Counted{heap: h, header: http.Header{}} }

// Header implements http.ResponseWriter.
func (c *Counted) Header() http.Header { return c.header }

// WriteHeader implements http.ResponseWriter.
func (c *Counted) WriteHeader(int) {}

// Write implements http.ResponseWriter.
func (c *Counted) Write(p []byte) (int, error) {
	if c.Bytes%sampleEvery < len(p) {
		c.heap.sample()
	}
	c.Bytes += len(p)
	return len(p), nil
}
