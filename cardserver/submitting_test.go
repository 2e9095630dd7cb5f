package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"errand/cardserver/batches/cli"
)

// manifest writes a file of so many lines, with the ids l-1, l-2 and so on.
func manifest(t *testing.T, lines int, more ...string) string {
	t.Helper()
	var text strings.Builder
	for i := range lines {
		fmt.Fprintf(&text, `{"id": "l-%d", "text": "Line %d"}`+"\n", i+1, i+1)
	}
	text.WriteString(strings.Join(more, ""))
	path := filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// answered fails the test unless answers are those to the lines of a manifest, in their order.
func answered(t *testing.T, answers string, lines int) {
	t.Helper()
	all := strings.SplitAfter(answers, "\n")
	if len(all) != lines+1 || all[lines] != "" {
		t.Fatalf("there are %d answers, want %d", len(all)-1, lines)
	}
	for i, text := range all[:lines] {
		var line struct {
			ID, Text string
			Line     int
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.ID != fmt.Sprintf("l-%d", i+1) || line.Line != i+1 ||
			!strings.HasSuffix(line.Text, fmt.Sprintf("You said: Line %d", i+1)) {
			t.Fatalf("the answer %d is %s (%v)", i+1, text, err)
		}
	}
}

// A submitter is the command while it runs.
type submitter struct {
	t         *testing.T
	cmd       *exec.Cmd
	out, errs watched
	done      chan struct{}
}

// submit begins the command.
func submitting(t *testing.T, args ...string) *submitter {
	t.Helper()
	path, err := programs["cardserver"]()
	if err != nil {
		t.Fatal(err)
	}
	s := &submitter{t: t, cmd: exec.Command(path, append([]string{"batch"}, args...)...), done: make(chan struct{})}
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = t.TempDir(), []string{"HOME=/"}, &s.out, &s.errs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // the exit code says it
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	return s
}

// ended is the exit code of the command.
func (s *submitter) ended() int {
	s.t.Helper()
	select {
	case <-s.done:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		s.t.Fatalf("the command does not end: %s", s.errs.String())
	}
	return 0
}

// A watched is what a command has written.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// eventually waits until something has happened.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not happen", what)
		}
	}
}

var batchIn = regexp.MustCompile(`1[a-z2-7]{33}-b\b`)

// The server is killed again and again while the command waits for it. The command ends with
// all answers. The same command finds them, and the server runs nothing for it.
func TestBatchCommandOutlivesTheServer(t *testing.T) {
	t.Parallel()
	const lines = 400
	p := start(t)
	path := manifest(t, lines)
	s := submitting(t, path, p.url())

	ran := func() int { return strings.Count(p.logged(), "outcome=TASK_STATE_COMPLETED") }
	for _, most := range []int{60, 150, 260} {
		eventually(t, "a turn", func() bool { return ran() >= most })
		p.kill()
		p.start()
	}

	if code := s.ended(); code != cli.Completed {
		t.Fatalf("the command ends with %d: %s", code, s.errs.String())
	}
	answered(t, s.out.String(), lines)
	for _, want := range []string{"trying again in", "completed: 400 with an answer, 0 without", " tokens: "} {
		if !strings.Contains(s.errs.String(), want) {
			t.Errorf("the command does not say %q: %s", want, s.errs.String())
		}
	}

	before := ran()
	out, errs, code := invoke(t, "batch", path, p.url())
	if code != cli.Completed || out != s.out.String() {
		t.Errorf("the same command again ends with %d, and its answers are the same: %t: %s", code, out == s.out.String(), errs)
	}
	if now := ran(); now != before {
		t.Errorf("the same command again has made %d turns", now-before)
	}
}

// The commands and their exit codes, as docs/batches.md has them. No output is a terminal, so
// there is no progress in it.
func TestBatchCommandsAndTheirExitCodes(t *testing.T) {
	t.Parallel()
	p := start(t)
	dir := t.TempDir()
	id := ""

	run := func(want int, says string, args ...string) (out string) {
		t.Helper()
		out, errs, code := invoke(t, append(append([]string{"batch"}, args...), p.url())...)
		if code != want || !strings.Contains(errs, says) {
			t.Fatalf("%q ends with %d, want %d, and says %q, want %q", args, code, want, errs, says)
		}
		if strings.ContainsAny(errs, "\r\x1b") {
			t.Errorf("%q shows progress without a terminal: %q", args, errs)
		}
		id = batchIn.FindString(errs)
		return out
	}

	answered(t, run(cli.Completed, "completed: 3 with an answer, 0 without\n", manifest(t, 3)), 3)
	bad := manifest(t, 2, `{"id": "l-1", "text": "again"}`+"\n")
	run(cli.Refused, `"line":3,`, bad)

	results, failures := filepath.Join(dir, "answers.jsonl"), filepath.Join(dir, "errors.jsonl")
	if out := run(cli.SomeFailed, "-retry "+batchPrefix, "-name", "skipping", "-on-bad-line", "skip", "-o", results, "-errors", failures, bad); out != "" {
		t.Errorf("the results are in a file and on standard output: %s", out)
	}
	answered(t, read(t, results), 2)
	if text := read(t, failures); strings.Count(text, "\n") != 1 || !strings.Contains(text, `"duplicate_custom_id"`) {
		t.Errorf("the errors are %s", text)
	}
	if parts, err := filepath.Glob(filepath.Join(dir, "*.part")); err != nil || len(parts) > 0 {
		t.Errorf("%q is left, %v", parts, err)
	}
	run(cli.Refused, "another input", "-name", "skipping", manifest(t, 1))
	run(cli.Refused, "no such batch", "-watch", strings.Replace(id+"1aaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbb-b", id, "", 1))

	run(cli.Paused, "budget", "-budget", "1000", "-name", "poor", manifest(t, 100))
	poor := id
	run(cli.Completed, "paused", "-pause", poor)
	answered(t, run(cli.Completed, "completed: 100", "-resume", poor, "-budget", "1000000"), 100)
	run(cli.Refused, "has ended", "-pause", poor)
	run(cli.Refused, "no line of the batch failed", "-retry", poor)

	if out := run(cli.Completed, "-watch "+batchPrefix, "-no-wait", "-name", "later", manifest(t, 2)); out != "" {
		t.Errorf("the command that does not wait prints %s", out)
	}
	answered(t, run(cli.Completed, "completed: 2", "-watch", id), 2)
}

// batchPrefix is how the ids of batches begin.
const batchPrefix = "1"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Ctrl-C leaves the batch running, and says how to come back, pause it and cancel it.
func TestBatchCommandIsInterrupted(t *testing.T) {
	t.Parallel()
	p := start(t, "ERRAND_MODEL=standin:delay=10m")
	dir := t.TempDir()
	results := filepath.Join(dir, "answers.jsonl")
	s := submitting(t, "-o", results, manifest(t, 3), p.url())
	eventually(t, "the submission", func() bool { return batchIn.MatchString(s.errs.String()) })
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}

	id := batchIn.FindString(s.errs.String())
	if code := s.ended(); code != cli.Interrupted {
		t.Errorf("the command ends with %d", code)
	}
	for _, verb := range []string{"watch", "pause", "cancel"} {
		if want := "cardserver batch -" + verb + " " + id + " " + p.url(); !strings.Contains(s.errs.String(), want) {
			t.Errorf("the command does not say %q: %s", want, s.errs.String())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}

	if out, errs, code := invoke(t, "batch", "-cancel", id, p.url()); code != cli.Completed || out != "" || !strings.Contains(errs, "is canceled") {
		t.Errorf("-cancel ends with %d: %s%s", code, out, errs)
	}
	out, errs, code := invoke(t, "batch", "-watch", id, p.url())
	if code != cli.Ended || out != "" || !strings.Contains(errs, "canceled: 0 with an answer, 3 without") || !strings.Contains(errs, "batch -retry "+id) {
		t.Errorf("the canceled batch ends the command with %d: %s%s", code, out, errs)
	}
}

// soon is a clock on which waits are short.
func soon(d time.Duration) <-chan time.Time { return time.After(min(d, 10*time.Millisecond)) }

// All answers arrive, once and in order, over connections that break again and again.
func TestBatchCommandOverBadConnections(t *testing.T) {
	t.Parallel()
	const lines = 300 // some 80 KB of answers
	p := start(t)
	proxy := cutting(t, strings.TrimPrefix(p.url(), "http://"), 20_000)

	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), cli.Config{URL: proxy, File: manifest(t, lines), Out: &out, Errs: &errs, After: soon})
	if code != cli.Completed {
		t.Fatalf("the command ends with %d: %s", code, &errs)
	}
	answered(t, out.String(), lines)
	if !strings.Contains(errs.String(), "the answer broke off") {
		t.Errorf("no connection broke: %s", &errs)
	}
}

// cutting passes connections on, and breaks each one when so many more bytes have come back
// through it than through all before.
func cutting(t *testing.T, target string, most int64) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })

	go func() {
		for allowed := most; ; allowed += most {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}

			go func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			}()
			go func() {
				_, _ = io.CopyN(client, server, allowed)
				_ = client.(*net.TCPConn).SetLinger(0) // as a network does that fails
				_ = client.Close()
				_ = server.Close()
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// An agent that is not there ends the command after some tries, and nothing is lost.
func TestBatchCommandWithoutAnAgent(t *testing.T) {
	t.Parallel()
	p := start(t, "ERRAND_MODEL=standin:delay=10m")
	path := manifest(t, 2)
	_, said, code := invoke(t, "batch", "-no-wait", path, p.url())
	if code != cli.Completed {
		t.Fatalf("-no-wait ends with %d: %s", code, said)
	}
	id := batchIn.FindString(said)

	var out, errs bytes.Buffer
	looks := 0
	config := cli.Config{URL: p.url(), Watch: id, Out: &out, Errs: &errs, After: func(d time.Duration) <-chan time.Time {
		if looks++; looks == 3 {
			p.kill()
		}
		return soon(0)
	}}
	if code := cli.Run(t.Context(), config); code != cli.Unfinished || !strings.Contains(errs.String(), "come back with cardserver batch -watch "+id) {
		t.Errorf("an agent that goes away ends the command with %d: %s", code, &errs)
	}
	if n := strings.Count(errs.String(), "trying again"); n != 1 {
		t.Errorf("the command complains %d times: %s", n, &errs)
	}

	errs.Reset()
	config = cli.Config{URL: p.url(), File: path, Out: &out, Errs: &errs, After: soon}
	if code := cli.Run(t.Context(), config); code != cli.Unfinished || !strings.Contains(errs.String(), "Run the same command again") {
		t.Errorf("without an agent the command ends with %d: %s", code, &errs)
	}
	if out.Len() > 0 {
		t.Errorf("there are results: %s", &out)
	}
}

// An output that cannot be written is known before anything is sent, or leaves the batch as it
// is.
func TestBatchCommandCannotWrite(t *testing.T) {
	t.Parallel()
	p := start(t)
	path := manifest(t, 2)
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "/nowhere/answers"}, "-o: open /nowhere/answers"},
		{[]string{"-errors", "/nowhere/errors"}, "-errors: open /nowhere/errors"},
		{[]string{"-o", "/"}, "is a folder"},
		{[]string{"-o", path}, "is the manifest"},
		{[]string{"-o", "x", "-errors", "x"}, "must name two files"},
	} {
		_, errs, code := invoke(t, append(append([]string{"batch"}, row.args...), path, p.url())...)
		if code != cli.Refused || !strings.Contains(errs, row.want) {
			t.Errorf("%q ends with %d and says %s, want %q", row.args, code, errs, row.want)
		}
	}

	var errs bytes.Buffer
	config := cli.Config{URL: p.url(), File: path, Out: full{}, Errs: &errs}
	if code := cli.Run(t.Context(), config); code != cli.Unfinished || !strings.Contains(errs.String(), "no space") || !strings.Contains(errs.String(), "-watch "+batchPrefix) {
		t.Errorf("a full disk ends the command with %d: %s", code, &errs)
	}
	answered(t, func() string {
		out, _, _ := invoke(t, "batch", path, p.url())
		return out
	}(), 2)
}

// full is a disk without room.
type full struct{}

// Write implements io.Writer.
func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// Standard input is a manifest as well, and the agent's refusals name what helps.
func TestBatchCommandReadsStandardInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, said, _ := invoke(t, "key", "acme/ci")
	_, entry, _ := strings.Cut(said, "\n\n")
	access, secret := filepath.Join(dir, "access.yaml"), filepath.Join(dir, "key")
	for path, text := range map[string]string{access: "principals:\n" + entry, secret: key} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	p := start(t, "ERRAND_ACCESS="+access)
	out, errs, code := invokeWith(t, strings.NewReader(read(t, manifest(t, 4))), "batch", "-key", "@"+secret, "-", p.url())
	if code != cli.Completed {
		t.Fatalf("the command ends with %d: %s", code, errs)
	}
	answered(t, out, 4)
	if strings.Contains(errs, strings.TrimSpace(key)) {
		t.Errorf("the command repeats the key: %s", errs)
	}

	if _, errs, code := invoke(t, "batch", manifest(t, 1), p.url()); code != cli.Refused || !strings.Contains(errs, "-key @FILE") {
		t.Errorf("without a key the command ends with %d: %s", code, errs)
	}
	if _, errs, code := invokeWith(t, strings.NewReader(""), "batch", "-key", "@"+secret, "-", p.url()); code != cli.Refused || !strings.Contains(errs, "standard input is empty") {
		t.Errorf("an empty manifest ends the command with %d: %s", code, errs)
	}
}
