package task

import (
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// A Verdict is the result of a claim.
type Verdict int

// Verdicts of a claim.
const (
	Idle    Verdict = iota // there is nothing to run: acknowledge the job
	Claimed                // the caller runs the turn
	Parked                 // the turn backs off until Wake, or is put off because it must run apart
	Ended                  // the task was ended: too old, too many attempts, or no answer
)

// A Claim is a worker's request to run a record's turn.
type Claim struct {
	// Lease is the lease to set. Its Until is counted from a time before the claim was sent.
	// Alone says that nothing else runs until the lease says otherwise.
	Lease Lease

	Published int // notifications published before the claim
}

// Claim decides whether the worker may run the turn now (R2, R3, R12). changed says that
// the returned record must be committed. A lease that the claim takes over means that its
// worker died.
func (r Record) Claim(m Moment, c Claim) (next Record, v Verdict, changed bool, err error) {
	if r.Lease.Nonce == c.Lease.Nonce && r.Lease != (Lease{}) {
		return r, Claimed, false, nil
	}

	n := r.change()
	n.Published = max(r.Published, min(c.Published, len(r.Notifications)))
	n.unpause(m)

	switch {
	case r.Terminal():
		return r, Idle, false, nil
	case r.Interrupted():
		if m.Now.Before(r.answerBy(m.Rules)) {
			return r, Idle, false, nil
		}
		return n.fail(m, "The task was closed: its question was not answered in time."+n.RerunHint())
	case r.Wake.After(m.Now):
		if wait := r.Wake.Sub(m.Now); wait == m.Rules.wait(r.Attempt) || wait == putOff {
			return r, Parked, false, nil // by this claim itself, whose answer was lost
		}
		return r, Idle, false, nil
	case r.Lease.Until.After(m.Now) && !r.Lease.givenUp(c.Lease):
		return r, Idle, false, nil
	}

	n.died(m, r.Lease.Alone)
	switch wait := m.Rules.wait(r.Attempt); {
	case r.Lane != Batches && !m.Now.Before(n.Since.Add(m.Rules.Age)): // a batch has a deadline
		return n.fail(m, "The task was ended: it could not be finished in time."+n.RerunHint())
	case n.broken(m.Rules):
		return n.fail(m, n.whyBroken(m.Rules))
	case wait > 0 && r.Wake.IsZero():
		return n.putOff(m, wait)
	case n.Apart(m.Rules) && !c.Lease.Alone:
		return n.putOff(m, putOff)
	}

	n.Epoch++
	n.Attempt++
	n.Wake, n.Lease = time.Time{}, c.Lease
	n.hear(m)
	n.mark(m, MarkClaimed, "")
	if r.State() != a2a.TaskStateWorking {
		n.setStatus(m, a2a.TaskStateWorking, nil, nil)
	}

	next, err = n.checked(m, LimitStore)
	return next, Claimed, err == nil, err
}

// putOff parks the turn before its claim. The attempt is not counted.
func (r Record) putOff(m Moment, wait time.Duration) (Record, Verdict, bool, error) {
	r.Wake = m.Now.Add(wait)
	next, err := r.checked(m, LimitStore)
	return next, Parked, err == nil, err
}

// givenUp reports whether the queue itself ended the attempt that holds the lease. It then
// delivers the same job again with a higher retry count. Nothing else raises the count: a
// delivery that meets a live lease is never answered with an error.
func (l Lease) givenUp(again Lease) bool {
	return l.Name != "" && l.Queue == again.Queue && l.Name == again.Name && again.Retry > l.Retry
}

// fail ends the task without an answer. It names the calls that had begun, whether they have a
// result or not.
func (r Record) fail(m Moment, why string) (Record, Verdict, bool, error) {
	why += r.MayHaveHappened(r.Begun())
	r.end(m, a2a.TaskStateFailed, a2a.NewMessage(a2a.MessageRoleAgent, TextPart(why)), nil)
	r.dropUnfinished(r.Epoch)
	r.noteState(false)
	n, err := r.sealedEnd(m)
	return n, Ended, err == nil, err
}

// A Fence is what a run must still hold to write: its epoch, and the Seq that it last
// knew.
type Fence struct {
	Epoch int64
	Seq   int64
}

// fence reports whether the run has already written its present decision (R0), and returns
// an error if it may not write (R6). Under the run's epoch no other run makes events.
func (r Record) fence(t Fence, state a2a.TaskState) (written bool, err error) {
	if r.Epoch != t.Epoch {
		return false, ErrFenced
	}
	if r.Terminal() && r.State() != state {
		return false, ErrFenced
	}
	if r.Seq > t.Seq {
		return true, nil
	}
	if r.Lease == (Lease{}) {
		return false, ErrFenced
	}
	return false, nil
}

// Progress commits the events of a running turn so far (R4). The lease stays.
func (r Record) Progress(m Moment, t Fence, events []a2a.Event) (next Record, changed bool, err error) {
	if written, err := r.fence(t, ""); written || err != nil {
		return r, false, err
	}
	n := r.change()
	n.applyAll(m, t.Epoch, events)
	if n.Seq == r.Seq {
		return r, false, nil
	}
	next, err = n.checked(m, LimitResult)
	return next, err == nil, err
}

// Renew makes the lease of a running turn longer (R4). A lease that ends as late already is not
// changed.
func (r Record) Renew(m Moment, t Fence, until time.Time) (next Record, changed bool, err error) {
	if r.Epoch != t.Epoch || r.Terminal() || r.Lease == (Lease{}) {
		return r, false, ErrFenced
	}
	until = until.UTC().Round(0) // in the form in which the record is read back
	if !until.After(r.Lease.Until) {
		return r, false, nil
	}
	n := r.change()
	n.Lease.Until = until
	next, err = n.checked(m, LimitResult)
	return next, err == nil, err
}

// Finish ends the turn (R5). While messages wait, COMPLETED and the interrupted states are
// not reached: the next message is taken under the same lease (R13), and the returned
// record is still leased.
func (r Record) Finish(m Moment, t Fence, events []a2a.Event, out Outcome) (next Record, changed bool, err error) {
	if written, err := r.fence(t, out.State); written || err != nil {
		return r, false, err
	}

	n := r.change()
	if out.State != a2a.TaskStateCompleted {
		events = r.seen(events)
	}
	n.applyAll(m, t.Epoch, events)

	n.dropUnfinished(t.Epoch)
	if out.State != a2a.TaskStateCompleted {
		n.dropWithdrawn()
	}
	answered := out.State == a2a.TaskStateCompleted || Interrupted(out.State)
	if answered {
		n.noteArtifacts(m)
	}

	n.spend(out.Spent)

	switch {
	case answered && len(r.Inbox) > 0 && out.Question == nil:
		n.takeNext(m, out)
	case answered:
		n.closeStep(out.Question)
		n.forget()
		n.Lease, n.Wake = Lease{}, time.Time{}
		n.setStatus(m, out.State, out.Message, n.withUsage(out.Metadata))
		n.noteState(false)
	default:
		n.end(m, out.State, out.Message, out.Metadata)
		n.noteState(false)
		if len(events) == 0 {
			next, err = n.sealedEnd(m)
			return next, err == nil, err
		}
	}

	next, err = n.checked(m, LimitResult)
	return next, err == nil, err
}

// takeNext goes on with the oldest waiting message. The executor's last message of the turn
// becomes part of the conversation.
func (r *Record) takeNext(m Moment, out Outcome) {
	if out.Message != nil {
		r.addHistory(r.fromAgent(out.Message))
	}
	r.addHistory(r.Inbox[0])
	r.Inbox = r.Inbox[1:]
	r.beginTurn(m, false)
	r.forget()
	r.Attempt, r.Lease.Alone = 1, false
	r.setStatus(m, a2a.TaskStateWorking, out.Message, r.withUsage(out.Metadata))
}

// dropUnfinished removes the artifacts of this turn that another attempt left behind.
func (r *Record) dropUnfinished(epoch int64) {
	for _, made := range r.Made {
		if made.Epoch != epoch && !made.Kept {
			r.drop(made.ID)
		}
	}
}

// dropWithdrawn removes the artifacts of this turn that hold nothing but an empty text. So
// an executor takes back what it has streamed, for example an answer that was refused.
func (r *Record) dropWithdrawn() {
	for _, made := range r.Made {
		if i := r.artifact(made.ID); i >= 0 && empty(r.Task.Artifacts[i]) {
			r.drop(made.ID)
		}
	}
}

// drop removes an artifact. Streams still get its updates.
func (r *Record) drop(id a2a.ArtifactID) {
	r.inline(id)
	if i := r.artifact(id); i >= 0 {
		list := r.Task.Artifacts
		r.Task.Artifacts = append(list[:i:i], list[i+1:]...)
	}
}

func empty(a *a2a.Artifact) bool {
	return len(a.Parts) == 1 && plainText(a.Parts[0]) && a.Parts[0].Text() == ""
}

func (r *Record) noteArtifacts(m Moment) {
	for _, made := range r.Made {
		if r.artifact(made.ID) >= 0 {
			r.addNotification(Notification{At: m.Now, Seq: r.Seq, Artifact: made.ID})
		}
	}
}

// A Parking says why and until when a run gives its turn up.
type Parking struct {
	Wake   time.Time    // when the turn may go on; the present at SIGTERM
	Say    *a2a.Message // tells the client the reason; nil: none
	Waits  []Wait       // calls that wait for a time or a word from outside
	Spent  Spent        // cost of replies that no other commit has
	UsedUp bool         // the run's time was over, and it has opened and stored nothing
	Broke  bool         // the run ended in an error
	Model  bool         // the turn waits for its model, and for nothing else (R17)
	Held   bool         // and the next hold lasts longer
	Aside  bool         // the turn may not run for now: the wait does not count towards its age
}

// A Wait is a call that asked to begin again later (R16h).
type Wait struct {
	Call int       // index in the open step
	At   time.Time // when it begins again
	Told bool      // or when a word comes from outside
}

// Park makes a running turn back off until wake (R4, R16g), or ends its run at SIGTERM with a
// wake in the present. The events so far are kept, and the attempt is given back, unless it
// used up its time for nothing or ended in an error.
func (r Record) Park(m Moment, t Fence, events []a2a.Event, p Parking) (next Record, changed bool, err error) {
	if r.Epoch == t.Epoch && r.Lease == (Lease{}) && (r.Wake.Equal(p.Wake) || !r.Paused.IsZero()) && !r.Terminal() {
		return r, false, nil
	}
	if r.Epoch == t.Epoch && r.Terminal() {
		return r, false, ErrFenced
	}
	if _, err := r.fence(Fence{Epoch: t.Epoch, Seq: r.Seq}, ""); err != nil {
		return r, false, err
	}

	n := r.change()
	if r.Seq == t.Seq {
		n.applyAll(m, t.Epoch, events)
	}

	if p.Say != nil && !r.says(p.Say) {
		n.setStatus(m, a2a.TaskStateWorking, p.Say, nil)
	}

	n.spend(p.Spent)
	n.Lease, n.Wake, n.Asked = Lease{}, p.Wake, m.Now
	if !p.UsedUp && !p.Broke && n.Attempt > 0 {
		n.Attempt--
	}
	n.pause(m, p)
	n.atModel(p)

	limit := LimitStore
	if len(events) > 0 {
		limit = LimitResult
	}

	next, err = n.checked(m, limit)
	return next, err == nil, err
}

// pause notes the calls that wait, and why the turn is parked. A word that came before the
// park ends it at once.
func (r *Record) pause(m Moment, p Parking) {
	kind := MarkParked
	if p.Aside {
		r.Paused = m.Now
	}
	switch {
	case p.UsedUp:
		kind = MarkUsedUp
	case p.Broke:
		kind = MarkBroke
	}

	if len(p.Waits) > 0 && r.Step != nil {
		kind = MarkWaiting
		r.Paused = m.Now
		s := r.own()
		for _, w := range p.Waits {
			if w.Call >= 0 && w.Call < len(s.Calls) { // an executor of one's own may name any
				s.Calls[w.Call].Wait, s.Calls[w.Call].Told = w.At, w.Told
			}
		}
		if r.Told {
			r.Wake = r.wakeTold(m)
		}
	}

	r.mark(m, kind, shortText(p.Say))
}

// closeStep ends the step with its turn. A question about one of its calls keeps it.
func (r *Record) closeStep(q *Question) {
	if q == nil || r.Step == nil {
		r.Step = nil
		return
	}
	s, asked := r.own(), *q
	s.Asked = &asked
}
