package openai_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"errand/cardserver/openai"
	"errand/shared/auth"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

// Every operation needs exactly one right, and names it in the refusal.
func TestEveryOperationNeedsOneRight(t *testing.T) {
	w := newWorld(t)
	base.OneRight(t, openai.Routes(), openai.RightOf, strings.NewReplacer("{batch}", task.BatchID(alice, "n"), "{file}", "file-x"), func(a *auth.Access) http.Handler {
		w.configure(func(c *openai.Config) { c.Access = a })
		return w
	})
}

// The audit log has one line for each change, whatever becomes of it, and for each refusal. It
// has none for reads, and no content.
func TestAuditOfEveryOperation(t *testing.T) {
	w := newWorld(t)
	id, input := w.completed("canary"), w.upload(alice, "canary").ID
	var log *bytes.Buffer
	w.Handler, log = base.Audited(w.Handler)
	asked := map[string]bool{}

	const none = 0
	upload := func(text string) (kind string, body io.Reader) { return form(forBatch, field{"file", "canary", text}) }
	for _, row := range []struct {
		caller, route, at, body string
		status, line            int
		task                    string
	}{
		{alice, "POST /v1/files", "", "canary", 200, 200, ""},
		{"", "POST /v1/files", "", "canary", 401, 401, ""},
		{alice, "GET /v1/files", "", "", 200, none, ""},
		{"", "GET /v1/files", "", "", 401, 401, ""},
		{alice, "GET /v1/files/{file}", input, "", 200, none, ""},
		{alice, "GET /v1/files/{file}/content", input, "", 200, none, ""},
		{alice, "GET /v1/files/{file}/content", "file-" + id + "-output", "", 200, none, ""},
		{bob, "GET /v1/files/{file}/content", "file-" + id + "-output", "", 404, none, ""},
		{bob, "DELETE /v1/files/{file}", input, "", 404, 404, ""},
		{alice, "POST /v1/batches", "", creation(input, `,"metadata":{"canary":"canary"}`), 200, 200, "?"},
		{alice, "POST /v1/batches", "", creation(input, `,"canary":1`), 400, 400, ""},
		{alice, "DELETE /v1/files/{file}", input, "", 409, 409, ""},
		{alice, "DELETE /v1/files/{file}", "file-" + id + "-output", "", 200, 200, id},
		{alice, "DELETE /v1/files/{file}", "canary", "", 404, 404, ""},
		{alice, "GET /v1/batches", "", "", 200, none, ""},
		{alice, "GET /v1/batches/{batch}", id, "", 200, none, ""},
		{bob, "GET /v1/batches/{batch}", id, "", 404, none, ""},
		{alice, "POST /v1/batches/{batch}/cancel", id, "", 409, 409, id},
		{bob, "POST /v1/batches/{batch}/cancel", id, "", 404, 404, id},
		{alice, "POST /v1/batches/{batch}/cancel", "canary", "", 404, 404, ""},
	} {
		asked[row.route] = true
		method, path, _ := strings.Cut(row.route, " ")
		kind, body := "application/json", io.Reader(strings.NewReader(row.body))
		if row.route == "POST /v1/files" {
			kind, body = upload(row.body)
		}

		rec := w.ask(row.caller, method, strings.NewReplacer("{file}", row.at, "{batch}", row.at).Replace(path), kind, body)
		if rec.Code != row.status {
			t.Errorf("%s: %d %s, want %d", row.route, rec.Code, rec.Body, row.status)
		}

		said := strings.TrimSpace(log.String())
		log.Reset()
		if row.line == none {
			if said != "" {
				t.Errorf("%s %d has the line %s", row.route, row.status, said)
			}
			continue
		}

		var line struct {
			Caller, Operation, Task string
			Status                  int
		}
		if err := json.Unmarshal([]byte(said), &line); err != nil {
			t.Errorf("%s %d has the lines %q", row.route, row.status, said)
			continue
		}
		if line.Caller != row.caller || line.Operation != row.route || line.Status != row.line || strings.Contains(said, "canary") {
			t.Errorf("%s %d has the line %s", row.route, row.status, said)
		}
		if made := row.task == "?" && task.IsBatch(line.Task); !made && line.Task != row.task {
			t.Errorf("%s %d names the task %q, want %q", row.route, row.status, line.Task, row.task)
		}
	}

	for _, route := range openai.Routes() {
		if !asked[route] {
			t.Errorf("%s is not asked for", route)
		}
		if read := strings.HasPrefix(route, "GET "); openai.Changes(route) == read {
			t.Errorf("%s has a line in the wrong cases", route)
		}
	}
}
