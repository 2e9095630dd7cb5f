package queue_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/queue"
)

func TestJobSurvivesItsBody(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, test := range []struct{ job, want queue.Job }{
		{queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "t", At: at}, queue.Job{Task: "t"}},
		{queue.Job{Queue: "bulk", Path: queue.PathSweep, Sweep: at, Shard: 3, Of: 4}, queue.Job{Queue: "bulk", Path: queue.PathSweep, Sweep: at, Shard: 3, Of: 4}},
		{queue.Job{Queue: "turns", Path: queue.PathSweep, Sweep: at}, queue.Job{Queue: "turns", Path: queue.PathSweep, Sweep: at}},
	} {
		got, err := queue.Parse(test.job.Body())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("job after Body and Parse (-want +got):\n%s", diff)
		}
	}
}

func TestBodyThatIsNoJobIsRefused(t *testing.T) {
	for _, body := range []string{``, `null`, `[]`, `{`, `{}`, `{"id":7}`, `{"queue":"turns"}`, `{"sweep":"2026-01-01T00:00:00Z"}`, `{"queue":"turns","sweep":"noon"}`} {
		if job, err := queue.Parse([]byte(body)); err == nil {
			t.Errorf("Parse(%s) = %+v, want an error", body, job)
		}
	}
}
