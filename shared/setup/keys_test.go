package setup_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"errand/shared/keys"
	lab "errand/shared/lab/agent"
	"errand/shared/setup"
)

// Beside a SQLite file keys are made at the first start and stay the same; a secret that is
// there is used instead, and no file made.
func TestKeysBesideTheStore(t *testing.T) {
	given, err := keys.Generate("", time.Now())
	if err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(t.TempDir(), "x.db")

	public := func(e setup.Env) string {
		t.Helper()
		p, err := setup.OpenStandalone(t.Context(), e, lab.Definition, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}

		ring, err := p.Keys.Ring(t.Context())
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err != nil {
			t.Fatal(err)
		}

		return ring.Public(time.Now(), "owner")[0]
	}

	own := setup.Env{Store: "sqlite:" + file}
	first := public(own)
	info, err := os.Stat(file + ".keys")
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Fatalf("the file of keys: %v, %v, want mode 0600", info, err)
	}
	if again := public(own); again != first {
		t.Errorf("after a restart the key is %s, want %s", again, first)
	}

	other := setup.Env{Store: "sqlite:" + filepath.Join(t.TempDir(), "y.db"), Keys: given}
	ring, err := keys.Parse(given)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := public(other), ring.Public(time.Now(), "owner")[0]; got != want {
		t.Errorf("with ERRAND_KEYS the key is %s, want %s", got, want)
	}
	if _, err := os.Stat(other.Store[len("sqlite:"):] + ".keys"); !os.IsNotExist(err) {
		t.Errorf("with ERRAND_KEYS there is a file of keys: %v", err)
	}
}
