package batches_test

import (
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

	"errand/cardserver/batches"
	"errand/shared/adapters/local"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/files"
	base "errand/shared/lab/world"
	"errand/shared/uploads"
)

const alice, bob = "acme/alice", "other/bob"

// A world is the API on a real database and a real folder. Its jobs are kept and not
// delivered.
type world struct {
	*base.World
	http.Handler
	t         *testing.T
	config    batches.Config
	batches   batchdesk.Config
	files     *files.Store
	uploads   *uploads.Store
	described *base.Description
	callers   map[string]string // key by name
	objects   map[string]batch.Input
	passed    atomic.Int64 // by which the clock is ahead
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, described: base.Describe(t, batches.Description()), objects: map[string]batch.Input{}}
	w.described.Form = func(r *http.Request) bool { return r.Header.Get("Content-Type") == "application/json" }
	w.described.Answer = func(_ *http.Request, rec *httptest.ResponseRecorder) bool {
		return !strings.HasPrefix(rec.Header().Get("Content-Type"), jsonl)
	}
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(w.passed.Load())) }
	w.World = base.New(t, base.Config{Now: now})
	access, callers := base.Access(t, alice, bob)
	w.callers = callers

	dir := filepath.Join(t.TempDir(), "files")
	w.files = files.New(func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: dir}) }, now)
	t.Cleanup(func() { _ = w.files.Close() })
	w.uploads = uploads.New(uploads.Config{Files: w.files, KV: w.Store.KV(), Now: now})
	w.batches = batchdesk.Config{
		Desk: w.Desk(w.Store), Store: w.Store, KV: w.Store.KV(), Files: w.files, Uploads: w.uploads, Log: w.Log, Currency: "USD",
		Object: func(_ context.Context, owner, name string) (batch.Input, error) {
			if in, ok := w.objects[owner+" "+name]; ok {
				return in, nil
			}
			return batch.Input{}, batchdesk.ErrInput
		},
	}
	w.config = batches.Config{Batches: batchdesk.New(w.batches), Uploads: w.uploads, Access: access, Now: now, Log: w.Log, Wait: time.Nanosecond} // nothing runs
	w.Handler = batches.New(w.config)
	return w
}

const jsonl = "application/jsonl"

// ask makes a request as a caller, and checks the answer against the description.
func (w *world) ask(caller, method, path, kind, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if key := w.callers[caller]; key != "" {
		r.Header.Set("X-API-Key", key)
	}

	return w.described.Serve(w.Handler, r)
}

// want makes a request that must have this status, and reads the answer.
func want[T any](w *world, status int, caller, method, path, kind, body string) (v T) {
	w.t.Helper()
	rec := w.ask(caller, method, path, kind, body)
	if rec.Code != status {
		w.t.Fatalf("%s %s: %d %s, want %d", method, path, rec.Code, rec.Body, status)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return v
}

// view is a batch as a client reads it.
type view struct {
	ID, Name, State, Message, OnBadLine, Retry string
	Complete                                   bool
	Created, Deadline                          time.Time
	Expires, ETA                               *time.Time
	Input                                      struct {
		File, Object, SHA256 string
		Generation, Size     int64
	}
	Lines                                      *int
	Bad, Begun, Open, Ended, Completed, Failed int
	Rate                                       float64
	Tokens                                     map[string]int64
	Price                                      *struct {
		Amount   float64
		Currency string
	}
	Budget   *batch.Budget
	Links    map[string]string
	Estimate *struct {
		Input int64
		Price *struct {
			Amount   float64
			Currency string
		}
	}
	Warning string
}

// problem is an error as a client reads it.
type problem struct {
	Title, Detail, Field string
	Status               int
}

// submit submits a manifest as a body.
func (w *world) submit(caller, query, body string) view {
	w.t.Helper()
	return want[view](w, http.StatusAccepted, caller, "POST", "/batches"+query, jsonl, body)
}

// upload stores a manifest.
func (w *world) upload(owner, text string) string {
	w.t.Helper()
	f, err := w.uploads.Create(w.t.Context(), owner, uploads.Upload{Purpose: uploads.Batch}, strings.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return f.ID
}

// stored counts the files of an owner.
func (w *world) stored(owner string) int {
	w.t.Helper()
	held, err := w.uploads.Held(w.t.Context(), owner)
	if err != nil {
		w.t.Fatal(err)
	}
	return held.Files
}

// put stores a file of a batch.
func (w *world) put(name string, content io.Reader) {
	w.t.Helper()
	if _, err := w.files.Put(w.t.Context(), files.Upload{Name: name, Owner: alice}, content); err != nil {
		w.t.Fatal(err)
	}
}
