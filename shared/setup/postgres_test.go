package setup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/shared/keys"
	"errand/shared/lab/postgres"
	"errand/shared/setup"
	"errand/shared/task"
)

// The password of a Postgres database is a secret, from wherever secrets are, and is read
// again for each connection.
func TestPasswordOfPostgresIsASecret(t *testing.T) {
	const password = "kelp & brine?"
	url := postgres.StartWithPassword(t, password).Database()
	folder := t.TempDir()
	secret := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	ring, err := keys.Generate("", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secret("errand-keys", ring)
	private := t.TempDir()
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	files := "file:" + private
	withFiles := setup.Env{Store: url, Files: files, Secrets: "file:" + folder}
	if _, err := open(t, withFiles); err == nil || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "ERRAND_STORE") {
		t.Errorf("without a password: %v", err)
	}

	secret("alloy_db_pass", password+"\n")
	for name, e := range map[string]setup.Env{
		"files":       withFiles,
		"environment": {Store: url, Files: files, Keys: ring, StorePassword: password},
		"user too":    {Store: strings.Replace(url, "errand@", "", 1), Files: files, Keys: ring, StoreUser: "errand", StorePassword: password},
	} {
		t.Run(name, func(t *testing.T) {
			parts, err := open(t, e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = parts.Store.Load(t.Context(), "none"); !errors.Is(err, task.ErrNotFound) {
				t.Errorf("Load = %v", err)
			}
		})
	}
}
