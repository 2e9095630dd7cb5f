package wire_test

import (
	"math"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

func TestAnswers(t *testing.T) {
	withArtifact := task("t1")
	withArtifact.Artifacts = []*a2a.Artifact{{ID: "a1", Parts: a2a.ContentParts{a2a.NewTextPart("x")}}}
	for _, test := range []struct {
		name, body, want string
	}{
		{"send", message(""), `{"task":{"id":"t1","contextId":"c1","status":{"state":"TASK_STATE_SUBMITTED","timestamp":"2026-03-04T04:06:07.891Z"}}}`},
		{"get", request("GetTask", `{"id":"t9"}`), `{"id":"t9","contextId":"c1","status":{"state":"TASK_STATE_SUBMITTED","timestamp":"2026-03-04T04:06:07.891Z"}}`},
		{"list empty", request("ListTasks", `{"pageSize":1}`), `{"tasks":[],"totalSize":0,"pageSize":50,"nextPageToken":""}`},
		{"list without params", `{"jsonrpc":"2.0","id":7,"method":"ListTasks"}`, `{"tasks":[],"totalSize":0,"pageSize":50,"nextPageToken":""}`},
		{"list with null params", request("ListTasks", `null`), `{"tasks":[],"totalSize":0,"pageSize":50,"nextPageToken":""}`},
		{"delete", request("DeleteTaskPushNotificationConfig", `{"taskId":"t","id":"h"}`), `null`},
		{"list configs", request("ListTaskPushNotificationConfigs", `{"taskId":"t"}`), `{"configs":[]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := call(t, handler(&script{}), test.body)
			if diff := cmp.Diff(`{"jsonrpc":"2.0","id":7,"result":`+test.want+`}`, got.body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("answer has status %d and type %q", got.status, got.header.Get("Content-Type"))
			}
		})
	}
}

// The types of the SDK would write these parts otherwise, or not at all.
func TestAnswerOfOddParts(t *testing.T) {
	odd := &a2a.Task{ID: "t", Artifacts: []*a2a.Artifact{{ID: "a", Parts: a2a.ContentParts{
		{}, {Content: a2a.Raw(nil)}, {Content: a2a.URL("")}, {Content: a2a.Data{}}, {Content: a2a.Text("<a\xffb\n>")}, {Content: a2a.Data{Value: []any{nil, "<"}}, Metadata: map[string]any{}},
	}}, {ID: "none"}}}
	s := &script{get: func(*a2a.GetTaskRequest) (*a2a.Task, error) { return odd, nil }}
	want := `{"id":"t","artifacts":[{"artifactId":"a","parts":[{"text":""},{"raw":""},{"url":""},{"data":null},{"text":"<a�b\n>"},{"data":[null,"<"]}]},` +
		`{"artifactId":"none","parts":[]}],"contextId":"","status":{"state":"TASK_STATE_UNSPECIFIED"}}`
	if diff := cmp.Diff(want, string(call(t, handler(s), request("GetTask", `{"id":"t"}`)).Result)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

// A result without a JSON form is a fault of the handler, and is answered all the same.
func TestAnswerWithoutJSON(t *testing.T) {
	bad := map[string]any{"x": math.NaN()}
	for name, s := range map[string]*script{
		"metadata": {get: func(*a2a.GetTaskRequest) (*a2a.Task, error) { return &a2a.Task{ID: "t", Metadata: bad}, nil }},
		"details": {get: func(*a2a.GetTaskRequest) (*a2a.Task, error) {
			return nil, a2a.NewError(a2a.ErrInternalError, "x").WithDetails(bad)
		}},
	} {
		if got := call(t, handler(s), request("GetTask", `{"id":"t"}`)); got.Error == nil || got.Error.Code != -32603 {
			t.Errorf("%s: %s", name, got.body)
		}
	}
}
