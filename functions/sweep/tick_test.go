package sweep_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/functions/sweep"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
)

// A tick enqueues a sweep for each shard of each lane, with the time of the tick. A failed lane
// makes the tick fail.
func TestTick(t *testing.T) {
	for _, row := range []struct {
		shards int
		fail   int
		code   int
		want   []string // the lanes that have their sweeps
	}{
		{0, -1, http.StatusNoContent, []string{task.Turns, task.Deliveries, task.Batches, task.Bulk}},
		{4, -1, http.StatusNoContent, []string{task.Turns, task.Deliveries, task.Batches, task.Bulk}},
		{1, 1, http.StatusServiceUnavailable, []string{task.Turns}},
	} {
		q := &world.Jobs{}
		q.FailAfter(row.fail)
		s := newSweep(nil, q, func() time.Time { return start }, func(c *sweep.Config) { c.Shards = row.shards })
		w := httptest.NewRecorder()
		s.ServeTick(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, sweep.PathTick, strings.NewReader("anything")))
		if w.Code != row.code {
			t.Errorf("answered %d, want %d", w.Code, row.code)
		}

		var want []queue.Job
		for _, lane := range row.want {
			for shard := range max(row.shards, 1) {
				want = append(want, queue.Job{Queue: lane, Path: queue.PathSweep, Sweep: start, Shard: shard, Of: max(row.shards, 1)})
			}
		}

		if diff := cmp.Diff(want, q.All()); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
	}
}
