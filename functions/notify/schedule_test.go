package notify_test

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/lab/conformance"
	"errand/shared/task"
	"errand/shared/webhook"
)

// A receiver was down for the whole schedule. The webhook is dead, with one notification delivered and
// three undelivered. In each way to revive it the receiver is sent the missing notifications in order,
// and repeated notifications have their old ids.
func TestRedriveAfterTheSchedule(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *world)
		want []string
	}{
		{"from the cursor", func(w *world) { w.redrive("t1", 0) }, []string{"t1/2", "t1/3", "t1/4"}},
		{"from a delivered note", func(w *world) { w.redrive("t1", 1) }, []string{"t1/1", "t1/2", "t1/3", "t1/4"}},
		{"from a later one", func(w *world) { w.redrive("t1", 4) }, []string{"t1/4"}},
		{"by a new note", func(w *world) {
			w.answer("t1", "that")
			w.finish("t1", a2a.TaskStateCompleted, "")
		}, []string{"t1/2", "t1/3", "t1/4", "t1/5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.client.on(urlA, func(req *http.Request) (*http.Response, error) {
					if req.Header.Get("Webhook-Id") == "t1/1" {
						return status(200), nil
					}
					return down(req)
				})

				w.accept("t1", task.Webhook{ID: "h", URL: urlA})
				w.finish("t1", a2a.TaskStateInputRequired, "which?", "a", "x", "b", "y", "c", "z")
				w.event("t1", 0)
				w.untilSettled("t1")
				h := w.hook("t1", "h")
				calls := w.client.calls(urlA)
				if h.State != task.WebhookDead || h.Gone || h.Cursor != 1 || h.Attempt != 10 || len(calls) != 11 {
					t.Fatalf("after the schedule, with %d attempts: %+v", len(calls), h)
				}

				w.client.on(urlA, nil)
				c.do(w)
				w.event("t1", 0)
				time.Sleep(20 * time.Second) // the last attempt has just opened the breaker
				if diff := cmp.Diff(c.want, w.client.ids(urlA)[len(calls):]); diff != "" {
					t.Errorf("deliveries after the break (-want +got):\n%s", diff)
				}
				if h := w.hook("t1", "h"); h.State != task.WebhookActive || h.Attempt != 0 || h.Cursor < 4 {
					t.Errorf("afterwards: %+v", h)
				}
			})
		})
	}
}

// redrive re-drives the webhook as the API does.
func (w *world) redrive(id string, from int) {
	w.t.Helper()
	gen := w.hook(id, "h").Gen
	w.update(id, func(r task.Record) (task.Record, bool, error) {
		return r.Redrive(w.Moment(), "h", gen, from)
	})
}

// A re-drive begins a new schedule, with all its attempts.
func TestRedriveBeginsTheScheduleAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.client.on(urlA, answers(500))
		w.owing(urlA, 1, "t1")
		w.event("t1", 0)
		w.untilSettled("t1")
		time.Sleep(100 * time.Hour)
		w.redrive("t1", 0)
		again := time.Now()
		w.event("t1", 0)
		w.untilSettled("t1")
		calls := w.client.calls(urlA)
		if len(calls) != 20 {
			t.Fatalf("%d attempts, want ten and ten", len(calls))
		}
		if took := calls[19].at.Sub(again); took < twice/2*4/5 || took > twice/2*6/5 {
			t.Errorf("the second schedule took %v, want %v give or take a fifth", took, twice/2)
		}
	})
}

// Each of many receivers is down for up to 80 hours, in one of several ways. Each is sent all
// notifications in order, or was down at all ten attempts of its schedule. No webhook is given up before.
func TestReceiversThatComeBack(t *testing.T) {
	many := conformance.Size(100, 1000)

	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		stop := w.sweeps(10 * time.Minute)
		ids := numbered("t", many)
		back := map[string]time.Time{}

		for i, id := range ids {
			url := "https://" + id + ".test/"
			at := start.Add(time.Duration(rand.Int64N(int64(80 * time.Hour))))
			if i%4 == 0 { // half of the attempts are in the first hours
				at = start.Add(time.Duration(rand.Int64N(int64(3 * time.Hour))))
			}

			back[id] = at
			silent := []func(*http.Request) (*http.Response, error){down, answers(503), hangs}[i%3]
			w.client.on(url, func(req *http.Request) (*http.Response, error) {
				if time.Now().Before(at) {
					return silent(req)
				}
				return status(200), nil
			})

			w.owing(url, 3, id)
			w.event(id, 0)
		}

		time.Sleep(100 * time.Hour)
		stop()
		dead := 0

		for _, id := range ids {
			h, calls := w.hook(id, "h"), w.client.calls("https://"+id+".test/")
			if h.State == task.WebhookDead {
				dead++
			}
			if err := whole(h, calls, id, back[id]); err != nil {
				t.Errorf("%s: %v: %+v", id, err, h)
			}
		}

		t.Logf("%d of %d were dead at the end of their schedule", dead, many)
	})
}

// whole checks the webhook of a task with three notifications, whose receiver was down until a time.
func whole(h task.Webhook, calls []call, id string, back time.Time) error {
	var taken []string
	failed := 0
	for _, c := range calls {
		if c.at.Before(back) {
			failed++
		} else {
			taken = append(taken, c.id)
		}
	}
	schedule := webhook.Standard()
	switch {
	case h.State == task.WebhookDead:
		if failed != len(schedule) || len(taken) > 0 || h.Cursor != 0 || h.Gone {
			return errors.New("given up early: " + strconv.Itoa(failed) + " attempts failed")
		}
		if took := calls[len(calls)-1].at.Sub(calls[0].at); took < twice/2*4/5 {
			return errors.New("given up after " + took.String())
		}
	case h.Cursor != 3 || !slices.Equal(taken, []string{id + "/1", id + "/2", id + "/3"}):
		return errors.New("neither dead nor told everything in order")
	}
	return nil
}
