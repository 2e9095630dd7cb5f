package local_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"errand/shared/adapters/local"
	"errand/shared/queue"
)

func TestRetriesWithDoublingBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(func(n int) int {
			if n < 6 {
				return http.StatusServiceUnavailable
			}
			return http.StatusNoContent
		})

		q := open(t, local.QueueConfig{Handler: h, Lanes: lanes(local.Limits{MaxBackoff: 500 * time.Millisecond})})
		addAll(t, q, turn("a"))
		time.Sleep(time.Hour) // virtual
		synctest.Wait()
		got := h.all()
		const ms = time.Millisecond

		want := []seen{
			{Retry: 0, After: 0},
			{Retry: 1, After: 100 * ms},
			{Retry: 2, After: 300 * ms},
			{Retry: 3, After: 700 * ms},
			{Retry: 4, After: 1200 * ms},
			{Retry: 5, After: 1700 * ms},
		}

		for i := range want {
			want[i].Path, want[i].Task = queue.PathTurn, "a"
		}

		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(seen{}, "Name")); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}

		for _, s := range got {
			if s.Name != got[0].Name {
				t.Errorf("a retry has the name %q, want %q", s.Name, got[0].Name)
			}
		}
	})
}

func TestGivesUpAfterAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(func(int) int { return http.StatusInternalServerError })
		q := open(t, local.QueueConfig{Handler: h, Lanes: lanes(local.Limits{Attempts: 3})})
		addAll(t, q, turn("a"))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got := len(h.all()); got != 3 {
			t.Errorf("%d deliveries, want 3", got)
		}
		addAll(t, q, turn("a"))
		synctest.Wait()
		if got := h.all(); len(got) != 4 || got[3].Retry != 0 {
			t.Errorf("after it was given up the job is not accepted again: %+v", got)
		}
	})
}

func TestHeadersOfCloudTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []http.Header
		answers := []int{http.StatusConflict, http.StatusBadGateway, http.StatusNoContent}
		q := open(t, local.QueueConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := r.Header.Clone()
			h.Del(queue.HeaderName) // random
			got = append(got, h)
			w.WriteHeader(answers[len(got)-1])
		})})

		start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // the start of every bubble
		addAll(t, q, turn("a"))
		time.Sleep(time.Minute)
		synctest.Wait()
		want := make([]http.Header, len(answers))

		for i, row := range []struct {
			retry, executions, eta string
		}{
			{"0", "0", "946684800.000000"},
			{"1", "1", "946684800.100000"},
			{"2", "1", "946684800.300000"}, // a 5xx does not count as an execution
		} {
			want[i] = http.Header{}
			want[i].Set("Content-Type", "application/json")
			want[i].Set("User-Agent", "Google-Cloud-Tasks")
			want[i].Set("X-CloudTasks-QueueName", "turns")
			want[i].Set("X-CloudTasks-TaskRetryCount", row.retry)
			want[i].Set("X-CloudTasks-TaskExecutionCount", row.executions)
			want[i].Set("X-CloudTasks-TaskETA", row.eta)
		}

		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("headers of tries from %v (-want +got):\n%s", start, diff)
		}
	})
}

func TestPanicIsARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		h := newLog(nil)
		q := open(t, local.QueueConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				panic("a tool of the user's")
			}
			h.ServeHTTP(w, r)
		})})
		addAll(t, q, turn("a"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := h.all(); len(got) != 1 || got[0].Retry != 1 {
			t.Errorf("deliveries after the panic = %+v, want one with retry count 1", got)
		}
	})
}

func TestDeadlineCancelsAndRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		var calls atomic.Int32
		q := open(t, local.QueueConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				<-r.Context().Done()
				time.Sleep(30 * time.Second) // the handler keeps its slot, so the next try does not overlap it
				w.WriteHeader(http.StatusNoContent)
				return // too late for a 2xx
			}
			h.ServeHTTP(w, r)
		})})
		addAll(t, q, turn("a"))
		time.Sleep(time.Hour)
		synctest.Wait()
		want := []seen{{
			Path: queue.PathTurn, Task: "a", Retry: 1,
			After: 10*time.Minute + 30*time.Second + 100*time.Millisecond,
		}}
		if diff := cmp.Diff(want, h.all(), cmpopts.IgnoreFields(seen{}, "Name")); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}

// A hint ends the backoff of its own job, and the job keeps its name (R3).
func TestHintHastensTheRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(func(n int) int {
			if n == 1 {
				return http.StatusInternalServerError
			}
			return http.StatusNoContent
		})
		q := open(t, local.QueueConfig{Handler: h, Lanes: lanes(local.Limits{MinBackoff: 5 * time.Second})})
		addAll(t, q, turn("a"))
		time.Sleep(time.Second)
		addAll(t, q, turn("a"))
		time.Sleep(time.Hour)
		synctest.Wait()
		got := h.all()
		if len(got) != 2 || got[1].Name != got[0].Name || got[1].Retry != 1 || got[1].After != time.Second {
			t.Errorf("deliveries = %+v, want a retry of the same name after 1s and no more", got)
		}
	})
}

// A job fails after the same job was added again. The waiting job takes over its name and
// count.
func TestFailedJobGoesOnAsTheOneThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		var calls atomic.Int32
		opened := make(chan struct{})
		var first string

		q := open(t, local.QueueConfig{
			Lanes: lanes(local.Limits{Slots: 1}),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) == 1 {
					first = r.Header.Get(queue.HeaderName)
					<-opened
					w.WriteHeader(http.StatusInternalServerError)
					return
				}

				h.ServeHTTP(w, r)
			}),
		})

		addAll(t, q, turn("a"))
		synctest.Wait()
		addAll(t, q, turn("a"))
		close(opened)
		time.Sleep(time.Hour)
		synctest.Wait()
		got := h.all()
		if len(got) != 1 || got[0].Name != first || got[0].Retry != 1 || got[0].After != 0 {
			t.Errorf("deliveries = %+v, want one at once, named %s, with retry count 1", got, first)
		}
	})
}

func TestWhatCountsAsAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   int // deliveries
	}{
		{"nothing written", func(http.ResponseWriter) {}, 1},
		{"a body alone", func(w http.ResponseWriter) { fmt.Fprint(w, "ok") }, 1},
		{"a header alone", func(w http.ResponseWriter) { w.Header().Set("X", "y") }, 1},
		{"204", func(w http.ResponseWriter) { w.WriteHeader(204) }, 1},
		{"299", func(w http.ResponseWriter) { w.WriteHeader(299) }, 1},
		{"103 then 204", func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(204) }, 1},
		{"204 then 500", func(w http.ResponseWriter) { w.WriteHeader(204); w.WriteHeader(500) }, 1},
		{"a body, then 500", func(w http.ResponseWriter) { fmt.Fprint(w, "ok"); w.WriteHeader(500) }, 1},
		{"307", func(w http.ResponseWriter) { w.WriteHeader(307) }, 2},
		{"404", func(w http.ResponseWriter) { w.WriteHeader(404) }, 2},
		{"429", func(w http.ResponseWriter) { w.WriteHeader(429) }, 2},
		{"503", func(w http.ResponseWriter) { w.WriteHeader(503) }, 2},
		{"panic after 204", func(w http.ResponseWriter) { w.WriteHeader(204); panic("late") }, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				q := open(t, local.QueueConfig{
					Lanes: lanes(local.Limits{Attempts: 2}),
					Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						calls.Add(1)
						tt.answer(w)
					}),
				})

				addAll(t, q, turn("a"))
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := int(calls.Load()); got != tt.want {
					t.Errorf("%d deliveries, want %d", got, tt.want)
				}
			})
		})
	}
}
