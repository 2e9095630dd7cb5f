package task

import (
	"slices"
	"time"
)

// A Debt is one thing that a record owes.
type Debt struct {
	At   time.Time // when it must be looked at
	Lane string    // the queue whose jobs do that

	kind debtKind
	gen  int64 // of the webhook that it is owed to
}

// A debtKind says what is owed.
type debtKind uint8

const (
	answerOwed   debtKind = iota // the end of a task whose client does not answer
	wakeOwed                     // a parked turn
	leaseOwed                    // a turn whose worker may have died
	turnOwed                     // a turn that nobody has claimed
	noteOwed                     // the publication of a note of the front door
	deliveryOwed                 // the notes behind a webhook's cursor
	pingOwed                     // a ping
)

// debts calls yield with every debt of the record. It does not know which of them an
// accepted queue task still carries: Asked tells when one was last added.
func (r Record) debts(ru Rules, yield func(Debt)) {
	owes := func(kind debtKind, at time.Time) { yield(Debt{At: at, Lane: r.Lane, kind: kind}) }
	switch {
	case r.Terminal():
	case r.Interrupted():
		owes(answerOwed, r.Stamp().Add(ru.Answer))
	case !r.Wake.IsZero():
		owes(wakeOwed, r.Wake)
	case r.Lease != (Lease{}):
		owes(leaseOwed, r.Lease.Until)
	default:
		owes(turnOwed, r.Asked)
	}

	for _, h := range r.Hooks {
		if r.behind(h) {
			yield(Debt{At: h.Next, Lane: Deliveries, kind: deliveryOwed, gen: h.Gen})
		}
		if !h.Ping.IsZero() {
			yield(Debt{At: h.Ping, Lane: Deliveries, kind: pingOwed, gen: h.Gen})
		}
	}

	if r.frontNoteUntold() {
		owes(noteOwed, r.Asked)
	}
}

// debt is the earliest debt, but not before the last ask has had its time.
func (r Record) debt(ru Rules) Due {
	var d Due
	r.debts(ru, func(owed Debt) {
		if d.Lane == "" || owed.At.Before(d.At) {
			d = Due{At: owed.At, Lane: owed.Lane}
		}
	})
	if d.Lane == "" {
		return Due{}
	}
	if floor := r.Asked.Add(ru.Patience); d.At.Before(floor) {
		d.At = floor
	}
	d.At = d.At.UTC()
	return d
}

// Owed lists, once per queue, the debts that are due by the given time.
func (r Record) Owed(m Moment, by time.Time) []Debt {
	return r.owed(m.Rules, by, func(Debt) bool { return true })
}

// NewDebts lists, once per queue, the debts that after has within the next Patience and
// before did not have. A commit that turns before into after is followed by a job for
// each of them. The zero Record stands before a record that is new.
//
// Debts are compared by kind, not by queue and time, which a cancel keeps. The notes of
// a webhook are a new debt only if the webhook's generation is new: their publication
// hints at those of an older one (R7, R9).
func NewDebts(before, after Record, m Moment) []Debt {
	return after.owed(m.Rules, m.Now.Add(m.Rules.Patience), func(d Debt) bool { return !before.owes(d, m.Rules) })
}

// owed lists the wanted debts by the given time, of each queue the earliest.
func (r Record) owed(ru Rules, by time.Time, wanted func(Debt) bool) []Debt {
	var out []Debt
	r.debts(ru, func(d Debt) {
		if d.At.After(by) || !wanted(d) {
			return
		}
		i := slices.IndexFunc(out, func(o Debt) bool { return o.Lane == d.Lane })
		switch {
		case i < 0:
			out = append(out, d)
		case d.At.Before(out[i].At):
			out[i] = d
		}
	})
	return out
}

// owes says whether the record has d already, which is a debt of a later state of it. A
// wake-up at another time is another debt.
func (r Record) owes(d Debt, ru Rules) (known bool) {
	if r.Task == nil {
		return false
	}
	if d.kind == deliveryOwed {
		return slices.ContainsFunc(r.Hooks, func(h Hook) bool { return h.Gen == d.gen })
	}
	r.debts(ru, func(old Debt) {
		known = known || old.kind == d.kind && old.gen == d.gen && (d.kind != wakeOwed || old.At.Equal(d.At))
	})
	return known
}

// Swept asks for the record's debts again, on behalf of a sweep that found it due
// (R10). It answers false when somebody else has asked, or settled it, meanwhile:
// the record is then not due any more.
func (r Record) Swept(m Moment, before time.Time) (Record, bool, error) {
	if r.Due.At.IsZero() || r.Due.At.After(before) || !r.Asked.Before(m.Now) {
		return r, false, nil
	}
	n := r.change()
	n.Asked = m.Now
	n, err := n.sealed(m, LimitStore)
	return n, err == nil, err
}

// LeaseLost ends the lease of a process that is known to be dead: the store's
// file was opened by another one.
func (r Record) LeaseLost(m Moment) (Record, error) {
	n := r.change()
	n.Lease = Lease{}
	return n.sealed(m, LimitStore)
}

func (r Record) frontNoteUntold() bool {
	for i := r.Told; i < len(r.Notes); i++ {
		if r.Notes[i].Front {
			return true
		}
	}
	return false
}

// Untold are the notes not known to be published.
func (r Record) Untold() []Note { return r.Notes[min(r.Told, len(r.Notes)):] }

// Published says that the first n notes are published. Only whoever publishes a
// note of the front door writes this: a turn's notes are raised by the next claim.
func (r Record) Published(m Moment, n int) (Record, bool, error) {
	if r.Told >= n || !r.frontNoteUntold() {
		return r, false, nil
	}
	c := r.change()
	c.Told = min(n, len(c.Notes))
	c, err := c.sealed(m, LimitStore)
	return c, err == nil, err
}
