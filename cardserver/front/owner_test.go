package front_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/lab/faulty"
	base "errand/shared/lab/world"
	"errand/shared/task"
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

// A request about a foreign task is refused before the store is asked, whether the task exists
// or not, so its time tells nothing. A task that an earlier version accepted is found by its
// owner, and only its record knows that it is foreign.
//
// Shows decision 26.
func TestForeignTaskIsRefusedBeforeTheStore(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		var calls atomic.Int64
		w := b.world(t, func(c *front.Config) {
			c.Store = faulty.Store{Store: c.Store, Before: func(faulty.Call) error { calls.Add(1); return nil }}
		})

		own, theirs := w.insert(anonymous, "mine", a2a.TaskStateSubmitted).ID(), w.insert("other", "theirs", a2a.TaskStateSubmitted).ID()
		old := own[8:] // as an earlier version named the task of another message
		base.Accept(t, w.Store, w.Moment(), task.Acceptance{ID: old, Context: "c", Owner: anonymous, Message: words("hi")})

		for _, row := range []struct {
			name, id string
			found    bool
			asked    bool // the store
		}{
			{"own", own, true, true},
			{"foreign", theirs, false, false},
			{"foreign, and none", theirs[:8] + strings.Repeat("a", 26), false, false},
			{"of an owner without tasks", "1" + strings.Repeat("a", 33), false, false},
			{"own, and none", own[:8] + strings.Repeat("a", 26), false, true},
			{"own, of an earlier version", old, true, true},
			{"foreign or none, as of an earlier version", theirs[8:], false, true},
			{"of no form", "nobody-has-this", false, true},
		} {
			to := `"taskId":"` + row.id + `"`
			for operation, params := range map[string]string{
				"GetTask": byID(row.id), subscribe: byID(row.id), send: sending(message("m", to)), streaming: sending(message("m", to)),
				createWebhook: `{` + to + `,"url":"` + hookURL + `"}`, getWebhook: `{` + to + `,"id":"h"}`, listWebhooks: `{` + to + `}`,
				deleteWebhook: `{` + to + `,"id":"h"}`, "CancelTask": byID(row.id),
			} {
				if row.found && operation != "GetTask" && operation != listWebhooks {
					continue // these change the task or wait for its end
				}

				calls.Store(0)
				answer := w.whole(t, operation, params)
				if found := !strings.Contains(answer, `"error"`); found != row.found {
					t.Errorf("%s of an id that is %s: %s", operation, row.name, answer)
				}
				if n := calls.Load(); n > 0 != row.asked || !row.found && n > 1 {
					t.Errorf("%s of an id that is %s: %d calls of the store", operation, row.name, n)
				}
			}
		}
	})
}

// In 0.3 too a foreign task is refused before the store is asked, by every method and path,
// to the last byte as one that does not exist.
//
// Shows decision 26.
func TestForeignTaskIsRefusedBeforeTheStoreIn03(t *testing.T) {
	var calls atomic.Int64
	w := newWorld(t, func(c *front.Config) {
		c.Store = faulty.Store{Store: c.Store, Before: func(faulty.Call) error { calls.Add(1); return nil }}
	})
	own, theirs := w.insert(anonymous, "mine", a2a.TaskStateWorking).ID(), w.insert("other", "theirs", a2a.TaskStateWorking).ID()

	config := `"pushNotificationConfig":{"id":"h","url":"` + hookURL + `"}`
	requests := func(id string) map[string]*http.Request {
		all := map[string]*http.Request{}
		of, rpc := `{"id":"`+id+`"`, func(method, params string) { all[method] = newRequest("POST", "/", request(method, params)) }
		message := `"messageId":"m","taskId":"` + id + `","role":"user"`
		rpc("tasks/get", of+`}`)
		rpc("tasks/cancel", of+`}`)
		rpc("tasks/resubscribe", of+`}`)
		rpc("message/send", `{"message":{`+message+`,"parts":[{"kind":"text","text":"hi"}]}}`)
		rpc("message/stream", `{"message":{`+message+`,"parts":[{"kind":"text","text":"hi"}]}}`)
		rpc("tasks/pushNotificationConfig/set", `{"taskId":"`+id+`",`+config+`}`)
		rpc("tasks/pushNotificationConfig/get", of+`,"pushNotificationConfigId":"h"}`)
		rpc("tasks/pushNotificationConfig/list", of+`}`)
		rpc("tasks/pushNotificationConfig/delete", of+`,"pushNotificationConfigId":"h"}`)

		rest := func(method, path, body string) {
			all[method+" "+path] = newRequest(method, "/v1"+strings.ReplaceAll(path, "ID", id), body)
		}
		sent := `{"message":{` + strings.Replace(message, `"user"`, `"ROLE_USER"`, 1) + `,"content":[{"text":"hi"}]}}`
		rest("GET", "/tasks/ID", "")
		rest("POST", "/tasks/ID:cancel", "{}")
		rest("GET", "/tasks/ID:subscribe", "")
		rest("POST", "/message:send", sent)
		rest("POST", "/message:stream", sent)
		rest("POST", "/tasks/ID/pushNotificationConfigs", `{"configId":"h","config":{`+config+`}}`)
		rest("GET", "/tasks/ID/pushNotificationConfigs/h", "")
		rest("GET", "/tasks/ID/pushNotificationConfigs", "")
		rest("DELETE", "/tasks/ID/pushNotificationConfigs/h", "")
		return all
	}

	none := requests(theirs[:8] + strings.Repeat("a", 26))
	mine := requests(own[:8] + strings.Repeat("a", 26))
	for name, r := range requests(theirs) {
		calls.Store(0)
		foreign := answered(t, w, r)
		if absent := answered(t, w, none[name]); foreign != absent {
			t.Errorf("%s is told apart:\nforeign %s\nabsent  %s", name, foreign, absent)
		}
		if n := calls.Load(); n != 0 {
			t.Errorf("%s of a foreign task: %d calls of the store", name, n)
		}
		if absent := answered(t, w, mine[name]); foreign != absent || calls.Load() != 1 {
			t.Errorf("%s of an own task that does not exist: %d calls of the store\nforeign %s\nabsent  %s", name, calls.Load(), foreign, absent)
		}
	}
}

// answered is the status, the headers and the body of an answer.
func answered(t *testing.T, h http.Handler, r *http.Request) string {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
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

// whole is the status, the headers and the body of an answer of the binding under test.
func (w *world) whole(t *testing.T, method, params string) string {
	t.Helper()
	return answered(t, w, w.via.request(method, params))
}
