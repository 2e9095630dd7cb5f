package openai_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/cardserver/openai"
	"errand/shared/auth"
	"errand/shared/batch"
	base "errand/shared/lab/world"
	"errand/shared/uploads"
)

// A file is there with what was said of it, whichever field of the form comes first. It goes
// when it is deleted.
func TestFiles(t *testing.T) {
	w := newWorld(t)
	lines := field{"file", "linés.jsonl", strings.Repeat("a line\n", 10_000)}
	for name, fields := range map[string][]field{
		"purpose first": {forBatch, lines},
		"file first":    {lines, forBatch},
		"all fields": {
			{name: "expires_after[anchor]", text: "created_at"}, lines, forBatch, {name: "expires_after[seconds]", text: "3600"},
		},
	} {
		before := w.Now().Unix()
		got := read[file](w, http.StatusOK, w.send(alice, fields...))
		end := got.CreatedAt + 24*3600
		want := file{ID: got.ID, Object: "file", Filename: lines.file, Purpose: "batch", Status: "processed", Bytes: 70_000, CreatedAt: got.CreatedAt, ExpiresAt: &end}
		if diff := cmp.Diff(want, got); diff != "" || !uploads.IsID(got.ID) || got.CreatedAt < before || got.CreatedAt > w.Now().Unix() {
			t.Errorf("%s: after %d (-want +got):\n%s", name, before, diff)
		}

		path := "/v1/files/" + got.ID
		if again := read[file](w, http.StatusOK, w.get(alice, path)); again.ID != got.ID || again.Filename != got.Filename || again.Bytes != got.Bytes {
			t.Errorf("%s: %+v", name, again)
		}
		rec := w.get(alice, path+"/content")
		if rec.Code != http.StatusOK || rec.Body.String() != lines.text || rec.Header().Get("Content-Length") != "70000" || rec.Header().Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: the content: %d %v, %d bytes", name, rec.Code, rec.Header(), rec.Body.Len())
		}

		gone := read[object](w, http.StatusOK, w.ask(alice, "DELETE", path, "", nil))
		if diff := cmp.Diff(object{"id": got.ID, "object": "file", "deleted": true}, gone); diff != "" {
			t.Errorf("%s: the deletion (-want +got):\n%s", name, diff)
		}
		for _, rec := range []*httptest.ResponseRecorder{w.get(alice, path), w.get(alice, path+"/content"), w.ask(alice, "DELETE", path, "", nil)} {
			if p := read[problem](w, http.StatusNotFound, rec); !p.is("invalid_request_error", "", "") {
				t.Errorf("%s: afterwards: %+v", name, p)
			}
		}
	}
	if left := w.traces(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// A form that is wrong leaves nothing, wherever its fault is. The error names the field.
func TestBadForms(t *testing.T) {
	w := newWorld(t)
	lines, purpose := field{"file", "a", "a line\n"}, func(text string) field { return field{name: "purpose", text: text} }
	expiry := func(anchor, seconds string) []field {
		return []field{lines, {name: "expires_after[anchor]", text: anchor}, {name: "expires_after[seconds]", text: seconds}, forBatch}
	}
	const missing, value, unknown = "missing_required_parameter", "invalid_value", "unknown_parameter"
	for name, c := range map[string]struct {
		fields      []field
		param, code string
	}{
		"nothing":                  {nil, "file", missing},
		"no file":                  {[]field{forBatch}, "file", missing},
		"no purpose":               {[]field{lines}, "purpose", missing},
		"another purpose":          {[]field{purpose("fine-tune"), lines}, "purpose", value},
		"another purpose behind":   {[]field{lines, purpose("vision")}, "purpose", value},
		"an empty purpose":         {[]field{lines, purpose("")}, "purpose", value},
		"a long purpose":           {[]field{lines, purpose(strings.Repeat("x", 300))}, "purpose", value},
		"two purposes":             {[]field{forBatch, lines, forBatch}, "purpose", value},
		"two files":                {[]field{forBatch, lines, lines}, "file", value},
		"another field":            {[]field{forBatch, lines, {name: "colour", text: "red"}}, "colour", unknown},
		"another field before":     {[]field{{name: "colour", text: "red"}, forBatch, lines}, "colour", unknown},
		"another field, long":      {[]field{{name: strings.Repeat("x", 100), text: "red"}}, strings.Repeat("x", 64) + "...", unknown},
		"a name that is too long":  {[]field{forBatch, {"file", strings.Repeat("x", 256), "a line"}}, "file", value},
		"an expiry without anchor": {expiry("", "3600"), "expires_after", value},
		"another anchor":           {expiry("last_active_at", "3600"), "expires_after", value},
		"an expiry that is early":  {expiry("created_at", "3599"), "expires_after", value},
		"an expiry that is late":   {expiry("created_at", "2592001"), "expires_after", value},
		"an expiry without number": {expiry("created_at", "soon"), "expires_after", value},
	} {
		rec := w.send(alice, c.fields...)
		if p := read[problem](w, http.StatusBadRequest, rec); !p.is("invalid_request_error", c.param, c.code) {
			t.Errorf("%s: %s", name, rec.Body)
		}
		if left := w.traces(); len(left) > 0 {
			t.Errorf("%s: left are %q", name, left)
		}
	}
}

// A body that is no form, or does not arrive, is told apart, and leaves nothing.
func TestBadBodies(t *testing.T) {
	w := newWorld(t)
	kind, whole := form(field{"file", "a", strings.Repeat("a line\n", 1000)}, forBatch)
	text := whole.String()
	cut := func(n int, err error) io.Reader {
		return io.MultiReader(strings.NewReader(text[:n]), iotest.ErrReader(err))
	}
	long, longName := form(field{name: strings.Repeat("purpose", 20_000)})
	packed, packedName := form(forBatch, field{"file", strings.Repeat("x", 100_000), "a line"})
	filled, fields := form(forBatch, field{name: "expires_after[anchor]", text: strings.Repeat("x", 100_000)})

	for name, c := range map[string]struct {
		kind   string
		body   io.Reader
		edit   func(*http.Request)
		status int
		param  string
	}{
		"JSON":                         {"application/json", strings.NewReader("{}"), nil, 400, "file"},
		"no type":                      {"", strings.NewReader(text), nil, 400, "file"},
		"another form":                 {"application/x-www-form-urlencoded", strings.NewReader("purpose=batch"), nil, 400, "file"},
		"no boundary":                  {"multipart/form-data", strings.NewReader(text), nil, 400, "file"},
		"another boundary":             {"multipart/form-data; boundary=x", strings.NewReader(text), nil, 400, "file"},
		"no end":                       {kind, strings.NewReader(text[:len(text)-10]), nil, 400, ""},
		"cut in the file":              {kind, strings.NewReader(text[:3000]), nil, 400, ""},
		"cut in a header":              {kind, strings.NewReader(text[:70]), nil, 400, ""},
		"broken off in the file":       {kind, cut(3000, io.ErrUnexpectedEOF), nil, 400, ""},
		"broken off in a header":       {kind, cut(70, io.ErrUnexpectedEOF), nil, 400, ""},
		"broken off behind the end":    {kind, cut(len(text), io.ErrUnexpectedEOF), nil, 400, ""},
		"late":                         {kind, cut(3000, os.ErrDeadlineExceeded), nil, 408, ""},
		"a header that does not end":   {long, longName, nil, 413, ""},
		"a name as long as a file":     {packed, packedName, nil, 413, ""},
		"a field that does not end":    {filled, fields, nil, 400, "expires_after[anchor]"},
		"announced as too large":       {kind, strings.NewReader(text), func(r *http.Request) { r.ContentLength = batch.MaxManifest + 1<<20 }, 413, "file"},
		"much behind the end":          {kind, io.MultiReader(strings.NewReader(text), strings.NewReader(strings.Repeat("x", 100_000))), nil, 413, ""},
		"compressed":                   {kind, strings.NewReader(text), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415, ""},
		"with a parameter of the path": {kind, strings.NewReader(text), func(r *http.Request) { r.URL.RawQuery = "purpose=batch" }, 400, "purpose"},
	} {
		r := httptest.NewRequest("POST", "/v1/files", c.body)
		r.Header.Set("Authorization", "Bearer "+w.callers[alice])
		r.Header.Set("Content-Type", c.kind)
		if c.edit != nil {
			c.edit(r)
		}
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		p := read[problem](w, c.status, rec)
		if got := p.Error.Param; p.Error.Message == "" || (got == nil) != (c.param == "") || got != nil && *got != c.param {
			t.Errorf("%s: %s", name, rec.Body)
		}
		if left := w.traces(); len(left) > 0 {
			t.Errorf("%s: left are %q", name, left)
		}
	}
}

// A client that hangs up in the middle of a file leaves nothing.
func TestUploadThatHangsUp(t *testing.T) {
	w := newWorld(t)
	served := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer func() { served <- struct{}{} }()
		w.ServeHTTP(rw, r)
	}))
	defer server.Close()

	kind, body := form(field{"file", "a", strings.Repeat("a line\n", 1<<20)}, forBatch)
	for _, sent := range []int{200, 5 << 20} {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", w.callers[alice], kind, body.Len())
		if _, err := c.Write(body.Bytes()[:sent]); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-served
		if left := w.traces(); len(left) > 0 {
			t.Errorf("after %d bytes: left are %q", sent, left)
		}
	}
}

// A file of any size passes through in both directions, and is never held.
func TestLargeFilesAreNotHeld(t *testing.T) {
	w := newWorld(t)
	const size = 64 << 20
	kind, whole := form(field{"file", "large.jsonl", "CONTENT"}, forBatch)
	head, tail, _ := strings.Cut(whole.String(), "CONTENT")
	heap := base.WatchHeap()
	content := heap.Body(size)
	got := read[file](w, http.StatusOK, w.ask(alice, "POST", "/v1/files", kind, io.MultiReader(strings.NewReader(head), content, strings.NewReader(tail))))
	if got.Bytes != size {
		t.Errorf("the file has %d bytes, want %d", got.Bytes, size)
	}

	out := heap.Answer()
	r := httptest.NewRequest("GET", "/v1/files/"+got.ID+"/content", nil)
	r.Header.Set("Authorization", "Bearer "+w.callers[alice])
	w.ServeHTTP(out, r)
	if out.Bytes != size {
		t.Errorf("its content has %d bytes, want %d", out.Bytes, size)
	}
	if grown := heap.Grown(); grown > size/2 {
		t.Errorf("the heap grew by %d MiB, for bodies of %d MiB", grown>>20, size>>20)
	}
}

// A place is taken for each upload and content, which may last, and given back.
func TestLongRequestsTakePlaces(t *testing.T) {
	w := newWorld(t)
	id := w.upload(alice, "a line").ID
	held, taken, refuse := 0, 0, false
	w.configure(func(c *openai.Config) {
		c.Enter = func(owner string) (func(), error) {
			if refuse {
				return nil, auth.Limited("streams", time.Second, "you have enough")
			}
			held++
			taken++
			return func() { held-- }, nil
		}
	})

	w.upload(alice, "another line")
	w.get(alice, "/v1/files/"+id+"/content")
	w.get(alice, "/v1/files/"+id)
	if held != 0 || taken != 2 {
		t.Errorf("%d places were taken, and %d are held", taken, held)
	}
	refuse = true
	before := len(w.traces())
	for _, rec := range []*httptest.ResponseRecorder{w.send(alice, forBatch, field{"file", "a", "x"}), w.get(alice, "/v1/files/"+id+"/content")} {
		if p := read[problem](w, http.StatusTooManyRequests, rec); !p.is("rate_limit_error", "", "rate_limit_exceeded") || rec.Header().Get("Retry-After") != "1" {
			t.Errorf("%v %s", rec.Header(), rec.Body)
		}
	}
	if after := len(w.traces()); after != before {
		t.Errorf("a refused upload leaves %d traces", after-before)
	}
}

// The files of a batch have ids that tell the batch. Each is there when the batch is complete, if
// it has a line, until its owner deletes it.
func TestFilesOfABatch(t *testing.T) {
	w := newWorld(t)
	input := w.upload(alice, "lines")
	made := w.create(alice, input.ID, "")
	id := made.id()
	out, bad := "file-"+id+"-output", "file-"+id+"-error"
	missing := func(what, file string) {
		t.Helper()
		for _, rec := range []*httptest.ResponseRecorder{w.get(alice, "/v1/files/"+file), w.get(alice, "/v1/files/"+file+"/content"), w.ask(alice, "DELETE", "/v1/files/"+file, "", nil)} {
			read[problem](w, http.StatusNotFound, rec)
		}
		if file == out && made["output_file_id"] != nil || file == bad && made["error_file_id"] != nil {
			t.Errorf("%s: the batch is %v", what, made)
		}
	}
	w.put(batch.ResultsSegment(id, 0), strings.NewReader("answer\n"))
	w.SetBatch(id, batch.State{Lines: 1500, Segs: 1, Counts: batch.Counts{Completed: 1000}})
	missing("before the end", out)
	missing("before the end", bad)

	w.put(batch.ResultsFile(id), strings.NewReader("answer\n"))
	w.put(batch.ErrorsFile(id), strings.NewReader(""))
	w.EndBatch(id, "TASK_STATE_COMPLETED", batch.State{Lines: 1, Segs: 1, Counts: batch.Counts{Completed: 1}})
	made = read[object](w, http.StatusOK, w.get(alice, "/v1/batches/"+id))
	if made["output_file_id"] != out {
		t.Errorf("the batch is %v", made)
	}
	missing("without errors", bad)

	r := w.Load(id)
	end := r.Expires.Unix()
	want := file{ID: out, Object: "file", Filename: id + "_output.jsonl", Purpose: "batch_output", Status: "processed", Bytes: 7, CreatedAt: r.Stamp().Unix(), ExpiresAt: &end}
	if diff := cmp.Diff(want, read[file](w, http.StatusOK, w.get(alice, "/v1/files/"+out))); diff != "" {
		t.Errorf("the output file (-want +got):\n%s", diff)
	}
	if rec := w.get(alice, "/v1/files/"+out+"/content"); rec.Code != http.StatusOK || rec.Body.String() != "answer\n" || rec.Header().Get("Content-Length") != "7" {
		t.Errorf("its content: %d %v %q", rec.Code, rec.Header(), rec.Body)
	}
	if rec := w.ask(alice, "HEAD", "/v1/files/"+out+"/content", "", nil); rec.Code != http.StatusOK || rec.Body.Len() > 0 || rec.Header().Get("Content-Length") != "7" {
		t.Errorf("the head: %d %v", rec.Code, rec.Header())
	}

	if gone := read[object](w, http.StatusOK, w.ask(alice, "DELETE", "/v1/files/"+out, "", nil)); gone["deleted"] != true || gone["id"] != out {
		t.Errorf("the deletion: %v", gone)
	}
	made["output_file_id"] = nil
	missing("deleted", out)
	if now := read[object](w, http.StatusOK, w.get(alice, "/v1/batches/"+id)); now["status"] != "completed" {
		t.Errorf("the batch is %v", now)
	}
}

// The input of a batch stays until the batch is complete.
func TestInputOfABatchStays(t *testing.T) {
	w := newWorld(t)
	input := w.upload(alice, "lines")
	id := w.create(alice, input.ID, "").id()
	rec := w.ask(alice, "DELETE", "/v1/files/"+input.ID, "", nil)
	if p := read[problem](w, http.StatusConflict, rec); !strings.Contains(p.Error.Message, id) || rec.Header().Get("X-Should-Retry") != "false" {
		t.Errorf("%v %s", rec.Header(), rec.Body)
	}
	w.passed.Add(int64(23 * time.Hour))
	if f := read[file](w, http.StatusOK, w.get(alice, "/v1/files/"+input.ID)); f.ExpiresAt == nil {
		t.Errorf("within a day: %+v", f)
	}
	w.EndBatch(id, "TASK_STATE_COMPLETED", batch.State{})
	w.passed.Add(int64(2 * time.Hour))
	if f := read[file](w, http.StatusOK, w.get(alice, "/v1/files/"+input.ID)); f.ExpiresAt != nil {
		t.Errorf("after a day: %+v", f)
	}
	read[object](w, http.StatusOK, w.ask(alice, "DELETE", "/v1/files/"+input.ID, "", nil))
}

// The list has the uploaded files, newest first, and then those of batches, the newest batch
// first. Pages join without a gap.
func TestListFiles(t *testing.T) {
	w := newWorld(t)
	var want []string
	for _, name := range []string{"a", "b"} {
		id := w.completed(name)
		want = append([]string{"file-" + id + "-output", "file-" + id + "-error"}, want...)
		w.passed.Add(int64(time.Second))
	}
	running := w.create(alice, w.upload(alice, "other lines").ID, "")
	if running["status"] != "validating" {
		t.Errorf("the batch is %v", running)
	}
	w.upload(bob, "his lines")
	outputs := len(want)

	all := read[page[file]](w, http.StatusOK, w.get(alice, "/v1/files"))
	var got []string
	for i, f := range all.Data {
		if got = append(got, f.ID); i > 0 && f.Purpose == "batch" && f.CreatedAt > all.Data[i-1].CreatedAt {
			t.Errorf("%+v is behind an older one", f)
		}
	}
	if uploaded := len(got) - outputs; uploaded != 3 || all.HasMore || all.Object != "list" || all.FirstID != got[0] || all.LastID != got[len(got)-1] {
		t.Fatalf("the list is %+v", all)
	}
	if diff := cmp.Diff(want, got[3:]); diff != "" {
		t.Errorf("the files of batches (-want +got):\n%s", diff)
	}

	walk := func(query string, limit int) (ids []string) {
		t.Helper()
		for after := ""; ; {
			path := fmt.Sprintf("/v1/files?limit=%d%s", limit, query)
			if after != "" {
				path += "&after=" + after
			}

			p := read[page[file]](w, http.StatusOK, w.get(alice, path))
			for _, f := range p.Data {
				ids = append(ids, f.ID)
			}
			if after = p.LastID; !p.HasMore {
				return ids
			}
			if len(p.Data) != limit {
				t.Fatalf("a page of %d files, and more to come", len(p.Data))
			}
		}
	}

	for limit := 1; limit <= len(got); limit++ {
		if diff := cmp.Diff(got, walk("&order=desc", limit)); diff != "" {
			t.Errorf("in pages of %d (-want +got):\n%s", limit, diff)
		}
		if diff := cmp.Diff(got[:3], walk("&purpose=batch", limit)); diff != "" {
			t.Errorf("inputs in pages of %d (-want +got):\n%s", limit, diff)
		}
		if diff := cmp.Diff(want, walk("&purpose=batch_output", limit)); diff != "" {
			t.Errorf("outputs in pages of %d (-want +got):\n%s", limit, diff)
		}
	}

	read[object](w, http.StatusOK, w.ask(alice, "DELETE", "/v1/files/"+want[0], "", nil))
	if diff := cmp.Diff(append(got[:3:3], want[1:]...), walk("", 10)); diff != "" {
		t.Errorf("after a deletion (-want +got):\n%s", diff)
	}
	if none := w.get(alice, "/v1/files?purpose=vision"); none.Body.String() != `{"object":"list","data":[],"has_more":false}`+"\n" {
		t.Errorf("an empty list is %s", none.Body)
	}
	for query, param := range map[string]string{
		"limit=0": "limit", "limit=10001": "limit", "order=asc": "order", "colour=red": "colour", "after=x": "after", "limit=1&limit=2": "limit",
		"after=file-aaaaaaaaaaaaaaaaaaaaaaaaaa": "after", "after=file-" + strings.Replace(running.id(), "-b", "", 1) + "-output": "after",
	} {
		if p := read[problem](w, http.StatusBadRequest, w.get(alice, "/v1/files?"+query)); p.Error.Param == nil || *p.Error.Param != param {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

// Files that came by another door are there too, and are no input without the purpose.
func TestFilesOfAnotherDoor(t *testing.T) {
	w := newWorld(t)
	f, err := w.uploads.Create(t.Context(), alice, uploads.Upload{MediaType: "image/png"}, strings.NewReader("picture"))
	if err != nil {
		t.Fatal(err)
	}
	if got := read[file](w, http.StatusOK, w.get(alice, "/v1/files/"+f.ID)); got.Purpose != "user_data" || got.Filename != "" {
		t.Errorf("%+v", got)
	}
	rec := w.post(alice, "/v1/batches", creation(f.ID, ""))
	if p := read[problem](w, http.StatusBadRequest, rec); !p.is("invalid_request_error", "input_file_id", "invalid_value") {
		t.Errorf("%s", rec.Body)
	}
}

// A content that cannot be read to its end is cut off, and no client takes it for the whole.
func TestContentThatBreaksOff(t *testing.T) {
	w := newWorld(t)
	id := w.completed("a")
	w.put(batch.ResultsFile(id), strings.NewReader(strings.Repeat("answer\n", 1<<20)))
	broken := errors.New("broken")
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.ServeHTTP(&breaking{ResponseWriter: rw, left: 1 << 20, err: broken}, r)
	}))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/files/file-"+id+"-output/content", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.callers[alice])
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%d, %d bytes have an end", res.StatusCode, len(text))
	}
}

// breaking takes a part of an answer.
type breaking struct {
	http.ResponseWriter
	left int
	err  error
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, b.err
	}
	return b.ResponseWriter.Write(p)
}
