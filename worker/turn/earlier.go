package turn

import (
	"context"
	"slices"
	"strconv"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/kv"
	"errand/shared/task"
	"errand/worker/run"
)

// Bounds on reading the steps of earlier turns.
const (
	stepsAtOnce = 8       // steps of a list: the newest are read first
	leastSteps  = 1 << 20 // stored bytes that are read whatever the tokens, to name calls with effects
)

// An earlier is the stored steps of the earlier turns of a task.
type earlier struct {
	last    int        // number of the last step
	entries []kv.Entry // newest first
	unread  int        // steps before these
}

// An earlierSteps has them for the tasks of a conversation, by their ids.
type earlierSteps map[string]*earlier

// earlierSteps reads the steps of the turns before the message, the newest first: of its own task,
// and of the related ones from the newest on. It reads nothing for a task without steps.
func (w *Worker) earlierSteps(ctx context.Context, r task.Record, related []task.Record) (earlierSteps, error) {
	all := earlierSteps{}
	left := max(w.cfg.Conversation.Tokens*tokenBytes, leastSteps)
	for _, f := range slices.Backward(append(slices.Clip(related), r)) {
		last := f.Steps
		if f.ID() == r.ID() {
			last = r.First
		}
		e := &earlier{last: last}
		all[f.ID()] = e
		if err := w.readSteps(ctx, f, e, &left); err != nil {
			return nil, unread(err)
		}
	}
	return all, nil
}

// readSteps reads the steps of a record from the last one back, until left bytes are used up.
func (w *Worker) readSteps(ctx context.Context, r task.Record, e *earlier, left *int) error {
	for e.unread = e.last; e.unread > 0 && *left > 0; {
		first := max(e.unread-stepsAtOnce, 0)
		some, err := w.listSteps(ctx, r, first, e.unread)
		if err != nil {
			return err
		}

		for _, k := range slices.Backward(some) {
			if *left -= len(k.Value); *left < 0 {
				return nil
			}
			e.entries = append(e.entries, k)
			e.unread = number(r, k) - 1
		}
		e.unread = first
	}
	return nil
}

// listSteps lists the steps after a number up to another one.
func (w *Worker) listSteps(ctx context.Context, r task.Record, after, through int) (some []kv.Entry, err error) {
	for from := r.StepKey(after); ; {
		list, err := w.cfg.KV.List(ctx, r.StepPrefix(), from, 2*stepsAtOnce) // large replies stand between
		if err != nil {
			return nil, err
		}

		for _, k := range list {
			if from = k.Key; from > r.StepKey(through) {
				return some, nil
			}
			if n := number(r, k); n > 0 {
				some = append(some, k)
				if n == through {
					return some, nil
				}
			}
		}
		if len(list) == 0 {
			return some, nil
		}
	}
}

// number is the number of the step that an entry keeps; 0: it keeps another thing.
func number(r task.Record, e kv.Entry) int {
	n, err := strconv.Atoi(e.Key[len(r.StepPrefix()):])
	if err != nil {
		return 0
	}
	return n
}

// cost is the memory that the steps take in a run, in bytes.
func (all earlierSteps) cost() (n int64) {
	for _, e := range all {
		for _, k := range e.entries {
			n += cost(k.Value)
		}
	}
	return n
}

// decode returns the steps of the records. An entry that cannot be read counts as not read.
func (all earlierSteps) decode(records []task.Record) map[a2a.TaskID]run.Earlier {
	out := map[a2a.TaskID]run.Earlier{}
	for _, r := range records {
		e := all[r.ID()]
		known := run.Earlier{Turn: r.Turn, Unread: e.unread, Key: r.CallKey}
		for _, entry := range slices.Backward(e.entries) {
			k, err := task.DecodeKept(entry.Value)
			if err != nil {
				known.Unread++
				continue
			}
			known.Steps = append(known.Steps, k)
		}
		known.Steps = withLast(r, e.last, known.Steps)
		out[r.Task.ID] = known
	}
	return out
}

// withLast completes the steps of a task that has stopped within its last one: the record knows
// which calls of it have begun, and before a result is stored it alone has the step. Of a large
// one it has neither the reply nor the arguments.
func withLast(r task.Record, last int, steps []task.Kept) []task.Kept {
	if r.Step == nil || r.Step.Number > last {
		return steps
	}

	if n := len(steps); n > 0 && steps[n-1].Number == r.Step.Number && len(steps[n-1].Calls) == len(r.Step.Calls) {
		for i, c := range r.Step.Calls {
			steps[n-1].Calls[i].Times = c.Times
		}
		return steps
	}
	return append(steps, task.Kept{Step: *r.Step})
}
