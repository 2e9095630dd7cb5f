package push_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/cardserver/push"
	"errand/shared/lab/faulty"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

const (
	alice, bob, ops = "acme/alice", "other/bob", "ops"
	ofWebhook       = "/push/tasks/t1/hooks/h"
)

type hook struct {
	TaskID, ID, Owner, URL, State string
	Gone, PingPending             bool
	Notifications                 int `json:"notes"`
	Delivered, Failures           int
	NextAttempt                   *time.Time
	Pending                       []struct {
		Notification      int `json:"note"`
		State, ArtifactID string
	}
	Attempts []struct {
		Notification int `json:"note"`
		Status       int
		Error        string
	}
}

type letters struct {
	Webhooks      []hook `json:"hooks"`
	NextPageToken string
}

type redriven struct {
	Webhooks int `json:"hooks"`
	More     bool
}

// The description names all operations that are served, and no other.
func TestDescriptionNamesWhatIsServed(t *testing.T) {
	w := newWorld(t)
	if diff := cmp.Diff(append(push.Routes(), push.WakeRoute), w.described.Operations()); diff != "" {
		t.Errorf("operations (-served +described):\n%s", diff)
	}
	if rec := w.ask("", "GET", "/push/openapi.yaml", ""); rec.Code != 200 || rec.Body.String() != string(push.Description()) {
		t.Errorf("the description is answered %d", rec.Code)
	}
}

// A caller sees the delivered and the pending notifications, no secret, and nothing of the inside
// of a network.
func TestOwnerSeesWhatBecameOfAWebhook(t *testing.T) {
	w := newWorld(t)
	w.dead(alice, "t1")
	got := want[hook](w, 200, alice, "GET", ofWebhook, "")
	if got.State != "dead" || got.Notifications != 2 || got.Delivered != 1 || got.Failures != 1 || got.NextAttempt != nil || got.Owner != "" || got.URL != hookURL {
		t.Errorf("the webhook is %+v", got)
	}
	if len(got.Pending) != 1 || got.Pending[0].Notification != 2 || got.Pending[0].State != "TASK_STATE_COMPLETED" {
		t.Errorf("pending is %+v", got.Pending)
	}
	if a := got.Attempts; len(a) != 2 || a[0].Status != 200 || a[1].Notification != 2 || a[1].Error != "DELIVERY_FAILED" {
		t.Errorf("attempts are %+v", a)
	}
	if seen := want[hook](w, 200, ops, "GET", ofWebhook, ""); seen.Owner != alice || seen.Attempts[1].Error != "connection" {
		t.Errorf("the operator sees %+v", seen)
	}
	if all := want[letters](w, 200, alice, "GET", "/push/tasks/t1/hooks", ""); len(all.Webhooks) != 1 || all.Webhooks[0].ID != "h" {
		t.Errorf("the task's webhooks are %+v", all)
	}
	if body := w.ask(alice, "GET", ofWebhook, "").Body.String(); strings.Contains(body, "sealed-things") {
		t.Errorf("sealed secrets are shown: %s", body)
	}
}

// A foreign task does not exist, to the letter, and no request changes it.
func TestOthersSeeNothing(t *testing.T) {
	w := newWorld(t)
	before := w.dead(alice, "t1")

	for _, c := range []struct{ method, path, body string }{
		{"GET", "/push/tasks/t1/hooks", ""}, {"GET", ofWebhook, ""}, {"POST", ofWebhook + "/redrive", ""},
		{"POST", ofWebhook + "/redrive", `{"fromNote":9}`}, {"POST", ofWebhook + "/ping", ""},
	} {
		got, absent := w.ask(bob, c.method, c.path, c.body), w.ask(bob, c.method, strings.Replace(c.path, "t1", "none", 1), c.body)
		if got.Code != 404 || got.Body.String() != absent.Body.String() {
			t.Errorf("%s %s: %d %s, and of a task that is not there %s", c.method, c.path, got.Code, got.Body, absent.Body)
		}
		if no := w.ask("", c.method, c.path, c.body); no.Code != 401 || no.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s without credentials: %d %s", c.method, c.path, no.Code, no.Body)
		}
	}

	if got := want[letters](w, 200, bob, "GET", "/push/dead-letters", ""); len(got.Webhooks) != 0 {
		t.Errorf("another's dead letters: %+v", got.Webhooks)
	}
	if got := want[redriven](w, 200, bob, "POST", "/push/redrive", "{}"); got.Webhooks != 0 {
		t.Errorf("another's webhooks are re-driven: %+v", got)
	}

	for _, owner := range []string{alice, "*"} {
		if got := w.ask(bob, "GET", "/push/dead-letters?owner="+url.QueryEscape(owner), ""); got.Code != 400 {
			t.Errorf("dead letters of %s: %d", owner, got.Code)
		}
		if got := w.ask(bob, "POST", "/push/redrive", `{"owner":"`+owner+`"}`); got.Code != 400 {
			t.Errorf("re-drive of %s: %d", owner, got.Code)
		}
	}

	if after := w.hook("t1"); after.Gen != before.Webhooks[0].Gen || !after.Ping.IsZero() || len(w.asked()) != 0 {
		t.Errorf("the webhook is now %+v", after)
	}
}

func TestRedriveFromANotificationOrATimeOn(t *testing.T) {
	for body, cursor := range map[string]int{
		"": 1, "{}": 1, `{"fromNote":1}`: 0, `{"fromNote":2}`: 1, `{"since":"2020-01-01T00:00:00Z"}`: 0,
	} {
		w := newWorld(t)
		w.dead(alice, "t1")
		got := want[hook](w, 200, alice, "POST", ofWebhook+"/redrive", body)
		if got.State != "active" || got.Delivered != cursor || got.NextAttempt == nil || got.Failures != 0 {
			t.Errorf("re-drive with %q: %+v", body, got)
		}
		if h := w.hook("t1"); h.State != task.WebhookActive || h.Cursor != cursor {
			t.Errorf("re-drive with %q: stored as %+v", body, h)
		}
		if asked := w.asked(); !slices.Equal(asked, []string{"t1"}) {
			t.Errorf("re-drive with %q: jobs for %v", body, asked)
		}
	}
}

// An operator finds all dead letters, page by page, and brings back those of one owner, as
// that owner could.
func TestDeadLettersAndTheirRedrive(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.dead(alice, fmt.Sprint("a", i))
	}

	w.dead(bob, "b")
	w.ended(alice, "well")
	var seen []string
	path := "/push/dead-letters?owner=*&pageSize=3"
	for next := path; ; {
		page := want[letters](w, 200, ops, "GET", next, "")
		for _, h := range page.Webhooks {
			seen = append(seen, h.TaskID)
		}

		if page.NextPageToken == "" {
			break
		}

		next = path + "&pageToken=" + page.NextPageToken
	}

	slices.Sort(seen)
	if diff := cmp.Diff([]string{"a0", "a1", "a2", "a3", "a4", "a5", "a6", "b"}, seen); diff != "" {
		t.Errorf("webhooks on all pages (-want +got):\n%s", diff)
	}
	if got := want[letters](w, 200, alice, "GET", "/push/dead-letters", ""); len(got.Webhooks) != 7 {
		t.Errorf("alice has %d dead letters, want 7", len(got.Webhooks))
	}
	if got := want[redriven](w, 200, ops, "POST", "/push/redrive", `{"owner":"other/bob"}`); got != (redriven{Webhooks: 1}) {
		t.Errorf("re-driven %+v", got)
	}

	if got := want[redriven](w, 200, alice, "POST", "/push/redrive", ""); got != (redriven{Webhooks: 7}) {
		t.Errorf("re-driven %+v", got)
	}
	if asked := w.asked(); len(asked) != 8 {
		t.Errorf("jobs for %v", asked)
	}
	if got := want[letters](w, 200, ops, "GET", "/push/dead-letters?owner=*", ""); len(got.Webhooks) != 0 {
		t.Errorf("still dead: %+v", got.Webhooks)
	}
	if h := w.hook("well"); h.Gen != 1 {
		t.Errorf("a webhook that was not dead is re-driven: %+v", h)
	}
}

// One request brings back more dead letters than fit on a page.
func TestRedriveOfManyPages(t *testing.T) {
	w := newWorld(t)
	for i := range 120 {
		w.dead(alice, fmt.Sprint("t", i))
	}
	if got := want[redriven](w, 200, alice, "POST", "/push/redrive", ""); got != (redriven{Webhooks: 120}) {
		t.Errorf("re-driven %+v", got)
	}
}

// A record of a newer version does not keep the others dead.
func TestRedrivePassesOverWhatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"t1", "t2", "t3"} {
		w.dead(alice, id)
	}
	w.config.Desk = w.Desk(faulty.Loading(w.Store, func(r task.Record) (task.Record, error) {
		if r.ID() == "t2" {
			return faulty.Newer(r)
		}
		return r, nil
	}))
	w.Handler = push.New(w.config)
	if got := want[redriven](w, 200, alice, "POST", "/push/redrive", ""); got != (redriven{Webhooks: 2}) {
		t.Errorf("re-driven %+v, want those of the two others", got)
	}
	if asked := w.asked(); len(asked) != 2 || w.hook("t2").State != task.WebhookDead {
		t.Errorf("jobs for %v, and t2 has %+v", asked, w.hook("t2"))
	}
}

func TestPingIsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.dead(alice, "t1")
	for range 2 {
		if got := want[hook](w, 202, alice, "POST", ofWebhook+"/ping", ""); !got.PingPending || got.State != "dead" {
			t.Errorf("after asking for a ping: %+v", got)
		}
	}
	if w.hook("t1").Ping.IsZero() || w.asked()[0] != "t1" {
		t.Errorf("stored as %+v", w.hook("t1"))
	}
}

// A foreign task is refused before the store is asked, on every route. An operator sees its
// webhooks and cannot delete it.
func TestForeignTasksAreRefusedBeforeTheStore(t *testing.T) {
	w := newWorld(t)
	id, _ := task.Derive(alice, "m")
	w.dead(alice, id)
	asked := 0
	w.config.Store = counted{w.config.Store, &asked}
	w.Handler = push.New(w.config)

	for _, row := range []struct {
		caller, id   string
		status, asks int
	}{
		{alice, id, 200, 1}, {ops, id, 200, 1}, {bob, id, 404, 0}, {bob, id[:8] + strings.Repeat("a", 26), 404, 0}, {bob, "t1", 404, 1},
	} {
		for _, route := range []string{"GET /hooks", "GET /hooks/h", "POST /hooks/h/redrive", "POST /hooks/h/ping", "DELETE"} {
			method, path, _ := strings.Cut(route, " ")
			path = "/push/tasks/" + row.id + path
			status, asks := row.status, row.asks

			switch {
			case method == "DELETE" && row.caller == ops:
				path, status, asks = "/tasks/"+row.id, 404, 0
			case method == "DELETE":
				path = "/tasks/" + row.id
			}
			if method != "GET" && status == 200 {
				continue // these change the webhook or the task
			}

			asked = 0
			if rec := w.ask(row.caller, method, path, ""); rec.Code != status || asked != asks {
				t.Errorf("%s: %s %s: status %d after %d reads, want %d after %d", row.caller, method, path, rec.Code, asked, status, asks)
			}
		}
	}
}

// A counted store counts its reads.
type counted struct {
	push.Store
	loads *int
}

func (c counted) Load(ctx context.Context, id string) (task.Record, error) {
	*c.loads++
	return c.Store.Load(ctx, id)
}

// A webhook takes one ping or re-drive in ten seconds. The answer 429 says when to come again,
// and a re-drive of all leaves such webhooks out.
func TestPingsAndRedrivesAreRated(t *testing.T) {
	w := newWorld(t)
	sent := func() {
		base.Update(t, w.Store, "t1", func(r task.Record) (task.Record, bool, error) {
			h := r.Webhooks[0]
			return r.Delivered(w.Moment(), []task.Delivery{{Webhook: h, Pinged: !h.Ping.IsZero(), Fail: true}})
		})
	}

	w.dead(alice, "t1")
	want[hook](w, 202, alice, "POST", ofWebhook+"/ping", "")
	sent()
	for _, path := range []string{"/ping", "/redrive"} {
		rec := w.ask(alice, "POST", ofWebhook+path, "")
		if after, err := strconv.Atoi(rec.Header().Get("Retry-After")); rec.Code != 429 || err != nil || after < 1 || after > 10 || !strings.Contains(rec.Body.String(), "10 seconds") {
			t.Errorf("%s: %d, Retry-After %q, %s", path, rec.Code, rec.Header().Get("Retry-After"), rec.Body)
		}
	}

	w.dead(alice, "t2")
	if got := want[redriven](w, 200, alice, "POST", "/push/redrive", ""); got != (redriven{Webhooks: 1}) || w.hook("t1").State != task.WebhookDead {
		t.Errorf("re-driven %+v, and the one that was pinged is %+v", got, w.hook("t1"))
	}
}

// The rate is in the record, so two processes that are asked at the same time allow one
// ping or re-drive together.
func TestTwoProcessesShareTheRate(t *testing.T) {
	for range 10 {
		w := newWorld(t)
		w.dead(alice, "t1")
		gen := w.hook("t1").Gen
		other := *w
		other.Handler = push.New(w.config)

		var all sync.WaitGroup
		for i, side := range []*world{w, &other, w, &other} {
			all.Go(func() {
				path := ofWebhook + []string{"/ping", "/redrive"}[i/2]
				if rec := side.ask(alice, "POST", path, ""); !slices.Contains([]int{200, 202, 409, 429}, rec.Code) {
					t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
				}
			})
		}
		all.Wait()

		h := w.hook("t1")
		pinged, redriven := !h.Ping.IsZero(), h.State == task.WebhookActive
		if pinged == redriven || h.Gen > gen+1 {
			t.Errorf("pinged %v, re-driven %v, generation %d after %d; want one ping or one re-drive", pinged, redriven, h.Gen, gen)
		}
	}
}

// A caller learns the secrets, public keys and opaque names of its own webhooks, and no other's.
func TestKeysAreTheCallersOwn(t *testing.T) {
	w := newWorld(t)
	type shown struct {
		Secrets, PublicKeys, Subjects []string
		KeySet                        string
	}
	path := "/push/keys?url=" + url.QueryEscape(hookURL)
	got := want[shown](w, 200, alice, "GET", path, "")
	ring, now := base.Ring(t, w.config.Keys), time.Now()
	if diff := cmp.Diff(shown{ring.Secrets(now, alice, hookURL), ring.Public(now, alice), ring.Subjects(now, alice), "/.well-known/jwks.json"}, got); diff != "" {
		t.Errorf("keys of the webhook (-want +got):\n%s", diff)
	}
	other := want[shown](w, 200, bob, "GET", path, "")
	if other.Secrets[0] == got.Secrets[0] || other.PublicKeys[0] == got.PublicKeys[0] || other.Subjects[0] == got.Subjects[0] {
		t.Errorf("two owners have one secret, public key or subject: %+v and %+v", got, other)
	}
	if rec := w.ask(alice, "GET", path, ""); rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("secrets may be kept by caches: %v", rec.Header())
	}
}

// An operator's mistake is not an outage.
func TestOwnerIsAName(t *testing.T) {
	w := newWorld(t)
	if rec := w.ask(ops, "GET", "/push/dead-letters?owner=%ff", ""); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), `"field":"owner"`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func token(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func TestBadInputNamesTheField(t *testing.T) {
	w := newWorld(t)
	w.dead(alice, "t1")
	before := w.hook("t1")

	for _, c := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"GET", "/push/dead-letters?pageSize=0", "", 400, "pageSize"},
		{"GET", "/push/dead-letters?pageSize=101", "", 400, "pageSize"},
		{"GET", "/push/dead-letters?pageSize=x", "", 400, "pageSize"},
		{"GET", "/push/dead-letters?pageSize=1&pageSize=2", "", 400, "pageSize"},
		{"GET", "/push/dead-letters?pageToken=%00", "", 400, "pageToken"},
		{"GET", "/push/dead-letters?pageToken=bm9wZQ", "", 400, "pageToken"},
		{"GET", "/push/dead-letters?pageToken=" + token(`{"a":1000000000000000000,"i":"x"}`), "", 400, "pageToken"},
		{"GET", "/push/dead-letters?pageToken=" + token(`{"a":-1000000000000000000,"i":"x"}`), "", 400, "pageToken"},
		{"GET", "/push/dead-letters?pageToken=" + token(`{"a":1}`), "", 400, "pageToken"},
		{"GET", "/push/dead-letters?colour=red", "", 400, "colour"},
		{"GET", "/push/dead-letters?pageSize=%zz", "", 400, "query"},
		{"GET", "/push/dead-letters?pageSize=1;pageToken=x", "", 400, "query"},
		{"GET", "/push/keys", "", 400, "url"},
		{"GET", "/push/keys?url=http://169.254.169.254/", "", 400, "url"},
		{"GET", ofWebhook + "?x=1", "", 400, "x"},
		{"POST", ofWebhook + "/redrive", `{"fromNote":0}`, 400, "fromNote"},
		{"POST", ofWebhook + "/redrive", `{"fromNote":3}`, 400, "fromNote"},
		{"POST", ofWebhook + "/redrive", `{"since":"2999-01-01T00:00:00Z"}`, 400, "since"},
		{"POST", ofWebhook + "/redrive", `{"since":"yesterday"}`, 400, "body"},
		{"POST", ofWebhook + "/redrive", `{"fromNote":1,"since":"2020-01-01T00:00:00Z"}`, 400, "since"},
		{"POST", ofWebhook + "/redrive", `{"from":1}`, 400, "body"},
		{"POST", ofWebhook + "/redrive", `[]`, 400, "body"},
		{"POST", ofWebhook + "/redrive", `{} {}`, 400, "body"},
		{"POST", ofWebhook + "/redrive", `{`, 400, "body"},
		{"POST", ofWebhook + "/redrive", `{"x":"` + strings.Repeat("x", 17<<10) + `"}`, 413, "body"},
		{"POST", ofWebhook + "/ping", `{"now":true}`, 400, "body"},
		{"POST", "/push/redrive", `{"all":true}`, 400, "body"},
		{"DELETE", ofWebhook, "", 405, ""},
		{"GET", ofWebhook + "/ping", "", 405, ""},
		{"GET", "/push/tasks/t1/hooks/none", "", 404, ""},
		{"GET", "/push/", "", 404, ""},
		{"GET", "/push/nothing", "", 404, ""},
	} {
		type problem struct {
			Status        int
			Detail, Field string
		}

		got := want[problem](w, c.status, alice, c.method, c.path, c.body)
		if got.Status != c.status || got.Field != c.field || got.Detail == "" {
			t.Errorf("%s %s %.40s: %+v, want field %q", c.method, c.path, c.body, got, c.field)
		}
	}

	if diff := cmp.Diff(before, w.hook("t1")); diff != "" {
		t.Errorf("bad input changed something (-want +got):\n%s", diff)
	}
}

// A body that the server has waited for too long is said to be late.
func TestBodyThatDoesNotArrive(t *testing.T) {
	w := newWorld(t)
	w.dead(alice, "t1")
	for _, path := range []string{"/push/redrive", ofWebhook + "/redrive", ofWebhook + "/ping"} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("POST", path, iotest.ErrReader(os.ErrDeadlineExceeded))
		r.Header.Set("X-API-Key", w.callers[alice])
		w.ServeHTTP(rec, r)
		if rec.Code != http.StatusRequestTimeout {
			t.Errorf("%s: %d, want 408: %s", path, rec.Code, rec.Body)
		}
	}
}

// A client that does not read its answer is cut off too: the answer can have megabytes.
func TestAnswerThatIsNotTaken(t *testing.T) {
	w := newWorld(t)
	w.dead(alice, "t1")
	rec := &late{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("GET", "/push/dead-letters", nil)
	r.Header.Set("X-API-Key", w.callers[alice])
	start := time.Now()
	w.ServeHTTP(rec, r)
	if wait := rec.until.Sub(start); rec.Code != http.StatusOK || wait < 29*time.Second || wait > 31*time.Second {
		t.Errorf("%d, to be written within %v, want 30 s: %s", rec.Code, wait, rec.Body)
	}
}

// late is a client with a deadline for its answer.
type late struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (l *late) SetWriteDeadline(t time.Time) error { l.until = t; return nil }

// An outage is answered as an outage.
func TestOutageIsNoFaultOfTheCaller(t *testing.T) {
	w := newWorld(t)
	w.dead(alice, "t1")
	if err := w.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if rec := w.ask(alice, "GET", ofWebhook, ""); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
}

// Of many clients that re-drive a webhook at once, those whose request took effect are told
// so, and no others. Each effective request is a generation. The clock gives each request a
// millisecond of its own: two equal requests of one millisecond are one re-drive.
func TestRedriveThatCameTooLateIsSaid(t *testing.T) {
	w := newWorld(t)
	start, ticks := time.Now(), atomic.Int64{}
	w.Now = func() time.Time { return start.Add(time.Duration(ticks.Add(1)) * time.Millisecond) }
	w.config.Desk = w.Desk(w.Store)
	w.Handler = push.New(w.config)

	before := w.dead(alice, "t1").Webhooks[0].Gen
	var all sync.WaitGroup
	var done, late atomic.Int64
	for i := range 40 {
		all.Go(func() {
			switch rec := w.ask(alice, "POST", ofWebhook+"/redrive", fmt.Sprintf(`{"fromNote":%d}`, 1+i%2)); rec.Code {
			case http.StatusOK:
				done.Add(1)
			case http.StatusConflict, http.StatusTooManyRequests:
				late.Add(1)
			default:
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		})
	}

	all.Wait()
	if made := w.hook("t1").Gen - before; made != done.Load() || made == 0 {
		t.Errorf("%d were told that it was done, %d that it was not; it was done %d times", done.Load(), late.Load(), made)
	}
}
