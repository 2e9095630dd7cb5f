package task

import "time"

// This file decides which turns are to blame for the deaths of their workers (R12). A turn is
// a suspect once a worker died under it, and runs apart once it is probably guilty.

// putOff is how long a turn waits that must run apart and found its process busy.
const putOff = 5 * time.Minute

// A Crew counts the turns that a process ran when it died.
type Crew struct {
	Turns  int // turns with a lease
	Blamed int // those of them that were blamed before
}

// Add counts a turn of the process. A batch as a whole runs nothing of others, so the items
// beside it are not excused by it.
func (c *Crew) Add(r Record) {
	if r.Lane == Batches {
		return
	}
	c.Turns++
	if r.Blamed > 0 {
		c.Blamed++
	}
}

// LeaseLost ends the lease of a process that is known to be dead, because another process
// has opened the store's file. crew counts the turns of the dead process, this one included.
func (r Record) LeaseLost(m Moment, crew Crew) (Record, error) {
	n := r.change()
	n.died(m, r.Lease.Alone || crew.Turns == 1 || crew.Turns == crew.Blamed)
	return n.checked(m, LimitStore)
}

// died ends the lease and counts the death of its worker. The first death blames no turn:
// machines lose their power. A later one blames the turn if it was the only suspect.
func (r *Record) died(m Moment, only bool) {
	if r.Lease == (Lease{}) {
		return
	}
	r.Deaths++
	if r.Lane != Batches { // what kills its process is an item
		if only && r.Deaths > 1 {
			r.Blamed++
		}
		r.Broke++
		r.spend(Spent{Unknown: 1}) // a reply that was under way is paid for all the same
	}
	r.Lease = Lease{}
	r.mark(m, MarkDied, "")
}

// GiveBack ends the lease of a run that ended in an error, which its process survived. The
// attempt stays counted, and no death is.
func (r Record) GiveBack(m Moment, t Fence, spent Spent) (next Record, changed bool, err error) {
	if r.Epoch == t.Epoch && r.Lease == (Lease{}) && r.Wake.IsZero() && !r.Terminal() {
		return r, false, nil
	}
	if _, err := r.fence(Fence{Epoch: t.Epoch, Seq: r.Seq}, ""); err != nil {
		return r, false, err
	}
	n := r.change()
	n.Lease, n.Asked = Lease{}, m.Now
	n.spend(spent)
	n.mark(m, MarkBroke, "")
	next, err = n.checked(m, LimitStore)
	return next, err == nil, err
}

// Beside lets other turns run in the process of a turn that ran alone so far.
func (r Record) Beside(m Moment, t Fence) (next Record, changed bool, err error) {
	if _, err := r.fence(Fence{Epoch: t.Epoch, Seq: r.Seq}, ""); err != nil || !r.Lease.Alone {
		return r, false, err
	}
	n := r.change()
	n.Lease.Alone = false
	next, err = n.checked(m, LimitStore)
	return next, err == nil, err
}

// Advanced begins the count of attempts again, because the run has stored a result outside of
// the record that a retry goes on from.
func (r Record) Advanced(m Moment, t Fence) (next Record, changed bool, err error) {
	if _, err := r.fence(Fence{Epoch: t.Epoch, Seq: r.Seq}, ""); err != nil || r.Attempt == 0 {
		return r, false, err
	}
	n := r.change()
	n.forget()
	next, err = n.checked(m, LimitStore)
	return next, err == nil, err
}

// Suspect reports whether a worker died under the turn since its last progress. A batch as a
// whole is none: it dies with its items.
func (r Record) Suspect() bool { return r.Deaths > 0 && r.Lane != Batches }

// manyBroke is how many workers a turn may break, with progress between or without, before
// it runs apart (R16g).
const manyBroke = 3

// Apart reports whether the turn must not begin beside others, because it was blamed for a
// death, only one more attempt is left to find out, or it broke several workers.
func (r Record) Apart(ru Rules) bool {
	if r.Lane == Batches {
		return false
	}
	return r.Blamed > 0 || r.Broke >= manyBroke || r.Deaths > 0 && r.Deaths >= ru.Attempts-1
}

// broken reports whether the turn has used up its attempts. Deaths for which it is not to
// blame do not end it, however many they are: only its age does.
func (r Record) broken(ru Rules) bool {
	return r.Attempt >= ru.Attempts && r.Attempt-r.Deaths+r.Blamed >= min(2, ru.Attempts)
}

// forget begins the counts of attempts and holds again.
func (r *Record) forget() { r.Attempt, r.Deaths, r.Blamed, r.Held = 0, 0, 0, 0 }

// Backoff is how long the record is parked before its next claim, if the present attempt ends in
// an error.
func (r Record) Backoff(ru Rules) time.Duration { return ru.wait(r.Attempt) }

// wait is how long a record is parked after the given number of claims without progress.
// The last entry of Parks stands before the last claim, and before all that follow.
func (ru Rules) wait(attempt int) time.Duration {
	i := attempt - (ru.Attempts - len(ru.Parks))
	if i < 0 || len(ru.Parks) == 0 {
		return 0
	}
	return ru.Parks[min(i, len(ru.Parks)-1)]
}
