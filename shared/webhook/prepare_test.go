package webhook_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/keys"
	"errand/shared/task"
	"errand/shared/webhook"
)

// The request of a notification or a ping is complete: its id, its signature, and the authentication
// that the webhook asks for.
func TestPrepare(t *testing.T) {
	one := ring(t, noon, -time.Hour)
	seal := func(s webhook.Secrets) string { return s.Seal(one, noon, owner, hook) }

	for _, c := range []struct {
		name     string
		edit     func(*task.Webhook)
		id       string
		header   map[string]string // "": absent
		audience string
	}{
		{"a note", func(*task.Webhook) {}, "t1/1", map[string]string{
			"Content-Type": "application/a2a+json", "User-Agent": "errand", "Authorization": "", "A2A-Notification-Token": "",
		}, ""},
		{"a ping", func(h *task.Webhook) { h.Ping = time.UnixMilli(5) }, "t1/ping-5", nil, ""},
		{"a hook of 0.3", func(h *task.Webhook) { h.Dialect = "0.3" }, "t1/1", map[string]string{"Content-Type": "application/json"}, ""},
		{"a token", func(h *task.Webhook) { h.Sealed = seal(webhook.Secrets{Token: "tok"}) }, "t1/1", map[string]string{
			"A2A-Notification-Token": "tok", "X-A2A-Notification-Token": "tok", "Authorization": "",
		}, ""},
		{"credentials", func(h *task.Webhook) { h.Scheme, h.Sealed = "basic", seal(webhook.Secrets{Credentials: "abc"}) }, "t1/1",
			map[string]string{"Authorization": "basic abc"}, ""},
		{"an ID token", func(h *task.Webhook) { h.Scheme = webhook.GoogleIDToken }, "t1/1",
			map[string]string{"Authorization": ""}, "https://hooks.example.com"},
	} {
		r := oneNotification(noon)
		h := r.Webhooks[0]
		c.edit(&h)
		q, err := webhook.Prepare(one, "https://agent.example.com", time.Now(), r, h)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}

		if q.URL != hook || q.Audience != c.audience || q.Header.Get("Webhook-Id") != c.id {
			t.Errorf("%s: %s to %s for %q, want %s to %s for %q", c.name, q.Header.Get("Webhook-Id"), q.URL, q.Audience, c.id, hook, c.audience)
		}
		if !believes(t, one.Secrets(noon, owner, hook)[0], q.Body, q.Header) {
			t.Errorf("%s: the reference library refuses the signature", c.name)
		}

		for name, want := range c.header {
			if got := q.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.name, name, got, want)
			}
		}
	}
}

// A request that cannot be authenticated as its webhook asks is an error, and no request.
func TestPrepareRefuses(t *testing.T) {
	one, other := ring(t, noon, -time.Hour), ring(t, noon, -2*time.Hour, -time.Hour)
	sealed := webhook.Secrets{Credentials: "CANARY"}.Seal(other, noon, owner, hook)
	elsewhere := webhook.Secrets{Credentials: "CANARY"}.Seal(one, noon, owner, hook+"/b")

	for _, c := range []struct {
		name   string
		issuer string
		edit   func(*task.Webhook)
		is     error // nil: any
	}{
		{"sealed by another ring", "https://agent.example.com", func(h *task.Webhook) { h.Scheme, h.Sealed = "Basic", sealed }, keys.ErrSealed},
		{"sealed for another URL", "https://agent.example.com", func(h *task.Webhook) { h.Scheme, h.Sealed = "Basic", elsewhere }, keys.ErrSealed},
		{"Basic without credentials", "https://agent.example.com", func(h *task.Webhook) { h.Scheme = "Basic" }, webhook.ErrScheme},
		{"an unsupported scheme", "https://agent.example.com", func(h *task.Webhook) { h.Scheme = "Digest" }, webhook.ErrScheme},
		{"a token without an issuer", "", func(h *task.Webhook) { h.Scheme = "Bearer" }, nil},
		{"an ID token without an origin", "https://agent.example.com", func(h *task.Webhook) { h.Scheme, h.URL = webhook.GoogleIDToken, "CANARY" }, nil},
	} {
		r := oneNotification(noon)
		h := r.Webhooks[0]
		c.edit(&h)
		q, err := webhook.Prepare(one, c.issuer, noon, r, h)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v, want %v", c.name, err, c.is)
		}
		if diff := cmp.Diff(webhook.Request{}, q); diff != "" {
			t.Errorf("%s: a request beside the error (-want +got):\n%s", c.name, diff)
		}
	}
}

// The ID token of the courier is sent as Bearer.
func TestAuthorize(t *testing.T) {
	q := webhook.Request{Header: http.Header{}}
	q.Authorize("id-token")
	if got := q.Header.Get("Authorization"); got != "Bearer id-token" {
		t.Errorf("Authorization is %q", got)
	}
}
