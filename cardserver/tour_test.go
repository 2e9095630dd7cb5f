package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"errand/shared/lab/conformance"
)

// TestTourOfTheReadme pastes the README's tour into a shell, command by command, with its
// own port and program name. It leaves out the smoke test, which has its own tests, unless
// long proofs are asked for.
func TestTourOfTheReadme(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"sh", "curl", "pkill", "grep", "cut"} {
		_, err := exec.LookPath(tool)
		conformance.Require(t, "shell", err == nil, "install "+tool)
	}

	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}

	var tour []string
	for _, m := range regexp.MustCompile("(?s)```sh tour\n(.*?)```").FindAllSubmatch(readme, -1) {
		tour = append(tour, string(m[1]))
	}

	if len(tour) < 9 {
		t.Fatalf("the README has %d steps of a tour", len(tour))
	}

	path, err := programs["cardserver"]()
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	name := fmt.Sprintf("tour%d", os.Getpid()) // the name that pkill must not confuse with another
	program := filepath.Join(dir, name)
	if err := os.Link(path, program); err != nil {
		t.Fatal(err)
	}

	hook := filepath.Join(dir, "hook"+name)
	if out, err := exec.Command("go", "build", "-o", hook, "../docs/receiver").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	port := freePort(t)
	commands := strings.Join(tour, "\n")
	const smoke = "go run ./cardserver smoke http://127.0.0.1:8080\n"
	if !strings.Contains(commands, smoke) {
		t.Error("the tour does not try the agent from outside")
	}
	if !conformance.Full() {
		commands = strings.Replace(commands, smoke, "", 1)
	}

	script := strings.NewReplacer(
		"go run ./cardserver batch -", fmt.Sprintf("%s batch - http://127.0.0.1:%d", program, port),
		"go run ./cardserver", fmt.Sprintf("PORT=%d %s", port, program),
		"go run ./docs/receiver", hook,
		"127.0.0.1:8080", fmt.Sprintf("127.0.0.1:%d", port),
		"-x cardserver", "-x "+name,
		"-x receiver", "-x hook"+name,
		"/tool time ", "/tool clock ", // that the agent of the tests has
	).Replace(commands)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", script+"\nwait\n")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all its children
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the tour ended with %v", err)
	}

	said := string(out)
	for i := range 10 {
		if !strings.Contains(said, fmt.Sprintf("You said: Message %d", i+1)) {
			t.Errorf("message %d has no answer", i+1)
		}
	}

	for _, want := range []string{"You said: Hello!", "artifactUpdate", "You said: Blue", "You said: Tell me by webhook", "/2 {\"statusUpdate\"", "Lisbon", "nextPageToken", "TASK_STATE_CANCELED", `"id":"q3","line":3,`, "You said: Question 3", "You said: Over HTTP+JSON", "You said: As in 0.3", `"state":"completed"`} {
		if !strings.Contains(said, want) {
			t.Errorf("the tour does not show %q", want)
		}
	}

	if conformance.Full() && !strings.Contains(said, "checks passed.") {
		t.Error("the tour does not pass the smoke test")
	}
	if strings.Contains(said, `"error"`) {
		t.Error("a command was answered with an error")
	}
	if t.Failed() {
		t.Logf("the tour:\n%s", said)
	}
}
