package wire_test

import (
	"encoding/json"
	"io"
	"regexp"
	"testing"
)

var ambiguous = regexp.MustCompile("duplicate object member name|invalid UTF-8|invalid surrogate pair|exceeded max depth")

// FuzzEnvelope sends any body: the answer is a JSON-RPC response and never a 5xx.
// What encoding/json does not take is a parse error, and what is one though
// encoding/json takes it is one of the texts that two readers read differently.
func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		``, `{`, `null`, `[]`, `"x"`, `{"id":01}`, `{"a":1}{}`, `{"id":1,"id":2}`, "{\"a\":\"\xff\"}", `[1,{"a":"\udfff"}]`, `{"jsonrpc":"2.0","id":1,"method":"ListTasks"}`,
		message(""), message(`"metadata":{"a":[1,{"b":"\ud83d\ude00"}]},"extensions":["urn:a:b"]`),
		message(`"parts":[{"raw":"AA=="},{"url":"https://example.com/"},{"data":null},{"text":"\ud800"}]`),
		request("ListTasks", `{"pageSize":5,"status":"TASK_STATE_WORKING","statusTimestampAfter":"2026-01-02T03:04:05Z"}`),
		request("GetTask", `{"id":"x","historyLength":1}`), request("CancelTask", `{"id":"x","metadata":{}}`),
		request("CreateTaskPushNotificationConfig", `{"taskId":"t","url":"https://example.com/","authentication":{"scheme":"Bearer"}}`),
		request("DeleteTaskPushNotificationConfig", `{"taskId":"t","id":"h"}`),
		request("SubscribeToTask", `{"id":"x"}`), streamBody,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		res := post(handler(&script{}), string(body))
		if res.StatusCode >= 500 {
			b, _ := io.ReadAll(res.Body)
			t.Fatalf("%q: status %d: %s", body, res.StatusCode, b)
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
