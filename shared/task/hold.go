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

// A Hold is a wish to park a turn without a claim.
type Hold struct {
	Wake      time.Time
	Say       string // status message for the client; empty: none
	Counted   bool   // the next hold lasts longer
	Published int    // notifications published before the hold
}

// MayHold reports whether the turn is due, has no worker and needs its model next. A lease
// that has ended is a claim's business, which counts the death and raises the epoch.
func (r Record) MayHold(m Moment) bool {
	return !r.Terminal() && !r.Interrupted() && r.Lease == (Lease{}) && !r.Wake.After(m.Now) && r.asksModel()
}

// asksModel reports whether the next thing that a run of the turn does is to ask its model.
func (r Record) asksModel() bool { return true }

// Hold parks a turn that a claim would run. held reports whether it is parked by this hold. A
// turn that a claim would end, or park for a reason of its own, is left to the claim.
func (r Record) Hold(m Moment, h Hold) (next Record, held, changed bool, err error) {
	if r.Wake.Equal(h.Wake) && r.Lease == (Lease{}) && !r.Terminal() {
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
	n.Published = max(r.Published, min(h.Published, len(r.Notifications)))
	n.Wake, n.Asked = h.Wake, m.Now
	if h.Counted {
		n.Held++
	}
	if msg := r.news(h.Say); msg != nil {
		n.setStatus(m, r.State(), msg, nil)
	}

	next, err = n.checked(m, LimitStore)
	return next, true, err == nil, err
}

// ParkHeld is Park for a turn that met a closed or full gate while it ran.
func (r Record) ParkHeld(m Moment, t Fence, events []a2a.Event, h Hold) (next Record, changed bool, err error) {
	next, changed, err = r.Park(m, t, events, h.Wake, r.news(h.Say))
	if err != nil || !changed || !h.Counted {
		return next, changed, err
	}
	next = next.change()
	next.Held++
	next, err = next.checked(m, LimitStore)
	return next, err == nil, err
}

// news is the status message with that text, and nil if the task says so already: a turn may
// be held many times.
func (r Record) news(say string) *a2a.Message {
	if say == "" || shortText(r.Task.Status.Message) == say {
		return nil
	}
	return a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(say))
}

// LastAttempt reports whether the next claim would end the task, if the present attempt ends
// in an error.
func (r Record) LastAttempt(ru Rules) bool { return r.broken(ru) }
