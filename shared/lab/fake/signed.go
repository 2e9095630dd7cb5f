package fake

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// Signed forwards requests to target with an ID token of email for audience, like a push
// subscription with authentication. The emulator of Pub/Sub sends no tokens, so its
// subscriptions push to this handler.
func Signed(t testing.TB, target, email, audience string, token func(email, audience string) (string, error)) http.Handler {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }, // target is unavailable, so that the event is pushed again
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		signed, err := token(email, audience)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		r.Header.Set("Authorization", "Bearer "+signed)
		proxy.ServeHTTP(w, r)
	})
}

// Send makes a signed request, as the client that it was made for.
func Send(t testing.TB, method, address string, header http.Header, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the request was answered with %s", resp.Status)
	}
}
