package files_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	door "errand/cardserver/files"
	"errand/shared/adapters/gcp"
	"errand/shared/adapters/local"
	"errand/shared/batchdesk"
	"errand/shared/files"
	"errand/shared/lab/fake"
	base "errand/shared/lab/world"
	"errand/shared/uploads"
)

const alice, bob = "acme/alice", "other/bob"

// A world is the API on a real database and a real folder, or on a bucket.
type world struct {
	*base.World
	http.Handler
	t         *testing.T
	config    door.Config
	batches   *batchdesk.Desk
	stored    uploads.Config
	dir       string
	described *base.Description
	callers   map[string]string // key by name
	passed    atomic.Int64      // by which the clock is ahead
	limit     int64             // bytes of an owner
}

func newWorld(t *testing.T) *world {
	w := &world{dir: filepath.Join(t.TempDir(), "files")}
	w.open(t, func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: w.dir}) })
	return w
}

const bucket = "my-project-errand-files"

// onCloud is a world on a bucket.
func onCloud(t *testing.T) (*world, *fake.Storage) {
	service := fake.StartStorage(t, bucket)
	signing, _ := service.Signing(t)
	w := &world{}
	w.open(t, func(ctx context.Context) (files.Place, error) {
		return gcp.OpenBucket(ctx, gcp.BucketConfig{Bucket: bucket, Endpoint: service.Addr, Signing: signing})
	})
	return w, service
}

func (w *world) open(t *testing.T, place func(context.Context) (files.Place, error)) {
	w.t, w.described, w.limit = t, base.Describe(t, door.Description()), 1<<40
	w.described.Form = func(*http.Request) bool { return false }
	w.described.Answer = func(r *http.Request, rec *httptest.ResponseRecorder) bool {
		content := strings.HasSuffix(r.URL.Path, "/content") && rec.Code < 400
		return !content && rec.Code != http.StatusNotModified && rec.Code != http.StatusRequestedRangeNotSatisfiable
	}
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(w.passed.Load())) }
	w.World = base.New(t, base.Config{Now: now})
	access, callers := base.Access(t, alice, bob)
	w.callers = callers
	store := files.New(place, now)
	t.Cleanup(func() { _ = store.Close() })
	w.stored = uploads.Config{
		Files: store, KV: w.Store.KV(), Now: now, Room: w.Store.Room,
		Limit: func(context.Context, string) (int64, error) { return w.limit, nil },
	}
	stored := uploads.New(w.stored)
	w.batches = batchdesk.New(batchdesk.Config{Desk: w.Desk(w.Store), Store: w.Store, KV: w.Store.KV(), Files: store, Uploads: stored, Log: w.Log})
	w.config = door.Config{Uploads: stored, Batches: w.batches, Access: access, Log: w.Log, URL: "https://agent.example"}
	w.Handler = door.New(w.config)
}

// request makes a request of a caller. headers are pairs.
func (w *world) request(caller, method, path string, body io.Reader, headers ...string) *http.Request {
	r := httptest.NewRequest(method, path, body)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if key := w.callers[caller]; key != "" {
		r.Header.Set("X-API-Key", key)
	}
	return r
}

// ask makes a request as a caller, and checks the answer against the description.
func (w *world) ask(caller, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	return w.serve(w.request(caller, method, path, content, headers...))
}

func (w *world) serve(r *http.Request) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.described.Serve(w.Handler, r)
}

// read reads an answer that must have this status.
func read[T any](w *world, status int, rec *httptest.ResponseRecorder) (v T) {
	w.t.Helper()
	if rec.Code != status {
		w.t.Fatalf("%d %s, want %d", rec.Code, rec.Body, status)
	}
	d := json.NewDecoder(bytes.NewReader(rec.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		w.t.Fatal(err)
	}
	return v
}

// A view is a file as a client reads it.
type view struct {
	ID, URL, Name, Purpose, MediaType, SHA256 string
	Size                                      int64
	Created                                   time.Time
}

type listView struct {
	Files         []view
	NextPageToken string
}

// problem is an error as a client reads it.
type problem struct {
	Title, Detail, Field string
	Status               int
}

// upload uploads a text.
func (w *world) upload(caller, query, text string) view {
	w.t.Helper()
	return read[view](w, http.StatusCreated, w.ask(caller, "POST", "/files"+query, text, "Content-Type", "text/plain"))
}

// held counts what an owner has.
func (w *world) held(owner string) uploads.Holding {
	w.t.Helper()
	h, err := w.config.Uploads.Held(w.t.Context(), owner)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}
