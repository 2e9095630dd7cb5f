package main_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/lab/conformance"
)

// versionBefore is the commit whose programs share a store with those of this one. After a
// release it is moved on to the commit of that release: nothing else changes, and both
// tests of this file show whether that version can be replaced, and come back.
const versionBefore = "7eb4e8297c4950410f41e096db62ba6ee9104671"

// source is a checkout of the version before, with the agent of the tests in the place of
// worker/agent, as lab.Overlay puts it there. It is in the folder of the programs.
var source = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(folder, "before")
	for _, args := range [][]string{
		{"clone", "--quiet", "--shared", "--no-checkout", "..", dir}, // of the folder above this package
		{"-C", dir, "checkout", "--quiet", "--detach", versionBefore},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("git %s: %w\n%s", args[0], err, out)
		}
	}

	own := filepath.Join(dir, "worker", "agent")
	if err := os.RemoveAll(own); err != nil {
		return "", err
	}
	return dir, os.CopyFS(own, os.DirFS(filepath.Join(dir, "shared", "lab", "agent")))
})

// before builds a program of the version before.
func before(program string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := source()
		if err != nil {
			return "", err
		}
		path := filepath.Join(folder, program+"-before")
		out, err := exec.Command("go", "build", "-C", dir, "-buildvcs=false", "-o", path, "./"+program).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build of %s: %w\n%s", versionBefore, err, out)
		}
		return path, nil
	})
}

// needVersionBefore skips a test without Git, or without the commit. A shallow checkout may
// get it from its origin.
func needVersionBefore(t *testing.T) {
	t.Helper()
	has := func() bool { return exec.Command("git", "cat-file", "-e", versionBefore+"^{commit}").Run() == nil }
	_, err := exec.LookPath("git")
	conformance.Require(t, "git", err == nil, "install Git")
	if !has() {
		_ = exec.Command("git", "fetch", "--quiet", "--depth=1", "origin", versionBefore).Run() // what is missing is said next
	}
	conformance.Require(t, "git", has(), "this checkout has no commit "+versionBefore+", and its origin gives none: fetch it, or move versionBefore (cardserver/versions_test.go) on to one that it has")
}

// A file is handed over from the version before to this one under load, and back if this one has
// not moved its schema. Then the version before refuses the file, and says so. All accepted
// messages are answered once.
func TestFileIsHandedOverBetweenVersions(t *testing.T) {
	conformance.NeedFull(t, "TestKilledAtAnyMoment")
	needVersionBefore(t)
	t.Parallel()
	const old, current = "cardserver before", "cardserver"
	hooks := newReceiver(t)
	p := launch(t, old, freePort(t), "ERRAND_MODEL=standin:delay=20ms", hooks.allow())
	l := newLoad(t, p, hooks, 200)

	versions := []string{current, old, current}
	var first uint32 // the schema of the version before
	disturbed := l.disturb(len(versions), func() {
		time.Sleep(time.Duration(200+rand.IntN(200)) * time.Millisecond) // the moment of the change
		p.stop()
		schema := schemaOf(t, p)
		if first == 0 {
			first = schema
		}

		next := versions[0]
		t.Logf("%s leaves a file of the schema %d to %s; the version before has %d", p.program, schema, next, first)
		if p.program, versions = next, versions[1:]; next == old && schema != first {
			if text := refusal(t, p); !strings.Contains(text, "written by a newer version of this program") {
				t.Errorf("the version before refuses the file of this one with %q", text)
			}
			p.program = current
		}
		p.start()
	})

	l.send(2 * time.Second)
	<-disturbed
	l.verdict(patience)
	answeredOnce(t, p.logged())
}

// Two versions work on one store side by side, as in a deployment that shifts its traffic. Each
// serves clients and runs turns, all accepted messages are answered once, and both list the
// same tasks.
func TestVersionsSideBySide(t *testing.T) {
	conformance.NeedFull(t, "TestCloudKilledAtAnyMoment")
	needVersionBefore(t)
	t.Parallel()
	hooks := newReceiver(t)
	c := newCloud(t, cloudConfig{replicas: true, before: true, env: []string{"ERRAND_ACCESS=anonymous", "ERRAND_MODEL=standin:delay=20ms", hooks.allow()}})
	l := newLoad(t, c, hooks, 150)
	l.send(2 * time.Second)
	l.verdict(patience)
	answeredOnce(t, c.logged())

	for _, p := range c.programs() {
		what := map[string]string{"cardserver": `msg="operation done"`, "worker": "msg=turn "}[strings.TrimSuffix(p.program, " before")]
		if !strings.Contains(p.logged(), what) {
			t.Errorf("%s did nothing:\n%s", p.program, tail(p.logged(), 2<<10))
		}
	}

	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) { // a list may be 2 s behind
		ours, theirs := states(t, c.cardserver.client()), states(t, c.others[0].client())
		if len(ours) == len(l.ids) && maps.Equal(ours, theirs) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("this version lists %d tasks, the one before %d, of %d", len(ours), len(theirs), len(l.ids))
		}
	}
}

// schemaOf reads the schema of the SQLite file of a program that has stopped.
// https://www.sqlite.org/fileformat.html#user_version_number
func schemaOf(t *testing.T, p *process) uint32 {
	header, err := os.ReadFile(filepath.Join(p.dir, "errand.db"))
	if err != nil || len(header) < 64 {
		t.Errorf("the file of the store: %d bytes, %v", len(header), err)
		return 0
	}
	return binary.BigEndian.Uint32(header[60:64])
}

var completed = regexp.MustCompile(`msg=turn .*task=(\S+) .*outcome=TASK_STATE_COMPLETED`)

// answeredOnce checks that no turn has ended twice. A message is one turn here.
func answeredOnce(t *testing.T, log string) {
	t.Helper()
	ended := map[string]int{}
	for _, m := range completed.FindAllStringSubmatch(log, -1) {
		ended[m[1]]++
	}
	for id, n := range ended {
		if n > 1 {
			t.Errorf("task %s was answered %d times", id, n)
		}
	}
	if len(ended) == 0 {
		t.Errorf("no turn has ended:\n%s", tail(log, 2<<10))
	}
}

// states lists all tasks with their states.
func states(t *testing.T, c operations) map[a2a.TaskID]a2a.TaskState {
	t.Helper()
	all := map[a2a.TaskID]a2a.TaskState{}
	for page := ""; ; {
		list, err := c.ListTasks(t.Context(), &a2a.ListTasksRequest{PageSize: 100, PageToken: page})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list.Tasks {
			all[one.ID] = one.Status.State
		}
		if page = list.NextPageToken; page == "" {
			return all
		}
	}
}
