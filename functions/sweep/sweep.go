// Package sweep puts back what the queues have lost and deletes what has expired
// (R10, R11).
//
// It decides nothing about a task: it reads from the records what is owed and asks
// for it again. A sweep too many does no harm.
package sweep

import (
	"log/slog"
	"net/http"

	"errand/shared/desk"
	"errand/shared/queue"
	"errand/shared/task"
)

// A Store is what a sweep needs of one.
type Store interface {
	task.Store
	task.Chores
}

// Config says what a Sweep needs. Desk, Store and Queue have no default.
type Config struct {
	Desk  *desk.Desk
	Store Store        // the desk's
	Queue queue.Queue  // the desk's: sweeps are jobs too
	Log   *slog.Logger // default: nowhere

	// Limit is how many records one sweep puts back. Default: a tenth of what the lane
	// dispatches until the next sweep, so that repair does not crowd out what is new.
	Limit int

	// Fill is how many records one Refill puts back. It must be more than twice
	// what a lane of the queue holds: then the lane overflows whenever there is more,
	// and asks again. Default 40,000.
	Fill int
}

// limit is how many records a sweep of the lane puts back.
func (s *Sweep) limit(lane string) int {
	if s.Limit > 0 {
		return s.Limit
	}
	l, _ := queue.LaneOf(lane)
	return l.Rate * l.Shards * 60 / 10
}

// Limits of one sweep.
const (
	page       = 500    // records listed at once
	side       = 16     // records put back side by side: they share the store's commits
	unreadable = 100    // records that cannot be read or written; more are an outage
	purgeLimit = 20_000 // two queues a minute: more than 500 tasks a second leave behind
)

// A Sweep repairs queues. It is safe for concurrent use; it is also the handler of
// its jobs, at queue.PathSweep.
type Sweep struct{ Config }

// New returns a Sweep.
func New(c Config) *Sweep {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Fill <= 0 {
		c.Fill = 40_000
	}
	return &Sweep{c}
}

// ServeHTTP handles the job of a sweep. It always acknowledges: the next one goes
// on where this one failed.
func (s *Sweep) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	defer w.WriteHeader(http.StatusNoContent)
	job, err := queue.Read(w, req)
	if err != nil || job.Sweep.IsZero() {
		s.Log.Warn("dropping a sweep job", "err", err)
		return
	}
	n, err := s.repair(req.Context(), job.Queue, job.Sweep)
	if err != nil {
		s.Log.Error("sweeping", "lane", job.Queue, "put_back", n, "err", err)
	} else if n > 0 {
		s.Log.Info("swept", "lane", job.Queue, "put_back", n)
	}
	n, err = s.Store.Purge(req.Context(), s.Desk.Now(), purgeLimit)
	if err != nil {
		s.Log.Error("purging", "purged", n, "err", err)
	} else if n > 0 {
		s.Log.Info("purged", "purged", n)
	}
}
