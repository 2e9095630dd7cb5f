package task

import "time"

// debts calls yield with everything the record owes and when. What an accepted
// queue task still carries is not told apart from what was lost: Asked does that.
func (r Record) debts(ru Rules, yield func(at time.Time, lane string)) {
	switch {
	case r.Terminal():
	case r.Interrupted():
		yield(r.Stamp().Add(ru.Answer), r.Lane)
	case !r.Wake.IsZero():
		yield(r.Wake, r.Lane)
	case r.Lease != (Lease{}):
		yield(r.Lease.Until, r.Lane)
	default:
		yield(r.Asked, r.Lane)
	}
	for _, h := range r.Hooks {
		if r.behind(h) {
			yield(h.Next, Deliveries)
		}
		if !h.Ping.IsZero() {
			yield(h.Ping, Deliveries)
		}
	}
	if r.frontNoteUntold() {
		yield(r.Asked, r.Lane)
	}
}

// debt is the earliest debt, but not before the last ask has had its time.
func (r Record) debt(ru Rules) Due {
	var d Due
	r.debts(ru, func(at time.Time, lane string) {
		if d.Lane == "" || at.Before(d.At) {
			d = Due{At: at, Lane: lane}
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

// A Debt is one thing a record owes, in one queue.
type Debt struct {
	At   time.Time
	Lane string
}

// Owed lists, once per queue, what the record owes by the given time.
func (r Record) Owed(m Moment, by time.Time) []Debt {
	var out []Debt
	r.debts(m.Rules, func(at time.Time, lane string) {
		if at.After(by) {
			return
		}
		for i := range out {
			if out[i].Lane == lane {
				if at.Before(out[i].At) {
					out[i].At = at
				}
				return
			}
		}
		out = append(out, Debt{At: at, Lane: lane})
	})
	return out
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
