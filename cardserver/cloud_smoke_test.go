package main_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"errand/infra/smoke"
	"errand/shared/auth"
	"errand/shared/serve"
)

// The smoke test finds no fault of the three programs with a client's key, and names the
// fault without one.
func TestCloudPassesSmoke(t *testing.T) {
	key, hash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(access, []byte("principals:\n  - name: smoke\n    keys: ['"+hash+"']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startCloud(t, "ERRAND_ACCESS="+access)
	for _, p := range c.programs() { // Cloud Run asks in the same way before it sends requests
		persist(t.Context(), t, func() (struct{}, error) {
			res, err := http.Get(p.url() + serve.PathReady)
			if err == nil {
				err = res.Body.Close()
			}
			if err == nil && res.StatusCode != http.StatusNoContent {
				err = fmt.Errorf("%s: %s", p.program, res.Status)
			}
			return struct{}{}, err
		})
	}

	var out bytes.Buffer
	if err := smoke.Run(t.Context(), smoke.Config{URL: c.url(), Key: key, Timeout: patience, Out: &out}); err != nil {
		t.Errorf("smoke: %v\n%s", err, &out)
	}
	out.Reset()
	if err := smoke.Run(t.Context(), smoke.Config{URL: c.url(), Timeout: patience, Out: &out}); err == nil || !bytes.Contains(out.Bytes(), []byte("401")) {
		t.Errorf("without a key: %v\n%s", err, &out)
	}
}
