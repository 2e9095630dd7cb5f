package front_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/agent"
	"errand/shared/card"
)

// version names a version of the protocol in a header, in the query, or in neither.
func version(header, query string) func(*http.Request) {
	return func(r *http.Request) {
		if header != "" {
			r.Header.Set("a2a-version", header)
		}
		if query != "" {
			r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&a2a-Version="+query, "&")
		}
	}
}

// getting reads a task in 0.3 or 1.0, over either binding; says is in the answer for a
// submitted task.
var getting = []struct {
	name, own string
	via       binding
	request   func(id string) *http.Request
	says      string
}{
	{"1.0 JSON-RPC", "1.0", jsonrpc, func(id string) *http.Request { return rpcRequest("GetTask", byID(id)) }, `"role":"ROLE_USER"`},
	{"1.0 HTTP+JSON", "1.0", rest, func(id string) *http.Request { return restRequest("GetTask", byID(id)) }, `"parts":[{"text"`},
	{"0.3 JSON-RPC", "0.3", jsonrpc, func(id string) *http.Request { return rpcRequest("tasks/get", byID(id)) }, `"state":"submitted"`},
	{"0.3 HTTP+JSON", "0.3", rest, func(id string) *http.Request { return newRequest("GET", "/v1/tasks/"+id, "") }, `"content":[{"text"`},
}

// The method or path decides the version of a request. The header and the query may repeat
// it, with or without a patch number. Another version, or one that is not offered, is refused
// with the list of those that are.
//
// Shows V1, V2, V3, V4, V5, decision 23.
func TestMethodOrPathDecidesTheVersion(t *testing.T) {
	w := newWorld(t)
	id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()

	for _, g := range getting {
		w.via = g.via
		other := map[string]string{"1.0": "0.3", "0.3": "1.0"}[g.own]
		for _, row := range []struct {
			header, query string
			ok            bool
		}{
			{"", "", true}, {g.own, "", true}, {"", g.own, true}, {g.own, g.own, true}, {g.own + ".7", "", true}, {"", g.own + ".0", true}, {" " + g.own + " ", "", true},
			{other, "", false}, {"", other, false}, {g.own, other, false}, {other, g.own, false}, {other + ".1", "", false},
			{"2.0", "", false}, {"", "1.1", false}, {"0.2", "", false}, {"1", "", false}, {"v" + g.own, "", false}, {g.own + ".x", "", false}, {g.own + ".", "", false},
		} {
			r := g.request(id)
			version(row.header, row.query)(r)
			got := w.do(t, r)

			if !row.ok {
				if got.code() != -32009 || !strings.Contains(got.Error.Message, "1.0, 0.3") {
					t.Errorf("%s with %q and ?%q: %s", g.name, row.header, row.query, got.body)
				}
			} else if got.Error != nil || !strings.Contains(got.body, g.says) {
				t.Errorf("%s with %q and ?%q: %s", g.name, row.header, row.query, got.body)
			}
		}

		r := g.request(id)
		with("A2A-Version", g.own, other)(r)
		if got := w.do(t, r); got.code() != -32009 {
			t.Errorf("%s with two headers: %s", g.name, got.body)
		}
	}
}

// An unknown method or path is refused for its version first, if the request names an unknown
// one.
//
// Shows V2.
func TestUnknownVersionIsRefusedFirst(t *testing.T) {
	w := newWorld(t)
	for _, row := range []struct {
		via binding
		r   *http.Request
	}{{jsonrpc, rpcRequest("Nothing", "{}")}, {rest, newRequest("GET", "/nothing", "")}} {
		w.via = row.via
		for header, code := range map[string]int{"9.9": -32009, "1.0": -32601, "0.3": -32601} {
			r := row.r.Clone(t.Context())
			if row.via.name == jsonrpc.name {
				r = rpcRequest("Nothing", "{}")
			}
			version(header, "")(r)
			if got := w.do(t, r); got.code() != code {
				t.Errorf("%s, version %s: %s", row.via.name, header, got.body)
			}
		}
	}
}

// An answer has only fields of its version, though the names of the other version are read.
//
// Shows V16.
func TestOldNamesAreReadAndNotWritten(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		w.insert(anonymous, "m", a2a.TaskStateCompleted)
		got := w.call(t, "ListTasks", `{"lastUpdatedAfter":"2100-01-01T00:00:00Z","page_size":1}`)
		if p := into[page](got); len(p.Tasks) != 0 || p.PageSize != 1 {
			t.Errorf("the names of older drafts are not read: %s", got.body)
		}
		got = w.call(t, "ListTasks", `{"includeArtifacts":true,"historyLength":9}`)
		for _, old := range []string{`"kind"`, `"lastUpdated`, `"completed"`, `"user"`, `"content"`} {
			if strings.Contains(got.body, old) {
				t.Errorf("an answer of 1.0 has %s: %s", old, got.body)
			}
		}
	})
}

const (
	extA = "https://example.com/ext/a/v1"
	extB = "urn:example:b"
)

// extended is an agent with two extensions, of which the second may be required.
func extended(required bool) func(*front.Config) {
	return func(c *front.Config) {
		a := *c.Agent
		a.Extensions = []agent.Extension{{URI: extA}, {URI: extB, Required: required}}
		c.Agent = &a
	}
}

// Extensions are off unless the client asks for them. Then the answer names them and the
// message keeps them. Unknown ones, and other versions of them, are ignored.
//
// Shows V6, V9, V10, V12.
func TestExtensionsAreActivatedOnRequest(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, extended(false), shortStreams)
		n := 0

		for _, row := range []struct {
			asked []string
			want  []string
		}{
			{nil, nil}, {[]string{extA}, []string{extA}}, {[]string{extB + ", " + extA}, []string{extA, extB}}, {[]string{extB, extA + "," + extA}, []string{extA, extB}},
			{[]string{"urn:other," + extA + ", ,"}, []string{extA}}, {[]string{strings.Replace(extA, "v1", "v2", 1), extB + "/2"}, nil}, {[]string{""}, nil},
		} {
			asks := func(r *http.Request) { r.Header["A2a-Extensions"] = row.asked }
			for _, operation := range []string{send, streaming, "ListTasks", "GetTask"} {
				n++
				id := strings.Repeat("m", n)
				params := map[string]string{send: sending(message(id, "")), streaming: sending(message(id, "")), "ListTasks": "{}"}[operation]
				if operation == "GetTask" {
					params = byID(w.list(t, "").Tasks[0].ID)
				}

				r := b.request(operation, params)
				asks(r)
				rec := httptest.NewRecorder()
				w.ServeHTTP(rec, r)
				echo := rec.Header().Get("A2A-Extensions")
				if rec.Code != 200 || echo != strings.Join(row.want, ", ") {
					t.Errorf("%s asked for %q: %d, echo %q: %s", operation, row.asked, rec.Code, echo, rec.Body)
				}
				if operation != send && operation != streaming {
					continue
				}

				if got := w.Load(w.list(t, "").Tasks[0].ID).Request().Extensions; !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(row.want))) {
					t.Errorf("%s asked for %q: kept are %q", operation, row.asked, got)
				}
			}
		}
	})
}

// An extension that the card requires must be asked for in every operation, and the error
// names it.
//
// Shows V8.
func TestRequiredExtensionsMustBeAskedFor(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, extended(true), shortStreams)
		id := w.insert(anonymous, "task", a2a.TaskStateSubmitted).ID()
		for operation, params := range map[string]string{
			send: sending(message("m", "")), streaming: sending(message("s", "")), "GetTask": byID(id), "ListTasks": "{}", subscribe: byID(id),
			createWebhook: `{"taskId":"` + id + `","id":"h","url":"` + hookURL + `"}`, listWebhooks: `{"taskId":"` + id + `"}`,
			getWebhook: `{"taskId":"` + id + `","id":"h"}`, deleteWebhook: `{"taskId":"` + id + `","id":"h"}`, "CancelTask": byID(w.insert(anonymous, "c", a2a.TaskStateWorking).ID()),
		} {
			for _, asked := range []string{"", extA, extB + "/2"} {
				before := len(w.versions(t))
				got := w.call(t, operation, params, with("A2A-Extensions", asked))
				if got.code() != -32008 || got.detail(infoType)["metadata"].(map[string]any)["extension"] != extB || len(w.versions(t)) != before {
					t.Errorf("%s with %q: %s", operation, asked, got.body)
				}
			}
		}
		if got := w.code(t, send, sending(message("m", "")), with("A2A-Extensions", extB)); got != 0 {
			t.Errorf("asked for, it is refused with %d", got)
		}
	})
}

// In 0.3, and only there, the name of the header begins with X-.
//
// Shows V6, V10.
func TestExtensionsOf03(t *testing.T) {
	w := newWorld(t, extended(true))
	const m = `{"message":{"messageId":"m","role":"user","parts":[{"kind":"text","text":"hi"}]},"configuration":{"blocking":false}}`
	for _, row := range []struct {
		r    *http.Request
		name string
		code int
	}{
		{rpcRequest("message/send", m), "X-A2A-Extensions", 0}, {rpcRequest("message/send", m), "A2A-Extensions", 0}, {rpcRequest("message/send", m), "", -32008},
		{rpcRequest(send, sending(message("n", ""))), "X-A2A-Extensions", -32008}, {rpcRequest(send, sending(message("n", ""))), "a2a-extensions", 0},
	} {
		if row.name != "" {
			row.r.Header.Set(row.name, extA+","+extB)
		}
		got := w.do(t, row.r)
		echo := got.header.Get("A2A-Extensions") + got.header.Get("X-A2A-Extensions")
		if got.code() != row.code || row.code == 0 && echo != extA+", "+extB {
			t.Errorf("asked by %q: echo %q, %s", row.name, echo, got.body)
		}
	}
}

// The extensions in a request are checked like any other field, and cannot add fields.
//
// Shows V11.
func TestExtensionsAreChecked(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, extended(false))
		for _, uri := range []string{`""`, `"a"`, `"/a"`, `1`, `"urn:\u0000"`, `"` + "urn:x:" + strings.Repeat("x", 2048) + `"`} {
			w.refused(t, send, sending(message("m", `"extensions":[`+uri+`]`)), -32602, "message.extensions[0]")
		}
		w.refused(t, send, sending(message("m", `"metadata":{"`+extA+`":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`}`)), -32602, b.whole)
		many := make([]string, 101)
		for i := range many {
			many[i] = "urn:x:" + strings.Repeat("x", i)
		}
		if got := w.call(t, send, sending(message("m", "")), with("A2A-Extensions", many...)); got.code() != -32600 {
			t.Errorf("101 extensions: %s", got.body)
		}
		got := w.call(t, send, sending(message("m", `"x-field":1,"extensions":["`+extA+`"]`)))
		if got.Error != nil || strings.Contains(got.body, "x-field") {
			t.Errorf("a field of an extension: %s", got.body)
		}
	})
}

// The card announces no tenant. A request that names one, in its body, query or path, is
// served like any other.
//
// Shows V13, V14.
func TestTenantsAreRoutedAlike(t *testing.T) {
	_, body := get(newWorld(t), "GET", card.Path)
	if strings.Contains(body, `"tenant"`) {
		t.Errorf("the card announces a tenant: %s", body)
	}

	via(t, func(t *testing.T, b binding) {
		w := b.world(t, shortStreams)
		id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
		for _, params := range []string{`{"id":"` + id + `","tenant":"acme"}`, `{"id":"` + id + `","tenant":""}`} {
			if got := w.call(t, "GetTask", params).task(); got.ID != id {
				t.Errorf("%s is answered %+v", params, got)
			}
		}

		w.refused(t, send, `{"tenant":7,"message":`+message("n", "")+`}`, -32602, "tenant")
		w.refused(t, send, `{"tenant":"`+strings.Repeat("x", 257)+`","message":`+message("n", "")+`}`, -32602, "tenant")
	})

	w := rest.world(t, shortStreams)
	id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
	hook := `{"id":"h","url":"` + hookURL + `"}`
	for _, row := range []struct{ method, path, body string }{
		{"POST", "/message:send", sending(message("n", ""))}, {"POST", "/message:stream", sending(message("s", ""))},
		{"POST", "/message:send", strings.Replace(sending(message("o", "")), "{", `{"tenant":"a b/c",`, 1)},
		{"GET", "/tasks", ""}, {"GET", "/tasks/" + id, ""}, {"GET", "/tasks/" + id + ":subscribe", ""}, {"POST", "/tasks/" + id + ":subscribe", ""},
		{"POST", "/tasks/" + id + "/pushNotificationConfigs", hook}, {"GET", "/tasks/" + id + "/pushNotificationConfigs", ""},
		{"GET", "/tasks/" + id + "/pushNotificationConfigs/h", ""}, {"DELETE", "/tasks/" + id + "/pushNotificationConfigs/h", ""},
		{"POST", "/tasks/" + id + ":cancel", ""},
	} {
		if got := w.answerCode(t, newRequest(row.method, "/a%20b%2Fc"+row.path, row.body)); got != 0 {
			t.Errorf("%s %s under a tenant: code %d", row.method, row.path, got)
		}
	}

	if got := w.do(t, newRequest("GET", "/acme/extendedAgentCard", "")); got.code() != -32004 {
		t.Errorf("the extended card of a tenant: %s", got.body)
	}

	contradicts := strings.Replace(sending(message("p", "")), "{", `{"tenant":"other",`, 1)
	if got := w.do(t, newRequest("POST", "/acme/message:send", contradicts)); got.code() != -32602 || got.field() != "tenant" {
		t.Errorf("two tenants: %s", got.body)
	}

	for _, tenant := range []string{"%00", "%ff", strings.Repeat("x", 257)} {
		if got := w.do(t, newRequest("GET", "/"+tenant+"/tasks", "")); got.code() != -32602 || got.field() != "tenant" {
			t.Errorf("tenant %s: %s", tenant, got.body)
		}
	}

	for _, path := range []string{"//tasks", "/a/b/tasks", "/acme/v1/tasks", "/v1/acme/tasks/" + id} {
		if res, body := get(w, "GET", path); res.StatusCode != 404 || !strings.Contains(body, "METHOD_NOT_FOUND") {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
}

// Shows V15.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		m := message("m", `"parts":[{"text":"hi","x":{"y":[1]}}],"kind":"message","x":null`)
		id := w.call(t, send, `{"message":`+m+`,"x":1,"configuration":{"returnImmediately":true,"x":[{}]}}`).task().ID
		if got := w.call(t, send, sending(message("m", ""))).task(); got.ID != id {
			t.Errorf("with unknown fields it is another message: %+v", got)
		}
		if got := w.call(t, "GetTask", `{"id":"`+id+`","x":"y"}`).task(); got.ID != id {
			t.Errorf("answered %+v", got)
		}
	})
}
