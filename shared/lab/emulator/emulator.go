// Package emulator runs, for tests, the emulators of Firestore and Pub/Sub from the Cloud
// SDK. It fakes nothing itself and is in no binary.
//
// A test binary shares one process of each kind. The process ends with the binary, even if
// the binary is killed. Each test uses its own [Project], so emulators are never reset.
package emulator

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"errand/shared/lab/conformance"
)

// A Kind is an emulator that can be started.
type Kind struct {
	name string // in ERRAND_TEST_REQUIRE
	jar  string // below the SDK's folder; may be a pattern
	main string // class to run; empty: the jar's own
	part string // name for `gcloud components install`

	// warm is a first request by HTTP. Its effect does not matter. On a busy machine the
	// emulators answer the first request slowly, and the programs under test wait only for
	// ten seconds.
	warm struct{ method, path, body string }
}

// The emulators.
var (
	KindFirestore = Kind{
		name: "firestore", part: "cloud-firestore-emulator",
		jar:  "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
		main: "com.google.cloud.datastore.emulator.firestore.CloudFirestore", // the jar has no main class
		warm: struct{ method, path, body string }{http.MethodPost, "/v1/projects/test-warm/databases/(default)/documents/c", `{"fields":{}}`},
	}
	KindPubSub = Kind{
		name: "pubsub", part: "pubsub-emulator",
		jar:  "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
		warm: struct{ method, path, body string }{http.MethodPut, "/v1/projects/test-warm/topics/warm", `{}`},
	}
)

// Shared processes, one of each kind.
var (
	firestore = shared{kind: KindFirestore}
	pubsub    = shared{kind: KindPubSub}
)

type shared struct {
	kind Kind
	once sync.Once
	p    *Process
}

// Firestore returns the address of this test binary's Firestore emulator, in the form of
// FIRESTORE_EMULATOR_HOST. Without the emulator the test is skipped.
func Firestore(t testing.TB) string {
	t.Helper()
	return firestore.host(t)
}

// PubSub returns the address of this test binary's Pub/Sub emulator, in the form of
// PUBSUB_EMULATOR_HOST. Without the emulator the test is skipped.
func PubSub(t testing.TB) string {
	t.Helper()
	return pubsub.host(t)
}

func (s *shared) host(t testing.TB) string {
	t.Helper()
	java, jar := find(t, s.kind)
	s.once.Do(func() { s.p = run(t, s.kind, java, jar) })
	if s.p == nil {
		t.Fatalf("the %s emulator did not start for an earlier test", s.kind.name)
	}
	return s.p.Host
}

// Project returns the id of a project that no other test uses.
func Project(testing.TB) string { return "test-" + strings.ToLower(rand.Text()[:20]) }

// A Process is an emulator for one test, which may kill it.
type Process struct {
	Host string // address, HOST:PORT

	kind      Kind
	java, jar string
	stdin     io.Closer
	exited    chan struct{}
	output    *output
}

// Start starts an emulator that no other test uses. It ends with the test. Without the
// emulator the test is skipped.
func Start(t testing.TB, kind Kind) *Process {
	t.Helper()
	java, jar := find(t, kind)
	p := run(t, kind, java, jar)
	t.Cleanup(p.Kill)
	return p
}

// Kill ends the process at once, without its data, and waits for its end.
func (p *Process) Kill() {
	p.stdin.Close()
	<-p.exited
}

// Restart starts the process again after Kill, at the same address and without data.
func (p *Process) Restart(t testing.TB) {
	t.Helper()
	if !p.launch(t) {
		t.Fatalf("another process took the address %s of the %s emulator", p.Host, p.kind.name)
	}
}

// find locates Java, and the emulator beside the gcloud command.
func find(t testing.TB, kind Kind) (java, jar string) {
	t.Helper()
	java, jerr := exec.LookPath("java")
	_, serr := exec.LookPath("sh")
	if gcloud, err := exec.LookPath("gcloud"); err == nil {
		if gcloud, err = filepath.EvalSymlinks(gcloud); err == nil {
			if found, err := filepath.Glob(filepath.Join(filepath.Dir(gcloud), "..", filepath.FromSlash(kind.jar))); err == nil && len(found) > 0 {
				jar = found[len(found)-1]
			}
		}
	}
	conformance.Require(t, kind.name, jerr == nil && serr == nil && jar != "",
		"install a Java runtime, the Google Cloud SDK (https://cloud.google.com/sdk/docs/install) and its "+kind.part+
			" (gcloud components install "+kind.part+", or the package google-cloud-cli-"+strings.TrimPrefix(kind.part, "cloud-")+")")
	return java, jar
}

// run starts a process at a free port. The emulators can choose a port but do not report it.
// So run chooses one below the ports that outgoing connections use.
func run(t testing.TB, kind Kind, java, jar string) *Process {
	t.Helper()
	p := &Process{kind: kind, java: java, jar: jar, output: &output{}}
	for range 10 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+mathrand.IntN(12000)))
		if err != nil {
			continue // the port is in use
		}
		p.Host = l.Addr().String()
		l.Close()
		if p.launch(t) {
			return p
		}
	}
	t.Fatalf("the %s emulator found no free port:\n%s", kind.name, p.output.String())
	return nil
}

// launch starts the process and waits until it answers. A shell in between kills the process
// when our end of the shell's input closes, which also happens if this process is killed.
// launch returns false if another process has the port.
func (p *Process) launch(t testing.TB) bool {
	t.Helper()
	_, port, err := net.SplitHostPort(p.Host)
	if err != nil {
		t.Fatal(err)
	}

	args := []string{"-c", `"$@" & read -r _; kill -9 $!; wait $!`, "sh", p.java, "-Xmx512m"}
	if p.kind.main == "" {
		args = append(args, "-jar", p.jar)
	} else {
		args = append(args, "-cp", p.jar, p.kind.main)
	}

	cmd := exec.Command("sh", append(args, "--host=127.0.0.1", "--port="+port)...)
	p.output = &output{}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the %s emulator: %v", p.kind.name, err)
	}

	exited := make(chan struct{})
	p.exited = exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // returns an error after a kill
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()

	for !p.answers(ctx, http.MethodGet, "/", "") {
		if strings.Contains(p.output.String(), "Address already in use") {
			p.Kill()
			return false
		}

		select {
		case <-ctx.Done():
			p.Kill()
			t.Fatalf("the %s emulator does not answer at %s:\n%s", p.kind.name, p.Host, p.output.String())
		case <-time.After(50 * time.Millisecond):
		}
	}

	if w := p.kind.warm; !p.answers(ctx, w.method, w.path, w.body) {
		p.Kill()
		t.Fatalf("the %s emulator at %s does not answer %s %s:\n%s", p.kind.name, p.Host, w.method, w.path, p.output.String())
	}

	return true
}

// answers sends the emulator a request by HTTP and reports whether the answer is 200. Both
// emulators have a page at their root.
func (p *Process) answers(ctx context.Context, method, path, body string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.Host+path, strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// output keeps the beginning of the process's output, which has the reason if the process
// cannot start.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b[:min(len(b), max(0, 16<<10-o.buf.Len()))])
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Export writes the data of a database in the Firestore emulator at host to a file, and returns
// its path. The emulator has the calls of Firestore's own export and import, with a folder of
// this machine for a bucket.
func Export(t testing.TB, host, project, database string) string {
	t.Helper()
	dir := t.TempDir()
	p := &Process{Host: host}
	if !p.answers(t.Context(), http.MethodPost, "/emulator/v1/projects/"+project+":export",
		fmt.Sprintf(`{"database":"projects/%s/databases/%s","export_directory":%q,"export_name":"drill"}`, project, database, dir)) {
		t.Fatalf("the firestore emulator at %s exports nothing", host)
	}
	return filepath.Join(dir, "drill", "drill.overall_export_metadata")
}

// Import reads what Export wrote into the database of the same name.
func (p *Process) Import(t testing.TB, project, database, file string) {
	t.Helper()
	if !p.answers(t.Context(), http.MethodPost, "/emulator/v1/projects/"+project+":import",
		fmt.Sprintf(`{"database":"projects/%s/databases/%s","export_directory":%q}`, project, database, file)) {
		t.Fatalf("the firestore emulator at %s does not import %s:\n%s", p.Host, file, p.output.String())
	}
}
