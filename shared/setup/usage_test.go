package setup_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"errand/shared/auth"
	"errand/shared/lab/agent"
	"errand/shared/lab/emulator"
	"errand/shared/setup"
	"errand/shared/usage"
)

// limitedAccess is the path of an access file in which acme/ci alone has a limit.
func limitedAccess(t *testing.T) string {
	t.Helper()
	_, ci := auth.NewKey()
	_, other := auth.NewKey()
	path := filepath.Join(t.TempDir(), "access.yaml")
	text := "principals: [{name: acme/ci, keys: ['" + ci + "'], limits: {tokensPerDay: 100}}, {name: acme/other, keys: ['" + other + "']}]"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantUsed checks what a program knows about today of both principals.
func wantUsed(t *testing.T, m *usage.Meter, want int64, waits bool) {
	t.Helper()
	if got, err := m.Today(t.Context(), "acme/ci"); err != nil || got != want {
		t.Errorf("acme/ci used %d tokens, %v; want %d", got, err, want)
	}
	if wait, err := m.Wait(t.Context(), "acme/ci"); err != nil || (wait > 0) != waits {
		t.Errorf("acme/ci waits %v, %v; want %v", wait, err, waits)
	}
	if got, err := m.Today(t.Context(), "acme/other"); err != nil || got != 0 {
		t.Errorf("acme/other, without a limit, used %d tokens, %v", got, err)
	}
}

// The tokens that a program has counted are stored before its store is closed.
func TestStandaloneCountsTokens(t *testing.T) {
	awayFromMidnight(t)
	t.Chdir(t.TempDir())
	env := setup.Env{Access: limitedAccess(t)}
	for n := range 3 {
		p, err := setup.OpenStandalone(t.Context(), env, agent.Definition, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second tokens are not written at once
			p.Usage.Add("acme/ci", 25)
		}
		p.Usage.Add("acme/other", 25)
		wantUsed(t, p.Usage, int64(n+1)*50, n > 0)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The front door knows about the tokens that workers have counted.
func TestFrontKnowsTheTokensOfWorkers(t *testing.T) {
	awayFromMidnight(t)
	env := cloud(t)
	t.Setenv("FIRESTORE_EMULATOR_HOST", emulator.Firestore(t))
	env.Store = "firestore:" + emulator.Project(t)
	env.Access = limitedAccess(t)
	for range 2 {
		w, err := setup.OpenWorker(t.Context(), env, agent.Definition, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		w.Usage.Add("acme/ci", 60)
		w.Usage.Add("acme/other", 60)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}

	f, err := setup.OpenFront(t.Context(), env, agent.Definition, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	wantUsed(t, f.Usage, 120, true)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// awayFromMidnight waits for the next day if it is near.
func awayFromMidnight(t *testing.T) {
	t.Helper()
	now := time.Now().UTC()
	if rest := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now); rest < 2*time.Minute {
		t.Logf("waiting %v for the next day in UTC", rest)
		time.Sleep(rest)
	}
}
