package cli_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/cardserver/batches"
	"errand/cardserver/batches/cli"
	door "errand/cardserver/files"
	"errand/shared/adapters/gcp"
	"errand/shared/adapters/local"
	"errand/shared/batchdesk"
	"errand/shared/files"
	"errand/shared/lab/fake"
	"errand/shared/lab/world"
	"errand/shared/task"
	"errand/shared/uploads"
)

const (
	alice  = "acme/alice"
	bucket = "my-project-errand-files"
)

// A site is the doors to batches and files. Nothing runs the batches.
type site struct {
	t       *testing.T
	url     string
	key     string
	uploads *uploads.Store
	w       *world.World
	batches *batchdesk.Desk

	mu   sync.Mutex
	seen []string // requests
}

// onCloud is a site whose files are in a bucket.
func onCloud(t *testing.T) (*site, *fake.Storage) {
	t.Helper()
	service := fake.StartStorage(t, bucket)
	signing, _ := service.Signing(t)
	return newSite(t, func(ctx context.Context) (files.Place, error) {
		return gcp.OpenBucket(ctx, gcp.BucketConfig{Bucket: bucket, Endpoint: service.Addr, Signing: signing})
	}), service
}

func newSite(t *testing.T, place func(context.Context) (files.Place, error)) *site {
	t.Helper()
	w := world.New(t, world.Config{})
	access, keys := world.Access(t, alice)
	store := files.New(place, time.Now)
	t.Cleanup(func() { _ = store.Close() })

	s := &site{t: t, key: keys[alice], uploads: uploads.New(uploads.Config{Files: store, KV: w.Store.KV()})}
	s.w, s.batches = w, batchdesk.New(batchdesk.Config{Desk: w.Desk(w.Store), Store: w.Store, KV: w.Store.KV(), Files: store, Uploads: s.uploads, Log: w.Log})
	ours := batches.New(batches.Config{Batches: s.batches, Uploads: s.uploads, Access: access, Now: time.Now, Log: w.Log, Wait: time.Nanosecond})
	theirs := door.New(door.Config{Uploads: s.uploads, Batches: s.batches, Access: access, Log: w.Log})

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+regexp.MustCompile(`file-[a-z2-7]+`).ReplaceAllString(r.URL.Path, "FILE"))
		s.mu.Unlock()
		if strings.HasPrefix(r.URL.Path, batches.Path) {
			ours.ServeHTTP(w, r)
			return
		}
		theirs.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// requests are those since the last time.
func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

// submit submits a manifest and does not wait for it.
func (s *site) submit(path string, more func(*cli.Config)) (code int, said string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	c := cli.Config{URL: s.url, Key: s.key, File: path, NoWait: true, Out: &out, Errs: &errs, After: func(time.Duration) <-chan time.Time { return time.After(0) }}
	if more != nil {
		more(&c)
	}
	code = cli.Run(s.t.Context(), c)
	return code, errs.String()
}

// large writes a manifest that is too large for one request to Cloud Run.
func large(t *testing.T) (path string, size int64, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "prompts.jsonl")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	w := io.MultiWriter(file, hash)
	for i := range 110 {
		n, err := fmt.Fprintf(w, `{"id": "l-%d", "text": "%s"}`+"\n", i, strings.Repeat("x", 300<<10))
		if err != nil {
			t.Fatal(err)
		}
		size += int64(n)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path, size, hex.EncodeToString(hash.Sum(nil))
}

// A large manifest goes past the agent, whichever answers of the storage are lost. It is not
// sent again for a batch that is there.
func TestLargeManifestGoesPastTheAgent(t *testing.T) {
	s, service := onCloud(t)
	path, size, sum := large(t)

	n := 0
	service.Fail(func(call, _ string) (status int, lost bool) {
		if call != "upload" {
			return 0, false
		}
		switch n++; n {
		case 1:
			return http.StatusForbidden, false // the request is over
		case 2:
			return http.StatusServiceUnavailable, false
		case 3:
			return http.StatusServiceUnavailable, true
		}
		return 0, false
	})

	code, said := s.submit(path, nil)
	if code != cli.Completed {
		t.Fatalf("the command ends with %d: %s", code, said)
	}
	want := []string{"GET /batches", "POST /files", "POST /files", "POST /files/FILE:complete", "POST /batches"}
	if diff := cmp.Diff(want, s.requests()); diff != "" || n != 4 {
		t.Errorf("the agent was asked (-want +got), and the storage %d times:\n%s", n, diff)
	}

	whole := 0
	list, err := s.uploads.List(t.Context(), alice, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.SHA256 == sum && f.Size == size && f.Purpose == uploads.Batch {
			whole++
		}
	}
	if whole != 1 || len(list) != 1 {
		t.Errorf("the agent has %d files, %d of them the manifest", len(list), whole)
	}

	before := service.Received()
	again, said := s.submit(path, nil)
	if diff := cmp.Diff([]string{"GET /batches"}, s.requests()); again != cli.Completed || diff != "" || service.Received() != before {
		t.Errorf("the same command again ends with %d, and sends %d bytes: %s%s", again, service.Received()-before, said, diff)
	}
	if code, said := s.submit(path, func(c *cli.Config) { c.OnBadLine = "skip" }); code != cli.Refused || !strings.Contains(said, "onBadLine") {
		t.Errorf("another batch under the same name ends with %d: %s", code, said)
	}
}

// An agent that keeps its files itself takes a large manifest as any other.
func TestLargeManifestWithoutAStorage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "files")
	s := newSite(t, func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: dir}) })
	path, size, _ := large(t)

	code, said := s.submit(path, nil)
	if diff := cmp.Diff([]string{"GET /batches", "POST /files", "POST /batches"}, s.requests()); code != cli.Completed || diff != "" {
		t.Fatalf("the command ends with %d: %s%s", code, said, diff)
	}
	if held, err := s.uploads.Held(t.Context(), alice); err != nil || held.Files != 1 || held.Bytes != size {
		t.Errorf("the agent has %+v, %v; want one file of %d bytes", held, err, size)
	}
}

// The batch of a large manifest that was canceled goes on when it is complete. The manifest is not
// sent again, unless its file is deleted.
func TestLargeManifestOfAStoppedBatch(t *testing.T) {
	s, service := onCloud(t)
	path, _, sum := large(t)

	var stopping string
	stop := func(name string) (file string) {
		t.Helper()
		b, err := s.batches.Cancel(t.Context(), alice, task.BatchID(alice, name))
		if err != nil {
			t.Fatal(err)
		}
		stopping = b.ID()
		return b.Spec.Input.File
	}

	settle := func(time.Duration) <-chan time.Time { // while the command waits
		s.w.Settle(stopping)
		return time.After(0)
	}

	submit := func(name string, want ...string) {
		t.Helper()
		s.requests()
		code, said := s.submit(path, func(c *cli.Config) { c.After = settle })
		if code != cli.Completed || !strings.Contains(said, task.BatchID(alice, name)+" is submitted") {
			t.Errorf("the command ends with %d: %s", code, said)
		}
		if diff := cmp.Diff(want, s.requests()); diff != "" {
			t.Errorf("the agent was asked (-want +got):\n%s", diff)
		}
	}

	submit(sum, "GET /batches", "POST /files", "POST /files/FILE:complete", "POST /batches")
	before := service.Received()
	first := stop(sum)
	submit(sum+"~1", "GET /batches", "POST /batches", "POST /batches")
	if service.Received() != before {
		t.Error("the manifest was sent again")
	}

	stop(sum + "~1")
	settle(0)
	if err := s.batches.DeleteFile(t.Context(), alice, first); err != nil {
		t.Fatal(err)
	}
	submit(sum+"~2", "GET /batches", "POST /batches", "POST /files", "POST /files/FILE:complete", "POST /batches")
}
