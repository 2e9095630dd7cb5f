package bus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/bus"
)

// The body is the one of Google's documentation of push.
func TestParseLetter(t *testing.T) {
	got, err := bus.ParseLetter([]byte(`{
		"message": {"attributes": {"key": "value"}, "data": "SGVsbG8gQ2xvdWQgUHViL1N1YiEgSGVyZSBpcyBteSBtZXNzYWdlIQ==",
			"messageId": "2070443601311540", "message_id": "2070443601311540", "publishTime": "2021-02-26T19:13:55.749Z", "publish_time": "2021-02-26T19:13:55.749Z"},
		"subscription": "projects/myproject/subscriptions/mysubscription", "deliveryAttempt": 5}`))
	want := bus.Letter{
		Data: []byte("Hello Cloud Pub/Sub! Here is my message!"), Attributes: map[string]string{"key": "value"}, ID: "2070443601311540",
		Subscription: "projects/myproject/subscriptions/mysubscription", Published: time.Date(2021, 2, 26, 19, 13, 55, 749e6, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}

	empty, err := bus.ParseLetter([]byte(`{"message": {"messageId": "1"}, "subscription": "projects/p/subscriptions/s"}`))
	if err != nil || len(empty.Data) != 0 {
		t.Errorf("a message with attributes alone: %+v, %v", empty, err)
	}

	for _, body := range []string{
		``, `null`, `[]`, `{`, `{}`, `{"message":{}}`, `{"subscription":"s"}`, `{"message":{"messageId":"1"}}`, `{"message":{},"subscription":"s"}`,
		`{"message":{"messageId":"1","data":"?"},"subscription":"s"}`, `{"message":{"messageId":1},"subscription":"s"}`,
		`{"message":{"messageId":"1","publishTime":"noon"},"subscription":"s"}`, `{"id":"a","text":"Hello"}`,
	} {
		if l, err := bus.ParseLetter([]byte(body)); err == nil {
			t.Errorf("ParseLetter(%s) = %+v, want an error", body, l)
		}
	}
}

// A letter keeps its attributes as far as a topic takes them, and those that are added in any
// case.
func TestLetterWithMoreAttributes(t *testing.T) {
	l := bus.Letter{Data: []byte("d"), Attributes: map[string]string{"a": "1", "reason": "old", "googclient_x": "1", "": "1", strings.Repeat("k", 257): "1", "long": strings.Repeat("x", 1025), "odd": "\xff"}}
	got := l.With(map[string]string{"reason": "new", "text": strings.Repeat("ä", 600)})
	want := map[string]string{"a": "1", "reason": "new", "text": strings.Repeat("ä", 512)}
	if diff := cmp.Diff(want, got.Attributes); diff != "" || string(got.Data) != "d" {
		t.Errorf("%s (-want +got):\n%s", got.Data, diff)
	}
	if len(l.Attributes) != 7 || l.Attributes["reason"] != "old" {
		t.Errorf("the letter itself has now %v", l.Attributes)
	}

	many := bus.Letter{Attributes: map[string]string{}}
	for i := range 100 {
		many.Attributes[fmt.Sprintf("k%02d", i)] = "v"
	}
	got = many.With(map[string]string{"reason": "new", "when": "now"})
	if len(got.Attributes) != 100 || got.Attributes["reason"] != "new" || got.Attributes["when"] != "now" || got.Attributes["k97"] != "v" || got.Attributes["k98"] != "" {
		t.Errorf("%d attributes: %v", len(got.Attributes), got.Attributes)
	}
}
