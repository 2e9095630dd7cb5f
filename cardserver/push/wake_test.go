package push_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/push"
	"errand/shared/keys"
	base "errand/shared/lab/world"
	"errand/shared/secret"
	"errand/shared/task"
)

// waiting stores a task whose first call waits for a word.
func (w *world) waiting(id, life string) task.Record {
	w.t.Helper()
	m := w.Moment()
	base.Accept(w.t, w.Store, m, task.Acceptance{ID: id, Life: life, Owner: alice})
	r := base.Claim(w.t, w.Store, id, m, time.Minute)
	fence := task.Fence{Epoch: r.Epoch, Seq: r.Seq}
	r = base.Update(w.t, w.Store, id, func(r task.Record) (task.Record, bool, error) {
		return r.OpenStep(m, fence, nil, task.Step{Number: r.Steps + 1, Calls: []task.Call{{Name: "await"}, {Name: "other"}}}, []int{0, 1})
	})
	at := m.Now.Add(time.Hour)
	return base.Update(w.t, w.Store, id, func(r task.Record) (task.Record, bool, error) {
		return r.Park(m, task.Fence{Epoch: r.Epoch, Seq: r.Seq}, nil, task.Parking{Wake: at, Waits: []task.Wait{{Call: 0, At: at, Told: true}}})
	})
}

// wakeURL is the path of the URL that wakes a call of the record's open step.
func (w *world) wakeURL(r task.Record, call int) string {
	w.t.Helper()
	ring := base.Ring(w.t, w.config.Keys)
	return keys.WakeURL("", ring.WakeKey(w.Now(), r.ID()+"/"+r.Life), r.CallKey(r.Step.Number, call))
}

// The signature is the right to wake a call. The answer is the same for a word that counts, comes
// twice or comes late.
func TestWake(t *testing.T) {
	w := newWorld(t)
	r := w.waiting("t1", "l1")
	url := w.wakeURL(r, 0)

	w.Jobs.Take()
	if got := w.ask("", "POST", w.wakeURL(r, 1), ""); got.Code != http.StatusNoContent || w.Load("t1").Version != r.Version {
		t.Errorf("a call that does not wait: %d, version %d, was %d", got.Code, w.Load("t1").Version, r.Version)
	}
	if got := w.ask("", "POST", url, "a body"); got.Code != http.StatusNoContent || got.Body.Len() > 0 {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	told := w.Load("t1")
	if jobs := w.Jobs.Take(); len(jobs) != 1 || jobs[0].Task != "t1" || jobs[0].Queue != task.Turns {
		t.Errorf("jobs: %+v", jobs)
	}
	if !told.Wake.Before(r.Wake) {
		t.Errorf("the turn is parked until %v, was until %v", told.Wake, r.Wake)
	}

	late := func(why string) {
		t.Helper()
		before, err := w.Store.Load(t.Context(), "t1")
		got := w.ask("", "POST", url, "")
		after, _ := w.Store.Load(t.Context(), "t1")
		if got.Code != http.StatusNoContent || after.Version != before.Version || len(w.Jobs.Take()) > 0 {
			t.Errorf("%s: %d %s; version %d, was %d, %v", why, got.Code, got.Body, after.Version, before.Version, err)
		}
	}

	late("twice")
	base.Update(t, w.Store, "t1", func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(w.Moment(), a2a.NewMessage(a2a.MessageRoleAgent), nil)
	})
	late("after a cancel")
	w.ask(alice, "DELETE", "/tasks/t1", "")
	w.Jobs.Take()
	late("after a deletion")
}

// A task that has the id of an expired one is not woken by that one's URLs.
func TestWakeOfAnEarlierLife(t *testing.T) {
	w := newWorld(t)
	r := w.waiting("t1", "l2")
	earlier := r
	earlier.Life = "l1"
	if got := w.ask("", "POST", w.wakeURL(earlier, 0), ""); got.Code != http.StatusNoContent || w.Load("t1").Version != r.Version {
		t.Errorf("%d %s; version %d, was %d", got.Code, got.Body, w.Load("t1").Version, r.Version)
	}
	if got := w.ask("", "POST", strings.Replace(w.wakeURL(r, 0), "t1", "t2", 1), ""); got.Code != http.StatusNotFound {
		t.Errorf("with the id of another task: %d", got.Code)
	}
	gone := r
	gone.Task = &a2a.Task{ID: "t3"}
	if got := w.ask("", "POST", w.wakeURL(gone, 0), ""); got.Code != http.StatusNoContent {
		t.Errorf("of a task that is gone: %d %s", got.Code, got.Body)
	}
}

// A forged request is refused before the store is asked, and another method than POST wakes
// nothing. All forged requests get the same answer.
func TestForgedWake(t *testing.T) {
	w := newWorld(t)
	r := w.waiting("t1", "l1")
	loads := 0
	store := counted{w.Store, &loads}
	w.config.Desk, w.config.Store = w.Desk(store), store
	w.Handler = push.New(w.config)

	url := w.wakeURL(r, 0)
	path, signature, _ := strings.Cut(url, "?s=")
	none := w.ask("", "POST", "/wake/none/none/1.1?s="+signature, "")
	for _, forged := range []string{
		path, path + "?s=", path + "?s=x", url + "x", path + "0?s=" + signature, "/wake/t1/l1/1.2?s=" + signature, "/wake/t1/l1?s=" + signature,
		"/wake/t1?s=" + signature, "/wake/?s=" + signature, "/wake/t1/l1/x?s=" + signature, "/wake/t1/l2/1.1?s=" + signature,
	} {
		if got := w.ask(alice, "POST", forged, ""); got.Code != http.StatusNotFound || got.Body.String() != none.Body.String() {
			t.Errorf("POST %s: %d %s, want 404 %s", forged, got.Code, got.Body, none.Body)
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
		if got := w.ask("", method, url, ""); got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow %s", method, got.Code, got.Header().Get("Allow"))
		}
	}

	if loads > 0 {
		t.Errorf("the store was asked %d times", loads)
	}
	if got := w.ask("", "POST", url, ""); got.Code != http.StatusNoContent || loads == 0 {
		t.Errorf("the genuine URL: %d after %d loads", got.Code, loads)
	}
}

// While the keys cannot be read, the caller is asked to come again.
func TestWakeLater(t *testing.T) {
	w := newWorld(t)
	url := w.wakeURL(w.waiting("t1", "l1"), 0)
	w.config.Keys = keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) { return secret.Value{}, errors.New("out of order") }})
	w.Handler = push.New(w.config)
	if got := w.ask("", "POST", url, ""); got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" {
		t.Errorf("without keys: %d %s", got.Code, got.Body)
	}
}
