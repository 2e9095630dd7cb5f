package shared_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"errand/shared/lab/conformance"
)

// inFork is set where tests run in a copy of the project: there the project is not copied
// again.
const inFork = "ERRAND_TEST_FORK"

// Another agent takes the place of the shipped one in a copy of the project: another name,
// no provider, tools on a database with a setting and a secret, another executor. Nothing
// else is touched. The rules and the tests of the agent stay green there, in the long form
// those of all that has the agent in it or reads it, in the longest form all, and the built
// programs are made of that agent.
func TestAnotherAgent(t *testing.T) {
	dir := fork(t)
	tests := []string{"./worker/agent/...", "./shared"}
	reads := slices.Concat(tests, []string{"./cardserver", "./worker", "./worker/executor", "./functions", "./infra"})
	tests = conformance.Long(tests, reads, []string{"./..."})
	programs := conformance.Size([]string{"cardserver"}, []string{"cardserver", "worker", "functions"})

	inCopy(t, dir, "go", append([]string{"test", "-vet=off", "-timeout=30m"}, tests...)...)

	bin := filepath.Join(dir, "bin")
	for _, program := range programs {
		inCopy(t, dir, "go", "build", "-o", bin+string(filepath.Separator), "./"+program)
		if program == "functions" { // they run no agent
			continue
		}

		said := starts(t, filepath.Join(bin, program))
		for _, want := range []string{"ERRAND_SETTING_STOCK_FILE is required by agent.yaml: The SQLite file with the stock.", "ERRAND_SECRET_STOCK_SEAL is required by agent.yaml"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s without settings does not say %q: %s", program, want, said)
			}
		}
	}

	url := serves(t, filepath.Join(bin, "cardserver"), "ERRAND_SETTING_STOCK_FILE=stock.db", "ERRAND_SECRET_STOCK_SEAL=sesame")
	for _, row := range []struct{ say, want string }{
		{"How many teapots?", "3 teapots, says the stockkeeper in turn 1 to anonymous."}, // by its executor
		{`/tool reserve {"item":"teapots"}`, "reserve answered:"},                        // by its tool, and the shipped executor
		{`/tool stock {"item":"teapots"}`, "stock answered:"},
		{"How many teapots?", "2 teapots, says the stockkeeper"},
		{"Hello", "You said: Hello"},
	} {
		if got := send(t, url, row.say); !strings.Contains(got, row.want) {
			t.Errorf("%q is answered %q, want %q", row.say, got, row.want)
		}
	}
}

// A fork in Git takes in a later state of the project in which every file has changed. No
// file outside of worker/agent conflicts, and the fork keeps its agent.
func TestForkTakesInALaterState(t *testing.T) {
	_, err := exec.LookPath("git")
	conformance.Require(t, "git", err == nil, "install Git")
	dir := copyOfProject(t)
	git := func(args ...string) string {
		t.Helper()
		return inCopy(t, dir, "git", args...)
	}

	git("init", "-q", "-b", "shipped")
	git("config", "maintenance.auto", "false") // it would write while the folder is removed
	git("add", "-A", "-f")
	git("commit", "-q", "-m", "shipped")
	git("branch", "mine")
	changed := 0

	for _, file := range strings.Split(strings.TrimSpace(git("ls-files")), "\n") {
		changeLater(t, filepath.Join(dir, file))
		changed++
	}

	if changed < 300 {
		t.Fatalf("%d files are shipped; the test does not see them", changed)
	}

	git("commit", "-q", "-a", "-m", "later")

	git("checkout", "-q", "mine")
	putAgent(t, dir)
	git("add", "-A", "-f")
	git("commit", "-q", "-m", "my agent")
	before := git("rev-parse", "HEAD:worker/agent")

	merge := exec.CommandContext(t.Context(), "git", "merge", "-q", "--no-commit", "shipped")
	merge.Dir, merge.Env = dir, environOfCopy(dir)
	if out, err := merge.CombinedOutput(); err == nil {
		t.Errorf("nothing conflicts, not even worker/agent, which both have changed: %s", out)
	}

	for _, file := range strings.Fields(git("diff", "--name-only", "--diff-filter=U")) {
		if !strings.HasPrefix(file, own+"/") {
			t.Errorf("%s conflicts", file)
		}
	}

	// As the README has it.
	git("rm", "-r", "-q", "-f", own)
	git("checkout", "-q", "HEAD", "--", own)
	git("commit", "-q", "-m", "a later state")
	if after := git("rev-parse", "HEAD:worker/agent"); after != before {
		t.Error("the agent is not the fork's own any more")
	}
	if left := git("diff", "--stat", "shipped", "HEAD", "--", ".", ":!"+own); left != "" {
		t.Errorf("the merge is not the later state: %s", left)
	}

	if conformance.Full() {
		inCopy(t, dir, "go", "test", "./"+own+"/...", "./shared/agent", "./shared")
	}
}

// changeLater appends to a file something that changes nothing.
func changeLater(t *testing.T, path string) {
	t.Helper()
	more := "\n"
	switch filepath.Ext(path) {
	case ".go", ".mod":
		more = "\n// Changed later.\n"
	case ".tf", ".hcl", ".yaml":
		more = "\n# Changed later.\n"
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(more); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// fork is a copy of the project with another agent in it.
func fork(t *testing.T) string {
	t.Helper()
	dir := copyOfProject(t)
	putAgent(t, dir)
	return dir
}

// putAgent replaces worker/agent of a copy.
func putAgent(t *testing.T, dir string) {
	t.Helper()
	to := filepath.Join(dir, filepath.FromSlash(own))
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS("testdata/fork")); err != nil {
		t.Fatal(err)
	}
}

// copyOfProject copies the files of the project, and leaves out databases, builds and
// repositories that lie around in it.
func copyOfProject(t *testing.T) string {
	t.Helper()
	if os.Getenv(inFork) != "" {
		t.Skip("left out in a copy of the project")
	}

	dir := t.TempDir()
	around := regexp.MustCompile(`^(\.git|\.terraform|bin|node_modules|.*\.(db|db-shm|db-wal|db\.lock|db\.keys|db\.files|tfstate|tfstate\..*|tfvars))$`)

	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != ".." && around.MatchString(d.Name()) && !strings.Contains(path, "testdata"+string(filepath.Separator)):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}

		to := filepath.Join(dir, strings.TrimPrefix(path, ".."))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}

		return copyFile(path, to)
	})
	if err != nil {
		t.Fatal(err)
	}

	return dir
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}

// environOfCopy is the environment of commands in a copy. It asks for no long proofs and
// requires no tools, so tests there skip if a tool is missing.
func environOfCopy(dir string) []string {
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ERRAND_") || strings.HasPrefix(v, "GIT_") || strings.HasPrefix(v, "GEMINI_")
	})
	return append(environ, inFork+"=1", "GOWORK=off", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
}

// inCopy runs a command in a copy and returns its output.
func inCopy(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir, c.Env = dir, environOfCopy(dir)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out[max(0, len(out)-16<<10):])
	}
	return string(out)
}

// starts runs a program that must not start, and returns its output.
func starts(t *testing.T, path string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), path)
	c.Dir, c.Env = t.TempDir(), []string{"PORT=0", "HOME=/"}
	out, err := c.CombinedOutput()
	if err == nil {
		t.Errorf("%s starts", path)
	}
	return string(out)
}

// serves runs a program until the test ends and returns its address.
func serves(t *testing.T, path string, env ...string) string {
	t.Helper()
	c := exec.Command(path)
	c.Dir, c.Env = t.TempDir(), append([]string{"PORT=0", "HOME=/"}, env...)
	if runtime.GOOS == "windows" {
		c.Env = append(c.Env, "SystemRoot="+os.Getenv("SystemRoot"))
	}

	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})

	said := ""
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said += lines.Text() + "\n"
		if at := regexp.MustCompile(`^Stockkeeper is at (http://\S+)`).FindStringSubmatch(lines.Text()); at != nil {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return at[1]
		}
	}

	t.Fatalf("the program ends: %s", said)
	return ""
}

// send sends a message, waits for the task's end, and returns the texts of its artifacts.
func send(t *testing.T, url, say string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	body, err := json.Marshal(map[string]any{"message": map[string]any{
		"messageId": fmt.Sprint(time.Now().UnixNano()), "role": "ROLE_USER", "parts": []any{map[string]any{"text": say}},
	}})
	if err != nil {
		t.Fatal(err)
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/message:send", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}

	req.Header.Set("Content-Type", "application/json")

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	var answer struct {
		Task struct {
			Status    struct{ State string }
			Artifacts []struct{ Parts []struct{ Text string } }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}

	text := answer.Task.Status.State + ": "
	for _, a := range answer.Task.Artifacts {
		for _, p := range a.Parts {
			text += p.Text
		}
	}

	return text
}
