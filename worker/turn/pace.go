package turn

import (
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A Pace says how soon the events of a run are committed. From then on streams, polls and the
// record have them. A commit writes the whole record, so the paces differ by store.
type Pace struct {
	Soon  time.Duration // from an event to its commit, unless it must wait for one of the others
	Text  time.Duration // from a commit to the next one, for text that goes on
	Other time.Duration // the same for all else: a status, an artifact, the beginning of a text
	Bytes int           // of the run's events: so many add a second to both, up to 10 s; 0: none
}

// The paces. Their Soon leaves a commit and its way to a stream the rest of 100 ms.
var (
	// PaceOwn is for a store of this process alone, a file: a commit takes a few milliseconds.
	PaceOwn = Pace{Soon: 75 * time.Millisecond, Text: 250 * time.Millisecond, Bytes: 1 << 20}

	// PaceShared is for a store of many processes. Firestore sustains one write a second on a
	// document. https://firebase.google.com/docs/firestore/quotas
	PaceShared = Pace{Soon: 75 * time.Millisecond, Text: time.Second, Other: time.Second, Bytes: 64 << 10}

	// paceUnseen is for batches and their items, which are many and have no streams as a rule.
	paceUnseen = Pace{Soon: time.Second, Text: time.Second, Other: time.Second, Bytes: 64 << 10}
)

// maxGap bounds the time between two commits of a large record.
const maxGap = 10 * time.Second

// wait is the time from now until the commit of an event. goesOn says that the event is more of a
// text, and said is the number of bytes of all events so far. last is when the last commit began;
// zero: there was none.
func (p Pace) wait(now, last time.Time, goesOn bool, said int) time.Duration {
	gap := p.Other
	if goesOn {
		gap = p.Text
	}
	if p.Bytes > 0 {
		size := time.Duration(said) * time.Second / time.Duration(p.Bytes)
		gap = max(gap, min(size, maxGap))
	}
	return max(p.Soon, last.Add(gap).Sub(now))
}

// goesOn reports whether an event is more of a text that was begun.
func goesOn(ev a2a.Event) bool {
	e, ok := ev.(*a2a.TaskArtifactUpdateEvent)
	return ok && e.Append
}

// paceOf is the pace of a lane.
func (w *Worker) paceOf(lane string) Pace {
	if lane != task.Turns {
		return paceUnseen
	}
	return w.cfg.Pace
}
