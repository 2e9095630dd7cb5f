package task

import (
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// This file decides how a turn waits for its model (R17). A hold parks a turn that is due
// without a claim: no epoch, no attempt.

// Times of holds. Each is the most of a random time.
const (
	holdFirst = 10 * time.Second // while the model cannot be asked, doubling with each hold
	holdMost  = 10 * time.Minute
	HoldFull  = 30 * time.Second // while other turns are first
)

// HoldFor is the most that the next hold lasts, while the model cannot be asked, of a turn
// that was held so often since its last progress.
func HoldFor(held int) time.Duration { return min(holdFirst<<min(max(held, 0), 10), holdMost) }

// markHeld is the kind of the mark of a hold, one for each reason.
const markHeld = "held"

// MayHold reports whether the turn is due, has no worker and needs its model next. A lease
// that has ended is a claim's business, which counts the death and raises the epoch.
func (r Record) MayHold(m Moment) bool {
	return !r.Terminal() && !r.Interrupted() && r.Lease == (Lease{}) && !r.Wake.After(m.Now) && r.asksModel()
}

// asksModel reports whether the next thing that a run of the turn does is to ask its model.
// An open step has calls to make first, unless a run has already come as far as the model.
func (r Record) asksModel() bool { return r.Step == nil || r.Step.Settled }

// atModel notes that the turn was parked because its model could not be asked.
func (r *Record) atModel(p Parking) {
	if p.Held {
		r.Held++
	}
	if p.Model && r.Step != nil && !r.Step.Settled {
		r.own().Settled = true
	}
}

// Hold parks a turn that a claim would run. held reports whether it is parked by this hold. A
// turn that a claim would end, or park for a reason of its own, is left to the claim. published
// is the number of notifications published before.
func (r Record) Hold(m Moment, p Parking, published int) (next Record, held, changed bool, err error) {
	if r.Wake.Equal(p.Wake) && r.Lease == (Lease{}) && !r.Terminal() {
		return r, true, false, nil
	}
	if !r.MayHold(m) {
		return r, false, false, nil
	}
	trial := Lease{Nonce: "trial", Until: m.Now, Alone: true}
	if _, v, _, err := r.Claim(m, Claim{Lease: trial}); err != nil || v != Claimed {
		return r, false, false, err
	}

	n := r.change()
	n.Published = max(r.Published, min(published, len(r.Notifications)))
	n.Wake, n.Asked = p.Wake, m.Now
	if p.Held {
		n.Held++
	}
	if p.Say != nil && !r.says(p.Say) {
		n.sayHeld(m, p.Say)
		n.mark(m, markHeld, shortText(p.Say))
	}

	next, err = n.checked(m, LimitStore)
	return next, true, err == nil, err
}

// sayHeld sets the status message of a turn that no run has. A worker may yet be alive whose
// lease was taken for dead, and whose epoch no claim has ended. An event would let it take its
// next write for its own (R0), so there is none then, and only readers of the task see the
// message.
func (r *Record) sayHeld(m Moment, say *a2a.Message) {
	if r.Deaths == 0 {
		r.setStatus(m, r.State(), say, nil)
		return
	}
	r.Task.Status.Message = r.fromAgent(say)
}

// says reports whether the task says so already. A turn may be held many times, and its
// streams need no second line about it.
func (r Record) says(msg *a2a.Message) bool {
	return r.Task.Status.Message != nil && shortText(r.Task.Status.Message) == shortText(msg)
}

// LastAttempt reports whether the next claim would end the task, if the present attempt ends
// in an error.
func (r Record) LastAttempt(ru Rules) bool { return r.broken(ru) }
