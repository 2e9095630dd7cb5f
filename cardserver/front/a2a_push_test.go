package front_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/auth"
)

// A config lives until it is deleted or its task is purged: deleting it at the end of the
// task would lose pending deliveries.
//
// Shows P3.
func TestConfigsLiveWithTheirTask(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		r := w.insert(anonymous, "m", a2a.TaskStateWorking)
		w.hook(t, r.ID(), `"id":"kept"`)
		w.hook(t, r.ID(), `"id":"deleted"`)
		w.end(r, a2a.TaskStateCompleted)
		w.call(t, deleteWebhook, `{"taskId":"`+r.ID()+`","id":"deleted"}`)
		if all, _ := w.configs(t, r.ID(), ""); !slices.Equal(all.ids(), []string{"kept"}) {
			t.Errorf("after the end there are %v", all.ids())
		}
		w.clock.Add((31 * 24 * time.Hour).Milliseconds())
		w.refused(t, listWebhooks, `{"taskId":"`+r.ID()+`"}`, -32001, "")
	})
}

// Shows P4.
func TestConfigsNeedATask(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		theirs := w.insert("other", "m", a2a.TaskStateWorking).ID()
		for _, id := range []string{"nobody-has-this", theirs} {
			w.refused(t, createWebhook, `{"taskId":"`+id+`","id":"h","url":"`+hookURL+`"}`, -32001, "")
			w.refused(t, getWebhook, `{"taskId":"`+id+`","id":"h"}`, -32001, "")
			w.refused(t, listWebhooks, `{"taskId":"`+id+`"}`, -32001, "")
			w.refused(t, deleteWebhook, `{"taskId":"`+id+`","id":"h"}`, -32001, "")
		}
		if r := w.Load(theirs); len(r.Webhooks) != 0 {
			t.Errorf("another's task has hooks %+v", r.Webhooks)
		}
	})
}

// A scheme of authentication that Errand cannot perform is refused at once, in upper or lower
// case. Others are kept as the client spelt them.
//
// Shows P10, decision 20.
func TestAuthenticationOfWebhooksIsChecked(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
		config := func(auth string) string {
			return `{"taskId":"` + id + `","id":"h","url":"` + hookURL + `","authentication":` + auth + `}`
		}

		for _, scheme := range []string{"Bearer", "bEARER", "basic", "BASIC"} {
			got := into[map[string]any](w.call(t, createWebhook, config(`{"scheme":"`+scheme+`","credentials":"czNjcmV0OnMzY3JldA=="}`)))
			h := w.Load(id).Webhooks[0]
			if h.Scheme != scheme || w.unsealed(t, h).Credentials != "czNjcmV0OnMzY3JldA==" || got["authentication"].(map[string]any)["scheme"] != scheme {
				t.Errorf("%s is stored as %+v and answered as %v", scheme, h, got)
			}
		}

		for auth, field := range map[string]string{
			`{"scheme":"Digest","credentials":"x"}`: "authentication.scheme", `{"scheme":"HOBA","credentials":"x"}`: "authentication.scheme",
			`{"credentials":"x"}`: "authentication.scheme", `{"scheme":"Google-ID-Token"}`: "authentication.scheme",
			`{"scheme":"Basic","credentials":""}`: "authentication.credentials", `{"scheme":"Bearer","credentials":"a\nb"}`: "authentication.credentials",
		} {
			w.refused(t, createWebhook, config(auth), -32602, field)
		}

		if got := w.call(t, createWebhook, config(`{"scheme":"Bearer"}`)); got.code() != 0 {
			t.Errorf("Bearer without credentials asks for a token of ours: %s", got.body)
		}
		if h := w.Load(id).Webhooks[0]; h.Scheme != "Bearer" || h.Sealed != "" {
			t.Errorf("Bearer without credentials is stored as %+v", h)
		}
	})
}

// An ID token says which program sends, and not for which owner. So it goes only to the
// origins that the access file gives to the owner, and the refusal names the remedy.
func TestIDTokensNeedAnOrigin(t *testing.T) {
	key, hash := auth.NewKey()
	other, otherHash := auth.NewKey()
	path := filepath.Join(t.TempDir(), "access.yaml")
	text := "principals:\n- {name: a, keys: [" + hash + "], idTokens: ['https://hooks.example.com']}\n- {name: b, keys: [" + otherHash + "]}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	access, err := auth.Load(path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}

	for _, account := range []bool{true, false} {
		w := newWorld(t, func(c *front.Config) { c.Access, c.IDTokens = access, account })
		for _, row := range []struct {
			owner, key, url string
			want            bool
		}{
			{"a", key, "https://hooks.example.com/x?y", true},
			{"a", key, "https://HOOKS.example.com:443/", true},
			{"a", key, "https://hooks.example.com:8443/", false},
			{"a", key, "https://other.example.com/", false},
			{"b", other, "https://hooks.example.com/x?y", false},
		} {
			id := w.insert(row.owner, row.url, a2a.TaskStateSubmitted).ID()
			r := newRequest("POST", "/", request(createWebhook, `{"taskId":"`+id+`","url":"`+row.url+`","authentication":{"scheme":"google-id-token"}}`))
			r.Header.Set("X-API-Key", row.key)
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)

			stored := len(w.Load(id).Webhooks) == 1
			if want := row.want && account; stored != want {
				t.Errorf("%s at %s, with an account %v: stored %v, want %v: %s", row.owner, row.url, account, stored, want, rec.Body)
			}
			if remedy := "to the idTokens of your principal"; !stored && account && !strings.Contains(rec.Body.String(), remedy) {
				t.Errorf("%s at %s: the refusal does not say %q: %s", row.owner, row.url, remedy, rec.Body)
			}
		}
	}
}

// A URL has one config on a task. Another id for it is refused. A config without an id is the
// one of its URL, and an inline config may come again with its message.
//
// Shows P2.
func TestOneConfigPerURL(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
		at := func(fields string) string { return `{"taskId":"` + id + `","url":"` + hookURL + `"` + fields + `}` }

		w.call(t, createWebhook, at(`,"id":"one"`))
		w.refused(t, createWebhook, at(`,"id":"two"`), -32602, "taskPushNotificationConfig")
		w.call(t, createWebhook, `{"taskId":"`+id+`","id":"two","url":"`+hookURL+`/2"}`)
		w.refused(t, createWebhook, at(`,"id":"two"`), -32602, "taskPushNotificationConfig")

		before := w.Load(id).Version
		if got := into[config](w.call(t, createWebhook, at(""))); got.ID != "one" || w.Load(id).Version != before {
			t.Errorf("the same URL without an id is answered %+v", got)
		}
		got := into[config](w.call(t, createWebhook, at(`,"token":"tok"`)))
		if h := w.Load(id).Webhooks; got.ID != "one" || len(h) != 2 || w.unsealed(t, h[0]).Token != "tok" {
			t.Errorf("with a token it is answered %+v and stored as %+v", got, h)
		}

		inline := func(fields string) string {
			return configured(message("n", ""), `"returnImmediately":true,"taskPushNotificationConfig":{"url":"`+hookURL+`"`+fields+`}`)
		}
		sent := w.call(t, send, inline(`,"id":"mine"`)).task().ID
		for _, again := range []string{`,"id":"mine"`, ""} {
			if got := w.call(t, send, inline(again)); got.code() != 0 || got.task().ID != sent || len(w.Load(sent).Webhooks) != 1 {
				t.Errorf("sent again with %q: %s, and stored %+v", again, got.body, w.Load(sent).Webhooks)
			}
		}
		w.refused(t, send, inline(`,"id":"other"`), -32602, "taskPushNotificationConfig")
	})
}

// In 0.3 too a URL has one config on a task, by its method, its path and with a message.
//
// Shows P2.
func TestOneConfigPerURLIn03(t *testing.T) {
	w := newWorld(t)
	id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
	config := func(id string) string { return `"pushNotificationConfig":{"id":"` + id + `","url":"` + hookURL + `"}` }
	for _, row := range []struct {
		name string
		make func(hook string) *http.Request
	}{
		{"set", func(hook string) *http.Request {
			return newRequest("POST", "/", request("tasks/pushNotificationConfig/set", `{"taskId":"`+id+`",`+config(hook)+`}`))
		}},
		{"over HTTP+JSON", func(hook string) *http.Request {
			return newRequest("POST", "/v1/tasks/"+id+"/pushNotificationConfigs", `{"configId":"`+hook+`","config":{`+config(hook)+`}}`)
		}},
		{"inline", func(hook string) *http.Request {
			return newRequest("POST", "/", request("message/send", `{"message":{"messageId":"n`+hook+`","taskId":"`+id+`","role":"user","parts":[{"kind":"text","text":"hi"}]},
				"configuration":{"blocking":false,`+config(hook)+`}}`))
		}},
		{"inline over HTTP+JSON", func(hook string) *http.Request {
			return newRequest("POST", "/v1/message:send", `{"message":{"messageId":"r`+hook+`","taskId":"`+id+`","role":"ROLE_USER","content":[{"text":"hi"}]},
				"configuration":{"blocking":false,"pushNotification":{"id":"`+hook+`","url":"`+hookURL+`"}}}`)
		}},
	} {
		if got := answered(t, w, row.make("one")); strings.Contains(got, `"error"`) {
			t.Errorf("%s: the config is refused: %s", row.name, got)
		}
		if got := answered(t, w, row.make("two")); !strings.Contains(got, "has the URL of another one of this task") {
			t.Errorf("%s: another id for the URL is answered %s", row.name, got)
		}
		if h := w.Load(id).Webhooks; len(h) != 1 || h[0].ID != "one" {
			t.Errorf("%s: stored are %+v", row.name, h)
		}
	}
}

// The URL of a webhook is checked at its registration, by all three ways to register one.
//
// Shows P17, P18.
func TestURLsOfWebhooksAreChecked(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
		for _, u := range []string{
			"http://hooks.example.com/", "https://127.0.0.1/", "https://10.1.2.3/", "https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/",
			"https://[::1]/", "https://localhost/", "https://metadata.google.internal/", "https://hooks.example.com:22/", "https://u:p@hooks.example.com/",
		} {
			inline := `"taskPushNotificationConfig":{"url":"` + u + `"}`
			w.refused(t, createWebhook, `{"taskId":"`+id+`","url":"`+u+`"}`, -32602, "url")
			w.refused(t, send, configured(message("n", ""), inline), -32602, "configuration.taskPushNotificationConfig.url")
			w.refused(t, streaming, configured(message("n", ""), inline), -32602, "configuration.taskPushNotificationConfig.url")
		}
	})
}

// A webhook that is registered after the end gets the whole task once. The same id is the
// same config, also with another URL.
//
// Shows decision 22.
func TestConfigOfAnEndedTaskDeliversOnce(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		id := w.insert(anonymous, "m", a2a.TaskStateCompleted).ID()
		for _, path := range []string{"/1", "/2"} {
			w.call(t, createWebhook, `{"taskId":"`+id+`","id":"h","url":"`+hookURL+path+`"}`)
			r := w.Load(id)
			if len(r.Webhooks) != 1 || !strings.HasSuffix(r.Webhooks[0].URL, path) {
				t.Fatalf("hooks are %+v", r.Webhooks)
			}
			h := r.Webhooks[0]
			if due := r.Behind(w.now()); len(due) != 1 || h.Snapshot != len(r.Notifications) || h.Cursor != len(r.Notifications)-1 {
				t.Errorf("hook %+v of a task with %d notes", h, len(r.Notifications))
			}
		}
	})
}

// A config that was made in 0.3 is answered in the form of 0.3, and later its webhook is
// called in that form.
//
// Shows P22.
func TestConfigsOf03(t *testing.T) {
	w := newWorld(t)
	id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
	const hook = `{"id":"ID","url":"` + hookURL + `","token":"tok","authentication":{"schemes":["Bearer","Basic"],"credentials":"c"}}`
	rpc := `{"taskId":"` + id + `","pushNotificationConfig":` + strings.Replace(hook, "ID", "rpc", 1) + `}`
	inline := `{"message":{"messageId":"n","role":"user","parts":[{"kind":"text","text":"hi"}]},"configuration":{"blocking":false,"pushNotificationConfig":` +
		strings.Replace(hook, "ID", "inline", 1) + `}}`
	for name, r := range map[string]string{"rpc": request("tasks/pushNotificationConfig/set", rpc), "inline": request("message/send", inline)} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, newRequest("POST", "/", r))

		var got struct {
			Result struct {
				ID, TaskID, Kind       string
				PushNotificationConfig struct {
					ID             string
					Authentication struct{ Schemes []string }
				}
			}
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != 200 {
			t.Fatalf("%s: %d %s", name, rec.Code, rec.Body)
		}

		of := id
		if name == "inline" {
			of = got.Result.ID
		} else if c := got.Result.PushNotificationConfig; c.ID != "rpc" || !slices.Equal(c.Authentication.Schemes, []string{"Bearer"}) {
			t.Errorf("answered %s", rec.Body)
		}

		if h, ok := w.Load(of).Webhook(name); !ok || h.Dialect != "0.3" || h.Scheme != "Bearer" || w.unsealed(t, h).Token != "tok" {
			t.Errorf("%s is stored as %+v", name, h)
		}
	}

	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, newRequest("POST", "/v1/tasks/"+id+"/pushNotificationConfigs", `{"configId":"rest","config":{"pushNotificationConfig":{"url":"`+hookURL+`/2"}}}`))
	if h, ok := w.Load(id).Webhook("rest"); rec.Code != 200 || !ok || h.Dialect != "0.3" {
		t.Errorf("over HTTP+JSON: %d %s, %+v", rec.Code, rec.Body, h)
	}
	if w.hook(t, id, `"id":"new"`); w.Load(id).Webhooks[2].Dialect != "" {
		t.Errorf("a config of 1.0 is stored as %+v", w.Load(id).Webhooks[2])
	}
}
