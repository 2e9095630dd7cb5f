package notify_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/bus"
	"errand/shared/lab/faulty"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/shared/webhook"
)

const urlA, urlB = "https://a.test/hook", "https://b.test/hook"

// The event of a finished task with one webhook leads to one job, to the notifications in order over
// real HTTP, and to one commit for all of them.
//
// Shows P9, P10, P11, P12, P21, decision 19.
func TestNotificationsAreDelivered(t *testing.T) {
	got := make(chan *http.Request, 10)
	bodies := make(chan a2a.StreamResponse, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bodies <- decode(t, r.Body)
		got <- r
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(make([]byte, 1<<20)) // a body is ignored
	}))

	defer srv.Close()
	w := newWorld(t)
	w.reopen(through(srv.Client()))
	url := srv.URL + "/x?key=1"
	w.accept("t1", task.Webhook{ID: "h", URL: url, Scheme: "Bearer", Sealed: w.seal(url, "tok", "cred")})
	w.finish("t1", a2a.TaskStateCompleted, "done", "art", "text")
	before := time.Now().Unix()

	if code := w.event("t1", 0); code != http.StatusNoContent {
		t.Fatalf("event answered %d", code)
	}

	for i, id := range []string{"t1/1", "t1/2"} {
		r := <-got
		want := map[string]string{
			"Content-Type": "application/a2a+json", "User-Agent": "errand", "Webhook-Id": id,
			"Authorization": "Bearer cred", "A2a-Notification-Token": "tok", "X-A2a-Notification-Token": "tok",
		}

		for name, value := range want {
			if r.Header.Get(name) != value {
				t.Errorf("note %d: %s = %q, want %q", i+1, name, r.Header.Get(name), value)
			}
		}

		if stamp, err := strconv.ParseInt(r.Header.Get("Webhook-Timestamp"), 10, 64); err != nil || stamp < before || stamp > before+60 {
			t.Errorf("webhook-timestamp %q", r.Header.Get("Webhook-Timestamp"))
		}
		if r.ContentLength <= 0 || r.URL.String() != "/x?key=1" || r.Method != http.MethodPost {
			t.Errorf("%s %s, length %d", r.Method, r.URL, r.ContentLength)
		}
	}

	art := (<-bodies).Event.(*a2a.TaskArtifactUpdateEvent)
	if !art.LastChunk || art.Append || art.Artifact.ID != "art" || art.Artifact.Parts[0].Text() != "text" {
		t.Errorf("artifact update %+v", art)
	}

	st := (<-bodies).Event.(*a2a.TaskStatusUpdateEvent)
	if st.Status.State != a2a.TaskStateCompleted || st.Status.Message.Parts[0].Text() != "done" || st.TaskID != "t1" || st.ContextID != "c" {
		t.Errorf("status update %+v", st)
	}

	w.Close() // waits for the pass
	w.counted.mu.Lock()
	if w.counted.commits != 1 {
		t.Errorf("%d commits for two notes, want 1", w.counted.commits)
	}

	w.counted.mu.Unlock()
	if n := len(w.Jobs.All()); n != 1 {
		t.Errorf("%d jobs added, want 1", n)
	}

	w.open(w.Path)
	h := w.hook("t1", "h")
	if h.Cursor != 2 || h.Attempt != 0 || len(h.Tries) != 2 || h.Tries[1].Status != 202 || h.Tries[1].Notification != 2 {
		t.Errorf("hook %+v", h)
	}
}

// Only the newest event of a record leads to a job. An event that can never be handled is
// acknowledged, and an outage is not.
func TestEvent(t *testing.T) {
	for _, c := range []struct {
		name  string
		note  int
		raw   string
		store bool // is down
		queue bool // is down
		code  int
		jobs  int
	}{
		{name: "newest note", note: 2, code: 204, jobs: 1},
		{name: "older note: the newer event brings it", note: 1, code: 204},
		{name: "no envelope", raw: `{`, code: 204},
		{name: "no message", raw: `{"subscription":"s"}`, code: 204},
		{name: "no attributes", raw: `{"message":{"data":"aGk="}}`, code: 204},
		{name: "data not base64", raw: `{"message":{"data":"%%"}}`, code: 204},
		{name: "empty", raw: ``, code: 204},
		{name: "unknown task", raw: `{"message":{"attributes":{"task":"nope","note":"1","ce-time":"2026-01-02T03:04:05Z"}}}`, code: 204},
		{name: "too large", raw: `"` + string(make([]byte, 2<<20)) + `"`, code: 204},
		{name: "store outage", note: 2, store: true, code: 503},
		{name: "queue outage", note: 2, queue: true, code: 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.accept("t1", task.Webhook{ID: "h", URL: urlA})
			w.finish("t1", a2a.TaskStateCompleted, "", "a", "x")
			w.Jobs.Keep()
			if c.queue {
				w.Jobs.FailAfter(0)
			}

			w.counted.setDown(c.store)
			var code int

			if c.note > 0 {
				code = w.event("t1", c.note)
			} else {
				code = w.post(t.Context(), bus.PathEvents, c.raw)
			}

			if code != c.code || len(w.Jobs.All()) != c.jobs {
				t.Errorf("code %d with %d jobs, want %d with %d", code, len(w.Jobs.All()), c.code, c.jobs)
			}
		})
	}
}

// An event adds no job if the task has no webhook, or if the webhook is level, dead, or to be tried
// much later.
func TestEventWithoutWebhookBehind(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	w.accept("none")
	w.finish("none", a2a.TaskStateCompleted, "")
	w.event("none", 0)
	w.accept("level", task.Webhook{ID: "h", URL: urlA})
	w.finish("level", a2a.TaskStateCompleted, "")
	w.deliver("level")
	w.event("level", 0)
	w.client.on(urlB, answers(410))
	w.accept("gone", task.Webhook{ID: "h", URL: urlB})
	w.finish("gone", a2a.TaskStateCompleted, "")
	w.deliver("gone")
	w.event("gone", 0)
	w.client.on(urlB, answers(429, "Retry-After", "100"))
	w.accept("later", task.Webhook{ID: "h", URL: urlB})
	w.finish("later", a2a.TaskStateCompleted, "")
	w.deliver("later")
	w.event("later", 0)
	if got := w.Jobs.All(); len(got) != 0 {
		t.Errorf("jobs added: %+v", got)
	}
}

// A delivery is always acknowledged, because an error would slow down the queue.
func TestDeliveryNeverSlowsTheQueue(t *testing.T) {
	w := newWorld(t)
	w.accept("t1", task.Webhook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "")
	for _, body := range []string{``, `{`, `{"id":"nope"}`, `{"queue":"turns","sweep":"2026-01-02T03:04:05Z"}`} {
		if code := w.post(t.Context(), queue.PathDeliver, body); code != 204 {
			t.Errorf("%q answered %d, want 204", body, code)
		}
	}
	w.counted.setDown(true)
	w.deliver("t1")
	w.counted.setDown(false)
	w.Jobs.FailAfter(0)
	w.client.on(urlA, answers(500))
	w.deliver("t1")
	if h := w.hook("t1", "h"); h.Attempt != 1 {
		t.Errorf("attempts %d, want 1", h.Attempt)
	}
}

// A record of another version is left alone. Otherwise the event of an unreadable record
// would come back for days, and a webhook whose cursor cannot be moved would be sent the same
// notification again and again.
func TestRecordsOfOtherVersionsAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.accept("t1", task.Webhook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "")
	w.client.on(urlA, answers(200))
	own := w.counted.Store
	w.counted.Store = faulty.Loading(own, faulty.Unreadable)
	if code := w.event("t1", 1); code != 204 {
		t.Errorf("the event of an unreadable record was answered %d, want 204", code)
	}
	w.counted.Store = faulty.Loading(own, faulty.Newer)
	w.deliver("t1")
	if got := w.client.ids(urlA); len(got) != 0 {
		t.Errorf("the receiver was sent %v of a record that cannot be written", got)
	}
}

// A receiver that never answers does not delay the task's other webhook, which is sent all notifications
// at once. The cursor of that webhook is stored while the first one hangs.
//
// Shows P14, decision 18.
func TestDeadReceiverDelaysNoOtherWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.client.on(urlA, hangs)
		w.accept("t1", task.Webhook{ID: "dead", URL: urlA}, task.Webhook{ID: "good", URL: urlB})
		w.finish("t1", a2a.TaskStateCompleted, "", "a", "x", "b", "y")
		start := time.Now()
		w.event("t1", 0)
		time.Sleep(2 * time.Second)

		if h := w.hook("t1", "good"); h.Cursor != 3 {
			t.Errorf("the healthy hook's cursor is %d after 2 s, want 3", h.Cursor)
		}

		for _, c := range w.client.calls(urlB) {
			if c.at.After(start.Add(time.Second)) {
				t.Errorf("%s came after %v", c.id, c.at.Sub(start))
			}
		}

		time.Sleep(14 * time.Second)
		h := w.hook("t1", "dead")
		if h.Attempt != 1 || h.Cursor != 0 || len(h.Tries) != 1 || h.Tries[0].Error != "timeout" {
			t.Errorf("the dead hook: %+v", h)
		}
		if wait := h.Next.Sub(h.Tries[0].At); wait < time.Minute {
			t.Errorf("tried again %v after a timeout, want a minute at least", wait)
		}
	})
}

// The receiver is down for longer than the schedule. The attempts come at the schedule's
// times, give or take a fifth. Then the webhook is dead, with an unchanged cursor. A new notification
// revives the webhook, which is sent all missed notifications in order.
//
// Shows P13, decision 18.
func TestAttemptsFollowTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.client.on(urlA, answers(500))
		w.accept("t1", task.Webhook{ID: "h", URL: urlA})
		w.finish("t1", a2a.TaskStateInputRequired, "which?")
		w.event("t1", 0)
		w.untilSettled("t1")
		calls := w.client.calls(urlA)
		schedule := webhook.Standard()
		if len(calls) != len(schedule) {
			t.Fatalf("%d attempts, want %d", len(calls), len(schedule))
		}

		for i := 1; i < len(calls); i++ {
			wait := calls[i].at.Sub(calls[i-1].at)
			if low, high := schedule[i]*4/5, schedule[i]*6/5+time.Second; wait < low || wait > high {
				t.Errorf("attempt %d came after %v, want %v", i+1, wait, schedule[i])
			}
			if calls[i].id != "t1/1" {
				t.Errorf("attempt %d is %s", i+1, calls[i].id)
			}
		}

		last := calls[len(calls)-1].at
		if h := w.hook("t1", "h"); h.State != task.WebhookDead || h.Gone || h.Cursor != 0 || len(h.Tries) != 10 || h.Next.Sub(last) > time.Second {
			t.Errorf("after the attempt at %v: %+v", last, h)
		}
		if took := last.Sub(calls[0].at); took < twice/2*4/5 || took > twice/2*6/5 {
			t.Errorf("the schedule took %v, want %v give or take a fifth", took, twice/2)
		}

		w.client.on(urlA, nil)
		w.answer("t1", "that")
		w.finish("t1", a2a.TaskStateCompleted, "")
		w.event("t1", 0)
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"t1/1", "t1/2"}, w.client.ids(urlA)[len(calls):]); diff != "" {
			t.Errorf("deliveries after the restart (-want +got):\n%s", diff)
		}
	})
}

// untilSettled waits until the task owes its webhooks nothing more, and runs a pass whenever
// the task is Due.
func (w *world) untilSettled(id string) {
	for end := time.Now().Add(100 * time.Hour); time.Now().Before(end); {
		synctest.Wait()
		r, err := w.Store.Load(context.Background(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(r.Behind(end)) == 0 {
			return
		}
		time.Sleep(max(time.Second, time.Until(r.Due.At)))
		w.deliver(id)
	}
	w.t.Error("not settled")
}

// The time after a failed attempt depends on the schedule and on the answer.
//
// Shows P13.
func TestFailureSetsTheNextTime(t *testing.T) {
	const h = time.Hour
	date := time.Date(2000, 1, 1, 0, 8, 0, 0, time.UTC).Format(http.TimeFormat) // a bubble begins at midnight

	for _, c := range []struct {
		name      string
		failures  int // before
		answer    func(*http.Request) (*http.Response, error)
		low, high time.Duration // of the wait
	}{
		{"500", 0, answers(500), 4 * time.Second, 6 * time.Second},
		{"redirect", 0, answers(307, "Location", "https://c.test"), 4 * time.Second, 6 * time.Second},
		{"404", 1, answers(404), 4 * time.Minute, 6 * time.Minute},
		{"429", 0, answers(429), time.Minute, time.Minute},
		{"429 later", 3, answers(429), 96 * time.Minute, 144 * time.Minute},
		{"timeout", 0, hangs, time.Minute, time.Minute},
		{"retry-after within", 1, answers(503, "Retry-After", "420"), 7 * time.Minute, 7 * time.Minute},
		{"retry-after date", 1, answers(503, "Retry-After", date), 8*time.Minute - time.Second, 8 * time.Minute},
		{"retry-after too long", 1, answers(503, "Retry-After", "86400"), 10 * time.Minute, 10 * time.Minute},
		{"retry-after too short", 1, answers(503, "Retry-After", "1"), 4 * time.Minute, 6 * time.Minute},
		{"429 with retry-after", 0, answers(429, "Retry-After", "90"), 90 * time.Second, 90 * time.Second},
		{"429 with a long one", 0, answers(429, "Retry-After", "4000"), 2 * time.Minute, 2 * time.Minute},
		{"retry-after nonsense", 0, answers(503, "Retry-After", "-5"), 4 * time.Second, 6 * time.Second},
		{"retry-after huge", 0, answers(503, "Retry-After", "99999999999999999999"), 4 * time.Second, 6 * time.Second},
		{"last but one", 8, answers(500), 24 * h * 4 / 5, 24 * h * 6 / 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Jobs.Keep()
				w.accept("t1", task.Webhook{ID: "h", URL: urlA})
				w.finish("t1", a2a.TaskStateCompleted, "")
				w.failed("t1", c.failures)
				w.client.on(urlA, c.answer)
				w.deliver("t1")

				hook := w.hook("t1", "h")
				if hook.Attempt != c.failures+1 || hook.Cursor != 0 || hook.State != task.WebhookActive {
					t.Fatalf("hook %+v", hook)
				}

				wait := hook.Next.Sub(hook.Tries[len(hook.Tries)-1].At)
				if wait < c.low || wait > c.high {
					t.Errorf("wait %v, want %v to %v", wait, c.low, c.high)
				}

				// A job brings the webhook back within a minute, Due brings it back later.
				if got := len(w.Jobs.All()) == 1; got != (time.Until(hook.Next) <= time.Minute) {
					t.Errorf("job added: %v, with a wait of %v", got, wait)
				}
			})
		})
	}
}

// failed makes a number of the webhook's attempts fail.
func (w *world) failed(id string, times int) {
	for range times {
		w.update(id, func(r task.Record) (task.Record, bool, error) {
			return r.Delivered(w.Moment(), []task.Delivery{{
				Webhook: r.Webhooks[0], Fail: true, Wait: time.Now(), Tries: []task.Try{{Notification: r.Webhooks[0].Cursor + 1, Status: 500}},
			}})
		})
	}
}

// After a 410 no further notification is sent, and a new notification does not revive the webhook.
//
// Shows decision 18.
func TestGoneReceiverHearsNoMore(t *testing.T) {
	w := newWorld(t)
	w.client.on(urlA, answers(410, "Retry-After", "5"))
	w.accept("t1", task.Webhook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateInputRequired, "?")
	w.deliver("t1")
	if h := w.hook("t1", "h"); h.State != task.WebhookDead || !h.Gone || h.Cursor != 0 {
		t.Errorf("after 410: %+v", h)
	}
	w.answer("t1", "x")
	w.finish("t1", a2a.TaskStateCompleted, "")
	w.event("t1", 0)
	w.deliver("t1")
	if n := len(w.client.ids(urlA)); n != 1 {
		t.Errorf("%d attempts, want none after 410", n)
	}
}
