package notify_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/functions/notify"
	"errand/shared/bus"
	"errand/shared/queue"
	"errand/shared/task"
)

const urlA, urlB = "https://a.test/hook", "https://b.test/hook"

// A finished task with one webhook: an event, one job, the notes in order over
// real HTTP, one commit for all of them.
func TestDelivers(t *testing.T) {
	got := make(chan *http.Request, 10)
	bodies := make(chan a2a.StreamResponse, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bodies <- decode(t, r.Body)
		got <- r
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(make([]byte, 1<<20)) // of no interest
	}))
	defer srv.Close()
	w := newWorld(t)
	w.close()
	w.open(srv.Client())
	w.accept("t1", task.Hook{ID: "h", URL: srv.URL + "/x?key=1", Token: "tok", Scheme: "Bearer", Credentials: "cred"})
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
	w.close() // waits for the pass
	w.store.mu.Lock()
	if w.store.commits != 1 {
		t.Errorf("%d commits for two notes, want 1", w.store.commits)
	}
	w.store.mu.Unlock()
	if n := len(w.queue.all()); n != 1 {
		t.Errorf("%d jobs added, want 1", n)
	}
	w.open(srv.Client())
	h := w.hook("t1", "h")
	if h.Cursor != 2 || h.Attempt != 0 || len(h.Tries) != 2 || h.Tries[1].Status != 202 || h.Tries[1].Note != 2 {
		t.Errorf("hook %+v", h)
	}
}

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
		{name: "unknown task", raw: `{"message":{"attributes":{"task":"nope","note":"1","time":"2026-01-02T03:04:05Z"}}}`, code: 204},
		{name: "too large", raw: `"` + string(make([]byte, 2<<20)) + `"`, code: 204},
		{name: "store outage", note: 2, store: true, code: 503},
		{name: "queue outage", note: 2, queue: true, code: 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.accept("t1", task.Hook{ID: "h", URL: urlA})
			w.finish("t1", a2a.TaskStateCompleted, "", "a", "x")
			w.queue.keep, w.queue.down = true, c.queue
			w.store.setDown(c.store)
			var code int
			if c.note > 0 {
				code = w.event("t1", c.note)
			} else {
				code = w.post(t.Context(), bus.PathEvents, c.raw)
			}
			if code != c.code || len(w.queue.all()) != c.jobs {
				t.Errorf("code %d with %d jobs, want %d with %d", code, len(w.queue.all()), c.code, c.jobs)
			}
		})
	}
}

// Nothing to do, nothing added: no hook, or one that is level, dead, or to be tried
// much later.
func TestEventWithoutHookBehind(t *testing.T) {
	w := newWorld(t)
	w.queue.keep = true
	w.accept("none")
	w.finish("none", a2a.TaskStateCompleted, "")
	w.event("none", 0)
	w.accept("level", task.Hook{ID: "h", URL: urlA})
	w.finish("level", a2a.TaskStateCompleted, "")
	w.deliver("level")
	w.event("level", 0)
	w.client.on(urlB, answers(410))
	w.accept("gone", task.Hook{ID: "h", URL: urlB})
	w.finish("gone", a2a.TaskStateCompleted, "")
	w.deliver("gone")
	w.event("gone", 0)
	w.client.on(urlB, answers(429, "Retry-After", "100"))
	w.accept("later", task.Hook{ID: "h", URL: urlB})
	w.finish("later", a2a.TaskStateCompleted, "")
	w.deliver("later")
	w.event("later", 0)
	if got := w.queue.all(); len(got) != 0 {
		t.Errorf("jobs added: %+v", got)
	}
}

func TestDeliveryNeverSlowsTheQueue(t *testing.T) {
	w := newWorld(t)
	w.accept("t1", task.Hook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "")
	for _, body := range []string{``, `{`, `{"id":"nope"}`, `{"queue":"turns","sweep":"2026-01-02T03:04:05Z"}`} {
		if code := w.post(t.Context(), queue.PathDeliver, body); code != 204 {
			t.Errorf("%q answered %d, want 204", body, code)
		}
	}
	w.store.setDown(true)
	w.deliver("t1")
	w.store.setDown(false)
	w.queue.down = true
	w.client.on(urlA, answers(500))
	w.deliver("t1")
	if h := w.hook("t1", "h"); h.Attempt != 1 {
		t.Errorf("attempts %d, want 1", h.Attempt)
	}
}

// A receiver that never answers takes its own time only: the other hook of the
// task is told everything at once, and its cursor is stored while the first hangs.
func TestDeadReceiverDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.client.on(urlA, hangs)
		w.accept("t1", task.Hook{ID: "dead", URL: urlA}, task.Hook{ID: "good", URL: urlB})
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

// A receiver that is down for longer than the schedule: the attempts come at its
// times, give or take a fifth, then the hook is dead with its cursor where it was.
// A new note brings it back, and it is told everything it missed, in order.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.client.on(urlA, answers(500))
		w.accept("t1", task.Hook{ID: "h", URL: urlA})
		w.finish("t1", a2a.TaskStateInputRequired, "which?")
		w.event("t1", 0)
		w.untilSettled("t1")
		calls := w.client.calls(urlA)
		schedule := notify.Schedule()
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
		if h := w.hook("t1", "h"); h.State != task.HookDead || h.Gone || h.Cursor != 0 || len(h.Tries) != 10 {
			t.Errorf("afterwards %+v", h)
		}
		w.client.on(urlA, nil)
		w.answer("t1", "that")
		w.finish("t1", a2a.TaskStateCompleted, "")
		w.event("t1", 0)
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"t1/1", "t1/2"}, w.client.ids(urlA)[len(calls):]); diff != "" {
			t.Error(diff)
		}
	})
}

// untilSettled lives through the debts of a task: what the queue does not bring
// itself comes when it is Due.
func (w *world) untilSettled(id string) {
	for end := time.Now().Add(100 * time.Hour); time.Now().Before(end); {
		synctest.Wait()
		r, err := w.db.Load(context.Background(), id)
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

func TestFailures(t *testing.T) {
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
				w.queue.keep = true
				w.accept("t1", task.Hook{ID: "h", URL: urlA})
				w.finish("t1", a2a.TaskStateCompleted, "")
				w.failed("t1", c.failures)
				w.client.on(urlA, c.answer)
				w.deliver("t1")
				hook := w.hook("t1", "h")
				if hook.Attempt != c.failures+1 || hook.Cursor != 0 || hook.State != task.HookActive {
					t.Fatalf("hook %+v", hook)
				}
				wait := hook.Next.Sub(hook.Tries[len(hook.Tries)-1].At)
				if wait < c.low || wait > c.high {
					t.Errorf("wait %v, want %v to %v", wait, c.low, c.high)
				}
				// What is under a minute away is brought by a job, the rest by Due.
				if got := len(w.queue.all()) == 1; got != (time.Until(hook.Next) <= time.Minute) {
					t.Errorf("job added: %v, with a wait of %v", got, wait)
				}
			})
		})
	}
}

// failed makes the hook's attempts fail so many times, long ago.
func (w *world) failed(id string, times int) {
	for range times {
		w.update(id, func(r task.Record) (task.Record, bool, error) {
			return r.Delivered(w.rules.At(time.Now()), []task.Delivery{{
				Hook: r.Hooks[0], Fail: true, Wait: time.Now(), Tries: []task.Try{{Note: r.Hooks[0].Cursor + 1, Status: 500}},
			}})
		})
	}
}

func TestGone(t *testing.T) {
	w := newWorld(t)
	w.client.on(urlA, answers(410, "Retry-After", "5"))
	w.accept("t1", task.Hook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateInputRequired, "?")
	w.deliver("t1")
	if h := w.hook("t1", "h"); h.State != task.HookDead || !h.Gone || h.Cursor != 0 {
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

// While the first note is under way the hook is deleted, or replaced. The attempt
// that was decided may finish; the old receiver hears nothing more. The new one is
// served although its own hint was turned away.
func TestHookChangedDuringAPass(t *testing.T) {
	for _, c := range []struct {
		name    string
		replace bool
		want    []string // at the new receiver
	}{
		{"deleted", false, nil},
		{"replaced", true, []string{"t1/3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.queue.keep = true
			begun, release := make(chan bool), make(chan bool)
			w.client.on(urlA, func(*http.Request) (*http.Response, error) {
				begun <- true
				<-release
				return status(200), nil
			})
			w.accept("t1", task.Hook{ID: "h", URL: urlA})
			w.finish("t1", a2a.TaskStateCompleted, "", "a", "x", "b", "y")
			ended := make(chan bool)
			go func() { defer close(ended); w.deliver("t1") }()
			<-begun
			if c.replace {
				w.setHook("t1", task.Hook{ID: "h", URL: urlB})
			} else {
				w.update("t1", func(r task.Record) (task.Record, bool, error) { return r.DropHook(w.rules.At(time.Now()), "h") })
			}
			w.deliver("t1") // its hint: turned away
			if n := len(w.client.ids(urlB)); n != 0 {
				t.Errorf("%d attempts beside the one in flight", n)
			}
			close(release)
			<-ended
			if diff := cmp.Diff([]string{"t1/1"}, w.client.ids(urlA)); diff != "" {
				t.Errorf("the old receiver: %s", diff)
			}
			if diff := cmp.Diff(c.want, w.client.ids(urlB)); diff != "" {
				t.Errorf("the new receiver: %s", diff)
			}
			if c.replace && w.hook("t1", "h").Cursor != 3 {
				t.Errorf("the new hook: %+v", w.hook("t1", "h"))
			}
		})
	}
}

// A hook is replaced at the moments when a pass is not looking: before its first
// attempt has read the record, and after its commit. The hint of the replacement is
// turned away each time, because the pass still has the hook.
func TestReplacedUnseen(t *testing.T) {
	for _, c := range []struct {
		name string
		at   func(s *store, replace func())
		old  []string
	}{
		{"before the attempt", func(s *store, replace func()) {
			loads := 0
			s.loading = func() {
				if loads++; loads == 2 { // the first is that of the job
					replace()
				}
			}
		}, nil},
		{"after the commit", func(s *store, replace func()) {
			s.written = sync.OnceFunc(replace)
		}, []string{"t1/1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.queue.keep = true
			w.accept("t1", task.Hook{ID: "h", URL: urlA})
			w.finish("t1", a2a.TaskStateCompleted, "")
			c.at(w.store, func() {
				w.setHook("t1", task.Hook{ID: "h", URL: urlB})
				w.deliver("t1")
			})
			w.deliver("t1")
			if diff := cmp.Diff(c.old, w.client.ids(urlA)); diff != "" {
				t.Errorf("the old receiver: %s", diff)
			}
			if diff := cmp.Diff([]string{"t1/1"}, w.client.ids(urlB)); diff != "" {
				t.Errorf("the new receiver: %s", diff)
			}
		})
	}
}

// Hints that overlap a pass add nothing to what is sent.
func TestOverlappingHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		slow := func(*http.Request) (*http.Response, error) {
			time.Sleep(300 * time.Millisecond)
			return status(200), nil
		}
		w.client.on(urlA, slow)
		w.accept("t1", task.Hook{ID: "h", URL: urlA})
		w.finish("t1", a2a.TaskStateCompleted, "", "a", "x", "b", "y", "c", "z", "d", "z")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { w.deliver("t1") })
			wg.Go(func() { w.event("t1", 0) })
		}
		wg.Wait()
		time.Sleep(10 * time.Second)
		if diff := cmp.Diff([]string{"t1/1", "t1/2", "t1/3", "t1/4", "t1/5"}, w.client.ids(urlA)); diff != "" {
			t.Error(diff)
		}
	})
}

// Two processes serve the same hook. What the receiver hears first of every note
// comes in order, and the cursor ends level.
func TestTwoProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		slow := func(*http.Request) (*http.Response, error) {
			time.Sleep(70 * time.Millisecond)
			return status(200), nil
		}
		w.client.on(urlA, slow)
		w.accept("t1", task.Hook{ID: "h", URL: urlA})
		var artifacts []string
		for i := range 30 {
			artifacts = append(artifacts, strconv.Itoa(i), "x")
		}
		w.finish("t1", a2a.TaskStateCompleted, "", artifacts...)
		other := notify.New(notify.Config{Store: w.db, Queue: w.queue, Client: w.client, Rules: w.rules})
		var wg sync.WaitGroup
		wg.Go(func() { w.deliver("t1") })
		wg.Go(func() {
			time.Sleep(500 * time.Millisecond)
			req := httptest.NewRequest(http.MethodPost, queue.PathDeliver, http.NoBody)
			req.Body = http.MaxBytesReader(nil, jobBody("t1"), 1000)
			other.ServeDelivery(httptest.NewRecorder(), req)
		})
		wg.Wait()
		time.Sleep(10 * time.Second)
		seen := 0
		for _, id := range w.client.ids(urlA) {
			if id == "t1/"+strconv.Itoa(seen+1) {
				seen++
			} else if n, err := strconv.Atoi(id[3:]); err != nil || n > seen {
				t.Fatalf("%s came after %d", id, seen)
			}
		}
		if h := w.hook("t1", "h"); seen != 31 || h.Cursor != 31 {
			t.Errorf("%d notes received, cursor %d, want 31", seen, h.Cursor)
		}
		// The other one sends what the first has not committed yet, then leaves it.
		if n := len(w.client.ids(urlA)) - seen; n == 0 || n > 12 {
			t.Errorf("%d notes were sent twice, want those of half a second", n)
		}
	})
}

// Killed between two notes, the next process sends the second one only.
func TestCursorSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	w.queue.keep = true
	w.client.on(urlA, func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Webhook-Id") == "t1/2" {
			return status(503), nil
		}
		return status(200), nil
	})
	w.accept("t1", task.Hook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "", "a", "x")
	w.deliver("t1")
	w.close()
	w.open(nil)
	if h := w.hook("t1", "h"); h.Cursor != 1 || h.Attempt != 1 {
		t.Fatalf("after the restart: %+v", h)
	}
	w.client.on(urlA, nil)
	w.update("t1", func(r task.Record) (task.Record, bool, error) { // its time has come
		return r.Delivered(w.rules.At(time.Now()), []task.Delivery{{Hook: r.Hooks[0], Fail: true, Wait: time.Now()}})
	})
	w.deliver("t1")
	if diff := cmp.Diff([]string{"t1/1", "t1/2", "t1/2"}, w.client.ids(urlA)); diff != "" {
		t.Error(diff)
	}
}

// Told to stop while a receiver is thinking: that is no attempt, and a job brings
// the hook back.
func TestShutdownIsNoAttempt(t *testing.T) {
	w := newWorld(t)
	w.queue.keep = true
	ctx, stop := context.WithCancel(t.Context())
	w.client.on(urlA, func(req *http.Request) (*http.Response, error) {
		stop()
		return hangs(req)
	})
	w.accept("t1", task.Hook{ID: "h", URL: urlA}, task.Hook{ID: "ok", URL: urlB})
	w.finish("t1", a2a.TaskStateCompleted, "")
	w.post(ctx, queue.PathDeliver, string(queue.Job{Task: "t1"}.Body()))
	if h := w.hook("t1", "h"); h.Attempt != 0 || h.Cursor != 0 || len(h.Tries) != 0 {
		t.Errorf("the hook that was cut off: %+v", h)
	}
	got := w.queue.all()
	if len(got) != 1 || got[0].Task != "t1" || got[0].Queue != task.Deliveries {
		t.Errorf("jobs %+v, want one", got)
	}
	if n := w.hook("t1", "ok").Cursor; n != len(w.client.ids(urlB)) {
		t.Errorf("cursor %d of the other hook, which got %d", n, len(w.client.ids(urlB)))
	}
}

// A pass ends by itself with a long backlog; its job goes on.
func TestPassEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.queue.keep = true
		w.client.on(urlA, func(*http.Request) (*http.Response, error) {
			time.Sleep(14 * time.Second)
			return status(200), nil
		})
		w.accept("t1", task.Hook{ID: "h", URL: urlA})
		w.finish("t1", a2a.TaskStateCompleted, "", "a", "", "b", "", "c", "", "d", "", "e", "", "f", "")
		start := time.Now()
		w.deliver("t1")
		if took := time.Since(start); took < 40*time.Second || took > 55*time.Second {
			t.Errorf("the pass took %v", took)
		}
		if h := w.hook("t1", "h"); h.Cursor != 3 {
			t.Errorf("cursor %d, want 3", h.Cursor)
		}
		if got := w.queue.all(); len(got) != 1 || !got[0].At.IsZero() {
			t.Errorf("jobs %+v, want one at once", got)
		}
	})
}

// Many tasks with one receiver: eight attempts at once, nobody waits for a slot,
// and everybody is told in the end, about as fast as it answers and without an
// attempt counted as failed.
func TestHostLimit(t *testing.T) {
	for _, c := range []struct{ takes, within time.Duration }{
		{20 * time.Millisecond, 2 * time.Second},
		{time.Second, 15 * time.Second},
		{5 * time.Second, 75 * time.Second},
	} {
		t.Run(c.takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { manyTasks(t, c.takes, c.within) })
		})
	}
}

func manyTasks(t *testing.T, takes, within time.Duration) {
	w := newWorld(t)
	var running, most atomic.Int32
	w.client.on(urlA, func(*http.Request) (*http.Response, error) {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer running.Add(-1)
		time.Sleep(takes)
		return status(200), nil
	})
	const tasks = 60
	start := time.Now()
	for i := range tasks {
		id := "t" + strconv.Itoa(i)
		w.accept(id, task.Hook{ID: "h", URL: urlA})
		w.finish(id, a2a.TaskStateCompleted, "")
		w.event(id, 0)
	}
	for i := range tasks {
		id := "t" + strconv.Itoa(i)
		for w.hook(id, "h").Cursor == 0 && time.Since(start) < 5*time.Minute {
			time.Sleep(takes / 10)
		}
		if h := w.hook(id, "h"); h.Cursor != 1 || len(h.Tries) != 1 {
			t.Errorf("%s: %+v", id, h)
		}
	}
	if most.Load() != 8 {
		t.Errorf("%d attempts at once, want 8", most.Load())
	}
	if took := time.Since(start); took > within {
		t.Errorf("took %v, want %v at most", took, within)
	}
	if n := len(w.queue.all()); n > 6*tasks {
		t.Errorf("%d jobs for %d tasks", n, tasks)
	}
}

// Whatever goes wrong over one hook stays with it.
func TestPanicStaysWithItsHook(t *testing.T) {
	w := newWorld(t)
	w.queue.keep = true
	w.client.on(urlA, func(*http.Request) (*http.Response, error) { panic("boom") })
	w.accept("t1", task.Hook{ID: "bad", URL: urlA}, task.Hook{ID: "good", URL: urlB}, task.Hook{ID: "ugly", URL: "://"})
	w.finish("t1", a2a.TaskStateCompleted, "")
	w.deliver("t1")
	if h := w.hook("t1", "good"); h.Cursor != 1 {
		t.Errorf("the other hook: %+v", h)
	}
	if h := w.hook("t1", "ugly"); h.Attempt != 1 || h.Tries[0].Error != "request" {
		t.Errorf("the hook without a URL: %+v", h)
	}
	for range 20 { // nothing is kept that belongs to the panicked rounds
		w.deliver("t1")
	}
	if n := len(w.client.ids(urlA)); n != 21 {
		t.Errorf("%d attempts at the bad one, want 21: slots were not given back", n)
	}
}

// The store fails while notes are under way: nothing is counted that could not be
// committed, nothing is lost, the pass ends.
func TestStoreFailsDuringAPass(t *testing.T) {
	w := newWorld(t)
	w.queue.keep = true
	w.client.on(urlA, func(*http.Request) (*http.Response, error) {
		w.store.setDown(true)
		return status(200), nil
	})
	w.accept("t1", task.Hook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "", "a", "x")
	w.deliver("t1")
	w.store.setDown(false)
	w.client.on(urlA, nil)
	w.deliver("t1")
	ids := slices.Compact(w.client.ids(urlA))
	if diff := cmp.Diff([]string{"t1/1", "t1/2"}, ids); diff != "" {
		t.Error(diff)
	}
	if h := w.hook("t1", "h"); h.Cursor != 2 {
		t.Errorf("hook %+v", h)
	}
}
