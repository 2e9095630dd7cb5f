package wire_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	legacy "github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2apb/v0/pbjson"
	"github.com/google/go-cmp/cmp"
)

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// everything is a request of 1.0 that uses all that 0.3 can say.
func everything() *a2a.SendMessageRequest {
	five := 5
	return &a2a.SendMessageRequest{
		Message: &a2a.Message{
			ID: "m1", ContextID: "c1", Role: a2a.MessageRoleUser, Extensions: []string{"urn:x:y"}, Metadata: map[string]any{"k": 1.5},
			Parts: a2a.ContentParts{
				{Content: a2a.Text("hi"), Metadata: map[string]any{"k": "v"}},
				{Content: a2a.URL("https://example.com/f"), MediaType: "image/png", Filename: "f.png"},
				{Content: a2a.Data{Value: map[string]any{"x": []any{1.0}}}},
			},
		},
		Config: &a2a.SendMessageConfig{
			AcceptedOutputModes: []string{"text/plain"}, ReturnImmediately: true, HistoryLength: &five,
			PushConfig: &a2a.PushConfig{
				ID: "h1", URL: "https://example.com/hook", Token: "tok",
				Auth: &a2a.PushAuthInfo{Scheme: "Bearer", Credentials: "cred"},
			},
		},
		Metadata: map[string]any{"k": "v"},
	}
}

// Requests of the SDK's clients of 0.3 are read as these clients mean them.
func TestV03SendIsReadAsTheSDKMeansIt(t *testing.T) {
	want := everything()
	want.Message.ReferenceTasks = []a2a.TaskID{"t0"}
	want.Message.Parts = append(want.Message.Parts,
		&a2a.Part{Content: a2a.Raw("abc"), MediaType: "image/png"},
		&a2a.Part{Content: a2a.Data{Value: []any{1.0}}, Metadata: map[string]any{"k": "v"}})

	for _, method := range []string{"message/send", "message/stream"} {
		s := &script{}
		post(handler(s), request(method, asJSON(t, a2av0.FromV1SendMessageRequest(want))))
		if diff := cmp.Diff(want, s.last); diff != "" {
			t.Errorf("%s (-sent +read):\n%s", method, diff)
		}
	}

	want = everything()
	body, err := pbjson.ToProtoSendMessageRequest(want)
	if err != nil {
		t.Fatal(err)
	}

	for _, path := range []string{"/v1/message:send", "/v1/message:stream"} {
		s := &script{}
		ask(t, rest(s), "POST", path, string(body))
		if diff := cmp.Diff(want, s.last); diff != "" {
			t.Errorf("%s (-sent +read):\n%s", path, diff)
		}
	}
}

func TestV03RequestsOfJSONRPC(t *testing.T) {
	two := 2
	hook := &a2a.PushConfig{TaskID: "t1", ID: "h1", URL: "https://example.com/", Token: "tok", Auth: &a2a.PushAuthInfo{Scheme: "Basic", Credentials: "c"}}
	for _, row := range []struct {
		method string
		params any
		want   any
	}{
		{"tasks/get", legacy.TaskQueryParams{ID: "t1", HistoryLength: &two}, &a2a.GetTaskRequest{ID: "t1", HistoryLength: &two}},
		{"tasks/cancel", legacy.TaskIDParams{ID: "t1", Metadata: map[string]any{"k": "v"}}, &a2a.CancelTaskRequest{ID: "t1", Metadata: map[string]any{"k": "v"}}},
		{"tasks/resubscribe", legacy.TaskIDParams{ID: "t1"}, &a2a.SubscribeToTaskRequest{ID: "t1"}},
		{"tasks/pushNotificationConfig/set", a2av0.FromV1PushConfig(hook), hook},
		{"tasks/pushNotificationConfig/get", legacy.GetTaskPushConfigParams{TaskID: "t1", ConfigID: "h1"}, &a2a.GetTaskPushConfigRequest{TaskID: "t1", ID: "h1"}},
		{"tasks/pushNotificationConfig/get", legacy.TaskIDParams{ID: "t1"}, &a2a.GetTaskPushConfigRequest{TaskID: "t1"}},
		{"tasks/pushNotificationConfig/list", legacy.ListTaskPushConfigParams{TaskID: "t1"}, &a2a.ListTaskPushConfigRequest{TaskID: "t1"}},
		{"tasks/pushNotificationConfig/delete", legacy.DeleteTaskPushConfigParams{TaskID: "t1", ConfigID: "h1"}, &a2a.DeleteTaskPushConfigRequest{TaskID: "t1", ID: "h1"}},
	} {
		s := &script{}
		post(handler(s), request(row.method, asJSON(t, row.params)))
		if diff := cmp.Diff(row.want, s.last); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.method, diff)
		}
	}
}

// Clients of HTTP+JSON send three forms: the proto's request, the body that its HTTP rule
// names, and the config's id in the query.
func TestV03PushConfigsOfREST(t *testing.T) {
	const path = "/v1/tasks/t1/pushNotificationConfigs"
	const config = `"pushNotificationConfig":{"id":"h1","url":"https://example.com/"}`
	for _, body := range []string{
		`{` + config + `}`,
		`{"name":"tasks/t1/pushNotificationConfigs/h1",` + config + `}`,
		`{"parent":"tasks/t1","configId":"h1","config":{"pushNotificationConfig":{"url":"https://example.com/"}}}`,
		`{"parent":"tasks/t1","config_id":"other","config":{` + strings.ReplaceAll(config, "pushNotificationConfig", "push_notification_config") + `}}`,
	} {
		s := &script{}
		res, answer := ask(t, rest(s), "POST", path, body)
		want := &a2a.PushConfig{TaskID: "t1", ID: "h1", URL: "https://example.com/"}
		if diff := cmp.Diff(want, s.last); diff != "" || res.StatusCode != 200 {
			t.Errorf("%s: %d %s (-want +got):\n%s", body, res.StatusCode, answer, diff)
		}
		if !strings.Contains(answer, `"name":"tasks/t1/pushNotificationConfigs/h1"`) {
			t.Errorf("answered %s", answer)
		}
	}
}

// A client that says false in the proto sends nothing, and a client that sends nothing in
// JSON-RPC waits.
func TestV03Blocking(t *testing.T) {
	const rpc, proto = "message/send", "/v1/message:send"
	const hi = `"message":{"messageId":"m","role":"user","parts":[{"kind":"text","text":"hi"}]}`

	for _, row := range []struct {
		via, configuration string
		immediately        bool
	}{
		{rpc, ``, false}, {rpc, `,"configuration":{}`, false}, {rpc, `,"configuration":{"blocking":null}`, false},
		{rpc, `,"configuration":{"blocking":true}`, false}, {rpc, `,"configuration":{"blocking":false}`, true},
		{proto, ``, false}, {proto, `,"configuration":null`, false}, {proto, `,"configuration":{}`, true},
		{proto, `,"configuration":{"blocking":true}`, false}, {proto, `,"configuration":{"blocking":false}`, true},
	} {
		s := &script{}
		if row.via == rpc {
			post(handler(s), request(rpc, "{"+hi+row.configuration+"}"))
		} else {
			ask(t, rest(s), "POST", proto, "{"+hi+row.configuration+"}")
		}

		req, ok := s.last.(*a2a.SendMessageRequest)
		if !ok {
			t.Fatalf("%s %s was refused", row.via, row.configuration)
		}
		if got := req.Config != nil && req.Config.ReturnImmediately; got != row.immediately {
			t.Errorf("%s %s: immediately is %v", row.via, row.configuration, got)
		}
	}
}

// The message of a send is the proto's field request, whose JSON name is message. If a body
// has both, message counts, in either order.
func TestClientsRow08MessageIsAlsoCalledRequest(t *testing.T) {
	const hi = `{"messageId":"m","role":1,"content":[{"text":"hi"}]}`
	const other = `{"messageId":"other","role":"ROLE_USER","content":[{"text":"no"}]}`
	for _, body := range []string{
		`{"request":` + hi + `}`, `{"message":` + hi + `}`,
		`{"message":null,"request":` + hi + `}`, `{"request":` + hi + `,"message":null}`,
		`{"message":` + hi + `,"request":` + other + `}`, `{"request":` + other + `,"message":` + hi + `}`,
	} {
		s := &script{}
		_, answer := ask(t, rest(s), "POST", "/v1/message:send", body)
		req, ok := s.last.(*a2a.SendMessageRequest)
		if !ok {
			t.Errorf("%s was refused: %s", body, answer)
			continue
		}

		want := &a2a.Message{ID: "m", Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart("hi")}}
		if diff := cmp.Diff(want, req.Message); diff != "" {
			t.Errorf("%s is read as (-want +got):\n%s", body, diff)
		}
	}

	for body, field := range map[string]string{`{"request":null}`: "message", `{"request":{"messageId":"m","role":2}}`: "request.role"} {
		if _, answer := ask(t, rest(&script{}), "POST", "/v1/message:send", body); !strings.Contains(answer, `"field":"`+field+`"`) {
			t.Errorf("%s: the answer does not name %s: %s", body, field, answer)
		}
	}
}

// Bad input of 0.3 names the field as its client spelt it.
func TestCatalogue03(t *testing.T) {
	message := func(fields string) string {
		m := `"kind":"message","messageId":"m"`
		for _, d := range []string{`"role":"user"`, `"parts":[{"kind":"text","text":"x"}]`} {
			if key, _, _ := strings.Cut(d, ":"); !strings.Contains(fields, key) && !(key == `"parts"` && strings.Contains(fields, `"content"`)) {
				m += "," + d
			}
		}

		return request("message/send", `{"message":{`+strings.TrimSuffix(m+","+fields, ",")+`}}`)
	}

	part := func(p string) string { return message(`"parts":[` + p + `]`) }
	config := func(c string) string {
		return request("message/send", `{"message":{"messageId":"m","role":"user","parts":[{"text":"x"}]},"configuration":{`+c+`}}`)
	}

	for _, row := range []struct{ name, body, field string }{
		{"no message", request("message/send", "{}"), "message"},
		{"kind of another", request("message/send", `{"message":{"kind":"task","messageId":"m","role":"user","parts":[{"text":"x"}]}}`), "message.kind"},
		{"role of the agent", message(`"role":"agent"`), "message.role"},
		{"role unknown", message(`"role":"USER"`), "message.role"},
		{"role empty", message(`"role":""`), "message.role"},
		{"role of the proto", message(`"role":"ROLE_USER"`), ""},
		{"parts of the proto", message(`"content":[{"text":"x"},{"data":{"data":{"x":1}}},{"file":{"fileWithUri":"https://example.com/"}}]`), ""},
		{"parts empty", message(`"parts":[]`), "message.parts"},
		{"content empty", message(`"content":[]`), "message.parts"},
		{"part of nothing", part(`{}`), "message.parts[0]"},
		{"part of two", part(`{"kind":"text","text":"x","data":{}}`), "message.parts[0]"},
		{"part of another kind", part(`{"kind":"data","text":"x"}`), "message.parts[0]"},
		{"part of no kind that is known", part(`{"kind":"video","text":"x"}`), "message.parts[0]"},
		{"data that is no object", part(`{"kind":"data","data":[1]}`), "message.parts[0].data"},
		{"file of nothing", part(`{"kind":"file","file":{}}`), "message.parts[0].file"},
		{"file of two", part(`{"kind":"file","file":{"bytes":"AA==","uri":"https://example.com/"}}`), "message.parts[0].file"},
		{"file of bad bytes", part(`{"kind":"file","file":{"bytes":"*"}}`), "message.parts[0].file.bytes"},
		{"file of a bad address", part(`{"kind":"file","file":{"uri":"file:///etc/passwd"}}`), "message.parts[0].file.uri"},
		{"file of a path", part(`{"kind":"file","file":{"bytes":"AA==","name":"../x"}}`), ""},
		{"file of a bad name", part(`{"kind":"file","file":{"bytes":"AA==","name":"x\u202egpj.exe"}}`), "message.parts[0].file.name"},
		{"file in a data URL", part(`{"kind":"file","file":{"uri":"data:,x"}}`), ""},
		{"file in a bad data URL", part(`{"kind":"file","file":{"uri":"data:x"}}`), "message.parts[0].file.uri"},
		{"blocking a string", config(`"blocking":"true"`), "configuration.blocking"},
		{"hook without address", config(`"pushNotificationConfig":{}`), "configuration.pushNotificationConfig.url"},
		{"hook without schemes", config(`"pushNotificationConfig":{"url":"https://example.com/","authentication":{"schemes":[]}}`), ""},
		{"hook with credentials alone", config(`"pushNotificationConfig":{"url":"https://example.com/","authentication":{"schemes":[],"credentials":"c"}}`), "configuration.pushNotificationConfig.authentication.schemes"},
		{"set without a task", request("tasks/pushNotificationConfig/set", `{"pushNotificationConfig":{"url":"https://example.com/"}}`), "taskId"},
		{"set without a config", request("tasks/pushNotificationConfig/set", `{"taskId":"t1"}`), "pushNotificationConfig"},
		{"delete without a config", request("tasks/pushNotificationConfig/delete", `{"id":"t1"}`), "pushNotificationConfigId"},
		{"get without a task", request("tasks/get", `{}`), "id"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := call(t, handler(&script{}), row.body)
			switch {
			case row.field == "" && got.Error != nil:
				t.Errorf("refused: %s", got.body)
			case row.field != "" && (got.Error == nil || got.Error.Code != -32602 || !strings.HasPrefix(got.Error.Message, row.field+" ")):
				t.Errorf("got %s, want %s refused", got.body, row.field)
			}
		})
	}
}

// The shape of a request decides its version, and a header may not contradict it. In 0.3 the
// header of extensions has another name.
//
// Shows V1.
func TestVersionsByShape(t *testing.T) {
	old := request("tasks/get", `{"id":"t1"}`)
	for _, row := range []struct {
		body string
		edit func(*http.Request)
		code int
	}{
		{old, header("A2A-Version"), 0},
		{old, header("A2A-Version", "0.3"), 0},
		{old, header("A2A-Version", "1.0"), -32009},
		{old, query("A2A-Version=1.0"), -32009},
		{old, query("a2a-version=0.3"), 0},
		{request("GetTask", `{"id":"t1"}`), header("A2A-Version", "0.3"), -32009},
		{request("tasks/list", `{}`), header("A2A-Version", "0.3"), -32601},
		{request("tasks/list", `{}`), header("A2A-Version", "9.9"), -32009},
	} {
		got := call(t, handler(&script{}), row.body, row.edit)
		if code := 0; got.Error != nil && got.Error.Code != row.code || got.Error == nil && row.code != code {
			t.Errorf("%s: %s, want %d", row.body, got.body, row.code)
		}
	}
}
