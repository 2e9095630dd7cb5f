package batch

import (
	"fmt"
	"math"
	"time"

	"errand/shared/task"
)

// minFeed is how many items may be made at once when nothing is known of their speed.
const minFeed = 16

// A Known is what is known of the cost of a batch. Its items need not be those of the first
// lines.
type Known struct {
	Items   int        // items whose cost was read
	Pending int        // items that were made and whose cost was not read, ended or not
	Spent   task.Spent // what Items have cost together
}

// Feed is how many items may be made now: twice as many as ended between the last two looks,
// and 16 at least, while no more than MaxOpen are open.
//
// With a budget, the items whose cost is not known are at most as many as the rest of it pays
// for, by what the known ones cost each, and a segment's at most. Until a cost is known they
// are 16. So the end of a budget is passed by little, and the feeder must learn the cost of
// items as they end.
func (s State) Feed(ended int, b *Budget, k Known) int {
	n := max(minFeed, 2*ended)
	n = min(n, MaxOpen-s.Open, s.Lines-s.Fed)
	if b != nil {
		n = min(n, b.ahead(k)-k.Pending)
	}
	return max(n, 0)
}

// ahead is how many items with an unknown cost there may be.
func (b *Budget) ahead(k Known) int {
	left := b.left(k.Spent)
	switch {
	case left <= 0:
		return 0
	case k.Items == 0:
		return minFeed
	}
	each := (b.all() - left) / float64(k.Items)
	if each*PerSegment <= left {
		return PerSegment
	}
	return max(1, int(left/each))
}

// all is the budget in its own unit, and left what of it is not spent.
func (b *Budget) all() float64 {
	if b.Tokens > 0 {
		return float64(b.Tokens)
	}
	return b.Price
}

func (b *Budget) left(spent task.Spent) float64 {
	switch {
	case b.Tokens > 0:
		return float64(b.Tokens - spent.Tokens())
	case b.unknown(spent):
		return 0
	}
	return b.Price - float64(spent.Nanos)/1e9
}

// unknown reports whether a price cannot be compared with the budget.
func (b *Budget) unknown(spent task.Spent) bool {
	return b.Tokens == 0 && spent.Replies > 0 && spent.Currency != b.Currency
}

// Used reports whether a budget is used up, and tells the client so. A price in another
// currency, or none, counts as used up, because nobody knows what is left.
func (b *Budget) Used(spent task.Spent) (used bool, say string) {
	const next = ` Send {"batch": {"budget": ...}} with a larger one to go on, or cancel the batch.`
	switch {
	case b == nil || b.left(spent) > 0:
		return false, ""
	case b.unknown(spent):
		return true, "The batch waits: its budget is in " + b.Currency + ", and the price of its items is not known in that currency." + next
	case b.Tokens > 0:
		return true, fmt.Sprintf("The batch waits: its budget of %s tokens is used up (%s).", grouped(b.Tokens), grouped(spent.Tokens())) + next
	}
	return true, fmt.Sprintf("The batch waits: its budget of %s %s is used up (%s).", amount(b.Price), b.Currency, amount(float64(spent.Nanos)/1e9)) + next
}

// TakeOver returns the state for the claim with the given epoch. ok is false if a later claim
// has written it: the run of the earlier one must end.
func (s State) TakeOver(epoch int64) (next State, ok bool) {
	if s.Epoch > epoch {
		return s, false
	}
	s.Epoch = epoch
	return s, true
}

// Made notes that the lines up to a line have become items, except for those that cannot run,
// and that the next line begins at offset. It is noted after the items are stored.
func (s State) Made(items, line int, offset int64, now time.Time) State {
	s.Fed, s.Offset, s.Open = line, offset, s.Open+items
	if s.Began.IsZero() && items > 0 {
		s.Began = now
	}
	return s
}

// rateSpan is how far the rate looks back.
const rateSpan = time.Minute

// Looked notes what a look at the items up to the line Fed has found, and returns how many
// lines have ended since the last one. The rate is an average of which what is a minute old
// counts for a third.
func (s State) Looked(o task.Open, now time.Time) (next State, ended int) {
	next = s
	next.Open, next.At = o.N, now
	ended = max(next.Ended()-s.Ended(), 0)
	if s.Began.IsZero() {
		return next, ended
	}

	since := s.At
	if since.Before(s.Began) {
		since = s.Began
	}
	took, all := now.Sub(since).Seconds(), now.Sub(s.Began).Seconds()
	if took <= 0 {
		next.Rate, next.At = s.Rate, s.At
		return next, ended
	}
	weight := (1 - math.Exp(-took/rateSpan.Seconds())) / (1 - math.Exp(-all/rateSpan.Seconds()))
	next.Rate = s.Rate + weight*(float64(ended)/took-s.Rate)
	return next, ended
}

// Segments is the number of segments of so many lines.
func Segments(lines int) int { return (lines + PerSegment - 1) / PerSegment }

// SegmentLines returns the first and the last line of segment n.
func (s State) SegmentLines(n int) (first, last int) {
	return n*PerSegment + 1, min((n+1)*PerSegment, s.Lines)
}

// Collectable returns the segments from from up to and without to, which can be written now:
// all their lines have ended, by a look at the items up to the line Fed. ended says that the
// batch has ended, so that lines behind Fed never become items.
func (s State) Collectable(o task.Open, ended bool) (from, to int) {
	upTo := s.Fed
	if ended {
		upTo = s.Lines
	}
	if o.Lowest > 0 {
		upTo = min(upTo, o.Lowest-1)
	}
	to = upTo / PerSegment
	if upTo >= s.Lines {
		to = Segments(s.Lines)
	}
	return s.Segs, max(to, s.Segs)
}

// Collected notes that the next segment is written, with the counts of its lines.
func (s State) Collected(c Counts) State {
	s.Segs++
	s.Counts.Completed += c.Completed
	s.Counts.Failed += c.Failed
	s.Counts.Items += c.Items
	s.Counts.Spent = s.Counts.Spent.Add(c.Spent)
	return s
}

// Done reports whether every line has ended and is in a segment.
func (s State) Done() bool { return s.Lines > 0 && s.Segs == Segments(s.Lines) }

// ETA is when the last line will have ended if the rate stays as it is. ok is false if nobody
// can tell, or no line is left.
func (s State) ETA(now time.Time) (at time.Time, ok bool) {
	left := s.Lines - s.Ended()
	if left <= 0 || s.Rate <= 0 {
		return time.Time{}, false
	}
	seconds := float64(left) / s.Rate
	if seconds > 365*24*3600 {
		return time.Time{}, false
	}
	return now.Add(time.Duration(seconds * float64(time.Second))).Round(time.Second), true
}
