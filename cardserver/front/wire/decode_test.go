package wire_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

func TestDecode(t *testing.T) {
	n := 3
	after := time.Date(2026, 1, 2, 1, 4, 5, 600_000_000, time.UTC)
	for _, test := range []struct {
		method, params string
		want           any
	}{
		{"SendMessage", `{
			"tenant": "acme",
			"message": {
				"messageId": "m1", "contextId": "c", "taskId": "t", "role": "ROLE_USER",
				"parts": [
					{"text": "a\u00e9\ud83d\ude00\n\"/", "mediaType": "text/plain", "filename": "a.txt", "metadata": {"k": [1, -0.5, true, null, {"x": {}}, []]}},
					{"raw": "-_8", "mediaType": "image/png; q=1"},
					{"url": "https://example.com/x?y#z"},
					{"data": {"a": "b"}},
					{"data": null}
				],
				"referenceTaskIds": ["r1", "r2"],
				"extensions": ["urn:a:b", "urn:c:d", "urn:a:b"],
				"metadata": {"e\u0041": "v"}
			},
			"configuration": {
				"acceptedOutputModes": ["text/*"], "historyLength": 3, "returnImmediately": true,
				"taskPushNotificationConfig": {"id": "h", "url": "https://example.com/hook", "token": "tok", "authentication": {"scheme": "Bearer", "credentials": "s"}}
			},
			"metadata": {}
		}`, &a2a.SendMessageRequest{
			Tenant: "acme",
			Message: &a2a.Message{
				ID: "m1", ContextID: "c", TaskID: "t", Role: a2a.MessageRoleUser,
				Parts: a2a.ContentParts{
					{Content: a2a.Text("aé😀\n\"/"), MediaType: "text/plain", Filename: "a.txt",
						Metadata: map[string]any{"k": []any{1.0, -0.5, true, nil, map[string]any{"x": map[string]any{}}, []any{}}}},
					{Content: a2a.Raw{0xfb, 0xff}, MediaType: "image/png; q=1"},
					{Content: a2a.URL("https://example.com/x?y#z")},
					{Content: a2a.Data{Value: map[string]any{"a": "b"}}},
					{Content: a2a.Data{}},
				},
				ReferenceTasks: []a2a.TaskID{"r1", "r2"},
				Extensions:     []string{"urn:a:b", "urn:c:d"},
				Metadata:       map[string]any{"eA": "v"},
			},
			Config: &a2a.SendMessageConfig{
				AcceptedOutputModes: []string{"text/*"}, HistoryLength: &n, ReturnImmediately: true,
				PushConfig: &a2a.PushConfig{ID: "h", URL: "https://example.com/hook", Token: "tok",
					Auth: &a2a.PushAuthInfo{Scheme: "Bearer", Credentials: "s"}},
			},
			Metadata: map[string]any{},
		}},
		{"GetTask", `{"tenant":"a","id":"t","historyLength":3}`, &a2a.GetTaskRequest{Tenant: "a", ID: "t", HistoryLength: &n}},
		{"ListTasks", `{"tenant":"a","contextId":"c","status":"TASK_STATE_FAILED","pageSize":9,"pageToken":"p","historyLength":3,
			"statusTimestampAfter":"2026-01-02T03:04:05.6+02:00","includeArtifacts":true}`,
			&a2a.ListTasksRequest{Tenant: "a", ContextID: "c", Status: a2a.TaskStateFailed, PageSize: 9, PageToken: "p",
				HistoryLength: &n, StatusTimestampAfter: &after, IncludeArtifacts: true}},
		{"ListTasks", `{"status":"TASK_STATE_UNSPECIFIED","pageSize":null,"statusTimestampAfter":null,"includeArtifacts":null}`, &a2a.ListTasksRequest{}},
		{"CancelTask", `{"tenant":"a","id":"t","metadata":{"k":1}}`, &a2a.CancelTaskRequest{Tenant: "a", ID: "t", Metadata: map[string]any{"k": 1.0}}},
		{"SubscribeToTask", `{"tenant":"a","id":"t"}`, &a2a.SubscribeToTaskRequest{Tenant: "a", ID: "t"}},
		{"CreateTaskPushNotificationConfig", `{"tenant":"a","taskId":"t","id":"h","url":"http://127.0.0.1:8888/x"}`,
			&a2a.PushConfig{Tenant: "a", TaskID: "t", ID: "h", URL: "http://127.0.0.1:8888/x"}},
		{"GetTaskPushNotificationConfig", `{"tenant":"a","taskId":"t","id":"h"}`, &a2a.GetTaskPushConfigRequest{Tenant: "a", TaskID: "t", ID: "h"}},
		{"ListTaskPushNotificationConfigs", `{"tenant":"a","taskId":"t","pageSize":5,"pageToken":"p"}`,
			&a2a.ListTaskPushConfigRequest{Tenant: "a", TaskID: "t", PageSize: 5, PageToken: "p"}},
		{"DeleteTaskPushNotificationConfig", `{"tenant":"a","taskId":"t","id":"h"}`, &a2a.DeleteTaskPushConfigRequest{Tenant: "a", TaskID: "t", ID: "h"}},
	} {
		t.Run(test.method, func(t *testing.T) {
			s := &script{}
			res := post(handler(s), request(test.method, test.params))
			if diff := cmp.Diff(test.want, s.last); diff != "" {
				t.Errorf("status %d (-want +got):\n%s", res.StatusCode, diff)
			}
		})
	}
}

// Every field at fault is named in one answer.
func TestDecodeNamesEveryField(t *testing.T) {
	got := call(t, handler(&script{}), request("ListTasks", `{"pageSize":0,"status":"x","historyLength":-1}`))
	var fields []string
	for _, d := range got.Error.Data {
		if all, ok := d["fieldViolations"].([]any); ok {
			for _, v := range all {
				fields = append(fields, v.(map[string]any)["field"].(string))
			}
		}
	}
	if diff := cmp.Diff([]string{"pageSize", "status", "historyLength"}, fields); diff != "" {
		t.Errorf("fields of the violations (-want +got):\n%s", diff)
	}
	if want := "pageSize must be an integer from 1 to 100 (and 2 more)"; got.Error.Message != want {
		t.Errorf("message is %q, want %q", got.Error.Message, want)
	}
}

// Shows E10.
func TestIDIsEchoed(t *testing.T) {
	for _, id := range []string{`null`, `0`, `-0`, `9007199254740993`, `123456789012345678901234567890`, `""`, `"a\u0062\"\\"`, `"é"`} {
		if got := call(t, handler(&script{}), `{"method":"ListTasks","id": `+id+` ,"jsonrpc":"2.0"}`); string(got.ID) != id {
			t.Errorf("id %s comes back as %s", id, got.ID)
		}
		// An error that is found before the id was read, and one after.
		if got := call(t, handler(&script{}), `{"jsonrpc":"1.0","params":{"pageSize":0},"method":"ListTasks","id":`+id+`}`); string(got.ID) != id {
			t.Errorf("id %s comes back with an error as %s", id, got.ID)
		}
	}
}
