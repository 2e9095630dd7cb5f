package front_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/cardserver/front"
	"errand/shared/auth"
)

// A roster is an access file that a test changes, with a clock that the test moves.
type roster struct {
	t      testing.TB
	path   string
	ahead  atomic.Int64 // nanoseconds
	access *auth.Access
}

func newRoster(t testing.TB, text string) *roster {
	r := &roster{t: t, path: filepath.Join(t.TempDir(), "access.yaml")}
	r.write(text)
	access, err := auth.Load(r.path, auth.Options{Now: func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	r.access = access
	return r
}

func (r *roster) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// change writes another file, and has it read.
func (r *roster) change(text string) {
	r.t.Helper()
	r.write(text)
	r.ahead.Add(int64(30 * time.Second))
	r.access.Schemes()
}

func (r *roster) edit(c *front.Config) { c.Access = r.access }

// Streams and waits end when the access file no longer has their key, and the last word
// says why. Those of others go on.
//
// Shows AU9.
func TestStreamsOfRemovedKeysEnd(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		gone, goneHash := auth.NewKey()
		stays, staysHash := auth.NewKey()
		other := "  - {name: bob, keys: [" + staysHash + "]}\n"
		r := newRoster(t, "principals:\n  - {name: other, keys: ["+goneHash+"]}\n"+other)
		w := b.world(t, r.edit)
		begin := func(operation, params, key string) *stream {
			req := b.request(operation, params)
			bearer(key)(req)
			return w.follow(req, nil)
		}

		id := w.insert("other", "m", a2a.TaskStateWorking).ID()
		theirs := w.insert("bob", "m", a2a.TaskStateWorking)
		sent := begin(streaming, `{"message":`+message("m2", "")+`}`, gone)
		watched, goes := begin(subscribe, byID(id), gone), begin(subscribe, byID(theirs.ID()), stays)
		for _, s := range []*stream{sent, watched, goes} {
			s.await(t, 1)
		}
		waits := begin(send, `{"message":`+message("m3", "")+`}`, gone)
		for end := time.Now().Add(time.Minute); len(w.versions(t)) < 3; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the message is not accepted")
			}
		}

		r.change("principals:\n" + other)
		for name, s := range map[string]*stream{"sent": sent, "subscribed": watched} {
			all := s.ended(t)
			if all[len(all)-1] != "error -31401" || !strings.Contains(s.text(), "its caller is no longer in the access file") {
				t.Errorf("%s: %v\n%s", name, all, s.text())
			}
		}
		waits.over(t)
		if waits.status != http.StatusUnauthorized || !strings.Contains(waits.text(), "no longer in the access file") || waits.header.Get("WWW-Authenticate") == "" {
			t.Errorf("the wait: %d %v %s", waits.status, waits.header, waits.text())
		}

		w.end(theirs, a2a.TaskStateCompleted)
		if diff := cmp.Diff([]string{"task WORKING", "COMPLETED"}, goes.ended(t)); diff != "" {
			t.Errorf("another's stream (-want +got):\n%s", diff)
		}
	})
}

// A stream whose key lost a right ends too.
func TestStreamsOfReducedKeysEnd(t *testing.T) {
	key, hash := auth.NewKey()
	r := newRoster(t, "principals: [{name: alice, keys: ["+hash+"]}]")
	w := newWorld(t, r.edit)
	req := jsonrpc.request(subscribe, byID(w.insert("alice", "m", a2a.TaskStateWorking).ID()))
	bearer(key)(req)
	s := w.follow(req, nil)
	s.await(t, 1)
	r.change("principals: [{name: alice, keys: [{hash: " + hash + ", may: [send]}]}]")
	if all := s.ended(t); all[len(all)-1] != "error -31403" || !strings.Contains(s.text(), "rights of the API key were reduced") {
		t.Errorf("%v\n%s", all, s.text())
	}
}

// A webhook that comes with a message needs the right of webhooks beside that of messages.
func TestInlineWebhookNeedsItsRight(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		key, hash := auth.NewKey()
		both, bothHash := auth.NewKey()
		r := newRoster(t, "principals: [{name: other, keys: [{hash: "+hash+", may: [send]}, {hash: "+bothHash+", may: [send, webhooks]}]}]")
		w := b.world(t, r.edit)
		inline := func(id string) string {
			return configured(message(id, ""), `"returnImmediately":true,"taskPushNotificationConfig":{"url":"`+hookURL+`"}`)
		}
		if got := w.call(t, send, inline("m1"), bearer(key)); got.status != 403 || !strings.Contains(got.body, "webhooks") || len(w.versions(t)) != 0 {
			t.Errorf("without the right: %d %s", got.status, got.body)
		}
		if got := w.call(t, send, sending(message("m2", "")), bearer(key)); got.code() != 0 {
			t.Errorf("without a webhook: %s", got.body)
		}
		if got := w.call(t, send, inline("m3"), bearer(both)); got.code() != 0 {
			t.Errorf("with the right: %s", got.body)
		}
	})
}

// A lineLog keeps lines of JSON.
type lineLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns the audit lines since the last call, as text.
func (l *lineLog) take() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, `"logger":"audit"`) {
			all = append(all, line)
		}
	}
	l.b.Reset()
	return all
}

// The audit log names caller, key, operation and task, and has no text of a client: neither
// content nor ids of the client's choice, URLs, queries, headers or credentials.
func TestAuditHasNoContent(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		edit, keys := guarded(t, "alice", "bob")
		log := &lineLog{}
		w := b.world(t, edit, func(c *front.Config) { c.Log = slog.New(slog.NewJSONHandler(log, nil)) })
		mine := w.insert("alice", "m", a2a.TaskStateInputRequired).ID()
		theirs := w.insert("bob", "m", a2a.TaskStateInputRequired).ID()
		key := keys["alice"]

		lines := func(operation, params, key string, task string, status int, want int) {
			t.Helper()
			req := b.request(operation, params)
			req.URL.RawQuery = strings.TrimPrefix(req.URL.RawQuery+"&x=canary-query", "&")
			req.Header.Set("User-Agent", "canary-agent")
			if key != "" {
				bearer(key)(req)
			}
			w.do(t, req)
			all := log.take()
			if len(all) != want {
				t.Errorf("%s: %d lines, want %d: %v", operation, len(all), want, all)
			}

			for _, text := range all {
				var line struct {
					Caller, Via, Operation, Task string
					Status                       int
				}
				if err := json.Unmarshal([]byte(text), &line); err != nil {
					t.Fatal(err)
				}

				if line.Status != status || task != "any" && line.Task != task || (line.Caller == "alice") != (status != 401) || (line.Operation == operation) == (status == 401 && b.name == jsonrpc.name) {
					t.Errorf("%s: %s, want status %d, task %q", operation, text, status, task)
				}

				for _, bad := range []string{"canary", "hooks.example.com", "errand_", keys["alice"][20:], wrongKey[20:]} {
					if strings.Contains(strings.ToLower(text), bad) {
						t.Errorf("%s: the line has %s: %s", operation, bad, text)
					}
				}
			}
		}

		said := func(id, fields string) string {
			return configured(message(id, `"parts":[{"text":"canary-text"}],"metadata":{"canary":"canary"}`+fields),
				`"returnImmediately":true,"taskPushNotificationConfig":{"id":"canary-hook","url":"https://hooks.example.com/canary","token":"canary-token"}`)
		}
		hook := func(id string) string {
			return `{"taskId":"` + id + `","id":"canary-hook","url":"https://hooks.example.com/canary","authentication":{"scheme":"Bearer","credentials":"canary-credentials"}}`
		}

		lines(send, said("canary-message", ""), key, "any", 200, 1)
		lines(send, said("canary-follow", `,"taskId":"`+mine+`"`), key, mine, 200, 1)
		lines(send, said("canary-nobody", `,"taskId":"canary-task"`), key, "", 404, 1)
		lines(createWebhook, hook(mine), key, mine, 200, 1)
		lines(createWebhook, hook(theirs), key, theirs, 404, 1)
		lines(createWebhook, hook("canary-task"), key, "", 404, 1)

		lines(getWebhook, `{"taskId":"`+mine+`","id":"canary-hook"}`, key, mine, 200, 0)
		lines(listWebhooks, `{"taskId":"`+mine+`"}`, key, mine, 200, 0)
		lines(deleteWebhook, `{"taskId":"`+mine+`","id":"canary-hook"}`, key, mine, 200, 1)
		lines("GetTask", byID(mine), key, mine, 200, 0)
		lines("GetTask", byID(theirs), key, theirs, 404, 0)
		lines("ListTasks", "{}", key, "", 200, 0)
		lines("CancelTask", byID(mine), key, mine, 200, 1)
		lines("CancelTask", byID(mine), key, mine, 400, 1)
		lines("CancelTask", byID("canary-task"), key, "", 404, 1)
		lines("CancelTask", byID(mine), "", "", 401, 1)
		lines("GetTask", byID(mine), wrongKey, "", 401, 1)
	})
}

// A message that streams its answer has its line when it is accepted, and a stream that is
// ended because of its caller has one of its own.
func TestAuditOfStreams(t *testing.T) {
	key, hash := auth.NewKey()
	_, other := auth.NewKey()
	r := newRoster(t, "principals: [{name: other, keys: ["+hash+"]}]")
	log := &lineLog{}
	w := newWorld(t, r.edit, func(c *front.Config) { c.Log = slog.New(slog.NewJSONHandler(log, nil)) })
	req := jsonrpc.request(streaming, `{"message":`+message("m", "")+`}`)
	bearer(key)(req)
	s := w.follow(req, nil)
	s.await(t, 1)
	id := w.onlyTask(t)
	if all := log.take(); len(all) != 1 || !strings.Contains(all[0], `"status":200`) || !strings.Contains(all[0], fmt.Sprintf(`"task":%q`, id)) {
		t.Errorf("when the message is accepted: %v", all)
	}
	r.change("principals: [{name: other, keys: [" + other + "]}]")
	s.over(t)
	if all := log.take(); len(all) != 1 || !strings.Contains(all[0], `"status":401`) || !strings.Contains(all[0], "no longer in the access file") {
		t.Errorf("when the stream is ended: %v", all)
	}
}
