package notify_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/functions/sweep"
	"errand/shared/task"
	"errand/shared/webhook"
)

// down is a host that refuses connections.
func down(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

// owing makes tasks that have ended. Each has a webhook at the URL with as many undelivered
// notifications.
func (w *world) owing(url string, notes int, ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		w.accept(id, task.Webhook{ID: "h", URL: url})
		var artifacts []string
		for i := range notes - 1 {
			artifacts = append(artifacts, strconv.Itoa(i), "x")
		}
		w.finish(id, a2a.TaskStateCompleted, "", artifacts...)
	}
}

// numbered makes n names of tasks.
func numbered(name string, n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, name+strconv.Itoa(i))
	}
	return ids
}

// broken opens the breaker of the URL's host by failures.
func (w *world) broken(url string) {
	w.t.Helper()
	w.client.on(url, down)
	before := len(w.client.ids(url))
	ids := numbered("breaks", 5)
	w.owing(url, 1, ids...)
	for _, id := range ids {
		w.deliver(id)
	}
	if n := len(w.client.ids(url)) - before; n != 5 {
		w.t.Fatalf("%d attempts, want 5", n)
	}
}

// askPing requests a ping.
func (w *world) askPing(id string) {
	w.t.Helper()
	w.update(id, func(r task.Record) (task.Record, bool, error) { return r.AskPing(w.Moment(), "h") })
}

// sweeps runs sweeps at the given interval, until the returned function is called.
func (w *world) sweeps(every time.Duration) (stop func()) {
	if w.sweep == nil {
		store := swept{w.counted, w.Store}
		w.sweep = sweep.New(sweep.Config{Desk: w.Desk(store), Store: store, KV: w.Store.KV(), Queue: w.Jobs})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.sweep.Run(ctx, every) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// swept is the store as a sweep uses it.
type swept struct {
	*store
	task.Chores
}

// Five attempts in a row without an answer open the breaker of a host. Attempts with any
// status, and requests that were not sent, do not.
func TestFiveSilentAttemptsOpenTheBreaker(t *testing.T) {
	silent, busy := down, answers(503)
	for _, c := range []struct {
		name string
		runs []func(*http.Request) (*http.Response, error) // nil: its credentials cannot be opened
		open bool
	}{
		{"four", repeat(silent, 4), false},
		{"five", repeat(silent, 5), true},
		{"five that hang", repeat(hangs, 5), true},
		{"an error status between", append(append(repeat(silent, 4), busy), silent), false},
		{"error statuses only", repeat(busy, 30), false},
		{"every status", statuses(301, 400, 404, 429, 500, 502, 503, 504), false},
		{"one that was not sent between", append(append(repeat(silent, 4), nil), silent), true},
		{"none was sent", repeat(nil, 10), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Jobs.Keep()

				for i, run := range c.runs {
					id := "t" + strconv.Itoa(i)
					w.client.on(urlA, run)
					h := task.Webhook{ID: "h", URL: urlA}
					if run == nil {
						h.Sealed = "nobody.AAAA"
					}

					w.accept(id, h)
					w.finish(id, a2a.TaskStateCompleted, "")
					w.deliver(id)
				}

				before := len(w.client.ids(urlA))
				w.owing(urlA, 1, "last")
				w.client.on(urlA, nil)
				w.deliver("last")
				if open := len(w.client.ids(urlA)) == before; open != c.open {
					t.Errorf("open: %v, want %v", open, c.open)
				}
			})
		})
	}
}

// repeat is a receiver's behaviour in n attempts.
func repeat(f func(*http.Request) (*http.Response, error), n int) (out []func(*http.Request) (*http.Response, error)) {
	for range n {
		out = append(out, f)
	}
	return out
}

// statuses is one attempt for each status.
func statuses(codes ...int) (out []func(*http.Request) (*http.Response, error)) {
	for _, code := range codes {
		out = append(out, answers(code))
	}
	return out
}

// An open breaker allows no connection. No attempt is counted, and the next attempt is
// rescheduled. Other hosts are not affected. Afterwards single attempts probe the host, and
// when it is back every webhook receives all notifications in order.
func TestOpenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Jobs.Keep()
		w.broken(urlA)
		waiting := numbered("t", 20)
		w.owing(urlA, 3, waiting...)
		opened := time.Now()

		for _, id := range waiting {
			w.deliver(id)
			h := w.hook(id, "h")
			if wait := h.Next.Sub(opened); h.Attempt != 0 || len(h.Tries) != 0 || wait < 10*time.Second || wait > 15*time.Second {
				t.Errorf("%s: put off by %v, with attempts %d and tries %v", id, wait, h.Attempt, h.Tries)
			}
		}

		if n := len(w.client.ids(urlA)); n != 5 {
			t.Errorf("%d were dialled while it was open", n-5)
		}

		w.owing(urlB, 2, "other")
		w.deliver("other")
		if h := w.hook("other", "h"); h.Cursor != 2 {
			t.Errorf("a task of another host: %+v", h)
		}

		// One slow probe, and no other attempt beside it.
		w.client.on(urlA, hangs)
		time.Sleep(15 * time.Second)
		var wg sync.WaitGroup
		for _, id := range waiting {
			wg.Go(func() { w.deliver(id) })
		}

		wg.Wait()
		if n := len(w.client.ids(urlA)); n != 6 {
			t.Errorf("%d probes at once, want 1", n-5)
		}

		w.client.on(urlA, nil)
		w.Jobs.Pass(w.Queue)
		stop := w.sweeps(time.Minute)
		time.Sleep(10 * time.Minute)
		stop()

		for _, id := range waiting {
			h := w.hook(id, "h")
			if h.Cursor != 3 || len(h.Tries) > 4 {
				t.Errorf("%s after the host came back: %+v", id, h)
			}
		}

		last := map[string]int{}
		for _, call := range w.client.calls(urlA)[6:] {
			id, note := split(t, call.id)
			if note != last[id]+1 {
				t.Errorf("%s came after note %d", call.id, last[id])
			}
			last[id] = note
		}
	})
}

// A ping is sent through an open breaker. An answered ping shows that the host is back.
func TestPingGoesThroughAnOpenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Jobs.Keep()
		w.broken(urlA)
		w.owing(urlA, 1, "t1", "t2")
		w.askPing("t1")
		w.deliver("t1")
		h := w.hook("t1", "h")

		if n := len(w.client.ids(urlA)); n != 6 || len(h.Tries) != 1 || h.Tries[0].Error != webhook.ClassConnection || h.Tries[0].Notification != 0 {
			t.Errorf("%d attempts and tries %+v, want a ping without an answer", n-5, h.Tries)
		}
		if h.Attempt != 0 || !h.Ping.IsZero() || h.State != task.WebhookActive {
			t.Errorf("after the ping: %+v", h)
		}

		w.deliver("t2")
		if n := len(w.client.ids(urlA)); n != 6 {
			t.Errorf("%d were dialled after a ping that failed", n-6)
		}

		w.client.on(urlA, nil)
		w.askPing("t2")
		w.deliver("t2")
		time.Sleep(20 * time.Second)
		w.deliver("t2")
		if h := w.hook("t2", "h"); h.Cursor != 1 || len(h.Tries) != 2 || h.Tries[0].Notification != 0 || h.Tries[0].Status != 200 {
			t.Errorf("after a ping that was answered: %+v", h)
		}
	})
}

// A ping to a host without a free slot comes back once, when a slot may be free.
func TestPingComesBackToABusyHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Jobs.Keep()
		w.client.on(urlA, func(*http.Request) (*http.Response, error) {
			time.Sleep(10 * time.Second)
			return status(200), nil
		})

		w.owing(urlA, 1, "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "pinged")
		w.update("pinged", func(r task.Record) (task.Record, bool, error) { // only the ping is left to send
			return r.Delivered(w.Moment(), []task.Delivery{{Webhook: r.Webhooks[0], Sent: 1}})
		})

		w.askPing("pinged")
		var busy sync.WaitGroup
		for i := range 8 {
			busy.Go(func() { w.deliver("t" + strconv.Itoa(i+1)) })
		}

		synctest.Wait()

		before := len(w.Jobs.All())
		w.deliver("pinged")
		added := w.Jobs.All()[before:]
		if len(added) != 1 || !added[0].At.After(time.Now()) || added[0].At.After(time.Now().Add(time.Minute)) {
			t.Errorf("at %v jobs were added: %+v", time.Now(), added)
		}

		busy.Wait()
		w.deliver("pinged")
		if h := w.hook("pinged", "h"); !h.Ping.IsZero() {
			t.Errorf("the ping was not sent: %+v", h)
		}
	})
}

// An answered ping closes the breaker at once.
func TestAnsweredPingClosesTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Jobs.Keep()
		w.broken(urlA)
		w.client.on(urlA, nil)
		w.owing(urlA, 1, "t1", "t2")
		w.askPing("t1")
		w.deliver("t1")
		w.deliver("t2")
		for _, id := range []string{"t1", "t2"} {
			if h := w.hook(id, "h"); h.Cursor != 1 {
				t.Errorf("%s: %+v", id, h)
			}
		}
	})
}

// A ping does not change the time of a notification's next attempt.
func TestPingLeavesTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Jobs.Keep()
		w.owing(urlA, 1, "t1")
		w.failed("t1", 5)
		w.client.on(urlA, answers(500))
		w.deliver("t1")
		next := w.hook("t1", "h").Next
		if wait := time.Until(next); wait < 8*time.Hour {
			t.Fatalf("the sixth wait is %v", wait)
		}

		w.broken(urlA)
		w.client.on(urlA, answers(200))
		w.askPing("t1")
		before, _ := w.counted.used()
		w.deliver("t1")
		if after, _ := w.counted.used(); after-before != 2 {
			t.Errorf("the record was read %d times, want for the job and for the ping", after-before)
		}

		h := w.hook("t1", "h")
		if !h.Ping.IsZero() || !h.Next.Equal(next) || h.Attempt != 6 {
			t.Errorf("after the ping %+v, want the next attempt at %v", h, next)
		}
	})
}

// A ping that is requested during a round is sent, and the notifications are delivered, although the
// ping's own job is turned away.
func TestPingDuringARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Jobs.Keep()
		w.owing(urlA, 3, "t1")
		asked := false
		w.client.on(urlA, func(r *http.Request) (*http.Response, error) {
			if !asked {
				asked = true
				w.askPing("t1")
				w.deliver("t1")
			}
			return answers(200)(r)
		})
		w.deliver("t1")
		if h := w.hook("t1", "h"); h.Cursor != 3 || !h.Ping.IsZero() || len(h.Tries) != 4 {
			t.Errorf("after the pass %+v, want three notes and a ping sent", h)
		}
	})
}

// A notification that an open breaker has held back for twice the time of the schedule is tried once
// in spite of the breaker, and then given up.
func TestEveryNotificationIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Jobs.Keep()
		w.owing(urlA, 2, "t1")
		time.Sleep(twice - time.Minute)
		w.broken(urlA)
		w.deliver("t1")
		h := w.hook("t1", "h")
		if h.State != task.WebhookActive || len(h.Tries) != 0 {
			t.Errorf("before its time is over: %+v", h)
		}

		time.Sleep(time.Until(h.Next))
		w.client.on(urlA, hangs)
		w.owing(urlA, 1, "probe") // uses the one attempt that the breaker allows
		var wg sync.WaitGroup
		wg.Go(func() { w.deliver("probe") })
		synctest.Wait()
		w.deliver("t1")
		wg.Wait()
		h = w.hook("t1", "h")
		if h.State != task.WebhookDead || h.Gone || h.Cursor != 0 || len(h.Tries) != 1 || h.Tries[0].Notification != 1 {
			t.Errorf("after twice the schedule: %+v", h)
		}
	})
}

// twice is the time for which a notification is kept that could not be tried.
var twice = func() (all time.Duration) {
	for _, wait := range webhook.Standard() {
		all += 2 * wait
	}
	return all
}()

// The schedule of a notification begins with the delivery of the notification before it, also within one
// pass and after any delay.
func TestEveryNotificationHasItsOwnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Jobs.Keep()
		w.owing(urlA, 2, "t1")
		time.Sleep(twice + time.Hour)
		w.client.on(urlA, func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Webhook-Id") == "t1/1" {
				return status(200), nil
			}
			return status(500), nil
		})
		w.deliver("t1")
		h := w.hook("t1", "h")
		if h.State != task.WebhookActive || h.Cursor != 1 || h.Attempt != 1 {
			t.Fatalf("the second note was given up after one attempt: %+v", h)
		}
		if wait := time.Until(h.Next); wait > 6*time.Second {
			t.Errorf("tried again after %v, want 5 s", wait)
		}
	})
}

// split reads a webhook-id.
func split(t *testing.T, webhookID string) (id string, note int) {
	t.Helper()
	for i := len(webhookID) - 1; i > 0; i-- {
		if webhookID[i] == '/' {
			n, err := strconv.Atoi(webhookID[i+1:])
			if err != nil {
				t.Fatal(err)
			}
			return webhookID[:i], n
		}
	}
	t.Fatalf("webhook-id %q", webhookID)
	return "", 0
}
