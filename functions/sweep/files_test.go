package sweep_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/functions/sweep"
	"errand/shared/adapters/local"
	"errand/shared/files"
	"errand/shared/lab/world"
	"errand/shared/task"
	"errand/shared/uploads"
)

// A sweep deletes the files of tasks that are no more, and leaves those of the others.
func TestFilesGoWithTheirTasks(t *testing.T) {
	passed := time.Duration(0)
	now := func() time.Time { return time.Now().Add(passed) }
	w := world.New(t, world.Config{Now: now})
	place := files.New(func(context.Context) (files.Place, error) {
		return local.OpenFolder(local.FolderConfig{Dir: filepath.Join(t.TempDir(), "files")})
	}, now)
	t.Cleanup(func() { _ = place.Close() })
	u := uploads.New(uploads.Config{Files: place, KV: w.Store.KV(), Now: now})
	s := sweep.New(sweep.Config{Desk: w.Desk(w.Store), Store: w.Store, KV: w.Store.KV(), Files: u, Queue: w.Jobs, Log: w.Log})

	ids := map[string]string{}
	for _, name := range []string{"there", "deleted", "never"} {
		f, err := u.Create(t.Context(), "alice", uploads.Upload{}, strings.NewReader(name))
		if err != nil {
			t.Fatal(err)
		}
		if name != "never" {
			world.Accept(t, w.Store, w.Moment(), task.Acceptance{ID: name, Owner: "alice"})
		}
		if _, err := u.Keep(t.Context(), "alice", f.ID, name, time.Time{}); err != nil {
			t.Fatal(err)
		}
		ids[name] = f.ID
	}
	world.Update(t, w.Store, "deleted", func(r task.Record) (task.Record, bool, error) { return r.Delete(w.Moment()) })

	passed = uploads.Day + time.Minute
	run(s, task.Turns, now())
	for name, id := range ids {
		_, err := u.Find(t.Context(), "alice", id)
		if (err == nil) != (name == "there") {
			t.Errorf("the file of the task %q: %v", name, err)
		}
	}
}
