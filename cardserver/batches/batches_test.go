package batches_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/batches"
	"errand/shared/auth"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/desk"
	"errand/shared/lab/faulty"
	base "errand/shared/lab/world"
	"errand/shared/task"
	"errand/shared/uploads"
)

// The description names all operations that are served, and no other.
func TestDescriptionNamesWhatIsServed(t *testing.T) {
	w := newWorld(t)
	if diff := cmp.Diff(batches.Routes(), w.described.Operations()); diff != "" {
		t.Errorf("operations (-served +described):\n%s", diff)
	}

	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, httptest.NewRequest("GET", batches.DescriptionPath, nil))
	if rec.Code != http.StatusOK || rec.Body.String() != string(batches.Description()) || rec.Header().Get("Content-Type") != "application/yaml" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
}

// A manifest is submitted as the body, or named. Both answer with the batch, and the same
// request again finds it.
func TestSubmit(t *testing.T) {
	w := newWorld(t)
	const manifest = `{"text":"hello"}` + "\n"
	deadline := w.Now().Add(6 * time.Hour).UTC().Truncate(time.Second)
	query := "?name=nightly&onBadLine=skip&budget=2.50USD&deadline=" + deadline.Format(time.RFC3339)
	got := w.submit(alice, query, manifest)

	id := task.BatchID(alice, "nightly")
	if got.ID != id || got.Name != "nightly" || got.State != "submitted" || got.OnBadLine != "skip" || !got.Deadline.Equal(deadline) ||
		*got.Budget != (batch.Budget{Price: 2.5, Currency: "USD"}) || got.Lines != nil || got.Complete || got.Expires != nil {
		t.Errorf("the batch is %+v", got)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(manifest))); got.Input.SHA256 != sum || got.Input.Size != int64(len(manifest)) || !uploads.IsID(got.Input.File) {
		t.Errorf("the input is %+v", got.Input)
	}
	if jobs := w.Jobs.Take(); len(jobs) != 1 || jobs[0].Task != id || jobs[0].Queue != task.Batches {
		t.Errorf("the jobs are %+v", jobs)
	}

	rec := w.ask(alice, "POST", "/batches"+query, "text/plain", manifest)
	if rec.Code != http.StatusOK || rec.Header().Get("Location") != "/batches/"+id || w.stored(alice) != 1 {
		t.Errorf("again: %d %v, %d files", rec.Code, rec.Header(), w.stored(alice))
	}
	body := fmt.Sprintf(`{"input":%q,"name":"nightly","onBadLine":"skip","budget":{"price":2.5,"currency":"USD"}}`, w.upload(alice, manifest))
	if again := want[view](w, http.StatusOK, alice, "POST", "/batches", "application/json; charset=utf-8", body); again.ID != id {
		t.Errorf("named: %+v", again)
	}

	w.objects[alice+" gs://in/a.jsonl"] = batch.Input{Object: "gs://in/a.jsonl", Generation: 1732942800123457, Size: 5}
	object := want[view](w, http.StatusAccepted, alice, "POST", "/batches", "application/json", `{"input":"gs://in/a.jsonl","deadline":"90m"}`)
	if object.Input.Object != "gs://in/a.jsonl" || object.Input.Generation != 1732942800123457 || object.Deadline.Sub(object.Created).Round(time.Second) != 90*time.Minute {
		t.Errorf("an object: %+v", object)
	}
}

// A batch that was canceled goes on when its manifest comes again, in the body or by its name.
func TestSubmitAgainWhatWasStopped(t *testing.T) {
	w := newWorld(t)
	first := w.submit(alice, "?name=n", "lines")
	if _, err := batchdesk.New(w.batches).Cancel(t.Context(), alice, first.ID); err != nil {
		t.Fatal(err)
	}
	rec := w.ask(alice, "POST", "/batches?name=n", jsonl, "lines")
	if rec.Code != http.StatusConflict || rec.Header().Get("Retry-After") != "1" || w.stored(alice) != 1 {
		t.Errorf("before its files are whole: %d %s, and %d files", rec.Code, rec.Body, w.stored(alice))
	}

	w.Settle(first.ID)
	next := w.submit(alice, "?name=n", "lines")
	if next.Name != "n~1" || next.Retry != first.ID {
		t.Errorf("in the body: %+v", next)
	}
	body := `{"name": "n", "input": "` + w.upload(alice, "lines") + `", "deadline": "2h"}`
	if again := want[view](w, http.StatusOK, alice, "POST", "/batches", "application/json", body); again.ID != next.ID {
		t.Errorf("again: %+v", again)
	}
	if _, err := batchdesk.New(w.batches).Cancel(t.Context(), alice, next.ID); err != nil {
		t.Fatal(err)
	}
	w.Settle(next.ID)
	last := want[view](w, http.StatusAccepted, alice, "POST", "/batches", "application/json", body)
	if last.Name != "n~2" || last.Retry != next.ID || last.Deadline.Sub(last.Created).Round(time.Minute) != 2*time.Hour {
		t.Errorf("by its name: %+v", last)
	}
}

// A body that is no batch leaves no file, no task and no place in the list.
func TestBadInput(t *testing.T) {
	w := newWorld(t)
	file, foreign := w.upload(alice, "x"), w.upload(bob, "x")
	w.submit(alice, "?name=taken", "a line")
	before := w.stored(alice)
	w.Jobs.Take()
	named := func(fields string) string { return fmt.Sprintf(`{"input":%q,%s}`, file, fields) }

	for _, c := range []struct {
		query, kind, body string
		status            int
		field             string
	}{
		{"?name=a%20b", jsonl, "x", 400, "name"},
		{"?name=a~1", jsonl, "x", 400, "name"},
		{"?name=" + strings.Repeat("x", 129), jsonl, "x", 400, "name"},
		{"?deadline=tomorrow", jsonl, "x", 400, "deadline"},
		{"?deadline=-1h", jsonl, "x", 400, "deadline"},
		{"?deadline=169h", jsonl, "x", 400, "deadline"},
		{"?onBadLine=ignore", jsonl, "x", 400, "onBadLine"},
		{"?budget=many", jsonl, "x", 400, "budget"},
		{"?budget=5EUR", jsonl, "x", 400, "budget"},
		{"?input=" + file, jsonl, "x", 400, "input"},
		{"?name=a&name=b", jsonl, "x", 400, "name"},
		{"?colour=red", jsonl, "x", 400, "colour"},
		{"?name=%zz", jsonl, "x", 400, "query"},
		{"", jsonl, "", 400, "body"},
		{"", "nonsense", "x", 415, "Content-Type"},
		{"?name=taken", jsonl, "another line", 409, "input"},
		{"?name=taken&onBadLine=skip", jsonl, "a line", 409, "onBadLine"},
		{"?name=taken&budget=5", jsonl, "a line", 409, "budget"},

		{"?name=n", "application/json", named(`"name":"n"`), 400, "name"},
		{"", "application/json", "", 400, "input"},
		{"", "application/json", "{}", 400, "input"},
		{"", "application/json", "[]", 400, "body"},
		{"", "application/json", "{} {}", 400, "body"},
		{"", "application/json", `{"text":"a line"}`, 400, "body"},
		{"", "application/json", named(`"name":5`), 400, "name"},
		{"", "application/json", named(`"name":"a b"`), 400, "name"},
		{"", "application/json", named(`"deadline":"yesterday"`), 400, "deadline"},
		{"", "application/json", named(`"onBadLine":"no"`), 400, "onBadLine"},
		{"", "application/json", named(`"budget":{}`), 400, "budget"},
		{"", "application/json", named(`"budget":{"tokens":-1}`), 400, "budget"},
		{"", "application/json", named(`"budget":{"tokens":1.5}`), 400, "budget.tokens"},
		{"", "application/json", named(`"budget":{"euros":1}`), 400, "body"},
		{"", "application/json", `{"input":"` + foreign + `"}`, 400, "input"},
		{"", "application/json", `{"input":"file-aaaaaaaaaaaaaaaaaaaaaaaaaa"}`, 400, "input"},
		{"", "application/json", `{"input":"gs://in/a"}`, 400, "input"},
		{"", "application/json", `{"input":"s3://in/a"}`, 400, "input"},
		{"", "application/json", `{"name":"` + strings.Repeat("x", 65<<10) + `"}`, 413, "body"},
	} {
		got := want[problem](w, c.status, alice, "POST", "/batches"+c.query, c.kind, c.body)
		if got.Status != c.status || got.Field != c.field || got.Detail == "" {
			t.Errorf("%s %s %.60s: %+v, want the field %q", c.query, c.kind, c.body, got, c.field)
		}
	}

	list := want[struct{ Batches []view }](w, http.StatusOK, alice, "GET", "/batches", "", "")
	if n := w.stored(alice); n != before || len(list.Batches) != 1 || len(w.Jobs.Take()) != 0 {
		t.Errorf("there are %d files instead of %d, and the batches %+v", n, before, list.Batches)
	}
}

// What may not be read is told as what is not there.
func TestForeignInputIsNotTold(t *testing.T) {
	w := newWorld(t)
	w.objects[bob+" gs://bobs/a"] = batch.Input{Object: "gs://bobs/a", Generation: 1, Size: 1}
	ask := func(input string) string {
		return w.ask(alice, "POST", "/batches", "application/json", `{"input":"`+input+`"}`).Body.String()
	}
	if a, b := ask(w.upload(bob, "x")), ask("file-aaaaaaaaaaaaaaaaaaaaaaaaaa"); a != b {
		t.Errorf("a file: %s %s", a, b)
	}
	if a, b := ask("gs://bobs/a"), ask("gs://nobodys/a"); a != b {
		t.Errorf("an object: %s %s", a, b)
	}
}

// A body with a broken end, a late one and one of another encoding are told apart, and none
// leaves anything.
func TestBodiesThatDoNotArrive(t *testing.T) {
	w := newWorld(t)
	send := func(body io.Reader, edit func(*http.Request)) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/batches", body)
		r.Header.Set("X-API-Key", w.callers[alice])
		edit(r)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		return rec
	}
	begun := func(err error) io.Reader { return io.MultiReader(strings.NewReader("a line\n"), iotest.ErrReader(err)) }

	for _, c := range []struct {
		name   string
		body   io.Reader
		edit   func(*http.Request)
		status int
	}{
		{"late", begun(os.ErrDeadlineExceeded), func(*http.Request) {}, 408},
		{"broken", begun(io.ErrUnexpectedEOF), func(*http.Request) {}, 400},
		{"empty at last", begun(io.EOF), func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("")); r.ContentLength = -1 }, 400},
		{"announced as too large", strings.NewReader("x"), func(r *http.Request) { r.ContentLength = batch.MaxManifest + 1 }, 413},
		{"compressed", strings.NewReader("x"), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415},
	} {
		rec := send(c.body, c.edit)
		if rec.Code != c.status || rec.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d", c.name, rec.Code, rec.Body, c.status)
		}
		if n := w.stored(alice); n != 0 {
			t.Errorf("%s: %d files are left", c.name, n)
		}
	}
}

// The limits of a caller are told by name, with a time.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	for i := range batch.MaxActive {
		w.submit(alice, "", fmt.Sprint("line ", i))
	}
	files := w.stored(alice)
	rec := w.ask(alice, "POST", "/batches", jsonl, "one more")
	if rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), "(limit batches)") {
		t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	if n := w.stored(alice); n != files {
		t.Errorf("%d files, want %d: the manifest of the refused batch stays", n, files)
	}
	w.submit(bob, "", "line 0")

	full := uploads.New(uploads.Config{Files: w.files, KV: w.Store.KV(), Now: w.Now, Limit: func(context.Context, string) (int64, error) { return 3, nil }})
	w.config.Uploads = full
	w.Handler = batches.New(w.config)
	if rec := w.ask(bob, "POST", "/batches", jsonl, "a long line"); rec.Code != http.StatusTooManyRequests || !strings.Contains(rec.Body.String(), "(limit stored)") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A submission that the store does not take leaves no task. It can be sent again.
func TestStoreOutage(t *testing.T) {
	w := newWorld(t)
	broken := w.batches
	broken.Desk = w.Desk(faulty.Refusing(w.Store, faulty.Create, fmt.Errorf("the disk is full of content")))
	w.config.Batches = batchdesk.New(broken)
	w.Handler = batches.New(w.config)
	rec := w.ask(alice, "POST", "/batches?name=n", jsonl, "a line")
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" || strings.Contains(rec.Body.String(), "disk") {
		t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	w.ask(alice, "GET", "/batches/"+task.BatchID(alice, "n"), "", "")

	broken.Desk = desk.New(desk.Config{Store: faulty.Refusing(w.Store, faulty.Create, task.ErrFull), Queue: w.Jobs, Rules: w.Rules, Now: w.Now, Log: w.Log})
	w.config.Batches = batchdesk.New(broken)
	w.Handler = batches.New(w.config)
	if rec := w.ask(alice, "POST", "/batches?name=n", jsonl, "a line"); rec.Code != http.StatusInsufficientStorage || rec.Header().Get("Retry-After") != "60" {
		t.Errorf("a full disk: %d %s", rec.Code, rec.Body)
	}

	w.config.Batches = batchdesk.New(w.batches)
	w.Handler = batches.New(w.config)
	w.submit(alice, "?name=n", "a line")
}

// A view has the counts, the rate, the tokens and the price of a batch, at each stage.
func TestView(t *testing.T) {
	w := newWorld(t)
	id := w.submit(alice, "?name=n&budget=1000", "a line").ID
	path := "/batches/" + id
	get := func() view { return want[view](w, http.StatusOK, alice, "GET", path, "", "") }

	base.Claim(t, w.Store, id, w.Moment(), time.Minute)
	w.SetBatch(id, batch.State{
		Dialect: batch.Errand, Lines: 3000, Bad: 2, Fed: 1500, Open: 300, Segs: 1, At: w.Now(), Rate: 10,
		Counts: batch.Counts{Completed: 990, Failed: 10, Spent: task.Spent{Prompt: 100, Cached: 20, Output: 30, Thought: 5, Replies: 1, Nanos: 2_500_000_000, Currency: "USD"}},
	})
	got := get()
	if got.State != "running" || *got.Lines != 3000 || got.Bad != 2 || got.Begun != 1500 || got.Open != 300 || got.Ended != 1200 || got.Completed != 990 || got.Failed != 10 || got.Rate != 10 {
		t.Errorf("while it runs: %+v", got)
	}
	if eta := w.Now().Add(180 * time.Second); got.ETA == nil || eta.Sub(*got.ETA).Abs() > time.Second {
		t.Errorf("it ends at %v, want %v", got.ETA, eta)
	}
	if diff := cmp.Diff(map[string]int64{"input": 100, "cached": 20, "output": 30, "thoughts": 5}, got.Tokens); diff != "" || got.Price.Amount != 2.5 || got.Price.Currency != "USD" {
		t.Errorf("its cost: %+v, %s", got.Price, diff)
	}
	if got.Links["self"] != path || got.Links["results"] != path+"/results" || got.Links["errors"] != path+"/errors" || got.Links["task"] != "/tasks/"+id {
		t.Errorf("its links: %v", got.Links)
	}

	want[view](w, http.StatusOK, alice, "POST", path+":pause", "", "")
	if got := get(); got.State != "paused" || got.Message == "" || got.ETA != nil {
		t.Errorf("paused: %+v", got)
	}
	want[view](w, http.StatusOK, alice, "POST", path+":resume", "application/json", `{"budget":{"tokens":2000}}`)
	if got := get(); got.State != "submitted" || got.Budget.Tokens != 2000 {
		t.Errorf("resumed: %+v", got)
	}

	w.EndBatch(id, a2a.TaskStateCompleted, batch.State{Lines: 3000, Fed: 3000, Segs: 3, Rate: 10, Counts: batch.Counts{Completed: 2990, Failed: 10}})
	if got := get(); got.State != "completed" || !got.Complete || got.ETA != nil || got.Rate != 0 || got.Ended != 3000 || got.Expires == nil || !got.Expires.Equal(got.Deadline.Add(30*24*time.Hour).Truncate(time.Millisecond)) {
		t.Errorf("at the end: %+v", got)
	}
}

// The list has the caller's batches, newest first, in pages.
func TestList(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 5 {
		got := w.submit(alice, fmt.Sprint("?name=n", i), "a line")
		w.EndBatch(got.ID, a2a.TaskStateCompleted, batch.State{})
		names = append([]string{got.Name}, names...)
		w.passed.Add(int64(time.Second))
	}
	w.submit(bob, "?name=his", "a line")

	type list struct {
		Batches       []view
		NextPageToken string
	}
	var got []string
	for path := "/batches?pageSize=2"; ; {
		page := want[list](w, http.StatusOK, alice, "GET", path, "", "")
		for _, b := range page.Batches {
			got = append(got, b.Name)
		}
		if page.NextPageToken == "" {
			break
		}
		path = "/batches?pageSize=2&pageToken=" + page.NextPageToken
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}

	foreign := want[list](w, http.StatusOK, alice, "GET", "/batches?pageSize=1", "", "").NextPageToken
	token := base64.RawURLEncoding.EncodeToString
	for query, field := range map[string]string{
		"pageSize=0": "pageSize", "pageSize=101": "pageSize", "pageSize=x": "pageSize", "owner=x": "owner",
		"pageToken=x": "pageToken", "pageToken=" + token([]byte("../active")): "pageToken", "pageToken=" + token([]byte{0}): "pageToken",
	} {
		if p := want[problem](w, http.StatusBadRequest, alice, "GET", "/batches?"+query, "", ""); p.Field != field {
			t.Errorf("%s: %+v", query, p)
		}
	}
	if p := want[problem](w, http.StatusBadRequest, bob, "GET", "/batches?pageToken="+foreign, "", ""); p.Field != "pageToken" {
		t.Errorf("another's page: %+v", p)
	}
}

// A batch of somebody else does not exist, whatever is asked about it.
func TestForeignBatches(t *testing.T) {
	w := newWorld(t)
	id, ordinary := w.submit(alice, "", "a line").ID, base.Accept(t, w.Store, w.Moment(), task.Acceptance{ID: "t1", Owner: bob}).ID()
	before := w.Load(id).Version
	for _, route := range batches.Routes() {
		method, path, _ := strings.Cut(route, " ")
		if !strings.Contains(path, "{batch}") {
			continue
		}
		var told []string
		for _, of := range []string{id, task.BatchID(bob, "none"), ordinary, "none"} {
			rec := w.ask(bob, method, strings.ReplaceAll(path, "{batch}", of), "", "")
			if rec.Code != http.StatusNotFound {
				t.Errorf("%s of %s: %d %s", route, of, rec.Code, rec.Body)
			}
			told = append(told, rec.Body.String())
		}
		if slices.Sort(told); told[0] != told[len(told)-1] {
			t.Errorf("%s tells them apart: %q", route, told)
		}
	}
	if r := w.Load(id); r.Version != before {
		t.Errorf("the batch has changed: %s, version %d", r.State(), r.Version)
	}
}

// A batch that its owner has deleted does not exist any more, but its name is taken.
func TestDeletedBatch(t *testing.T) {
	w := newWorld(t)
	id := w.submit(alice, "?name=n", "a line").ID
	if _, err := w.batches.Desk.ChangeByID(t.Context(), id, task.Record.Delete); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"", "/results", "/errors"} {
		if rec := w.ask(alice, "GET", "/batches/"+id+of, "", ""); rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", of, rec.Code, rec.Body)
		}
	}
	if p := want[problem](w, http.StatusConflict, alice, "POST", "/batches?name=n", jsonl, "a line"); p.Field != "name" {
		t.Errorf("its name: %+v", p)
	}
}

// Pause, resume and retry say what is in their way.
func TestChanges(t *testing.T) {
	w := newWorld(t)
	id := w.submit(alice, "?name=n", "a line").ID
	path := "/batches/" + id
	refused := func(status int, verb, body, field string) {
		t.Helper()
		if p := want[problem](w, status, alice, "POST", path+verb, "application/json", body); p.Field != field || p.Detail == "" {
			t.Errorf("%s %s: %+v", verb, body, p)
		}
	}

	refused(400, ":pause", `{"now":true}`, "body")
	refused(400, ":resume", `{"budget":{"price":1}}`, "budget")
	refused(400, ":resume?name=x", "", "name")
	refused(409, ":retry", "", "")
	for range 2 {
		if got := want[view](w, http.StatusOK, alice, "POST", path+":pause", "", ""); got.State != "paused" {
			t.Errorf("paused: %+v", got)
		}
	}
	for range 2 {
		if got := want[view](w, http.StatusOK, alice, "POST", path+":resume", "application/json", "{}"); got.State != "submitted" {
			t.Errorf("resumed: %+v", got)
		}
	}

	w.EndBatch(id, a2a.TaskStateCompleted, batch.State{Lines: 2, Counts: batch.Counts{Completed: 1, Failed: 1}})
	refused(409, ":pause", "", "")
	refused(409, ":resume", "", "")
	w.put(batch.ResultsFile(id), strings.NewReader("one\n"))
	first := want[view](w, http.StatusAccepted, alice, "POST", path+":retry", "", "")
	rec := w.ask(alice, "POST", path+":retry", "", "")
	if rec.Code != http.StatusOK || rec.Header().Get("Location") != "/batches/"+first.ID || first.Name != "n~1" || first.Retry != id {
		t.Errorf("the retry: %d, %+v", rec.Code, first)
	}

	path = "/batches/" + first.ID
	w.EndBatch(first.ID, a2a.TaskStateCompleted, batch.State{Lines: 2, Counts: batch.Counts{Completed: 2}})
	refused(409, ":retry", "", "")
}

// Results come so far, and then whole. The headers tell which.
func TestResults(t *testing.T) {
	w := newWorld(t)
	id := w.submit(alice, "", "a line").ID
	path := "/batches/" + id
	check := func(of, text, complete, lines, length string) {
		t.Helper()
		rec := w.ask(alice, "GET", path+of, "", "")
		h := rec.Header()
		if rec.Code != http.StatusOK || rec.Body.String() != text || h.Get("Errand-Complete") != complete || h.Get("Errand-Lines") != lines || h.Get("Content-Length") != length {
			t.Errorf("%s: %d %v %q", of, rec.Code, h, rec.Body)
		}
	}

	check("/results", "", "false", "0", "")
	w.put(batch.ResultsSegment(id, 0), strings.NewReader("one\n"))
	w.put(batch.ErrorsSegment(id, 0), strings.NewReader(""))
	w.SetBatch(id, batch.State{Lines: 1500, Segs: 1})
	check("/results", "one\n", "false", "1000", "")
	check("/errors", "", "false", "1000", "")

	w.put(batch.ResultsFile(id), strings.NewReader("one\ntwo\n"))
	w.put(batch.ErrorsFile(id), strings.NewReader("bad\n"))
	w.EndBatch(id, a2a.TaskStateCompleted, batch.State{Lines: 1500, Segs: 2})
	check("/results", "one\ntwo\n", "true", "1500", "8")
	check("/errors", "bad\n", "true", "1500", "4")
	if rec := w.ask(alice, "HEAD", path+"/results", "", ""); rec.Code != http.StatusOK || rec.Body.Len() > 0 || rec.Header().Get("Content-Length") != "8" {
		t.Errorf("the head: %d %v %q", rec.Code, rec.Header(), rec.Body)
	}
	if p := want[problem](w, http.StatusBadRequest, alice, "GET", path+"/results?from=1", "", ""); p.Field != "from" {
		t.Errorf("%+v", p)
	}
}

// An answer whose rest is missing is cut off, and no client takes it for the whole.
func TestResultsThatBreakOff(t *testing.T) {
	w := newWorld(t)
	id := w.submit(alice, "", "a line").ID
	w.put(batch.ResultsSegment(id, 0), strings.NewReader("one\n"))
	w.SetBatch(id, batch.State{Lines: 3000, Segs: 2})
	server := httptest.NewServer(w)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/batches/"+id+"/results", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", w.callers[alice])
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return // it was cut before the header
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%d %q has an end", res.StatusCode, text)
	}
}

// A place is taken for each answer that may last, and given back.
func TestResultsTakePlaces(t *testing.T) {
	w := newWorld(t)
	id := w.submit(alice, "", "a line").ID
	held, refuse := 0, false
	w.config.Enter = func(owner string) (func(), error) {
		if owner != alice {
			t.Errorf("a place for %s", owner)
		}
		if refuse {
			return nil, auth.Limited("streams", time.Second, "no place")
		}
		held++
		return func() { held-- }, nil
	}
	w.Handler = batches.New(w.config)
	if rec := w.ask(alice, "GET", "/batches/"+id+"/results", "", ""); rec.Code != http.StatusOK || held != 0 {
		t.Errorf("%d, %d places held", rec.Code, held)
	}
	refuse = true
	if rec := w.ask(alice, "GET", "/batches/"+id+"/errors", "", ""); rec.Code != http.StatusTooManyRequests {
		t.Errorf("without a place: %d", rec.Code)
	}
}

// A manifest of any size and results of any size pass through, and are never held.
func TestLargeBodiesAreNotHeld(t *testing.T) {
	w := newWorld(t)
	const size = 64 << 20
	heap := base.WatchHeap()
	r := httptest.NewRequest("POST", "/batches?name=large", heap.Body(size))
	r.Header.Set("X-API-Key", w.callers[alice])
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	var got view
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != http.StatusAccepted || got.Input.Size != size {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}

	for n := range 4 {
		w.put(batch.ResultsSegment(got.ID, n), heap.Body(size/4))
	}
	w.SetBatch(got.ID, batch.State{Lines: 10_000, Segs: 4})
	out := heap.Answer()
	r = httptest.NewRequest("GET", "/batches/"+got.ID+"/results", nil)
	r.Header.Set("X-API-Key", w.callers[alice])
	w.ServeHTTP(out, r)
	if out.Bytes != size {
		t.Errorf("the results have %d bytes, want %d", out.Bytes, size)
	}
	if grown := heap.Grown(); grown > size/2 {
		t.Errorf("the heap grew by %d MiB, for bodies of %d MiB", grown>>20, size>>20)
	}
}

// Whatever is no operation is told what is.
func TestPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	id := w.submit(alice, "", "a line").ID
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"DELETE", "/batches/" + id, 405, "GET"},
		{"PUT", "/batches", 405, "GET, POST"},
		{"GET", "/batches/" + id + ":pause", 405, "POST"},
		{"POST", "/batches/" + id + "/results", 405, "GET"},
		{"POST", "/batches/" + id + ":explode", 404, ""},
		{"GET", "/batches/", 404, ""},
		{"GET", "/batches/" + id + "/results/1", 404, ""},
		{"GET", "/batches/" + id + "%2Fresults", 404, ""},
	} {
		rec := w.ask(alice, c.method, c.path, "", "")
		if rec.Code != c.status || rec.Header().Get("Allow") != c.allow || rec.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %v", c.method, c.path, rec.Code, rec.Header())
		}
	}
	if rec := w.ask(alice, "GET", "/batches/"+id, "", ""); rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("an answer may be kept by caches: %v", rec.Header())
	}
}
