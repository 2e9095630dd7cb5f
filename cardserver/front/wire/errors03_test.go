package wire_test

import (
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Clients of 0.3 read different forms of an error's data, and data in another form hides
// the whole error from them.
func TestErrorsOf03HaveNoDataInJSONRPC(t *testing.T) {
	s := &script{get: func(*a2a.GetTaskRequest) (*a2a.Task, error) { return nil, a2a.ErrTaskNotFound }}
	for body, code := range map[string]int{
		request("tasks/get", `{"id":"t"}`): -32001,
		request("tasks/get", `{}`):         -32602,
		request("tasks/list", `{}`):        -32601,
	} {
		got := call(t, handler(s), body)
		if got.Error == nil || got.Error.Code != code || strings.Contains(got.body, `"data"`) {
			t.Errorf("%s: %s, want code %d and no data", body, got.body, code)
		}
	}
	if got := call(t, handler(s), request("GetTask", `{"id":"t"}`)); got.Error.info()["reason"] != "TASK_NOT_FOUND" {
		t.Errorf("1.0: %s, want data", got.body)
	}
}
