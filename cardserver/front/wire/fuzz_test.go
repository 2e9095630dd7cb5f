package wire_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
)

// maxSeed keeps the catalogue's largest rows out of the fuzzers, which they only slow.
const maxSeed = 4 << 10

var ambiguous = regexp.MustCompile("duplicate object member name|invalid UTF-8|invalid surrogate pair|exceeded max depth")

// FuzzEnvelope sends any body: the answer is a JSON-RPC response and never a 5xx. A text
// that encoding/json refuses is a parse error. A text that encoding/json accepts is one
// only if two readers would read it differently.
func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		``, `{`, `null`, `[]`, `"x"`, `{"id":01}`, `{"a":1}{}`, `{"id":1,"id":2}`, "{\"a\":\"\xff\"}", `[1,{"a":"\udfff"}]`, `{"jsonrpc":"2.0","id":1,"method":"ListTasks"}`, `{"jsonrpc":"2.0","method":"ListTasks"}`,
		message(""), message(`"metadata":{"a":[1,{"b":"\ud83d\ude00"}]},"extensions":["urn:a:b"]`),
		message(`"parts":[{"raw":"AA=="},{"url":"https://example.com/"},{"data":null},{"text":"\ud800"}]`),
		request("ListTasks", `{"pageSize":5,"status":"TASK_STATE_WORKING","statusTimestampAfter":"2026-01-02T03:04:05Z"}`),
		request("GetTask", `{"id":"x","historyLength":1}`), request("CancelTask", `{"id":"x","metadata":{}}`),
		request("CreateTaskPushNotificationConfig", `{"taskId":"t","url":"https://example.com/","authentication":{"scheme":"Bearer"}}`),
		request("DeleteTaskPushNotificationConfig", `{"taskId":"t","id":"h"}`),
		request("SubscribeToTask", `{"id":"x"}`), streamBody,
		request("message/send", `{"message":{"kind":"message","messageId":"m","role":"user","parts":[{"kind":"file","file":{"bytes":"AA=="}},{"kind":"data","data":{}}]},"configuration":{"blocking":false}}`),
		request("tasks/pushNotificationConfig/set", `{"taskId":"t","pushNotificationConfig":{"url":"https://example.com/","authentication":{"schemes":["Bearer"]}}}`),
	} {
		f.Add([]byte(s))
	}

	for _, row := range catalogue() {
		if len(row.body) < maxSeed {
			f.Add([]byte(row.body))
		}
	}

	f.Fuzz(func(t *testing.T, body []byte) {
		res := post(handler(&script{}), string(body))
		if res.StatusCode >= 500 {
			b, _ := io.ReadAll(res.Body)
			t.Fatalf("%q: status %d: %s", body, res.StatusCode, b)
		}

		if res.StatusCode == http.StatusNoContent { // a request without an id
			var request map[string]json.RawMessage
			if err := json.Unmarshal(body, &request); err != nil || request["id"] != nil || request["method"] == nil {
				t.Errorf("%q has no answer", body)
			}
			return
		}
		if res.Header.Get("Content-Type") == "text/event-stream" {
			return
		}

		got := parse(t, res)
		refused := got.Error != nil && got.Error.Code == -32700

		if valid := json.Valid(body); !valid && !refused {
			t.Errorf("%q is not JSON, and is answered with %s", body, got.body)
		} else if valid && refused && !ambiguous.MatchString(got.Error.Message) {
			t.Errorf("%q is JSON, and is answered with %s", body, got.body)
		}
	})
}

// FuzzREST sends any method, target and body to HTTP+JSON: the answer is a stream, a
// result or an error with ErrorInfo, and never a 5xx.
func FuzzREST(f *testing.F) {
	for _, s := range [][3]string{
		{"POST", "/message:send", `{"message":` + aMessage + `}`}, {"POST", "/v1/message:stream", `{"message":` + aMessage + `}`},
		{"POST", "/message:send", `{"message":{"message_id":"m","role":"ROLE_USER","parts":[{"raw":"AA=="},{"data":null}]},"configuration":{"historyLength":1}}`},
		{"GET", "/tasks?pageSize=5&status=TASK_STATE_WORKING&statusTimestampAfter=2026-01-02T03:04:05Z&includeArtifacts=true", ""},
		{"GET", "/a/tasks/t%2F1?history_length=1&x[]=1", ""}, {"POST", "/tasks/t:cancel", ""}, {"GET", "/tasks/t:subscribe", ""},
		{"POST", "/tasks/t/pushNotificationConfigs", `{"url":"https://example.com/"}`}, {"DELETE", "/tasks/t/pushNotificationConfigs/c", ""},
		{"POST", "/v1/tasks/t/pushNotificationConfigs", `{"config":{"pushNotificationConfig":{"url":"https://example.com/"}}}`},
		{"GET", "/tasks?a=%zz&contextId=%ff;", ""}, {"TRACE", "//../%2e%2e/%00", "\x00"}, {"GET", "/v1/card", ""}, {"GET", "/extendedAgentCard", ""},
	} {
		f.Add(s[0], s[1], []byte(s[2]))
	}

	for _, row := range catalogueREST() {
		f.Add(row.method, row.target, []byte(row.body))
	}

	for _, row := range catalogue() {
		_, params, ok := strings.Cut(row.body, `"method":"SendMessage","params":`)
		if ok && len(row.body) < maxSeed {
			f.Add("POST", "/message:send", []byte(strings.TrimSuffix(params, "}")))
			f.Add("POST", "/v1/message:send", []byte(strings.TrimSuffix(params, "}")))
		}
	}

	f.Fuzz(func(t *testing.T, method, target string, body []byte) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		path, query, _ := strings.Cut(target, "?")
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		if unescaped, err := url.PathUnescape(path); err == nil {
			r.URL = &url.URL{Path: unescaped, RawPath: path, RawQuery: query}
		}

		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		rest(&script{}).ServeHTTP(w, r)
		told := w.Body.String()

		switch kind := w.Header().Get("Content-Type"); {
		case w.Code >= 500:
			t.Errorf("%q %q %q: %d %s", method, target, body, w.Code, told)
		case kind == "text/event-stream":
		case w.Code != 200:
			if refused(t, w.Result(), told) == "" {
				t.Errorf("%q %q %q: an error without a reason: %s", method, target, body, told)
			}
		case !json.Valid([]byte(told)):
			t.Errorf("%q %q %q: answered %s", method, target, body, told)
		}
	})
}

// FuzzServiceParams sends any version and extensions: a request is served in a version that
// it asked for, and every active extension was asked for and is declared.
func FuzzServiceParams(f *testing.F) {
	for _, s := range [][3]string{
		{"1.0", "", "urn:a"}, {"0.3", "0.3", "urn:a, urn:b"}, {"", "1.0", ","}, {" 1.0 ", "1.1", "urn:a,urn:a"}, {"1.0,0.3", "", "urn:%61"},
		{"1.0.0", "abc", strings.Repeat("urn:a,", 200)}, {"\u00a01.0", "1.0&A2A-Version=1.0", "\x00"},
	} {
		f.Add(s[0], s[1], s[2], true)
		f.Add(s[0], s[1], s[2], false)
	}

	declared := wire.Options{Extensions: []a2a.AgentExtension{{URI: "urn:a"}, {URI: "urn:c"}}}

	f.Fuzz(func(t *testing.T, version, inQuery, extensions string, old bool) {
		target, own := "/tasks/t1", "1.0"
		if old {
			target, own = "/v1/tasks/t1", "0.3"
		}

		r := httptest.NewRequest("GET", target, nil)
		if version != "" {
			r.Header["A2a-Version"] = []string{version}
		}
		if inQuery != "" {
			r.URL.RawQuery = "A2A-Version=" + url.QueryEscape(inQuery)
		}

		r.Header["A2a-Extensions"] = []string{extensions}
		w := httptest.NewRecorder()
		wire.REST(&script{}, declared).ServeHTTP(w, r)
		fits := func(v string) bool { v = strings.TrimSpace(v); return v == "" || v == own }
		many := strings.Count(extensions, ",") >= 100

		switch served := w.Code == 200; {
		case w.Code != 200 && w.Code != 400:
			t.Errorf("%d %s", w.Code, w.Body)
		case served && !(fits(version) && fits(inQuery)):
			t.Errorf("versions %q and %q were served as %s", version, inQuery, own)
		case !served && !many && fits(version) && fits(inQuery):
			t.Errorf("versions %q and %q were refused: %s", version, inQuery, w.Body)
		}

		echo := w.Header().Get("A2A-Extensions") + w.Header().Get("X-A2A-Extensions")
		for uri := range strings.SplitSeq(echo, ",") {
			if uri = strings.TrimSpace(uri); uri != "" && (uri != "urn:a" && uri != "urn:c" || !strings.Contains(extensions, uri)) {
				t.Errorf("%q activated %q", extensions, echo)
			}
		}
	})
}
