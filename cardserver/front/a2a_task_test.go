package front_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
)

// A page has 50 tasks unless the client asks for 1 to 100, and the answer names this
// number.
//
// Shows G8, decision 15.
func TestPageSize(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		for i := range 101 {
			w.insert(anonymous, fmt.Sprint(i), a2a.TaskStateSubmitted)
		}
		for fields, want := range map[string]int{"": 50, `"pageSize":1`: 1, `"pageSize":100`: 100} {
			p := w.list(t, fields)
			if len(p.Tasks) != want || p.PageSize != want || p.TotalSize != 101 || p.NextToken == "" {
				t.Errorf("{%s}: %d tasks, pageSize %d, totalSize %d", fields, len(p.Tasks), p.PageSize, p.TotalSize)
			}
		}
		last := w.list(t, `"pageSize":100,"pageToken":"`+w.list(t, `"pageSize":100`).NextToken+`"`)
		if len(last.Tasks) != 1 || last.PageSize != 100 || last.NextToken != "" {
			t.Errorf("the last page: %d tasks, pageSize %d", len(last.Tasks), last.PageSize)
		}
		for _, n := range []string{"0", "-1", "101", "9223372036854775808"} {
			w.refused(t, "ListTasks", `{"pageSize":`+n+`}`, -32602, "pageSize")
		}
	})
}

// Every fault of a query is named, and no value is taken for another.
//
// Shows G11.
func TestListNamesEveryFaultOfItsQuery(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateCompleted).ID()
		for fields, field := range map[string]string{
			`"status":"completed"`: "status", `"status":"TASK_STATE_DONE"`: "status", `"status":"99"`: "status",
			`"statusTimestampAfter":"yesterday"`: "statusTimestampAfter", `"statusTimestampAfter":"2026-01-02T03:04:05"`: "statusTimestampAfter",
			`"pageToken":"x"`: "pageToken", `"historyLength":-1`: "historyLength", `"historyLength":"few"`: "historyLength",
			`"includeArtifacts":"yes"`: "includeArtifacts",
		} {
			w.refused(t, "ListTasks", "{"+fields+"}", -32602, field)
		}
		w.refused(t, "GetTask", `{"id":"`+id+`","historyLength":-1}`, -32602, "historyLength")
		got := w.refused(t, "ListTasks", `{"status":"x","pageSize":0,"historyLength":-1}`, -32602, "")
		if all := got.detail("type.googleapis.com/google.rpc.BadRequest")["fieldViolations"].([]any); len(all) != 3 {
			t.Errorf("of three faults %v are named", all)
		}
	})
}

// A read changes nothing, and the next one answers the same.
//
// Shows G12.
func TestReadsChangeNothing(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.talk(t)
		w.hook(t, id, `"id":"h"`)
		before := w.versions(t)
		for operation, params := range map[string]string{
			"GetTask": byID(id), "ListTasks": `{"includeArtifacts":true,"historyLength":9}`,
			listWebhooks: `{"taskId":"` + id + `"}`, getWebhook: `{"taskId":"` + id + `","id":"h"}`, "GetExtendedAgentCard": "{}",
		} {
			one, two := w.call(t, operation, params), w.call(t, operation, params)
			if one.body != two.body || one.status != two.status {
				t.Errorf("%s answers %s\nand then %s", operation, one.body, two.body)
			}
		}
		if after := w.versions(t); !maps.Equal(before, after) {
			t.Error("a read changed the store")
		}
	})
}

// A cancel reaches streams and webhooks, and an unknown task cannot be canceled.
//
// Shows C2, C6.
func TestCancelReachesStreamsAndWebhooks(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		asked := make(chan string, 9)
		id := w.insert(anonymous, "m", a2a.TaskStateWorking).ID()
		w.hook(t, id, `"id":"h"`)
		s := w.open(subscribe, byID(id), nil)
		s.await(t, 1)
		w.work(func(id string) { asked <- id })
		w.call(t, "CancelTask", byID(id)).task()
		if diff := cmp.Diff([]string{"task WORKING", "CANCELED"}, s.ended(t)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		r := w.Load(id)
		if due := r.Behind(w.now()); len(due) != 1 || len(r.Notifications) != 1 || r.Notifications[0].State != a2a.TaskStateCanceled {
			t.Errorf("webhooks %+v are to be told %+v", due, r.Notifications)
		}
		if got := <-asked; got != id { // its job publishes the new notifications
			t.Errorf("a job was added for %s", got)
		}
		w.refused(t, "CancelTask", byID("nobody-has-this"), -32001, "")
		w.refused(t, "CancelTask", byID(w.insert("other", "m", a2a.TaskStateWorking).ID()), -32001, "")
	})
}

// One of many answers to a question begins the next turn. The others wait for it, and a
// repeated answer counts once.
//
// Shows decision 12.
func TestOneOfManyAnswersBeginsATurn(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateInputRequired).ID()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				w.call(t, send, sending(message(fmt.Sprint("answer-", i%5), `"taskId":"`+id+`"`))).task()
			})
		}
		all.Wait()
		if r := w.Load(id); r.Turn != 2 || len(r.Inbox) != 4 || r.State() != a2a.TaskStateSubmitted {
			t.Errorf("turn %d, %d waiting, %s", r.Turn, len(r.Inbox), r.State())
		}
	})
}

// Ids have letters and digits only, so that no id is taken for a verb, and no task has an id
// with a colon.
//
// Shows decision 34.
func TestNoIDIsTakenForAVerb(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.call(t, send, sending(message("a:cancel/../b?", ""))).task().ID
		if strings.Trim(id, "1abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Errorf("the task's id is %s", id)
		}
		for other, code := range map[string]int{id + ":cancel": -32601, "x:": -32601, id + "%3Acancel": -32001, "../" + id: -32001, id + "/": -32001} {
			if b.name == jsonrpc.name { // where no verb can be meant
				code = -32001
			}
			w.refused(t, "GetTask", byID(other), code, "")
		}
	})
}

// A query is read as params are: names in camelCase or as in the proto, truth values, enums
// by name, times in ISO form, all URL-encoded.
//
// Shows B-5.
func TestQueriesSayWhatParamsSay(t *testing.T) {
	w := rest.world(t)
	one := w.call(t, send, sending(message("m1", `"contextId":"a b&c=ü"`))).task().ID
	two := w.call(t, send, sending(message("m2", `"contextId":"other"`))).task()
	w.answer(one)

	for query, want := range map[string][]string{
		"?contextId=" + url.QueryEscape("a b&c=ü"): {one}, "?context_id=a+b%26c%3d%C3%BC": {one},
		"?status=TASK_STATE_SUBMITTED": {two.ID},
		"?status=1":                    {two.ID}, "?status=0": {one, two.ID},
		"?statusTimestampAfter=" + url.QueryEscape(two.Status.Timestamp): {one, two.ID},
		"?statusTimestampAfter=2100-01-01T00%3A00%3A00%2B01%3A00":        nil,
		"?pageSize=1": {one}, "?unknown=x": {one, two.ID},
	} {
		if got := w.do(t, newRequest("GET", "/tasks"+query, "")); !slices.Equal(ids(into[page](got).Tasks), want) {
			t.Errorf("%s: %s", query, got.body)
		}
	}

	for query, has := range map[string]bool{"": false, "?includeArtifacts=false": false, "?includeArtifacts=true": true} {
		if got := w.do(t, newRequest("GET", "/tasks"+query, "")); strings.Contains(got.body, `"artifacts"`) != has {
			t.Errorf("%s: %s", query, got.body)
		}
	}

	for query, field := range map[string]string{
		"?includeArtifacts=True": "includeArtifacts", "?includeArtifacts=1": "includeArtifacts", "?status=9": "status", "?status=-1": "status", "?status=1.5": "status", "?status=": "status",
		"?pageSize=1.5": "pageSize", "?pageSize=": "pageSize", "?pageSize=1&pageSize=2": "pageSize", "?statusTimestampAfter=0": "statusTimestampAfter",
		"?contextId=%zz": "query",
	} {
		if got := w.do(t, newRequest("GET", "/tasks"+query, "")); got.code() != -32602 || got.field() != field {
			t.Errorf("%s: %s, want field %s", query, got.body, field)
		}
	}

	if got := w.do(t, newRequest("GET", "/tasks/"+one+"?historyLength=0", "")); strings.Contains(got.body, `"history"`) {
		t.Errorf("historyLength=0: %s", got.body)
	}
}

// A task that was made over one binding reads the same over the other.
//
// Shows B-6, B-8.
func TestBothBindingsShowOneTask(t *testing.T) {
	w := newWorld(t)
	for i, b := range []binding{jsonrpc, rest} {
		w.via = b
		id := w.call(t, send, sending(message(fmt.Sprint("m", i), `"metadata":{"k":[null]},"message_extra":1`))).task().ID
		w.end(w.claim(id), a2a.TaskStateCompleted, chunk("a", "the answer", false))

		for operation, params := range map[string]string{"GetTask": byID(id), "ListTasks": `{"includeArtifacts":true,"historyLength":2}`} {
			var texts []string
			for _, reader := range []binding{jsonrpc, rest} {
				w.via = reader
				texts = append(texts, string(w.call(t, operation, params).Result))
			}

			if texts[0] != texts[1] {
				t.Errorf("%s is\n%s\nand\n%s", operation, texts[0], texts[1])
			}

			for _, name := range []string{`"contextId"`, `"artifactId"`, `"messageId"`, `"TASK_STATE_COMPLETED"`, `"ROLE_USER"`} {
				if !strings.Contains(texts[0], name) {
					t.Errorf("%s does not say %s: %s", operation, name, texts[0])
				}
			}

			if strings.Contains(texts[0], "_id\"") || !json.Valid([]byte(texts[0])) {
				t.Errorf("%s is not ProtoJSON: %s", operation, texts[0])
			}
		}
	}
}
