package task

import (
	"encoding/binary"
	"hash/crc32"
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
	settleOwed                   // ending what a batch leaves behind
	removalOwed                  // deleting what a deleted batch leaves behind
)

// debts calls yield with every debt of the record. It does not know for which of them a job
// still waits in a queue: Asked and Asks are the times when jobs were requested.
func (r Record) debts(ru Rules, yield func(Debt)) {
	owes := func(kind debtKind, at time.Time) { yield(Debt{At: at, Lane: r.Lane, kind: kind}) }
	switch {
	case r.Terminal() && (r.Lane != Batches || r.Settled):
	case r.Deleted:
		owes(removalOwed, r.Asked)
	case r.Terminal():
		owes(settleOwed, r.Asked)
	case r.Interrupted():
		owes(answerOwed, r.answerBy(ru))
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

// debt is the earliest debt, and the asks that still count.
func (r Record) debt(ru Rules) (d Due, asks []Ask) {
	for _, l := range r.lanes(ru) {
		at, ask := r.due(ru, l)
		if !ask.At.IsZero() {
			asks = append(asks, ask)
		}
		if d.Lane == "" || at.Before(d.At) {
			d = Due{At: at.UTC(), Lane: l.name}
		}
	}
	return d, asks
}

// due is when the debts of a lane are due: not before the last job that was requested for
// them has had its time. The ask is zero if no sweep has added a job for them.
func (r Record) due(ru Rules, l laneDebts) (at time.Time, ask Ask) {
	at = latest(l.first, r.Asked.Add(ru.Patience))
	for _, a := range r.Asks {
		if a.Lane != l.name {
			continue
		}
		if a.Debts != l.hash { // other debts: the count begins anew
			a.Debts, a.N = l.hash, 0
		}
		return latest(at, a.At.Add(ru.patience(a.N))), a
	}
	return at, Ask{}
}

// patience is how long the job may take that a sweep has added as the n-th one for the same
// debts. Queues promise no order, so a job may wait behind any number of younger ones. The
// wait doubles, so nothing waits for a lost job longer than it has waited already.
func (ru Rules) patience(n int) time.Duration {
	return min(ru.Patience<<min(n, 6), ru.Longest())
}

// Longest is how long a job may take at most before a sweep adds it again: 60 times Patience.
func (ru Rules) Longest() time.Duration { return 60 * ru.Patience }

// A laneDebts sums up the debts that a record has in one lane.
type laneDebts struct {
	name  string
	first time.Time // when the earliest one is due
	hash  uint32
}

// lanes sums the debts up by lane.
func (r Record) lanes(ru Rules) []laneDebts {
	var out []laneDebts
	var text [24]byte
	r.debts(ru, func(d Debt) {
		i := slices.IndexFunc(out, func(l laneDebts) bool { return l.name == d.Lane })
		if i < 0 {
			i = len(out)
			out = append(out, laneDebts{name: d.Lane, first: d.At})
		}
		l := &out[i]
		if d.At.Before(l.first) {
			l.first = d.At
		}
		binary.LittleEndian.PutUint64(text[0:], uint64(d.kind))
		binary.LittleEndian.PutUint64(text[8:], uint64(d.gen))
		binary.LittleEndian.PutUint64(text[16:], uint64(d.At.UnixNano()))
		l.hash = crc32.Update(l.hash, crc32.IEEETable, text[:])
	})
	return out
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
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

// Swept requests jobs again, on behalf of a sweep that found the record due, in all lanes
// whose debts were due then (R10). There are no lanes if the record is no longer due, because
// another process has requested the jobs or done the work meanwhile.
func (r Record) Swept(m Moment, before time.Time) (next Record, lanes []string, err error) {
	if r.Due.At.IsZero() || r.Due.At.After(before) {
		return r, nil, nil
	}

	next = r.change()
	next.Asks = nil
	for _, l := range r.lanes(m.Rules) {
		at, ask := r.due(m.Rules, l)
		if !at.After(before) {
			lanes = append(lanes, l.name)
			ask = Ask{Lane: l.name, Debts: l.hash, At: m.Now, N: ask.N + 1}
		}
		if !ask.At.IsZero() {
			next.Asks = append(next.Asks, ask)
		}
	}

	next, err = next.checked(m, LimitStore)
	return next, lanes, err
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
