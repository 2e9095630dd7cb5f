package serve

import (
	"net/http"
	"sync/atomic"
)

// A platform asks at these paths whether a program is healthy. Cloud Run keeps paths like
// /healthz for itself. https://cloud.google.com/run/docs/known-issues#reserved_url_paths
const (
	PathLive  = "/live"  // the program answers requests
	PathReady = "/ready" // and is not stopping
)

// watched answers the platform's questions before h sees them. The answers show nothing
// else, and need no identity.
func watched(h http.Handler, stopping *atomic.Bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != PathLive && r.URL.Path != PathReady:
			h.ServeHTTP(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this is asked with GET", http.StatusMethodNotAllowed)
		case r.URL.Path == PathReady && stopping.Load():
			http.Error(w, "stopping", http.StatusServiceUnavailable)
		default:
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNoContent)
		}
	})
}
