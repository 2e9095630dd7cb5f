package sweep

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"errand/shared/queue"
)

// PathTick is the path to which a schedule posts every minute. On Google Cloud no process
// of ours runs all the time, as [Sweep.Run] would need. The request has no content.
const PathTick = "/tick"

// Run enqueues the sweeps of each lane, once in every period, until ctx ends.
func (s *Sweep) Run(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := s.tick(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Log.ErrorContext(ctx, "adding a sweep", "err", err)
			}
		}
	}
}

// ServeTick handles a tick of the schedule. It answers a failure with an error, so that
// the schedule shows it. The tick of the next minute makes up for the failure.
func (s *Sweep) ServeTick(w http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	if err := s.tick(ctx); err != nil {
		s.cfg.Log.ErrorContext(ctx, "adding a sweep", "err", err)
		http.Error(w, "a queue does not accept its sweep", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// tick enqueues a sweep for each shard of each lane. The job carries the present time.
func (s *Sweep) tick(ctx context.Context) error {
	var bad []error
	for _, lane := range queue.Lanes() {
		for shard := range s.cfg.Shards {
			job := queue.Job{Queue: lane.Name, Path: queue.PathSweep, Sweep: s.cfg.Desk.Now().UTC(), Shard: shard, Of: s.cfg.Shards}
			if err := s.cfg.Queue.Add(ctx, job); err != nil {
				bad = append(bad, fmt.Errorf("lane %s: %w", lane.Name, err))
			}
		}
	}
	return errors.Join(bad...)
}
