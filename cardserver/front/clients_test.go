package front_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/card"
	"errand/shared/task"
)

// This file sends what clients of others were reported to send.

// A way is a version and binding in which a client sends. request is a message with these
// parts and this configuration; config is a webhook of a task, with these fields.
type way struct {
	name    string
	via     binding
	request func(id, parts, configuration string) *http.Request
	config  func(task, fields string) *http.Request
	hook    string // the field of a configuration that has the webhook
	made    string // the field of a created webhook, with a dot
}

// everyWayToSend has the versions and bindings. Each names the fields of a message as it does.
var everyWayToSend = []way{
	{"1.0 JSON-RPC", jsonrpc, func(id, parts, configuration string) *http.Request {
		return rpcRequest(send, configured(message(id, `"parts":[`+parts+`]`), `"returnImmediately":true`+configuration))
	}, func(task, fields string) *http.Request {
		return rpcRequest(createWebhook, `{"taskId":"`+task+`",`+fields+`}`)
	}, "taskPushNotificationConfig", ""},
	{"1.0 HTTP+JSON", rest, func(id, parts, configuration string) *http.Request {
		return restRequest(send, configured(message(id, `"parts":[`+parts+`]`), `"returnImmediately":true`+configuration))
	}, func(task, fields string) *http.Request {
		return restRequest(createWebhook, `{"taskId":"`+task+`",`+fields+`}`)
	}, "taskPushNotificationConfig", ""},
	{"0.3 JSON-RPC", jsonrpc, func(id, parts, configuration string) *http.Request {
		return rpcRequest("message/send", `{"message":{"kind":"message","messageId":"`+id+`","role":"user","parts":[`+parts+`]},"configuration":{"blocking":false`+configuration+`}}`)
	}, func(task, fields string) *http.Request {
		return rpcRequest("tasks/pushNotificationConfig/set", `{"taskId":"`+task+`","pushNotificationConfig":{`+fields+`}}`)
	}, "pushNotificationConfig", "pushNotificationConfig."},
	{"0.3 HTTP+JSON", rest, func(id, parts, configuration string) *http.Request {
		return newRequest("POST", "/v1/message:send", `{"request":{"messageId":"`+id+`","role":"ROLE_USER","content":[`+parts+`]},"configuration":{"blocking":false`+configuration+`}}`)
	}, func(task, fields string) *http.Request {
		return newRequest("POST", "/v1/tasks/"+task+"/pushNotificationConfigs", `{"config":{"pushNotificationConfig":{`+fields+`}}}`)
	}, "pushNotification", "config.pushNotificationConfig."},
}

// old reports whether a way is of 0.3.
func (y way) old() bool { return strings.HasPrefix(y.name, "0.3") }

// everyWay runs a test in each version over each binding.
func everyWay(t *testing.T, test func(t *testing.T, y way)) {
	for _, y := range everyWayToSend {
		t.Run(y.name, func(t *testing.T) { test(t, y) })
	}
}

// writes makes the agent write these media types.
func writes(modes ...string) func(*front.Config) {
	return func(c *front.Config) {
		a := *c.Agent
		a.OutputModes = modes
		c.Agent = &a
	}
}

// The types that a client would accept are wishes. A word that is no media type matches
// nothing, and text, json and data are the words of 0.3's examples for two types. The message
// is refused only if nothing is left.
//
// Shows M10.
func TestClientsRow01OutputModes(t *testing.T) {
	const unsupported, invalid = -32005, -32602
	long := strings.Repeat("x", 5000)
	everyWay(t, func(t *testing.T, y way) {
		for output, rows := range map[string]map[string]int{
			"text/plain": {
				`"text","text/plain"`: 0, `"text"`: 0, `"TEXT"`: 0, `"nonsense","text/plain"`: 0, `"","a\u0000","` + long + `","text/*"`: 0, `"image/png","text;=","*/*"`: 0,
				`"json"`: unsupported, `"data"`: unsupported, `"nonsense"`: unsupported, `""`: unsupported, `"text/html","html"`: unsupported, `1`: invalid, `null`: invalid,
			},
			"application/json": {`"json"`: 0, `"data"`: 0, `"nonsense","DATA"`: 0, `"text"`: unsupported},
		} {
			w := y.via.world(t, writes(output))
			n := 0
			for modes, code := range rows {
				n++
				before := len(w.versions(t))
				got := w.do(t, y.request(fmt.Sprint("m", n), `{"text":"hi"}`, `,"acceptedOutputModes":[`+modes+`]`))
				if stored := len(w.versions(t)) - before; got.code() != code || (stored == 1) != (code == 0) {
					t.Errorf("%.40s is answered with %d tasks, %s, want code %d", modes, stored, got.body, code)
				}
			}
		}
	})
}

// The media type of a part may be one of those words too. One that is no media type is not
// read, not even by an agent that reads everything.
//
// Shows M9.
func TestClientsRow01MediaTypes(t *testing.T) {
	const unsupported = -32005
	everyWay(t, func(t *testing.T, y way) {
		part := func(kind string) string {
			if y.old() { // where a text has no type
				return `{"file":{"bytes":"AAAA","mimeType":"` + kind + `"}}`
			}
			return `{"text":"hi","mediaType":"` + kind + `"}`
		}

		for reading, rows := range map[string]map[string]int{
			"text/plain":       {"text": 0, "Text": 0, "text/plain": 0, "json": unsupported, "html": unsupported, "text/html": unsupported, "text/html;=": unsupported},
			"application/json": {"json": 0, "data": 0, "text": unsupported},
			"*/*":              {"text": 0, "data": 0, "image/png": 0, "application/x-tar": 0, "html": unsupported, "text/html;=": unsupported},
			"image/*":          {"image/png": 0, "image": unsupported, "text": unsupported},
		} {
			w := y.via.world(t, reads(reading))
			n := 0

			for kind, code := range rows {
				n++
				got := w.do(t, y.request(fmt.Sprint("m", n), part(kind), ""))
				if got.code() != code {
					t.Errorf("an agent that reads %s answers to %s with %s, want code %d", reading, kind, got.body, code)
				}
				if name := map[string]string{"0.3 HTTP+JSON": "request.content[0]:"}[y.name]; code != 0 && !strings.HasPrefix(got.Error.Message, name) {
					t.Errorf("%s is refused with %q, and the client wrote %s", kind, got.Error.Message, name)
				}
				if kind == "text" && code == 0 && strings.Contains(got.body, `"text/plain"`) == strings.Contains(got.body, `"text",`) {
					t.Errorf("text is kept as %s", got.body)
				}
			}
		}
	})
}

// In 0.3 a client names the schemes that its receiver takes, and the first one that can be
// performed with the credentials is taken. Without any, nothing is sent. An error names the
// field as the client wrote it.
//
// Shows P10, decision 20.
func TestClientsRow10Schemes(t *testing.T) {
	everyWay(t, func(t *testing.T, y way) {
		if !y.old() {
			return
		}
		w := y.via.world(t)
		id := w.insert(anonymous, "task", a2a.TaskStateSubmitted).ID()
		n := 0
		for auth, want := range map[string]string{ // the scheme, or the field that is refused
			`{"schemes":["ApiKey","Bearer"],"credentials":"abc"}`:                                     "Bearer",
			`{"schemes":["Basic","Bearer"]}`:                                                          "Bearer",
			`{"schemes":["bearer","Basic"],"credentials":"abc"}`:                                      "bearer",
			`{"schemes":["Basic","Bearer"],"credentials":"dTpw"}`:                                     "Basic",
			`{"schemes":["Digest",7,"Basic"],"credentials":"dTpw"}`:                                   "!authentication.schemes[1]",
			`{"schemes":["Di\u0000","` + strings.Repeat("x", 65) + `","Basic"],"credentials":"dTpw"}`: "Basic",
			`{"schemes":[]}`:                     "",
			`{"schemes":[""]}`:                   "",
			`{"schemes":null}`:                   "",
			`null`:                               "",
			`{"schemes":[],"credentials":"abc"}`: "!authentication.schemes",
			`{"credentials":"abc"}`:              "!authentication.schemes",
			`{"schemes":["ApiKey"],"credentials":"abc"}`: "!authentication.schemes",
			`{"schemes":["ApiKey","Basic"]}`:             "!authentication.credentials",
			`{"schemes":["Google-ID-Token"]}`:            "!authentication.schemes",
		} {
			n++
			hook := fmt.Sprintf(`"id":"h%d","url":"%s/%d","authentication":%s`, n, hookURL, n, auth)
			for _, inline := range []bool{true, false} {
				r, place := y.config(id, hook), y.made
				if inline {
					r, place = y.request(fmt.Sprint("m", n), `{"text":"hi"}`, `,"`+y.hook+`":{`+hook+`}`), "configuration."+y.hook+"."
				}

				got := w.do(t, r)
				field, refused := strings.CutPrefix(want, "!")
				if refused {
					if got.code() != -32602 || !strings.HasPrefix(got.Error.Message, place+field+" ") || got.detail(badRequest) != nil && got.field() != place+field {
						t.Errorf("%s (inline %v) is answered %s, want %s refused", auth, inline, got.body, place+field)
					}
					continue
				}

				of := id
				if inline {
					of, _ = task.Derive(anonymous, fmt.Sprint("m", n))
				}
				if got.code() != 0 {
					t.Errorf("%s (inline %v) is refused: %s", auth, inline, got.body)
					continue
				}
				all := w.Load(of).Webhooks
				i := slices.IndexFunc(all, func(h task.Webhook) bool { return h.ID == fmt.Sprint("h", n) })
				if i < 0 || all[i].Scheme != want {
					t.Errorf("%s (inline %v) is stored as %+v, want scheme %q", auth, inline, all, want)
				}
				if i >= 0 && !inline { // a task has a limit of them
					w.do(t, deletion(y, of, fmt.Sprint("h", n)))
				}
			}
		}
	})
}

// Credentials that no receiver could take are refused when they are registered, because the
// fault would only show at the first delivery.
//
// Shows P10, decision 20.
func TestClientsRow12Credentials(t *testing.T) {
	everyWay(t, func(t *testing.T, y way) {
		w := y.via.world(t)
		id := w.insert(anonymous, "task", a2a.TaskStateSubmitted).ID()
		scheme := `"scheme":"%s"`
		if y.old() {
			scheme = `"schemes":["%s"]`
		}
		for row, ok := range map[[2]string]bool{
			{"Bearer", "abc"}: true, {"Bearer", "1|abc=="}: true, {"Bearer", ""}: true,
			{"Bearer", " "}: false, {"bearer", "   "}: false, {"Bearer", "Bearer abc"}: false, {"Bearer", " abc"}: false,
			{"Basic", "dTpw"}: true, {"basic", "dXNlcjo="}: true, {"Basic", "Og=="}: true,
			{"Basic", " "}: false, {"Basic", "user:password"}: false, {"Basic", "dXNlcg=="}: false, {"Basic", "dXNlcjo"}: false, {"Basic", "Basic dTpw"}: false,
		} {
			auth := `"authentication":{` + fmt.Sprintf(scheme, row[0]) + `,"credentials":"` + row[1] + `"}`
			got := w.do(t, y.config(id, `"id":"h","url":"`+hookURL+`",`+auth))
			if field := y.made + "authentication.credentials"; ok != (got.code() == 0) || !ok && !strings.HasPrefix(got.Error.Message, field+" ") {
				t.Errorf("%q is answered %s", row, got.body)
			}
		}

		for token, ok := range map[string]bool{"": true, "a b": true, " ": false, " a": false, "a ": false} {
			got := w.do(t, y.config(id, `"id":"h","url":"`+hookURL+`","token":"`+token+`"`))
			if field := y.made + "token"; ok != (got.code() == 0) || !ok && !strings.HasPrefix(got.Error.Message, field+" ") {
				t.Errorf("token %q is answered %s", token, got.body)
			}
		}
	})
}

// The ends of lines that only some readers know are escaped in events, and nowhere else: an
// event has one line for every reader, and says the same.
//
// Shows S16.
func TestClientsRow06LinesOfEvents(t *testing.T) {
	const text = "a\u2028b\u2029c\u0085d é 💥 \u2027"
	for _, y := range everyWayToSend {
		t.Run(y.name, func(t *testing.T) {
			w := y.via.world(t)
			w.work(w.answer)
			r := y.request("m", `{"text":"`+text+`"}`, "")
			if y.via.name == rest.name {
				r = newRequest("POST", strings.Replace(r.URL.Path, ":send", ":stream", 1), bodyOf(t, r))
			} else {
				r = newRequest("POST", "/", strings.NewReplacer(`"SendMessage"`, `"SendStreamingMessage"`, `"message/send"`, `"message/stream"`).Replace(bodyOf(t, r)))
			}

			s := w.follow(r, nil)
			s.ended(t)
			if events := s.text(); strings.ContainsAny(events, "\u2028\u2029\u0085") || !strings.Contains(events, `a\u2028b\u2029c\u0085d é 💥 `+"\u2027") {
				t.Errorf("the events are %q", events)
			}
		})
	}

	w := jsonrpc.world(t)
	if got := w.call(t, send, sending(message("m", `"parts":[{"text":"`+text+`"}]`))); !strings.Contains(got.body, text) {
		t.Errorf("an answer in one piece is %s", got.body)
	}
}

// The name that a webhook had in a send before 1.0 is read, because nobody would notice that it
// was not. Beside the newer name it does not count.
//
// Shows V16.
func TestClientsRow21OlderNameOfAWebhook(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		const old, hook = `"url":"` + hookURL + `/old"`, `"url":"` + hookURL + `/new"`
		for i, row := range []struct{ configuration, url string }{
			{`"pushNotificationConfig":{` + old + `}`, "/old"}, {`"push_notification_config":{` + old + `}`, "/old"},
			{`"taskPushNotificationConfig":{` + hook + `},"pushNotificationConfig":{` + old + `}`, "/new"},
			{`"pushNotificationConfig":{` + old + `},"taskPushNotificationConfig":{` + hook + `}`, "/new"},
			{`"pushNotificationConfig":{` + old + `},"taskPushNotificationConfig":null`, "/old"},
		} {
			id := w.call(t, send, configured(message(fmt.Sprint("m", i), ""), `"returnImmediately":true,`+row.configuration)).task().ID
			if all := w.Load(id).Webhooks; len(all) != 1 || all[0].URL != hookURL+row.url {
				t.Errorf("%s is stored as %+v", row.configuration, all)
			}
		}
		w.refused(t, send, configured(message("n", ""), `"pushNotificationConfig":{"url":"https://127.0.0.1/"}`), -32602, "configuration.pushNotificationConfig.url")
		w.refused(t, send, configured(message("n", ""), `"pushNotificationConfig":{`+old+`,"taskId":"t"}`), -32602, "configuration.pushNotificationConfig.taskId")
	})
}

// Numbers of data and metadata are the doubles of the proto: whole ones above 2^53 are the nearest
// of these, and a client that needs all digits sends a string.
//
// Shows B-6.
func TestClientsRow26LargeNumbers(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		const sent = `{"n":9007199254740993,"exact":9007199254740991,"s":"9007199254740993"}`
		body := `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}],"metadata":` + sent + `},"configuration":{"returnImmediately":true}}`

		got := w.call(t, send, body).body
		for _, want := range []string{`"n":9007199254740992`, `"exact":9007199254740991`, `"s":"9007199254740993"`} {
			if !strings.Contains(got, want) {
				t.Errorf("%s is not in %s", want, got)
			}
		}
	})
}

// filePart is a part with a file, in the words of the way. content is the URL or the bytes.
func (y way) filePart(url bool, content, kind, name string) string {
	keys := map[bool]string{false: "raw", true: "url"}
	mediaType, filename, form := "mediaType", "filename", `{%s}`
	if y.old() {
		keys = map[bool]string{false: "bytes", true: "uri"}
		mediaType, filename, form = "mimeType", "name", `{"file":{%s}}`
		if y.name == "0.3 HTTP+JSON" {
			keys = map[bool]string{false: "fileWithBytes", true: "fileWithUri"}
		}
	}
	return fmt.Sprintf(form, fmt.Sprintf(`"%s":"%s","%s":"%s","%s":"%s"`, mediaType, kind, keys[url], content, filename, name))
}

// kept is the first part of the message that a task was made of.
func (w *world) kept(id string) *a2a.Part {
	of, _ := task.Derive(anonymous, id)
	return w.Load(of).Task.History[0].Parts[0]
}

// A data URL is a content and not an address: it is kept as the bytes that it holds, with its
// media type unless the part names one. What the agent does not read is refused, as bytes are.
//
// Shows M8.
func TestClientsRow15DataURLs(t *testing.T) {
	const unsupported, invalid = -32005, -32602
	everyWay(t, func(t *testing.T, y way) {
		w := y.via.world(t, reads("text/plain", "image/png"))
		for i, row := range []struct {
			url, kind string
			data      string
			want      string // media type
			code      int
		}{
			{"data:image/png;base64,iVBOR+/8=", "", "\x89PN\x47\xef\xfc", "image/png", 0},
			{"data:image/png;base64,iVBOR-_8", "", "\x89PN\x47\xef\xfc", "image/png", 0},
			{"data:;base64,YQ==", "image/png", "a", "image/png", 0},
			{"data:text/plain;charset=utf-8,%C3%A9%20b", "", "é b", "text/plain;charset=utf-8", 0},
			{"data:,A%20brief%20note", "", "A brief note", "text/plain;charset=US-ASCII", 0},
			{"DATA:,a", "text", "a", "text/plain", 0},
			{"data:text/html,a", "", "", "", unsupported},
			{"data:image/png;base64", "", "", "", invalid},
			{"data:png;base64,YQ==", "image/png", "", "", invalid},
			{"data:image/png;base64,<svg/>", "", "", "", invalid},
			{"data:,100%", "", "", "", invalid},
			{"gopher://example.com/", "", "", "", invalid},
		} {
			id := fmt.Sprint("m", i)
			got := w.do(t, y.request(id, y.filePart(true, row.url, row.kind, ""), ""))
			if got.code() != row.code {
				t.Errorf("%s is answered %s, want code %d", row.url, got.body, row.code)
				continue
			}

			if row.code == invalid && !strings.Contains(got.Error.Message, "].") && !strings.Contains(got.Error.Message, "file") {
				t.Errorf("%s is refused with %q, which names no field", row.url, got.Error.Message)
			}
			if row.code != 0 {
				continue
			}
			if p := w.kept(id); string(p.Raw()) != row.data || p.MediaType != row.want {
				t.Errorf("%s is kept as %q of %s", row.url, p.Raw(), p.MediaType)
			}
		}

		// The same bytes in either form are the same message.
		w.do(t, y.request("same", y.filePart(false, "YWJj", "image/png", "a.png"), ""))
		if got := w.do(t, y.request("same", y.filePart(true, "data:image/png;base64,YWJj", "", "a.png"), "")); got.code() != 0 {
			t.Errorf("the same bytes in a data URL are answered %s", got.body)
		}
	})
}

// The card tells how large a file may be. One of that size is taken, and the error of a larger
// one says what to do instead.
//
// Shows M33.
func TestClientsRow16Sizes(t *testing.T) {
	everyWay(t, func(t *testing.T, y way) {
		w := y.via.world(t, reads("*/*"))
		_, body := get(w, "GET", card.Path)
		told := regexp.MustCompile(`a file in it about (\d+) KiB: send the URL of a larger file\.`).FindStringSubmatch(body)
		if told == nil {
			t.Fatalf("the card is %s", body)
		}
		most, _ := strconv.Atoi(told[1])

		for _, inURL := range []bool{false, true} {
			sized := func(id string, bytes int) reply {
				content := base64.StdEncoding.EncodeToString(make([]byte, bytes))
				if inURL {
					content = "data:image/png;base64," + content
				}
				return w.do(t, y.request(fmt.Sprint(id, inURL), y.filePart(inURL, content, "image/png", "a.png"), ""))
			}

			if got := sized("m", most<<10); got.code() != 0 {
				t.Errorf("a file of %d KiB is answered %.200s", most, got.body)
			}
			const hint = "send the URL of a large file instead of its bytes"
			if got := sized("large", (most+10)<<10); got.code() != -32602 || !strings.Contains(got.Error.Message, "is too large for this task (512 KiB ") || !strings.Contains(got.Error.Message, hint) {
				t.Errorf("a file of %d KiB is answered %.200s", most+10, got.body)
			}
			if got := sized("huge", 1<<20); got.status != 413 || !strings.Contains(got.Error.Message, "larger than 1048576 bytes; "+hint) {
				t.Errorf("a file of 1 MiB is answered %d %.200s", got.status, got.body)
			}
		}
		if n := len(w.versions(t)); n != 2 {
			t.Errorf("%d tasks were made", n)
		}
	})
}

// A file's name is the last one of a path.
//
// Shows M8.
func TestClientsRow25Filenames(t *testing.T) {
	everyWay(t, func(t *testing.T, y way) {
		w := y.via.world(t, reads("*/*"))
		for i, row := range [][2]string{{"q1.png", "q1.png"}, {"reports/2026/q1.png", "q1.png"}, {`C:\\fakepath\\q1.png`, "q1.png"}, {"../..", ""}, {"dir/", ""}, {"/ ", ""}} {
			id := fmt.Sprint("m", i)
			if got := w.do(t, y.request(id, y.filePart(false, "YWJj", "", row[0]), "")); got.code() != 0 || w.kept(id).Filename != row[1] {
				t.Errorf("%s is answered %s", row[0], got.body)
			}
		}
		for _, name := range []string{`a\n.png`, "dir/x\u202egpj.exe", "dir/" + strings.Repeat("x", 256)} {
			if got := w.do(t, y.request("bad", y.filePart(false, "YWJj", "", name), "")); got.code() != -32602 {
				t.Errorf("%q is answered %s", name, got.body)
			}
		}
	})
}

// A blank id is no id, wherever it stands.
//
// Shows M7.
func TestClientsRow22BlankIDs(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "task", a2a.TaskStateSubmitted).ID()
		for _, blank := range []string{" ", "\u3000\u00a0"} {
			w.refused(t, send, sending(message("m", `"taskId":"`+blank+`"`)), -32602, "message.taskId")
			w.refused(t, send, sending(message("m", `"referenceTaskIds":["t","`+blank+`"]`)), -32602, "message.referenceTaskIds[1]")
			for _, operation := range []string{"GetTask", "CancelTask", subscribe} {
				w.refused(t, operation, byID(blank), -32602, "id")
			}
			for _, operation := range []string{getWebhook, deleteWebhook} {
				w.refused(t, operation, `{"taskId":"`+blank+`","id":"h"}`, -32602, "taskId")
				w.refused(t, operation, `{"taskId":"`+id+`","id":"`+blank+`"}`, -32602, "id")
			}
			w.refused(t, listWebhooks, `{"taskId":"`+blank+`"}`, -32602, "taskId")
			w.refused(t, createWebhook, `{"taskId":"`+blank+`","url":"`+hookURL+`"}`, -32602, "taskId")
		}
	})

	w := jsonrpc.world(t)
	for method, params := range map[string]string{
		"tasks/get": `{"id":" "}`, "tasks/cancel": `{"id":" "}`, "tasks/pushNotificationConfig/list": `{"id":" "}`, "tasks/pushNotificationConfig/delete": `{"id":"t","pushNotificationConfigId":" "}`,
		"tasks/pushNotificationConfig/set": `{"taskId":" ","pushNotificationConfig":{"url":"` + hookURL + `"}}`,
	} {
		if got := w.send(t, request(method, params)); got.code() != -32602 || !strings.Contains(got.Error.Message, "must not be blank") {
			t.Errorf("%s is answered %s", method, got.body)
		}
	}
}

// 0.3 has an error of its own for an extended card that is not there.
//
// Shows D14.
func TestClientsRow23ExtendedCardOf03(t *testing.T) {
	w := newWorld(t)
	if got := w.send(t, `{"jsonrpc":"2.0","id":1,"method":"agent/getAuthenticatedExtendedCard"}`); got.code() != -32007 {
		t.Errorf("answered %s", got.body)
	}
	if res, body := get(w, "GET", "/v1/card"); res.StatusCode != 400 || !strings.Contains(body, "EXTENDED_AGENT_CARD_NOT_CONFIGURED") {
		t.Errorf("/v1/card answers %d %s", res.StatusCode, body)
	}
}

// A request without an id is a notification: it is carried out, and has no answer, not even an
// error. A text that is no request has one, and so has an id that is null.
//
// Shows E10.
func TestClientsRow24Notifications(t *testing.T) {
	w := newWorld(t, shortStreams)
	notify := func(method, params string) string {
		return `{"jsonrpc":"2.0","method":"` + method + `","params":` + params + `}`
	}
	immediately := func(id string) string { return configured(message(id, ""), `"returnImmediately":true`) }
	m03 := `{"message":{"messageId":"03","role":"user","parts":[{"kind":"text","text":"hi"}]},"configuration":{"blocking":false}}`

	for i, body := range []string{
		notify(send, immediately("one")), notify(streaming, immediately("two")), notify("message/send", m03),
	} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, newRequest("POST", "/", body))
		if rec.Code != http.StatusNoContent || rec.Body.Len() != 0 || len(w.versions(t)) != i+1 {
			t.Errorf("%s is answered %d %q, and %d tasks are stored", body, rec.Code, rec.Body, len(w.versions(t)))
		}
	}

	for body, status := range map[string]int{
		notify(send, "{}"): 204, notify(streaming, "{}"): 204, notify("Nothing", "{}"): 204, notify("ListTasks", "{}"): 204, notify("GetTask", byID("nobody")): 204,
		`{"jsonrpc":"2.0","method":7}`: 200, `{"method":"ListTasks"}`: 200, `{"jsonrpc":"2.0"`: 200, `{"jsonrpc":"2.0","id":null,"method":"ListTasks"}`: 200,
		`{"jsonrpc":"2.0","id":{},"method":"ListTasks"}`: 200,
	} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, newRequest("POST", "/", body))
		if rec.Code != status || (rec.Body.Len() == 0) != (status == 204) || status == 200 && !strings.Contains(rec.Body.String(), `"id":null`) {
			t.Errorf("%s is answered %d %q", body, rec.Code, rec.Body)
		}
	}
}

// The small ones: what Accept names first, utf8 without a dash, the code of a 415, and what the
// refusal of a version says.
//
// Shows B-4, V2, decision 25.
func TestClientsSmall(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		const plain, own = "application/json", "application/a2a+json"
		for accept, want := range map[string]string{
			plain + ", " + own: plain, own + "," + plain: own, own: own, plain + ";q=0.5, " + own: own, own + ";q=0.1, " + plain + ";q=0.2": plain,
			own + ";q=0": plain, "*/*": plain, "text/event-stream, " + own: own, own + ";q=x": plain, "Application/JSON," + own: plain,
		} {
			if got := w.call(t, "ListTasks", "{}", with("Accept", accept)); got.header.Get("Content-Type") != want {
				t.Errorf("Accept: %s is answered as %s", accept, got.header.Get("Content-Type"))
			}
		}

		for kind, code := range map[string]int{
			plain + "; charset=utf8": 0, plain + ";charset=UTF-8": 0, own + "; charset=UTF8": 0, plain + "; charset=latin1": -32005, "text/plain": -32005, "": -32005,
		} {
			got := w.call(t, send, sending(message("m", "")), with("Content-Type", kind))
			if got.code() != code || (got.status == 415) != (code != 0) {
				t.Errorf("Content-Type: %s is answered %d %s", kind, got.status, got.body)
			}
		}

		for version, says := range map[string]string{
			"99.0": "A2A 99.0 is not served here; this interface speaks 1.0, 0.3", "v1": "send A2A-Version as Major.Minor, or not at all; this interface speaks 1.0, 0.3",
			"1.x": "send A2A-Version as Major.Minor, or not at all; this interface speaks 1.0, 0.3", strings.Repeat("9", 200) + ".0": "send A2A-Version as Major.Minor, or not at all; this interface speaks 1.0, 0.3",
		} {
			if got := w.call(t, "ListTasks", "{}", with("A2A-Version", version)); got.code() != -32009 || got.Error.Message != says {
				t.Errorf("A2A-Version: %.20s is answered %s", version, got.body)
			}
		}
	})
}

func bodyOf(t *testing.T, r *http.Request) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// deletion deletes a webhook.
func deletion(y way, id, hook string) *http.Request {
	if y.via.name == rest.name {
		return newRequest("DELETE", "/v1/tasks/"+id+"/pushNotificationConfigs/"+hook, "")
	}
	return rpcRequest("tasks/pushNotificationConfig/delete", `{"id":"`+id+`","pushNotificationConfigId":"`+hook+`"}`)
}

// The errors of all checks name the field as the client wrote it, in every version.
//
// Shows E6.
func TestErrorsNameWhatTheClientWrote(t *testing.T) {
	everyWay(t, func(t *testing.T, y way) {
		w := y.via.world(t)
		id := w.insert(anonymous, "task", a2a.TaskStateSubmitted).ID()
		w.insert(anonymous, "used", a2a.TaskStateWorking)
		m := map[bool]string{false: "message.", true: "request."}[y.name == "0.3 HTTP+JSON"]
		taken := `"id":"other","url":"` + hookURL + `"`
		if got := w.do(t, y.config(id, `"id":"one","url":"`+hookURL+`"`)); got.code() != 0 {
			t.Fatal(got.body)
		}
		for field, r := range map[string]*http.Request{
			m + "messageId":                    y.request("used", `{"text":"other"}`, ""),
			y.made + "url":                     y.config(id, `"id":"h","url":"https://127.0.0.1/"`),
			y.made + "id":                      y.config(id, `"id":"a:b","url":"`+hookURL+`"`),
			y.made + "token":                   y.config(id, `"id":"h","token":"ä","url":"`+hookURL+`"`),
			"configuration." + y.hook + ".url": y.request("m", `{"text":"hi"}`, `,"`+y.hook+`":{"url":"https://127.0.0.1/"}`),
			map[bool]string{false: "taskPushNotificationConfig", true: strings.TrimSuffix(y.made, ".")}[y.old()]: y.config(id, taken),
		} {
			if got := w.do(t, r); got.code() != -32602 || !strings.HasPrefix(got.Error.Message, field+" ") || got.detail(badRequest) != nil && got.field() != field {
				t.Errorf("answered %s, want %s refused", got.body, field)
			}
		}
	})
}

const badRequest = "type.googleapis.com/google.rpc.BadRequest"
