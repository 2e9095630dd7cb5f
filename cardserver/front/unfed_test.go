package front_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/adapters/local"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/task"
	"errand/shared/uploads"
	"errand/worker/batches"
)

// A batchWorld is a world with batches.
type batchWorld struct {
	*world
	*batchdesk.Desk
	uploads *uploads.Store
	files   *files.Store
}

func (b binding) batchWorld(t *testing.T) *batchWorld {
	var kept *front.Config
	w := &batchWorld{world: b.world(t, func(c *front.Config) { kept = c })}
	cfg, dir := *kept, filepath.Join(t.TempDir(), "files")
	w.files = files.New(func(context.Context) (files.Place, error) { return local.OpenFolder(local.FolderConfig{Dir: dir}) }, w.now)
	t.Cleanup(func() { _ = w.files.Close() })
	w.uploads = uploads.New(uploads.Config{Files: w.files, KV: w.Store.KV(), Now: w.now})
	w.Desk = batchdesk.New(batchdesk.Config{
		Desk: cfg.Desk, Store: w.Store, KV: w.Store.KV(), Files: w.files, Uploads: w.uploads, Log: w.Log,
		Manifests: batches.Sources{Uploads: w.uploads}, Form: batch.Form{Input: []string{"text/plain"}},
	})
	cfg.Batches = w.Desk
	ours := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "batches of "+r.URL.Path) })
	theirs := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "OpenAI's "+r.URL.Path) })
	cfg.Doors = map[string]http.Handler{"/batches": ours, "/v1/files": theirs, "/v1/batches": theirs}
	w.Handler = front.New(cfg)
	return w
}

const manyLines = 20

// fed makes a batch of an owner of which 5 lines are fed. Line 7 cannot run.
func (w *batchWorld) fed(owner string) string {
	w.t.Helper()
	var manifest strings.Builder
	for n := 1; n <= manyLines; n++ {
		fmt.Fprintf(&manifest, `{"text":"line %d"}`+"\n", n)
	}
	f, err := w.uploads.Create(w.t.Context(), owner, uploads.Upload{Purpose: uploads.Batch}, strings.NewReader(manifest.String()))
	if err != nil {
		w.t.Fatal(err)
	}
	b, _, err := w.Submit(w.t.Context(), owner, batchdesk.Submission{Name: "n", Input: f.ID})
	if err != nil {
		w.t.Fatal(err)
	}

	if _, err := w.files.Put(w.t.Context(), files.Upload{Name: batch.BadFile(b.ID())}, strings.NewReader(`{"line":7}`+"\n")); err != nil {
		w.t.Fatal(err)
	}
	w.state(b.ID(), batch.State{Dialect: batch.Errand, Lines: manyLines, Bad: 1, Fed: 5})
	return b.ID()
}

func (w *batchWorld) state(id string, s batch.State) {
	w.t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	e, _ := w.Store.KV().Get(w.t.Context(), batch.StateKey(id))
	if _, err := w.Store.KV().Put(w.t.Context(), kv.Entry{Key: batch.StateKey(id), Value: text, Version: e.Version}); err != nil {
		w.t.Fatal(err)
	}
}

// A line that has no record is a task: submitted, and canceled once its batch has ended.
func TestUnfedLineIsATask(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.batchWorld(t)
		id := w.fed(anonymous)
		item := task.ItemID(id, 12)
		got := w.call(t, "GetTask", byID(item)).task()
		if got.ID != item || got.ContextID != id || got.Status.State != "TASK_STATE_SUBMITTED" || got.Status.Timestamp == "" || len(got.History) != 0 {
			t.Errorf("it is %+v", got)
		}

		for what, no := range map[string]string{
			"a line that is not there": task.ItemID(id, manyLines+1), "a line that cannot run": task.ItemID(id, 7), "a line that is fed and has no record": task.ItemID(id, 5),
			"a line of no batch": task.ItemID(task.BatchID(anonymous, "none"), 1), "a line of another's batch": task.ItemID(w.fed("acme/alice"), 12),
		} {
			for _, op := range []string{"GetTask", "CancelTask"} {
				if r := w.call(t, op, byID(no)); r.Error == nil || r.code() != -32001 {
					t.Errorf("%s of %s: %s", op, what, r.body)
				}
			}
		}

		w.state(id, batch.State{})
		if r := w.call(t, "GetTask", byID(item)); r.Error == nil || r.header.Get("Retry-After") != "5" {
			t.Errorf("while the manifest is read: %v %s", r.header, r.body)
		}
		w.state(id, batch.State{Lines: manyLines, Fed: 5})
		w.call(t, "CancelTask", byID(id)).task()
		if got := w.call(t, "GetTask", byID(item)).task(); got.Status.State != "TASK_STATE_CANCELED" || got.Status.Message == nil {
			t.Errorf("after the batch: %+v", got)
		}
		if r := w.call(t, "CancelTask", byID(item)); r.Error == nil || r.code() != -32002 {
			t.Errorf("canceled after the batch: %s", r.body)
		}
		if r := w.call(t, createWebhook, `{"taskId":"`+item+`","url":"`+hookURL+`"}`); r.Error == nil || r.code() != -32004 {
			t.Errorf("a webhook after the batch: %s", r.body)
		}
	})
}

// A cancel makes the record, which has ended. Nothing runs.
func TestCancelOfAnUnfedLine(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.batchWorld(t)
		id := w.fed(anonymous)
		item := task.ItemID(id, 12)
		w.Jobs.Take()
		if got := w.call(t, "CancelTask", byID(item)).task(); got.Status.State != "TASK_STATE_CANCELED" || got.ID != item {
			t.Errorf("the answer is %+v", got)
		}
		if r := w.Load(item); r.State() != a2a.TaskStateCanceled || len(w.Jobs.Take()) != 0 {
			t.Errorf("the record is %+v", r.Task)
		}
		if r := w.call(t, "CancelTask", byID(item)); r.Error == nil || r.code() != -32002 {
			t.Errorf("canceled again: %s", r.body)
		}
	})
}

// A webhook makes the record, which runs, and is told of its end. Without one there are none.
func TestWebhooksOfAnUnfedLine(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.batchWorld(t)
		id := w.fed(anonymous)
		item := task.ItemID(id, 12)
		if all, _ := w.configs(t, item, ""); len(all) != 0 {
			t.Errorf("it has %+v", all)
		}
		if r := w.call(t, getWebhook, `{"taskId":"`+item+`","id":"x"}`); r.Error == nil || r.code() != -32001 {
			t.Errorf("one that is not there: %s", r.body)
		}
		if r := w.call(t, deleteWebhook, `{"taskId":"`+item+`","id":"x"}`); r.Error != nil {
			t.Errorf("deleting one that is not there: %s", r.body)
		}
		if _, err := w.Store.Load(t.Context(), item); err == nil {
			t.Error("a look has made the record")
		}

		if r := w.call(t, createWebhook, `{"taskId":"`+item+`","url":"http://127.0.0.1/"}`); r.Error == nil {
			t.Errorf("a bad one: %s", r.body)
		}
		if _, err := w.Store.Load(t.Context(), item); err == nil {
			t.Error("a bad webhook has made the record")
		}

		w.Jobs.Take()
		h := w.hook(t, item, "")
		r := w.Load(item)
		if h.TaskID != item || len(r.Webhooks) != 1 || r.State() != a2a.TaskStateSubmitted || r.Lane != task.Bulk || r.Task.History[0].Parts[0].Text() != "line 12" {
			t.Errorf("the record is %+v", r)
		}
		if jobs := w.Jobs.Take(); len(jobs) == 0 || jobs[0].Task != item {
			t.Errorf("the jobs are %+v", jobs)
		}
	})
}

// A stream of a line that is not fed, and a message to it, are refused with what to do instead.
func TestStreamsAndMessagesOfAnUnfedLine(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.batchWorld(t)
		item := task.ItemID(w.fed(anonymous), 12)
		if r := w.call(t, "SubscribeToTask", byID(item)); r.Error == nil || r.code() != -32004 || !strings.Contains(r.Error.Message, "from time to time") {
			t.Errorf("a stream: %s", r.body)
		}
		if r := w.call(t, "SendMessage", sending(message("m", `"taskId":"`+item+`"`))); r.Error == nil || r.code() != -32004 {
			t.Errorf("a message: %s", r.body)
		}
		if _, err := w.Store.Load(t.Context(), item); err == nil {
			t.Error("the record was made")
		}
	})
}

// The task of a batch takes the message to go on, and no other.
func TestMessagesToABatch(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.batchWorld(t)
		id := w.fed(anonymous)
		if _, err := w.Pause(t.Context(), anonymous, id); err != nil {
			t.Fatal(err)
		}
		say := func(id, data string) reply {
			return w.call(t, "SendMessage", sending(message(fmt.Sprint("m", len(data)), `"taskId":"`+id+`","parts":[`+data+`]`)))
		}

		before := w.Load(id).Version
		for _, bad := range []string{
			`{"text":"go on"}`, `{"data":{"batch":{}}},{"text":"please"}`, `{"data":{"batch":{"name":"x"}}}`, `{"data":{"go":1}}`,
			`{"data":{"batch":{"budget":{"tokens":-1}}}}`, `{"data":{"batch":{"budget":{"price":1,"currency":"USD"}}}}`, // there are no prices
		} {
			if r := say(id, bad); r.Error == nil || r.code() != -32602 || !strings.HasPrefix(r.field(), "message.parts") {
				t.Errorf("%s: %s", bad, r.body)
			}
		}
		if w.Load(id).Version != before {
			t.Error("a refused message has changed the batch")
		}

		if got := say(id, `{"data":{"batch":{"budget":{"tokens":5000}}}}`).task(); got.Status.State != "TASK_STATE_SUBMITTED" {
			t.Errorf("it is %+v", got)
		}
		if got := batch.BudgetOf(w.Load(id)); got == nil || got.Tokens != 5000 {
			t.Errorf("its budget is %+v", got)
		}
		if r := say(task.BatchID(anonymous, "none"), `{"data":{"batch":{}}}`); r.Error == nil || r.code() != -32001 {
			t.Errorf("to none: %s", r.body)
		}
		w.call(t, "CancelTask", byID(id)).task()
		if r := say(id, `{"data":{"batch":{ }}}`); r.Error == nil || r.code() != -32004 || !strings.Contains(r.Error.Message, "batch") {
			t.Errorf("after its end: %s", r.body)
		}
	})
}

// The API about batches is below its path, and nothing else is.
func TestPathOfBatches(t *testing.T) {
	w := rest.batchWorld(t)
	for path, ours := range map[string]bool{"/batches": true, "/batches/x": true, "/batches/x/results": true, "/batches/openapi.yaml": true, "/batchesx": false, "/x/batches": false} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, newRequest(http.MethodGet, path, ""))
		if strings.HasPrefix(rec.Body.String(), "batches of ") != ours {
			t.Errorf("%s: %s", path, rec.Body)
		}
	}
}

// OpenAI's files and batches are below their paths. The rest of /v1 is A2A 0.3, and no path of
// either reaches the other.
func TestPathsOfOpenAI(t *testing.T) {
	w := rest.batchWorld(t)
	for path, theirs := range map[string]bool{
		"/v1/files": true, "/v1/files/x": true, "/v1/files/x/content": true, "/v1/batches": true, "/v1/batches/x/cancel": true,
		"/v1": false, "/v1/": false, "/v1/card": false, "/v1/tasks": false, "/v1/tasks/x": false, "/v1/filesystem": false, "/x/v1/files": false,
	} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, newRequest(http.MethodGet, path, ""))
		if (rec.Body.String() == "OpenAI's "+path) != theirs {
			t.Errorf("%s: %s", path, rec.Body)
		}
	}
}
