package serve

import (
	"context"
	"net/http"
	"strings"
)

type proxiedKey struct{}

// proxied notes that a request came by so many proxies that the program trusts.
func proxied(r *http.Request, proxies int) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), proxiedKey{}, proxies))
}

// Base is the address that a request was sent to: http://HOST or https://HOST. The outermost of
// the proxies that the program trusts (Options.Proxies) knows whether its client used TLS. Its
// X-Forwarded-Proto is as many entries from the end as there are proxies, or the first if a
// later proxy has replaced it. Everyone else may have made up those before. X-Forwarded-Host is
// not read: the front end of Cloud Run keeps the host as it is and does not write it.
func Base(r *http.Request) string {
	secure := r.TLS != nil
	if proxies, ok := r.Context().Value(proxiedKey{}).(int); ok {
		hops := strings.Split(strings.Join(r.Header["X-Forwarded-Proto"], ","), ",")
		secure = secure || strings.EqualFold(strings.TrimSpace(hops[max(0, len(hops)-proxies)]), "https")
	}
	if secure {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
