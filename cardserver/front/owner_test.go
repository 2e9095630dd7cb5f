package front_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// For a caller who may not see a task, every operation answers to the last byte as if the
// task did not exist.
//
// Shows E7, AU5, AU6, decision 26.
func TestForeignTaskIsAbsent(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		absent := w.insert(anonymous, "template", a2a.TaskStateSubmitted).ID()
		absent = strings.Map(func(r rune) rune { return 'a' + ('z'-r)%26 }, absent[:1]) + absent[1:]

		for _, state := range []a2a.TaskState{
			a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateInputRequired, a2a.TaskStateCompleted,
		} {
			theirs := w.insert("other", state.String(), state)
			id, contextID := theirs.ID(), theirs.Task.ContextID
			to := `"taskId":"` + id + `"`
			hook := `,"url":"` + hookURL + `"`
			for operation, params := range map[string][]string{
				"GetTask":    {byID(id), `{"id":"` + id + `","historyLength":0}`},
				"CancelTask": {byID(id)},
				subscribe:    {byID(id)},
				send: {
					sending(message("m", to)), sending(message(state.String(), to)), sending(message("m", to+`,"contextId":"`+contextID+`"`)),
					configured(message("m", to), `"taskPushNotificationConfig":{"url":"`+hookURL+`"}`),
				},
				streaming:     {sending(message("m", to))},
				createWebhook: {`{` + to + hook + `}`, `{` + to + `,"url":"https://127.0.0.1/"}`},
				getWebhook:    {`{` + to + `,"id":"h"}`},
				listWebhooks:  {`{` + to + `}`, `{` + to + `,"pageToken":"1"}`},
				deleteWebhook: {`{` + to + `,"id":"h"}`},
				"ListTasks": {
					`{"contextId":"` + contextID + `"}`, `{"contextId":"` + contextID + `","includeArtifacts":true}`,
				},
			} {
				for _, p := range params {
					foreign := w.whole(t, operation, p)
					none := strings.NewReplacer(id, absent, contextID, "nobody-has-this").Replace(p)
					if got := w.whole(t, operation, none); got != foreign {
						t.Errorf("%s of %s is told apart:\nforeign %s\nabsent  %s", operation, p, foreign, got)
					}
					if strings.Contains(foreign, `"error"`) == (operation == "ListTasks") {
						t.Errorf("%s of %s is answered: %s", operation, p, foreign)
					}
				}
			}

			if now := w.Load(id); now.Version != theirs.Version {
				t.Errorf("%s: the task has changed", state)
			}
		}
	})
}

// whole is the status, the headers and the body of an answer.
func (w *world) whole(t *testing.T, method, params string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, w.via.request(method, params))
	res := rec.Result()
	var b strings.Builder
	b.WriteString(res.Status + "\n")
	if err := res.Header.Write(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&b, res.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
