package front_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/cardserver/front"
	"errand/shared/auth"
	"errand/shared/desk"
	base "errand/shared/lab/world"
	"errand/shared/limits"
	"errand/shared/task"
)

// limited returns a world with limits of its one caller, and the caller's key.
func limited(t *testing.T, text string) (w *world, key string) {
	t.Helper()
	key, hash := auth.NewKey()
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte("principals: [{name: a, keys: ["+hash+"], limits: {"+text+"}}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now() // and it stays, so that a slow machine sends as many requests in a second
	access, err := auth.Load(path, auth.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}

	return newWorld(t, func(c *front.Config) {
		l := limits.New(limits.Config{Of: access.Limits, Holder: c.Store.(task.Holder), Log: c.Log})
		c.Access, c.Limits = access, l
		c.Desk = desk.New(desk.Config{Store: c.Store, Queue: &base.Jobs{}, Rules: task.Defaults(), Now: time.Now, Log: c.Log, Room: l.Admit})
	}), key
}

// Every binding and version answers a message, a stream or a request beyond a limit of the
// caller with 429, the limit's name, and when to come again.
//
// Shows AU11.
func TestLimitsAreAnswered(t *testing.T) {
	message := func(n int) string {
		return fmt.Sprintf(`{"messageId":"m%d","role":"ROLE_USER","parts":[{"text":"hi"}]}`, n)
	}

	message03 := func(n int) string {
		return fmt.Sprintf(`{"kind":"message","messageId":"m%d","role":"user","parts":[{"kind":"text","text":"hi"}]}`, n)
	}

	rpc := func(method, params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	}

	for name, send := range map[string]func(n int) (path, body, version string){
		"JSON-RPC": func(n int) (string, string, string) {
			return "/", rpc("SendMessage", `{"message":`+message(n)+`,"configuration":{"returnImmediately":true}}`), "1.0"
		},
		"HTTP+JSON": func(n int) (string, string, string) {
			return "/message:send", `{"message":` + message(n) + `,"configuration":{"returnImmediately":true}}`, "1.0"
		},
		"JSON-RPC of 0.3": func(n int) (string, string, string) {
			return "/", rpc("message/send", `{"message":`+message03(n)+`,"configuration":{"blocking":false}}`), "0.3"
		},
		"HTTP+JSON of 0.3": func(n int) (string, string, string) {
			return "/v1/message:send", fmt.Sprintf(`{"message":{"messageId":"m%d","role":"ROLE_USER","content":[{"text":"hi"}]},"configuration":{"blocking":false}}`, n), "0.3"
		},
	} {
		for limit, text := range map[string]string{"waiting": "waiting: 6", "requests": "requests: 6/s", "stored": "stored: 1KiB"} {
			t.Run(name+", "+limit, func(t *testing.T) {
				w, key := limited(t, text)
				for n := 1; ; n++ {
					path, body, version := send(n)
					r := newRequest(http.MethodPost, path, body)
					r.Header.Set("X-API-Key", key)
					r.Header.Set("A2A-Version", version)
					res := httptest.NewRecorder()
					w.ServeHTTP(res, r)
					if res.Code == http.StatusOK && n < 10 {
						continue
					}
					if res.Code != http.StatusTooManyRequests || n < 5 || n > 7 {
						t.Errorf("message %d: HTTP %d %s, want 429 at the limit", n, res.Code, res.Body)
					}

					if res.Header().Get("Retry-After") == "" || !strings.Contains(res.Body.String(), "limit "+limit) || !json.Valid(res.Body.Bytes()) {
						t.Errorf("Retry-After %q, %s", res.Header().Get("Retry-After"), res.Body)
					}

					return
				}
			})
		}
	}
}
