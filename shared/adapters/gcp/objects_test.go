package gcp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/gcp"
	"errand/shared/lab/fake"
	"errand/shared/objects"
)

const (
	theirBucket = "acme-in"
	theirObject = "prompts/ä #1?x=%2e.jsonl"
	theirURL    = objects.Scheme + theirBucket + "/" + theirObject
)

// An objectsBench is a bucket of somebody else, and the program that reads it.
type objectsBench struct {
	*testing.T
	service *fake.Storage
	objects *gcp.Objects
	log     bytes.Buffer
}

func newObjectsBench(t *testing.T, c gcp.ObjectsConfig) *objectsBench {
	b := &objectsBench{T: t, service: fake.StartStorage(t, theirBucket)}
	c.Endpoint, c.Log = b.service.Addr, slog.New(slog.NewTextHandler(&b.log, nil))
	var err error
	if b.objects, err = gcp.NewObjects(c); err != nil {
		t.Fatal(err)
	}
	closes(t, b.objects)
	return b
}

func (b *objectsBench) stat() objects.Object {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel() // the client must work after the end of this context
	o, err := b.objects.Stat(ctx, theirURL)
	if err != nil {
		b.Fatal(err)
	}
	return o
}

// read reads a generation from an offset to its end.
func (b *objectsBench) read(generation, offset int64) ([]byte, error) {
	r, err := b.objects.Open(b.Context(), theirURL, generation, offset)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}

func TestObjects(t *testing.T) {
	b := newObjectsBench(t, gcp.ObjectsConfig{})
	content := bytes.Repeat([]byte("0123456789abcdef\n"), 100_000)
	b.service.Set(theirBucket, theirObject, content)

	o := b.stat()
	if o.URL != theirURL || o.Size != int64(len(content)) || o.Generation < 1 || time.Since(o.Modified) > time.Hour {
		t.Errorf("Stat = %+v", o)
	}
	for _, offset := range []int64{0, 1, 17, o.Size - 1} {
		if got, err := b.read(o.Generation, offset); err != nil || !bytes.Equal(got, content[offset:]) {
			t.Errorf("from %d on: %d bytes, %v", offset, len(got), err)
		}
	}
	for _, offset := range []int64{o.Size, o.Size + 1, 1 << 40} {
		if got, err := b.read(o.Generation, offset); err != nil || len(got) != 0 {
			t.Errorf("from %d on, behind the end: %d bytes, %v", offset, len(got), err)
		}
	}
	for _, odd := range [][2]int64{{0, 0}, {-1, 0}, {o.Generation, -1}} {
		if _, err := b.read(odd[0], odd[1]); err == nil {
			t.Errorf("generation %d from %d on is read", odd[0], odd[1])
		}
	}

	b.service.Set(theirBucket, "empty", nil)
	empty, err := b.objects.Stat(t.Context(), "gs://acme-in/empty")
	if err != nil || empty.Size != 0 {
		t.Fatalf("an empty object: %+v, %v", empty, err)
	}
	r, err := b.objects.Open(t.Context(), empty.URL, empty.Generation, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); len(got) != 0 || err != nil || r.Close() != nil {
		t.Errorf("an empty object: %q, %v", got, err)
	}
}

// An object that is replaced or deleted is another one: the generation that was pinned is gone,
// before it is opened and after its connection broke.
func TestObjectThatChanges(t *testing.T) {
	for name, change := range map[string]func(b *objectsBench){
		"replaced": func(b *objectsBench) { b.service.Set(theirBucket, theirObject, []byte("other content")) },
		"deleted":  func(b *objectsBench) { b.service.Delete(b, theirBucket, theirObject) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newObjectsBench(t, gcp.ObjectsConfig{})
			b.service.Set(theirBucket, theirObject, bytes.Repeat([]byte("x"), 1<<20))
			o := b.stat()
			b.service.Break(func(fake.Read) (int, bool) { return 1000, false })
			r, err := b.objects.Open(t.Context(), theirURL, o.Generation, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}

			change(b)
			if got, err := io.ReadAll(r); !errors.Is(err, objects.ErrChanged) || len(got) != 0 {
				t.Errorf("read on: %d bytes, %v, want ErrChanged", len(got), err)
			}
			if _, err := b.read(o.Generation, 0); !errors.Is(err, objects.ErrChanged) {
				t.Errorf("opened later: %v, want ErrChanged", err)
			}
		})
	}
}

// A broken connection, and one on which nothing comes any more, are made again: at the byte
// behind the last one, under the same generation.
func TestObjectWhoseConnectionBreaks(t *testing.T) {
	for _, hang := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs=%t", hang), func(t *testing.T) {
			t.Parallel()
			b := newObjectsBench(t, gcp.ObjectsConfig{Stall: time.Second})
			content := make([]byte, 100_000)
			for i := range content {
				content[i] = byte(i * i / 7)
			}
			b.service.Set(theirBucket, theirObject, content)
			o := b.stat()

			n := 0
			b.service.Break(func(fake.Read) (int, bool) {
				if n++; n > 3 {
					return -1, false
				}
				return 1000 * n, hang
			})
			if got, err := b.read(o.Generation, 50); err != nil || !bytes.Equal(got, content[50:]) {
				t.Errorf("%d bytes, %v, want %d", len(got), err, len(content)-50)
			}

			reads := b.service.Reads()
			for k, read := range reads {
				if read.Generation != fmt.Sprint(o.Generation) {
					t.Errorf("request %d is %+v, want the generation %d", k, read, o.Generation)
				}
			}

			// A busy machine may take a slow answer for one that does not come.
			want := []string{"bytes=50-", "bytes=1050-", "bytes=3050-", "bytes=6050-"}
			if diff := cmp.Diff(want, rangesOf(reads)); diff != "" && !hang {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func rangesOf(reads []fake.Read) (all []string) {
	for _, r := range reads {
		all = append(all, r.Range)
	}
	return all
}

// A service that never goes on is given up, and so is a reader whose context ends.
func TestObjectThatNeverComes(t *testing.T) {
	b := newObjectsBench(t, gcp.ObjectsConfig{Stall: 50 * time.Millisecond})
	b.service.Set(theirBucket, theirObject, make([]byte, 1000))
	o := b.stat()
	b.service.Break(func(fake.Read) (int, bool) { return 0, true })
	if got, err := b.read(o.Generation, 0); err == nil || errors.Is(err, objects.ErrChanged) || errors.Is(err, objects.ErrNotFound) || len(got) != 0 {
		t.Errorf("%d bytes, %v, want an error", len(got), err)
	}
	if n := len(b.service.Reads()); n != 4 {
		t.Errorf("asked %d times, want 4", n)
	}

	patient := newObjectsBench(t, gcp.ObjectsConfig{})
	patient.service.Set(theirBucket, theirObject, make([]byte, 1000))
	o = patient.stat()
	ctx, cancel := context.WithCancel(t.Context())
	patient.service.Break(func(fake.Read) (int, bool) {
		cancel()
		return 0, true
	})
	r, err := patient.objects.Open(ctx, theirURL, o.Generation, 0)
	if err == nil {
		_, err = io.ReadAll(r)
		err = errors.Join(err, r.Close())
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a reader whose context ends: %v", err)
	}
}

// Nobody learns whether an object exists that the program may not read. The log names the
// bucket and the role, and not the object.
func TestObjectThatMayNotBeRead(t *testing.T) {
	for status, told := range map[int]bool{http.StatusForbidden: true, http.StatusUnauthorized: true, http.StatusBadRequest: true, http.StatusNotFound: false} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			b := newObjectsBench(t, gcp.ObjectsConfig{})
			b.service.Set(theirBucket, theirObject, []byte("content"))
			o := b.stat()
			b.service.Fail(func(string, string) (int, bool) { return status, false })

			if _, err := b.objects.Stat(t.Context(), theirURL); err == nil || err.Error() != objects.ErrNotFound.Error() {
				t.Errorf("Stat = %v", err)
			}
			want := objects.ErrNotFound
			if status == http.StatusNotFound {
				want = objects.ErrChanged
			}
			if _, err := b.read(o.Generation, 0); err == nil || err.Error() != want.Error() {
				t.Errorf("Open = %v, want %v", err, want)
			}

			log := b.log.String()
			if strings.Contains(log, "roles/storage.objectViewer") != told || strings.Contains(log, theirBucket) != told || strings.Contains(log, "prompts") {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

func TestObjectThatDoesNotExist(t *testing.T) {
	b := newObjectsBench(t, gcp.ObjectsConfig{})
	for _, url := range []string{theirURL, "gs://no-such-bucket/x"} {
		if _, err := b.objects.Stat(t.Context(), url); err == nil || err.Error() != objects.ErrNotFound.Error() {
			t.Errorf("Stat of %s = %v", url, err)
		}
	}
	for _, url := range []string{"", "gs://acme-in", "gs://acme-in/", "gs://acme-in/../x", "file:///etc/passwd"} {
		if _, err := b.objects.Stat(t.Context(), url); !errors.Is(err, objects.ErrURL) {
			t.Errorf("Stat of %q = %v, want ErrURL", url, err)
		}
		if _, err := b.objects.Open(t.Context(), url, 1, 0); !errors.Is(err, objects.ErrURL) {
			t.Errorf("Open of %q = %v, want ErrURL", url, err)
		}
	}
	if b.log.Len() > 0 {
		t.Errorf("the log: %s", b.log.String())
	}
}

// An object that Cloud Storage would decompress has no offsets. If it gets its encoding later,
// which makes no new generation, its bytes come as they are stored all the same.
func TestObjectWithAnEncoding(t *testing.T) {
	b := newObjectsBench(t, gcp.ObjectsConfig{})
	var content bytes.Buffer
	z := gzip.NewWriter(&content)
	if _, err := z.Write(bytes.Repeat([]byte("content\n"), 1000)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	b.service.SetEncoded(theirBucket, theirObject, "gzip", content.Bytes())
	if _, err := b.objects.Stat(t.Context(), theirURL); !errors.Is(err, objects.ErrEncoded) {
		t.Errorf("Stat = %v, want ErrEncoded", err)
	}
	for _, offset := range []int64{0, 20} {
		if got, err := b.read(b.service.Object(t, theirBucket, theirObject).Generation, offset); err != nil || !bytes.Equal(got, content.Bytes()[offset:]) {
			t.Errorf("from %d on: %q, %v", offset, got, err)
		}
	}
}

// In an outage requests are made again for a limited time. The error is none of those that
// tell something about the object.
func TestObjectsInAnOutage(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		b := newObjectsBench(t, gcp.ObjectsConfig{Retry: 3 * time.Second})
		b.service.Set(theirBucket, theirObject, []byte("content"))
		o := b.stat()
		b.service.Calls()
		b.service.Fail(func(string, string) (int, bool) { return status, false })
		_, statErr := b.objects.Stat(t.Context(), theirURL)
		_, openErr := b.read(o.Generation, 0)
		for _, err := range []error{statErr, openErr} {
			if err == nil || errors.Is(err, objects.ErrNotFound) || errors.Is(err, objects.ErrChanged) || strings.Contains(err.Error(), "prompts") {
				t.Errorf("%d: %v", status, err)
			}
		}
		if n := len(b.service.Calls()); n < 3 {
			t.Errorf("%d: the service received %d requests, want retries", status, n)
		}
	}

	b := newObjectsBench(t, gcp.ObjectsConfig{})
	b.service.Set(theirBucket, theirObject, []byte("content"))
	o := b.stat()
	n := 0
	b.service.Fail(func(string, string) (int, bool) {
		n++
		return map[bool]int{true: http.StatusServiceUnavailable}[n%2 == 1], false
	})
	if b.stat() != o {
		t.Error("after an outage there is another object")
	}
	if got, err := b.read(o.Generation, 0); err != nil || string(got) != "content" {
		t.Errorf("after an outage: %q, %v", got, err)
	}
}

// On a machine without Google credentials the error says what to do, and the program starts.
func TestObjectsWithoutCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	o, err := gcp.NewObjects(gcp.ObjectsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	closes(t, o)
	if _, err := o.Stat(t.Context(), theirURL); !errors.Is(err, objects.ErrCredentials) || !strings.Contains(err.Error(), "gcloud auth application-default login") {
		t.Errorf("Stat = %v, want ErrCredentials with its remedy", err)
	}
	if _, err := o.Open(t.Context(), theirURL, 1, 0); !errors.Is(err, objects.ErrCredentials) {
		t.Errorf("Open = %v, want ErrCredentials", err)
	}
	if _, err := gcp.NewObjects(gcp.ObjectsConfig{Endpoint: "nowhere"}); err == nil {
		t.Error("an endpoint without a port is accepted")
	}
}
