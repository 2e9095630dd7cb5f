package sweep

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"errand/shared/queue"
)

// PathTick is where a schedule posts every minute, because no process of ours runs all
// the time to do it by itself as [Sweep.Run] does. There is nothing in the request.
const PathTick = "/tick"

// Run adds sweeps to the queues, every so often, until ctx ends.
func (s *Sweep) Run(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := s.tick(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("adding a sweep", "err", err)
			}
		}
	}
}

// ServeTick handles a tick of the schedule. A failure is answered as one, so that the
// schedule shows it; nobody has to repeat it, the next minute does.
func (s *Sweep) ServeTick(w http.ResponseWriter, req *http.Request) {
	if err := s.tick(req.Context()); err != nil {
		s.Log.Error("adding a sweep", "err", err)
		http.Error(w, "a queue does not accept its sweep", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// tick adds a sweep to each queue, with the time it was added.
func (s *Sweep) tick(ctx context.Context) error {
	var bad []error
	for _, lane := range queue.Lanes() {
		job := queue.Job{Queue: lane.Name, Path: queue.PathSweep, Sweep: s.Desk.Now().UTC()}
		if err := s.Queue.Add(ctx, job); err != nil {
			bad = append(bad, fmt.Errorf("queue %s: %w", lane.Name, err))
		}
	}
	return errors.Join(bad...)
}
