package main_test

import (
	"bytes"
	"context"
	"database/sql"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"errand/shared/lab/world"
	"errand/shared/task"
)

// repairing runs cardserver repair on a file, and returns its output and exit code.
func repairing(t *testing.T, path string, args ...string) (out string, code int) {
	t.Helper()
	program, err := programs["cardserver"]()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var o bytes.Buffer
	cmd := exec.CommandContext(ctx, program, append([]string{"repair"}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{"HOME=/", "ERRAND_STORE=sqlite:" + path}, &o, &o
	_ = cmd.Run() // its code says more
	return o.String(), cmd.ProcessState.ExitCode()
}

func TestRepairCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "errand.db")
	if out, code := repairing(t, path); code != 1 || !strings.Contains(out, "there is no file") {
		t.Errorf("without a file: %d %s", code, out)
	}

	good, bad := spoiled(t, path)
	for _, step := range []struct {
		args []string
		says string
	}{
		{nil, bad + ": "},
		{nil, "-mend sets it aside"},
		{[]string{"-mend"}, "set aside; -back " + bad},
		{nil, bad + ": "},
		{nil, "it is set aside"},
		{[]string{"-back", bad}, "done: " + bad},
		{[]string{"-mend"}, "Tasks repaired: 1."},
		{[]string{"-drop", bad}, "done: " + bad},
		{nil, "Every other stored task can be read."},
	} {
		out, code := repairing(t, path, step.args...)
		if code != 0 || !strings.Contains(out, step.says) || strings.Contains(out, good) || strings.Contains(out, "CANARY") {
			t.Errorf("%q: %d %s", step.args, code, out)
		}
	}

	for _, args := range [][]string{{"-mend", "-back", "x"}, {"x"}, {"-what"}} {
		if out, code := repairing(t, path, args...); code != 2 {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
	if out, code := repairing(t, path, "-back", "none"); code != 1 || !strings.Contains(out, "no task none is set aside") {
		t.Errorf("a task that is not there: %d %s", code, out)
	}
}

// spoiled makes a file with two tasks, of which the second one cannot be read.
func spoiled(t *testing.T, path string) (good, bad string) {
	t.Helper()
	w := world.New(t, world.Config{Path: path})
	for _, id := range []string{"good", "bad"} {
		world.Accept(t, w.Store, w.Moment(), task.Acceptance{ID: id, Owner: "acme/alice"})
	}
	w.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE task SET head = '{"schema":1,"id":CANARY' WHERE id = 'bad'`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return "good", "bad"
}
