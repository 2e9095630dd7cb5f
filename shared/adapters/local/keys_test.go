package local_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"errand/shared/adapters/local"
	"errand/shared/secret"
)

func TestKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "errand.keys")
	for i := range 2 {
		got, err := local.KeyFile(path, func() (string, error) { return "content " + strconv.Itoa(i) + "\n", nil })
		if err != nil || got.Reveal() != "content 0\n" {
			t.Fatalf("KeyFile, time %d = %q, %v, want the content of the first", i, got.Reveal(), err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, want 0600", info.Mode())
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v, want the file alone", left, err)
	}
}

// All goroutines begin to write before one has finished. So all but one of them find a file
// that was not there when they first looked.
func TestKeyFileOfManyAtOnceIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "errand.keys")
	const many = 20
	var ready, all sync.WaitGroup
	ready.Add(many)
	got := make([]string, many)

	for i := range many {
		all.Go(func() {
			v, err := local.KeyFile(path, func() (string, error) {
				ready.Done()
				ready.Wait()
				return "content " + strconv.Itoa(i), nil
			})
			if err != nil {
				t.Error(err)
			}

			got[i] = v.Reveal()
		})
	}

	all.Wait()
	for i, g := range got {
		if g == "" || g != got[0] {
			t.Errorf("KeyFile of %d = %q, want the same as from all others: %q", i, g, got[0])
		}
	}
}

func TestKeyFileOfTwoProcessesIsOne(t *testing.T) {
	const variable = "ERRAND_TEST_KEY_FILE"
	if path := os.Getenv(variable); path != "" {
		v, err := local.KeyFile(path, func() (string, error) { return "made by " + strconv.Itoa(os.Getpid()), nil })
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("<" + v.Reveal() + ">")
		return
	}

	path := filepath.Join(t.TempDir(), "errand.keys")
	var said [2]string
	var all sync.WaitGroup

	for i := range said {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKeyFileOfTwoProcessesIsOne$")
			cmd.Env = append(os.Environ(), variable+"="+path)
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("process %d: %v: %s", i, err, out)
			}

			_, after, _ := strings.Cut(string(out), "<")
			said[i], _, _ = strings.Cut(after, ">")
		})
	}

	all.Wait()
	if !strings.HasPrefix(said[0], "made by ") || said[0] != said[1] {
		t.Errorf("the processes have %q, want the same", said)
	}
}

func TestKeyFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}

	broken := errors.New("no randomness")
	for _, row := range []struct {
		path string
		want string
		is   error
	}{
		{write("group", "CANARY", 0o640), "chmod 600 ", nil},
		{write("world", "CANARY", 0o644), "chmod 600 ", nil},
		{write("write", "CANARY", 0o602), "chmod 600 ", nil},
		{write("empty", "", 0o600), "is empty", nil},
		{write("large", strings.Repeat("CANARY", 11000), 0o600), "64 KiB", secret.ErrTooLarge},
		{dir, "is not a regular file", nil},
		{filepath.Join(dir, "gone", "keys"), "making ", os.ErrNotExist},
		{filepath.Join(dir, "broken"), "making ", broken},
	} {
		if runtime.GOOS == "windows" && row.want == "chmod 600 " {
			continue
		}

		v, err := local.KeyFile(row.path, func() (string, error) {
			if filepath.Base(row.path) == "broken" {
				return "", broken
			}
			return "fresh", nil
		})
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), row.path) || v.Reveal() != "" {
			t.Errorf("KeyFile(%s) = %d bytes, %v, want an error with %q", row.path, len(v.Reveal()), err, row.want)
		}
		if row.is != nil && !errors.Is(err, row.is) {
			t.Errorf("KeyFile(%s) = %v, want it to be %v", row.path, err, row.is)
		}

		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the error of KeyFile(%s) quotes the content: %v", row.path, err)
		}
	}

	if _, err := os.Stat(filepath.Join(dir, "broken")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made without content: %v", err)
	}
}
