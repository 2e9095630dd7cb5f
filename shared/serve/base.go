package serve

import (
	"context"
	"net/http"
	"strings"
)

type proxiedKey struct{}

// proxied notes that a request came by a proxy that the program trusts.
func proxied(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), proxiedKey{}, true))
}

// Base is the address that a request was sent to: http://HOST or https://HOST. The proxy that
// the program trusts (Options.Caller) knows whether its client used TLS: the last
// X-Forwarded-Proto is its own. Everyone else may have made it up. X-Forwarded-Host is not
// read: that proxy, the front end of Cloud Run, keeps the host as it is and does not write it.
func Base(r *http.Request) string {
	secure := r.TLS != nil
	if r.Context().Value(proxiedKey{}) != nil {
		hops := strings.Split(strings.Join(r.Header["X-Forwarded-Proto"], ","), ",")
		secure = secure || strings.EqualFold(strings.TrimSpace(hops[len(hops)-1]), "https")
	}
	if secure {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
