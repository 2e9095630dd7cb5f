// Package sweep enqueues the jobs that the queues have lost, and deletes expired tasks with
// their steps, and files that are over (R10, R11, R16i).
//
// It decides nothing about a task. It reads the debts of the records and enqueues jobs for
// them. Additional sweeps are harmless.
package sweep

import (
	"log/slog"
	"net/http"

	"errand/shared/catalogue"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/shared/uploads"
)

// A Store is the store of records as a sweep uses it.
type Store interface {
	task.Store
	task.Chores
}

// Config is the configuration of a Sweep. Desk, Store, KV and Queue have no default.
type Config struct {
	Desk  *desk.Desk
	Store Store          // the desk's
	KV    kv.Store       // of the same database, with the steps of the tasks
	Files *uploads.Store // nil: there are none
	Queue queue.Queue    // the desk's: sweeps are jobs too
	Log   *slog.Logger   // default: discards

	// Shards is into how many parts the sweeps of each lane are divided, as many as it has
	// managed queues. Default: 1.
	Shards int

	// Batches has the files that batches make. nil: there are none.
	Batches *files.Store

	// Catalogue has the agents of an organisation, whose cards are looked for. nil: there are none.
	Catalogue *catalogue.Catalogue

	// Limit is the number of records that one sweep enqueues. Default: the jobs that a queue
	// of the lane dispatches before the next sweep.
	Limit int

	// Fill is the number of records that one Refill enqueues. It must be more than twice
	// the jobs of all owners that a lane holds, because the lane merges some with those that
	// wait, and drains meanwhile. A longer backlog then overflows the lane, which asks for
	// another Refill. Default: 110,000.
	Fill int
}

// limit is the number of records that a sweep of the lane enqueues.
func (s *Sweep) limit(lane string) int {
	if s.cfg.Limit > 0 {
		return s.cfg.Limit
	}
	l, _ := queue.LaneOf(lane)
	return l.Rate * 60
}

// Limits of one sweep.
const (
	defaultFill = 110_000 // records of a Refill: a lane holds 52,768 jobs with the largest ERRAND_TURNS

	page       = 500 // records listed at once
	side       = 16  // records enqueued concurrently: they share the store's commits
	unreadable = 100 // records that cannot be read or written; more of them are an outage
)

// A Sweep repairs queues. It is safe for concurrent use. It is also the handler of its
// jobs, at queue.PathSweep.
type Sweep struct{ cfg Config }

// New makes a Sweep.
func New(c Config) *Sweep {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Fill <= 0 {
		c.Fill = defaultFill
	}
	c.Shards = max(c.Shards, 1)
	return &Sweep{cfg: c}
}

// ServeHTTP handles the job of a sweep. It always acknowledges, because the next sweep
// continues after a failure.
func (s *Sweep) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	defer w.WriteHeader(http.StatusNoContent)
	ctx, log := req.Context(), s.cfg.Log
	job, err := queue.Read(w, req)
	if err != nil || job.Sweep.IsZero() {
		log.WarnContext(ctx, "dropping a sweep job", "err", err)
		return
	}

	of := task.Shard{Index: job.Shard, Of: job.Of}
	n, err := s.repair(ctx, job.Queue, of, job.Sweep)
	if err != nil {
		log.ErrorContext(ctx, "sweeping", "lane", job.Queue, "shard", job.Shard, "put_back", n, "err", err)
	} else if n > 0 {
		log.InfoContext(ctx, "swept", "lane", job.Queue, "shard", job.Shard, "put_back", n)
	}

	// Twice a minute is often enough to look for what has expired.
	if job.Queue != task.Turns && job.Queue != task.Deliveries {
		return
	}
	n, err = s.purge(ctx, of)
	if err != nil {
		log.ErrorContext(ctx, "purging", "purged", n, "err", err)
	} else if n > 0 {
		log.InfoContext(ctx, "purged", "purged", n)
	}

	if job.Queue != task.Turns || !of.First() {
		return
	}
	if s.cfg.Files != nil {
		n, err = s.cfg.Files.Sweep(ctx, s.ended)
		if err != nil {
			log.ErrorContext(ctx, "deleting files that are over", "deleted", n, "err", err)
		} else if n > 0 {
			log.InfoContext(ctx, "deleted files that are over", "deleted", n)
		}
	}

	if s.cfg.Catalogue != nil {
		if n, err = s.cfg.Catalogue.Refresh(ctx); err != nil {
			log.ErrorContext(ctx, "looking for the cards of the catalogue", "looked", n, "err", err)
		}
	}
}
