package uploads_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"errand/shared/kv"
	"errand/shared/uploads"
)

// sweep sweeps, an hour after the sweep before.
func (b *bench) sweep(ended uploads.Ended) int {
	b.Helper()
	b.pass(time.Hour)
	n, err := b.uploads.Sweep(b.Context(), ended)
	if err != nil {
		b.Error(err)
	}
	return n
}

// without is an Ended by which all tasks are there but some.
func without(gone ...string) uploads.Ended {
	return func(_ context.Context, task string) (bool, error) { return slices.Contains(gone, task), nil }
}

func (b *bench) keep(owner, id, task string, until time.Time) {
	b.Helper()
	if _, err := b.uploads.Keep(b.Context(), owner, id, task, until); err != nil {
		b.Fatal(err)
	}
}

// left says which files are in the folder, by what is read.
func (b *bench) left(owner string) (texts []string) {
	b.Helper()
	list, err := b.uploads.List(b.Context(), owner, "", uploads.MaxList)
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range list {
		texts = append(texts, b.read(owner, f.ID, 0, -1))
	}
	slices.Sort(texts)
	return texts
}

// A sweep deletes the files that no task names after a day, and those whose tasks are no
// more. It leaves the others alone.
func TestSweep(t *testing.T) {
	b := newBench(t)
	end := time.Now().Add(10 * uploads.Day)
	for text, tasks := range map[string][]string{"none": nil, "gone": {"gone"}, "there": {"there"}, "both": {"gone", "there"}} {
		f := b.create("alice", text)
		for _, task := range tasks {
			b.keep("alice", f.ID, task, time.Time{})
		}
	}
	b.keep("alice", b.create("alice", "ends").ID, "there", end)

	b.sweep(without("gone"))
	if got := b.left("alice"); len(got) != 5 {
		t.Errorf("on the first day there are %q, want all", got)
	}

	b.pass(uploads.Day)
	if n := b.sweep(without("gone")); n != 2 {
		t.Errorf("%d files were deleted, want 2", n)
	}
	if got, want := b.left("alice"), []string{"both", "ends", "there"}; !slices.Equal(got, want) || b.bytes() != 2*len(want) {
		t.Errorf("there are %q, want %q, and %d files", got, want, b.bytes())
	}

	b.pass(10 * uploads.Day)
	b.sweep(without("gone"))
	if got, want := b.left("alice"), []string{"both", "there"}; !slices.Equal(got, want) || b.bytes() != 2*len(want) {
		t.Errorf("after the end of a task there are %q, want %q", got, want)
	}

	b.sweep(nobody)
	if n, keys := b.bytes(), b.entries(); n != 0 || len(keys) != 0 {
		t.Errorf("without tasks there are %d files and the entries %q", n, keys)
	}
}

// A message that names a file is kept before its task is there. A sweep between the two leaves
// the file alone, and so does one after the message was repeated a day later.
func TestSweepBeforeTheTask(t *testing.T) {
	b := newBench(t)
	f := b.create("alice", "text")
	b.keep("alice", f.ID, "t1", time.Time{})
	for range 3 {
		b.pass(uploads.Day)
		b.keep("alice", f.ID, "t1", time.Time{})
		b.pass(-30 * time.Minute)
		b.sweep(nobody)
		b.read("alice", f.ID, 0, -1)
	}

	b.sweep(nobody)
	if n := b.bytes(); n != 0 {
		t.Errorf("there are %d files after a message that was never accepted", n)
	}
}

// A task that is kept while a sweep finds that it is no more is kept.
func TestSweepBesideKeep(t *testing.T) {
	b := newBench(t)
	f := b.create("alice", "text")
	b.keep("alice", f.ID, "t1", time.Time{})
	b.pass(uploads.Day)
	b.sweep(func(context.Context, string) (bool, error) {
		b.keep("alice", f.ID, "t1", time.Time{})
		return true, nil
	})
	b.read("alice", f.ID, 0, -1)

	if err := b.uploads.Release(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	if n, keys := b.bytes(), b.entries(); n != 0 || len(keys) != 0 {
		t.Errorf("after the deletion of the task there are %d files and the entries %q", n, keys)
	}
}

// Of a deletion and a Keep at the same time one wins: the task has a file that can be read, or
// it is told that there is none.
func TestReleaseBesideKeep(t *testing.T) {
	b := newBench(t)
	for range 20 {
		f := b.create("alice", "text")
		b.keep("alice", f.ID, "t1", time.Time{})

		var both sync.WaitGroup
		var kept error
		both.Go(func() { _, kept = b.uploads.Keep(context.Background(), "alice", f.ID, "t2", time.Time{}) })
		both.Go(func() {
			if err := b.uploads.Release(context.Background(), "t1"); err != nil {
				t.Error(err)
			}
		})
		both.Wait()

		switch {
		case kept == nil:
			b.read("alice", f.ID, 0, -1)
		case !errors.Is(kept, uploads.ErrNotFound):
			t.Error(kept)
		}
		if err := b.uploads.Release(t.Context(), "t2"); err != nil {
			t.Fatal(err)
		}
	}

	b.pass(uploads.Day)
	b.sweep(nobody)
	if n, keys := b.bytes(), b.entries(); n != 0 || len(keys) != 0 {
		t.Errorf("there are %d files and the entries %q", n, keys)
	}
}

// An upload that goes on is left alone by sweeps, and its bytes are deleted when it was
// killed.
func TestSweepBesideUpload(t *testing.T) {
	b := newBench(t)
	content, feed := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := b.uploads.Create(context.Background(), "alice", uploads.Upload{Name: "a.txt"}, content)
		done <- err
	}()

	if _, err := feed.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	b.sweep(nobody)
	if list := b.left("alice"); len(list) != 0 {
		t.Errorf("an upload that goes on is listed: %q", list)
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := b.left("alice"); !slices.Equal(got, []string{"text"}) {
		t.Errorf("the upload left %q", got)
	}
}

// Many sweeps at once do the work of one, and within the hour nothing more is asked.
func TestSweepOnceAnHour(t *testing.T) {
	b := newBench(t)
	b.create("alice", "text")
	b.pass(2 * uploads.Day)
	sum := make(chan int, 8)
	for range cap(sum) {
		go func() {
			n, err := b.uploads.Sweep(context.Background(), nobody)
			if err != nil {
				t.Error(err)
			}
			sum <- n
		}()
	}

	all := 0
	for range cap(sum) {
		all += <-sum
	}
	if all != 1 || b.bytes() != 0 {
		t.Errorf("%d files were deleted, want 1, and %d are left", all, b.bytes())
	}

	b.create("alice", "later")
	b.pass(59 * time.Minute)
	if n, err := b.uploads.Sweep(t.Context(), nobody); n != 0 || err != nil {
		t.Errorf("within the hour: %d, %v", n, err)
	}
}

// A file that cannot be swept does not keep the sweep from the others.
func TestSweepThatFails(t *testing.T) {
	b := newBench(t)
	broken := errors.New("broken")
	bad := b.create("alice", "bad")
	b.keep("alice", bad.ID, "bad", time.Time{})
	b.create("alice", "good")
	if _, err := b.kv.Put(t.Context(), kv.Entry{Key: "file/a/b", Value: []byte("{")}); err != nil {
		t.Fatal(err)
	}

	b.pass(uploads.Day + time.Hour)
	n, err := b.uploads.Sweep(t.Context(), func(context.Context, string) (bool, error) { return false, broken })
	if n != 1 || !errors.Is(err, broken) || !strings.Contains(err.Error(), "file/a/b") {
		t.Errorf("Sweep = %d, %v", n, err)
	}
	if got := b.left("alice"); !slices.Equal(got, []string{"bad"}) {
		t.Errorf("there are %q", got)
	}
}

// An owner may have so many files, however many come at once.
func TestLimitOfFiles(t *testing.T) {
	b := newBench(t)
	b.create("alice", "x")
	one, err := b.kv.Get(t.Context(), b.entries()[0])
	if err != nil {
		t.Fatal(err)
	}
	folder, _, _ := strings.Cut(one.Key, "/file-")
	for n := range uploads.MaxFiles - 3 {
		one.Key, one.Version = fmt.Sprintf("%s/file-%026d", folder, n), 0
		if _, err := b.kv.Put(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}

	fails := make(chan error, 8)
	for range cap(fails) {
		go func() {
			_, err := b.uploads.Create(context.Background(), "alice", uploads.Upload{}, strings.NewReader("x"))
			fails <- err
		}()
	}
	for range cap(fails) {
		if err := <-fails; err != nil && !errors.Is(err, uploads.ErrFiles) {
			t.Error(err)
		}
	}

	held, err := b.uploads.Held(t.Context(), "alice")
	if err != nil || held.Files > uploads.MaxFiles || held.Files < uploads.MaxFiles-2 {
		t.Errorf("Held = %+v, %v", held, err)
	}
	b.create("bob", "x")
}

// Files that say their size are limited together, however many come at once.
func TestLimitOfBytes(t *testing.T) {
	b := newBench(t)
	b.limit = 1000
	fails := make(chan error, 8)
	for range cap(fails) {
		go func() {
			_, err := b.uploads.Create(context.Background(), "alice", uploads.Upload{Size: 400}, strings.NewReader(strings.Repeat("x", 400)))
			fails <- err
		}()
	}
	for range cap(fails) {
		if err := <-fails; err != nil {
			if _, ok := errors.AsType[*uploads.FullError](err); !ok {
				t.Error(err)
			}
		}
	}
	if held, err := b.uploads.Held(t.Context(), "alice"); err != nil || held.Bytes > 1000 {
		t.Errorf("Held = %+v, %v", held, err)
	}
}

// A disk without room ends an upload that began before.
func TestRoom(t *testing.T) {
	b := newBench(t)
	full := errors.New("full")
	asked := 0
	room := func(context.Context) error {
		if asked++; asked > 2 {
			return full
		}
		return nil
	}
	s := uploads.New(uploads.Config{Files: b.files, KV: b.kv, Room: room})
	_, err := s.Create(t.Context(), "alice", uploads.Upload{Purpose: uploads.Batch}, io.LimitReader(zeros{}, 40<<20))
	b.is("an upload", err, full)
	if n, keys := b.bytes(), b.entries(); n != 0 || len(keys) != 0 || asked != 3 {
		t.Errorf("there are %d files and the entries %q, and the disk was asked %d times", n, keys, asked)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
