package infra_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"errand/shared/lab"
	"errand/shared/lab/conformance"
	"errand/shared/lab/emulator"
	"errand/shared/serve"
)

// programs are the contents of the image.
var programs = []string{"cardserver", "functions", "worker"}

// nonroot is the user of the image.
const nonroot = 65532

// dockerfile reads the Dockerfile as a builder does. Every warning of its linter is a
// failure.
func dockerfile(t *testing.T) []instructions.Stage {
	t.Helper()
	f, err := os.Open("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}

	for _, w := range parsed.Warnings {
		t.Errorf("Dockerfile: %s", w.Short)
	}

	lint := linter.New(&linter.Config{ExperimentalAll: true, Warn: func(rule, _, _, msg string, at []parser.Range) {
		t.Errorf("Dockerfile:%d: %s: %s", at[0].Start.Line, rule, msg)
	}})

	stages, args, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 2 || len(args) != 0 {
		t.Fatalf("the Dockerfile has %d stages and %d arguments", len(stages), len(args))
	}

	return stages
}

// The image is built by the Go version of go.mod. It holds static programs and certificates
// and nothing else, runs as a user without rights, and starts the front door.
func TestDockerfile(t *testing.T) {
	stages := dockerfile(t)
	version := regexp.MustCompile(`(?m)^go ([0-9.]+)$`).FindStringSubmatch(read(t, "../go.mod"))
	if version == nil || !strings.HasPrefix(stages[0].BaseName, "golang:"+version[1]+"-") {
		t.Errorf("built by %s, want the version of go.mod: golang:%v-...", stages[0].BaseName, version)
	}

	// Cloud Run needs linux/amd64, and a laptop may be of another kind.
	if p := stages[0].Platform; p != "${BUILDPLATFORM:-linux/amd64}" {
		t.Errorf("the build runs on %q, and would be emulated for another processor", p)
	}
	if p := stages[1].Platform; p != "" {
		t.Errorf("the image is for %q, whatever is asked for", p)
	}

	build := buildCommand(t, stages[0])
	for _, want := range append([]string{"CGO_ENABLED=0", "GOOS=linux GOARCH=${TARGETARCH:-amd64} ", "-tags netgo,disable_grpc_modules ", "-trimpath", `-ldflags="-s -w"`}, programs...) {
		if !strings.Contains(build, want) {
			t.Errorf("the build command has no %s: %s", want, build)
		}
	}

	// gcloud run deploy --source builds without BuildKit.
	if strings.Contains(read(t, "../Dockerfile"), "--mount") {
		t.Error("the former builder of Docker knows no --mount")
	}

	if b := stages[1].BaseName; b != "scratch" {
		t.Errorf("shipped on %s", b)
	}

	var got []string
	for _, c := range stages[1].Commands {
		switch c := c.(type) {
		case *instructions.CopyCommand:
			if c.From != stages[0].Name {
				t.Errorf("%s is not from the build", c)
			}
			got = append(got, "COPY "+strings.Join(c.SourcePaths, " ")+" "+c.DestPath)
		case *instructions.UserCommand:
			got = append(got, "USER "+c.User)
		case *instructions.CmdCommand: // Cloud Run's --command takes its place, and so does an argument of docker run
			got = append(got, "CMD "+strings.Join(c.CmdLine, " "))
		default:
			t.Errorf("%s is not expected in the image", c.Name())
		}
	}

	want := []string{"COPY /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/", "COPY /out/ /", "USER 65532:65532", "CMD /cardserver"}
	if !slices.Equal(got, want) {
		t.Errorf("the image is %q, want %q", got, want)
	}
}

// buildCommand is the one command of the build.
func buildCommand(t *testing.T, s instructions.Stage) string {
	t.Helper()
	var out []string
	for _, c := range s.Commands {
		if r, ok := c.(*instructions.RunCommand); ok {
			out = append(out, r.CmdLine...)
		}
	}
	if len(out) != 1 {
		t.Fatalf("the build runs %q, want one command", out)
	}
	return out[0]
}

// The build command works as it stands, and its programs run without rights in a root with
// nothing else in it. The small form of the test only lets Go plan the build: without cgo
// nearly everything in the programs would be compiled anew.
func TestImage(t *testing.T) {
	t.Parallel()
	command, root := buildCommand(t, dockerfile(t)[0]), t.TempDir()

	if !conformance.Full() {
		plan := build(t, replaced(t, command, "go build ", "go build -n "), root)
		for _, program := range programs {
			if !strings.Contains(plan, "a.out "+root+"/"+program+"\n") {
				t.Errorf("the build command does not make /out/%s", program)
			}
		}

		return
	}

	build(t, command, root)
	made, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}

	var names []string
	for _, m := range made {
		names = append(names, m.Name())
		if info, err := m.Info(); err == nil {
			t.Logf("%s: %.1f MB", m.Name(), float64(info.Size())/1e6)
		}
	}

	if !slices.Equal(names, programs) {
		t.Errorf("built %v, want %v", names, programs)
	}

	conformance.Require(t, "chroot", runtime.GOOS == "linux" && os.Geteuid() == 0, "run the tests as root on Linux")
	if err := os.Chmod(root, 0o755); err != nil { // the user of the image must get in
		t.Fatal(err)
	}

	// Of Google's services the programs need the store to be ready, and nothing else.
	environ := []string{
		"ERRAND_LISTEN=127.0.0.1:0", "ERRAND_STORE=firestore:p", "FIRESTORE_EMULATOR_HOST=" + emulator.Firestore(t), "ERRAND_ACCESS=anonymous", "ERRAND_MODEL=standin:",
		"ERRAND_QUEUE=cloudtasks:projects/p/locations/l/queues/q@" + nowhere, "ERRAND_BUS=pubsub:projects/p/topics/events@" + nowhere,
		"ERRAND_SECRETS=secretmanager:p/errand@" + nowhere, "ERRAND_FILES=gs:errand-files@" + nowhere,
		"ERRAND_WORKER_URL=https://worker.example.com", "ERRAND_FUNCTIONS_URL=https://functions.example.com", "ERRAND_INVOKER=" + invoker,
	}

	for _, program := range programs {
		own := environ
		if program == "functions" { // cardserver would print this address instead of the one where it listens
			own = append(slices.Clone(own), "ERRAND_URL=https://agent.example.com")
		}

		address := startConfined(t, root, "/"+program, own)
		for _, path := range []string{serve.PathLive, serve.PathReady} {
			if status := probed(t, address+path); status/100 != 2 {
				t.Errorf("%s: GET %s answers %d", program, path, status)
			}
		}
	}
}

// probed is the last answer to a probe, which asks again for as long as Cloud Run does.
func probed(t *testing.T, url string) (status int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if status = resp.StatusCode; status/100 == 2 {
			break
		}
	}
	return status
}

// build runs the build command with root as its output folder, and returns the output of
// Go.
// The programs have the agent of the tests in them, which starts without settings.
func build(t *testing.T, command, root string) string {
	t.Helper()
	_, err := exec.LookPath("sh")
	conformance.Require(t, "shell", err == nil, "install a POSIX shell")
	c := exec.CommandContext(t.Context(), "sh", "-c", replaced(t, command, "/out/", root+"/"))
	c.Dir = ".."
	overlay, err := lab.Overlay(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c.Env = append(os.Environ(), "GOOS=linux", "GOFLAGS="+os.Getenv("GOFLAGS")+" "+overlay)
	text, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, text)
	}
	return string(text)
}

// replaced is text with new in place of old, which must occur in it once.
func replaced(t *testing.T, text, old, new string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q does not occur exactly once in %s", old, text)
	}
	return strings.Replace(text, old, new, 1)
}

// nowhere is an address without a listener.
const nowhere = "127.0.0.1:1"

// startConfined runs a program without rights in the root, and returns the address that the
// program prints.
func startConfined(t *testing.T, root, program string, environ []string) string {
	t.Helper()
	c := exec.Command(program)
	c.Dir, c.Env = "/", environ
	confine(c, root, nonroot)
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := c.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v", program, err)
		}
	})

	found, said := make(chan string, 1), &strings.Builder{}

	go func() {
		defer close(found)
		address := regexp.MustCompile(`(?:is|are) at (http://[^;\s]+)`)

		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			if m := address.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
				_, _ = io.Copy(io.Discard, stderr)
				return
			}
		}
	}()

	select {
	case address, ok := <-found:
		if !ok {
			t.Fatalf("%s ended:\n%s", program, said)
		}
		return address

	case <-time.After(3 * time.Minute):
		t.Fatalf("%s does not print where it listens", program)
		return ""
	}
}

// needed lists every file that the programs are built from, relative to the module's root.
func needed(t *testing.T) []string {
	t.Helper()
	args := []string{"list", "-deps", "-json=Dir,Standard,GoFiles,EmbedFiles,Module"}
	for _, p := range programs {
		args = append(args, "./"+p+"/...")
	}

	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = ".."
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := c.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = errors.New(string(exit.Stderr))
		}
		t.Fatal(err)
	}

	files := []string{"go.mod", "go.sum"}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir                 string
			GoFiles, EmbedFiles []string
			Module              *struct {
				Main bool
				Dir  string
			}
		}

		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}

		if p.Module == nil || !p.Module.Main {
			continue
		}

		dir, err := filepath.Rel(p.Module.Dir, p.Dir)
		if err != nil {
			t.Fatal(err)
		}

		for _, f := range append(p.GoFiles, p.EmbedFiles...) {
			files = append(files, path.Join(filepath.ToSlash(dir), f))
		}
	}

	if len(files) < 50 {
		t.Fatalf("only %d files are needed: %v", len(files), files)
	}

	// What an installation embeds beside its agent.yaml may be text.
	return append(files, "worker/agent/prompts/long.md")
}

// unwanted are files that occur in work trees and belong neither in an image nor on another
// machine.
var unwanted = []string{
	".git/config", "errand.db", "errand.db-wal", "errand.db.lock", "errand.db.keys", "errand.db.files/tasks/1/f+info", "shared/x.db", ".env", ".env.local", "access.yaml", "shared/access.yaml", "key.txt", "token.txt", "ci.key",
	"infra/terraform.tfstate", "infra/terraform.tfvars", "infra/image.auto.tfvars", "infra/.terraform/x", "x.tfstate.backup", "cardserver/main_test.go", "README.md",
	"cardserver/testdata/js/node_modules/x/index.js",
}

// .dockerignore drops no file that is needed, and drops every file that must not be in an
// image.
func TestDockerIgnore(t *testing.T) {
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, "../.dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	m, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	check := func(file string, want bool) {
		if got, err := m.MatchesOrParentMatches(file); err != nil || got != want {
			t.Errorf("%s is dropped: %t, want %t (%v)", file, got, want, err)
		}
	}
	for _, f := range needed(t) {
		check(f, false)
	}
	for _, f := range unwanted {
		check(f, true)
	}
}

// The same holds for .gcloudignore, by the list of files that gcloud would send.
func TestGcloudIgnore(t *testing.T) {
	gcloud := findGcloud(t)
	dir := t.TempDir()
	files := append([]string{"Dockerfile"}, needed(t)...)
	for _, f := range append(slices.Clone(files), unwanted...) {
		write(t, filepath.Join(dir, f), "x")
	}
	write(t, filepath.Join(dir, ".gcloudignore"), read(t, "../.gcloudignore"))
	out, err := gcloud(t.Context(), dir, "meta", "list-files-for-upload", ".")
	if err != nil {
		t.Fatal(out)
	}
	sent := strings.Fields(out)
	for _, f := range files {
		if !slices.Contains(sent, f) {
			t.Errorf("%s is needed, but not sent", f)
		}
	}
	for _, f := range unwanted {
		if slices.Contains(sent, f) {
			t.Errorf("%s is sent", f)
		}
	}
}
