package front_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/lab/conformance"
)

// TestCatalogue is the catalogue of bad input, by its row numbers, through the whole front
// door and over both bindings. The test of package wire has all rows. This one samples
// those that need no task. A row answers with a code and, for params, the field; code 0 is
// a success.
func TestCatalogue(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, func(c *front.Config) { c.Wait = time.Millisecond })
		sub := w.insert(anonymous, "sub", a2a.TaskStateSubmitted).ID()
		busy := w.insert(anonymous, "busy", a2a.TaskStateWorking).ID()
		done := w.insert(anonymous, "done", a2a.TaskStateCompleted).ID()
		ask := w.insert(anonymous, "ask", a2a.TaskStateInputRequired).ID()
		full := w.insert(anonymous, "full", a2a.TaskStateInputRequired).ID()
		theirs := w.insert("other", "theirs", a2a.TaskStateCompleted)
		foreign, foreignContext := theirs.ID(), theirs.Task.ContextID
		const hookURL = `"url":"https://hooks.example.com/x"`

		create := func(id, fields string) string {
			return request("CreateTaskPushNotificationConfig", `{"taskId":"`+id+`",`+fields+`}`)
		}

		for i := range 10 {
			if r := w.send(t, create(full, fmt.Sprintf(`"id":"h%d","url":"https://hooks.example.com/h%d"`, i, i))); r.Error != nil {
				t.Fatal(r.body)
			}
		}

		n := 0
		fresh := func() string { n++; return fmt.Sprintf("fresh-%d", n) }
		send := func(fields string) string { return request("SendMessage", sending(message(fresh(), fields))) }
		config := func(fields string) string {
			return request("SendMessage", configured(message(fresh(), ""), fields))
		}

		inline := func(id, fields, hook string) string {
			return request("SendMessage", configured(message(id, fields), `"returnImmediately":true,"taskPushNotificationConfig":{`+hook+`}`))
		}

		list := func(fields string) string { return request("ListTasks", "{"+fields+"}") }
		to := func(id string) string { return `"taskId":"` + id + `"` }
		long := strings.Repeat("x", 64<<10)
		many := func(n int, element string) string {
			return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
		}

		const (
			notFound, notCancelable, unsupported, contentType = -32001, -32002, -32004, -32005
			parse, invalid, method, params                    = -32700, -32600, -32601, -32602
		)

		for _, row := range []struct {
			name  string
			body  string
			code  int
			field string
		}{
			{"1 empty body", ``, parse, ""},
			{"5 batch", `[` + send("") + `]`, invalid, ""},
			{"9 invalid UTF-8", send("\"parts\":[{\"text\":\"\xff\"}]"), parse, ""},
			{"12 two values", send("") + send(""), parse, ""},
			{"13 text twice", send(`"parts":[{"text":"a","text":"b"}]`), parse, ""},
			{"14 depth 10001", send(`"metadata":{"a":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`), parse, ""},
			{"15 depth 90 in metadata", send(`"metadata":` + strings.Repeat(`{"a":`, 90) + "1" + strings.Repeat("}", 90)), 0, ""},
			{"17 number 1e400", send(`"metadata":{"n":1e400}`), params, "message.metadata.n"},
			{"21 method in another case", request("sendMessage", "{}"), method, ""},
			{"21 method of 0.3", request("message/send", `{"message":{"kind":"message","messageId":"of03","role":"user","parts":[{"kind":"text","text":"hi"}]}}`), 0, ""},
			{"22 params missing", `{"jsonrpc":"2.0","id":1,"method":"GetTask"}`, params, "id"},
			{"22 params missing where none are needed", `{"jsonrpc":"2.0","id":1,"method":"ListTasks"}`, 0, ""},
			{"27 a text that no task can hold", send(`"parts":[{"text":"` + strings.Repeat("x", 600<<10) + `"}]`), params, "message"},

			{"31 messageId missing", request("SendMessage", `{"message":{"role":"ROLE_USER","parts":[{"text":"x"}]}}`), params, "message.messageId"},
			{"31 messageId of any letters", request("SendMessage", sending(message("../😀.x", ""))), 0, ""},
			{"32 role agent", send(`"role":"ROLE_AGENT"`), params, "message.role"},
			{"33 parts empty", send(`"parts":[]`), params, "message.parts"},
			{"34 part empty", send(`"parts":[{}]`), params, "message.parts[0]"},
			{"35 raw", send(`"parts":[{"raw":"AAAA"}]`), contentType, ""},
			{"36 url part", send(`"parts":[{"url":"https://example.com/a.txt"}]`), contentType, ""},
			{"37 mediaType text/html", send(`"parts":[{"text":"x","mediaType":"text/html"}]`), contentType, ""},
			{"37 mediaType with a parameter", send(`"parts":[{"text":"x","mediaType":"text/plain; charset=utf-8"}]`), 0, ""},
			{"37 mediaType a range", send(`"parts":[{"text":"x","mediaType":"*/*"}]`), contentType, ""},
			{"38 filename bidi", send(`"parts":[{"text":"x","filename":"a\u202egpj.exe"}]`), params, "message.parts[0].filename"},
			{"39 half a surrogate", send(`"parts":[{"text":"\ud800"}]`), parse, ""},
			{"40 text empty", send(`"parts":[{"text":""}]`), 0, ""},
			{"40 combining marks", send(`"parts":[{"text":"` + strings.Repeat("\u0301", 200_000) + `"}]`), 0, ""},
			{"41 taskId unknown", send(to("nobody-has-this")), notFound, ""},
			{"41 taskId of another", send(to(foreign)), notFound, ""},
			{"41 taskId malformed", send(to("../x y")), notFound, ""},
			{"41 taskId long", send(to(long)), notFound, ""},
			{"41 taskId and more", send(to(sub + `\u0000`)), notFound, ""},
			{"41 taskId in capitals", send(to(strings.ToUpper(sub))), notFound, ""},
			{"41 taskId terminal", send(to(done)), unsupported, ""},
			{"41 taskId with a context that is not its own", send(to(sub) + `,"contextId":"c"`), params, "message.contextId"},
			{"41 taskId of another with its context", send(to(foreign) + `,"contextId":"` + foreignContext + `"`), notFound, ""},
			{"41 taskId with its own context", send(to(busy) + `,"contextId":"` + w.Load(busy).Task.ContextID + `"`), 0, ""},
			{"42 contextId of another", send(`"contextId":"` + foreignContext + `"`), 0, ""},
			{"42 contextId long", send(`"contextId":"` + long + `"`), params, "message.contextId"},
			{"42 contextId with control characters", send(`"contextId":"a\u0007"`), params, "message.contextId"},
			{"43 references too many", send(`"referenceTaskIds":` + many(9_000, `"a"`)), params, "message.referenceTaskIds"},
			{"43 references of self, of nobody and of another", send(to(ask) + `,"referenceTaskIds":["` + ask + `","nobody","` + foreign + `"]`), 0, ""},
			{"44 extensions unknown and twice", send(`"extensions":["urn:x:y","urn:x:y"]`), 0, ""},
			{"45 metadata NaN", send(`"metadata":{"a":NaN}`), parse, ""},
			{"45 metadata of reserved keys", send(`"metadata":{"state":"x","tenant":"other","__proto__":{"owner":"other"}}`), 0, ""},
			{"46 messageId with another text", request("SendMessage", sending(message("sub", `"parts":[{"text":"other"}]`))), params, "message.messageId"},
			{"46 messageId with another context", request("SendMessage", sending(message("sub", `"contextId":"c"`))), params, "message.messageId"},
			{"46 messageId with the same", request("SendMessage", sending(message("sub", ""))), 0, ""},
			{"46 messageId of a follow-up with another text", request("SendMessage", sending(message("done", to(done)+`,"parts":[{"text":"other"}]`))), params, "message.messageId"},
			{"47 messageId of another's message", request("SendMessage", sending(message("theirs", `"parts":[{"text":"mine"}]`))), 0, ""},
			{"48 historyLength -1", config(`"historyLength":-1`), params, "configuration.historyLength"},
			{"48 historyLength string", config(`"historyLength":"x"`), params, "configuration.historyLength"},
			{"48 historyLength fraction", request("GetTask", `{"id":"`+sub+`","historyLength":1.5}`), params, "historyLength"},
			{"48 historyLength 2^31", list(`"historyLength":2147483648`), params, "historyLength"},
			{"48 historyLength 2^31-1", list(`"historyLength":2147483647`), 0, ""},
			{"49 output modes that it does not write", config(`"acceptedOutputModes":["image/png","html"]`), contentType, ""},
			{"49 no output mode that it writes", config(`"acceptedOutputModes":["image/png","audio/*"]`), contentType, ""},
			{"49 output modes any", config(`"acceptedOutputModes":["image/png","*/*"]`), 0, ""},
			{"49 output modes text", config(`"acceptedOutputModes":["text/*"]`), 0, ""},
			{"49 output modes too many", config(`"acceptedOutputModes":` + many(9_000, `"text/plain"`)), params, "configuration.acceptedOutputModes"},
			{"50 returnImmediately string", config(`"returnImmediately":"true"`), params, "configuration.returnImmediately"},

			{"51 pageSize 0", list(`"pageSize":0`), params, "pageSize"},
			{"51 pageSize -1", list(`"pageSize":-1`), params, "pageSize"},
			{"51 pageSize 101", list(`"pageSize":101`), params, "pageSize"},
			{"51 pageSize string", list(`"pageSize":"x"`), params, "pageSize"},
			{"51 pageSize of configs", request("ListTaskPushNotificationConfigs", `{"taskId":"`+full+`","pageSize":101}`), params, "pageSize"},
			{"52 pageToken garbage", list(`"pageToken":"garbage"`), params, "pageToken"},
			{"52 pageToken long", list(`"pageToken":"` + strings.Repeat("A", 4000) + `"`), params, "pageToken"},
			{"52 pageToken of an empty object", list(`"pageToken":"e30"`), params, "pageToken"},
			{"52 pageToken of configs garbage", request("ListTaskPushNotificationConfigs", `{"taskId":"`+full+`","pageToken":"x"}`), params, "pageToken"},
			{"52 pageToken of configs beyond the end", request("ListTaskPushNotificationConfigs", `{"taskId":"`+full+`","pageToken":"11"}`), params, "pageToken"},
			{"52 pageToken of configs negative", request("ListTaskPushNotificationConfigs", `{"taskId":"`+full+`","pageToken":"-1"}`), params, "pageToken"},
			{"53 status unknown", list(`"status":"UNKNOWN"`), params, "status"},
			{"53 status lowercase", list(`"status":"completed"`), params, "status"},
			{"54 time without zone", list(`"statusTimestampAfter":"2016-12-31T23:59:59"`), params, "statusTimestampAfter"},
			{"54 leap second", list(`"statusTimestampAfter":"2016-12-31T23:59:60Z"`), params, "statusTimestampAfter"},
			{"54 year 0", list(`"statusTimestampAfter":"0000-01-01T00:00:00Z"`), params, "statusTimestampAfter"},
			{"54 year 1", list(`"statusTimestampAfter":"0001-01-01T00:00:00Z"`), 0, ""},
			{"54 year 9999", list(`"statusTimestampAfter":"9999-12-31T23:59:59.999999999Z"`), 0, ""},

			{"56 url missing", create(sub, `"id":"h"`), params, "url"},
			{"56 url relative", create(sub, `"url":"/hook"`), params, "url"},
			{"56 url javascript", create(sub, `"url":"javascript:alert(1)"`), params, "url"},
			{"56 url http", create(sub, `"url":"http://hooks.example.com/"`), params, "url"},
			{"56 url with user", create(sub, `"url":"https://u:p@hooks.example.com/"`), params, "url"},
			{"56 url with fragment", create(sub, `"url":"https://hooks.example.com/#x"`), params, "url"},
			{"56 url of the metadata server", create(sub, `"url":"https://169.254.169.254/"`), params, "url"},
			{"56 url of digits in circles", create(sub, `"url":"https://①②⑦.⓪.⓪.①/"`), params, "url"},
			{"56 url localhost", create(sub, `"url":"https://localhost/"`), params, "url"},
			{"56 url odd port", create(sub, `"url":"https://hooks.example.com:22/"`), params, "url"},
			{"56 url 2084 characters", create(sub, `"url":"https://hooks.example.com/`+strings.Repeat("x", 2058)+`"`), params, "url"},
			{"56 url in another script", create(sub, `"id":"idn","url":"https://hооks.example.com/"`), 0, ""},
			{"56 url inline", inline(fresh(), "", `"url":"https://127.1/"`), params, "configuration.taskPushNotificationConfig.url"},
			{"57 id empty", create(sub, `"id":"",`+hookURL), 0, ""},
			{"57 id duplicate", create(full, `"id":"h1","url":"https://hooks.example.com/y"`), 0, ""},
			{"57 id long", create(sub, `"id":"`+long+`",`+hookURL), params, "id"},
			{"57 id over 64", create(sub, `"id":"`+long[:65]+`",`+hookURL), params, "id"},
			{"57 id path", create(sub, `"id":"a/b",`+hookURL), params, "id"},
			{"57 id colon", create(sub, `"id":"a:b",`+hookURL), params, "id"},
			{"58 one hook too many", create(full, `"id":"h11",`+hookURL), params, "taskPushNotificationConfig"},
			{"58 one hook too many, with a follow-up", inline(fresh(), to(full), `"id":"h11",`+hookURL), params, "taskPushNotificationConfig"},
			{"58 one hook too many, with a repeated message", inline("full", to(full), `"id":"h11",`+hookURL), params, "taskPushNotificationConfig"},
			{"59 scheme empty", create(sub, hookURL+`,"authentication":{"scheme":""}`), params, "authentication.scheme"},
			{"59 scheme Digest", create(sub, hookURL+`,"authentication":{"scheme":"Digest","credentials":"x"}`), params, "authentication.scheme"},
			{"59 credentials missing", create(sub, hookURL+`,"authentication":{"scheme":"basic"}`), params, "authentication.credentials"},
			{"59 CRLF in credentials", create(sub, hookURL+`,"authentication":{"scheme":"Bearer","credentials":"a\r\nX: y"}`), params, "authentication.credentials"},
			{"59 credentials that no header can have", create(sub, hookURL+`,"authentication":{"scheme":"Bearer","credentials":"ä"}`), params, "authentication.credentials"},
			{"59 token long", create(sub, hookURL+`,"token":"`+long+`"`), params, "token"},
			{"59 token that no header can have", create(sub, hookURL+`,"token":"ä"`), params, "token"},
			{"60 create for a terminal task", create(done, `"id":"h",`+hookURL), 0, ""},
			{"60 create for an unknown task", create("nobody-has-this", hookURL), notFound, ""},
			{"60 create for another's task", create(foreign, hookURL), notFound, ""},
			{"61 taskId in an inline config", inline(fresh(), "", to(sub)+`,`+hookURL), params, "configuration.taskPushNotificationConfig.taskId"},
			{"61 taskId in the inline config of a follow-up", inline(fresh(), to(busy), to(sub)+`,`+hookURL), params, "configuration.taskPushNotificationConfig.taskId"},
			{"64 unknown fields", send(`"kind":"message","x":{"y":[1]}`), 0, ""},
			{"65 snake_case and camelCase", send(`"message_id":"n"`), 0, ""},
			{"67 subscribe to a terminal task", request("SubscribeToTask", byID(done)), unsupported, ""},
			{"67 subscribe to an unknown task", request("SubscribeToTask", byID("nobody-has-this")), notFound, ""},
			{"67 subscribe to another's task", request("SubscribeToTask", byID(foreign)), notFound, ""},
			{"67 stream to a terminal task", request("SendStreamingMessage", sending(message(fresh(), to(done)))), unsupported, ""},
			{"67 stream of a bad message", request("SendStreamingMessage", sending(message(fresh(), `"parts":[]`))), params, "message.parts"},
			{"69 cancel an unknown task", request("CancelTask", byID("nobody-has-this")), notFound, ""},
			{"69 cancel another's task", request("CancelTask", byID(foreign)), notFound, ""},
			{"69 cancel a terminal task", request("CancelTask", byID(done)), notCancelable, ""},
			{"69 cancel", request("CancelTask", byID(ask)), 0, ""},
			{"69 cancel twice", request("CancelTask", byID(ask)), notCancelable, ""},
		} {
			r := newRequest(http.MethodPost, "/", row.body)
			if b.name == rest.name {
				if r = restOf(row.body); r == nil {
					continue // about the envelope, or impossible in a query
				}
			}

			t.Run(row.name, func(t *testing.T) { w.checkRow(t, r, row.code, row.field, foreignContext) })
		}
	})
}

// restOf says over HTTP+JSON the same as a JSON-RPC request; nil: HTTP+JSON cannot.
func restOf(body string) *http.Request {
	operation, params, ok := strings.Cut(strings.TrimPrefix(body, `{"jsonrpc":"2.0","id":7,"method":"`), `","params":`)
	if !ok || !strings.HasPrefix(body, `{"jsonrpc"`) || !strings.HasSuffix(params, "}") {
		return nil
	}
	params = params[:len(params)-1]
	r := restRequest(operation, params)
	if r != nil && r.Method == http.MethodGet && regexp.MustCompile(`:"(-?[0-9.]+|true|false)"`).MatchString(params) {
		return nil // a query has no strings beside numbers
	}
	return r
}

// checkRow sends one row of the catalogue. The answer must be the wanted one, cheap and no
// 5xx, and a refused request must leave the store as it was.
func (w *world) checkRow(t *testing.T, r *http.Request, code int, field, secret string) {
	t.Helper()
	before := w.versions(t)
	used := conformance.Processor()
	got := w.do(t, r)
	if d := conformance.Processor() - used; d > time.Second {
		t.Errorf("the answer took %v of the processor", d)
	}
	if got.status >= 500 {
		t.Errorf("status is %d", got.status)
	}
	if got.code() != code || code != 0 && got.field() != field {
		t.Fatalf("got %d %s, want code %d and field %q", got.status, got.body, code, field)
	}
	if code == 0 {
		return
	}
	if after := w.versions(t); !maps.Equal(before, after) {
		t.Errorf("a refused request changed the store: %v, before %v", after, before)
	}
	if strings.Contains(got.body, secret) {
		t.Errorf("the error tells of another's task: %s", got.body)
	}
}
