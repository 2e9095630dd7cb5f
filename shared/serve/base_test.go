package serve_test

import (
	"io"
	"net/http"
	"net/netip"
	"testing"

	"errand/shared/serve"
)

// The proxy that the program trusts tells the scheme, and nobody else.
func TestClientsRow19SchemeOfARequest(t *testing.T) {
	trusted := func(*http.Request) netip.Prefix { return netip.Prefix{} }
	for _, row := range []struct {
		proxies int
		caller  func(*http.Request) netip.Prefix
		proto   string
		want    string
	}{
		{0, nil, "https", "http://"}, {0, nil, "", "http://"},
		{0, trusted, "https", "https://"}, {0, trusted, "http, https", "https://"}, {0, trusted, "https, http", "http://"}, {0, trusted, "", "http://"}, {0, trusted, "gopher", "http://"},
		{2, trusted, "https, http", "https://"}, {2, trusted, "https, http, https", "http://"}, {2, trusted, "http, https, http", "https://"},
		{2, trusted, "https", "https://"}, {2, trusted, "http", "http://"}, {2, trusted, "", "http://"}, {2, nil, "https, https", "http://"},
	} {
		s := start(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, serve.Base(r)) }, serve.Options{Caller: row.caller, Proxies: row.proxies})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
		if err != nil {
			t.Fatal(err)
		}

		req.Header.Set("X-Forwarded-Proto", row.proto)
		req.Header.Set("X-Forwarded-Host", "evil.example.com")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(got) != row.want+s.addr || err != nil {
			t.Errorf("%q, trusted %v: %s, %v", row.proto, row.caller != nil, got, err)
		}
	}
}
