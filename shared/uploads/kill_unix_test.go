//go:build unix

package uploads_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"

	"errand/shared/adapters/local"
	"errand/shared/adapters/sqlstore"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/uploads"
)

// The environment of a process that is killed.
const (
	killDir = "UPLOADS_TEST_DIR"
	killAt  = "UPLOADS_TEST_KILL_AT"
)

// A doom kills its process before a step, counted from 1.
type doom struct {
	at   int64
	step atomic.Int64
}

func (d *doom) tick() {
	if d.step.Add(1) == d.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// A doomedKV and a doomedDisk count a step before each change and after it.
type doomedKV struct {
	kv.Store
	*doom
}

func (s doomedKV) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	s.tick()
	defer s.tick()
	return s.Store.Put(ctx, e)
}

func (s doomedKV) Delete(ctx context.Context, key string, version int64) error {
	s.tick()
	defer s.tick()
	return s.Store.Delete(ctx, key, version)
}

type doomedDisk struct {
	files.Disk
	*doom
}

func (d doomedDisk) Create(key string, o *blob.WriterOptions, open func() (*blob.Writer, error)) (*blob.Writer, func() error, error) {
	d.tick()
	w, sync, err := d.Disk.Create(key, o, open)
	return w, func() error {
		d.tick() // the bytes are in a temporary file
		return sync()
	}, err
}

func (d doomedDisk) Settle(key string) error {
	d.tick() // the object has its name
	return d.Disk.Settle(key)
}

func (d doomedDisk) Clear(folder string) error {
	d.tick()
	return d.Disk.Clear(folder)
}

// open opens the store of a process over a folder. A doom may be nil.
func open(dir string, now func() time.Time, d *doom) (*uploads.Store, kv.Store, func() error, error) {
	db, err := sqlstore.Open(context.Background(), filepath.Join(dir, "errand.db"), sqlstore.Options{Now: now})
	if err != nil {
		return nil, nil, nil, err
	}
	store := files.New(func(context.Context) (files.Place, error) {
		p, err := local.OpenFolder(local.FolderConfig{Dir: filepath.Join(dir, "files")})
		if err == nil && d != nil {
			p.Disk = doomedDisk{p.Disk, d}
		}
		return p, err
	}, now)
	values := db.KV()
	if d != nil {
		values = doomedKV{values, d}
	}
	return uploads.New(uploads.Config{Files: store, KV: values, Now: now}), db.KV(), db.Close, nil
}

const killed = "alice"

// live is the life of a file in a process: it is uploaded, named by a task, and deleted with
// the task.
func live(s *uploads.Store) error {
	ctx := context.Background()
	f, err := s.Create(ctx, killed, uploads.Upload{Name: "a.txt"}, strings.NewReader("text"))
	if err != nil {
		return err
	}
	if _, err = s.Keep(ctx, killed, f.ID, "t1", time.Time{}); err != nil {
		return err
	}
	return s.Release(ctx, "t1")
}

// TestLifeThatIsKilled is the process that is killed. It is no test of its own.
func TestLifeThatIsKilled(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" { // not as a process of TestKill
		return
	}
	at, err := strconv.ParseInt(os.Getenv(killAt), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s, _, closed, err := open(dir, time.Now, &doom{at: at})
	if err != nil {
		t.Fatal(err)
	}
	if err := live(s); err != nil {
		t.Fatal(err)
	}
	if err := closed(); err != nil {
		t.Fatal(err)
	}
}

// Wherever a process is killed in the life of a file: its owner has it whole or not at all, a
// repeated deletion of its task takes what the first one left, and a sweep takes the rest. No
// byte is left, and no entry.
func TestKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kills := 0
	for at := 1; ; at++ {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestLifeThatIsKilled$")
		cmd.Env = append(os.Environ(), killDir+"="+dir, killAt+"="+strconv.Itoa(at))
		out, err := cmd.CombinedOutput()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && (!ok || status.Signal() != syscall.SIGKILL) {
			t.Fatalf("the process failed by itself: %v\n%s", err, out)
		}

		checkKilled(t, fmt.Sprintf("killed at step %d", at), dir)
		if err == nil {
			break
		}
		kills++
	}
	if kills < 20 {
		t.Errorf("there were %d kills only", kills)
	}
}

func checkKilled(t *testing.T, when, dir string) {
	t.Helper()
	var passed atomic.Int64
	start := time.Now()
	s, values, closed, err := open(dir, func() time.Time { return start.Add(time.Duration(passed.Load())) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := closed(); err != nil {
			t.Error(err)
		}
	}()

	b := &bench{T: t, uploads: s, kv: values, dir: filepath.Join(dir, "files")}
	list, err := s.List(t.Context(), killed, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if text := b.read(killed, f.ID, 0, -1); text != "text" {
			t.Errorf("%s: the file is %q", when, text)
		}
	}

	if err := s.Release(t.Context(), "t1"); err != nil {
		t.Errorf("%s: the repeated deletion of the task: %v", when, err)
	}
	if _, err := s.Sweep(t.Context(), nobody); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	passed.Add(int64(uploads.Day + time.Minute))
	if _, err := s.Sweep(t.Context(), nobody); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	if n, keys := b.bytes(), b.entries(); n != 0 || len(keys) != 0 {
		t.Errorf("%s: there are %d files and the entries %q", when, n, keys)
	}
}

// nobody is an Ended: there are no tasks.
func nobody(context.Context, string) (bool, error) { return true, nil }
