package sqlstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"golang.org/x/sys/unix"

	"errand/shared/adapters/sqlstore"
	"errand/shared/task"
)

// small mounts a disk of 24 MiB, where the test may mount.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// stuff fills a disk to the last byte with a file, which it returns.
func stuff(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "stuff")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for block := bytes.Repeat([]byte("x"), 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A real disk is filled to the last byte: tasks are ended and deleted with the reserve, a
// start on the full disk reads, and everything goes on when there is room.
func TestRealDiskFull(t *testing.T) {
	dir := small(t)
	path := filepath.Join(dir, "errand.db")
	opts := sqlstore.Options{Reserve: sqlstore.Reserve, Log: slog.New(slog.DiscardHandler)}
	db, err := sqlstore.Open(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	closing := func() {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	defer closing()

	for i := range 30 {
		if _, err := db.Create(t.Context(), accepted(t, fmt.Sprint("t", i), time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	junk := stuff(t, dir)
	db.Forget()
	if err := db.Room(t.Context()); !errors.Is(err, task.ErrFull) {
		t.Errorf("Room of a full disk: %v", err)
	}
	for i := range 10 {
		for n, c := range changes() {
			if err := c.do(db, fmt.Sprint("t", 3*i+n)); err != nil {
				t.Fatalf("%s %d on a full disk: %v", c.name, i, err)
			}
		}
	}

	// Fill what the reserve left, and start again.
	stuff(t, dir)
	closing()
	stuff(t, dir)
	if db, err = sqlstore.Open(t.Context(), path, opts); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if _, err := db.Load(t.Context(), fmt.Sprint("t", i)); (i%3 == 1) != errors.Is(err, task.ErrDeleted) || err != nil && i%3 != 1 {
			t.Errorf("Load of t%d on a full disk: %v", i, err)
		}
	}
	if p, err := db.List(t.Context(), task.Query{Owner: "someone", Limit: 100, Count: true}); err != nil || len(p.Records) != 20 || p.Total != 20 {
		t.Errorf("List on a full disk = %d of %d, %v, want 20", len(p.Records), p.Total, err)
	}

	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	db.Forget()
	if err := db.Room(t.Context()); err != nil {
		t.Errorf("Room of an empty disk: %v", err)
	}
	if _, err := db.Create(t.Context(), accepted(t, "again", time.Now())); err != nil {
		t.Errorf("Create with room again: %v", err)
	}
	if held(path) == 0 {
		t.Error("the reserve was not taken back")
	}
}

// The disk is full of large messages. The reserve of a small disk is smaller than the usual
// log, and still each task can be ended and deleted.
func TestFullOfLargeMessages(t *testing.T) {
	dir := small(t)
	opts := sqlstore.Options{Reserve: sqlstore.Reserve, CacheRecords: -1, Log: slog.New(slog.DiscardHandler)}
	db := open(t, filepath.Join(dir, "errand.db"), opts)

	var ids []string
	for {
		db.Forget()
		if err := db.Room(t.Context()); err != nil {
			break
		}
		id := fmt.Sprint("t", len(ids))
		if _, err := db.Create(t.Context(), large(t, id)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	stuff(t, dir)

	for _, c := range changes()[:2] {
		for _, id := range ids {
			if err := c.do(db, id); err != nil {
				t.Fatalf("%s %s of %d on a full disk: %v", c.name, id, len(ids), err)
			}
		}
	}
}

// large is an accepted task of nearly the greatest size.
func large(t *testing.T, id string) task.Record {
	t.Helper()
	r, err := task.Accept(task.Defaults().At(time.Now()), task.Acceptance{
		ID: id, Context: hashed(id), Owner: "someone", Lane: task.Turns,
		Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(strings.Repeat("x", 400<<10))),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A start without any room to write reads, and ends the leases when there is room.
func TestStartWithoutRoom(t *testing.T) {
	dir := small(t)
	path := filepath.Join(dir, "errand.db")
	db := open(t, path, sqlstore.Options{})
	r, err := db.Create(t.Context(), accepted(t, "a", time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r, _, _, err = r.Claim(task.Defaults().At(now), task.Claim{Lease: task.Lease{Until: now.Add(time.Hour), Nonce: "x"}})
	if err == nil {
		r, err = db.Commit(t.Context(), r)
	}
	if err != nil || r.State() != a2a.TaskStateWorking {
		t.Fatal(r.State(), err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	junk := stuff(t, dir)
	if err := os.Truncate(junk, sizeOf(t, junk)-(40<<10)); err != nil { // room to open, and none to write
		t.Fatal(err)
	}
	var log bytes.Buffer
	db, err = sqlstore.Open(t.Context(), path, sqlstore.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	stuff(t, dir)

	if r, err := db.Load(t.Context(), "a"); err != nil || r.Lease == (task.Lease{}) || !bytes.Contains(log.Bytes(), []byte("nothing is written")) {
		t.Errorf("Load without room = lease %+v, %v; the log is %s", r.Lease, err, &log)
	}
	if _, err := db.Create(t.Context(), accepted(t, "b", now)); !errors.Is(err, task.ErrFull) {
		t.Errorf("Create without room: %v, want ErrFull", err)
	}
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Create(t.Context(), accepted(t, "b", now)); err != nil {
		t.Errorf("Create with room again: %v", err)
	}
	if r, err := db.Load(t.Context(), "a"); err != nil || r.Lease != (task.Lease{}) {
		t.Errorf("Load with room again = lease %+v, %v, want none", r.Lease, err)
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
