package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"golang.org/x/sys/unix"
)

// onSmallDisk is a program, not yet started, whose folder is a disk of its own, where the
// test may mount one.
func onSmallDisk(t *testing.T) *process {
	t.Helper()
	p := &process{t: t, program: "cardserver", dir: t.TempDir(), port: freePort(t)}
	if err := unix.Mount("tmpfs", p.dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
		if t.Failed() {
			t.Logf("the log:\n%s", tail(p.logged(), 8<<10))
		}
		if err := unix.Unmount(p.dir, 0); err != nil {
			t.Error(err)
		}
	})
	return p
}

// stuff fills the program's disk to the last byte, and returns the file that does.
func (p *process) stuff() string {
	p.t.Helper()
	path := filepath.Join(p.dir, "stuff")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	for block := bytes.Repeat([]byte("x"), 4<<10); err == nil; {
		_, err = f.Write(block)
	}
	if cerr := f.Close(); cerr != nil || !errors.Is(err, unix.ENOSPC) {
		p.t.Fatal(err, cerr)
	}
	return path
}

// readiness awaits that /ready speaks of room, or does not.
func (p *process) readiness(short bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(p.url() + "/ready")
		if err != nil {
			p.t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			p.t.Fatal(err)
		}
		if strings.Contains(string(text), "no room") == short && res.StatusCode < 300 {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("/ready answers %s %s, want no room: %t", res.Status, text, short)
		}
	}
}

// refusesMessages checks that a message is refused for the time being, with the reason.
func (p *process) refusesMessages(id string) {
	p.t.Helper()
	res, err := http.Post(p.url()+"/", "application/json", strings.NewReader(
		`{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"kind":"message","messageId":"`+id+`","role":"user","parts":[{"kind":"text","text":"x"}]}}}`))
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "60" {
		p.t.Errorf("a message is answered %s, Retry-After %q: %s", res.Status, res.Header.Get("Retry-After"), body)
	}
}

// A first start on a full disk ends with the reason, and leaves nothing half: the next one,
// with room, starts.
func TestFirstStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	p := onSmallDisk(t)
	junk := p.stuff()
	if said := refusal(t, p); !strings.Contains(said, "no space left on device") && !strings.Contains(said, "the disk is full") {
		t.Errorf("the program says %s", said)
	}

	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"ERRAND_MODEL=standin:"}
	p.start()
	mustSend(t, p.client(), userText("m", "hello"))
}

// On a full disk messages are refused, tasks are read, listed, streamed, canceled and
// deleted, and the program starts again. It goes on by itself when there is room.
func TestProgramOnAFullDisk(t *testing.T) {
	t.Parallel()
	p := onSmallDisk(t)
	p.env = []string{"ERRAND_MODEL=standin:"}
	p.start()
	c := p.client()
	ended := mustSend(t, c, userText("ended", "hello"))
	streamed := func() string {
		var all []string
		for e, err := range c.SubscribeToTask(t.Context(), &a2a.SubscribeToTaskRequest{ID: ended.ID}) {
			all = append(all, fmt.Sprintf("%T %v", e, err))
		}
		return strings.Join(all, ", ")
	}
	before := streamed()
	p.stop()

	p.env = []string{"ERRAND_MODEL=standin:delay=10m"}
	p.start()
	var running []a2a.TaskID
	for _, id := range []string{"r1", "r2"} {
		task := mustSend(t, c, immediately(userText(id, "wait")))
		until(t, c, task.ID, "running", func(t *a2a.Task) bool { return t.Status.State == a2a.TaskStateWorking })
		running = append(running, task.ID)
	}

	reads := func(tasks int) {
		t.Helper()
		if got, err := c.GetTask(t.Context(), &a2a.GetTaskRequest{ID: ended.ID}); err != nil || text(got) != text(ended) {
			t.Errorf("GetTask: %+v, %v", got, err)
		}
		if got, err := c.ListTasks(t.Context(), &a2a.ListTasksRequest{}); err != nil || len(got.Tasks) != tasks {
			t.Errorf("ListTasks: %+v, %v, want %d tasks", got, err, tasks)
		}
		if got := streamed(); got != before {
			t.Errorf("a stream of the ended task has %s, want %s as before", got, before)
		}
	}

	junk := p.stuff()
	p.readiness(true)
	p.refusesMessages("no")
	if !strings.Contains(p.logged(), "no message is accepted until there is room") {
		t.Error("the log does not say why")
	}
	reads(3)

	if got, err := c.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: running[0]}); err != nil || got.Status.State != a2a.TaskStateCanceled {
		t.Errorf("CancelTask: %+v, %v", got, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, p.url()+"/tasks/"+string(running[1]), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.Body.Close() != nil || res.StatusCode != http.StatusNoContent {
		t.Errorf("the deletion: %+v, %v", res, err)
	}

	p.kill()
	p.stuff()
	p.start()
	p.readiness(true)
	p.refusesMessages("neither")
	reads(2)

	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	p.readiness(false)
	mustSend(t, c, immediately(userText("yes", "there is room")))
	reads(3)
}
