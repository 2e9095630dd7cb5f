package front

import (
	_ "embed"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"errand/cardserver/front/wire"
	"errand/shared/agent"
	"errand/shared/card"
	"errand/shared/serve"
)

// Surface is what is mounted for clients.
type Surface struct {
	Operations *Operations
	Card       *card.Handler
	Agent      *agent.Agent
	Model      string // what people call the model that answers
	URL        string // where clients reach the agent; empty: where they sent the request
	Loopback   bool   // listening on loopback only: other hosts are refused
	Log        *slog.Logger
}

// Handler serves the card, the JSON-RPC binding and a page for people.
func (s Surface) Handler() http.Handler {
	rpc := wire.JSONRPC(s.Operations, wire.Options{Log: s.Log, RequestID: serve.RequestID})
	page := s.page()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == card.Path:
			s.Card.ServeHTTP(w, r)
		case r.URL.Path != "/":
			http.Error(w, "nothing is here; the agent answers at / and its card is at "+card.Path, http.StatusNotFound)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			page(w, r)
		default:
			rpc.ServeHTTP(w, r)
		}
	})
	if s.Loopback {
		return s.knownHosts(h)
	}
	return h
}

// knownHosts refuses requests whose Host is not this machine. Without it a web
// page could reach a listener on loopback under a name of its own (DNS rebinding)
// and spend the user's key.
func (s Surface) knownHosts(h http.Handler) http.Handler {
	own := ""
	if u, err := url.Parse(s.URL); err == nil {
		own = u.Host
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == own && own != "" || isLoopback(r.Host) {
			h.ServeHTTP(w, r)
			return
		}
		http.Error(w, "this agent listens on loopback and answers only to localhost; set ERRAND_URL to the address it is reached at", http.StatusMisdirectedRequest)
	})
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
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
