package main_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"errand/shared/lab/conformance"
)

// TestCommandsOfTheWebhookDocument pastes the commands of docs/webhooks.md into a shell, as
// a person does who finds a dead webhook and has it sent again.
func TestCommandsOfTheWebhookDocument(t *testing.T) {
	for _, tool := range []string{"sh", "curl"} {
		_, err := exec.LookPath(tool)
		conformance.Require(t, "shell", err == nil, "install "+tool)
	}

	document, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}

	commands := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```sh ([a-z-]+)\n(.*?)```").FindAllSubmatch(document, -1) {
		commands[string(m[1])] = string(m[2])
	}

	var status atomic.Int64
	status.Store(http.StatusGone)
	got := make(chan string, 100)
	hooks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(status.Load()))
		got <- r.Header.Get("webhook-id")
	}))

	t.Cleanup(hooks.Close)

	dir := t.TempDir()
	key, said, _ := invoke(t, "key", "acme/ci")
	_, entry, _ := strings.Cut(said, "\n\n")
	access := filepath.Join(dir, "access.yaml")
	if err := os.WriteFile(access, []byte("principals:\n"+entry), 0o600); err != nil {
		t.Fatal(err)
	}

	p := start(t, "ERRAND_ACCESS="+access, "ERRAND_PUSH_ALLOW="+strings.TrimPrefix(hooks.URL, "http://"))
	env := []string{"AGENT=" + p.url(), "KEY=" + strings.TrimSpace(key), "URL=" + hooks.URL + "/a?b", "HOOK=mine"}

	shell := func(script string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", script)
		cmd.Dir, cmd.Env = p.dir, append(os.Environ(), env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all its children
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", script, err, out)
		}

		return string(out)
	}

	run := func(name string, want ...string) {
		t.Helper()
		if commands[name] == "" {
			t.Fatalf("docs/webhooks.md has no command %s", name)
		}

		out := shell(commands[name])
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("%s: the answer does not have %s: %s", name, text, out)
			}
		}

		delete(commands, name)
	}

	arrived := func(want string) {
		t.Helper()
		select {
		case id := <-got:
			if !regexp.MustCompile(want).MatchString(id) {
				t.Fatalf("%s arrived, want %s", id, want)
			}
		case <-time.After(patience):
			t.Fatalf("nothing arrived, want %s", want)
		}
	}

	// becomes waits until the API shows the webhook so.
	show := commands["hook"]

	becomes := func(want string) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			out := shell(show)
			if strings.Contains(out, want) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("the webhook does not become %s: %s", want, out)
			}
		}
	}

	// dead makes a task whose webhook is dead, and has the commands be about it. A webhook takes
	// one ping or re-drive in ten seconds, so each command has its own.
	dead := func(n string) {
		t.Helper()
		status.Store(http.StatusGone)
		answer := shell(`curl -sS -H "X-API-Key: $KEY" -H 'Content-Type: application/json' "$AGENT/message:send" -d '{"message":{"messageId":"` + n + `","role":"ROLE_USER",
		"parts":[{"text":"Hello"}]},"configuration":{"taskPushNotificationConfig":{"id":"mine","url":"'"$URL"'"}}}'`)
		id := regexp.MustCompile(`"id":"(1[a-z2-7]{33})"`).FindStringSubmatch(answer)
		if id == nil {
			t.Fatalf("the message was answered %s", answer)
		}

		env = append(env, "TASK="+id[1])
		arrived("/1$")
		becomes(`"state":"dead"`)
		status.Store(http.StatusOK)
	}

	run("keys", `{"secrets":["whsec_`, `"publicKeys":["whpk_`, `"subjects":["`, `"/.well-known/jwks.json"`)
	dead("m")
	run("dead-letters", `"id":"mine"`, `"gone":true`, `"nextPageToken":""`)
	run("hook", `"state":"dead"`, `"delivered":0`, `"status":410`)
	run("redrive-all", `{"hooks":1,"more":false}`)
	arrived("/1$")
	arrived("/2$")
	becomes(`"delivered":2`)

	dead("one")
	run("redrive", `"state":"active"`)
	arrived("/1$")
	arrived("/2$")

	dead("note")
	run("redrive-note", `"delivered":0`)
	arrived("/1$")
	arrived("/2$")
	becomes(`"delivered":2`)

	dead("time")
	run("redrive-time", `"delivered":0`)
	arrived("/1$")
	arrived("/2$")
	becomes(`"delivered":2`)

	dead("ping")
	run("ping", `"pingPending":true`)
	arrived("/ping-[0-9]+$")

	path, err := programs["cardserver"]()
	if err != nil {
		t.Fatal(err)
	}

	commands["rotate"] = strings.ReplaceAll(commands["rotate"], "go run ./cardserver", path)
	run("rotate", "The fresh key is used from", "Keep the older lines for 30 days")
	for name := range commands {
		t.Errorf("the command %s of docs/webhooks.md is not run", name)
	}

	info, err := os.Stat(filepath.Join(p.dir, "errand.db.keys"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file with the keys is %v, %v", info, err)
	}

	// The running program knows the fresh key, which is announced and not used yet. Each signs tokens and, by another key, cards.
	out := shell(`curl -sS "$AGENT/.well-known/jwks.json"`)
	if n := strings.Count(out, `"kid"`); n != 4 {
		t.Errorf("there are %d public keys, want 4: %s", n, out)
	}
}
