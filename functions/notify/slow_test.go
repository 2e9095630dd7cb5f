package notify_test

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/lab/conformance"
	"errand/shared/task"
)

// most is the largest number of calls within a second.
func most(calls []call) (inSecond int) {
	for i := range calls {
		n := 0
		for _, c := range calls[i:] {
			if c.at.Sub(calls[i].at) < time.Second {
				n++
			}
		}
		inSecond = max(inSecond, n)
	}
	return inSecond
}

// An origin that has not taken a webhook of its owner yet gets one attempt at a time and one
// a second, whatever it answers, also by pings. All attempts of the schedule are made in the
// end. Other owners and origins do not wait for it.
func TestNewOriginStartsSlowly(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){"an error": answers(500), "no connection": down, "a redirect": answers(307)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.strange = true
				w.reopen()
				var under, together atomic.Int64
				w.client.on(urlA, func(r *http.Request) (*http.Response, error) {
					together.Store(max(together.Load(), under.Add(1)))
					defer under.Add(-1)
					time.Sleep(1500 * time.Millisecond) // longer than the time between two attempts
					return answer(r)
				})

				ids := numbered("t", conformance.Long(10, 20, 40))
				w.owing(urlA, 1, ids...)
				w.owing(urlB, 1, "other")
				stop := w.sweeps(conformance.Long(5*time.Minute, 5*time.Minute, time.Minute))
				for _, id := range ids {
					w.askPing(id)
					w.event(id, 0)
				}

				w.deliver("other")
				if h := w.hook("other", "h"); h.Cursor != 1 {
					t.Errorf("another origin waits: %+v", h)
				}

				time.Sleep(twice + 48*time.Hour)
				stop()
				calls := w.client.calls(urlA)
				if n := most(calls); n != 1 || together.Load() != 1 {
					t.Errorf("%d attempts in a second, %d at once, want 1", n, together.Load())
				}
				for _, id := range ids {
					if h := w.hook(id, "h"); h.State != task.WebhookDead || h.Attempt < 3 || !h.Ping.IsZero() {
						t.Errorf("%s in the end: %+v", id, h)
					}
				}
			})
		})
	}
}

// The first 2xx makes an origin known. From then on it has the limits of its host, and a crowd
// that had to wait is served in seconds. It is known to this owner only.
func TestFirst2xxMakesAnOriginKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.strange = true
		w.reopen()
		ids := numbered("t", 50)
		w.owing(urlA, 3, ids...)
		stop := w.sweeps(time.Minute)
		for _, id := range ids {
			w.event(id, 0)
		}

		time.Sleep(5 * time.Second)
		last := map[string]int{}
		for _, c := range w.client.calls(urlA) {
			id, note := split(t, c.id)
			if note != last[id]+1 {
				t.Errorf("%s came after note %d", c.id, last[id])
			}
			last[id] = note
		}

		for _, id := range ids {
			if h := w.hook(id, "h"); h.Cursor != 3 || len(h.Tries) != 3 {
				t.Errorf("%s after 5 s: %+v", id, h)
			}
		}

		stop()

		w.client.on(urlA, answers(500))
		before := len(w.client.calls(urlA))
		for i := range 3 {
			w.acceptOf("stranger", "s"+strconv.Itoa(i), task.Webhook{ID: "h", URL: urlA})
			w.finish("s"+strconv.Itoa(i), a2a.TaskStateCompleted, "")
			w.deliver("s" + strconv.Itoa(i))
		}
		if n := len(w.client.calls(urlA)) - before; n != 1 {
			t.Errorf("%d attempts at once for another owner, want 1", n)
		}
	})
}

// A crowd of old notifications meets an origin that is new only because the process is. It is
// served in seconds, however long it has waited for the process.
func TestOldNotificationsAtANewOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.strange = true
		ids := numbered("t", 50)
		w.owing(urlA, 1, ids...)
		time.Sleep(10 * time.Hour)
		w.reopen()
		stop := w.sweeps(time.Minute)
		for _, id := range ids {
			w.event(id, 0)
		}

		time.Sleep(5 * time.Second)
		stop()
		for _, id := range ids {
			if h := w.hook(id, "h"); h.Cursor != 1 {
				t.Errorf("%s after 5 s: next at %v", id, time.Until(h.Next))
			}
		}
	})
}

// Each process has limits of its own, so a new origin gets one attempt a second from each of
// two processes that share the jobs.
func TestNewOriginOfTwoProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.strange, w.shared = true, true
		w.reopen()
		w.client.on(urlA, answers(500))
		ids := numbered("t", 20)
		w.owing(urlA, 1, ids...)
		stop := w.sweeps(time.Minute)
		for _, id := range ids {
			w.event(id, 0)
		}

		time.Sleep(10 * time.Minute)
		stop()
		if n := most(w.client.calls(urlA)); n != 2 {
			t.Errorf("%d attempts in a second from two processes, want 2", n)
		}
	})
}

// A webhook that is put off at a new origin changes nothing in the store while a job brings it
// back, and uses up no attempt.
func TestWaitingForANewOriginWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.strange = true
		w.reopen()
		w.Jobs.Keep()
		w.client.on(urlA, answers(500))
		w.owing(urlA, 1, "t1", "t2")
		w.deliver("t1")

		_, before := w.counted.used()
		was := w.Load("t2")
		w.deliver("t2")
		if _, after := w.counted.used(); after != before || w.Load("t2").Version != was.Version {
			t.Errorf("%d commits, and version %d of %d", after-before, w.Load("t2").Version, was.Version)
		}

		jobs := w.Jobs.All()
		if last := jobs[len(jobs)-1]; last.Task != "t2" || time.Until(last.At) < time.Second || time.Until(last.At) > 2*time.Second {
			t.Errorf("the last job is %+v, want t2 in a second", last)
		}
	})
}
