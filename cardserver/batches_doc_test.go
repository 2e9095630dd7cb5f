package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/shared/lab/conformance"
)

// A shelf is a folder with what docs/batches.md shows, in which its commands and programs run.
type shelf struct {
	t      *testing.T
	dir    string
	env    []string
	blocks map[string]string // by language and name; those that have run are removed
}

func openShelf(t *testing.T) *shelf {
	t.Helper()
	for _, tool := range []string{"sh", "curl", "grep", "cut", "go"} {
		_, err := exec.LookPath(tool)
		conformance.Require(t, "shell", err == nil, "install "+tool)
	}
	_, err := exec.LookPath("python3")
	conformance.Require(t, "python3", err == nil, "install Python 3.9 or newer")
	needJavaScript(t)

	s := &shelf{t: t, dir: t.TempDir(), blocks: map[string]string{}}
	document := read(t, "../docs/batches.md")
	for _, m := range regexp.MustCompile("(?ms)^```([a-z]+) ([a-z-]+)\n(.*?)^```").FindAllStringSubmatch(document, -1) {
		s.blocks[m[1]+" "+m[2]] = m[3]
	}

	modules, err := filepath.Abs("testdata/js/node_modules")
	if err == nil {
		err = os.Symlink(modules, filepath.Join(s.dir, "node_modules"))
	}
	path, perr := programs["cardserver"]()
	if err == nil && perr == nil {
		err = os.Symlink(path, filepath.Join(s.dir, "cardserver"))
	}
	if err != nil || perr != nil {
		t.Fatal(err, perr)
	}
	s.env = append(os.Environ(), "PATH="+s.dir+":"+os.Getenv("PATH"))
	return s
}

// take returns a block of the document, which then counts as run.
func (s *shelf) take(name string) string {
	s.t.Helper()
	text, ok := s.blocks[name]
	if !ok {
		s.t.Fatalf("docs/batches.md has no block %q", name)
	}
	delete(s.blocks, name)
	return text
}

// put writes a file into the folder.
func (s *shelf) put(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// shell runs a script, and returns its standard output.
func (s *shelf) shell(script string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all its children
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s\n%v\n%s%s", script, err, &out, &errs)
	}
	return out.String()
}

// runs runs the blocks of a name in languages other than that of the shell, and compares what
// they print.
func (s *shelf) runs(name, want string) {
	s.t.Helper()
	for _, l := range []struct{ language, file, command string }{
		{"go", "main.go", "go run main.go"}, {"python", "main.py", "python3 main.py"}, {"js", "main.mjs", "node main.mjs"},
	} {
		s.put(l.file, s.take(l.language+" "+name))
		if diff := cmp.Diff(want, s.shell(l.command)); diff != "" {
			s.t.Errorf("the answers of %s %s (-want +got):\n%s", l.language, name, diff)
		}
	}
}

// TestCommandsAndProgramsOfTheBatchDocument runs all that docs/batches.md shows. Every way to the
// same batch has the same answers.
func TestCommandsAndProgramsOfTheBatchDocument(t *testing.T) {
	t.Parallel()
	s := openShelf(t)
	key, said, _ := invoke(t, "key", "acme/ci")
	_, entry, _ := strings.Cut(said, "\n\n")
	s.put("access.yaml", "principals:\n"+entry)
	s.put("agent.key", key)
	p := start(t, "ERRAND_ACCESS="+filepath.Join(s.dir, "access.yaml"))
	s.env = append(s.env, "AGENT="+p.url(), "KEY="+strings.TrimSpace(key))

	s.put("questions.csv", "id,question\n7,\"Why, and \"\"how\"\"?\"\n8,Who?\n")
	s.shell(s.take("sh csv"))
	if text := read(t, filepath.Join(s.dir, "prompts.jsonl")); text != `{"id": "7", "text": "Why, and \"how\"?"}`+"\n"+`{"id": "8", "text": "Who?"}`+"\n" {
		t.Errorf("the manifest of a table is %s", text)
	}

	s.put("prompts.jsonl", s.take("json prompts"))
	s.shell(s.take("sh cli"))
	answers := read(t, filepath.Join(s.dir, "answers.jsonl"))
	if ids := regexp.MustCompile(`(?m)^\{"id":"([^"]*)"`).FindAllStringSubmatch(answers, -1); len(ids) != 3 || ids[0][1] != "a-1" || ids[1][1] != "a-2" || ids[2][1] != "b-1" {
		t.Fatalf("the answers are %s", answers)
	}
	if failures := read(t, filepath.Join(s.dir, "errors.jsonl")); failures != "" {
		t.Errorf("there are errors: %s", failures)
	}
	sameFields(t, strings.Split(s.take("json answers"), "\n")[0], strings.Split(answers, "\n")[0])

	if got := s.shell(s.take("sh submit") + s.take("sh state") + s.take("sh results")); !strings.HasSuffix(got, "}\n"+answers) || !strings.Contains(got, `"state":"completed"`) {
		t.Errorf("the commands print %s", got)
	}
	s.runs("batch", answers)
	if got := s.shell(s.take("sh file")); !strings.Contains(got, `"name":"nightly-2026-11-29"`) || !strings.Contains(got, `"budget":{"tokens":2000000}`) {
		t.Errorf("a batch of an uploaded file is %s", got)
	}

	s.put("openai.jsonl", s.take("json openai-prompts"))
	answers = s.shell(s.take("sh openai"))
	if ids := regexp.MustCompile(`"custom_id":"([^"]*)"`).FindAllStringSubmatch(answers, -1); len(ids) != 2 || ids[0][1] != "a-1" || ids[1][1] != "a-2" {
		t.Fatalf("the answers are %s", answers)
	}
	s.runs("openai", answers)
	s.put("package.mjs", s.take("js openai-package"))
	if diff := cmp.Diff(answers, s.shell("node package.mjs")); diff != "" {
		t.Errorf("the answers by OpenAI's package (-want +got):\n%s", diff)
	}

	// Python's package is not installed for tests: its calls are those of the package above.
	s.put("package.py", s.take("python openai-package"))
	s.shell(`python3 -c 'import ast; ast.parse(open("package.py").read())'`)

	changes(s)
	for name := range s.blocks {
		t.Errorf("the block %q of docs/batches.md is not run", name)
	}
}

// changes runs the commands that change a batch, on an agent that takes its time.
func changes(s *shelf) {
	s.t.Helper()
	held := start(s.t, "ERRAND_ACCESS="+filepath.Join(s.dir, "access.yaml"), "ERRAND_MODEL=standin:delay=10m")
	s.env = append(s.env, "AGENT="+held.url())
	s.shell("cardserver batch -key @agent.key -no-wait prompts.jsonl $AGENT 2>said")
	s.env = append(s.env, "BATCH="+batchIn.FindString(read(s.t, filepath.Join(s.dir, "said"))))

	run := func(name, want string) {
		s.t.Helper()
		if got := s.shell(s.take(name)); !strings.Contains(got, want) {
			s.t.Errorf("%s answers %s, want %s", name, got, want)
		}
	}
	run("sh pause", `"state":"paused"`)
	run("sh resume", `"budget":{"tokens":5000000}`)
	run("sh cancel", `TASK_STATE_CANCELED`)

	s.shell("cardserver batch -key @agent.key -watch $BATCH $AGENT >answers.jsonl 2>said || [ $? = 3 ]")
	if text := read(s.t, filepath.Join(s.dir, "said")); strings.Count(text, `"error":{"code":"`) != 3 {
		s.t.Errorf("a canceled batch ends with %s", text)
	}
	run("sh retry", `~1"`)
	run("sh delete", "")
	if got := s.shell(`curl -sS -H "X-API-Key: $KEY" "$AGENT/batches/$BATCH"`); !strings.Contains(got, `"status":404`) {
		s.t.Errorf("the deleted batch is %s", got)
	}
}

// sameFields compares the names of the fields of two objects.
func sameFields(t *testing.T, shown, real string) {
	t.Helper()
	var a, b map[string]any
	if err := json.Unmarshal([]byte(shown), &a); err != nil {
		t.Fatalf("the line that is shown: %v", err)
	}
	if err := json.Unmarshal([]byte(real), &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b))); diff != "" {
		t.Errorf("the fields of an answer (-docs/batches.md +real):\n%s", diff)
	}
}
