package wire_test

import (
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
		{"list empty", request("ListTasks", `{"pageSize":1}`), `{"tasks":[],"nextPageToken":"","pageSize":50,"totalSize":0}`},
		{"list without params", `{"jsonrpc":"2.0","id":7,"method":"ListTasks"}`, `{"tasks":[],"nextPageToken":"","pageSize":50,"totalSize":0}`},
		{"list with null params", request("ListTasks", `null`), `{"tasks":[],"nextPageToken":"","pageSize":50,"totalSize":0}`},
		{"delete", request("DeleteTaskPushNotificationConfig", `{"taskId":"t","id":"h"}`), `null`},
		{"list configs", request("ListTaskPushNotificationConfigs", `{"taskId":"t"}`), `{"configs":[],"nextPageToken":""}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := call(t, handler(&script{}), test.body)
			if diff := cmp.Diff(`{"jsonrpc":"2.0","id":7,"result":`+test.want+`}`, got.body); diff != "" {
				t.Error(diff)
			}
			if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("answer has status %d and type %q", got.status, got.header.Get("Content-Type"))
			}
		})
	}
}
