package uploads_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/adapters/local"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/lab/world"
	"errand/shared/uploads"
)

// A bench is a store over a real folder and a real database, with a clock of its own.
type bench struct {
	*testing.T
	uploads *uploads.Store
	kv      kv.Store
	files   *files.Store
	dir     string
	passed  atomic.Int64 // by which the clock is ahead
	limit   int64
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, dir: filepath.Join(t.TempDir(), "files"), limit: 1 << 40}
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(b.passed.Load())) }
	b.kv = world.New(t, world.Config{Now: now}).Store.KV()
	b.files = files.New(func(context.Context) (files.Place, error) {
		return local.OpenFolder(local.FolderConfig{Dir: b.dir})
	}, now)
	t.Cleanup(func() { _ = b.files.Close() })
	b.uploads = uploads.New(uploads.Config{
		Files: b.files, KV: b.kv, Now: now,
		Limit: func(context.Context, string) (int64, error) { return b.limit, nil },
	})
	return b
}

func (b *bench) pass(d time.Duration) { b.passed.Add(int64(d)) }

func (b *bench) create(owner, text string) uploads.File {
	b.Helper()
	f, err := b.uploads.Create(b.Context(), owner, uploads.Upload{Name: "a.txt", MediaType: "text/plain"}, strings.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// bytes counts the files in the folder.
func (b *bench) bytes() (n int) {
	b.Helper()
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// entries lists the keys of everything that is known of files.
func (b *bench) entries() (keys []string) {
	b.Helper()
	for _, prefix := range []string{"file/", "filetask/", "taskfile/"} {
		list, err := b.kv.List(b.Context(), prefix, "", kv.LimitCount)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range list {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

func (b *bench) read(owner, id string, offset, length int64) string {
	b.Helper()
	_, r, err := b.uploads.Open(b.Context(), owner, id, offset, length)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// is checks an error.
func (b *bench) is(what string, got, want error) {
	b.Helper()
	if !errors.Is(got, want) {
		b.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A file is there with all that was said of it, whole and in parts, for its owner alone.
func TestCreate(t *testing.T) {
	b := newBench(t)
	text := strings.Repeat("0123456789", 1000)
	f, err := b.uploads.Create(t.Context(), "alice", uploads.Upload{Name: "ä b.txt", Purpose: "vision", MediaType: "text/plain"}, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}

	sum := sha256.Sum256([]byte(text))
	want := uploads.File{
		ID: f.ID, Owner: "alice", Name: "ä b.txt", Purpose: "vision", MediaType: "text/plain",
		Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:]), Created: f.Created,
	}
	if f != want || !uploads.IsID(f.ID) {
		t.Errorf("Create = %+v, want %+v", f, want)
	}
	if got, err := b.uploads.Find(t.Context(), "alice", f.ID); err != nil || got != want {
		t.Errorf("Find = %+v, %v, want %+v", got, err, want)
	}
	if got := b.read("alice", f.ID, 0, -1); got != text {
		t.Errorf("the content has %d bytes, want %d", len(got), len(text))
	}
	if got := b.read("alice", f.ID, 9_995, 100); got != "56789" {
		t.Errorf("its end is %q", got)
	}

	for _, other := range []string{"bob", "", "Alice"} {
		_, err := b.uploads.Find(t.Context(), other, f.ID)
		_, none := b.uploads.Find(t.Context(), other, "file-aaaaaaaaaaaaaaaaaaaaaaaaaa")
		b.is("a foreign file", err, uploads.ErrNotFound)
		if err.Error() != none.Error() {
			t.Errorf("a foreign file: %q, one that is not there: %q", err, none)
		}
		_, _, err = b.uploads.Open(t.Context(), other, f.ID, 0, -1)
		b.is("opening a foreign file", err, uploads.ErrNotFound)
		_, err = b.uploads.Keep(t.Context(), other, f.ID, "t1", time.Time{})
		b.is("keeping a foreign file", err, uploads.ErrNotFound)
		b.is("deleting a foreign file", b.uploads.Delete(t.Context(), other, f.ID), uploads.ErrNotFound)
	}

	if err := b.uploads.Delete(t.Context(), "alice", f.ID); err != nil {
		t.Fatal(err)
	}
	if n, keys := b.bytes(), b.entries(); n != 0 || len(keys) != 0 {
		t.Errorf("after the deletion there are %d files and the entries %q", n, keys)
	}
	b.is("deleted twice", b.uploads.Delete(t.Context(), "alice", f.ID), uploads.ErrNotFound)
}

// Keep holds a file beyond its day, and not beyond its time.
func TestKeep(t *testing.T) {
	b := newBench(t)
	kept, other := b.create("alice", "kept"), b.create("alice", "other")
	end := time.Now().Add(72 * time.Hour)
	for range 2 {
		if f, err := b.uploads.Keep(t.Context(), "alice", kept.ID, "t1", end); err != nil || f != kept {
			t.Fatalf("Keep = %+v, %v", f, err)
		}
	}

	b.pass(uploads.Day)
	if got := b.read("alice", kept.ID, 0, -1); got != "kept" {
		t.Errorf("the kept file is %q", got)
	}
	_, err := b.uploads.Find(t.Context(), "alice", other.ID)
	b.is("another file", err, uploads.ErrNotFound)
	if list, err := b.uploads.List(t.Context(), "alice", "", 10); err != nil || len(list) != 1 || list[0] != kept {
		t.Errorf("List = %+v, %v", list, err)
	}

	b.pass(49 * time.Hour)
	_, err = b.uploads.Find(t.Context(), "alice", kept.ID)
	b.is("after its task", err, uploads.ErrNotFound)
}

// The last task that goes takes the file with it.
func TestRelease(t *testing.T) {
	b := newBench(t)
	f := b.create("alice", "text")
	for _, task := range []string{"t1", "t2"} {
		if _, err := b.uploads.Keep(t.Context(), "alice", f.ID, task, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}

	if err := b.uploads.Release(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	b.read("alice", f.ID, 0, -1)

	for range 2 {
		if err := b.uploads.Release(t.Context(), "t2"); err != nil {
			t.Fatal(err)
		}
		if n, keys := b.bytes(), b.entries(); n != 0 || len(keys) != 0 {
			t.Errorf("there are %d files and the entries %q", n, keys)
		}
	}
}

// A content that is too large or ends in an error leaves nothing behind.
func TestCreateThatFails(t *testing.T) {
	b := newBench(t)
	b.limit = 1000
	broken := errors.New("broken")
	for _, row := range []struct {
		name    string
		u       uploads.Upload
		content io.Reader
		want    error
	}{
		{"a name", uploads.Upload{Name: "a\nb"}, strings.NewReader("x"), uploads.ErrName},
		{"a purpose", uploads.Upload{Purpose: "Batch!"}, strings.NewReader("x"), uploads.ErrPurpose},
		{"a media type", uploads.Upload{MediaType: "text"}, strings.NewReader("x"), files.ErrMediaType},
		{"announced as too large", uploads.Upload{Size: uploads.MaxFile + 1}, strings.NewReader("x"), files.ErrTooLarge},
		{"other than announced", uploads.Upload{Size: 10}, strings.NewReader("x"), files.ErrMismatch},
		{"broken off", uploads.Upload{}, io.MultiReader(strings.NewReader("x"), errorReader{broken}), broken},
	} {
		_, err := b.uploads.Create(t.Context(), "alice", row.u, row.content)
		b.is(row.name, err, row.want)
	}

	for _, size := range []int64{0, 1001} {
		_, err := b.uploads.Create(t.Context(), "alice", uploads.Upload{Size: size}, bytes.NewReader(make([]byte, 1001)))
		full, ok := errors.AsType[*uploads.FullError](err)
		if !ok || full.Left != 1000 || full.Size != size {
			t.Errorf("over the limit: %v", err)
		}
	}

	if n, keys := b.bytes(), b.entries(); n != 0 || len(keys) != 0 {
		t.Errorf("there are %d files and the entries %q", n, keys)
	}
}

type errorReader struct{ error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.error }
