package main_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/keys"
)

// servedPaths are the paths that clients may call: those of A2A in both versions, the well-known ones, and
// those that the descriptions of our own APIs name.
func servedPaths(t *testing.T) []string {
	t.Helper()
	all := []string{
		card.Path, card.OldPath, keys.Path, keys.WakePath + "x/y", "/live", "/ready", "/message:send", "/message:stream",
		"/tasks", "/tasks/x:cancel", "/tasks/x/pushNotificationConfigs", "/extendedAgentCard", "/v1/message:send", "/v1/card", "/v1/files", "/v1/batches",
	}
	descriptions, err := filepath.Glob("*/openapi.yaml")
	if err != nil || len(descriptions) < 3 {
		t.Fatalf("descriptions: %v, %v", descriptions, err)
	}

	for _, path := range descriptions {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^  (/[^ ]*):$`).FindAllSubmatch(text, -1)
		if len(found) == 0 {
			t.Errorf("%s has no paths", path)
		}
		for _, m := range found {
			all = append(all, string(m[1]))
		}
	}
	return all
}

// The first segments of all paths that are served are reserved: no tenant has such a name, in the
// access file or in a path.
func TestFirstSegmentsAreNoTenants(t *testing.T) {
	t.Parallel()
	p := start(t)
	_, hash := auth.NewKey()
	seen := map[string]bool{}
	for _, path := range servedPaths(t) {
		first, _, _ := strings.Cut(path[1:], "/")
		if seen[first] {
			continue
		}
		seen[first] = true
		if !auth.Reserved(first) {
			t.Errorf("%s is served, and %s is not reserved", path, first)
		}

		access := filepath.Join(t.TempDir(), "access.yaml")
		if err := os.WriteFile(access, []byte("principals: [{name: '"+first+"/x', keys: ["+hash+"]}]"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := auth.Load(access, auth.Options{}); err == nil {
			t.Errorf("the access file has a principal of the tenant %s", first)
		}
		// As a tenant it would be the caller's, or refused because it is another's.
		if status, _, text := p.get("/"+first+"/extendedAgentCard", ""); status == http.StatusOK || status == http.StatusForbidden {
			t.Errorf("/%s/extendedAgentCard is answered %d: %s", first, status, text)
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d first segments are served", len(seen))
	}
}
