package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	door "errand/cardserver/files"
	"errand/shared/auth"
	"errand/shared/batchdesk"
	"errand/shared/lab/fake"
	base "errand/shared/lab/world"
	"errand/shared/memory"
	"errand/shared/task"
	"errand/shared/uploads"
)

// The description names all operations that are served, and no other.
func TestDescriptionNamesWhatIsServed(t *testing.T) {
	w := newWorld(t)
	if diff := cmp.Diff(door.Routes(), w.described.Operations()); diff != "" {
		t.Errorf("operations (-served +described):\n%s", diff)
	}

	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, httptest.NewRequest("GET", door.DescriptionPath, nil))
	if rec.Code != http.StatusOK || rec.Body.String() != string(door.Description()) {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	for _, path := range []string{"/files/", "/files/a/b", "/files/x:pause", "/files/x/content/"} {
		if rec := w.ask(alice, "GET", path, ""); rec.Code != http.StatusNotFound && rec.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

// A file is uploaded, seen, read whole and in parts, listed and deleted by its owner. For
// everybody else it does not exist.
func TestLifeOfAFile(t *testing.T) {
	w := newWorld(t)
	text := strings.Repeat("0123456789", 100)
	f := w.upload(alice, "?name=%C3%A4%20b.txt&purpose=vision", text)
	sum := sha256.Sum256([]byte(text))
	want := view{
		ID: f.ID, URL: "https://agent.example/files/" + f.ID + "/content", Name: "ä b.txt", Purpose: "vision", MediaType: "text/plain",
		SHA256: hex.EncodeToString(sum[:]), Size: 1000, Created: f.Created,
	}
	if f != want {
		t.Errorf("the file is %+v, want %+v", f, want)
	}
	at := "/files/" + f.ID
	if got := read[view](w, http.StatusOK, w.ask(alice, "GET", at, "")); got != want {
		t.Errorf("it is seen as %+v", got)
	}

	rec := w.ask(alice, "GET", at+"/content", "")
	h := rec.Header()
	if rec.Code != http.StatusOK || rec.Body.String() != text || h.Get("Content-Type") != "text/plain" || h.Get("Content-Length") != "1000" ||
		!strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("ETag") != `"`+want.SHA256+`"` {
		t.Errorf("its content: %d, %d bytes, %v", rec.Code, rec.Body.Len(), h)
	}
	rec = w.ask(alice, "GET", at+"/content", "", "Range", "bytes=995-2000")
	if rec.Code != http.StatusPartialContent || rec.Body.String() != "56789" || rec.Header().Get("Content-Range") != "bytes 995-999/1000" {
		t.Errorf("a part: %d %s %v", rec.Code, rec.Body, rec.Header())
	}
	if rec = w.ask(alice, "GET", at+"/content", "", "Range", "bytes=1000-"); rec.Code != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a part that is not there: %d", rec.Code)
	}
	if rec = w.ask(alice, "GET", at+"/content", "", "If-None-Match", `"`+want.SHA256+`"`); rec.Code != http.StatusNotModified || rec.Body.Len() != 0 {
		t.Errorf("a content that the client has: %d", rec.Code)
	}
	if rec = w.ask(alice, "HEAD", at+"/content", ""); rec.Code != http.StatusOK || rec.Body.Len() != 0 || rec.Header().Get("Content-Length") != "1000" {
		t.Errorf("HEAD: %d %v", rec.Code, rec.Header())
	}

	none := w.ask(bob, "GET", "/files/file-aaaaaaaaaaaaaaaaaaaaaaaaaa", "").Body.String()
	for _, ask := range []string{"GET " + at, "GET " + at + "/content", "DELETE " + at, "POST " + at + ":complete"} {
		method, path, _ := strings.Cut(ask, " ")
		if rec := w.ask(bob, method, path, ""); rec.Code != http.StatusNotFound || rec.Body.String() != none {
			t.Errorf("%s by another: %d %s", ask, rec.Code, rec.Body)
		}
	}
	if list := read[listView](w, http.StatusOK, w.ask(bob, "GET", "/files", "")); len(list.Files) != 0 {
		t.Errorf("another sees %+v", list)
	}
	if list := read[listView](w, http.StatusOK, w.ask(alice, "GET", "/files", "")); len(list.Files) != 1 || list.Files[0] != want {
		t.Errorf("its owner sees %+v", list)
	}

	if rec := w.ask(alice, "DELETE", at, ""); rec.Code != http.StatusNoContent {
		t.Errorf("its deletion: %d %s", rec.Code, rec.Body)
	}
	if rec := w.ask(alice, "GET", at, ""); rec.Code != http.StatusNotFound || w.held(alice).Files != 0 {
		t.Errorf("afterwards: %d, %+v", rec.Code, w.held(alice))
	}
}

// The manifest of a batch stays until the batch is complete.
func TestManifestOfABatchStays(t *testing.T) {
	w := newWorld(t)
	f := w.upload(alice, "?purpose=batch", "lines")
	b, _, err := w.batches.Submit(t.Context(), alice, batchdesk.Submission{Input: f.ID})
	if err != nil {
		t.Fatal(err)
	}

	if p := read[problem](w, http.StatusConflict, w.ask(alice, "DELETE", "/files/"+f.ID, "")); !strings.Contains(p.Detail, b.ID()) {
		t.Errorf("%+v", p)
	}
	if _, err := w.batches.Cancel(t.Context(), alice, b.ID()); err != nil {
		t.Fatal(err)
	}
	w.Settle(b.ID())
	if rec := w.ask(alice, "DELETE", "/files/"+f.ID, ""); rec.Code != http.StatusNoContent {
		t.Errorf("when it is complete: %d %s", rec.Code, rec.Body)
	}
}

// A list has all files, each once, whatever the size of its pages.
func TestList(t *testing.T) {
	w := newWorld(t)
	want := map[string]bool{}
	for n := range 7 {
		want[w.upload(alice, "", fmt.Sprint(n)).ID] = true
	}

	w.upload(bob, "", "foreign")
	for _, size := range []int{1, 2, 7, 100} {
		got, pages := map[string]bool{}, 0
		for token := ""; ; pages++ {
			list := read[listView](w, http.StatusOK, w.ask(alice, "GET", fmt.Sprintf("/files?pageSize=%d&pageToken=%s", size, token), ""))
			for _, f := range list.Files {
				if got[f.ID] {
					t.Errorf("%s is listed twice", f.ID)
				}
				got[f.ID] = true
			}
			if token = list.NextPageToken; token == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || pages > 7/size+1 {
			t.Errorf("pages of %d: %d of them, %s", size, pages, diff)
		}
	}
}

// Every fault of an upload has a status and a remedy, and leaves nothing behind.
func TestUploadThatIsRefused(t *testing.T) {
	w := newWorld(t)
	w.limit = 1000
	for _, row := range []struct {
		name, path, body string
		headers          []string
		status           int
		field, says      string
	}{
		{"no body", "/files", "", nil, 400, "body", "is empty"},
		{"a parameter", "/files?canary=1", "x", nil, 400, "canary", "no parameter"},
		{"a name", "/files?name=a%0Ab", "x", nil, 400, "name", "control"},
		{"a purpose", "/files?purpose=Batch!", "x", nil, 400, "purpose", "batch"},
		{"a media type", "/files", "x", []string{"Content-Type", "text"}, 415, "Content-Type", "TYPE/SUBTYPE"},
		{"a form", "/files", "x", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "Content-Type", "itself as the body"},
		{"compressed", "/files", "x", []string{"Content-Encoding", "gzip"}, 415, "Content-Encoding", "as it is"},
		{"another way", "/files?upload=resumable", "x", nil, 400, "upload", "signed"},
		{"a size for nothing", "/files?size=5", "x", nil, 400, "size", "upload=signed"},
		{"no size", "/files?upload=signed", "", nil, 400, "size", "bytes"},
		{"a body for nothing", "/files?upload=signed&size=1", "x", nil, 400, "body", "empty"},
		{"on a disk", "/files?upload=signed&size=1", "", nil, 501, "upload", "POST /files"},
		{"more than it may", "/files", strings.Repeat("x", 1001), nil, 429, "", "stored"},
	} {
		rec := w.ask(alice, "POST", row.path, row.body, row.headers...)
		p := read[problem](w, row.status, rec)
		if p.Field != row.field || !strings.Contains(p.Detail, row.says) {
			t.Errorf("%s: %+v, want the field %q and %q", row.name, p, row.field, row.says)
		}
	}

	large := w.request(alice, "POST", "/files", strings.NewReader("x"))
	large.ContentLength = uploads.MaxFile + 1
	if p := read[problem](w, 413, w.serve(large)); !strings.Contains(p.Detail, "purpose=batch") {
		t.Errorf("announced as too large: %+v", p)
	}
	broken := w.request(alice, "POST", "/files", io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if p := read[problem](w, 400, w.serve(broken)); p.Field != "body" || !strings.Contains(p.Detail, "too early") {
		t.Errorf("broken off: %+v", p)
	}
	late := w.request(alice, "POST", "/files", iotest.ErrReader(os.ErrDeadlineExceeded))
	late.ContentLength = 5
	if p := read[problem](w, 408, w.serve(late)); p.Field != "body" {
		t.Errorf("too late: %+v", p)
	}

	if w.held(alice) != (uploads.Holding{}) {
		t.Errorf("the refusals left %+v", w.held(alice))
	}
	if _, err := os.Stat(w.dir); err == nil {
		if list, err := os.ReadDir(w.dir); err != nil || len(list) != 0 {
			t.Errorf("the refusals left %v, %v", list, err)
		}
	}
}

// A disk that is full, or fills while a file comes, is an answer of its own.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	for _, full := range []error{task.ErrFull, fmt.Errorf("writing: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})} {
		for after := range 2 {
			asked := 0
			stored := w.stored
			stored.Room = func(context.Context) error {
				if asked++; asked > after {
					return full
				}
				return nil
			}
			w.config.Uploads = uploads.New(stored)
			w.Handler = door.New(w.config)
			rec := w.serve(w.request(alice, "POST", "/files", bytes.NewReader(make([]byte, 20<<20))))
			if p := read[problem](w, http.StatusInsufficientStorage, rec); !strings.Contains(p.Detail, "nothing") || strings.Contains(p.Detail, "write") {
				t.Errorf("%+v", p)
			}
			if w.held(alice) != (uploads.Holding{}) {
				t.Errorf("there is %+v", w.held(alice))
			}
		}
	}
}

// A fault of ours is logged, and says nothing about the inside.
func TestFault(t *testing.T) {
	w := newWorld(t)
	stored := w.stored
	stored.Limit = func(context.Context, string) (int64, error) { return 0, errors.New("a canary") }
	w.config.Uploads = uploads.New(stored)
	log := &bytes.Buffer{}
	w.config.Log = slog.New(slog.NewTextHandler(log, nil))
	w.Handler = door.New(w.config)
	if rec := w.ask(alice, "POST", "/files", "x"); rec.Code != http.StatusServiceUnavailable || strings.Contains(rec.Body.String(), "canary") || !strings.Contains(log.String(), "canary") {
		t.Errorf("%d %s, logged as %s", rec.Code, rec.Body, log)
	}
}

// An upload of a hundred megabytes is not held in memory.
func TestUploadIsNotHeld(t *testing.T) {
	w := newWorld(t)
	f := w.upload(alice, "", "warm")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rec := w.serve(w.request(alice, "POST", "/files?name=large", io.LimitReader(zeros{}, uploads.MaxFile)))
	runtime.ReadMemStats(&after)
	large := read[view](w, http.StatusCreated, rec)
	if large.Size != uploads.MaxFile || large.ID == f.ID {
		t.Errorf("the file is %+v", large)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes were allocated for it", n)
	}

	over := w.serve(w.request(alice, "POST", "/files", io.LimitReader(zeros{}, uploads.MaxFile+1)))
	if p := read[problem](w, http.StatusRequestEntityTooLarge, over); p.Field != "body" {
		t.Errorf("a byte more: %+v", p)
	}
	manifest := w.serve(w.request(alice, "POST", "/files?purpose=batch", io.LimitReader(zeros{}, uploads.MaxFile+1)))
	read[view](w, http.StatusCreated, manifest)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Uploads beyond the memory of the process are refused at once: those of one caller before
// those of others.
func TestMemoryOfUploads(t *testing.T) {
	w := newWorld(t)
	stored := w.stored
	stored.Memory = memory.Sized(6 << 20) // for two
	w.config.Uploads = uploads.New(stored)
	w.Handler = door.New(w.config)

	begun, end := make(chan bool), make(chan bool)
	done := make(chan int)
	slow := func(caller string) {
		body := iotest.OneByteReader(io.MultiReader(strings.NewReader("x"), reader(func() error {
			begun <- true
			<-end
			return io.EOF
		})))
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, w.request(caller, "POST", "/files", body))
		done <- rec.Code
	}

	go slow(alice)
	<-begun
	if p := read[problem](w, http.StatusTooManyRequests, w.ask(alice, "POST", "/files", "x")); !strings.Contains(p.Detail, "memory") {
		t.Errorf("a second one: %+v", p)
	}
	go slow(bob)
	<-begun
	read[problem](w, http.StatusServiceUnavailable, w.ask(bob, "POST", "/files", "x"))
	close(end)
	for range 2 {
		if code := <-done; code != http.StatusCreated {
			t.Errorf("an upload: %d", code)
		}
	}
	w.upload(alice, "", "x")
}

// A reader ends with an error.
type reader func() error

func (r reader) Read([]byte) (int, error) { return 0, r() }

// A content goes to the bucket past the program, by what the answer says.
func TestSignedUpload(t *testing.T) {
	w, service := onCloud(t)
	rec := w.ask(alice, "POST", "/files?upload=signed&size=4&purpose=batch&name=a.jsonl", "", "Content-Type", "application/jsonl")
	begun := read[struct {
		ID, Complete string
		Upload       struct {
			Method, URL, Expires string
			Headers              map[string]string
		}
	}](w, http.StatusAccepted, rec)

	at := "/files/" + begun.ID
	if begun.Complete != at+":complete" {
		t.Errorf("it is completed at %s", begun.Complete)
	}
	for _, early := range []string{"GET " + at, "GET " + at + "/content", "POST " + begun.Complete} {
		method, path, _ := strings.Cut(early, " ")
		read[problem](w, http.StatusConflict, w.ask(alice, method, path, ""))
	}

	header := http.Header{}
	for name, value := range begun.Upload.Headers {
		header.Set(name, value)
	}
	fake.Send(t, begun.Upload.Method, begun.Upload.URL, header, "text")

	for range 2 {
		f := read[view](w, http.StatusOK, w.ask(alice, "POST", begun.Complete, ""))
		if f.ID != begun.ID || f.Size != 4 || f.MediaType != "application/jsonl" || f.Purpose != "batch" || f.Name != "a.jsonl" {
			t.Errorf("the file is %+v", f)
		}
	}
	if rec := w.ask(alice, "GET", at+"/content", ""); rec.Body.String() != "text" {
		t.Errorf("its content: %d %s", rec.Code, rec.Body)
	}
	if rec := w.ask(alice, "DELETE", at, ""); rec.Code != http.StatusNoContent || len(service.Objects(t, bucket)) != 0 {
		t.Errorf("its deletion: %d, and there is %q", rec.Code, service.Objects(t, bucket))
	}
}

// Every operation needs exactly one right, and names it in the refusal.
func TestEveryOperationNeedsOneRight(t *testing.T) {
	w := newWorld(t)
	base.OneRight(t, door.Routes(), door.RightOf, strings.NewReplacer("{file}", "file-aaaaaaaaaaaaaaaaaaaaaaaaaa"), func(a *auth.Access) http.Handler {
		w.config.Access = a
		return door.New(w.config)
	})
}

// The audit log has one line for each change, whatever becomes of it, and for each refusal. It
// has no content and no name of a file.
func TestAudit(t *testing.T) {
	w := newWorld(t)
	var log *bytes.Buffer
	w.Handler, log = base.Audited(w.Handler)
	line := func() string {
		defer log.Reset()
		return log.String()
	}
	f := w.upload(alice, "?name=canary", "canary")
	if got := line(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"operation":"POST /files"`) || !strings.Contains(got, alice) || strings.Contains(got, "canary") {
		t.Errorf("an upload has the lines %q", got)
	}

	w.ask(alice, "GET", "/files/"+f.ID+"/content", "")
	w.ask(alice, "GET", "/files", "")
	w.ask(bob, "GET", "/files/"+f.ID, "")
	if got := line(); got != "" {
		t.Errorf("reads have the lines %q", got)
	}
	w.ask(bob, "DELETE", "/files/"+f.ID, "")
	if got := line(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"status":404`) {
		t.Errorf("a deletion by another has the lines %q", got)
	}
	w.ask(alice, "DELETE", "/files/"+f.ID, "")
	if got := line(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"status":204`) {
		t.Errorf("a deletion has the lines %q", got)
	}
	w.ask("", "GET", "/files", "")
	if got := line(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"status":401`) {
		t.Errorf("a stranger has the lines %q", got)
	}
}
