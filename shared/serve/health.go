package serve

import (
	"context"
	"fmt"
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
func watched(h http.Handler, stopping *atomic.Bool, short func(context.Context) error) http.Handler {
	if short == nil {
		short = func(context.Context) error { return nil }
	}
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
			if r.URL.Path == PathReady {
				if err := short(r.Context()); err != nil {
					w.Header().Set("Content-Type", "text/plain; charset=utf-8")
					_, _ = fmt.Fprintln(w, "not everything is served:", err) // if it fails the asker is gone
					return
				}
			}
			w.WriteHeader(http.StatusNoContent)
		}
	})
}
