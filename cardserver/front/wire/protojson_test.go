package wire_test

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	cmp2 "github.com/google/go-cmp/cmp"
	pbjson "google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	legacypb "github.com/a2aproject/a2a-go/a2apb"
	a2apb "github.com/a2aproject/a2a-go/v2/a2apb/v1"

	"errand/shared/lab/protojson"
)

// A spelt is a request of one version whose fields are spelt in all ways.
type spelt struct {
	rpc, verb, path string // a request in JSON-RPC and one in HTTP+JSON; empty: none
	message         string // the name of its proto message
	body            string // as ProtoJSON writes it, with all fields
	bare            string // with the required ones alone; empty: none is
	said            string // the field that the path of HTTP+JSON says, and no query or other body has to
	schema          string // fields of 0.3's JSON-RPC that are not in the proto
}

const (
	spelt10Hook = `"url":"https://example.com/","id":"h1","token":"tok","authentication":{"scheme":"Bearer","credentials":"c"}`
	spelt03Hook = `"url":"https://example.com/","id":"h1","token":"tok","authentication":{"schemes":["Bearer"],"credentials":"c"}`

	spelt10Message = `{"tenant":"a","message":{"messageId":"m1","contextId":"c1","taskId":"t1","role":"ROLE_USER","parts":[
		{"text":"hi","mediaType":"text/plain","filename":"f","metadata":{"k":[1.5,"5",null]}},{"raw":"+/8=","mediaType":"image/png"},{"url":"https://example.com/"},{"data":{"x":1}},{"data":null}],
		"metadata":{"k":1},"extensions":["urn:x:y"],"referenceTaskIds":["t0"]},
		"configuration":{"acceptedOutputModes":["text/plain"],"historyLength":5,"returnImmediately":true,"taskPushNotificationConfig":{"tenant":"a","taskId":"t1",` + spelt10Hook + `}},"metadata":{"k":"v"}}`

	spelt10Bare = `{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"hi"}]},
		"configuration":{"taskPushNotificationConfig":{"url":"https://example.com/","authentication":{"scheme":"Bearer"}}}}`
	spelt03Bare = `{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"file":{"fileWithUri":"https://example.com/"}}]},
		"configuration":{"pushNotification":{"url":"https://example.com/","authentication":{"schemes":["Bearer"]}}}}`

	spelt03Message = `{"message":{"messageId":"m1","contextId":"c1","taskId":"t1","role":"ROLE_USER","parts":[
		{"text":"hi","metadata":{"k":1}},{"file":{"fileWithBytes":"+/8=","mimeType":"image/png","name":"f"}},{"file":{"fileWithUri":"https://example.com/"}},{"data":{"data":{"x":1}}}],
		"metadata":{"k":1},"extensions":["urn:x:y"],"referenceTaskIds":["t0"]},
		"configuration":{"acceptedOutputModes":["text/plain"],"historyLength":5,"blocking":true,"pushNotification":{` + spelt03Hook + `}},"metadata":{"k":"v"}}`
)

var spelt10 = []spelt{
	{rpc: "SendMessage", verb: "POST", path: "/message:send", message: "SendMessageRequest", body: spelt10Message, bare: spelt10Bare},
	{rpc: "SendStreamingMessage", verb: "POST", path: "/message:stream", message: "SendMessageRequest", body: spelt10Message, bare: spelt10Bare},
	{rpc: "GetTask", verb: "GET", path: "/tasks/t1", message: "GetTaskRequest", body: `{"tenant":"a","id":"t1","historyLength":5}`, bare: `{"id":"t1"}`, said: "id"},
	{rpc: "ListTasks", verb: "GET", path: "/tasks", message: "ListTasksRequest", body: `{"tenant":"a","contextId":"c","status":"TASK_STATE_COMPLETED","pageSize":20,"pageToken":"p",
		"historyLength":5,"statusTimestampAfter":"2026-01-02T03:04:05Z","includeArtifacts":true}`},
	{rpc: "CancelTask", verb: "POST", path: "/tasks/t1:cancel", message: "CancelTaskRequest", body: `{"tenant":"a","id":"t1","metadata":{"k":1}}`, bare: `{"id":"t1"}`},
	{rpc: "SubscribeToTask", verb: "POST", path: "/tasks/t1:subscribe", message: "SubscribeToTaskRequest", body: `{"tenant":"a","id":"t1"}`, bare: `{"id":"t1"}`},
	{verb: "GET", path: "/tasks/t1:subscribe", message: "SubscribeToTaskRequest", body: `{"tenant":"a","id":"t1"}`, bare: `{"id":"t1"}`, said: "id"},
	{rpc: "CreateTaskPushNotificationConfig", verb: "POST", path: "/tasks/t1/pushNotificationConfigs", message: "TaskPushNotificationConfig",
		body: `{"tenant":"a","taskId":"t1",` + spelt10Hook + `}`, bare: `{"taskId":"t1","url":"https://example.com/"}`},
	{rpc: "GetTaskPushNotificationConfig", verb: "GET", path: "/tasks/t1/pushNotificationConfigs/h1", message: "GetTaskPushNotificationConfigRequest",
		body: `{"tenant":"a","taskId":"t1","id":"h1"}`, bare: `{"taskId":"t1","id":"h1"}`, said: "taskId id"},
	{rpc: "ListTaskPushNotificationConfigs", verb: "GET", path: "/tasks/t1/pushNotificationConfigs", message: "ListTaskPushNotificationConfigsRequest",
		body: `{"tenant":"a","taskId":"t1","pageSize":20,"pageToken":"p"}`, bare: `{"taskId":"t1"}`, said: "taskId"},
	{rpc: "DeleteTaskPushNotificationConfig", verb: "DELETE", path: "/tasks/t1/pushNotificationConfigs/h1", message: "DeleteTaskPushNotificationConfigRequest",
		body: `{"tenant":"a","taskId":"t1","id":"h1"}`, bare: `{"taskId":"t1","id":"h1"}`, said: "taskId id"},
	{rpc: "GetExtendedAgentCard", verb: "GET", path: "/extendedAgentCard", message: "GetExtendedAgentCardRequest", body: `{"tenant":"a"}`},
}

// 0.3's JSON-RPC has a schema of its own. It reads the spellings of the proto where both have the
// field.
var spelt03 = []spelt{
	{rpc: "message/send", verb: "POST", path: "/v1/message:send", message: "SendMessageRequest", body: spelt03Message, bare: spelt03Bare},
	{rpc: "message/stream", verb: "POST", path: "/v1/message:stream", message: "SendMessageRequest", body: spelt03Message, bare: spelt03Bare},
	{rpc: "tasks/get", message: "GetTaskRequest", body: `{"historyLength":5}`, schema: `"id":"t1"`},
	{verb: "GET", path: "/v1/tasks/t1", message: "GetTaskRequest", body: `{"name":"tasks/t1","historyLength":5}`, said: "name"},
	{verb: "GET", path: "/v1/tasks", message: "ListTasksRequest", body: `{"contextId":"c","status":"TASK_STATE_COMPLETED","pageSize":20,"pageToken":"p",
		"historyLength":5,"lastUpdatedTime":"2026-01-02T03:04:05Z","includeArtifacts":true}`},
	{verb: "POST", path: "/v1/tasks/t1:cancel", message: "CancelTaskRequest", body: `{"name":"tasks/t1"}`},
	{verb: "POST", path: "/v1/tasks/t1:subscribe", message: "TaskSubscriptionRequest", body: `{"name":"tasks/t1"}`},
	{rpc: "tasks/pushNotificationConfig/set", message: "TaskPushNotificationConfig", body: `{"pushNotificationConfig":{` + spelt03Hook + `}}`, bare: `{"pushNotificationConfig":{"url":"https://example.com/"}}`, schema: `"taskId":"t1"`},
	{verb: "POST", path: "/v1/tasks/t1/pushNotificationConfigs", message: "CreateTaskPushNotificationConfigRequest",
		body: `{"parent":"tasks/t1","configId":"h1","config":{"name":"tasks/t1/pushNotificationConfigs/h1","pushNotificationConfig":{` + spelt03Hook + `}}}`,
		bare: `{"config":{"pushNotificationConfig":{"url":"https://example.com/"}}}`},
	{verb: "GET", path: "/v1/tasks/t1/pushNotificationConfigs/h1", message: "GetTaskPushNotificationConfigRequest", body: `{"name":"tasks/t1/pushNotificationConfigs/h1"}`, said: "name"},
	{verb: "GET", path: "/v1/tasks/t1/pushNotificationConfigs", message: "ListTaskPushNotificationConfigRequest", body: `{"parent":"tasks/t1","pageSize":20,"pageToken":"p"}`, said: "parent"},
	{verb: "DELETE", path: "/v1/tasks/t1/pushNotificationConfigs/h1", message: "DeleteTaskPushNotificationConfigRequest", body: `{"name":"tasks/t1/pushNotificationConfigs/h1"}`, said: "name"},
}

// twice are the fields that the path or another field says too, and one whose value JSON-RPC
// takes for granted.
var twice = []string{"id", "task_id", "name", "parent", "config_id", "config.name", "config.push_notification_config.id", "configuration.blocking"}

// Every spelling of every field that ProtoJSON allows is read as the usual one is, in both
// versions and bindings. The reader of the proto's own library agrees that it is one.
//
// Shows B-6.
func TestClientsRow09ProtoJSON(t *testing.T) {
	for _, v := range []struct {
		name string
		file protoreflect.FileDescriptor
		rows []spelt
	}{
		{"1.0", a2apb.File_a2av1_proto, spelt10}, {"0.3", legacypb.File_a2a_proto, spelt03},
	} {
		tried := 0
		for _, row := range v.rows {
			t.Run(v.name+" "+cmp.Or(row.rpc, row.verb+" "+row.path), func(t *testing.T) {
				m := v.file.Messages().ByName(protoreflect.Name(row.message))
				if missing := protojson.Missing(m, row.body); len(missing) > 0 && row.schema == "" {
					t.Errorf("the fields %v are not spelt", missing)
				}
				for _, body := range []string{row.body, cmp.Or(row.bare, "{}")} {
					tried += row.try(t, m, body)
				}
			})
		}

		if tried < 200 {
			t.Errorf("%s: only %d spellings", v.name, tried)
		}
	}
}

// try sends all spellings of a body, and returns their number.
func (row spelt) try(t *testing.T, m protoreflect.MessageDescriptor, body string) int {
	usual, spellings := parsed(t, m, body), protojson.Spellings(m, body)
	for _, s := range spellings {
		if !proto.Equal(usual, parsed(t, m, s.Body)) {
			t.Errorf("%s: this is another message: %s", s.Field, s.Body)
		}
	}

	for i, via := range []func(body string) (read any, answer string){row.overRPC, row.overREST} {
		want, answer := via(body)
		if want == nil && answer != "" {
			t.Errorf("%s is refused: %s", body, answer)
		}

		for _, s := range protojson.Without(m, body) {
			if got, _ := via(s.Body); answer != "" && cmp2.Equal(want, got) && !slices.Contains(twice, s.Field) {
				t.Errorf("%s is not read: %s", s.Field, body)
			}
		}

		for _, s := range spellings {
			switch {
			case i == 0 && s.Default && strings.Contains(row.rpc, "/"):
				continue // in the schema of 0.3 false and zero are not what absent is
			case i == 1 && s.Default && row.verb != http.MethodPost && s.Field == "history_length":
				continue // a query has only what a client has named
			}
			got, answer := via(s.Body)
			if diff := cmp2.Diff(want, got); diff != "" && answer != "" {
				t.Errorf("%s: %s is answered %s (-usual +read):\n%s", s.Field, s.Body, answer, diff)
			}
		}
	}
	return len(spellings)
}

// parsed is a body as the library of the proto reads it.
func parsed(t *testing.T, m protoreflect.MessageDescriptor, body string) proto.Message {
	t.Helper()
	out := dynamicpb.NewMessage(m)
	if err := pbjson.Unmarshal([]byte(body), out); err != nil {
		t.Errorf("%v: %s", err, body)
	}
	return out
}

// overRPC returns the request that JSON-RPC reads; no answer: the row has none there.
func (row spelt) overRPC(body string) (read any, answer string) {
	if row.rpc == "" {
		return nil, ""
	}
	if row.schema != "" {
		body = strings.TrimSuffix("{"+row.schema+","+body[1:len(body)-1], ",") + "}"
	}
	s := &script{}
	res := post(handler(s), request(row.rpc, body))
	text, _ := io.ReadAll(res.Body)
	return s.last, string(text)
}

// overREST returns the request that HTTP+JSON reads; no answer: it cannot be sent there.
func (row spelt) overREST(body string) (read any, answer string) {
	if row.path == "" {
		return nil, ""
	}

	target := row.path
	if row.verb != http.MethodPost {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &fields); err != nil {
			return nil, err.Error()
		}

		query := url.Values{}
		for name, value := range fields {
			var text string
			switch {
			case string(value) == "null":
				return nil, "" // a query has none
			case slices.Contains(strings.Fields(row.said), name):
			case json.Unmarshal(value, &text) == nil:
				query.Set(name, text)
			default:
				query.Set(name, string(value))
			}
		}
		target, body = target+"?"+query.Encode(), ""
	}

	s := &script{}
	r := httptest.NewRequest(row.verb, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	rest(s).ServeHTTP(w, r)
	return s.last, w.Body.String()
}
