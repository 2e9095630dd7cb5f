package openai_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/openai"
	"errand/shared/adapters/local"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/files"
	"errand/shared/kv"
	base "errand/shared/lab/world"
	"errand/shared/uploads"
)

const alice, bob = "acme/alice", "other/bob"

// A world is the API on a real database and a real folder. Its jobs are kept and not delivered.
type world struct {
	*base.World
	http.Handler
	t       *testing.T
	config  openai.Config
	batches batchdesk.Config
	files   *files.Store
	folder  string
	uploads *uploads.Store
	callers map[string]string // key by name
	passed  atomic.Int64      // by which the clock is ahead
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, folder: filepath.Join(t.TempDir(), "files")}
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(w.passed.Load())) }
	w.World = base.New(t, base.Config{Now: now})
	access, callers := base.Access(t, alice, bob)
	w.callers = callers

	w.files = files.New(func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: w.folder}) }, now)
	t.Cleanup(func() { _ = w.files.Close() })
	w.uploads = uploads.New(uploads.Config{Files: w.files, KV: w.Store.KV(), Now: now})
	w.batches = batchdesk.Config{
		Desk: w.Desk(w.Store), Store: w.Store, KV: w.Store.KV(), Files: w.files, Uploads: w.uploads, Log: w.Log,
		Object: func(context.Context, string, string) (batch.Input, error) { return batch.Input{}, batchdesk.ErrInput },
	}
	w.config = openai.Config{Batches: batchdesk.New(w.batches), Uploads: w.uploads, Access: access, Now: now, Log: w.Log}
	w.Handler = openai.New(w.config)
	return w
}

// configure replaces the API by one with another configuration.
func (w *world) configure(edit func(*openai.Config)) {
	c := w.config
	edit(&c)
	w.Handler = openai.New(c)
}

// ask makes a request as a caller, with a key as OpenAI's clients send it.
func (w *world) ask(caller, method, path, kind string, body io.Reader) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, body)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if key := w.callers[caller]; key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec
}

// get makes a request without a body.
func (w *world) get(caller, path string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.ask(caller, "GET", path, "", nil)
}

// post makes a request with a JSON body.
func (w *world) post(caller, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.ask(caller, "POST", path, "application/json", strings.NewReader(body))
}

// read reads an answer that must have this status.
func read[T any](w *world, status int, rec *httptest.ResponseRecorder) (v T) {
	w.t.Helper()
	if rec.Code != status || rec.Header().Get("Content-Type") != "application/json" {
		w.t.Fatalf("%d %s, want %d", rec.Code, rec.Body, status)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		w.t.Fatal(err)
	}
	return v
}

// file is a file as a client reads it.
type file struct {
	ID, Object, Filename, Purpose, Status string
	Bytes                                 int64
	CreatedAt                             int64  `json:"created_at"`
	ExpiresAt                             *int64 `json:"expires_at"`
}

// problem is an error as a client reads it.
type problem struct {
	Error struct {
		Message, Type string
		Param, Code   *string
	}
}

// is compares an error with words of OpenAI's. An empty word is null.
func (p problem) is(kind, param, code string) bool {
	null := func(s *string, want string) bool {
		return s == nil && want == "" || s != nil && *s == want && want != ""
	}
	return p.Error.Message != "" && p.Error.Type == kind && null(p.Error.Param, param) && null(p.Error.Code, code)
}

// page is a page of a list.
type page[T any] struct {
	Object  string
	Data    []T
	FirstID string `json:"first_id"`
	LastID  string `json:"last_id"`
	HasMore bool   `json:"has_more"`
}

// A field is a part of a form: a file if it has a name.
type field struct{ name, file, text string }

// form writes a form.
func form(fields ...field) (kind string, body *bytes.Buffer) {
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for _, f := range fields {
		var to io.Writer
		if f.file != "" {
			to, _ = w.CreateFormFile(f.name, f.file) // a buffer takes everything
		} else {
			to, _ = w.CreateFormField(f.name)
		}
		_, _ = io.WriteString(to, f.text)
	}
	_ = w.Close()
	return w.FormDataContentType(), body
}

var forBatch = field{name: "purpose", text: "batch"}

// send uploads a form.
func (w *world) send(caller string, fields ...field) *httptest.ResponseRecorder {
	w.t.Helper()
	kind, body := form(fields...)
	return w.ask(caller, "POST", "/v1/files", kind, body)
}

// upload uploads a file that must be accepted.
func (w *world) upload(caller, text string) file {
	w.t.Helper()
	return read[file](w, http.StatusOK, w.send(caller, forBatch, field{"file", "lines.jsonl", text}))
}

// creation is the body of a request for a batch.
func creation(input, more string) string {
	return `{"input_file_id":"` + input + `","endpoint":"/v1/chat/completions","completion_window":"24h"` + more + `}`
}

// create makes a batch that must be accepted.
func (w *world) create(caller, input, more string) object {
	w.t.Helper()
	return read[object](w, http.StatusOK, w.post(caller, "/v1/batches", creation(input, more)))
}

// object is a batch as a client reads it.
type object map[string]any

func (o object) id() string { return o["id"].(string) }

// traces lists what is left of files: their entries, and what is in the folder.
func (w *world) traces() (all []string) {
	w.t.Helper()
	for _, prefix := range []string{"file/", "filetask/", "taskfile/"} {
		list, err := w.Store.KV().List(w.t.Context(), prefix, "", kv.LimitCount)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range list {
			all = append(all, e.Key)
		}
	}
	err := filepath.WalkDir(w.folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// put stores a file of a batch.
func (w *world) put(name string, content io.Reader) {
	w.t.Helper()
	if _, err := w.files.Put(w.t.Context(), files.Upload{Name: name, Owner: alice}, content); err != nil {
		w.t.Fatal(err)
	}
}

// completed is a batch of alice's with one answer and one error.
func (w *world) completed(metadata string) (id string) {
	w.t.Helper()
	id = w.create(alice, w.upload(alice, "lines").ID, `,"metadata":{"name":"`+metadata+`"}`).id()
	w.put(batch.ResultsFile(id), strings.NewReader("answer\n"))
	w.put(batch.ErrorsFile(id), strings.NewReader("error\n"))
	w.EndBatch(id, a2a.TaskStateCompleted, batch.State{Lines: 2, Fed: 2, Segs: 1, Counts: batch.Counts{Completed: 1, Failed: 1}})
	return id
}
