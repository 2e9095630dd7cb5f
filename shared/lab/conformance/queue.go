// Package conformance holds the laws of the ports, which every store, queue, bus and source of
// secrets must keep. They are tests that each adapter runs on itself. The package has no
// fakes and is in no binary.
package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/queue"
	"errand/shared/serve"
)

// patience is how long a law waits for an event that must come, because a real queue may be
// slow. No law waits for the absence of an event.
const patience = time.Minute

// A delivery is one request as the handler received it.
type delivery struct {
	method, path, contentType string
	queue, name, trace        string
	retry                     int
	body                      []byte
	at                        time.Time
}

// Queue runs the laws of queue.Queue. open returns a queue that delivers to h, and closes it by
// t.Cleanup. The queue has the lanes "turns" and "deliveries" and a first backoff of at most
// a few seconds.
func Queue(t *testing.T, open func(t *testing.T, h http.Handler) queue.Queue) {
	for _, law := range []struct {
		name string
		run  func(*testing.T, func(*testing.T, http.Handler) queue.Queue)
	}{
		{"DeliversAtLeastOnce", deliversAtLeastOnce},
		{"BodyRoundTrips", bodyRoundTrips},
		{"RequestIsThatOfCloudTasks", requestIsThatOfCloudTasks},
		{"RetriesUntil2xx", retriesUntil2xx},
		{"NotBeforeSchedule", notBeforeSchedule},
		{"RunningJobStandsForNoOther", runningJobStandsForNoOther},
		{"AddDoesNotWait", addDoesNotWait},
		{"LanesAreIndependent", lanesAreIndependent},
		{"TraceGoesOn", traceGoesOn},
		{"WhatIsNoJobIsRefused", whatIsNoJobIsRefused},
	} {
		t.Run(law.name, func(t *testing.T) { law.run(t, open) })
	}
}

func deliversAtLeastOnce(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	const jobs = 100
	seen := make(chan delivery, 10*jobs)
	q := open(t, recorder(t, seen, nil))
	owed := map[string]bool{}
	for i := range jobs {
		id := fmt.Sprintf("task-%d", i)
		owed[id] = true
		add(t, q, queue.Job{Queue: "turns", Path: queue.PathTurn, Task: id})
	}
	for len(owed) > 0 {
		delete(owed, parse(t, receive(t, seen)).Task)
	}
}

func bodyRoundTrips(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	seen := make(chan delivery, 10)
	q := open(t, recorder(t, seen, nil))

	add(t, q, queue.Job{Queue: "deliveries", Path: queue.PathDeliver, Task: "näme \"1\""})
	if got := parse(t, receive(t, seen)); got.Task != "näme \"1\"" || !got.Sweep.IsZero() {
		t.Errorf("delivered %+v, want the task and no sweep", got)
	}
	tick := time.Date(2026, 8, 1, 12, 0, 0, 123456789, time.UTC)
	add(t, q, queue.Job{Queue: "turns", Path: queue.PathSweep, Sweep: tick})
	got := receive(t, seen)
	if got.path != queue.PathSweep {
		t.Errorf("the sweep was delivered at %s, want %s", got.path, queue.PathSweep)
	}
	if job := parse(t, got); job.Queue != "turns" || !job.Sweep.Equal(tick) || job.Task != "" {
		t.Errorf("delivered %+v, want the sweep of turns at %v", job, tick)
	}
}

func requestIsThatOfCloudTasks(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	seen := make(chan delivery, 10)
	q := open(t, recorder(t, seen, nil))
	add(t, q, queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"})
	first := receive(t, seen)
	if first.method != http.MethodPost || first.path != queue.PathTurn {
		t.Errorf("the delivery is %s %s, want POST %s", first.method, first.path, queue.PathTurn)
	}
	if first.contentType != "application/json" {
		t.Errorf("the content type is %q, want application/json", first.contentType)
	}
	if first.queue == "" || first.name == "" || first.retry != 0 {
		t.Errorf("queue %q, name %q, retry %d; want names and 0", first.queue, first.name, first.retry)
	}
	add(t, q, queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "b"})
	second := receive(t, seen)
	if second.queue != first.queue || second.name == first.name {
		t.Errorf("second job: queue %q, name %q; want queue %q, another name than %q",
			second.queue, second.name, first.queue, first.name)
	}
	add(t, q, queue.Job{Queue: "deliveries", Path: queue.PathDeliver, Task: "a"})
	if other := receive(t, seen); other.queue == first.queue {
		t.Errorf("both lanes have the name %q", other.queue)
	}
}

func retriesUntil2xx(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	answers := []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusConflict, http.StatusNoContent}
	var calls atomic.Int32
	seen := make(chan delivery, 10)
	q := open(t, recorder(t, seen, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(answers[min(int(calls.Add(1)), len(answers))-1])
	}))
	add(t, q, queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"})
	first := receive(t, seen)
	for want := 1; want < len(answers); want++ {
		got := receive(t, seen)
		if got.name != first.name {
			t.Errorf("try %d has the name %q, want %q", want+1, got.name, first.name)
		}
		if got.retry != want {
			t.Errorf("try %d has retry count %d, want %d", want+1, got.retry, want)
		}
		if string(got.body) != string(first.body) {
			t.Errorf("try %d has another body: %s, want %s", want+1, got.body, first.body)
		}
	}
}

func notBeforeSchedule(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	seen := make(chan delivery, 10)
	q := open(t, recorder(t, seen, nil))
	at := time.Now().Add(1200 * time.Millisecond)
	add(t, q, queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "later", At: at})
	add(t, q, queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "now"})
	if got := parse(t, receive(t, seen)).Task; got != "now" {
		t.Errorf("delivered %q first, want the job without a time", got)
	}
	// A service may round a time down, but at most to whole seconds.
	if got := receive(t, seen); got.at.Before(at.Truncate(time.Second)) {
		t.Errorf("delivered %v before its time", at.Sub(got.at))
	}
}

func runningJobStandsForNoOther(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	seen, release := make(chan delivery, 10), make(chan struct{})
	q := open(t, recorder(t, seen, func(http.ResponseWriter, *http.Request) { <-release }))
	job := queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"}
	add(t, q, job)
	first := receive(t, seen)
	add(t, q, job)
	close(release)
	if second := receive(t, seen); second.name == first.name {
		t.Errorf("the running job was delivered again as %q, want the job that was added meanwhile", second.name)
	}
}

func addDoesNotWait(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	seen, release := make(chan delivery, 10), make(chan struct{})
	q := open(t, recorder(t, seen, func(http.ResponseWriter, *http.Request) { <-release }))
	added := make(chan error, 1)
	go func() {
		added <- q.Add(t.Context(), queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"})
	}()
	receive(t, seen)
	select {
	case err := <-added:
		if err != nil {
			t.Errorf("Add: %v", err)
		}
	case <-time.After(patience):
		t.Error("Add waits for the delivery")
	}
	close(release)
}

func lanesAreIndependent(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	seen, release := make(chan delivery, 1000), make(chan struct{})
	q := open(t, recorder(t, seen, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == queue.PathTurn {
			<-release
		}
	}))
	defer close(release)
	for i := range 100 {
		add(t, q, queue.Job{Queue: "turns", Path: queue.PathTurn, Task: fmt.Sprintf("task-%d", i)})
	}
	add(t, q, queue.Job{Queue: "deliveries", Path: queue.PathDeliver, Task: "a"})
	for receive(t, seen).path != queue.PathDeliver {
	}
}

// trace is a valid traceparent.
const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func traceGoesOn(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	seen := make(chan delivery, 10)
	q := open(t, recorder(t, seen, nil))
	job := queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"}
	if err := q.Add(serve.WithTrace(t.Context(), trace), job); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, seen).trace; got != trace {
		t.Errorf("delivered with traceparent %q, want %q", got, trace)
	}
	add(t, q, job)
	if got := receive(t, seen).trace; got != "" {
		t.Errorf("delivered with traceparent %q, want none", got)
	}
}

func whatIsNoJobIsRefused(t *testing.T, open func(*testing.T, http.Handler) queue.Queue) {
	q := open(t, http.NotFoundHandler())
	for _, job := range []queue.Job{
		{},
		{Queue: "turns", Path: queue.PathTurn},
		{Queue: "turns", Task: "a"},
		{Path: queue.PathTurn, Task: "a"},
		{Queue: "other", Path: queue.PathTurn, Task: "a"},
		{Queue: "turns", Path: queue.PathSweep, Task: "a", Sweep: time.Now()},
	} {
		if err := q.Add(t.Context(), job); err == nil {
			t.Errorf("Add(%+v) = nil, want an error", job)
		}
	}
}

// recorder sends every request to seen and then answers with answer, or with 204.
func recorder(t *testing.T, seen chan<- delivery, answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := delivery{
			method: r.Method, path: r.URL.Path, contentType: r.Header.Get("Content-Type"),
			queue: r.Header.Get(queue.HeaderQueue), name: r.Header.Get(queue.HeaderName),
			trace: r.Header.Get(serve.HeaderTrace), at: time.Now(),
		}
		d.retry, _ = strconv.Atoi(r.Header.Get(queue.HeaderRetry))
		var err error
		if d.body, err = io.ReadAll(r.Body); err != nil {
			t.Errorf("reading a delivery: %v", err)
		}
		seen <- d
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(w, r)
	})
}

func add(t *testing.T, q queue.Queue, job queue.Job) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := q.Add(ctx, job); err != nil {
		t.Fatalf("Add(%+v) = %v", job, err)
	}
}

func receive(t *testing.T, seen <-chan delivery) delivery {
	t.Helper()
	select {
	case d := <-seen:
		return d
	case <-time.After(patience):
		t.Fatal("no delivery in time")
		panic("unreachable")
	}
}

func parse(t *testing.T, d delivery) queue.Job {
	t.Helper()
	job, err := queue.Parse(d.body)
	if err != nil {
		t.Fatalf("Parse(%s) = %v", d.body, err)
	}
	return job
}
