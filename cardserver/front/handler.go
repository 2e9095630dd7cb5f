package front

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/credential"
	"errand/shared/keys"
	"errand/shared/loopback"
	"errand/shared/serve"
	"errand/shared/task"
)

// The defaults of Config.
const (
	wait      = 55 * time.Second // under the minute for which many clients and proxies wait
	streamAge = 50 * time.Minute // under the hour that Cloud Run gives to a request
	pageFor   = 30 * time.Second // as for any answer
)

// New makes the handler of all paths that clients call: the card, both bindings, the key
// set, our own APIs and OpenAI's to batches, and a page for people.
func New(cfg Config) http.Handler {
	if cfg.Memory == nil {
		cfg.Memory = wire.NewMemory()
	}
	if cfg.Wait == 0 {
		cfg.Wait = wait
	}
	if cfg.StreamAge == 0 {
		cfg.StreamAge = streamAge
	}

	o := &operations{cfg: cfg, modes: modesOf(cfg.Agent)}
	options := wire.Options{Log: cfg.Log, RequestID: serve.RequestID, Extensions: card.Extensions(cfg.Agent), Identify: o.identify, Memory: cfg.Memory}
	rpc, rest, page := wire.JSONRPC(o, options), wire.REST(o, options), o.page()

	for path := range cfg.Doors {
		if !auth.Reserved(firstSegment(path)) {
			panic("front: the door " + path + " begins with a segment that is not reserved") // and a tenant could have
		}
	}

	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first := firstSegment(r.URL.Path); first != "" && !auth.Reserved(first) {
			rest.ServeHTTP(w, r) // below a tenant
			return
		}

		switch {
		case r.URL.Path == card.Path || r.URL.Path == card.OldPath:
			o.card(w, r)
		case r.URL.Path == keys.Path:
			cfg.Keys.ServeJWKS(w, r)
		case strings.HasPrefix(r.URL.Path, "/push/") || deletesTask(r) || tracesTask(r) || rerunsTask(r) || wakes(r.URL.Path):
			cfg.Push.ServeHTTP(w, r)
		case o.door(r.URL.Path) != nil:
			o.door(r.URL.Path).ServeHTTP(w, r)
		case r.URL.Path != "/" && r.URL.Path != "": // a request that names the whole address has no path
			rest.ServeHTTP(w, r)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			page(w, r)
		default:
			rpc.ServeHTTP(w, r)
		}
	})

	if cfg.Loopback {
		h = o.knownHosts(h)
	}

	h = o.listedOrigins(sameOrigin(h, cfg.Origins))
	log := audit.New(cfg.Log)
	return below(cfg.URL, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(log.Begin(r.Context())))
	}))
}

// firstSegment is the first segment of a path; empty for the root.
func firstSegment(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// below serves h at the root, and also below the path of the address that clients use: a load
// balancer may pass the whole path on.
func below(base string, h http.Handler) http.Handler {
	u, err := url.Parse(base)
	if err != nil || strings.Trim(u.Path, "/") == "" {
		return h
	}
	prefix := strings.TrimRight(u.Path, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, raw, ok := cutPath(r.URL, prefix); ok {
			inner, u := *r, *r.URL
			u.Path, u.RawPath = path, raw
			inner.URL, r = &u, &inner
		}
		h.ServeHTTP(w, r)
	})
}

// cutPath returns the path of a URL below prefix, and its escaped form. Clients and proxies may
// escape any letter, and so also those of the prefix.
func cutPath(u *url.URL, prefix string) (path, raw string, ok bool) {
	path, ok = strings.CutPrefix(u.Path, prefix)
	if !ok {
		return "", "", false
	}
	raw = u.EscapedPath()
	for range len(prefix) {
		if raw[0] == '%' {
			raw = raw[2:]
		}
		raw = raw[1:]
	}
	return path, raw, raw == "" || raw[0] == '/'
}

// listedOrigins lets the web pages of the listed origins call everything and read every answer,
// with their credentials in headers. Cookies and other credentials of the browser are never
// involved. Other pages are left to [sameOrigin].
// https://fetch.spec.whatwg.org/#http-cors-protocol
func (o *operations) listedOrigins(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if !slices.Contains(o.cfg.Origins, origin) {
			h.ServeHTTP(w, r)
			return
		}

		header := w.Header()
		header.Add("Vary", "Origin")
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Expose-Headers", "*")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			header.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE")
			header.Set("Access-Control-Allow-Headers", "Authorization, *") // * stands for all others
			header.Set("Access-Control-Max-Age", "7200")                   // seconds, the most that browsers keep
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.ServeHTTP(w, r)
	}
}

// door is the API beside A2A that a path belongs to, nil if it is none's.
func (o *operations) door(path string) http.Handler {
	for of, h := range o.cfg.Doors {
		if path == of || strings.HasPrefix(path, of+"/") {
			return h
		}
	}
	return nil
}

// deletesTask reports whether a request is DELETE /tasks/{id}, which A2A does not have.
func deletesTask(r *http.Request) bool {
	id, under := strings.CutPrefix(r.URL.Path, "/tasks/")
	return under && r.Method == http.MethodDelete && !strings.ContainsAny(id, "/:")
}

// wakes reports whether a path is of a URL that wakes a call. No path of a tenant has the id
// of a task at this place.
func wakes(path string) bool {
	call, under := strings.CutPrefix(path, keys.WakePath)
	id, _, more := strings.Cut(call, "/")
	return under && more && task.IsID(id)
}

// tracesTask reports whether a request is for /tasks/{id}/trace, which A2A does not have.
func tracesTask(r *http.Request) bool {
	id, under := strings.CutPrefix(r.URL.Path, "/tasks/")
	id, trace := strings.CutSuffix(id, "/trace")
	return under && trace && !strings.ContainsAny(id, "/:")
}

// rerunsTask reports whether a request is for /tasks/{id}:rerun, which A2A does not have.
func rerunsTask(r *http.Request) bool {
	id, under := strings.CutPrefix(r.URL.Path, "/tasks/")
	id, rerun := strings.CutSuffix(id, ":rerun")
	return under && rerun && !strings.ContainsAny(id, "/:")
}

// sameOrigin refuses the requests of web pages of other sites. Such a page could cancel a
// task with a POST without a body, which browsers send without asking the site. It could not
// read the answer to a GET, but could have this agent list and stream. Clients that are not
// browsers send no origin. The trusted origins pass.
func sameOrigin(h http.Handler, trusted []string) http.HandlerFunc {
	guard := http.NewCrossOriginProtection()
	for _, origin := range trusted {
		if err := guard.AddTrustedOrigin(origin); err != nil {
			panic(err) // setup has checked it
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r
		if read := r.Method == http.MethodGet || r.Method == http.MethodHead; read && fromPage(r.Header) && !public(r.URL.Path) {
			asked = r.WithContext(r.Context())
			asked.Method = http.MethodPost // the guard lets all others pass
		}
		if guard.Check(asked) != nil {
			wire.Refuse(w, r, a2a.ErrUnauthorized, http.StatusForbidden, "web pages of other sites may not use this agent")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// fromPage reports whether a request has a header by which a browser tells its origin.
func fromPage(h http.Header) bool { return h["Sec-Fetch-Site"] != nil || h["Origin"] != nil }

// public reports whether any web page may read or link to a path.
func public(path string) bool {
	switch path {
	case "/", "", card.Path, card.OldPath, keys.Path, "/push/openapi.yaml", "/files/openapi.yaml", "/batches/openapi.yaml", "/catalogue", "/catalogue/openapi.yaml", "/.well-known/ai-catalog.json":
		return true
	}
	return strings.HasPrefix(path, credential.Path+"/") // a person may get the link in any page
}

// knownHosts refuses requests whose Host is not this machine. Without it a web page could
// reach a listener on loopback under its own name (DNS rebinding) and spend the user's key.
func (o *operations) knownHosts(h http.Handler) http.HandlerFunc {
	own := ""
	if u, err := url.Parse(o.cfg.URL); err == nil {
		own = u.Host
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Host == own && own != "" || loopback.Is(r.Host) {
			h.ServeHTTP(w, r)
			return
		}
		wire.Refuse(w, r, a2a.ErrInvalidRequest, http.StatusMisdirectedRequest,
			"this agent listens on loopback and answers only to localhost; set ERRAND_URL to the address it is reached at")
	}
}

//go:embed page.html
var pageText string

// page shows people the agent and how to send to it.
func (o *operations) page() http.HandlerFunc {
	t := template.Must(template.New("page").Parse(pageText))
	return func(w http.ResponseWriter, r *http.Request) {
		base := o.cfg.URL
		h := w.Header()
		if base == "" {
			base = serve.Base(r)
			if !o.cfg.Loopback { // a cache would show others the address that this client named
				h.Set("Cache-Control", "no-store")
			}
		}
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		var text bytes.Buffer
		if err := t.Execute(&text, map[string]any{"Agent": o.cfg.Agent, "Model": o.cfg.Model, "URL": base, "Card": card.Path}); err != nil {
			panic(err) // the page has these names only, and a buffer takes everything
		}
		serve.Answer{Status: http.StatusOK, Type: "text/html; charset=utf-8", Body: text.Bytes(), Timeout: pageFor}.For(r).Write(w)
	}
}
