package push_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"errand/cardserver/push"
	"errand/shared/auth"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

// fields are the fields of the only line of the log, which is emptied; nil without a line.
func fields(t *testing.T, log *bytes.Buffer) map[string]any {
	t.Helper()
	defer log.Reset()
	if log.Len() == 0 {
		return nil
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
	var v map[string]any
	if err := json.Unmarshal(bytes.SplitN(log.Bytes(), []byte("\n"), 2)[0], &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Every operation needs exactly one right, and names it in the refusal.
func TestEveryOperationNeedsOneRight(t *testing.T) {
	w := newWorld(t)
	base.OneRight(t, push.Routes(), push.RightOf, strings.NewReplacer("{task}", "t1", "{hook}", "h"), func(a *auth.Access) http.Handler {
		w.config.Access = a
		return push.New(w.config)
	})
}

// The audit log has one line for each change, whatever becomes of it, and for each refusal.
// The reads of one's own webhooks have none, those of another's by an operator have one.
func TestAuditOfEveryOperation(t *testing.T) {
	w := newWorld(t)
	var log *bytes.Buffer
	w.Handler, log = base.Audited(w.Handler)
	id := func(n string) string { id, _ := task.Derive(alice, n); return id }
	w.dead(alice, id("1"))
	w.ended(alice, id("2"))
	w.ended(alice, id("3"))
	w.ended(alice, id("4"))
	foreign, _ := task.Derive(bob, "1")
	hook := func(n string) string { return "/push/tasks/" + id(n) + "/hooks/h" }

	const none = 0
	for _, row := range []struct {
		caller, method, path, body string
		status                     int // of the answer
		line                       int // in the line, or none
		of, by                     string
	}{
		{alice, "GET", "/push/dead-letters", "", 200, none, "", ""},
		{alice, "GET", "/push/tasks/" + id("1") + "/hooks", "", 200, none, "", ""},
		{alice, "GET", hook("1"), "", 200, none, "", ""},
		{alice, "GET", hook("9"), "", 404, none, "", ""},
		{alice, "GET", "/push/tasks/" + foreign + "/hooks", "", 404, none, "", ""},
		{alice, "GET", "/push/keys?url=" + hookURL, "", 200, none, "", ""},
		{alice, "GET", "/push/dead-letters?owner=canary", "", 400, none, "", ""},
		{alice, "GET", "/tasks/" + id("1") + "/trace", "", 200, none, "", ""},
		{alice, "GET", "/tasks/" + id("1") + "/trace?after=canary", "", 400, none, "", ""},
		{alice, "GET", "/tasks/" + foreign + "/trace", "", 404, none, "", ""},
		{alice, "POST", hook("2") + "/ping", "", 202, 202, "", ""},
		{alice, "POST", hook("9") + "/ping", "", 404, 404, "", ""},
		{alice, "POST", hook("3") + "/redrive", `{"fromNote":1}`, 200, 200, "", ""},
		{alice, "POST", hook("3") + "/redrive", `{"fromNote":1}`, 429, 429, "", "limit rest"},
		{alice, "POST", hook("3") + "/redrive", `{"canary":1}`, 400, 400, "", ""},
		{alice, "POST", hook("4") + "/redrive", `{"fromNote":1}`, 200, 200, "", ""},
		{alice, "POST", hook("4") + "/ping", "", 429, 429, "", "limit rest"},
		{alice, "POST", "/push/redrive", "", 200, 200, "", ""},
		{alice, "DELETE", "/tasks/" + id("9"), "", 404, 404, "", ""},
		{alice, "DELETE", "/tasks/" + id("3"), "", 204, 204, "", ""},

		{"", "GET", "/push/dead-letters", "", 401, 401, "", ""},
		{"", "GET", hook("1"), "", 401, 401, "", ""},
		{"", "POST", hook("1") + "/ping", "", 401, 401, "", ""},
		{"", "DELETE", "/tasks/" + id("1"), "", 401, 401, "", ""},
		{"", "GET", "/tasks/" + id("1") + "/trace", "", 401, 401, "", ""},

		{ops, "GET", "/push/dead-letters", "", 200, none, "", ""},
		{ops, "GET", "/push/dead-letters?owner=*", "", 200, 200, "*", ""},
		{ops, "GET", "/push/dead-letters?owner=acme/alice", "", 200, 200, alice, ""},
		{ops, "GET", "/push/dead-letters?owner=canary+text", "", 200, 200, "another", ""},
		{ops, "GET", hook("1"), "", 200, 200, alice, ""},
		{ops, "GET", "/push/tasks/" + id("1") + "/hooks", "", 200, 200, alice, ""},
		{ops, "GET", "/push/tasks/" + id("1") + "/hooks?canary=1", "", 400, 400, alice, ""},
		{ops, "POST", "/push/redrive", `{"owner":"*"}`, 200, 200, "*", ""},
		{ops, "POST", hook("4") + "/ping", "", 429, 429, alice, "limit rest"},
		{ops, "DELETE", "/tasks/" + id("2"), "", 404, 404, "", ""},
		{ops, "GET", "/tasks/" + id("2") + "/trace", "", 404, none, "", ""},
	} {
		name := row.caller + " " + row.method + " " + row.path
		rec := w.ask(row.caller, row.method, row.path, row.body)
		if rec.Code != row.status {
			t.Errorf("%s: %d %s, want %d", name, rec.Code, rec.Body, row.status)
		}
		if strings.Contains(log.String(), "canary") || strings.Contains(log.String(), hookURL) || strings.Contains(log.String(), "errand_") {
			t.Errorf("%s: the line has content: %s", name, log)
		}
		text := log.String()
		line := fields(t, log)
		if (line != nil) != (row.line != none) {
			t.Errorf("%s: the line is %q", name, text)
		}
		if line == nil || row.line == none {
			continue
		}

		said := func(field string) string { s, _ := line[field].(string); return s }
		route := said("operation")
		if line["logger"] != "audit" || said("caller") != row.caller || line["status"] != float64(row.line) || said("owner") != row.of || said("by") != row.by ||
			!slices.Contains(push.Routes(), route) {
			t.Errorf("%s: the line is %s", name, text)
		}
		if strings.Contains(route, "{task}") && row.caller != "" && !strings.Contains(row.path, said("task")) {
			t.Errorf("%s: the line has another task: %s", name, text)
		}
	}
}
