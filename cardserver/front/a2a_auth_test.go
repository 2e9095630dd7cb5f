package front_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"

	"errand/cardserver/front"
	"errand/shared/auth"
	"errand/shared/card"
	base "errand/shared/lab/world"
)

// guarded makes the front door ask for API keys, and returns one of each principal.
func guarded(t testing.TB, principals ...string) (edit func(*front.Config), keys map[string]string) {
	t.Helper()
	access, keys := base.Access(t, principals...)
	return func(c *front.Config) {
		schemes, required := access.Schemes()
		cards, err := card.New(card.Config{Agent: c.Agent, Security: card.Security{Schemes: schemes, Required: required}, Modified: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		c.Access, c.Card = access, cards
	}, keys
}

func bearer(key string) func(*http.Request) { return with("Authorization", "Bearer "+key) }

// Every operation identifies its caller before it reads the request, and names the
// credentials that it accepts. The card and the page are public.
//
// Shows AU2, AU3, AU4.
func TestEveryOperationIdentifiesItsCaller(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		edit, keys := guarded(t, "alice")
		w := b.world(t, edit)
		task := w.insert("alice", "m", a2a.TaskStateSubmitted)
		id := task.ID()
		for operation, params := range map[string]string{
			send: sending(message("m1", "")), streaming: sending(message("m2", "")), "GetTask": byID(id), "ListTasks": "{}", "CancelTask": byID(id),
			subscribe: byID(id), createWebhook: `{"taskId":"` + id + `","url":"` + hookURL + `"}`, listWebhooks: `{"taskId":"` + id + `"}`,
			getWebhook: `{"taskId":"` + id + `","id":"h"}`, deleteWebhook: `{"taskId":"` + id + `","id":"h"}`, "GetExtendedAgentCard": "{}",
		} {
			for name, edit := range map[string]func(*http.Request){"none": func(*http.Request) {}, "wrong": bearer(wrongKey)} {
				got := w.call(t, operation, params, edit)
				if got.status != http.StatusUnauthorized || got.code() != -31401 || !strings.Contains(got.Error.Message, "X-API-Key") {
					t.Errorf("%s with %s: %d %s", operation, name, got.status, got.body)
				}
				if challenge := got.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer ") {
					t.Errorf("%s with %s: WWW-Authenticate is %q", operation, name, challenge)
				}
			}
		}

		if all := w.versions(t); len(all) != 0 || w.Load(id).Version != task.Version {
			t.Errorf("something was written: %v", all)
		}
		if got := w.call(t, "GetTask", byID(id), bearer(keys["alice"])); got.code() != 0 {
			t.Errorf("with the key: %s", got.body)
		}
		if got := w.call(t, "GetTask", byID(id), with("X-API-Key", keys["alice"])); got.code() != 0 {
			t.Errorf("with the key in its own header: %s", got.body)
		}

		for _, path := range []string{"/", card.Path, card.OldPath} {
			if res, _ := get(w, "GET", path); res.StatusCode != http.StatusOK {
				t.Errorf("%s asks who reads it: %d", path, res.StatusCode)
			}
		}
	})
}

var wrongKey, _ = auth.NewKey()

// A principal owns the tasks that it sends, and sees no others.
//
// Shows G3.
func TestPrincipalsAreApart(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		edit, keys := guarded(t, "alice", "bob")
		w := b.world(t, edit)
		mine := w.call(t, send, sending(message("m", "")), bearer(keys["alice"])).task()
		theirs := w.call(t, send, sending(message("m", "")), bearer(keys["bob"])).task()
		if mine.ID == theirs.ID {
			t.Error("two principals share the task of one message id")
		}
		if r := w.Load(mine.ID); r.Owner != "alice" {
			t.Errorf("the owner is %q", r.Owner)
		}
		if got := w.call(t, "GetTask", byID(mine.ID), bearer(keys["bob"])); got.code() != -32001 {
			t.Errorf("bob reads alice's task: %s", got.body)
		}
		if p := into[page](w.call(t, "ListTasks", "{}", bearer(keys["bob"]))); len(p.Tasks) != 1 || p.Tasks[0].ID != theirs.ID || p.TotalSize != 1 {
			t.Errorf("bob lists %+v", p)
		}
	})
}

// A tenant only routes the request: it must be the caller's own.
//
// Shows V13, decision 28.
func TestTenantMustBeTheCallers(t *testing.T) {
	edit, keys := guarded(t, "acme/alice", "bob")
	w := newWorld(t, edit)
	for _, row := range []struct {
		path, key string
		status    int
	}{
		{"/tasks", "acme/alice", 200}, {"/acme/tasks", "acme/alice", 200}, {"/other/tasks", "acme/alice", 403}, {"/tasks?tenant=other", "acme/alice", 403},
		{"/tasks", "bob", 200}, {"/acme/tasks", "bob", 403}, {"/acme/extendedAgentCard", "bob", 403},
	} {
		r := newRequest("GET", row.path, "")
		bearer(keys[row.key])(r)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code != row.status {
			t.Errorf("%s asks for %s: %d, want %d: %s", row.key, row.path, rec.Code, row.status, rec.Body)
		}
	}
}

// An address or principal with many wrong credentials is slowed down, and the answer says so.
//
// Shows AU11.
func TestGuessingIsLimited(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		edit, keys := guarded(t, "alice")
		w := b.world(t, edit)
		for range 100 {
			got := w.call(t, "ListTasks", "{}", bearer(wrongKey))
			if got.status == http.StatusTooManyRequests {
				if got.header.Get("Retry-After") == "" {
					t.Errorf("no Retry-After: %v", got.header)
				}
				if got := w.call(t, "ListTasks", "{}", bearer(keys["alice"])); got.code() != 0 {
					t.Errorf("the right key is locked out: %s", got.body)
				}
				return
			}
		}
		t.Error("a hundred wrong keys were answered 401")
	})
}

// The card names the security schemes in the words of both versions.
//
// Shows D21.
func TestCardNamesTheSchemes(t *testing.T) {
	edit, _ := guarded(t, "alice")
	srv := httptest.NewServer(newWorld(t, edit))
	defer srv.Close()
	got, err := agentcard.DefaultResolver.Resolve(t.Context(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for name, s := range got.SecuritySchemes {
		kinds = append(kinds, fmt.Sprintf("%s %T", name, s))
	}
	if len(kinds) != 2 || !strings.Contains(fmt.Sprint(kinds), "a2a.HTTPAuthSecurityScheme") || !strings.Contains(fmt.Sprint(kinds), "a2a.APIKeySecurityScheme") {
		t.Errorf("schemes are %v", kinds)
	}
}
