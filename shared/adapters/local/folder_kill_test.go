//go:build unix

package local_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"errand/shared/adapters/local"
	"errand/shared/files"
)

// TestMain skips TestKilledChild, except in the processes that a test starts.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.NArg() == 0 && flag.Lookup("test.skip").Value.String() == "" {
		if err := flag.Set("test.skip", "^TestKilledChild$"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

var (
	oldContent = bytes.Repeat([]byte("old"), 100_000)
	newContent = bytes.Repeat([]byte("new!"), 100_000)
)

// TestKilledChild puts two files, deletes one, and kills itself at a given step.
func TestKilledChild(t *testing.T) {
	args := flag.Args()
	if len(args) != 2 {
		t.Fatal("runs only in a process of its own; leave -skip out")
	}

	left, err := strconv.Atoi(args[1])
	if err != nil {
		t.Fatal(err)
	}

	step := func(string) {
		if left--; left < 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}

	s := files.New(func(context.Context) (files.Place, error) {
		p, err := local.OpenFolder(local.FolderConfig{Dir: args[0]})
		p.Disk = watched{p.Disk, step}
		return p, err
	}, time.Now)

	for _, name := range []string{"d/replaced", "d/fresh"} {
		content := io.TeeReader(iotest.HalfReader(bytes.NewReader(newContent)), writerFunc(func() { step("read") }))
		if _, err := s.Put(t.Context(), files.Upload{Name: name}, content); err != nil {
			t.Fatal(err)
		}
		say(name)
		step("")
	}

	if err := s.Delete(t.Context(), "d/deleted"); err != nil {
		t.Fatal(err)
	}

	say("d/deleted")
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

func say(name string) {
	if _, err := os.Stdout.WriteString("done " + name + "\n"); err != nil {
		os.Exit(3)
	}
}

// A process dies at every step of two puts and a delete. Every file is whole afterwards, in
// the old or the new version, and in the new version after an acknowledgement.
func TestKilledAtEveryStep(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	for n := 0; ; n++ {
		dir := filepath.Join(t.TempDir(), "x.files")
		s := folder(t, local.FolderConfig{Dir: dir})

		for _, name := range []string{"d/replaced", "d/deleted", "d/other"} {
			if _, err := s.Put(t.Context(), files.Upload{Name: name}, bytes.NewReader(oldContent)); err != nil {
				t.Fatal(err)
			}
		}

		child := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledChild$", "--", dir, strconv.Itoa(n))
		out, err := child.Output()
		killed := child.ProcessState.Sys().(syscall.WaitStatus).Signaled()
		if err != nil && !killed {
			t.Fatalf("step %d: %v\n%s", n, err, out)
		}

		done := func(name string) bool { return strings.Contains(string(out), "done "+name+"\n") }
		for name, may := range map[string][][]byte{"d/replaced": {newContent, oldContent}, "d/fresh": {newContent, nil}, "d/deleted": {nil, oldContent}, "d/other": {oldContent}} {
			if done(name) {
				may = may[:1]
			}

			got := content(t, s, name)
			if !slices.ContainsFunc(may, func(want []byte) bool { return bytes.Equal(got, want) && (got == nil) == (want == nil) }) {
				t.Errorf("killed at step %d, acknowledged %t: %s has %d bytes", n, done(name), name, len(got))
			}
		}

		// The caller retries.
		if _, err := s.Put(t.Context(), files.Upload{Name: "d/fresh"}, bytes.NewReader(newContent)); err != nil {
			t.Errorf("killed at step %d: Put again = %v", n, err)
		}
		if err := s.Delete(t.Context(), "d/deleted"); err != nil || content(t, s, "d/deleted") != nil {
			t.Errorf("killed at step %d: Delete again = %v", n, err)
		}
		if left := tree(t, dir); slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, "d/deleted") }) {
			t.Errorf("killed at step %d: after the second delete there is %q", n, left)
		}

		if err := s.DeleteAll(t.Context(), "d"); err != nil {
			t.Errorf("killed at step %d: DeleteAll = %v", n, err)
		}
		if left := tree(t, dir); len(left) != 0 {
			t.Errorf("killed at step %d: after DeleteAll there is %q", n, left)
		}

		if !killed {
			if n < 20 {
				t.Errorf("there were only %d steps to be killed at", n)
			}
			return
		}
	}
}

// content returns the content of a file, or nil if there is none.
func content(t *testing.T, s *files.Store, name string) []byte {
	t.Helper()
	_, r, err := s.Get(t.Context(), name)
	if errors.Is(err, files.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("reading %s: %v", name, err)
	}
	return got
}

// Other users of the machine have no access, with any umask.
func TestFolderIsPrivate(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077, 0o277, 0o777} {
		dir := filepath.Join(t.TempDir(), "x.files")
		old := syscall.Umask(mask)
		s := folder(t, local.FolderConfig{Dir: dir})
		_, err := s.Put(t.Context(), files.Upload{Name: "a/b/c"}, strings.NewReader("c"))
		syscall.Umask(old)
		if err != nil {
			t.Errorf("umask %03o: Put = %v", mask, err)
		}

		for _, name := range append(tree(t, dir), "") {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}

			want := os.FileMode(0o600)
			if info.IsDir() {
				want = 0o700
			}
			if info.Mode().Perm() != want {
				t.Errorf("umask %03o: %q has the mode %04o, want %04o", mask, name, info.Mode().Perm(), want)
			}
		}
	}

	// The modes of an existing folder stay.
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := local.OpenFolder(local.FolderConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "chmod 700 "+dir) {
		t.Errorf("OpenFolder of an open folder = %v, want the remedy", err)
	}
}
