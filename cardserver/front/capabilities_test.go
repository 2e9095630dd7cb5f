package front_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/agent"
	"errand/shared/card"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

// capable is an agent whose definition has these capabilities.
func capable(t testing.TB, can agent.Capabilities) func(*front.Config) {
	return func(c *front.Config) {
		a := *c.Agent
		a.Capabilities = can
		cards, err := card.New(card.Config{Agent: &a, Loopback: true, Modified: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		c.Agent, c.Card = &a, cards
	}
}

// A demand is a request of an operation in each version and binding, in the order of
// everyWayToSend.
type demand struct {
	operation string
	ways      [4]*http.Request
}

// refuses sends every request, each of which must be refused with a code, a status in
// HTTP+JSON, and words that name the capability. Nothing may be stored.
func (w *world) refuses(t *testing.T, code int, capability string, all ...demand) {
	t.Helper()
	before := w.versions(t)
	for _, a := range all {
		for i, y := range everyWayToSend {
			w.via = y.via
			got := w.do(t, a.ways[i])
			if got.code() != code || y.via.name == rest.name && got.status != http.StatusBadRequest {
				t.Errorf("%s in %s is answered %d %s, want %d", a.operation, y.name, got.status, got.body, code)
			} else if !strings.Contains(got.Error.Message, capability) {
				t.Errorf("%s in %s is refused without the reason: %s", a.operation, y.name, got.Error.Message)
			}
		}
	}
	after := w.versions(t)
	if len(after) != len(before) {
		t.Errorf("%d tasks became %d", len(before), len(after))
	}
	for id, version := range before {
		if after[id] != version {
			t.Errorf("task %s was changed", id)
		}
	}
}

// sendings are the requests of a send, or of a stream, with this configuration. %s stands
// there for the name of the field of a webhook.
func sendings(stream bool, configuration string) (all [4]*http.Request) {
	for i, y := range everyWayToSend {
		r := y.request("m", `{"text":"hi"}`, strings.ReplaceAll(configuration, "%s", y.hook))
		if stream {
			body := new(strings.Builder)
			if err := r.Write(body); err != nil {
				panic(err)
			}
			_, text, _ := strings.Cut(body.String(), "\r\n\r\n")
			text = strings.NewReplacer(`"SendMessage"`, `"SendStreamingMessage"`, `"message/send"`, `"message/stream"`).Replace(text)
			r = newRequest(http.MethodPost, strings.ReplaceAll(r.URL.Path, "message:send", "message:stream"), text)
		}
		all[i] = r
	}
	return all
}

// subscriptions are the requests of a subscription to a task.
func subscriptions(id string) [4]*http.Request {
	return [4]*http.Request{
		rpcRequest(subscribe, byID(id)), newRequest(http.MethodPost, "/tasks/"+id+":subscribe", ""),
		rpcRequest("tasks/resubscribe", byID(id)), newRequest(http.MethodGet, "/v1/tasks/"+id+":subscribe", ""),
	}
}

// An agent whose definition switches streaming off says so on its card. It refuses both
// operations in each version and binding, before it looks for a task, and stores nothing. All
// else goes on.
//
// Shows D7, S1.
func TestStreamingSwitchedOff(t *testing.T) {
	w := newWorld(t, shortStreams, capable(t, agent.Capabilities{PushNotifications: true}))
	open, ended := w.insert(anonymous, "open", a2a.TaskStateWorking), w.insert(anonymous, "ended", a2a.TaskStateCompleted)
	if got := w.card(t).Capabilities; got.Streaming || !got.PushNotifications {
		t.Errorf("the card says %+v", got)
	}

	w.refuses(t, -32004, "capabilities.streaming",
		demand{"a stream", sendings(true, "")},
		demand{"a stream with a webhook", sendings(true, `,"%s":{"url":"`+hookURL+`"}`)},
		demand{"a subscription", subscriptions(open.ID())},
		demand{"a subscription to a task that has ended", subscriptions(ended.ID())},
		demand{"a subscription to no task", subscriptions("nobody-has-this")},
	)

	for i, r := range sendings(false, "") {
		w.via = everyWayToSend[i].via
		if got := w.do(t, r); got.code() != 0 {
			t.Errorf("a send in %s is answered %s", everyWayToSend[i].name, got.body)
		}
	}
	w.via = jsonrpc
	w.hook(t, open.ID(), "")
}

// configurings are the requests of the operations on webhooks of a task.
func configurings(id string) []demand {
	old := `{"id":"` + id + `","pushNotificationConfigId":"h"}`
	at := "/tasks/" + id + "/pushNotificationConfigs"
	create := demand{operation: createWebhook}
	for i, y := range everyWayToSend {
		create.ways[i] = y.config(id, `"url":"`+hookURL+`/new"`)
	}

	return []demand{create,
		{getWebhook, [4]*http.Request{
			rpcRequest(getWebhook, `{"taskId":"`+id+`","id":"h"}`), newRequest(http.MethodGet, at+"/h", ""),
			rpcRequest("tasks/pushNotificationConfig/get", old), newRequest(http.MethodGet, "/v1"+at+"/h", ""),
		}},
		{listWebhooks, [4]*http.Request{
			rpcRequest(listWebhooks, `{"taskId":"`+id+`"}`), newRequest(http.MethodGet, at, ""),
			rpcRequest("tasks/pushNotificationConfig/list", byID(id)), newRequest(http.MethodGet, "/v1"+at, ""),
		}},
		{deleteWebhook, [4]*http.Request{
			rpcRequest(deleteWebhook, `{"taskId":"`+id+`","id":"h"}`), newRequest(http.MethodDelete, at+"/h", ""),
			rpcRequest("tasks/pushNotificationConfig/delete", old), newRequest(http.MethodDelete, "/v1"+at+"/h", ""),
		}},
	}
}

// An agent whose definition switches push notifications off says so on its card. It refuses all
// operations on webhooks, and a webhook that comes with a message, in each version and
// binding, and stores nothing. The webhooks from before are still owed what their tasks do.
//
// Shows D7, M29, P1.
func TestPushSwitchedOff(t *testing.T) {
	w := newWorld(t, shortStreams, capable(t, agent.Capabilities{Streaming: true}))
	id := w.insert(anonymous, "m", a2a.TaskStateWorking).ID()
	base.Update(t, w.Store, id, func(r task.Record) (task.Record, bool, error) {
		return r.SetWebhook(w.Moment(), task.Webhook{ID: "h", URL: hookURL})
	})
	if got := w.card(t).Capabilities; !got.Streaming || got.PushNotifications {
		t.Errorf("the card says %+v", got)
	}

	w.refuses(t, -32003, "capabilities.pushNotifications", slices.Concat(configurings(id), configurings("nobody-has-this"), []demand{
		{"a webhook with a message", sendings(false, `,"%s":{"url":"`+hookURL+`"}`)},
		{"a webhook with a message that streams", sendings(true, `,"%s":{"url":"`+hookURL+`"}`)},
		{"a webhook that may not be", sendings(false, `,"%s":{"url":"https://127.0.0.1/"}`)},
	})...)

	for i, r := range sendings(false, "") {
		w.via = everyWayToSend[i].via
		if got := w.do(t, r); got.code() != 0 {
			t.Errorf("a send in %s is answered %s", everyWayToSend[i].name, got.body)
		}
	}

	r := w.end(w.Load(id), a2a.TaskStateCompleted)
	if len(r.Webhooks) != 1 || r.Webhooks[0].State != task.WebhookActive || len(r.Notifications) == 0 {
		t.Errorf("the webhook of before is owed %d notifications: %+v", len(r.Notifications), r.Webhooks)
	}
}
