package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A platform asks at these paths whether a program is healthy. Cloud Run keeps paths like
// /healthz for itself. https://cloud.google.com/run/docs/known-issues#reserved_url_paths
const (
	PathLive  = "/live"  // the program answers requests
	PathReady = "/ready" // and has what it needs, and is not stopping
)

// Times of readiness. A platform waits for an answer of /ready for a second or longer.
const (
	askFor  = 10 * time.Second       // a part may take so long to answer
	waitFor = 500 * time.Millisecond // then /ready says that it has not answered yet
)

// A readiness asks whether a program is ready, until it is. One question is under way at a time:
// the first may make connections, and goes on when those who ask at /ready have had their answer.
type readiness struct {
	ready func(context.Context) error // nil: it is
	log   *slog.Logger

	mu    sync.Mutex
	is    bool
	asked chan struct{} // closed at the end of the question under way; nil: there is none
	said  string        // the last error that was logged
}

// await reports whether the program is ready. It waits a moment for that.
func (r *readiness) await(ctx context.Context) bool {
	if r.ready == nil {
		return true
	}

	r.mu.Lock()
	is, asked := r.is, r.asked
	if !is && asked == nil {
		asked = make(chan struct{})
		r.asked = asked
		go r.ask(context.WithoutCancel(ctx), asked)
	}
	r.mu.Unlock()
	if is {
		return true
	}

	wait := time.NewTimer(waitFor)
	defer wait.Stop()
	select {
	case <-asked:
	case <-wait.C:
	case <-ctx.Done():
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	return r.is
}

// ask asks once, and logs an error that the question before did not have.
func (r *readiness) ask(ctx context.Context, asked chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	err := r.ready(ctx)

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.is = err == nil; !r.is && err.Error() != r.said {
		r.said = err.Error()
		r.log.ErrorContext(ctx, "not ready", "err", err, "alert", true)
	}
	r.asked = nil
	close(asked)
}

// watched answers the platform's questions before h sees them. The answers show nothing
// else, and need no identity.
func watched(h http.Handler, stopping *atomic.Bool, ready *readiness, short func(context.Context) error) http.Handler {
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
		case r.URL.Path == PathReady && !ready.await(r.Context()):
			http.Error(w, "not ready: a part that this program needs does not answer, and its log says which", http.StatusServiceUnavailable)

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
