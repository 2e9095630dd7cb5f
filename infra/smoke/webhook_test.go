package smoke_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/infra/smoke"
)

// A post is one webhook as an agent sends it.
type post struct {
	id, token, body string
}

// posting is in front of an agent's JSON-RPC. It takes the webhook out of a message and
// sends the test's posts to it.
func posting(t *testing.T, posts []post) func(http.Handler) http.HandlerFunc {
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	return func(h http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}

			var sent struct {
				Params struct {
					Configuration struct {
						Webhook *a2a.PushConfig `json:"taskPushNotificationConfig"`
					} `json:"configuration"`
				} `json:"params"`
			}
			if err := json.Unmarshal(body, &sent); err != nil {
				t.Error(err)
			}

			hook := sent.Params.Configuration.Webhook
			r.Body = io.NopCloser(bytes.NewReader(body))

			if hook == nil {
				h.ServeHTTP(w, r)
				return
			}

			own := hook.URL
			r.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(body, []byte(own), []byte("http://127.0.0.1:1/"))))
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			var made struct{ Result struct{ Task a2a.Task } }
			if err := json.Unmarshal(rec.Body.Bytes(), &made); err != nil {
				t.Error(err)
			}

			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(rec.Body.Bytes())
			all.Go(func() { send(t, own, hook.Token, made.Result.Task, posts) })
		}
	}
}

func send(t *testing.T, url, token string, task a2a.Task, posts []post) {
	for _, p := range posts {
		body := strings.NewReplacer("{id}", string(task.ID)).Replace(p.body)
		req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Webhook-Id", p.id)
		req.Header.Set("X-A2A-Notification-Token", token+p.token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return // the listener is closed
		}
		_ = resp.Body.Close()
	}
}

func update(state string) string {
	return fmt.Sprintf(`{"statusUpdate":{"taskId":"{id}","contextId":"c","status":{"state":"TASK_STATE_%s"}}}`, state)
}

const artifact = `{"artifactUpdate":{"taskId":"{id}","contextId":"c","artifact":{"artifactId":"a","parts":[{"text":"x"}]}}}`

const (
	patience = 2 * time.Minute // for an event that is certain to come
	shortly  = 2 * time.Second // for an event that must not come, except for one request
)

func TestWebhooks(t *testing.T) {
	for _, row := range []struct {
		name  string
		posts []post
		waits bool // waits for a webhook that does not come
		want  []string
	}{
		{"in order", []post{{"T/1", "", artifact}, {"T/2", "", update("COMPLETED")}}, false, []string{"ok   webhook", "2 came, in order, the last says COMPLETED"}},
		{"without ids", []post{{"", "", update("WORKING")}, {"", "", update("COMPLETED")}}, false, []string{"ok   webhook", "2 came"}},
		{"twice", []post{{"T/1", "", artifact}, {"T/2", "", update("COMPLETED")}, {"T/2", "", update("COMPLETED")}}, false, []string{"note webhook", "1 webhooks came more than once"}},
		{"the end twice", []post{{"", "", update("COMPLETED")}, {"", "", update("COMPLETED")}}, false, []string{"note webhook", "the end was sent 2 times"}},
		{"out of order", []post{{"T/2", "", update("COMPLETED")}, {"T/1", "", artifact}}, false, []string{"FAIL webhook", "out of order"}},
		{"back to work", []post{{"", "", update("COMPLETED")}, {"", "", update("WORKING")}}, false, []string{"FAIL webhook", "out of order: WORKING after the end"}},
		{"unreadable", []post{{"T/1", "", `{"id":"{id}"}`}}, false, []string{"FAIL webhook", "cannot be read", "-> a webhook of A2A 1.0 is a StreamResponse"}},
		{"about another task", []post{{"T/1", "", strings.ReplaceAll(update("COMPLETED"), "{id}", "other")}}, true, []string{"FAIL webhook", "no webhook about it came within 2s (0 other webhooks came)", "-> the address works from here", "log of functions"}},
		{"with another token", []post{{"T/1", "x", update("COMPLETED")}}, true, []string{"FAIL webhook", "1 requests came without the token", "-> a proxy in between must leave"}},
		{"none", nil, true, []string{"FAIL webhook", "-> the address works from here", "errand-deliveries"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // they wait for webhooks that must not come
			s := agent{run: ends(a2a.TaskStateCompleted), rpc: posting(t, row.posts)}.start(t)
			listen := freeAddress(t)
			config := smoke.Config{URL: s.URL, Webhook: "http://" + listen + "/hook", Listen: listen, Timeout: patience}
			if row.waits {
				config.Timeout = shortly
			}

			report, err := try(t, config)
			says(t, report, row.want...)
			if failed := strings.Contains(row.want[0], "FAIL"); failed != (err != nil) {
				t.Errorf("Run = %v", err)
			}
		})
	}
}

// A forward to another server is told apart from an agent that does not deliver.
func TestWebhookThatIsNotForwarded(t *testing.T) {
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	s := agent{run: ends(a2a.TaskStateCompleted)}.start(t)
	report, err := try(t, smoke.Config{URL: s.URL, Webhook: elsewhere.URL, Listen: freeAddress(t), Timeout: shortly})
	if err == nil {
		t.Error("Run = nil, want an error")
	}
	says(t, report, "FAIL webhook", "did not arrive either: another server answered it, with 404", "-> have "+elsewhere.URL+" forwarded to 127.0.0.1:")
	taken := strings.TrimPrefix(elsewhere.URL, "http://")
	report, _ = try(t, smoke.Config{URL: s.URL, Webhook: elsewhere.URL, Listen: taken})
	says(t, report, "FAIL webhook", "cannot listen for webhooks", "-> name a free address")
}

// An agent may declare no push notifications, or declare them without having them.
func TestNoPushNotifications(t *testing.T) {
	s := agent{run: ends(a2a.TaskStateCompleted), card: func(c *a2a.AgentCard) { c.Capabilities = a2a.AgentCapabilities{} }}.start(t)
	report, err := try(t, smoke.Config{URL: s.URL})
	if err != nil {
		t.Errorf("Run = %v", err)
	}

	says(t, report, "skip stream", "declares no streaming", "skip webhook", "declares no push notifications")

	s = agent{run: ends(a2a.TaskStateCompleted), rpc: func(h http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			var asked struct{ ID, Method string }
			if err := json.Unmarshal(body, &asked); err != nil {
				t.Error(err)
			}

			if asked.Method == "CreateTaskPushNotificationConfig" {
				_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%q,"error":{"code":-32003,"message":"no"}}`, asked.ID)
				return
			}

			r.Body = io.NopCloser(bytes.NewReader(body))
			h.ServeHTTP(w, r)
		}
	}}.start(t)

	report, err = try(t, smoke.Config{URL: s.URL})
	if err != nil {
		t.Errorf("Run = %v", err)
	}

	says(t, report, "skip configs", "has no push notifications, although its card declares them", "skip guard")
}
