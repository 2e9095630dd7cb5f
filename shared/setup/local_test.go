package setup_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"errand/shared/queue"
	"errand/shared/setup"
)

// The local queue runs as many turns at once as it is told to, and as many items of batches
// beside them, by default as many as their lanes have slots. The other lanes keep theirs. So
// a batch takes nothing from turns.
func TestTurnsAtOnce(t *testing.T) {
	turns := []string{queue.Turns, queue.Bulk}
	for _, told := range []int{0, 1, 50} {
		synctest.Test(t, func(t *testing.T) {
			release, running := make(chan struct{}), make(chan string, 1000)
			l := setup.Connect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				running <- r.URL.Path
				<-release
			}), nil, told, nil, slog.New(slog.DiscardHandler))

			for i := range 300 {
				for _, lane := range queue.Lanes() {
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

			for _, lane := range queue.Lanes() {
				want := lane.Slots
				if told > 0 && slices.Contains(turns, lane.Name) {
					want = told
				}
				if at[lane.Path] != want {
					t.Errorf("told %d: %d of the lane %s at once, want %d", told, at[lane.Path], lane.Name, want)
				}
			}

			close(release)
			if err := l.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A caller's limit of turns holds for turns, and for items of batches beside them. The lanes
// of batches and of deliveries do not know it.
func TestTurnsOfACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, running := make(chan struct{}), make(chan string, 1000)
		l := setup.Connect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			running <- r.URL.Path
			<-release
		}), nil, 0, func(string) int64 { return 3 }, slog.New(slog.DiscardHandler))

		for i := range 300 {
			for _, lane := range queue.Lanes() {
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

		for _, lane := range queue.Lanes() {
			want := lane.Slots
			if lane.Name == queue.Turns || lane.Name == queue.Bulk {
				want = 3
			}
			if at[lane.Path] != want {
				t.Errorf("%d of the lane %s at once, want %d", at[lane.Path], lane.Name, want)
			}
		}

		close(release)
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
