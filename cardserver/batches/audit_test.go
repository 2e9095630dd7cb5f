package batches_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/batches"
	"errand/shared/auth"
	"errand/shared/batch"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

// Every operation needs exactly one right, and names it in the refusal.
func TestEveryOperationNeedsOneRight(t *testing.T) {
	w := newWorld(t)
	base.OneRight(t, batches.Routes(), batches.RightOf, strings.NewReplacer("{batch}", task.BatchID(alice, "n")), func(a *auth.Access) http.Handler {
		w.config.Access = a
		return batches.New(w.config)
	})
}

// The audit log has one line for each change, whatever becomes of it, and for each refusal. It
// has none for reads, and no content.
func TestAuditOfEveryOperation(t *testing.T) {
	w := newWorld(t)
	var log *bytes.Buffer
	w.Handler, log = base.Audited(w.Handler)
	id := func(name string) string { return task.BatchID(alice, name) }
	asked := map[string]bool{}

	const none = 0
	for _, row := range []struct {
		caller, route, id, query, body string
		status, line                   int
		by                             string
	}{
		{alice, "POST /batches", "", "?name=canary", "canary", 202, 202, ""},
		{alice, "POST /batches", "", "?name=canary", "canary", 200, 200, ""},
		{alice, "POST /batches", "", "?name=canary", "another canary", 409, 409, ""},
		{alice, "POST /batches", "", "?name=b", "canary", 202, 202, ""},
		{alice, "POST /batches", "", "?name=c", "canary", 202, 202, ""},
		{alice, "POST /batches", "", "?name=d", "canary", 202, 202, ""},
		{alice, "POST /batches", "", "?name=e", "canary", 429, 429, "limit batches"},
		{alice, "POST /batches", "", "?canary=1", "canary", 400, 400, ""},
		{alice, "GET /batches", "", "", "", 200, none, ""},
		{alice, "GET /batches/{batch}", id("canary"), "", "", 200, none, ""},
		{alice, "GET /batches/{batch}", "canary", "", "", 404, none, ""},
		{alice, "GET /batches/{batch}/results", id("canary"), "", "", 200, none, ""},
		{alice, "GET /batches/{batch}/errors", id("canary"), "", "", 200, none, ""},
		{alice, "POST /batches/{batch}:pause", id("canary"), "", "", 200, 200, ""},
		{alice, "POST /batches/{batch}:resume", id("canary"), "", `{"budget":{"tokens":5}}`, 200, 200, ""},
		{alice, "POST /batches/{batch}:resume", id("canary"), "", `{"canary":5}`, 400, 400, ""},
		{alice, "POST /batches/{batch}:retry", id("canary"), "", "", 409, 409, ""},
		{alice, "POST /batches/{batch}:pause", "canary", "", "", 404, 404, ""},
		{bob, "POST /batches/{batch}:pause", id("canary"), "", "", 404, 404, ""},
		{bob, "GET /batches/{batch}", id("canary"), "", "", 404, none, ""},
		{"", "GET /batches", "", "", "", 401, 401, ""},
		{"", "POST /batches", "", "", "canary", 401, 401, ""},
		{"", "GET /batches/{batch}/results", id("canary"), "", "", 401, 401, ""},
		{"end", "", "", "", "", 0, none, ""},
		{alice, "POST /batches/{batch}:retry", id("canary"), "", "", 202, 202, ""},
	} {
		if row.caller == "end" {
			w.EndBatch(id("canary"), a2a.TaskStateCompleted, batch.State{Lines: 1, Counts: batch.Counts{Failed: 1}})
			continue
		}

		asked[row.route] = true
		method, path, _ := strings.Cut(row.route, " ")
		kind := jsonl
		if strings.Contains(path, ":") {
			kind = "application/json"
		}
		rec := w.ask(row.caller, method, strings.ReplaceAll(path, "{batch}", row.id)+row.query, kind, row.body)

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
			Caller, Operation, Task, By string
			Status                      int
		}
		if err := json.Unmarshal([]byte(said), &line); err != nil {
			t.Errorf("%s %d has the lines %q", row.route, row.status, said)
			continue
		}

		if line.Caller != row.caller || line.Operation != row.route || line.Status != row.line || line.By != row.by || strings.Contains(said, "canary") {
			t.Errorf("%s %d has the line %s", row.route, row.status, said)
		}
		if want := row.id; task.IsBatch(want) && row.caller != "" && line.Task == "" {
			t.Errorf("%s names no task: %s", row.route, said)
		}
	}

	for _, route := range batches.Routes() {
		if !asked[route] {
			t.Errorf("%s is not asked for", route)
		}
	}
	if changes := slices.DeleteFunc(batches.Routes(), func(r string) bool { return batches.Changes(r) == strings.HasPrefix(r, "POST ") }); len(changes) > 0 {
		t.Errorf("these have a line in the wrong cases: %q", changes)
	}
}
