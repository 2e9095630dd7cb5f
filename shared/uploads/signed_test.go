package uploads_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/adapters/gcp"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/lab/fake"
	"errand/shared/lab/world"
	"errand/shared/uploads"
)

const bucket = "my-project-errand-files"

// A cloud is a store over a bucket.
type cloud struct {
	*bench
	service *fake.Storage
}

func newCloud(t *testing.T) cloud {
	c := cloud{&bench{T: t, limit: 1 << 40}, fake.StartStorage(t, bucket)}
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(c.passed.Load())) }
	c.kv = world.New(t, world.Config{Now: now}).Store.KV()
	signing, _ := c.service.Signing(t)
	c.files = files.New(func(ctx context.Context) (files.Place, error) {
		return gcp.OpenBucket(ctx, gcp.BucketConfig{Bucket: bucket, Endpoint: c.service.Addr, Signing: signing})
	}, now)
	t.Cleanup(func() { _ = c.files.Close() })
	c.uploads = uploads.New(uploads.Config{Files: c.files, KV: c.kv, Now: now, Limit: func(context.Context, string) (int64, error) { return c.limit, nil }})
	return c
}

// empty checks that no byte is left, and no entry.
func (c cloud) empty(when string) {
	c.Helper()
	if objects, keys := c.service.Objects(c, bucket), c.entries(); len(objects) != 0 || len(keys) != 0 {
		c.Errorf("%s there are the objects %q and the entries %q", when, objects, keys)
	}
}

func (c cloud) begin(owner, text string) (id string, signed files.SignedUpload) {
	c.Helper()
	id, signed, err := c.uploads.Begin(c.Context(), owner, uploads.Upload{Name: "a.txt", MediaType: "text/plain", Size: int64(len(text))})
	if err != nil {
		c.Fatal(err)
	}
	return id, signed
}

func (c cloud) send(signed files.SignedUpload, text string) {
	c.Helper()
	fake.Send(c, signed.Method, signed.URL, signed.Header, text)
}

// A content that goes to the bucket past the program becomes a file like any other.
func TestSignedUpload(t *testing.T) {
	c := newCloud(t)
	id, signed := c.begin("alice", "text")
	_, err := c.uploads.Find(t.Context(), "alice", id)
	c.is("before the upload", err, uploads.ErrAwaited)
	_, err = c.uploads.Complete(t.Context(), "alice", id)
	c.is("completed before the upload", err, files.ErrNoContent)
	if held, err := c.uploads.Held(t.Context(), "alice"); err != nil || held != (uploads.Holding{Files: 1, Bytes: 4}) {
		t.Errorf("Held = %+v, %v", held, err)
	}

	c.send(signed, "text")
	_, err = c.uploads.Complete(t.Context(), "bob", id)
	c.is("completed by another", err, uploads.ErrNotFound)
	f, err := c.uploads.Complete(t.Context(), "alice", id)
	if err != nil || f.ID != id || f.Size != 4 || f.SHA256 == "" || f.MediaType != "text/plain" || f.Name != "a.txt" {
		t.Fatalf("Complete = %+v, %v", f, err)
	}
	if again, err := c.uploads.Complete(t.Context(), "alice", id); err != nil || again != f {
		t.Errorf("completed twice: %+v, %v", again, err)
	}
	if got := c.read("alice", id, 1, 2); got != "ex" {
		t.Errorf("a part is %q", got)
	}

	c.pass(uploads.Day)
	c.sweep(nobody)
	c.sweep(nobody)
	c.empty("a day later")
}

// Whoever names a file whose content was sent need not complete it.
func TestNamedUploadIsCompleted(t *testing.T) {
	c := newCloud(t)
	for i, name := range []func(id string) (uploads.File, error){
		func(id string) (uploads.File, error) { return c.uploads.Named(t.Context(), "alice", id) },
		func(id string) (uploads.File, error) {
			return c.uploads.Keep(t.Context(), "alice", id, "task", time.Time{})
		},
	} {
		id, signed := c.begin("alice", "text")
		_, err := name(id)
		c.is("before the upload", err, uploads.ErrAwaited)
		c.send(signed, "text")
		_, err = c.uploads.Named(t.Context(), "bob", id)
		c.is("named by another", err, uploads.ErrNotFound)

		f, err := name(id)
		if err != nil || f.ID != id || f.Size != 4 || f.SHA256 == "" {
			t.Errorf("%d: %+v, %v", i, f, err)
		}
		if found, err := c.uploads.Find(t.Context(), "alice", id); err != nil || found != f {
			t.Errorf("%d: found as %+v, %v", i, found, err)
		}
	}
}

// An upload that is begun and never completed leaves nothing, and neither does one whose content
// comes after the file was deleted.
func TestSignedUploadThatIsGivenUp(t *testing.T) {
	c := newCloud(t)
	c.begin("alice", "never sent")
	_, signed := c.begin("alice", "never completed")
	c.send(signed, "never completed")
	id, late := c.begin("alice", "sent late")
	if err := c.uploads.Delete(t.Context(), "alice", id); err != nil {
		t.Fatal(err)
	}
	c.send(late, "sent late")
	_, err := c.uploads.Complete(t.Context(), "alice", id)
	c.is("completed after the deletion", err, uploads.ErrNotFound)

	c.sweep(nobody)
	c.pass(uploads.Day)
	c.sweep(nobody)
	c.empty("a day later")
}

// A limit counts a file that is announced, and a disk takes none.
func TestBeginThatIsRefused(t *testing.T) {
	c := newCloud(t)
	c.limit = 1000
	for size, want := range map[int64]error{uploads.MaxFile + 1: files.ErrTooLarge, 0: nil, 1001: nil} {
		_, _, err := c.uploads.Begin(t.Context(), "alice", uploads.Upload{Size: size})
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("a file of %d bytes: %v", size, err)
		}
	}
	c.service.RefuseToSign(http.StatusForbidden)
	if _, _, err := c.uploads.Begin(t.Context(), "alice", uploads.Upload{Size: 1}); err == nil {
		t.Error("it is signed without a signature")
	}
	c.empty("after refusals")

	b := newBench(t)
	_, _, err := b.uploads.Begin(t.Context(), "alice", uploads.Upload{Size: 1})
	b.is("on a disk", err, files.ErrNoSigning)
	if keys := b.entries(); len(keys) != 0 {
		t.Errorf("there are the entries %q", keys)
	}
}

// A dying store is that of a process which is killed before one of its calls: from then on
// every call fails.
type dying struct {
	kv.Store
	left atomic.Int64
}

var errKilled = errors.New("the process was killed")

func (d *dying) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	if d.left.Add(-1) < 0 {
		return kv.Entry{}, errKilled
	}
	return d.Store.Put(ctx, e)
}

func (d *dying) Get(ctx context.Context, key string) (kv.Entry, error) {
	if d.left.Load() < 0 {
		return kv.Entry{}, errKilled
	}
	return d.Store.Get(ctx, key)
}

func (d *dying) Delete(ctx context.Context, key string, version int64) error {
	if d.left.Add(-1) < 0 {
		return errKilled
	}
	return d.Store.Delete(ctx, key, version)
}

// Wherever the life of a file in a bucket is cut off, no object is left a day later.
func TestKillOnTheCloud(t *testing.T) {
	lives := map[string]func(c cloud, s *uploads.Store) error{
		"direct": func(_ cloud, s *uploads.Store) error { return live(s) },
		"signed": func(c cloud, s *uploads.Store) error {
			id, signed, err := s.Begin(c.Context(), killed, uploads.Upload{Size: 4})
			if err != nil {
				return err
			}
			c.send(signed, "text")
			if _, err := s.Complete(c.Context(), killed, id); err != nil {
				return err
			}
			if _, err := s.Keep(c.Context(), killed, id, "t1", time.Time{}); err != nil {
				return err
			}
			return s.Release(c.Context(), "t1")
		},
	}

	for name, life := range lives {
		c := newCloud(t)
		kills := int64(0)
		for done := false; !done; kills++ {
			d := &dying{Store: c.kv}
			d.left.Store(kills)
			s := uploads.New(uploads.Config{Files: c.files, KV: d, Now: func() time.Time { return time.Now().Add(time.Duration(c.passed.Load())) }})
			err := life(c, s)
			if err != nil && !errors.Is(err, errKilled) {
				t.Fatalf("%s, killed at call %d: %v", name, kills, err)
			}
			done = err == nil

			if err := c.uploads.Release(t.Context(), "t1"); err != nil {
				t.Fatal(err)
			}
			c.pass(2 * uploads.Day)
			c.sweep(nobody)
			c.empty(name + ", killed,")
		}
		if kills < 8 {
			t.Errorf("%s: there were %d kills only", name, kills)
		}
	}
}

// The content of a killed upload, which no info names, goes with its entry.
func TestOrphanOnTheCloud(t *testing.T) {
	c := newCloud(t)
	c.service.Fail(func(call, object string) (int, bool) {
		if call == "delete" || call == "write" && strings.HasSuffix(object, "+info") {
			return http.StatusForbidden, false
		}
		return 0, false
	})
	if _, err := c.uploads.Create(t.Context(), "alice", uploads.Upload{}, strings.NewReader("text")); err == nil {
		t.Fatal("the file is stored")
	}
	c.service.Fail(nil)
	if objects := c.service.Objects(t, bucket); len(objects) != 1 || slices.ContainsFunc(objects, func(o string) bool { return strings.HasSuffix(o, "+info") }) {
		t.Fatalf("the killed upload left %q", objects)
	}
	c.pass(2 * uploads.Day)
	c.sweep(nobody)
	c.empty("later")
}
