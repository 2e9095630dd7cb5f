// Package turn runs one turn of a task: it claims the record, runs an executor, commits the
// executor's events, and publishes the notifications.
//
// It is not the agent: it runs any a2asrv.AgentExecutor unchanged, and the executor need
// not know about leases, crashes or retries. It decides nothing about records either: the
// transitions of shared/task are those decisions.
package turn

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/bus"
	"errand/shared/credential"
	"errand/shared/desk"
	"errand/shared/kv"
	"errand/shared/memory"
	"errand/shared/objects"
	"errand/shared/queue"
	"errand/shared/task"
)

// Config holds the parts and times of a worker. Zero times have defaults.
type Config struct {
	Desk     *desk.Desk
	Store    task.Store      // the desk's store: a turn makes its own commits
	KV       kv.Store        // keeps the steps of turns, in the database of the records
	Files    Files           // of the owners of tasks, which messages name; nil: there are none
	Objects  objects.Guarded // judges the URLs of messages; zero: nobody may have an object read
	Bus      bus.Publisher
	Executor a2asrv.AgentExecutor
	Log      *slog.Logger

	// Deadline is how long one run may take before it is parked and begins again, from the
	// delivery of its job; 0: as the desk's rules say. The queue waits longer
	// (queue.LongDeadline), so that a run has ended before the queue gives it up.
	Deadline time.Duration

	// Lease is how long a claim keeps other workers away; 0: 10 min. Renew is the time after
	// which a run makes its lease as long again; 0: 3 min. So a run may take longer than a
	// lease, and the turn of a worker that dies is taken over within a lease.
	Lease, Renew time.Duration

	// Pace says how soon events are committed; zero: PaceShared.
	Pace Pace

	// Conversation bounds what a run reads of the conversation; nil: the defaults of agent.yaml.
	Conversation *Conversation

	// WakeURL makes the address by which the call with a key is woken, signed with the wake
	// key of its record. nil, and an empty address: the agent has no public address.
	WakeURL func(wakeKey, call string) string

	Credentials *credential.Store // those that tasks are given; nil: none

	Memory *memory.Pool // of all turns that are not small; nil: a quarter of the process

	// Apart is how long a turn that must run apart waits for the end of the others; 0: 30 s.
	// Alone is how long others then wait for it at first; 0: 1 min. Each further death of a
	// worker under the turn doubles it, up to Lease.
	Apart, Alone time.Duration
}

// A Worker runs turns. It is an http.Handler for the jobs of the turns lane.
type Worker struct {
	cfg    Config
	room   *room // the process, which turns share
	memory *memory.Pool
	drain  context.Context // ends when the process must stop
	stop   context.CancelFunc
}

// New returns a worker.
func New(cfg Config) *Worker {
	cfg.Deadline = orDefault(cfg.Deadline, cfg.Desk.Moment().Rules.Run)
	cfg.Lease = orDefault(cfg.Lease, 10*time.Minute)
	cfg.Renew = orDefault(cfg.Renew, 3*time.Minute)
	if cfg.Pace == (Pace{}) {
		cfg.Pace = PaceShared
	}
	if cfg.Memory == nil {
		cfg.Memory = memory.Share(memoryShare)
	}
	if cfg.Conversation == nil {
		cfg.Conversation = &Conversation{Tokens: usualTokens, Tasks: usualTasks}
	}
	cfg.Apart = orDefault(cfg.Apart, 30*time.Second)
	cfg.Alone = orDefault(cfg.Alone, time.Minute)
	drain, stop := context.WithCancel(context.Background())
	return &Worker{cfg: cfg, room: newRoom(), memory: cfg.Memory, drain: drain, stop: stop}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Drain parks every running turn, so that the process may end: the events so far are kept,
// the lease is released, and the turn goes on elsewhere (R4). Turns that are claimed
// afterwards are parked at once.
func (w *Worker) Drain() { w.stop() }

// ServeHTTP implements http.Handler for [queue.PathTurn]. A 2xx acknowledges the job. After
// another status ([desk.StatusOf]) the queue delivers it again, with a higher retry count, so that
// the lease is taken over at once (R3).
func (w *Worker) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	job, err := queue.Read(rw, req)
	if err != nil || job.Task == "" {
		w.cfg.Log.WarnContext(ctx, "job dropped: not a turn", "err", err)
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	retry, _ := strconv.Atoi(req.Header.Get(queue.HeaderRetry)) // 0 if absent or malformed: a first delivery
	lease := task.Lease{Queue: req.Header.Get(queue.HeaderQueue), Name: req.Header.Get(queue.HeaderName), Retry: retry, Nonce: rand.Text()}
	if err := w.turn(ctx, job.Task, lease); err != nil {
		w.cfg.Log.WarnContext(ctx, "turn not finished; the queue will deliver its job again", "task", job.Task, "job", lease.Name, "retry", retry, "err", err)
		rw.WriteHeader(desk.StatusOf(err))
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}

// turn handles one delivery of a job (R2). nil acknowledges the job.
func (w *Worker) turn(ctx context.Context, id string, lease task.Lease) error {
	start := w.cfg.Desk.Now()
	r, err := task.Load(ctx, w.cfg.Store, id)
	if errors.Is(err, task.ErrNotFound) {
		w.cfg.Log.InfoContext(ctx, "job dropped: no such task", "task", id)
		return nil
	}

	if foreign(err) {
		w.cfg.Log.ErrorContext(ctx, "job dropped: the record is not for this version of the program", "task", id, "err", err)
		return nil
	}

	if err != nil {
		return err
	}
	if err := w.publish(ctx, r); err != nil {
		return err
	}

	told := len(r.Notifications)
	leave, held, err := w.admit(ctx, r, told)
	if err != nil || held {
		return err
	}
	defer leave()

	lease.Until = w.leaseFrom(start, start)
	p, now, err := w.enter(ctx, r, task.Claim{Lease: lease, Published: told})
	if err != nil {
		return err
	}
	defer p.leave()

	// Waiting for a place took a part of the delivery's time.
	if waited := w.cfg.Desk.Now().Sub(start); waited > w.cfg.Deadline/2 {
		return fmt.Errorf("the turn of task %s has waited %v for other turns", id, waited)
	}
	lease.Until, lease.Alone = w.leaseFrom(start, w.cfg.Desk.Now()), p.alone()

	// Do not cancel a claim: a lease that no worker knows of would block the task until it
	// expires.
	r, verdict, err := w.claim(context.WithoutCancel(ctx), r, now, task.Claim{Lease: lease, Published: told})
	if errors.Is(err, task.ErrNotFound) {
		return nil
	}

	if foreign(err) {
		w.cfg.Log.ErrorContext(ctx, "job dropped: the record is not for this version of the program", "task", id, "err", err)
		return nil
	}

	if err != nil {
		return fmt.Errorf("claiming task %s: %w", id, err)
	}

	switch verdict {
	case task.Claimed:
		return w.run(ctx, r, p, start)
	case task.Parked:
		w.cfg.Log.InfoContext(ctx, "turn parked before its claim", "task", id, "attempt", r.Attempt, "deaths", r.Deaths, "blamed", r.Blamed, "wake", r.Wake)
		return w.cfg.Desk.Enqueue(ctx, r, r.Lane) // the wake-up, if it is near (R12)
	case task.Ended:
		if err := w.dropCredentials(ctx, r); err != nil {
			return err
		}
		w.cfg.Log.WarnContext(ctx, "task ended without an answer", "task", id, "job", lease.Name, "attempt", r.Attempt, "epoch", r.Epoch)
		return w.publish(ctx, r)
	}

	return w.publishLate(ctx, r, told)
}

// spare is the time after the end of a run in which its outcome is committed.
const spare = 30 * time.Second

// leaseFrom is the end of a lease of a run that began at start, as it is taken or renewed now: no
// lease outlives the delivery of the job.
func (w *Worker) leaseFrom(start, now time.Time) time.Time {
	until, last := now.Add(w.cfg.Lease), start.Add(w.cfg.Deadline+spare)
	if last.Before(until) {
		until = last
	}
	return until.UTC().Round(0) // in the form in which the record is read back
}

// foreign reports whether another version of the program has written the record. The job is
// then dropped, because the queue would deliver it here for ever. The work is still pending
// in the record, and the sweep of the other version enqueues it.
func foreign(err error) bool {
	return errors.Is(err, task.ErrNewer) || errors.Is(err, task.ErrUnreadable)
}

// claim commits the claim. now is one time for all tries: by it a claim recognises its own
// park.
func (w *Worker) claim(ctx context.Context, r task.Record, now task.Moment, c task.Claim) (task.Record, task.Verdict, error) {
	var verdict task.Verdict
	r, err := task.UpdateFrom(ctx, w.cfg.Store, r, func(r task.Record) (next task.Record, changed bool, err error) {
		next, verdict, changed, err = r.Claim(now, c)
		return next, changed, err
	})
	return r, verdict, err
}

// publishLate ends a job that found nothing to run. It also publishes the notifications
// that were made after the first read, because their maker may have died before it could.
// The notifications of the front door are pending until the record says that they are
// published.
func (w *Worker) publishLate(ctx context.Context, r task.Record, told int) error {
	if err := w.dropCredentials(ctx, r); err != nil {
		return err
	}
	if len(r.Notifications) > told {
		if err := w.publish(ctx, r); err != nil {
			return err
		}
	}
	told = len(r.Notifications)
	_, err := task.UpdateFrom(ctx, w.cfg.Store, r, func(r task.Record) (task.Record, bool, error) {
		return r.MarkPublished(w.cfg.Desk.Moment(), told)
	})
	return err
}

// publish announces the notifications that are not known to be published. It comes before
// the job is acknowledged, because the job is the outbox of the events (R7).
func (w *Worker) publish(ctx context.Context, r task.Record) error {
	notes := r.Unpublished()
	if len(notes) == 0 {
		return nil
	}
	events := make([]bus.Event, len(notes))
	for i, n := range notes {
		events[i] = bus.Event{
			Task: r.ID(), Context: r.Task.ContextID, Notification: r.Published + i + 1, Kind: bus.KindState,
			State: string(n.State), Artifact: string(n.Artifact), Time: n.At,
		}
		if n.State == "" {
			events[i].Kind = bus.KindArtifact
		}
	}
	if err := w.cfg.Bus.Publish(ctx, events...); err != nil {
		return fmt.Errorf("publishing events of task %s: %w", r.ID(), err)
	}
	return nil
}
