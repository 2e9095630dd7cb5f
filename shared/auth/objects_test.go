package auth_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"errand/shared/auth"
)

// A principal may have those objects read whose addresses begin as the file says. Nobody else
// may, and nobody may by default.
func TestMayRead(t *testing.T) {
	_, ci := auth.NewKey()
	_, bob := auth.NewKey()
	a, err := auth.Load(write(t, `
principals:
  - {name: acme/ci, keys: [`+ci+`], buckets: [gs://acme-in/, gs://shared/acme/]}
  - {name: other/bob, keys: [`+bob+`]}
issuers: [{name: corp, issuer: https://login.example.com, audiences: [a], everyone: true}]
`), auth.Options{})
	if err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		owner, url string
		may        bool
	}{
		{"acme/ci", "gs://acme-in/a.jsonl", true},
		{"acme/ci", "gs://acme-in/2026/a.jsonl", true},
		{"acme/ci", "gs://shared/acme/a.jsonl", true},
		{"acme/ci", "gs://shared/acme//a.jsonl", true},
		{"acme/ci", "gs://shared/other/a.jsonl", false},
		{"acme/ci", "gs://shared/acme", false},
		{"acme/ci", "gs://shared/acme/", true}, // an object may have such a name
		{"acme/ci", "gs://shared/acme-2/a.jsonl", false},
		{"acme/ci", "gs://shared/acme/../other/a.jsonl", false},
		{"acme/ci", "gs://shared/acme/./a.jsonl", false},
		{"acme/ci", "gs://acme-in/", false}, // a bucket is no object
		{"acme/ci", "gs://acme-in-2/a.jsonl", false},
		{"acme/ci", "gs://acme-in", false},
		{"acme/ci", "GS://acme-in/a.jsonl", false},
		{"acme/ci", "https://storage.googleapis.com/acme-in/a.jsonl", false},
		{"acme/ci", "gs://acme-in/a\nb", false},
		{"acme/ci", "", false},
		{"other/bob", "gs://acme-in/a.jsonl", false},
		{"acme/alice", "gs://acme-in/a.jsonl", false},
		{"corp/77", "gs://acme-in/a.jsonl", false},
		{auth.Anonymous, "gs://acme-in/a.jsonl", false},
		{"", "gs://acme-in/a.jsonl", false},
	} {
		if got := a.MayRead(c.owner, c.url); got != c.may {
			t.Errorf("MayRead(%q, %q) = %t", c.owner, c.url, got)
		}
	}

	anonymous, err := auth.Load("", auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if anonymous.MayRead(auth.Anonymous, "gs://acme-in/a.jsonl") {
		t.Error("without an access file objects are read")
	}
}

const aSubscription = "projects/my-project/subscriptions/errand-submit"

// The messages of a subscription belong to the principal that the file names, who may have no
// other credentials. It may send, whatever else its keys may do, and is no operator.
func TestSubmitter(t *testing.T) {
	_, hash := auth.NewKey()
	a, err := auth.Load(write(t, `
principals:
  - {name: acme/nightly}
  - {name: ops, operator: true, keys: [`+hash+`]}
submit:
  - {subscription: `+aSubscription+`, principal: acme/nightly}
  - {subscription: `+aSubscription+`-2, principal: ops}
`), auth.Options{})
	if err != nil {
		t.Fatal(err)
	}

	for subscription, owner := range map[string]string{aSubscription: "acme/nightly", aSubscription + "-2": "ops"} {
		p, ok := a.Submitter(subscription)
		if want := "subscription " + strings.TrimPrefix(subscription, "projects/my-project/subscriptions/"); !ok || p.Owner != owner || p.Via != want || p.Operator {
			t.Errorf("Submitter(%s) = %+v, %t", subscription, p, ok)
		}
		for _, r := range auth.Rights() {
			if err := p.May(r); (err == nil) != (r == auth.Send) {
				t.Errorf("the messages of %s have the right %s: %v", subscription, r, err)
			}
		}
	}

	for _, other := range []string{"", "errand-submit", "projects/other-project/subscriptions/errand-submit", strings.ToUpper(aSubscription), aSubscription + "/", aSubscription + " "} {
		if p, ok := a.Submitter(other); ok {
			t.Errorf("Submitter(%q) = %+v", other, p)
		}
	}

	anonymous, err := auth.Load(auth.Anonymous, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := anonymous.Submitter(aSubscription); ok {
		t.Errorf("without an access file messages belong to %+v", p)
	}
}

// Rights to objects and subscriptions follow the file, and a fault in it changes nothing.
func TestObjectsAndSubmittersFollowTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hash := auth.NewKey()
		text := func(buckets, principal string) string {
			return "principals:\n  - {name: a, keys: [" + hash + "], buckets: [" + buckets + "]}\n  - {name: b}\n  - {name: c}\n" +
				"submit:\n  - {subscription: " + aSubscription + ", principal: b}\n  - {subscription: " + aSubscription + "-2, principal: c}\n" +
				"  - {subscription: " + aSubscription + "-3, principal: " + principal + "}\n"
		}
		c := newChanging(t, text("gs://acme-in/", "b"))
		is := func(may bool, principal string) {
			t.Helper()
			time.Sleep(31 * time.Second)
			if got := c.access.MayRead("a", "gs://acme-in/x"); got != may {
				t.Errorf("MayRead = %t, want %t", got, may)
			}
			if p, ok := c.access.Submitter(aSubscription + "-3"); p.Owner != principal || ok != (principal != "") {
				t.Errorf("Submitter = %+v, %t, want %s", p, ok, principal)
			}
		}

		is(true, "b")
		c.write(text("gs://other/", "c"))
		is(false, "c")
		c.write(text("gs://acme-in", "d"))
		is(false, "c")
		c.write(list(hash))
		is(false, "")
	})
}

// Messages of a subscription count as requests of their principal.
func TestSubmittedRequestsAreRated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, "principals: [{name: b, limits: {requests: 3/s}}]\nsubmit: [{subscription: "+aSubscription+", principal: b}]\n")
		p, _ := c.access.Submitter(aSubscription)
		for n := range 5 {
			err := c.access.Take(p)
			no, refused := errors.AsType[*auth.Refusal](err)
			if refused != (n >= 3) || refused && (no.Status != http.StatusTooManyRequests || no.By != "limit requests") {
				t.Errorf("request %d: %v", n, err)
			}
		}
		time.Sleep(time.Second)
		if err := c.access.Take(p); err != nil {
			t.Errorf("a second later: %v", err)
		}
	})
}
