package submit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/functions/submit"
	"errand/shared/auth"
	"errand/shared/batch"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/lab/faulty"
	"errand/shared/task"
)

// A line becomes a task of the principal to whom its subscription belongs, with a job.
func TestLineBecomesATask(t *testing.T) {
	b := newBench(t, "")
	b.line(`{"id": "row-1", "text": "Good morning", "skill": "de", "metadata": {"run": 7}}`)

	all := b.tasks(nightly)
	if len(all) != 1 {
		t.Fatalf("there are %d tasks", len(all))
	}
	r := all[0]
	m := r.Task.History[0]
	if r.Lane != task.Turns || r.State() != a2a.TaskStateSubmitted || m.Role != a2a.MessageRoleUser || m.ID != "line/row-1" {
		t.Errorf("the task is %s in the lane %s, of the message %q by %s", r.State(), r.Lane, m.ID, m.Role)
	}
	b.has(nightly, `(for the skill "German":) Good morning`)
	if got := fmt.Sprint(r.Requests[0].Metadata); got != "map[run:7]" {
		t.Errorf("the metadata of the request is %s", got)
	}
	if jobs := b.w.Jobs.Take(); len(jobs) != 1 || jobs[0].Task != r.ID() || jobs[0].Queue != task.Turns {
		t.Errorf("the jobs are %+v", jobs)
	}

	b.line("\ufeff{\"message\": {\"messageId\": \"own\", \"parts\": [{\"text\": \"Good night\"}]}}\r\n")
	b.has(nightly, `(for the skill "German":) Good morning`, "Good night")
	b.has(other)
}

// What comes twice is done once: the same message, another message with the same line, and a
// line without an id that is delivered again. What is not the same is another task.
func TestAtLeastOnceBecomesOnce(t *testing.T) {
	b := newBench(t, "")
	send := func(subscription, id, text string) {
		t.Helper()
		if code := b.push(bus.Letter{Data: []byte(text), ID: id, Subscription: subscription}); code != http.StatusNoContent {
			t.Errorf("%s is answered %d", text, code)
		}
	}

	for range 3 {
		send(ofNightly, "1", `{"id": "a", "text": "1"}`)
		send(ofNightly, "2", `{"text": "2"}`)
		send(ofNightly, "3", `{"message": {"messageId": "b", "parts": [{"text": "3"}]}}`)
	}
	send(ofNightly, "4", `{"key": "a", "text": "1"}`)   // the same line, published again
	send(ofNightly, "5", `{"text": "2"}`)               // nobody can tell
	send(ofNightly, "6", `{"id": "2070", "text": "6"}`) // ids of Pub/Sub's messages are not
	send(ofNightly, "2070", `{"text": "7"}`)            // ids of lines
	send(ofOther, "1", `{"id": "a", "text": "1"}`)      // of another principal
	b.has(nightly, "1", "2", "2", "3", "6", "7")
	b.has(other, "1")
	if got := b.refused.take(); len(got) != 0 {
		t.Errorf("refused: %v", got)
	}

	// Many at once are one too.
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if code := b.push(bus.Letter{Data: []byte(`{"id": "many", "text": "8"}`), ID: "8"}); code != http.StatusNoContent {
				t.Errorf("answered %d", code)
			}
		})
	}
	all.Wait()
	b.has(nightly, "1", "2", "2", "3", "6", "7", "8")
}

// Two subscriptions of one principal are on two topics, whose messages may have the same ids.
func TestMessagesOfTwoTopicsAreTold(t *testing.T) {
	b := newBench(t, "", func(b *bench) { b.config.Access = access{func(string) string { return nightly }} })
	for range 2 {
		for _, of := range []string{ofNightly, ofOther} {
			if code := b.push(bus.Letter{Data: []byte(`{"text": "` + of + `"}`), ID: "1", Subscription: of}); code != http.StatusNoContent {
				t.Errorf("answered %d", code)
			}
		}
	}
	b.has(nightly, ofNightly, ofOther)
}

// access gives all messages to those whom a function names, without limits.
type access struct {
	of func(subscription string) string
}

func (a access) Submitter(subscription string) (auth.Principal, bool) {
	owner := a.of(subscription)
	return auth.Principal{Owner: owner}, owner != ""
}

func (access) Take(auth.Principal) error { return nil }

// Where different lines have the same id, only the messages of Pub/Sub are told from each
// other.
func TestReusedIDs(t *testing.T) {
	b := newBench(t, "", func(b *bench) { b.config.Reused = true })
	for _, id := range []string{"1", "1", "2"} {
		if code := b.push(bus.Letter{Data: []byte(`{"id": "a", "text": "` + id + `"}`), ID: id}); code != http.StatusNoContent {
			t.Errorf("answered %d", code)
		}
	}
	b.has(nightly, "1", "2")
}

// The subscription alone decides whose a task is. Whoever publishes writes attributes and data.
func TestOnlyTheSubscriptionDecidesThePrincipal(t *testing.T) {
	b := newBench(t, "")
	attributes := map[string]string{}
	for _, name := range []string{"owner", "principal", "caller", "subscription", "Authorization", "X-API-Key", "ce-source", "tenant", "errand-subscription", "errand-principal"} {
		attributes[name] = other
	}
	attributes["errand-subscription"] = ofOther
	l := bus.Letter{Data: []byte(`{"id": "a", "text": "Hello", "metadata": {"owner": "other/team"}}`), Attributes: attributes}
	if code := b.push(l); code != http.StatusNoContent {
		t.Errorf("answered %d", code)
	}
	b.has(nightly, "Hello")
	b.has(other)

	for _, field := range []string{"owner", "principal", "subscription", "tenant"} {
		l := bus.Letter{Data: []byte(`{"id": "b", "text": "Hello", "` + field + `": "other/team"}`)}
		if code, got := b.push(l), b.refused.take(); code != http.StatusNoContent || len(got) != 1 {
			t.Errorf("a line with the field %s is answered %d, and %d are refused", field, code, len(got))
		}
	}
	b.has(nightly, "Hello")
	b.has(other)
}

// A message that never becomes a task goes to the topic of refused messages, with the reason
// and the field, and is acknowledged. Reasons and logs tell nothing of its content.
func TestRefusedMessages(t *testing.T) {
	b := newBench(t, "")
	b.line(`{"id": "taken", "text": "one"}`)
	const secret = "hunter2"

	for _, row := range []struct{ data, field, want string }{
		{"", "", "has no data"},
		{" \r\n", "", "has no data"},
		{"Hello " + secret, "", "JSON"},
		{`{"id": "a", "text": "` + secret, "", "JSON"},
		{`["` + secret + `"]`, "", "must be an object"},
		{"\xff\xfe{\x00", "", ""},
		{`{"id": "a"}`, "text", "is required"},
		{`{"id": "a", "text": ""}`, "text", "holds nothing to answer"},
		{`{"id": 7, "text": "` + secret + `"}`, "id", ""},
		{`{"id": "` + strings.Repeat("x", 257) + `", "text": "` + secret + `"}`, "id", ""},
		{`{"id": "a", "text": "` + secret + `", "contextId": "c"}`, "contextId", ""},
		{`{"id": "a", "text": "` + secret + `", "id": "b"}`, "", ""},
		{`{"id": "a", "text": "` + secret + `", "skill": "fr"}`, "skill", "de"},
		{`{"id": "a", "text": "one"}` + "\n" + `{"id": "b", "text": "` + secret + `"}`, "", ""},
		{`{"id": "taken", "text": "` + secret + `"}`, "id", "id: another line of this id has become a task"},
		{`{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": []}}`, "", "line of OpenAI's"},
		{`{"id": "a", "text": "` + strings.Repeat("x", batch.MaxLine) + `"}`, "", "more than 384 KiB"},
		{`{"id": "a", "text": "` + strings.Repeat("\u2028", 120<<10) + `"}`, "", ""},
		{`{"id": "a", "message": {"role": "ROLE_AGENT", "parts": [{"text": "` + secret + `"}]}}`, "message.role", ""},
		{`{"id": "a", "message": {"parts": [{"data": {"file": "file-` + strings.Repeat("a", 26) + `"}}]}}`, "message.parts[0]", "names no file of yours"},
		{`{"id": "a", "message": {"parts": [{"url": "gs://acme-out/` + secret + `.txt", "mediaType": "text/plain"}]}}`, "message.parts[0]", "names an object that you may not have read"},
		{`{"id": "a", "message": {"parts": [{"url": "gs://acme-in/%2e%2e/` + secret + `.txt", "mediaType": "text/plain"}]}}`, "message.parts[0]", "must be gs://BUCKET/NAME as it stands"},
		{`{"id": "a", "message": {"parts": [{"url": "https://example.com/x.png", "mediaType": "image/png"}]}}`, "", "text/plain"},
	} {
		l := bus.Letter{Data: []byte(row.data), Attributes: map[string]string{"run": "7"}}
		if code := b.push(l); code != http.StatusNoContent {
			t.Errorf("%.60q is answered %d", row.data, code)
		}
		got := b.refused.take()
		if len(got) != 1 {
			t.Errorf("%.60q: %d messages are refused", row.data, len(got))
			continue
		}

		a := got[0].Attributes
		reason := a[submit.Reason]
		if !bytes.Equal(got[0].Data, l.Data) || a["run"] != "7" || a[submit.Subscription] != ofNightly || a[submit.MessageID] == "" || a[submit.PublishTime] != published.Format(time.RFC3339) {
			t.Errorf("%.60q: %.60q is refused with %v", row.data, got[0].Data, a)
		}
		if reason == "" || !strings.Contains(reason, row.want) || row.field != "" && a[submit.Field] != row.field || strings.Contains(fmt.Sprint(a), secret) {
			t.Errorf("%.60q: the reason is %q, the field %q; want %q, %q", row.data, reason, a[submit.Field], row.want, row.field)
		}
	}

	b.has(nightly, "one")
	b.line(`{"id": "object", "message": {"parts": [{"text": "two"}, {"url": "gs://acme-in/a.txt", "mediaType": "text/plain"}]}}`)
	b.has(nightly, "one", "two ")
	if strings.Contains(b.log.String(), secret) {
		t.Errorf("the log tells content:\n%s", b.log)
	}
}

// A message is acknowledged when it is in the topic of refused messages, and not before.
func TestRefusedMessageIsNotLost(t *testing.T) {
	b := newBench(t, "")
	b.refused.fail = errors.New("the topic does not answer")
	l := bus.Letter{Data: []byte("nonsense"), ID: "1"}
	for range 2 {
		if code := b.push(l); code != http.StatusServiceUnavailable {
			t.Errorf("answered %d, want 503", code)
		}
	}
	b.refused.fail = nil
	if code, got := b.push(l), b.refused.take(); code != http.StatusNoContent || len(got) != 1 {
		t.Errorf("then answered %d, and %d are refused", code, len(got))
	}
	if n := strings.Count(b.log.String(), "cannot be published"); n != 2 {
		t.Errorf("%d lines say so:\n%s", n, b.log)
	}
}

// Messages of a subscription that nobody has named wait, and so do bodies that are no
// messages. Neither is lost or refused.
func TestMessagesOfNobodyWait(t *testing.T) {
	named := false
	b := newBench(t, "", func(b *bench) {
		b.config.Access = access{func(s string) string {
			if named && s == ofNightly {
				return nightly
			}
			return ""
		}}
	})

	l := bus.Letter{Data: []byte(`{"id": "a", "text": "Hello"}`), ID: "1"}
	if code := b.push(l); code != http.StatusForbidden {
		t.Errorf("answered %d, want 403", code)
	}
	if log := b.log.String(); !strings.Contains(log, "alert=true") || !strings.Contains(log, ofNightly) || strings.Contains(log, "Hello") {
		t.Errorf("the log: %s", log)
	}
	b.has(nightly)

	named = true
	if code := b.push(l); code != http.StatusNoContent {
		t.Errorf("then answered %d", code)
	}
	b.has(nightly, "Hello")

	for _, body := range []string{"", "{}", "null", `{"id": "a", "text": "Hello"}`, `{"message": {"data": "e30="}, "subscription": "` + ofNightly + `"}`} {
		if code := b.post(body); code != http.StatusBadRequest {
			t.Errorf("%s is answered %d, want 400", body, code)
		}
	}
	if got := b.refused.take(); len(got) != 0 {
		t.Errorf("refused: %v", got)
	}
}

// A message beyond a limit of its principal comes again, and so does one that the store does
// not take. Then it becomes a task.
func TestLimitsMakeMessagesWait(t *testing.T) {
	b := newBench(t, ", limits: {waiting: 2}")
	for i := range 6 { // four messages a minute are not counted
		code := b.push(bus.Letter{Data: fmt.Appendf(nil, `{"id": "%d", "text": "%d"}`, i, i)})
		if code != http.StatusNoContent && code != http.StatusTooManyRequests {
			t.Errorf("answered %d", code)
		}
	}
	l := bus.Letter{Data: []byte(`{"id": "late", "text": "late"}`), ID: "late"}
	w := b.deliver(l)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("beyond the limit: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	if code := b.push(bus.Letter{Data: []byte(`{"id": "a", "text": "another"}`), Subscription: ofOther}); code != http.StatusNoContent {
		t.Errorf("another principal is answered %d", code)
	}

	for _, r := range b.tasks(nightly) {
		if _, err := b.config.Desk.ChangeByID(t.Context(), r.ID(), task.Record.Delete); err != nil {
			t.Fatal(err)
		}
	}
	b.now = b.now.Add(time.Second)
	if code := b.push(l); code != http.StatusNoContent {
		t.Errorf("after there is room, answered %d", code)
	}
	b.has(nightly, "late")

	rated := newBench(t, ", limits: {requests: 1/s}")
	for i := range 3 {
		want := map[bool]int{true: http.StatusNoContent, false: http.StatusTooManyRequests}[i == 0]
		if code := rated.push(bus.Letter{Data: fmt.Appendf(nil, `{"id": "%d", "text": "x"}`, i)}); code != want {
			t.Errorf("message %d of a second is answered %d, want %d", i, code, want)
		}
	}
	if got := append(b.refused.take(), rated.refused.take()...); len(got) != 0 {
		t.Errorf("refused for good: %v", got)
	}
}

func TestStoreThatDoesNotTakeMessages(t *testing.T) {
	for name, full := range map[string]error{"full": task.ErrFull, "silent": errors.New("the store does not answer")} {
		t.Run(name, func(t *testing.T) {
			down := true
			b := newBench(t, "", func(b *bench) {
				b.config.Desk = desk.New(desk.Config{
					Store: faulty.Store{Store: b.w.Store, Before: func(c faulty.Call) error {
						if down && c.Op != faulty.List {
							return full
						}
						return nil
					}},
					Queue: b.w.Jobs, Rules: b.w.Rules, Now: time.Now, Log: b.w.Log,
				})
			})

			l := bus.Letter{Data: []byte(`{"id": "a", "text": "Hello"}`), ID: "1"}
			if code := b.push(l); code != http.StatusServiceUnavailable {
				t.Errorf("answered %d, want 503", code)
			}
			down = false
			if code := b.push(l); code != http.StatusNoContent {
				t.Errorf("then answered %d", code)
			}
			b.has(nightly, "Hello")
			if got := b.refused.take(); len(got) != 0 {
				t.Errorf("refused: %v", got)
			}
		})
	}
}

// A message whose task was made and deleted since is done.
func TestDeletedTaskIsNotMadeAgain(t *testing.T) {
	b := newBench(t, "")
	const text = `{"id": "a", "text": "Hello"}`
	b.line(text)
	if _, err := b.config.Desk.ChangeByID(t.Context(), b.tasks(nightly)[0].ID(), task.Record.Delete); err != nil {
		t.Fatal(err)
	}
	b.line(text)
	b.has(nightly)
}

// Messages that are too large for a line are refused with all their data.
func TestLargeMessages(t *testing.T) {
	b := newBench(t, "")
	data := bytes.Repeat([]byte("x"), 10_000_000)
	for range 2 {
		if code := b.push(bus.Letter{Data: data, ID: "1"}); code != http.StatusNoContent {
			t.Errorf("10 MB are answered %d", code)
		}
	}
	got := b.refused.take()
	if len(got) != 2 || !bytes.Equal(got[0].Data, data) || !strings.Contains(got[0].Attributes[submit.Reason], "more than 384 KiB") {
		t.Errorf("%d are refused", len(got))
	}
	if code := b.push(bus.Letter{Data: bytes.Repeat(data, 2), ID: "2"}); code != http.StatusBadRequest {
		t.Errorf("20 MB, which Pub/Sub has not, are answered %d", code)
	}
}

// While a large message is handled, another one waits, and then comes again. Lines pass.
func TestLargeMessagesDoNotFillTheMemory(t *testing.T) {
	busy, release := make(chan struct{}), make(chan struct{})
	b := newBench(t, "", func(b *bench) { b.config.Refused = &slow{busy, release} })
	large := bus.Letter{Data: bytes.Repeat([]byte("x"), 2<<20), ID: "large"}
	first := make(chan int, 1)
	go func() { first <- b.push(large) }()
	<-busy

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := b.pushWith(ctx, large); code != http.StatusServiceUnavailable {
		t.Errorf("a second large message is answered %d, want 503", code)
	}
	b.line(`{"id": "a", "text": "Hello"}`)
	close(release)
	if code := <-first; code != http.StatusNoContent {
		t.Errorf("the first is answered %d", code)
	}
}

// slow is a topic that does not answer before it is released.
type slow struct {
	busy, release chan struct{}
}

func (s *slow) Send(context.Context, bus.Letter) error {
	close(s.busy)
	<-s.release
	return nil
}

// Each message has a line in the audit log, with the subscription and without content.
func TestAuditOfSubmissions(t *testing.T) {
	b := newBench(t, ", limits: {requests: 2/s}")
	b.line(`{"id": "hunter2", "text": "hunter2"}`)
	b.push(bus.Letter{Data: []byte("hunter2")})
	b.push(bus.Letter{Data: []byte(`{"id": "hunter2", "text": "hunter2"}`)})

	log := b.log.String()
	for _, want := range []string{
		`msg="operation done" logger=audit caller=acme/nightly via="subscription errand-submit-nightly" operation=SendMessage task=` + b.tasks(nightly)[0].ID() + " status=200",
		`msg="operation refused" logger=audit caller=acme/nightly via="subscription errand-submit-nightly" operation=SendMessage status=400 reason="the message cannot become a task"`,
		`operation=SendMessage status=429 by="limit requests"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if strings.Contains(log, "hunter2") || t.Failed() {
		t.Errorf("the log:\n%s", log)
	}
}
