package batches_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/batches"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/lab/faulty"
	base "errand/shared/lab/world"
	"errand/shared/task"
)

// A waiting is what the API does about waits.
type waiting struct {
	asked, entered, left, watched int
	full                          bool // there is no place for a wait
}

// patient has the API wait for as long as it takes. When a watch has seen the submitted batch,
// then does what a worker does.
func (w *world) patient(then func(id string)) *waiting {
	p := &waiting{}
	w.batches.Store = faulty.Store{Store: w.Store, Before: func(c faulty.Call) error {
		if c.Op == faulty.Watch {
			p.watched++
			if c.Seen == 1 {
				then(c.ID)
			}
		}
		return nil
	}}
	w.config.Batches, w.config.Wait = batchdesk.New(w.batches), time.Hour
	w.config.Enter = func(owner string) (func(), error) {
		if owner != alice {
			w.t.Errorf("a place for %s", owner)
		}
		p.asked++
		if p.full {
			return nil, errors.New("full")
		}
		p.entered++
		return func() { p.left++ }, nil
	}
	w.Handler = batches.New(w.config)
	return p
}

// scan stores what a scan finds, and says so in the record.
func (w *world) scan(id string, s batch.State) {
	w.SetBatch(id, s)
	base.Claim(w.t, w.Store, id, w.Moment(), time.Minute)
}

// The first answer has the number of lines and the estimate, and a submission that comes again
// has them at once. A wait takes a place of its caller, and gives it back.
func TestFirstAnswerHasTheEstimate(t *testing.T) {
	w := newWorld(t)
	state := batch.State{Lines: 3, Bad: 1, Estimate: batch.Estimate{Input: 1200, Nanos: 2_500_000, Currency: "USD"}}
	p := w.patient(func(id string) { w.scan(id, state) })
	got := w.submit(alice, "?name=n&budget=1000", "three\nlines\nof it\n")
	if got.State != "running" || got.Lines == nil || *got.Lines != 3 || got.Bad != 1 || got.Estimate == nil || got.Estimate.Input != 1200 ||
		got.Estimate.Price == nil || got.Estimate.Price.Amount != 0.0025 || got.Estimate.Price.Currency != "USD" {
		t.Errorf("the first answer is %+v", got)
	}
	if !strings.Contains(got.Warning, "1,200 tokens, and the budget 1,000") {
		t.Errorf("it warns: %q", got.Warning)
	}
	if *p != (waiting{asked: 1, entered: 1, left: 1, watched: 2}) {
		t.Errorf("the wait was %+v", *p)
	}

	*p = waiting{full: true}
	again := want[view](w, http.StatusOK, alice, "POST", "/batches?name=n&budget=1000", jsonl, "three\nlines\nof it\n")
	w.EndBatch(got.ID, a2a.TaskStateCompleted, state)
	ended := want[view](w, http.StatusOK, alice, "POST", "/batches?name=n&budget=1000", jsonl, "three\nlines\nof it\n")
	if again.Estimate == nil || again.Warning == "" || ended.Estimate == nil || ended.Warning != "" || *p != (waiting{full: true}) {
		t.Errorf("again it is %+v, and in the end %+v, with the waits %+v", again, ended, *p)
	}
}

// Without prices the estimate has none. Without an estimate the answer has the number of lines.
func TestAnswerWithoutAnEstimate(t *testing.T) {
	w := newWorld(t)
	state := batch.State{Lines: 3, Estimate: batch.Estimate{Input: 1200}}
	w.patient(func(id string) { w.scan(id, state) })
	if got := w.submit(alice, "", "priceless"); got.Estimate == nil || got.Estimate.Input != 1200 || got.Estimate.Price != nil {
		t.Errorf("without prices it is %+v", got)
	}
	state.Estimate = batch.Estimate{}
	if got := w.submit(alice, "", "not counted"); got.Estimate != nil || got.Lines == nil || *got.Lines != 3 {
		t.Errorf("without an estimate it is %+v", got)
	}
}

// A caller that has as many waits as it may have gets the batch at once, and so does one whose
// manifest takes long.
func TestSubmissionThatDoesNotWait(t *testing.T) {
	w := newWorld(t)
	p := w.patient(func(string) { t.Error("a caller without a place waits") })
	p.full = true
	if got := w.submit(alice, "", "no place"); got.State != "submitted" || got.Lines != nil || got.Estimate != nil {
		t.Errorf("it is %+v", got)
	}

	p = w.patient(func(string) {})
	w.config.Wait = time.Nanosecond
	w.Handler = batches.New(w.config)
	if got := w.submit(alice, "", "large"); got.State != "submitted" || got.Lines != nil || p.entered != 1 || p.left != 1 {
		t.Errorf("it is %+v, after %+v", got, *p)
	}
}

// A client that goes ends its wait.
func TestWaitOfAClientThatGoes(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := w.patient(func(string) { cancel() })
	r := httptest.NewRequestWithContext(ctx, "POST", "/batches?name=n", strings.NewReader("a line"))
	r.Header.Set("X-API-Key", w.callers[alice])
	w.ServeHTTP(httptest.NewRecorder(), r)
	if p.entered != 1 || p.left != 1 || w.Load(task.BatchID(alice, "n")).State() != a2a.TaskStateSubmitted {
		t.Errorf("the wait was %+v", *p)
	}
}
