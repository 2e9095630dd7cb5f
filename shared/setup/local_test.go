package setup_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"

	"errand/shared/queue"
	"errand/shared/setup"
)

// The local queue runs as many turns at once as it is told to, by default as many as the
// lane has slots; deliveries keep theirs.
func TestTurnsAtOnce(t *testing.T) {
	turns, _ := queue.LaneOf(queue.Turns)
	deliveries, _ := queue.LaneOf(queue.Deliveries)

	for _, c := range []struct{ told, want int }{{0, turns.Slots}, {1, 1}, {50, 50}} {
		synctest.Test(t, func(t *testing.T) {
			release, running := make(chan struct{}), make(chan string, 1000)
			l := setup.Connect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				running <- r.URL.Path
				<-release
			}), nil, c.told, nil, slog.New(slog.DiscardHandler))

			for i := range 300 {
				for _, lane := range []queue.Lane{turns, deliveries} {
					if err := l.Queue.Add(t.Context(), queue.Job{Queue: lane.Name, Path: lane.Path, Task: fmt.Sprint("t", i), Owner: "someone"}); err != nil {
						t.Error(err)
					}
				}
			}

			synctest.Wait()

			at := map[string]int{}
			for range len(running) {
				at[<-running]++
			}

			if at[turns.Path] != c.want || at[deliveries.Path] != deliveries.Slots {
				t.Errorf("told %d: %v at once, want %d turns and %d deliveries", c.told, at, c.want, deliveries.Slots)
			}

			close(release)
			if err := l.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
