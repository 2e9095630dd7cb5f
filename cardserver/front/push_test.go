package front_test

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	base "errand/shared/lab/world"
	"errand/shared/task"
	"errand/shared/webhook"
)

const (
	createWebhook = "CreateTaskPushNotificationConfig"
	getWebhook    = "GetTaskPushNotificationConfig"
	listWebhooks  = "ListTaskPushNotificationConfigs"
	deleteWebhook = "DeleteTaskPushNotificationConfig"
	hookURL       = "https://hooks.example.com/x"
)

type config struct {
	ID     string `json:"id"`
	TaskID string `json:"taskId"`
	URL    string `json:"url"`
	Auth   *struct {
		Scheme      string `json:"scheme"`
		Credentials string `json:"credentials"`
	} `json:"authentication"`
}

type configs []config

func (all configs) ids() []string {
	var ids []string
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	return ids
}

// ownID is the id among the fields of a config.
var ownID = regexp.MustCompile(`"id":"([^"]*)"`)

// hook creates a config of a task with these fields beside a URL. Each id has a URL of its
// own.
func (w *world) hook(t testing.TB, id, fields string) config {
	t.Helper()
	url := hookURL
	if m := ownID.FindStringSubmatch(fields); m != nil {
		url += "/" + m[1]
	}
	if fields != "" {
		fields = "," + fields
	}
	return into[config](w.call(t, createWebhook, `{"taskId":"`+id+`","url":"`+url+`"`+fields+`}`))
}

func (w *world) configs(t testing.TB, id, fields string) (configs, string) {
	t.Helper()
	type list struct {
		Configs   configs `json:"configs"`
		NextToken string  `json:"nextPageToken"`
	}
	l := into[list](w.call(t, listWebhooks, `{"taskId":"`+id+`"`+fields+`}`))
	return l.Configs, l.NextToken
}

// unsealed are the secrets of an anonymous caller's webhook, as its receiver is sent them.
func (w *world) unsealed(t testing.TB, h task.Webhook) webhook.Secrets {
	t.Helper()
	h.Ping = time.Now()
	q, err := webhook.Prepare(base.Ring(t, w.keys), "", h.Ping, task.Record{Owner: anonymous, Task: &a2a.Task{ID: "t"}}, h)
	if err != nil {
		t.Fatal(err)
	}
	_, credentials, _ := strings.Cut(q.Header.Get("Authorization"), " ")
	return webhook.Secrets{Token: q.Header.Get("A2A-Notification-Token"), Credentials: credentials}
}

// A config gets an id and keeps its settings. Its secrets never come back.
//
// Shows P2, P5.
func TestConfigsAreKept(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
		const secret = `"token":"s3cret","authentication":{"scheme":"Bearer","credentials":"s3cret"}`
		one := w.hook(t, id, secret)
		if one.ID == "" || one.TaskID != id || one.URL != hookURL || one.Auth == nil || one.Auth.Scheme != "Bearer" {
			t.Errorf("created %+v", one)
		}
		if again := w.hook(t, id, secret); again.ID != one.ID {
			t.Errorf("the same config again is another one: %+v", again)
		}

		two := w.hook(t, id, `"id":"two"`)
		for _, want := range []config{one, two} {
			if diff := cmp.Diff(want, into[config](w.call(t, getWebhook, `{"taskId":"`+id+`","id":"`+want.ID+`"}`))); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		}

		all, _ := w.configs(t, id, "")
		if diff := cmp.Diff(configs{one, two}, all); diff != "" {
			t.Errorf("configurations (-want +got):\n%s", diff)
		}

		for _, body := range []string{
			w.call(t, listWebhooks, `{"taskId":"`+id+`"}`).body, w.call(t, getWebhook, `{"taskId":"`+id+`","id":"`+one.ID+`"}`).body,
			w.call(t, createWebhook, `{"taskId":"`+id+`","url":"`+hookURL+`",`+secret+`}`).body, w.call(t, "GetTask", byID(id)).body,
		} {
			if strings.Contains(body, "s3cret") {
				t.Errorf("an answer holds a secret: %s", body)
			}
		}

		if got, want := w.unsealed(t, w.Load(id).Webhooks[0]), (webhook.Secrets{Token: "s3cret", Credentials: "s3cret"}); got != want {
			t.Errorf("the hook's secrets are %+v, want %+v", got, want)
		}
		if text := fmt.Sprintf("%+v", w.Load(id).Webhooks); strings.Contains(text, "s3cret") {
			t.Errorf("secrets are stored as they are: %s", text)
		}
	})
}

// A missing config is answered like a missing task. A deletion is final, and repeating it
// changes nothing.
//
// Shows P5, P7.
func TestDeletedConfigIsGone(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
		c := w.hook(t, id, "")
		name := `{"taskId":"` + id + `","id":"` + c.ID + `"}`
		for range 2 {
			want := map[string]string{jsonrpc.name: "null", rest.name: "{}"}[b.name] // a response of JSON-RPC needs a result
			if got := w.call(t, deleteWebhook, name); string(got.Result) != want {
				t.Errorf("deleted: %s", got.body)
			}
		}
		if got := w.call(t, getWebhook, name); got.code() != -32001 {
			t.Errorf("P5: %s", got.body)
		}
		none := into[map[string]any](w.call(t, listWebhooks, `{"taskId":"`+id+`"}`))
		if list, ok := none["configs"].([]any); !ok || len(list) != 0 {
			t.Errorf("no configs: %v, want an empty list", none)
		}
	})
}

// An inline config becomes one of the task's. If the task has ended, as a repeated message
// shows, its webhook gets the task.
//
// Shows M29, decision 22.
func TestInlineConfigIsKept(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		inline := configured(message("m", ""), `"returnImmediately":true,"taskPushNotificationConfig":{"url":"`+hookURL+`"}`)
		id := w.call(t, send, inline).task().ID
		if all, _ := w.configs(t, id, ""); len(all) != 1 || all[0].URL != hookURL || all[0].TaskID != id {
			t.Errorf("configs are %+v", all)
		}
		w.end(w.claim(id), a2a.TaskStateCompleted)
		more := strings.Replace(inline, hookURL, hookURL+"/2", 1)
		for range 2 {
			if got := w.call(t, send, more).task(); got.ID != id {
				t.Errorf("the same message made %s, want %s", got.ID, id)
			}
		}
		if r := w.Load(id); len(r.Webhooks) != 2 || len(r.Behind(w.now())) != 2 || r.Webhooks[1].Snapshot == 0 {
			t.Errorf("hooks are %+v", r.Webhooks)
		}
	})
}

// The webhooks of a task are bounded together, and the error names them as the reason.
func TestWebhooksAreBoundedTogether(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
		large := base64.StdEncoding.EncodeToString([]byte("u:" + strings.Repeat("x", 3070)))
		for i := range 10 {
			got := w.call(t, createWebhook, `{"taskId":"`+id+`","url":"`+hookURL+`/`+large[:i+2000]+`","token":"`+large+`","authentication":{"scheme":"Basic","credentials":"`+large+`"}}`)
			if got.Error == nil {
				continue
			}
			if got.code() != -32602 || got.field() != "taskPushNotificationConfig" {
				t.Errorf("got %s", got.body)
			}
			return
		}
		t.Error("ten hooks of 10 KiB were taken")
	})
}
