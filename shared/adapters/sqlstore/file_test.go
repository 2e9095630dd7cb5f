package sqlstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// refused opens path and wants an error with these texts.
func refused(t *testing.T, path string, says ...string) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
	if err == nil {
		t.Error("Open succeeded")
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("Open: the error %q does not contain %q", err, s)
		}
	}
}

func TestOpenTakesTheFileExclusively(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	refused(t, path, path, "in use", "another file")

	alias := filepath.Join(t.TempDir(), "alias.db")
	if err := os.Symlink(path, alias); err != nil {
		t.Fatal(err)
	}
	refused(t, alias, path, "in use")
	if out, err := child(t, "open", path).CombinedOutput(); err == nil || !strings.Contains(string(out), "in use") {
		t.Errorf("another process: %v, %s", err, out)
	}

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := child(t, "open", path).CombinedOutput(); err != nil {
		t.Errorf("another process after Close: %v, %s", err, out)
	}
	open(t, path, sqlstore.Options{})
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	altered := func(name, script string) string {
		path := filepath.Join(dir, name)
		db := open(t, path, sqlstore.Options{})
		// The script writes user_version and application_id directly, as another program would.
		if err := db.Script(t.Context(), script); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}

		return path
	}

	cut := func(path string) string {
		if err := os.Truncate(path, 5000); err != nil {
			t.Fatal(err)
		}
		return path
	}

	for name, tt := range map[string]struct {
		path string
		says []string
	}{
		"a folder that is missing":   {filepath.Join(dir, "no", "errand.db"), []string{"folder", "does not exist", "create it"}},
		"a folder":                   {dir, []string{dir, "is a directory"}},
		"no database":                {write("notes.txt", strings.Repeat("Not a database. ", 100)), []string{"notes.txt", "not a database of this program"}},
		"another program's database": {altered("other.db", "PRAGMA application_id = 7"), []string{"other.db", "not a database of this program"}},
		"an unmarked database":       {altered("unmarked.db", "PRAGMA application_id = 0"), []string{"not a database of this program"}},
		"a damaged database":         {cut(altered("cut.db", "")), []string{"cut.db", "damaged", "another file"}},
		"a newer schema":             {altered("newer.db", "PRAGMA user_version = 99"), []string{"newer.db", "newer version"}},
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := os.ReadFile(tt.path)
			refused(t, tt.path, tt.says...)
			refused(t, tt.path, tt.says...) // the first Open released the lock
			if after, _ := os.ReadFile(tt.path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestFilesArePrivate(t *testing.T) {
	path := file(t)
	// A copy that users other than the owner may read.
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"copied": path, "new": file(t)} {
		open(t, path, sqlstore.Options{})
		for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
			info, err := os.Stat(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != 0o600 {
				t.Errorf("mode of the %s database's file%s = %o, want 600", name, suffix, got)
			}
		}
	}
}

func TestOpenTakesAnyPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?mode=memory&x=%41#ü.db")
	db := open(t, path, sqlstore.Options{})
	create(t, db, "a")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("the named file was not written: %v", err)
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		t.Error("Close left the log beside the file")
	}
}

// Every acknowledged write is in the file that the next start opens.
func TestDeletedFileTakesNoMore(t *testing.T) {
	path := file(t)
	db := open(t, path, sqlstore.Options{})
	kept := task.Record{Owner: "me", Task: &a2a.Task{ID: "a", Status: a2a.TaskStatus{State: a2a.TaskStateSubmitted}}}
	if _, err := db.Create(t.Context(), kept); err != nil {
		t.Fatal(err)
	}

	late := kept
	late.Task = &a2a.Task{ID: "b", Status: kept.Task.Status}
	create := func(says string) {
		t.Helper()
		if _, err := db.Create(t.Context(), late); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Create: the error %v does not contain %q", err, says)
		}
	}

	aside := path + ".aside"
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}

	create("no such file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	create("was replaced")
	if _, err := db.Load(t.Context(), "a"); err != nil {
		t.Errorf("Load: %v", err)
	}
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Create(t.Context(), late); err != nil {
		t.Errorf("Create when the file is back: %v", err)
	}
}
