package openai_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/openai"
	"errand/shared/adapters/gcp"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/files"
	"errand/shared/lab/fake"
	"errand/shared/lab/faulty"
	base "errand/shared/lab/world"
	"errand/shared/task"
	"errand/shared/uploads"
)

// A new batch has all fields of OpenAI's object, and is a task.
func TestCreate(t *testing.T) {
	w := newWorld(t)
	input := w.upload(alice, "lines")
	got := w.create(alice, input.ID, `,"metadata":{"night":"1"},"output_expires_after":{"anchor":"created_at","seconds":3600}`)
	id := got.id()
	r := w.Load(id)
	if r.Owner != alice || r.Lane != task.Batches || r.State() != a2a.TaskStateSubmitted {
		t.Errorf("the task is %s's, %s, %s", r.Owner, r.Lane, r.State())
	}
	if jobs := w.Jobs.Take(); len(jobs) != 1 || jobs[0].Task != id {
		t.Errorf("the jobs are %+v", jobs)
	}

	spec, err := batch.SpecOf(r)
	if err != nil {
		t.Fatal(err)
	}
	at := float64(spec.At.Unix())
	none := map[string]any{"total": 0.0, "completed": 0.0, "failed": 0.0}
	want := object{
		"id": id, "object": "batch", "endpoint": "/v1/chat/completions", "errors": nil, "input_file_id": input.ID, "completion_window": "24h", "status": "validating",
		"output_file_id": nil, "error_file_id": nil, "created_at": at, "in_progress_at": nil, "expires_at": at + 24*3600, "finalizing_at": nil, "completed_at": nil,
		"failed_at": nil, "expired_at": nil, "cancelling_at": nil, "cancelled_at": nil, "request_counts": none, "metadata": map[string]any{"night": "1"},
		"usage": map[string]any{
			"input_tokens": 0.0, "input_tokens_details": map[string]any{"cached_tokens": 0.0},
			"output_tokens": 0.0, "output_tokens_details": map[string]any{"reasoning_tokens": 0.0}, "total_tokens": 0.0,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the batch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, read[object](w, http.StatusOK, w.get(alice, "/v1/batches/"+id))); diff != "" {
		t.Errorf("the batch, read (-want +got):\n%s", diff)
	}
}

// A file that was sent by a signed request is completed by its batch.
func TestCreateOfASignedUpload(t *testing.T) {
	w := newWorld(t)
	const bucket = "my-project-errand-files"
	service := fake.StartStorage(t, bucket)
	signing, _ := service.Signing(t)
	store := files.New(func(ctx context.Context) (files.Place, error) {
		return gcp.OpenBucket(ctx, gcp.BucketConfig{Bucket: bucket, Endpoint: service.Addr, Signing: signing})
	}, w.Now)
	t.Cleanup(func() { _ = store.Close() })
	w.uploads = uploads.New(uploads.Config{Files: store, KV: w.Store.KV(), Now: w.Now})
	w.batches.Uploads = w.uploads
	w.configure(func(c *openai.Config) { c.Uploads, c.Batches = w.uploads, batchdesk.New(w.batches) })

	id, signed, err := w.uploads.Begin(t.Context(), alice, uploads.Upload{Purpose: uploads.Batch, Size: 5})
	if err != nil {
		t.Fatal(err)
	}
	read[problem](w, http.StatusConflict, w.post(alice, "/v1/batches", creation(id, "")))
	fake.Send(t, signed.Method, signed.URL, signed.Header, "lines")
	if b := w.create(alice, id, ""); b["input_file_id"] != id {
		t.Errorf("the batch is %v", b)
	}
}

// The same lines with the same metadata are the same batch, whichever file has them, and start
// nothing. Other metadata are another batch, and one that was stopped goes on as a new one.
func TestSameLinesAreTheSameBatch(t *testing.T) {
	w := newWorld(t)
	create := func(text, more string) object { return w.create(alice, w.upload(alice, text).ID, more) }
	first := create("lines", "")
	w.Jobs.Take()
	for _, more := range []string{"", `,"metadata":null`, `,"metadata":{}`} {
		if again := create("lines", more); again.id() != first.id() || again["input_file_id"] != first["input_file_id"] {
			t.Errorf("with %q: %v", more, again)
		}
	}
	if jobs := w.Jobs.Take(); len(jobs) > 0 {
		t.Errorf("the jobs are %+v", jobs)
	}

	seen := []string{first.id()}
	for _, c := range []struct{ text, more string }{
		{"lines", `,"metadata":{"a":"1","b":"2"}`}, {"lines", `,"metadata":{"a":"2","b":"1"}`}, {"other lines", ""},
	} {
		if got := create(c.text, c.more); slices.Contains(seen, got.id()) {
			t.Errorf("%q %q is no batch of its own", c.text, c.more)
		} else {
			seen = append(seen, got.id())
		}
	}
	if again := create("lines", `,"metadata":{"b":"2","a":"1"}`); again.id() != seen[1] {
		t.Errorf("metadata in another order: %v", again)
	}

	w.EndBatch(first.id(), a2a.TaskStateCanceled, batch.State{})
	next := create("lines", "")
	if slices.Contains(seen, next.id()) || next["status"] != "validating" || next["completion_window"] != "24h" {
		t.Errorf("after a cancellation: %v", next)
	}
	if spec, err := batch.SpecOf(w.Load(next.id())); err != nil || spec.Retry != first.id() {
		t.Errorf("it repeats %q, %v", spec.Retry, err)
	}
}

// A request that is no batch makes none. The error names the parameter.
func TestBadCreations(t *testing.T) {
	w := newWorld(t)
	input, foreign := w.upload(alice, "lines").ID, w.upload(bob, "lines").ID
	empty, err := w.uploads.Create(t.Context(), alice, uploads.Upload{Purpose: uploads.Batch}, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	many := `,"metadata":{`
	for i := range 17 {
		many += fmt.Sprintf(`"k%d":"v",`, i)
	}
	many = strings.TrimSuffix(many, ",") + "}"

	const missing, value, unknown = "missing_required_parameter", "invalid_value", "unknown_parameter"
	for _, c := range []struct {
		body, param, code string
	}{
		{"", "input_file_id", missing},
		{"{}", "input_file_id", missing},
		{`{"input_file_id":"` + input + `","completion_window":"24h"}`, "endpoint", missing},
		{`{"input_file_id":"` + input + `","endpoint":"/v1/chat/completions"}`, "completion_window", missing},
		{strings.Replace(creation(input, ""), "24h", "1h", 1), "completion_window", value},
		{strings.Replace(creation(input, ""), "/v1/chat/completions", "/v1/embeddings", 1), "endpoint", value},
		{creation("", ""), "input_file_id", value},
		{creation(foreign, ""), "input_file_id", value},
		{creation("file-aaaaaaaaaaaaaaaaaaaaaaaaaa", ""), "input_file_id", value},
		{creation("gs://in/a.jsonl", ""), "input_file_id", value},
		{creation(empty.ID, ""), "input_file_id", value},
		{`{"input_file_id":5,"endpoint":"x","completion_window":"24h"}`, "input_file_id", value},
		{`{"input_file_id":null,"endpoint":"x","completion_window":"24h"}`, "input_file_id", value},
		{creation(input, `,"colour":"red"`), "colour", unknown},
		{creation(input, `,"metadata":"a"`), "metadata", value},
		{creation(input, `,"metadata":{"a":1}`), "metadata", value},
		{creation(input, `,"metadata":{"":"a"}`), "metadata", value},
		{creation(input, `,"metadata":{"`+strings.Repeat("ä", 65)+`":"a"}`), "metadata", value},
		{creation(input, `,"metadata":{"a":"`+strings.Repeat("ä", 513)+`"}`), "metadata", value},
		{creation(input, many), "metadata", value},
		{creation(input, `,"output_expires_after":1`), "output_expires_after", value},
		{creation(input, `,"output_expires_after":{"anchor":"created_at","seconds":1}`), "output_expires_after", value},
		{creation(input, `,"output_expires_after":{"anchor":"now","seconds":3600}`), "output_expires_after", value},
		{"[]", "", ""},
		{"{} {}", "", ""},
		{"lines", "", ""},
	} {
		rec := w.post(alice, "/v1/batches", c.body)
		if p := read[problem](w, http.StatusBadRequest, rec); !p.is("invalid_request_error", c.param, c.code) {
			t.Errorf("%.100s: %s", c.body, rec.Body)
		}
	}
	large := w.post(alice, "/v1/batches", creation(input, `,"metadata":{"a":"`+strings.Repeat("x", 65<<10)+`"}`))
	read[problem](w, http.StatusRequestEntityTooLarge, large)

	list := read[page[object]](w, http.StatusOK, w.get(alice, "/v1/batches"))
	if jobs := w.Jobs.Take(); len(jobs) > 0 || len(list.Data) > 0 {
		t.Errorf("there are the jobs %+v and the batches %v", jobs, list.Data)
	}
	if a, b := w.post(alice, "/v1/batches", creation(foreign, "")).Body.String(), w.post(alice, "/v1/batches", creation("file-aaaaaaaaaaaaaaaaaaaaaaaaaa", "")).Body.String(); a != b {
		t.Errorf("a foreign file is told: %s %s", a, b)
	}
	w.create(alice, input, `,"output_expires_after":null,"metadata":{"`+strings.Repeat("ä", 64)+`":"`+strings.Repeat("ä", 512)+`"}`)
}

// What is in the way of a creation is said, and whether to try again.
func TestCreationsInTheWay(t *testing.T) {
	w := newWorld(t)
	input := w.upload(alice, "lines").ID
	refused := func(what string, status int, param, retry string) {
		t.Helper()
		rec := w.post(alice, "/v1/batches", creation(input, ""))
		if p := read[problem](w, status, rec); !p.is("invalid_request_error", param, "") || rec.Header().Get("X-Should-Retry") != retry {
			t.Errorf("%s: %v %s", what, rec.Header(), rec.Body)
		}
	}

	id := w.create(alice, input, "").id()
	read[object](w, http.StatusOK, w.post(alice, "/v1/batches/"+id+"/cancel", ""))
	refused("just stopped", http.StatusConflict, "", "")
	w.SetBatch(id, batch.State{Lines: 2, Counts: batch.Counts{Completed: 1}})
	w.Settle(id)
	refused("without its answers", http.StatusConflict, "metadata", "false")
	base.Update(t, w.Store, id, func(r task.Record) (task.Record, bool, error) { return r.Delete(w.Moment()) })
	refused("deleted", http.StatusConflict, "metadata", "false")
	read[problem](w, http.StatusNotFound, w.get(alice, "/v1/batches/"+id))

	for i := range batch.MaxActive {
		w.create(alice, input, fmt.Sprintf(`,"metadata":{"n":"%d"}`, i))
	}
	rec := w.post(alice, "/v1/batches", creation(input, `,"metadata":{"n":"more"}`))
	if p := read[problem](w, http.StatusTooManyRequests, rec); !p.is("rate_limit_error", "", "rate_limit_exceeded") || rec.Header().Get("Retry-After") == "" || !strings.Contains(p.Error.Message, "(limit batches)") {
		t.Errorf("too many: %v %s", rec.Header(), rec.Body)
	}

	w.configure(func(c *openai.Config) {
		c.Uploads = uploads.New(uploads.Config{Files: w.files, KV: w.Store.KV(), Limit: func(context.Context, string) (int64, error) { return 3, nil }})
	})
	rec = w.send(bob, forBatch, field{"file", "a", "a long line"})
	if p := read[problem](w, http.StatusTooManyRequests, rec); !strings.Contains(p.Error.Message, "(limit stored)") {
		t.Errorf("too much: %s", rec.Body)
	}
}

// A fault of ours is told as one, without its content.
func TestStoreOutage(t *testing.T) {
	w := newWorld(t)
	input := w.upload(alice, "lines").ID
	broken := w.batches
	broken.Desk = w.Desk(faulty.Refusing(w.Store, faulty.Create, errors.New("the disk is full of content")))
	w.configure(func(c *openai.Config) { c.Batches = batchdesk.New(broken) })
	rec := w.post(alice, "/v1/batches", creation(input, ""))
	if p := read[problem](w, http.StatusServiceUnavailable, rec); !p.is("server_error", "", "") || rec.Header().Get("Retry-After") == "" || strings.Contains(rec.Body.String(), "disk") {
		t.Errorf("%v %s", rec.Header(), rec.Body)
	}

	w.configure(func(*openai.Config) {})
	w.create(alice, input, "")
}

// Each state of a batch has a status of OpenAI's, and the times that belong to it. A final status
// says that the files are whole.
func TestStatus(t *testing.T) {
	w := newWorld(t)
	input := w.upload(alice, "lines").ID
	at := w.Now()
	half, all := batch.State{Lines: 4, Fed: 3, Open: 2, At: at, Began: at}, batch.State{Lines: 4, Fed: 4, Segs: 1, At: at, Began: at, Counts: batch.Counts{Completed: 3, Failed: 1}}
	const none = a2a.TaskStateSubmitted
	times := []string{"in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at"}

	for i, c := range []struct {
		state   a2a.TaskState
		s       batch.State
		settled bool
		late    bool
		want    string
		times   string
		files   bool
	}{
		{none, batch.State{}, false, false, "validating", "", false},
		{none, half, false, false, "in_progress", "in_progress_at", false},
		{none, all, false, false, "finalizing", "in_progress_at finalizing_at", false},
		{a2a.TaskStateCompleted, all, false, false, "finalizing", "in_progress_at finalizing_at", false},
		{a2a.TaskStateCompleted, all, true, false, "completed", "in_progress_at finalizing_at completed_at", true},
		{a2a.TaskStateCanceled, half, false, false, "cancelling", "in_progress_at cancelling_at", false},
		{a2a.TaskStateCanceled, all, true, false, "cancelled", "in_progress_at finalizing_at cancelling_at cancelled_at", true},
		{a2a.TaskStateFailed, half, false, false, "finalizing", "in_progress_at", false},
		{a2a.TaskStateFailed, all, true, false, "failed", "in_progress_at finalizing_at failed_at", true},
		{a2a.TaskStateFailed, batch.State{}, false, false, "validating", "", false},
		{a2a.TaskStateFailed, batch.State{}, true, false, "failed", "failed_at", false},
		{a2a.TaskStateRejected, batch.State{Lines: 4, Bad: 1}, false, false, "validating", "", false},
		{a2a.TaskStateFailed, half, false, true, "finalizing", "in_progress_at", false},
		{a2a.TaskStateFailed, all, true, true, "expired", "in_progress_at finalizing_at expired_at", true},
	} {
		id := w.create(alice, input, fmt.Sprintf(`,"metadata":{"n":"%d"}`, i)).id()
		if c.late {
			w.passed.Add(int64(batch.Deadline))
		}
		if c.state != none {
			base.Finish(t, w.Store, id, w.Moment(), nil, task.Outcome{State: c.state})
		}
		if c.settled {
			w.Settle(id)
		}
		w.SetBatch(id, c.s)
		w.put(batch.ResultsFile(id), strings.NewReader("answers\n"))

		got := read[object](w, http.StatusOK, w.get(alice, "/v1/batches/"+id))
		var has []string
		for _, name := range times {
			if got[name] != nil {
				has = append(has, name)
			}
		}
		files := got["output_file_id"] != nil && got["error_file_id"] != nil
		if got["status"] != c.want || strings.Join(has, " ") != c.times || files != c.files {
			t.Errorf("%d: %s, settled %v: %s with %q, files %v; want %s", i, c.state, c.settled, got["status"], has, files, c.want)
		}
		if c.state == none {
			w.EndBatch(id, a2a.TaskStateCompleted, batch.State{})
		} else if !c.settled {
			w.Settle(id)
		}
	}
}

// A batch counts its lines and their tokens.
func TestCounts(t *testing.T) {
	w := newWorld(t)
	id := w.create(alice, w.upload(alice, "lines").ID, "").id()
	base.Claim(t, w.Store, id, w.Moment(), time.Minute)
	w.SetBatch(id, batch.State{
		Lines: 3000, Fed: 1500, Open: 300, Segs: 1, At: w.Now(), Began: w.Now(),
		Counts: batch.Counts{Completed: 990, Failed: 10, Spent: task.Spent{Prompt: 100, Cached: 20, Output: 30, Thought: 5, Replies: 1}},
	})
	got := read[object](w, http.StatusOK, w.get(alice, "/v1/batches/"+id))
	if diff := cmp.Diff(map[string]any{"total": 3000.0, "completed": 990.0, "failed": 10.0}, got["request_counts"]); diff != "" || got["status"] != "in_progress" {
		t.Errorf("%v: the counts (-want +got):\n%s", got["status"], diff)
	}
	usage := map[string]any{
		"input_tokens": 100.0, "input_tokens_details": map[string]any{"cached_tokens": 20.0},
		"output_tokens": 35.0, "output_tokens_details": map[string]any{"reasoning_tokens": 5.0}, "total_tokens": 135.0,
	}
	if diff := cmp.Diff(usage, got["usage"]); diff != "" {
		t.Errorf("the tokens (-want +got):\n%s", diff)
	}

	r := w.Load(id)
	if _, err := w.batches.Desk.Change(t.Context(), r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.Suspend(now, a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("paused")))
	}); err != nil {
		t.Fatal(err)
	}
	if got := read[object](w, http.StatusOK, w.get(alice, "/v1/batches/"+id)); got["status"] != "in_progress" {
		t.Errorf("paused: %v", got["status"])
	}
}

// A manifest that was refused tells its bad lines, the first hundred of them, and has all in its
// error file.
func TestRefusedManifest(t *testing.T) {
	w := newWorld(t)
	id := w.create(alice, w.upload(alice, "lines").ID, "").id()
	text := ""
	for n := 2; n <= 151; n++ {
		text += string(batch.ErrorLine(batch.OpenAI, id, n, fmt.Sprint("id", n), batch.Fault{Code: "url_mismatch", Message: fmt.Sprint("fault ", n)}))
	}
	w.put(batch.ErrorsFile(id), strings.NewReader(text))
	w.put(batch.ResultsFile(id), strings.NewReader(""))
	w.EndBatch(id, a2a.TaskStateRejected, batch.State{Dialect: batch.OpenAI, Lines: 200, Bad: 150, Error: "150 of 200 lines cannot run"})

	got := read[object](w, http.StatusOK, w.get(alice, "/v1/batches/"+id))
	list, _ := got["errors"].(map[string]any)
	data, _ := list["data"].([]any)
	if got["status"] != "failed" || list["object"] != "list" || len(data) != 100 {
		t.Fatalf("the batch is %v", got)
	}
	if diff := cmp.Diff(map[string]any{"code": "url_mismatch", "message": "fault 101", "param": nil, "line": 101.0}, data[99]); diff != "" {
		t.Errorf("its last error (-want +got):\n%s", diff)
	}
	if got["output_file_id"] != nil || got["error_file_id"] != "file-"+id+"-error" {
		t.Errorf("its files: %v, %v", got["output_file_id"], got["error_file_id"])
	}
	if rec := w.get(alice, "/v1/files/file-"+id+"-error/content"); rec.Body.String() != text {
		t.Errorf("its error file: %d, %d bytes", rec.Code, rec.Body.Len())
	}

	whole := w.create(alice, w.upload(alice, "no lines").ID, "").id()
	w.EndBatch(whole, a2a.TaskStateRejected, batch.State{Lines: 0, Error: "the manifest is empty"})
	got = read[object](w, http.StatusOK, w.get(alice, "/v1/batches/"+whole))
	want := map[string]any{"object": "list", "data": []any{map[string]any{"code": "invalid_file", "message": "the manifest is empty", "param": nil, "line": nil}}}
	if diff := cmp.Diff(want, got["errors"]); diff != "" {
		t.Errorf("a fault of the whole (-want +got):\n%s", diff)
	}
}

// A batch is cancelled once, and not when it has ended otherwise.
func TestCancel(t *testing.T) {
	w := newWorld(t)
	input := w.upload(alice, "lines").ID
	path := "/v1/batches/" + w.create(alice, input, "").id()
	for range 2 {
		if got := read[object](w, http.StatusOK, w.post(alice, path+"/cancel", "")); got["status"] != "cancelling" || got["cancelling_at"] == nil {
			t.Errorf("%v", got)
		}
	}
	w.Settle(strings.TrimPrefix(path, "/v1/batches/"))
	if got := read[object](w, http.StatusOK, w.post(alice, path+"/cancel", "{}")); got["status"] != "cancelled" || got["cancelled_at"] == nil {
		t.Errorf("%v", got)
	}
	if p := read[problem](w, http.StatusBadRequest, w.post(alice, path+"/cancel", `{"now":true}`)); p.Error.Message == "" {
		t.Errorf("%+v", p)
	}

	done := "/v1/batches/" + w.completed("a")
	rec := w.post(alice, done+"/cancel", "")
	if p := read[problem](w, http.StatusConflict, rec); !strings.Contains(p.Error.Message, "completed") || rec.Header().Get("X-Should-Retry") != "false" {
		t.Errorf("%v %s", rec.Header(), rec.Body)
	}
}

// The list has the caller's batches, newest first. Pages join without a gap.
func TestListBatches(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 5 {
		want = append([]string{w.completed(fmt.Sprint(i))}, want...)
		w.passed.Add(int64(time.Second))
	}
	w.create(bob, w.upload(bob, "his").ID, "")
	base.Update(t, w.Store, want[1], func(r task.Record) (task.Record, bool, error) { return r.Delete(w.Moment()) })
	want = slices.Delete(want, 1, 2)

	for limit := 1; limit <= 6; limit++ {
		var got []string
		for after := ""; ; {
			path := fmt.Sprint("/v1/batches?limit=", limit)
			if after != "" {
				path += "&after=" + after
			}
			p := read[page[object]](w, http.StatusOK, w.get(alice, path))
			for _, b := range p.Data {
				got = append(got, b.id())
			}

			if after = p.LastID; !p.HasMore {
				break
			}
			if len(p.Data) == 0 {
				t.Fatal("an empty page, and more to come")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pages of %d (-want +got):\n%s", limit, diff)
		}
	}

	foreign := read[page[object]](w, http.StatusOK, w.get(bob, "/v1/batches")).LastID
	for query, param := range map[string]string{"limit=0": "limit", "limit=101": "limit", "after=x": "after", "after=" + foreign: "after", "order=desc": "order"} {
		if p := read[problem](w, http.StatusBadRequest, w.get(alice, "/v1/batches?"+query)); p.Error.Param == nil || *p.Error.Param != param {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

// What belongs to somebody else does not exist, whatever is asked about it, and stays as it is.
func TestForeignObjects(t *testing.T) {
	w := newWorld(t)
	id := w.completed("a")
	input := read[page[file]](w, http.StatusOK, w.get(alice, "/v1/files?purpose=batch")).Data[0].ID
	before := w.Load(id).Version
	named := map[string][]string{
		"{file}":  {input, "file-" + id + "-output", "file-" + id + "-error", "file-aaaaaaaaaaaaaaaaaaaaaaaaaa", "file-" + task.BatchID(bob, "none") + "-output", "x"},
		"{batch}": {id, task.BatchID(bob, "none"), "x"},
	}

	for _, route := range openai.Routes() {
		method, path, _ := strings.Cut(route, " ")
		for field, ids := range named {
			if !strings.Contains(path, field) {
				continue
			}

			var told []string
			for _, of := range ids {
				rec := w.ask(bob, method, strings.ReplaceAll(path, field, of), "", nil)
				read[problem](w, http.StatusNotFound, rec)
				told = append(told, rec.Body.String())
			}
			if slices.Sort(told); told[0] != told[len(told)-1] {
				t.Errorf("%s tells them apart: %q", route, told)
			}
		}
	}
	if r := w.Load(id); r.Version != before {
		t.Errorf("the batch has changed: %s, version %d", r.State(), r.Version)
	}
	for _, path := range []string{input, "file-" + id + "-output", "file-" + id + "-error"} {
		read[file](w, http.StatusOK, w.get(alice, "/v1/files/"+path))
	}
}

// A batch that came by another door is there too, under the same id.
func TestBatchOfAnotherDoor(t *testing.T) {
	w := newWorld(t)
	b, _, err := batchdesk.New(w.batches).Submit(t.Context(), alice, batchdesk.Submission{
		Name: "nightly", Input: w.upload(alice, "lines").ID, Deadline: w.Now().Add(6 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := read[object](w, http.StatusOK, w.get(alice, "/v1/batches/"+b.ID())); got["completion_window"] != "6h" || got["endpoint"] != "" || got["metadata"] != nil {
		t.Errorf("%v", got)
	}
}

// Whatever is no operation is told what is.
func TestPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"PUT", "/v1/files", 405, "GET, POST"},
		{"POST", "/v1/files/file-x", 405, "DELETE, GET"},
		{"DELETE", "/v1/batches/x", 405, "GET"},
		{"GET", "/v1/batches/x/cancel", 405, "POST"},
		{"GET", "/v1/batches/", 404, ""},
		{"GET", "/v1/files/a/b", 404, ""},
		{"GET", "/v1/files/a%2Fcontent", 404, ""},
	} {
		rec := w.ask(alice, c.method, c.path, "", nil)
		read[problem](w, c.status, rec)
		if rec.Header().Get("Allow") != c.allow || rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %v", c.method, c.path, rec.Header())
		}
	}
}

// Who is not let in is told so in OpenAI's form.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	for _, route := range openai.Routes() {
		method, path, _ := strings.Cut(route, " ")
		r := httptest.NewRequest(method, strings.NewReplacer("{file}", "x", "{batch}", "x").Replace(path), nil)
		r.Header.Set("Authorization", "Bearer sk-wrong")
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if p := read[problem](w, http.StatusUnauthorized, rec); !p.is("invalid_request_error", "", "invalid_api_key") || rec.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %v %s", route, rec.Header(), rec.Body)
		}
	}
}
