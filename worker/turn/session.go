package turn

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A session is one run of one turn: what the executor has said and the record has
// not got yet, and the commits that bring it there.
type session struct {
	w      *Worker
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	pending []a2a.Event
	bytes   int // text in pending
	timer   *time.Timer
	closed  bool

	commit sync.Mutex // held while committing; guards the rest
	rec    task.Record
}

func newSession(w *Worker, r task.Record) *session {
	return &session{w: w, rec: r}
}

// add takes what the executor said. It is committed soon, with whatever comes
// until then.
func (s *session) add(ev a2a.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.pending = task.Gather(s.pending, ev)
	s.bytes += textSize(ev)
	if s.bytes > task.LimitResult {
		s.cancel(task.ErrTooLarge)
		return
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(s.interval(), s.tick)
	}
}

// interval is the time to the next progress commit: a large record is written less
// often, at 64 KiB a second, but every 10 s.
func (s *session) interval() time.Duration {
	size := time.Duration(s.bytes) * time.Second / (64 << 10)
	return min(max(s.w.cfg.Commit, size), 10*time.Second)
}

// tick commits on the timer. A store that does not answer is asked again by the
// next tick or the final commit; nothing is lost meanwhile.
func (s *session) tick() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := s.flush(ctx)
	if errors.Is(err, task.ErrFenced) || errors.Is(err, task.ErrTooLarge) {
		s.cancel(err)
	}
}

// flush commits everything said so far.
func (s *session) flush(ctx context.Context) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	events := s.take()
	if len(events) == 0 {
		return s.own(ctx)
	}
	turn := s.turn()
	r, err := task.UpdateFrom(ctx, s.w.cfg.Store, s.rec, func(r task.Record) (task.Record, bool, error) {
		return r.Progress(s.w.moment(), turn, events)
	})
	if err != nil {
		s.putBack(events)
		return err
	}
	s.rec = r
	return nil
}

// own asks the store whether the turn is still ours.
func (s *session) own(ctx context.Context) error {
	r, err := s.w.cfg.Store.Load(ctx, s.rec.ID())
	if err == nil && (r.Epoch != s.rec.Epoch || r.Terminal()) {
		err = task.ErrFenced
	}
	return err
}

// finish commits the end of the turn with all that was said. A result that does
// not fit ends the task with that reason.
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
		State: a2a.TaskStateFailed, Message: a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(why)),
	})
}

func (s *session) end(ctx context.Context, events []a2a.Event, out task.Outcome) (task.Record, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	turn := s.turn()
	return s.persist(ctx, func(r task.Record) (task.Record, bool, error) {
		return r.Finish(s.w.moment(), turn, events, out)
	})
}

// park puts the turn off with all that was said.
func (s *session) park(ctx context.Context, wake time.Time, say string) (task.Record, error) {
	events := s.take()
	var msg *a2a.Message
	if say != "" {
		msg = a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(say))
	}
	s.commit.Lock()
	defer s.commit.Unlock()
	turn, wake := s.turn(), wake.UTC().Round(0)
	r, err := s.persist(ctx, func(r task.Record) (task.Record, bool, error) {
		return r.Park(s.w.moment(), turn, events, wake, msg)
	})
	if errors.Is(err, task.ErrTooLarge) { // the unfinished text is let go, the retry makes it again
		return s.persist(ctx, func(r task.Record) (task.Record, bool, error) {
			return r.Park(s.w.moment(), turn, nil, wake, msg)
		})
	}
	return r, err
}

// persist commits the end of a run. The result is in memory only, and the model has
// been paid for: a store that does not answer is asked again until the lease ends.
func (s *session) persist(ctx context.Context, decide task.Decision) (task.Record, error) {
	ctx, cancel := context.WithDeadline(ctx, time.Now().Add(s.rec.Lease.Until.Sub(s.w.cfg.Now())))
	defer cancel()
	for {
		r, err := task.UpdateFrom(ctx, s.w.cfg.Store, s.rec, decide)
		switch {
		case err == nil:
			s.rec = r
			return r, nil
		case errors.Is(err, task.ErrFenced), errors.Is(err, task.ErrTooLarge), errors.Is(err, task.ErrNotFound), errors.Is(err, task.ErrNewer):
			return s.rec, err
		}
		select {
		case <-ctx.Done():
			return s.rec, err
		case <-s.w.drain.Done():
			return s.rec, err
		case <-time.After(time.Second):
		}
	}
}

// take empties the buffer.
func (s *session) take() []a2a.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.pending
	s.pending = nil
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	return events
}

func (s *session) putBack(events []a2a.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(events, s.pending...)
	if s.timer == nil && !s.closed {
		s.timer = time.AfterFunc(s.interval(), s.tick)
	}
}

// close ends the timed commits; the final one follows.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

func (s *session) turn() task.Turn { return task.Turn{Epoch: s.rec.Epoch, Seq: s.rec.Seq} }

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
