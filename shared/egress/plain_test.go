package egress_test

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"errand/shared/egress"
)

// Plain HTTP to a name is judged when its address is known: it goes to allowed destinations
// only, and not to public addresses, where HTTPS may go.
func TestClientsRow17PlainHTTPToAName(t *testing.T) {
	receiver := newTrap(t, false, nil)
	at, err := url.Parse(receiver.URL)
	if err != nil {
		t.Fatal(err)
	}
	allow, err := egress.ParseAllow(at.Host + ", 10.0.0.0/8:443")
	if err != nil {
		t.Fatal(err)
	}

	c, err := egress.New(egress.Config{Allow: allow, Resolver: egress.Answering(func(name string) []netip.Addr {
		if strings.HasPrefix(name, "receiver.") {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		}
		return []netip.Addr{netip.MustParseAddr("8.8.8.8")}
	})})
	if err != nil {
		t.Fatal(err)
	}

	send := func(to string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	if err := send("http://receiver:" + at.Port() + "/"); err != nil || receiver.requests.Load() != 1 {
		t.Errorf("to an allowed address: %v, %d requests", err, receiver.requests.Load())
	}
	for _, to := range []string{"http://hooks.example.com:443/", "http://hooks.example.com:" + at.Port() + "/", "http://hooks.example.com:8443/"} {
		if err := send(to); !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s, a public address: %v", to, err)
		}
	}
}
