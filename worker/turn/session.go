package turn

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
	workersteps "errand/worker/steps"
)

// A session is one run of one turn: the executor's events that are not in the record yet,
// and the commits that add them.
type session struct {
	w      *Worker
	cancel context.CancelCauseFunc
	log    *slog.Logger // names the turn in every line

	pace Pace

	mu      sync.Mutex
	pending []a2a.Event
	bytes   int         // size of pending
	said    int         // bytes in all: about as many as a commit writes again
	timer   *time.Timer // commits; nil: nothing is to be committed
	due     time.Time   // when the timer fires
	last    time.Time   // when a commit of events last began
	closed  bool

	commit sync.Mutex // held while committing; guards the rest
	rec    task.Record
	unsure []a2a.Event // events of a progress commit that the store has not answered
	spent  task.Spent  // cost of replies that no commit has yet
	left   string      // what the model was not shown of the conversation; empty: nothing

	moved atomic.Bool // the run has opened a step, or stored a result
}

func newSession(w *Worker, r task.Record) *session {
	log := w.cfg.Log.With("task", r.ID(), "context", r.Task.ContextID, "job", r.Lease.Name,
		"turn", r.Turn, "attempt", r.Attempt, "epoch", r.Epoch)
	return &session{w: w, rec: r, log: log, pace: w.paceOf(r.Lane)}
}

// add takes an event of the executor. It is committed soon, together with the events until
// then.
func (s *session) add(ev a2a.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	before := len(s.pending)
	s.pending = task.Gather(s.pending, ev)
	n := textSize(ev)
	s.bytes += n
	s.said += n
	if len(s.pending) <= before && !goesOn(ev) { // it has replaced others
		s.bytes = 0
		for _, other := range s.pending {
			s.bytes += textSize(other)
		}
	}

	if s.bytes > task.LimitResult {
		s.cancel(task.ErrTooLarge)
		return
	}
	s.schedule(goesOn(ev))
}

// schedule sets the timer for the commit of an event, unless it is set for an earlier one. The
// caller holds mu.
func (s *session) schedule(goesOn bool) {
	now := time.Now()
	wait := s.pace.wait(now, s.last, goesOn, s.said)
	switch {
	case s.timer == nil:
		s.timer = time.AfterFunc(wait, s.tick)
	case now.Add(wait).Before(s.due):
		s.timer.Reset(wait)
	default:
		return
	}
	s.due = now.Add(wait)
}

// tick commits on the timer. If the store does not answer, the next tick or the final
// commit tries again, and nothing is lost meanwhile.
func (s *session) tick() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if s.flush(ctx) != nil {
		s.retry()
	}
}

// flush commits all events so far. An event that can no longer be committed ends the run.
func (s *session) flush(ctx context.Context) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	err := s.commitUnsure(ctx)
	if err == nil {
		if s.unsure = s.take(); len(s.unsure) == 0 {
			return s.own(ctx)
		}
		err = s.commitUnsure(ctx)
	}
	switch {
	case errors.Is(err, task.ErrFenced), errors.Is(err, task.ErrTooLarge):
		s.cancel(err)
	case err != nil:
		return &workersteps.Again{Err: err} // an executor may pass it on
	}
	return err
}

// commitUnsure commits the unsure events. After a write whose answer was lost, these are
// the same events as before, so that the record recognises them (R0) and does not take later
// events for them.
func (s *session) commitUnsure(ctx context.Context) error {
	if len(s.unsure) == 0 {
		return nil
	}
	turn := s.turn()
	r, err := task.UpdateFrom(ctx, s.w.cfg.Store, s.rec, func(r task.Record) (task.Record, bool, error) {
		return r.Progress(s.w.cfg.Desk.Moment(), turn, s.unsure)
	})
	switch {
	case err == nil:
		s.rec, s.unsure = r, nil
	case errors.Is(err, task.ErrFenced), errors.Is(err, task.ErrTooLarge):
		s.unsure = nil
	}
	return err
}

// own checks in the store that the turn is still this run's.
func (s *session) own(ctx context.Context) error {
	r, err := s.w.cfg.Store.Load(ctx, s.rec.ID())
	if err == nil && (r.Epoch != s.rec.Epoch || r.Terminal()) || errors.Is(err, task.ErrNotFound) {
		err = task.ErrFenced
	}
	return err
}

// finish commits the end of the turn with all its events. A result that does not fit ends
// the task with that reason.
func (s *session) finish(ctx context.Context, out task.Outcome) (task.Record, error) {
	events := s.take()
	r, err := s.end(ctx, events, out)
	if errors.Is(err, task.ErrTooLarge) {
		return s.fail(ctx, "The task was ended: its result is too large to be kept.")
	}
	return r, err
}

func (s *session) fail(ctx context.Context, why string) (task.Record, error) {
	return s.end(ctx, nil, task.Outcome{
		State: a2a.TaskStateFailed, Message: a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(why)),
	})
}

func (s *session) end(ctx context.Context, events []a2a.Event, out task.Outcome) (task.Record, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	out.Spent = s.spent
	r, err := s.persist(ctx, func(r task.Record, t task.Fence) (task.Record, bool, error) {
		return r.Finish(s.w.cfg.Desk.Moment(), t, events, out)
	})
	if err == nil {
		s.spent = task.Spent{}
	}
	return r, err
}

// spend adds the cost of a reply to the next commit that carries costs.
func (s *session) spend(c task.Spent) {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.spent = s.spent.Add(c)
}

// leftOut adds to the next commit what the model was not shown of the conversation.
func (s *session) leftOut(what string) {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.left = what
}

// park parks the turn with all its events.
func (s *session) park(ctx context.Context, p task.Parking) (task.Record, error) {
	events := s.take()
	s.commit.Lock()
	defer s.commit.Unlock()
	p.Wake, p.Spent = p.Wake.UTC().Round(0), s.spent
	park := func(events []a2a.Event) (task.Record, error) {
		return s.persist(ctx, func(r task.Record, t task.Fence) (task.Record, bool, error) {
			return r.Park(s.w.cfg.Desk.Moment(), t, events, p)
		})
	}

	r, err := park(events)
	if errors.Is(err, task.ErrTooLarge) { // drop the unfinished text, which the retry makes again
		r, err = park(nil)
	}
	return r, err
}

// again is the end of a run whose executor asks for another one. Without a time to wait or a word
// for the client, and if no attempt is left, the next claim decides.
func (s *session) again(ctx context.Context, a *workersteps.Again) (task.Record, error) {
	r, m := s.record(), s.w.cfg.Desk.Moment()
	if a.After <= 0 && a.Say == "" || r.LastAttempt(m.Rules) {
		return r, a
	}
	wait := max(min(a.After, longestPause), r.Backoff(m.Rules))
	s.log.WarnContext(ctx, "the run broke off, and the turn is parked", "for", wait, "err", a.Err)
	return s.park(ctx, task.Parking{Wake: m.Now.Add(wait), Say: status(a.Say), Broke: true})
}

// keepMade commits the artifacts that calls have made, before results of these calls are stored:
// a call with a result is not made again. Without an artifact it writes nothing. A run that has
// lost its turn may store its results all the same.
func (s *session) keepMade(ctx context.Context) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	if !s.hasMade() {
		return nil
	}

	events := s.take()
	_, err := s.persist(ctx, func(r task.Record, t task.Fence) (task.Record, bool, error) {
		return r.KeepMade(s.w.cfg.Desk.Moment(), t, events)
	})
	switch {
	case errors.Is(err, task.ErrFenced):
		return nil
	case errors.Is(err, task.ErrTooLarge): // it ends the run, but the calls have happened
		s.cancel(err)
		return nil
	}
	return err
}

// hasMade reports whether there is an artifact that would be dropped with this attempt.
func (s *session) hasMade() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	isArtifact := func(ev a2a.Event) bool {
		_, is := ev.(*a2a.TaskArtifactUpdateEvent)
		return is
	}
	return slices.ContainsFunc(s.pending, isArtifact) || slices.ContainsFunc(s.unsure, isArtifact) ||
		slices.ContainsFunc(s.rec.Made, func(m task.Made) bool { return !m.Kept })
}

// giveBack ends the lease of a run that ended in an error, so that the next claim does not
// take the run for a death of this process. If the store does not answer, it does, and the
// turn is not blamed for that.
func (s *session) giveBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s.commit.Lock()
	defer s.commit.Unlock()
	r, err := task.UpdateFrom(ctx, s.w.cfg.Store, s.rec, func(r task.Record) (task.Record, bool, error) {
		return r.GiveBack(s.w.cfg.Desk.Moment(), s.turn(), s.spent)
	})
	switch {
	case err == nil:
		s.rec = r
	case errors.Is(err, task.ErrFenced), errors.Is(err, task.ErrNotFound): // it has lost the lease already
	default:
		s.log.WarnContext(ctx, "a run that ended in an error could not give its lease back", "err", err)
	}
}

// renew makes the lease longer while the run goes on, again and again. If the store does not
// answer it tries again a little later. The returned function ends that.
func (s *session) renew(ctx context.Context, start time.Time) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})

	go func() {
		defer close(over)
		for wait := s.w.cfg.Renew; ; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = s.w.cfg.Renew
			if err := s.extend(ctx, start); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "the lease of a run was not renewed; it is tried again", "until", s.until(), "err", err)
				wait = min(wait, 10*time.Second)
			}
		}
	}()

	return func() {
		cancel()
		<-over
	}
}

// extend commits a longer lease. A run that has lost its turn ends.
func (s *session) extend(ctx context.Context, start time.Time) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	if err := s.commitUnsure(ctx); err != nil {
		return err
	}
	turn := s.turn()
	r, err := task.UpdateFrom(ctx, s.w.cfg.Store, s.rec, func(r task.Record) (task.Record, bool, error) {
		m := s.w.cfg.Desk.Moment()
		return r.Renew(m, turn, s.w.leaseFrom(start, m.Now))
	})
	switch {
	case err == nil:
		s.rec = r
	case errors.Is(err, task.ErrFenced), errors.Is(err, task.ErrNotFound):
		s.cancel(task.ErrFenced)
	}
	return err
}

// until is the end of the lease.
func (s *session) until() time.Time {
	s.commit.Lock()
	defer s.commit.Unlock()
	return s.rec.Lease.Until
}

// shareLater lets other turns begin beside a turn that has run alone for long enough. The
// record says so first: a death from then on may be the fault of another turn. The returned
// function ends the waiting.
func (s *session) shareLater(ctx context.Context, p *place) (stop func()) {
	if !p.alone() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	alone := s.w.aloneFor(s.rec, s.w.cfg.Desk.Moment().Rules)
	over := make(chan struct{})

	go func() {
		defer close(over)
		for wait := alone; ; wait = time.Second {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			if s.beside(ctx) == nil {
				p.share()
				return
			}
		}
	}()

	return func() {
		cancel()
		<-over
	}
}

// beside commits that other turns may run in this process.
func (s *session) beside(ctx context.Context) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	if err := s.commitUnsure(ctx); err != nil {
		return err
	}
	r, err := task.UpdateFrom(ctx, s.w.cfg.Store, s.rec, func(r task.Record) (task.Record, bool, error) {
		return r.Beside(s.w.cfg.Desk.Moment(), s.turn())
	})
	if err == nil {
		s.rec = r
	}
	return err
}

// persist commits the end of a run. The result is in memory only, and the model has been
// paid for, so persist repeats a commit that the store does not answer until the lease
// ends.
func (s *session) persist(ctx context.Context, decide func(task.Record, task.Fence) (task.Record, bool, error)) (task.Record, error) {
	ctx, cancel := context.WithDeadline(ctx, time.Now().Add(s.rec.Lease.Until.Sub(s.w.cfg.Desk.Now())))
	defer cancel()
	for {
		err := s.commitUnsure(ctx)
		r, turn := s.rec, s.turn()
		if err == nil {
			r, err = task.UpdateFrom(ctx, s.w.cfg.Store, s.rec, func(r task.Record) (task.Record, bool, error) {
				return decide(r.LeftOut(s.w.cfg.Desk.Moment(), s.left), turn)
			})
		}
		switch {
		case err == nil:
			s.rec = r
			return r, nil

		case errors.Is(err, task.ErrNotFound): // deleted
			return s.rec, task.ErrFenced
		case errors.Is(err, task.ErrFenced), errors.Is(err, task.ErrTooLarge), errors.Is(err, task.ErrNewer):
			return s.rec, err
		}

		select {
		case <-ctx.Done():
			return s.rec, &workersteps.Again{Err: err}
		case <-s.w.drain.Done():
			return s.rec, &workersteps.Again{Err: err}
		case <-time.After(time.Second):
		}
	}
}

// progress notes that the run has stored a result outside of the record.
func (s *session) progress(ctx context.Context) {
	if s.moved.CompareAndSwap(false, true) {
		s.advance(ctx)
	}
}

// advance begins the count of attempts again. In the first attempt at a turn there is nothing
// to forget. It is no error if it fails: the next result tries again in the next run.
func (s *session) advance(ctx context.Context) {
	s.commit.Lock()
	defer s.commit.Unlock()
	if s.rec.Attempt <= 1 || s.commitUnsure(ctx) != nil {
		return
	}
	r, err := task.UpdateFrom(ctx, s.w.cfg.Store, s.rec, func(r task.Record) (task.Record, bool, error) {
		return r.Advanced(s.w.cfg.Desk.Moment(), s.turn())
	})
	if err == nil {
		s.rec = r
	}
}

// take empties the buffer.
func (s *session) take() []a2a.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.pending
	s.pending, s.bytes = nil, 0
	if len(events) > 0 {
		s.last = time.Now()
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	return events
}

// retry sets the timer for events that could not be committed.
func (s *session) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil && !s.closed {
		s.last = time.Now()
		s.schedule(true)
	}
}

// close ends the timed commits. The final commit follows.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// record is the record as the run has last written it. A progress commit may still be on its way.
func (s *session) record() task.Record {
	s.commit.Lock()
	defer s.commit.Unlock()
	return s.rec
}

// turn is for callers that hold commit.
func (s *session) turn() task.Fence { return task.Fence{Epoch: s.rec.Epoch, Seq: s.rec.Seq} }

func textSize(ev a2a.Event) int {
	e, ok := ev.(*a2a.TaskArtifactUpdateEvent)
	if !ok || e.Artifact == nil {
		return 0
	}
	n := 0
	for _, p := range e.Artifact.Parts {
		n += len(p.Text()) + len(p.Raw())
	}
	return n
}
