package push_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/cardserver/push"
	"errand/shared/adapters/local"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/uploads"
)

// A failing store of entries refuses deletions until it is healed.
type failing struct {
	kv.Store
	broken bool
}

func (f *failing) Delete(ctx context.Context, key string, version int64) error {
	if f.broken && strings.HasPrefix(key, "filetask/") {
		return errors.New("not reached")
	}
	return f.Store.Delete(ctx, key, version)
}

// The deletion of the last task that names a file deletes the file, and a repeated deletion
// makes up for one that was cut off.
func TestDeletionTakesTheFiles(t *testing.T) {
	w := newWorld(t)
	values := &failing{Store: w.config.KV}
	store := files.New(func(context.Context) (files.Place, error) {
		return local.OpenFolder(local.FolderConfig{Dir: filepath.Join(t.TempDir(), "files")})
	}, time.Now)
	t.Cleanup(func() { _ = store.Close() })
	u := uploads.New(uploads.Config{Files: store, KV: values})
	w.config.Files = u
	w.Handler = push.New(w.config)

	f, err := u.Create(t.Context(), alice, uploads.Upload{}, strings.NewReader("text"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"t1", "t2"} {
		w.ended(alice, id)
		if _, err := u.Keep(t.Context(), alice, f.ID, id, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}

	there := func(want bool) {
		t.Helper()
		if _, err := u.Find(t.Context(), alice, f.ID); (err == nil) != want {
			t.Errorf("Find: %v, want the file: %v", err, want)
		}
	}

	w.ask(bob, "DELETE", "/tasks/t1", "")
	if got := w.ask(alice, "DELETE", "/tasks/t1", ""); got.Code != http.StatusNoContent {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	there(true)

	values.broken = true
	if got := w.ask(alice, "DELETE", "/tasks/t2", ""); got.Code != http.StatusServiceUnavailable {
		t.Fatalf("while the entries are not reached: %d %s", got.Code, got.Body)
	}
	values.broken = false
	there(true)
	if got := w.ask(alice, "DELETE", "/tasks/t2", ""); got.Code != http.StatusNoContent {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	there(false)
}
