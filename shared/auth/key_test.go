package auth_test

import (
	"regexp"
	"testing"

	"errand/shared/auth"
)

func TestNewKey(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		key, hash := auth.NewKey()
		if !regexp.MustCompile(`^errand_[a-z2-7]{8}_[a-z2-7]{59}$`).MatchString(key) {
			t.Fatalf("key %s", key)
		}
		if !regexp.MustCompile(`^sha256:` + key[7:15] + `:[0-9a-f]{64}$`).MatchString(hash) {
			t.Fatalf("hash %s of %s", hash, key)
		}
		if auth.WithChecksum(key[:len(key)-7]) != key || seen[key[16:]] {
			t.Fatalf("checksum or chance of %s", key)
		}
		seen[key[16:]] = true
	}
}
