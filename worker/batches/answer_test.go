package batches_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"errand/shared/queue"
	"errand/shared/task"
)

// A settlement that fails is tried again: after 503 if the store does not answer, which slows the
// whole queue down, and else after 500.
func TestAnswersOfSettlements(t *testing.T) {
	b := newBench(t, nil)
	id := b.submit(b.spec("all", manifest(3)))
	b.settled(id)

	// The queue gets nothing done from here on.
	fault := errors.New("a fault of the test")
	b.current.Store(b.process(&tap{before: func(call) error { return fault }}))
	if _, err := b.desk.ChangeByID(t.Context(), id, func(r task.Record, now task.Moment) (task.Record, bool, error) { return r.Delete(now) }); err != nil {
		t.Fatal(err)
	}

	answer := func(before func(call) error) int {
		w := httptest.NewRecorder()
		job := string(queue.Job{Task: id}.Body())
		b.process(&tap{before: before}).handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", queue.PathBatch, strings.NewReader(job)))
		return w.Code
	}

	loads := 0
	for _, tt := range []struct {
		name   string
		before func(call) error
		want   int
	}{
		{"the store does not answer the turn", func(c call) error { return map[bool]error{true: fault}[c.method == "Load"] }, http.StatusServiceUnavailable},
		{"the store does not answer the settlement", func(c call) error {
			if c.method == "Load" {
				loads++
			}
			return map[bool]error{true: fault}[c.method == "Load" && loads > 1]
		}, http.StatusServiceUnavailable},
		{"the files are not deleted", func(c call) error { return map[bool]error{true: fault}[c.method == "Files.DeleteAll"] }, http.StatusInternalServerError},
		{"no fault", nil, http.StatusNoContent},
	} {
		if got := answer(tt.before); got != tt.want {
			t.Errorf("%s: answered %d, want %d", tt.name, got, tt.want)
		}
	}
}
