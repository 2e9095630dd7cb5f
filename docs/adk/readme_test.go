package adk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"errand/shared/lab/conformance"
)

// The commands of the README make a fork whose program is the example. They run in a copy of
// the module.
func TestReadmeMakesAFork(t *testing.T) {
	for name, program := range map[string]string{"git": "git", "shell": "sh"} {
		_, err := exec.LookPath(program)
		conformance.Require(t, name, err == nil, "install "+program)
	}

	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```sh fork\n(.*?)^```").FindAllSubmatch(readme, -1)
	if len(blocks) != 2 {
		t.Fatalf("the README has %d blocks of commands, want 2", len(blocks))
	}
	script := "set -eu\n"
	for _, b := range blocks {
		script += string(b[1])
	}
	script += "go build -o " + filepath.Join(t.TempDir(), "cardserver") + " ./cardserver\n"

	sh := exec.Command("sh", "-c", script)
	sh.Dir = copyOfModule(t)
	if out, err := sh.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// copyOfModule copies the files of the root module that Git knows, or would add.
func copyOfModule(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	list := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard")
	list.Dir = filepath.Join("..", "..")
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}

	for name := range strings.Lines(string(names)) {
		name = strings.TrimSpace(name)
		text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
		if os.IsNotExist(err) { // deleted, and not committed
			continue
		}
		to := filepath.Join(folder, filepath.FromSlash(name))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o700)
		}
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
