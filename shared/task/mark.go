package task

import (
	"fmt"
	"slices"
	"time"
)

// A Mark is an event in the life of a turn's runs. It is kept for people to read.
type Mark struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	Turn int       `json:"turn"`
	Run  int64     `json:"run"`           // the epoch
	Why  string    `json:"why,omitempty"` // beginning of the status message
}

// Kinds of marks.
const (
	MarkClaimed = "claimed" // a run began
	MarkParked  = "parked"  // the run was put off
	MarkWaiting = "waiting" // its calls wait for a time or a word from outside
	MarkUsedUp  = "used-up" // the run's time was over, and nothing of it was kept
	MarkBroke   = "broke"   // the run ended in an error
	MarkDied    = "died"    // the worker of the run died
	MarkLeftOut = "left"    // Why names what the model was not shown of the conversation
)

// maxMarks bounds the marks of a record. The newest are kept.
const maxMarks = 64

// mark adds a mark.
func (r *Record) mark(m Moment, kind, why string) {
	marks := r.Marks
	if len(marks) >= maxMarks {
		marks = marks[len(marks)-maxMarks+1:]
	}
	r.Marks = append(marks[:len(marks):len(marks)], Mark{At: m.Now, Kind: kind, Turn: r.Turn, Run: r.Epoch, Why: why})
}

// LeftOut notes what the model was not shown of the conversation, if the newest such note of the
// turn says another thing. It is a part of the next commit, and none of its own.
func (r Record) LeftOut(m Moment, what string) Record {
	what = short(what)
	for _, k := range slices.Backward(r.Marks) {
		if k.Turn == r.Turn && k.Kind == MarkLeftOut {
			if k.Why == what {
				return r
			}
			break
		}
	}
	if what == "" {
		return r
	}
	n := r.change()
	n.mark(m, MarkLeftOut, what)
	return n
}

// lastMark is when the newest mark of a kind was made; zero: there is none.
func (r Record) lastMark(kind string) time.Time {
	for _, m := range slices.Backward(r.Marks) {
		if m.Kind == kind {
			return m.At
		}
	}
	return time.Time{}
}

// withUsage puts the cost of the task, over all its turns and attempts, into the metadata of
// an end. A task without known replies has none.
func (r *Record) withUsage(meta map[string]any) map[string]any {
	if r.Spent.Replies == 0 {
		return meta
	}
	var model string
	if usage, ok := meta["usage"].(map[string]any); ok {
		model, _ = usage["model"].(string)
	} else if r.Step != nil {
		model = r.Step.Model
	}
	return merged(meta, map[string]any{"usage": r.Spent.Usage(model)})
}

// whyBroken tells a client why the attempts at its turn ended.
func (r Record) whyBroken(ru Rules) string {
	if n := len(r.Marks); n > 0 && r.Marks[n-1].Kind == MarkUsedUp {
		return fmt.Sprintf("The task was ended: a part of its work takes longer than one run may, which is %s (limits.runMinutes). Send a smaller piece of work in a new message.", minutes(ru.Run))
	}
	return "The task was ended: it was tried several times and broke off every time." + r.RerunHint()
}

// RerunHint tells a client how a task goes on that fails for no fault of its message. It begins
// with a space. The lines of a batch have none.
func (r Record) RerunHint() string {
	if _, _, item := r.Item(); item || r.Lane == Batches {
		return ""
	}
	return " POST /tasks/" + r.ID() + ":rerun tries again, from where it was."
}

// minutes says a time in whole minutes.
func minutes(d time.Duration) string {
	if n := int(d.Minutes()); n != 1 {
		return fmt.Sprintf("%d minutes", n)
	}
	return "1 minute"
}
