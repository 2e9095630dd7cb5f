package front

import (
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
	"errand/shared/agent"
	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/keys"
	"errand/shared/loopback"
	"errand/shared/serve"
)

// Surface is what is mounted for clients.
type Surface struct {
	Operations *Operations
	Card       *card.Handler
	Keys       *keys.Keyring // its public ones are shown to everybody
	Push       http.Handler  // what became of webhooks, below /push/, so that no tenant has that name
	Agent      *agent.Agent
	Access     *auth.Access // who may call
	Model      string       // what people call the model that answers
	URL        string       // where clients reach the agent; empty: where they sent the request
	Loopback   bool         // listening on loopback only: other hosts are refused
	Log        *slog.Logger
}

// Handler serves the card, both bindings and a page for people.
func (s Surface) Handler() http.Handler {
	o := wire.Options{Log: s.Log, RequestID: serve.RequestID, Extensions: card.Extensions(s.Agent), Identify: s.identify}
	rpc, rest, page := wire.JSONRPC(s.Operations, o), wire.REST(s.Operations, o), s.page()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == card.Path || r.URL.Path == card.OldPath:
			s.Card.ServeHTTP(w, r)
		case r.URL.Path == keys.Path:
			s.Keys.ServeJWKS(w, r)
		case strings.HasPrefix(r.URL.Path, "/push/"):
			s.Push.ServeHTTP(w, r)
		case r.URL.Path != "/" && r.URL.Path != "": // none is in a request that names the whole address
			rest.ServeHTTP(w, r)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			page(w, r)
		default:
			rpc.ServeHTTP(w, r)
		}
	})
	if s.Loopback {
		h = s.knownHosts(h)
	}
	return sameOrigin(h)
}

// sameOrigin refuses what a web page of another site sends: it could cancel a task with
// a POST that has no body, for which browsers ask nobody. Clients that are no browsers
// say nothing of an origin.
func sameOrigin(h http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if guard.Check(r) != nil {
			wire.Refuse(w, r, a2a.ErrUnauthorized, http.StatusForbidden, "web pages of other sites may not use this agent")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// knownHosts refuses requests whose Host is not this machine. Without it a web
// page could reach a listener on loopback under a name of its own (DNS rebinding)
// and spend the user's key.
func (s Surface) knownHosts(h http.Handler) http.HandlerFunc {
	own := ""
	if u, err := url.Parse(s.URL); err == nil {
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

// page shows people what this is and how to send to it.
func (s Surface) page() http.HandlerFunc {
	t := template.Must(template.New("page").Parse(pageText))
	return func(w http.ResponseWriter, r *http.Request) {
		base := s.URL
		if base == "" {
			base = "http://" + r.Host
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		h.Set("X-Content-Type-Options", "nosniff")
		err := t.Execute(w, map[string]any{"Agent": s.Agent, "Model": s.Model, "URL": base, "Card": card.Path})
		if err != nil {
			s.Log.DebugContext(r.Context(), "page not sent", "err", err)
		}
	}
}
