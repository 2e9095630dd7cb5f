// Package desk changes records on behalf of clients and operators: it commits a decision
// and then enqueues a job for each debt (pending work) that is new. Jobs are derived from
// the record before and after the commit; no transition returns one.
//
// It is not an HTTP surface, checks neither callers nor the content of messages, and runs
// nothing. The commits of a turn and of a delivery pass are made elsewhere: the bus
// announces their notifications (R7, R9).
package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"errand/shared/queue"
	"errand/shared/task"
)

// Config holds the parts of a Desk. All fields but Room are required.
type Config struct {
	Store task.Store
	Queue queue.Queue
	Rules task.Rules
	Now   func() time.Time
	Log   *slog.Logger

	// Room returns an error while there is no room for further messages of the owner. They are refused
	// then, while tasks can still be canceled, ended and deleted. nil: there is always room.
	Room func(ctx context.Context, owner string) error

	// WakeKey makes the key with which a worker signs the URLs that wake calls of one life of a
	// task: TASK/LIFE. It is kept in the record. nil, and an empty key: there are no such URLs.
	WakeKey func(ctx context.Context, life string) string

	// Reused says that clients give different messages the same id. It switches off
	// deduplication by message id: each message that is sent makes a task or another turn,
	// and a client that repeats a message because it lost the answer has it run twice.
	Reused bool
}

// A Desk changes records. It is safe for concurrent use.
type Desk struct{ cfg Config }

// New returns a Desk.
func New(c Config) *Desk { return &Desk{c} }

// Now returns the present time by the desk's clock.
func (d *Desk) Now() time.Time { return d.cfg.Now() }

// Moment returns the present time and the rules that decisions go by.
func (d *Desk) Moment() task.Moment { return d.cfg.Rules.At(d.cfg.Now()) }

// A Decision is a [task.Decision] that also gets its moment.
type Decision func(task.Record, task.Moment) (next task.Record, changed bool, err error)

// Change decides about a record that the caller has just read, commits as [task.UpdateFrom]
// does, and then enqueues the debts that are new. After nil the change is durable. An
// unavailable queue is logged and is no error, because the sweep adds the job.
//
// A decision that changes nothing repeats an earlier one, whose caller may have died before
// it reached the queue. Then Change enqueues every debt that is due by now.
func (d *Desk) Change(ctx context.Context, r task.Record, decide Decision) (task.Record, error) {
	return d.change(ctx, decide, func(decide task.Decision) (task.Record, error) {
		return task.UpdateFrom(ctx, d.cfg.Store, r, decide)
	})
}

// ChangeByID is Change for a caller that knows only the record's id.
func (d *Desk) ChangeByID(ctx context.Context, id string, decide Decision) (task.Record, error) {
	return d.change(ctx, decide, func(decide task.Decision) (task.Record, error) {
		return task.Update(ctx, d.cfg.Store, id, decide)
	})
}

func (d *Desk) change(ctx context.Context, decide Decision, update func(task.Decision) (task.Record, error)) (task.Record, error) {
	var first, last task.Record // as they were read: after a lost answer the last one already has the change
	var now task.Moment
	r, err := update(func(r task.Record) (task.Record, bool, error) {
		if first.Task == nil {
			first = r
		}
		last, now = r, d.Moment()
		return decide(r, now)
	})
	if err != nil {
		return r, err
	}

	owed := task.NewDebts(first, r, now)
	if r.Version == first.Version {
		owed = r.Owed(now, now.Now)
	}

	// Another change came between, which has done the work of a debt that is there again.
	for _, again := range task.NewDebts(last, r, now) {
		if !slices.ContainsFunc(owed, func(o task.Debt) bool { return o.Lane == again.Lane }) {
			owed = append(owed, again)
		}
	}
	d.follow(ctx, r, owed)
	return r, nil
}

// Settle waits until no call can begin any more that had begun when the task ended (R16b): its
// client is told of the end then. met is the record as it ended, or as it was before a
// deletion. The error is that of ctx.
func (d *Desk) Settle(ctx context.Context, met task.Record) error {
	wait := min(met.BeginsUntil().Sub(d.Now()), task.BeginWithin) // clocks may differ
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// follow enqueues the debts of a commit, even if the client has gone meanwhile. A failure
// is only logged, because the sweep adds the job.
func (d *Desk) follow(ctx context.Context, r task.Record, owed []task.Debt) {
	if err := d.enqueue(context.WithoutCancel(ctx), r, owed); err != nil {
		d.cfg.Log.WarnContext(ctx, "job not added; the sweep will", "task", r.ID(), "err", err)
	}
}

// Enqueue adds the jobs for the debts of the next Patience, in the given lanes or, without
// any, in all lanes. Later debts are left to the record's Due. After an error some of the
// jobs may be missing.
func (d *Desk) Enqueue(ctx context.Context, r task.Record, lanes ...string) error {
	m := d.Moment()
	owed := r.Owed(m, m.Now.Add(m.Rules.Patience))
	if len(lanes) > 0 {
		owed = slices.DeleteFunc(owed, func(o task.Debt) bool { return !slices.Contains(lanes, o.Lane) })
	}
	return d.enqueue(ctx, r, owed)
}

// enqueue adds a job for each debt.
func (d *Desk) enqueue(ctx context.Context, r task.Record, owed []task.Debt) error {
	var errs []error
	for _, o := range owed {
		lane, _ := queue.LaneOf(o.Lane) // without a path the queue refuses the job
		job := queue.Job{Queue: o.Lane, Path: lane.Path, Task: r.ID(), Owner: r.Owner}
		if o.At.After(d.cfg.Now()) {
			job.At = o.At
		}
		if err := d.cfg.Queue.Add(ctx, job); err != nil {
			errs = append(errs, fmt.Errorf("adding a job for task %s to the queue %s: %w", r.ID(), o.Lane, err))
		}
	}
	return errors.Join(errs...)
}
