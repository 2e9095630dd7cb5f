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
	} {
		if loopback.Is(host) != want {
			t.Errorf("Is(%q) = %v", host, !want)
		}
	}
}
