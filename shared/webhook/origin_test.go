package webhook_test

import (
	"testing"

	"errand/shared/webhook"
)

// All spellings of a receiver's URL have one host, by which limits and breakers count.
func TestHost(t *testing.T) {
	for url, want := range map[string]string{
		"https://hooks.example.com/a":           "hooks.example.com",
		"https://HOOKS.example.com:443/b?c=d":   "hooks.example.com",
		"https://hooks.example.com.":            "hooks.example.com",
		"https://hooks.example.com:8443/":       "hooks.example.com:8443",
		"http://127.0.0.1:9099/x":               "127.0.0.1:9099",
		"https://bücher.example/":               "xn--bcher-kva.example",
		"https://user:canary@hooks.example.com": "hooks.example.com",
		"%":                                     "",
	} {
		if got := webhook.Host(url); got != want {
			t.Errorf("Host(%s) = %q, want %q", url, got, want)
		}
	}
}
