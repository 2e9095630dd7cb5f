package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand/functions/notify"
	"errand/shared/keys"
	base "errand/shared/lab/world"
	"errand/shared/secret"
	"errand/shared/task"
	"errand/shared/webhook"
)

// The reference library accepts every delivery in every attempt, and refuses a delivery
// that was changed on its way.
func TestReceiversBelieveWhatTheyAreSent(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	w.client.on(urlA, answers(500))
	w.owing(urlA, 2, "t1")
	w.deliver("t1")
	w.client.on(urlA, nil)
	w.due("t1")
	w.deliver("t1")
	w.askPing("t1")

	w.deliver("t1")
	receiver, err := standardwebhooks.NewWebhook(base.Ring(t, w.keys).Secrets(time.Now(), "", urlA)[0])
	if err != nil {
		t.Fatal(err)
	}

	stranger, err := standardwebhooks.NewWebhook(base.Ring(t, w.keys).Secrets(time.Now(), "", urlB)[0])
	if err != nil {
		t.Fatal(err)
	}

	calls := w.client.calls(urlA)
	if len(calls) != 4 {
		t.Fatalf("%d attempts, want note 1 twice, note 2 and a ping", len(calls))
	}

	for _, c := range calls {
		if err := receiver.Verify([]byte(c.body), c.header); err != nil {
			t.Errorf("%s: %v", c.id, err)
		}
		if receiver.Verify([]byte(c.body+" "), c.header) == nil || stranger.Verify([]byte(c.body), c.header) == nil {
			t.Errorf("%s: believed with another body, or with the secret of another URL", c.id)
		}
	}
}

// due makes the webhook's next attempt due now.
func (w *world) due(id string) {
	w.t.Helper()
	w.update(id, func(r task.Record) (task.Record, bool, error) {
		return r.Delivered(w.Moment(), []task.Delivery{{Webhook: r.Webhooks[0], Wait: time.Now()}})
	})
}

// Bearer without the client's credentials sends a token of ours. Each attempt has a new
// token, for this delivery and this receiver.
func TestBearerWithoutCredentials(t *testing.T) {
	const url = "https://a.test:8443/hook?key=CANARY"
	w := newWorld(t)
	w.Jobs.Keep()
	w.client.on(url, answers(500))
	w.knows(url)
	w.accept("t1", task.Webhook{ID: "h", URL: url, Scheme: "bearer"})
	w.finish("t1", a2a.TaskStateCompleted, "", "a", "x")
	w.deliver("t1")
	w.client.on(url, nil)
	w.due("t1")

	w.deliver("t1")
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(base.Ring(t, w.keys).JWKS(time.Now()), &set); err != nil {
		t.Fatal(err)
	}

	tokens, ids := map[string]bool{}, []string{"t1/1", "t1/1", "t1/2"}
	calls := w.client.calls(url)
	if len(calls) != len(ids) {
		t.Fatalf("%d attempts, want %d", len(calls), len(ids))
	}

	for i, c := range calls {
		text, ok := strings.CutPrefix(c.header.Get("Authorization"), "Bearer ")
		token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
		if !ok || err != nil {
			t.Fatalf("Authorization %q: %v", c.header.Get("Authorization"), err)
		}

		var claims jwt.Claims
		if err := token.Claims(set, &claims); err != nil {
			t.Fatal(err)
		}

		err = claims.ValidateWithLeeway(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{"https://a.test:8443"}, ID: ids[i], Time: c.at}, time.Second)
		if err != nil || c.id != ids[i] || len(claims.Audience) != 1 {
			t.Errorf("%s: %v: %+v", c.id, err, claims)
		}
		if strings.Contains(text, "CANARY") || claims.Expiry.Time().Sub(c.at) > 5*time.Minute {
			t.Errorf("%s: %+v", c.id, claims)
		}

		tokens[text] = true
	}

	if len(tokens) != len(calls) {
		t.Errorf("%d tokens in %d attempts", len(tokens), len(calls))
	}
}

// The audience of the ID token is the receiver's origin. The owner cannot choose another.
func TestIDToken(t *testing.T) {
	for _, row := range []struct{ name, url, audience string }{
		{"port of the scheme", "https://A.test:443/deep/path?aud=https://storage.test", "https://a.test"},
		{"another port", "https://a.test:8443/x", "https://a.test:8443"},
		{"a host in another script", "https://bücher.test/x", "https://xn--bcher-kva.test"},
	} {
		t.Run(row.name, func(t *testing.T) {
			audience := row.audience
			w := newWorld(t)
			var asked []string
			w.reopen(func(c *notify.Config) {
				c.IDToken = func(_ context.Context, audience string) (string, error) {
					asked = append(asked, audience)
					return "id-token", nil
				}
				c.IDTokens = func(owner, origin string) bool { return owner == "" && origin == audience }
			})

			w.Jobs.Keep()
			w.accept("t1", task.Webhook{ID: "h", URL: row.url, Scheme: "google-id-token"})
			w.finish("t1", a2a.TaskStateCompleted, "")
			w.deliver("t1")
			calls := w.client.calls("")
			if len(calls) != 1 || calls[0].header.Get("Authorization") != "Bearer id-token" {
				t.Fatalf("sent %+v", calls)
			}
			if len(asked) != 1 || asked[0] != audience {
				t.Errorf("ID tokens for %q, want one for %q", asked, audience)
			}
		})
	}
}

// A webhook that cannot be authenticated as its owner asked is not sent (W4). It counts as
// an attempt of the class request, which the owner can see.
func TestNothingIsSentUnauthenticated(t *testing.T) {
	for _, c := range []struct {
		name string
		hook func(*world) task.Webhook
		set  func(*notify.Config)
	}{
		{"sealed by a key that is gone", func(w *world) task.Webhook {
			other := newWorld(w.t)
			return task.Webhook{Scheme: "Basic", Sealed: other.seal(urlA, "", "cred")}
		}, nil},
		{"a token only, sealed by a key that is gone", func(w *world) task.Webhook {
			other := newWorld(w.t)
			return task.Webhook{Sealed: other.seal(urlA, "tok", "")}
		}, nil},
		{"sealed for another URL", func(w *world) task.Webhook { return task.Webhook{Scheme: "Bearer", Sealed: w.seal(urlB, "", "cred")} }, nil},
		{"a scheme that cannot be performed", func(*world) task.Webhook { return task.Webhook{Scheme: "Digest"} }, nil},
		{"Basic without credentials", func(*world) task.Webhook { return task.Webhook{Scheme: "Basic"} }, nil},
		{"ID token without a service account", func(*world) task.Webhook { return task.Webhook{Scheme: webhook.GoogleIDToken} }, nil},
		{"ID token that is not to be had", func(*world) task.Webhook { return task.Webhook{Scheme: webhook.GoogleIDToken} }, func(c *notify.Config) {
			c.IDToken = func(context.Context, string) (string, error) { return "", errors.New("no") }
			c.IDTokens = func(string, string) bool { return true }
		}},
		{"ID token for an origin that was taken away", func(*world) task.Webhook { return task.Webhook{Scheme: webhook.GoogleIDToken} }, func(c *notify.Config) {
			c.IDToken = func(context.Context, string) (string, error) { return "id-token", nil }
			c.IDTokens = func(_, origin string) bool { return origin != "https://a.test" }
		}},
		{"ID token for an origin of another owner", func(*world) task.Webhook { return task.Webhook{Scheme: webhook.GoogleIDToken} }, func(c *notify.Config) {
			c.IDToken = func(context.Context, string) (string, error) { return "id-token", nil }
			c.IDTokens = func(owner, _ string) bool { return owner != "acme/ci" }
		}},
		{"token without an issuer", func(*world) task.Webhook { return task.Webhook{Scheme: "Bearer"} }, func(c *notify.Config) { c.Issuer = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			h := c.hook(w)
			if c.set != nil {
				w.reopen(c.set)
			}

			w.Jobs.Keep()
			h.ID, h.URL = "h", urlA
			w.acceptOf("acme/ci", "t1", h)
			w.finish("t1", a2a.TaskStateCompleted, "")
			w.deliver("t1")
			if calls := w.client.calls(""); len(calls) != 0 {
				t.Fatalf("sent %v", calls)
			}

			got := w.hook("t1", "h")
			if got.Attempt != 1 || got.State != task.WebhookActive || got.Tries[0].Error != webhook.ClassRequest || got.Tries[0].Status != 0 {
				t.Errorf("the hook: %+v", got)
			}

			w.askPing("t1")
			w.deliver("t1")
			got = w.hook("t1", "h")
			if len(w.client.calls("")) != 0 || len(got.Tries) != 2 || got.Tries[1].Error != webhook.ClassRequest || got.Attempt != 1 {
				t.Errorf("after a ping: %+v", got)
			}
		})
	}
}

// Without readable keys no attempt is made or counted. The record brings the webhook back when
// the keys are readable again.
func TestWithoutKeysNothingIsAttempted(t *testing.T) {
	w := newWorld(t)
	whole := w.keys
	w.keys = keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) { return secret.Value{}, errors.New("no secret") }})
	w.reopen()
	w.Jobs.Keep()
	w.owing(urlA, 2, "t1")
	before := w.hook("t1", "h")
	w.deliver("t1")

	h := w.hook("t1", "h")
	if len(w.client.calls("")) != 0 || h.Attempt != 0 || len(h.Tries) != 0 || !h.Next.Equal(before.Next) {
		t.Errorf("without keys: %d sent, %+v", len(w.client.calls("")), h)
	}

	r, err := w.Store.Load(t.Context(), "t1")
	if err != nil {
		t.Fatal(err)
	}
	if r.Due.Lane != task.Deliveries || time.Until(r.Due.At) > time.Minute {
		t.Errorf("due %+v, want within a minute", r.Due)
	}

	w.keys = whole
	w.reopen()
	w.deliver("t1")
	if h := w.hook("t1", "h"); h.Cursor != 2 {
		t.Errorf("when the keys are back: %+v", h)
	}
}

// A ping is one attempt, at a webhook without a backlog or at a dead one. Its outcome is kept.
func TestPing(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(*http.Request) (*http.Response, error)
		want   task.Try
	}{
		{"taken", answers(204), task.Try{Status: 204}},
		{"refused", answers(403), task.Try{Status: 403}},
		{"gone", answers(410), task.Try{Status: 410}},
		{"no answer", down, task.Try{Error: webhook.ClassConnection}},
	} {
		for _, dead := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorld(t)
				w.Jobs.Keep()
				if dead {
					w.client.on(urlA, answers(410))
				}

				w.owing(urlA, 1, "t1")
				w.deliver("t1")
				before := w.hook("t1", "h")
				w.client.on(urlA, c.answer)
				w.askPing("t1")
				for range 3 {
					w.deliver("t1")
				}

				h := w.hook("t1", "h")
				if len(h.Tries) != 2 || h.Tries[1].Notification != 0 || h.Tries[1].Status != c.want.Status || h.Tries[1].Error != c.want.Error {
					t.Fatalf("tries %+v, want the note and one ping: %+v", h.Tries, c.want)
				}
				if !h.Ping.IsZero() || h.State != before.State || h.Gone != before.Gone || h.Cursor != before.Cursor || h.Attempt != before.Attempt {
					t.Errorf("the ping has changed %+v to %+v", before, h)
				}
				if last := w.client.calls(urlA)[1]; !strings.HasPrefix(last.id, "t1/ping-") {
					t.Errorf("webhook-id %s", last.id)
				}
			})
		}
	}
}

// A webhook is deleted during an attempt that fails. The outcome is dropped, no other attempt
// follows, and no time brings the webhook back.
func TestDeletedDuringAFailingAttempt(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	w.client.on(urlA, func(*http.Request) (*http.Response, error) {
		w.update("t1", func(r task.Record) (task.Record, bool, error) { return r.DropWebhook(w.Moment(), "h") })
		return status(500), nil
	})
	w.owing(urlA, 1, "t1")
	w.deliver("t1")
	w.deliver("t1")
	r, err := w.Store.Load(t.Context(), "t1")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(w.client.ids(urlA)); n != 1 || len(r.Webhooks) != 0 || !r.Due.At.IsZero() || len(w.Jobs.All()) != 0 {
		t.Errorf("%d attempts, hooks %v, due %v, jobs %v", n, r.Webhooks, r.Due, w.Jobs.All())
	}
}
