package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"errand/shared/auth"
	"errand/shared/keys"
)

// invoke runs the real program with arguments and an empty environment.
func invoke(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	return invokeWith(t, nil, args...)
}

// invokeWith gives the program a standard input as well.
func invokeWith(t *testing.T, in io.Reader, args ...string) (out, errs string, code int) {
	t.Helper()
	path, err := programs["cardserver"]()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var o, e bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = t.TempDir(), []string{"HOME=/"}, in, &o, &e
	err = cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited || ctx.Err() != nil {
		t.Fatalf("%q: %v, %v", args, err, ctx.Err())
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

func TestCommands(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("CANARY one\nCANARY two\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	const url = "http://127.0.0.1:1"
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"help"}, 0, "cardserver key [flags] [NAME]"},
		{[]string{"--help"}, 0, "cardserver smoke [flags] URL"},
		{[]string{"smok"}, 2, `there is no command "smok"`},
		{[]string{"-port", "8080"}, 2, "cardserver help"},
		{[]string{"serve", "now"}, 2, "serve takes no arguments"},
		{[]string{"smoke", "-h"}, 0, "-webhook"},
		{[]string{"smoke"}, 2, "smoke needs one URL"},
		{[]string{"smoke", url, "-timeout", "1s"}, 2, "after the flags"},
		{[]string{"smoke", "-timeout", "soon", url}, 2, "-timeout"},
		{[]string{"smoke", "-key", "", url}, 2, "-key is empty"},
		{[]string{"smoke", "-key", "@/nowhere/key", url}, 2, "-key: open /nowhere/key"},
		{[]string{"smoke", "-token", "@" + secret, url}, 2, "-token must be one word"},
		{[]string{"smoke", "agent.example.com"}, 1, "the agent's address must be complete"},
		{[]string{"smoke", "-key", "CANARY", url}, 1, "1 of 1 checks failed"},
		{[]string{"help"}, 0, "cardserver trace [flags] URL TASK"},
		{[]string{"trace", "-h"}, 0, "-v"},
		{[]string{"trace", url}, 2, "trace needs a URL and the id of a task"},
		{[]string{"trace", url, "t", "-f=false"}, 2, "after the flags"},
		{[]string{"trace", "-key", "@/nowhere/key", url, "t"}, 2, "-key: open /nowhere/key"},
		{[]string{"trace", "agent.example.com", "t"}, 1, "the agent's address must be complete"},
		{[]string{"trace", url, "a/b"}, 1, "named by its id"},
		{[]string{"trace", "-key", "CANARY", url, "t"}, 1, "connection refused"},
		{[]string{"help"}, 0, "cardserver batch [flags] FILE [URL]"},
		{[]string{"batch", "-h"}, 0, "-on-bad-line"},
		{[]string{"batch"}, 2, "name the file of the batch"},
		{[]string{"batch", url}, 2, "name the file of the batch"},
		{[]string{"batch", secret, "-o", "x"}, 2, "flags come first"},
		{[]string{"batch", secret, "other"}, 2, "a second file"},
		{[]string{"batch", url, secret, url}, 2, "a second address"},
		{[]string{"batch", "-watch", "b", secret}, 2, "either a file, or the id of a batch"},
		{[]string{"batch", "-watch", "b", "-name", "n"}, 2, "for a file that is submitted"},
		{[]string{"batch", "-watch", "b", "-budget", "5"}, 2, "or beside -resume"},
		{[]string{"batch", "-resume", "b", "-budget", "much"}, 2, "-budget must be a number of tokens"},
		{[]string{"batch", "-watch", "a/b"}, 2, "named by its id"},
		{[]string{"batch", "-key", "", secret}, 2, "-key is empty"},
		{[]string{"batch", "/nowhere/prompts"}, 2, "/nowhere/prompts: no such file"},
		{[]string{"batch", "/"}, 2, "/ is a folder"},
		{[]string{"batch", os.DevNull}, 2, "is empty"},
		{[]string{"batch", secret, "http://user@127.0.0.1:1"}, 2, "no user, query or fragment"},
		{[]string{"key", "two words"}, 2, "key takes the name of a principal"},
		{[]string{"key", "a", "b"}, 2, "key takes the name of a principal"},
		{[]string{"key", "-h"}, 0, "-may RIGHTS"},
		{[]string{"key", "a", "-may", "read"}, 2, "behind its flags"},
		{[]string{"key", "-may", "read,sent", "a"}, 2, `may: "sent" is no right: did you mean "send"?`},
		{[]string{"key", "-may", "read,read", "a"}, 2, `may: "read" stands there twice`},
		{[]string{"key", "-may", "read,", "a"}, 2, `may: "" is no right`},
		{[]string{"key", "-expires", "soon", "a"}, 2, "expires must be a date such as 2027-01-31"},
		{[]string{"key", "-expires", "2020-01-31", "a"}, 2, "expires is over already: 2020-02-01T00:00:00Z"},
		{[]string{"help"}, 0, "cardserver keys [flags]"},
		{[]string{"keys", "-h"}, 0, "-from FILE"},
		{[]string{"keys", secret}, 2, "keys takes no arguments behind its flags"},
		{[]string{"keys", "-in", "1h"}, 2, "-in is for a key beside others"},
		{[]string{"keys", "-from", secret, "-in", "-1h"}, 2, "-in must not be negative"},
		{[]string{"keys", "-from", secret, "-in", "soon"}, 2, "-in"},
		{[]string{"keys", "-from", secret}, 1, "-from: keys: line 1: FROM must be a time"},
		{[]string{"keys", "-from", "/nowhere/keys"}, 1, "-from: open /nowhere/keys"},
		{[]string{"keys", "-from", ""}, 1, "-from: open"},
		{[]string{"keys", "-from", "-"}, 1, "-from: keys: no key"}, // an empty standard input
	} {
		out, errs, code := invoke(t, row.args...)
		if code != row.code || !strings.Contains(out+errs, row.want) {
			t.Errorf("%q ends with %d, want %d, and says %s%s, want %q", row.args, code, row.code, out, errs, row.want)
		}
		if strings.Contains(out+errs, "CANARY") {
			t.Errorf("%q repeats a credential: %s%s", row.args, out, errs)
		}
	}
}

// Only the key goes to standard output. The text beside it fits into the access file as it
// is.
func TestKeyCommand(t *testing.T) {
	_, said, code := invoke(t, "key", "-expires", "2999-12-31", "--may", "read,send", "acme/other")
	_, other, _ := strings.Cut(said, "\n\n")
	if code != 0 || !strings.Contains(other, `, expires: "2999-12-31", may: [read, send]}`) {
		t.Fatalf("key with flags ends with %d and says %s", code, said)
	}

	key, said, code := invoke(t, "key", "acme/ci")
	if code != 0 || !regexp.MustCompile(`^errand_[a-z2-7_]+\n$`).MatchString(key) || strings.Contains(said, strings.TrimSpace(key)) {
		t.Fatalf("key ends with %d, prints %q and says %s", code, key, said)
	}

	_, entry, _ := strings.Cut(said, "\n\n")
	access := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(access, []byte("principals:\n"+entry+other), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.Load(access, auth.Options{}); err != nil {
		t.Fatalf("the access file\n%s\n%v", entry, err)
	}

	again, _, _ := invoke(t, "key")
	if again == key || !strings.HasPrefix(again, "errand_") {
		t.Errorf("another key is %q", again)
	}

	file := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}

	p := start(t, "ERRAND_ACCESS="+access, "ERRAND_MODEL=standin:delay=500ms")
	out, errs, code := invoke(t, "smoke", "-key", "@"+file, p.url())
	if code != 0 || !strings.Contains(out, "asks for ") || !strings.Contains(out, "ok   again") || !strings.Contains(out, "checks passed.") {
		t.Errorf("with the key smoke ends with %d: %s%s", code, out, errs)
	}

	roots := filepath.Join(t.TempDir(), "keys.json")
	_, _, ring := p.get(keys.Path, "")
	if err := os.WriteFile(roots, ring, 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code = invoke(t, "smoke", "-card-keys", roots, "-key", "@"+file, p.url())
	if code != 0 || !strings.Contains(out, "; signed by ") {
		t.Errorf("with the key of the card smoke ends with %d: %s%s", code, out, errs)
	}
	others := start(t)
	out, errs, code = invoke(t, "smoke", "-card-keys", roots, others.url())
	if code != 1 || !strings.Contains(out, "the card is signed by none of the keys in "+roots) {
		t.Errorf("with the key of another card smoke ends with %d: %s%s", code, out, errs)
	}

	for _, row := range []struct {
		args []string
		want string
	}{
		{nil, "-> no credentials were sent"},
		{[]string{"-key", strings.TrimSpace(again)}, "-> the key was sent as"},
	} {
		out, errs, code = invoke(t, append(append([]string{"smoke"}, row.args...), p.url())...)
		if code != 1 || !strings.Contains(out, "401 Unauthorized: not identified") || !strings.Contains(out, row.want) || strings.Contains(out+errs, strings.TrimSpace(again)) {
			t.Errorf("smoke %v ends with %d: %s%s", len(row.args) > 0, code, out, errs)
		}
	}
}

// Only the ring goes to standard output, and each call puts a fresh key above the given
// ones.
func TestKeysCommand(t *testing.T) {
	before := time.Now().Truncate(time.Second)
	first, said, code := invoke(t, "keys")
	ring, err := keys.Parse(first)
	if code != 0 || err != nil || !strings.Contains(said, "secret errand-keys") || !strings.Contains(said, "ERRAND_KEYS") || !strings.HasPrefix(first, "# ") {
		t.Fatalf("keys ends with %d and says %s, %v", code, said, err)
	}

	from := func(text string) (at time.Time) {
		t.Helper()
		word, key, _ := strings.Cut(strings.Split(text, "\n")[1], " ")
		at, err := time.Parse(time.RFC3339, word)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(said, key) || !strings.Contains(said, word) {
			t.Errorf("beside the keys it says %s, want the time alone", said)
		}

		return at
	}
	if at := from(first); at.Before(before) || at.After(time.Now()) {
		t.Errorf("the first key is used from %v, want now, %v", at, before)
	}

	if again, _, _ := invoke(t, "keys"); again == first {
		t.Error("the same keys again")
	}

	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, row := range []struct {
		args []string
		in   time.Duration
	}{
		{[]string{"keys", "-from", file}, time.Hour},
		{[]string{"keys", "-from", file, "-in", "48h"}, 48 * time.Hour},
	} {
		before = time.Now().Truncate(time.Second)
		var second string
		second, said, code = invoke(t, row.args...)
		next, err := keys.Parse(second)
		if code != 0 || err != nil || !strings.Contains(said, "30 days") {
			t.Fatalf("%q ends with %d and says %s, %v", row.args, code, said, err)
		}

		at := from(second)
		if at.Before(before.Add(row.in)) || at.After(time.Now().Add(row.in)) {
			t.Errorf("%q: the fresh key is used from %v, want in %v", row.args, at, row.in)
		}
		if got := next.Public(time.Now(), "owner"); len(got) != 2 || got[0] != ring.Public(time.Now(), "owner")[0] {
			t.Errorf("%q: the public keys are %v, want the old one and then the fresh one", row.args, got)
		}
	}

	if got, _, code := invokeWith(t, strings.NewReader(first), "keys", "-from", "-"); code != 0 || !strings.Contains(got, strings.Split(first, "\n")[1]) {
		t.Errorf("keys -from - ends with %d and prints %d bytes", code, len(got))
	}
}

func TestSmoke(t *testing.T) {
	t.Parallel()
	hook := freePort(t)
	listen := fmt.Sprintf("127.0.0.1:%d", hook)
	p := start(t, "ERRAND_PUSH_ALLOW="+listen)
	out, errs, code := invoke(t, "smoke", "-webhook", "http://"+listen+"/", "-listen", listen, p.url())
	if code != 0 || strings.Contains(out, "FAIL") || strings.Contains(out, "note") || strings.Contains(out, "skip") || errs != "" {
		t.Errorf("smoke ends with %d: %s%s", code, out, errs)
	}

	for _, want := range []string{"card", "unknown", "send", "poll", "same", "stream", "cancel", "keys", "configs", "guard", "webhook"} {
		if !strings.Contains(out, "ok   "+want) {
			t.Errorf("smoke does not try %s: %s", want, out)
		}
	}

	_, errs, code = invoke(t, "smoke", "-webhook", "http://127.0.0.1:9/", p.url())
	if code != 1 {
		t.Errorf("smoke with a webhook that is not allowed ends with %d: %s", code, errs)
	}

	// The model holds every answer.
	held := start(t, "ERRAND_MODEL=standin:delay=10m")
	out, _, code = invoke(t, "smoke", "-timeout", "2s", held.url())
	if code != 1 || !strings.Contains(out, "FAIL poll") || !strings.Contains(out, "is still WORKING after 2s") || !strings.Contains(out, "-> a worker has it and the model does not answer") || !strings.Contains(out, "is CANCELED") {
		t.Errorf("smoke ends with %d: %s", code, out)
	}
}
