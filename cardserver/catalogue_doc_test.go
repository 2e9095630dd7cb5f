package main_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"errand/shared/lab/conformance"
)

// Shows D22.
//
// TestCommandsOfTheCatalogueDocument pastes the commands of docs/catalogue.md into a shell: one program
// registers another, is killed, finds it and withdraws it.
func TestCommandsOfTheCatalogueDocument(t *testing.T) {
	for _, tool := range []string{"sh", "curl"} {
		_, err := exec.LookPath(tool)
		conformance.Require(t, "shell", err == nil, "install "+tool)
	}
	document, err := os.ReadFile("../docs/catalogue.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```sh ([a-z-]+)\n(.*?)```").FindAllSubmatch(document, -1) {
		commands[string(m[1])] = string(m[2])
	}

	key, said, _ := invoke(t, "key", "acme/ci")
	_, entry, _ := strings.Cut(said, "\n\n")
	access := filepath.Join(t.TempDir(), "access.yaml")
	text := "catalogue: {}\nprincipals:\n" + strings.TrimRight(entry, "\n") + "\n    catalogue: [register]\n"
	if err := os.WriteFile(access, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	other := start(t)
	p := start(t, "ERRAND_ACCESS="+access, "ERRAND_PUSH_ALLOW="+strings.TrimPrefix(other.url(), "http://"))

	env := []string{"AGENT=" + p.url(), "KEY=" + strings.TrimSpace(key), "OTHER=" + other.url(), "WORDS=probe"}
	run := func(name string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", commands[name])
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil || commands[name] == "" {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}

	var agent struct{ ID, State, Owner, URL string }
	if out := run("register"); json.Unmarshal([]byte(out), &agent) != nil || agent.State != "current" || agent.Owner != "acme/ci" {
		t.Fatalf("registered is %s", out)
	}
	p.kill() // what was answered is stored
	p.start()
	if out := run("find"); !strings.Contains(out, `"total":1`) || !strings.Contains(out, agent.ID) {
		t.Errorf("found is %s", out)
	}
	env = append(env, "ID="+agent.ID)
	if out := run("withdraw"); out != "" {
		t.Errorf("withdrawn is %s", out)
	}
	if out := run("find"); !strings.Contains(out, `"total":0`) {
		t.Errorf("after that found is %s", out)
	}
}
