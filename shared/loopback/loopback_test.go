package loopback_test

import (
	"testing"

	"errand/shared/loopback"
)

func TestIs(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "localhost:8080": true, "127.0.0.1": true, "127.9.9.9:80": true,
		"::1": true, "[::1]": true, "[::1]:8080": true, "::ffff:127.0.0.1": true,
		"": false, ":8080": false, "localhost.example.com": false, "127.0.0.1.example.com": false, "0.0.0.0": false, "[::]:8080": false,
		"10.0.0.1": false, "example.com:80": false, "localhost:80:80": false, "2130706433": false,
		"localhost:": true, "localhost:http": false, "127.0.0.1:65536": false, "127.0.0.1:a;id": false, "[::1%a;id]": false, "[::1%a;id]:80": false,
		"[[::1]]": false, "[::1": false, "]127.0.0.1[": false,
	} {
		if loopback.Is(host) != want {
			t.Errorf("Is(%q) = %v", host, !want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for host, want := range map[string]string{
		"1.2.3.4": "1.2.3.4/32", "1.2.3.4:5": "1.2.3.4/32", "::ffff:1.2.3.4": "1.2.3.4/32",
		"[2001:db8:1:2:3::4%eth0]:5": "2001:db8:1:2::/64", "2001:db8:1:2::": "2001:db8:1:2::/64",
		"": "invalid Prefix", "@": "invalid Prefix", "localhost:80": "invalid Prefix",
	} {
		if got := loopback.Network(host).String(); got != want {
			t.Errorf("Network(%q) = %s, want %s", host, got, want)
		}
	}
}
