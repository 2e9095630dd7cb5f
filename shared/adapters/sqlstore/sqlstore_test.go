package sqlstore_test

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// open opens path and closes it at the end of the test.
func open(t testing.TB, path string, opts sqlstore.Options) *sqlstore.DB {
	t.Helper()
	opts.Log = slog.New(slog.DiscardHandler)
	db, err := sqlstore.Open(t.Context(), path, opts)
	return opened(t, db, err)
}

// opened closes a store that was opened at the end of the test.
func opened(t testing.TB, db *sqlstore.DB, err error) *sqlstore.DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "errand.db") }

// accepted returns the record of a short message that was just accepted.
func accepted(t testing.TB, id string, now time.Time) task.Record {
	t.Helper()
	r, err := task.Accept(task.Defaults().At(now), task.Acceptance{
		ID: id, Context: hashed(id), Owner: "someone", Lane: task.Turns,
		Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("Please find out what a heron eats.")),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEverythingIsThereAfterReopening(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	r, err := db.Create(t.Context(), accepted(t, "a", time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, path, sqlstore.Options{}).Load(t.Context(), "a")
	if err != nil || got.Version != r.Version {
		t.Errorf("Load after reopening = version %d, %v, want version %d", got.Version, err, r.Version)
	}
	if _, err := db.Load(t.Context(), "a"); !errors.Is(err, sqlstore.ErrClosed) {
		t.Errorf("Load of a closed store: %v, want %v", err, sqlstore.ErrClosed)
	}
}

// hashed returns an id like those of the desk.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:26]
}
