package auth_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"errand/shared/auth"
)

func TestAttemptsAreBounded(t *testing.T) {
	w := newAccessWorld(t)
	n := auth.AttemptNames(50_000, func(i int) string { return fmt.Sprint("from ", i) }, w.access)
	if n > 2*4096 {
		t.Errorf("%d names are kept", n)
	}
}

func TestClientAddress(t *testing.T) {
	for _, row := range []struct {
		remote    string
		forwarded []string
		proxies   int
		want      string
	}{
		{"1.2.3.4:5", nil, 0, "1.2.3.4/32"},
		{"1.2.3.4:5", []string{"9.9.9.9"}, 0, "1.2.3.4/32"},
		{"169.254.1.1:5", []string{"9.9.9.9"}, 1, "9.9.9.9/32"},
		{"169.254.1.1:5", []string{"made-up, 6.6.6.6 , 9.9.9.9"}, 1, "9.9.9.9/32"},
		{"169.254.1.1:5", []string{"6.6.6.6", "9.9.9.9"}, 1, "9.9.9.9/32"},
		{"169.254.1.1:5", []string{"6.6.6.6, 9.9.9.9, 35.1.1.1"}, 2, "9.9.9.9/32"},
		{"169.254.1.1:5", []string{"9.9.9.9"}, 2, "169.254.1.1/32"},
		{"169.254.1.1:5", nil, 1, "invalid Prefix"},
		{"169.254.1.1:5", []string{"nonsense"}, 1, "invalid Prefix"},
		{"[2001:db8:1:2:3::4%eth0]:5", nil, 0, "2001:db8:1:2::/64"},
		{"[::ffff:1.2.3.4]:5", nil, 0, "1.2.3.4/32"},
		{"@", nil, 0, "invalid Prefix"},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.RemoteAddr = row.remote
		r.Header["X-Forwarded-For"] = row.forwarded
		if got := auth.ClientAddr(r, row.proxies).String(); got != row.want {
			t.Errorf("%s, forwarded for %v, %d proxies: %s, want %s", row.remote, row.forwarded, row.proxies, got, row.want)
		}
	}
}
