package openai_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"errand/cardserver/openai"
	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/task"
)

// Every operation needs exactly one right, and names it in the refusal.
func TestEveryOperationNeedsOneRight(t *testing.T) {
	w := newWorld(t)
	key, text := map[auth.Right]string{}, "limits: {requests: none}\nprincipals:\n- name: acme/alice\n  keys:\n"
	for _, r := range auth.Rights() {
		k, hash := auth.NewKey()
		key[r] = k
		text += fmt.Sprintf("  - {hash: %s, may: [%s]}\n", hash, r)
	}
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	access, err := auth.Load(path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.configure(func(c *openai.Config) { c.Access = access })

	for _, route := range openai.Routes() {
		right := openai.RightOf(route)
		method, at, _ := strings.Cut(route, " ")
		at = strings.NewReplacer("{batch}", task.BatchID(alice, "n"), "{file}", "file-x").Replace(at)
		for _, r := range auth.Rights() {
			req := httptest.NewRequest(method, at, nil)
			req.Header.Set("Authorization", "Bearer "+key[r])
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, req)
			if (rec.Code == http.StatusForbidden) != (r != right) {
				t.Errorf("%s with the right %s alone: %d %s", route, r, rec.Code, rec.Body)
			}
			if r != right && !strings.Contains(rec.Body.String(), `the right \"`+string(right)+`\"`) {
				t.Errorf("%s with the right %s alone: %s", route, r, rec.Body)
			}
		}
	}
}

// The audit log has one line for each change, whatever becomes of it, and for each refusal. It
// has none for reads, and no content.
func TestAuditOfEveryOperation(t *testing.T) {
	w := newWorld(t)
	id, input := w.completed("canary"), w.upload(alice, "canary").ID
	log, inner := &bytes.Buffer{}, w.Handler
	lines := audit.New(slog.New(slog.NewJSONHandler(log, nil)))
	w.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(rw, r.WithContext(lines.Begin(r.Context())))
	})
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
