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
	"errand/shared/queue"
	"errand/shared/task"
)

// A webhook is deleted or replaced during the attempt at its first notification. The attempt may finish,
// and the old receiver is sent nothing more. The new receiver is served, although its own
// hint was turned away.
//
// Shows P7, decision 22.
func TestWebhookChangedDuringAPass(t *testing.T) {
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
			w.Jobs.Keep()
			begun, release := make(chan bool), make(chan bool)
			w.client.on(urlA, func(*http.Request) (*http.Response, error) {
				begun <- true
				<-release
				return status(200), nil
			})

			w.accept("t1", task.Webhook{ID: "h", URL: urlA})
			w.finish("t1", a2a.TaskStateCompleted, "", "a", "x", "b", "y")
			ended := make(chan bool)
			go func() { defer close(ended); w.deliver("t1") }()
			<-begun

			if c.replace {
				w.setWebhook("t1", task.Webhook{ID: "h", URL: urlB})
			} else {
				w.update("t1", func(r task.Record) (task.Record, bool, error) { return r.DropWebhook(w.Moment(), "h") })
			}

			w.deliver("t1") // the hint is turned away
			if n := len(w.client.ids(urlB)); n != 0 {
				t.Errorf("%d attempts beside the one in flight", n)
			}

			close(release)
			<-ended
			if diff := cmp.Diff([]string{"t1/1"}, w.client.ids(urlA)); diff != "" {
				t.Errorf("the old receiver (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, w.client.ids(urlB)); diff != "" {
				t.Errorf("the new receiver (-want +got):\n%s", diff)
			}
			if c.replace && w.hook("t1", "h").Cursor != 3 {
				t.Errorf("the new hook: %+v", w.hook("t1", "h"))
			}
		})
	}
}

// A webhook is replaced between two reads of a pass: before the first attempt has read the
// record, or after the commit. The hint of the replacement is turned away each time, because
// the pass still serves the webhook.
func TestReplacedUnseen(t *testing.T) {
	for _, c := range []struct {
		name string
		at   func(s *store, replace func())
		old  []string
	}{
		{"before the attempt", func(s *store, replace func()) {
			loads := 0
			s.loading = func() {
				if loads++; loads == 2 { // the first read belongs to the job
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
			w.Jobs.Keep()
			w.accept("t1", task.Webhook{ID: "h", URL: urlA})
			w.finish("t1", a2a.TaskStateCompleted, "")
			c.at(w.counted, func() {
				w.setWebhook("t1", task.Webhook{ID: "h", URL: urlB})
				w.deliver("t1")
			})

			w.deliver("t1")
			if diff := cmp.Diff(c.old, w.client.ids(urlA)); diff != "" {
				t.Errorf("the old receiver (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"t1/1"}, w.client.ids(urlB)); diff != "" {
				t.Errorf("the new receiver (-want +got):\n%s", diff)
			}
		})
	}
}

// Hints that overlap a pass cause no additional attempt.
func TestOverlappingHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		slow := func(*http.Request) (*http.Response, error) {
			time.Sleep(300 * time.Millisecond)
			return status(200), nil
		}
		w.client.on(urlA, slow)
		w.accept("t1", task.Webhook{ID: "h", URL: urlA})
		w.finish("t1", a2a.TaskStateCompleted, "", "a", "x", "b", "y", "c", "z", "d", "z")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { w.deliver("t1") })
			wg.Go(func() { w.event("t1", 0) })
		}
		wg.Wait()
		time.Sleep(10 * time.Second)
		if diff := cmp.Diff([]string{"t1/1", "t1/2", "t1/3", "t1/4", "t1/5"}, w.client.ids(urlA)); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}

// Two processes serve the same webhook. The first copies of the notifications arrive in order, and in the
// end the webhook is level.
func TestTwoProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		slow := func(*http.Request) (*http.Response, error) {
			time.Sleep(70 * time.Millisecond)
			return status(200), nil
		}

		w.client.on(urlA, slow)
		w.accept("t1", task.Webhook{ID: "h", URL: urlA})
		var artifacts []string
		for i := range 30 {
			artifacts = append(artifacts, strconv.Itoa(i), "x")
		}

		w.finish("t1", a2a.TaskStateCompleted, "", artifacts...)
		other := notify.New(notify.Config{Desk: w.Desk(w.Store), Store: w.Store, Client: w.client, Keys: w.keys})
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

		// The second process repeats the notifications that the first has not committed, and then stops.
		if n := len(w.client.ids(urlA)) - seen; n == 0 || n > 12 {
			t.Errorf("%d notes were sent twice, want those of half a second", n)
		}
	})
}

// After a crash between two notifications the next process sends only the second one.
func TestCursorSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	w.client.on(urlA, func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Webhook-Id") == "t1/2" {
			return status(503), nil
		}
		return status(200), nil
	})

	w.accept("t1", task.Webhook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "", "a", "x")
	w.deliver("t1")
	w.reopen()
	if h := w.hook("t1", "h"); h.Cursor != 1 || h.Attempt != 1 {
		t.Fatalf("after the restart: %+v", h)
	}

	w.client.on(urlA, nil)
	w.update("t1", func(r task.Record) (task.Record, bool, error) { // its time has come
		return r.Delivered(w.Moment(), []task.Delivery{{Webhook: r.Webhooks[0], Fail: true, Wait: time.Now()}})
	})

	w.deliver("t1")
	if diff := cmp.Diff([]string{"t1/1", "t1/2", "t1/2"}, w.client.ids(urlA)); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
}

// An attempt that a shutdown cuts off does not count, and a job brings the webhook back.
func TestShutdownIsNoAttempt(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	ctx, stop := context.WithCancel(t.Context())
	w.client.on(urlA, func(req *http.Request) (*http.Response, error) {
		stop()
		return hangs(req)
	})
	w.accept("t1", task.Webhook{ID: "h", URL: urlA}, task.Webhook{ID: "ok", URL: urlB})
	w.finish("t1", a2a.TaskStateCompleted, "")
	w.post(ctx, queue.PathDeliver, string(queue.Job{Task: "t1"}.Body()))
	if h := w.hook("t1", "h"); h.Attempt != 0 || h.Cursor != 0 || len(h.Tries) != 0 {
		t.Errorf("the hook that was cut off: %+v", h)
	}
	got := w.Jobs.All()
	if len(got) != 1 || got[0].Task != "t1" || got[0].Queue != task.Deliveries {
		t.Errorf("jobs %+v, want one", got)
	}
	if n := w.hook("t1", "ok").Cursor; n != len(w.client.ids(urlB)) {
		t.Errorf("cursor %d of the other hook, which got %d", n, len(w.client.ids(urlB)))
	}
}

// A pass with a long backlog ends in time, and another job continues.
func TestPassEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Jobs.Keep()
		w.client.on(urlA, func(*http.Request) (*http.Response, error) {
			time.Sleep(14 * time.Second)
			return status(200), nil
		})
		w.accept("t1", task.Webhook{ID: "h", URL: urlA})
		w.finish("t1", a2a.TaskStateCompleted, "", "a", "", "b", "", "c", "", "d", "", "e", "", "f", "")
		start := time.Now()
		w.deliver("t1")
		if took := time.Since(start); took < 40*time.Second || took > 55*time.Second {
			t.Errorf("the pass took %v", took)
		}
		if h := w.hook("t1", "h"); h.Cursor != 3 {
			t.Errorf("cursor %d, want 3", h.Cursor)
		}
		if got := w.Jobs.All(); len(got) != 1 || !got[0].At.IsZero() {
			t.Errorf("jobs %+v, want one at once", got)
		}
	})
}

// Many tasks have one receiver. It gets eight attempts at once, and no pass waits for a slot.
// All notifications arrive, about as fast as the receiver answers, and no attempt fails.
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

// manyTasks delivers to a receiver that takes its time over each request.
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
		w.accept(id, task.Webhook{ID: "h", URL: urlA})
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
	if n := len(w.Jobs.All()); n > 6*tasks {
		t.Errorf("%d jobs for %d tasks", n, tasks)
	}
}

// A panic over one webhook does not affect the others.
func TestPanicStaysWithItsWebhook(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	w.client.on(urlA, func(*http.Request) (*http.Response, error) { panic("boom") })
	w.accept("t1", task.Webhook{ID: "bad", URL: urlA}, task.Webhook{ID: "good", URL: urlB}, task.Webhook{ID: "ugly", URL: "://"})
	w.finish("t1", a2a.TaskStateCompleted, "")
	w.deliver("t1")
	if h := w.hook("t1", "good"); h.Cursor != 1 {
		t.Errorf("the other hook: %+v", h)
	}
	if h := w.hook("t1", "ugly"); h.Attempt != 1 || h.Tries[0].Error != "request" {
		t.Errorf("the hook without a URL: %+v", h)
	}
	for range 20 { // the panicked rounds have released their slots and webhooks
		w.deliver("t1")
	}
	if n := len(w.client.ids(urlA)); n != 21 {
		t.Errorf("%d attempts at the bad one, want 21: slots were not given back", n)
	}
}

// The store fails during an attempt. The pass ends, an outcome without a commit does not
// count, and no notification is lost.
func TestStoreFailsDuringAPass(t *testing.T) {
	w := newWorld(t)
	w.Jobs.Keep()
	w.client.on(urlA, func(*http.Request) (*http.Response, error) {
		w.counted.setDown(true)
		return status(200), nil
	})
	w.accept("t1", task.Webhook{ID: "h", URL: urlA})
	w.finish("t1", a2a.TaskStateCompleted, "", "a", "x")
	w.deliver("t1")
	w.counted.setDown(false)
	w.client.on(urlA, nil)
	w.deliver("t1")
	ids := slices.Compact(w.client.ids(urlA))
	if diff := cmp.Diff([]string{"t1/1", "t1/2"}, ids); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	if h := w.hook("t1", "h"); h.Cursor != 2 {
		t.Errorf("hook %+v", h)
	}
}
