package task

import (
	"slices"
	"time"
)

// A Debt is one piece of pending work of a record.
type Debt struct {
	At   time.Time // when the work is due
	Lane string    // lane of the jobs that do the work

	kind debtKind
	gen  int64 // generation of the webhook that waits for the work
}

// A debtKind is the kind of work.
type debtKind uint8

const (
	answerOwed   debtKind = iota // ending a task whose client does not answer
	wakeOwed                     // running a parked turn
	leaseOwed                    // running a turn whose worker may have died
	turnOwed                     // running a turn that no worker has claimed
	noteOwed                     // publishing a notification of the front door
	deliveryOwed                 // delivering the notifications after a webhook's cursor
	pingOwed                     // sending a ping
)

// debts calls yield with every debt of the record. It does not know for which of them a job
// still waits in a queue: Asked is the time when a job was last requested.
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

	for _, h := range r.Webhooks {
		if r.behind(h) {
			yield(Debt{At: h.Next, Lane: Deliveries, kind: deliveryOwed, gen: h.Gen})
		}
		if !h.Ping.IsZero() {
			yield(Debt{At: h.Ping, Lane: Deliveries, kind: pingOwed, gen: h.Gen})
		}
	}

	if r.frontNotificationUnpublished() {
		owes(noteOwed, r.Asked)
	}
}

// debt is the earliest debt. It is due only when the last requested job has had its time.
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

// Owed lists the debts that are due by the given time, at most one per lane.
func (r Record) Owed(m Moment, by time.Time) []Debt {
	return r.owed(m.Rules, by, func(Debt) bool { return true })
}

// NewDebts lists the debts that after has within the next Patience and before did not have,
// at most one per lane. The caller commits the change from before to after and then adds a
// job for each of them. The zero Record stands before a record that is new.
//
// Debts are compared by kind, not by lane and time, because a cancel keeps lane and time.
// The notifications of a webhook are a new debt only if the webhook's generation is new:
// the publication of the notifications hints at an older one (R7, R9).
func NewDebts(before, after Record, m Moment) []Debt {
	return after.owed(m.Rules, m.Now.Add(m.Rules.Patience), func(d Debt) bool { return !before.owes(d, m.Rules) })
}

// owed lists the wanted debts by the given time, the earliest of each lane.
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

// owes reports whether the record already has d, a debt of a later state of the same
// record. A wake-up at another time is another debt.
func (r Record) owes(d Debt, ru Rules) (known bool) {
	if r.Task == nil {
		return false
	}
	if d.kind == deliveryOwed {
		return slices.ContainsFunc(r.Webhooks, func(h Webhook) bool { return h.Gen == d.gen })
	}
	r.debts(ru, func(old Debt) {
		known = known || old.kind == d.kind && old.gen == d.gen && (d.kind != wakeOwed || old.At.Equal(d.At))
	})
	return known
}

// Swept requests the jobs for the record's debts again, on behalf of a sweep that found the
// record due (R10). changed is false if the record is no longer due, because another
// process has requested the jobs or done the work meanwhile.
func (r Record) Swept(m Moment, before time.Time) (Record, bool, error) {
	if r.Due.At.IsZero() || r.Due.At.After(before) || !r.Asked.Before(m.Now) {
		return r, false, nil
	}
	n := r.change()
	n.Asked = m.Now
	n, err := n.checked(m, LimitStore)
	return n, err == nil, err
}

// LeaseLost ends the lease of a process that is known to be dead, because another process
// has opened the store's file.
func (r Record) LeaseLost(m Moment) (Record, error) {
	n := r.change()
	n.Lease = Lease{}
	return n.checked(m, LimitStore)
}

func (r Record) frontNotificationUnpublished() bool {
	for i := r.Published; i < len(r.Notifications); i++ {
		if r.Notifications[i].Front {
			return true
		}
	}
	return false
}

// Unpublished are the notifications that are not known to be published.
func (r Record) Unpublished() []Notification {
	return r.Notifications[min(r.Published, len(r.Notifications)):]
}

// MarkPublished records that the first n notifications are published. Only the publisher of a
// notification of the front door writes this: the next claim records those of a turn.
func (r Record) MarkPublished(m Moment, n int) (Record, bool, error) {
	if r.Published >= n || !r.frontNotificationUnpublished() {
		return r, false, nil
	}
	c := r.change()
	c.Published = min(n, len(c.Notifications))
	c, err := c.checked(m, LimitStore)
	return c, err == nil, err
}
