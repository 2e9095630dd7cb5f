package batches

import (
	"context"
	"errors"
	"slices"
	"sync"

	"errand/shared/batch"
	"errand/shared/task"
)

// reckon learns the cost of items as they end, if there is a budget, and tells whether it is
// used up. It reads each item once more, since a straggler can hold up the segments for long.
func (w *work) reckon(ctx context.Context) (used bool, say string, err error) {
	if w.budget == nil {
		return false, "", nil
	}

	open, err := w.openLines(ctx)
	if err != nil {
		return false, "", err
	}
	var ended, rest []int
	for _, line := range w.pending {
		if open[line] {
			rest = append(rest, line)
		} else {
			ended = append(ended, line)
		}
	}

	var mu sync.Mutex
	var spent task.Spent
	items := 0
	err = w.each(ctx, len(ended), func(ctx context.Context, i int) error {
		r, err := w.cfg.Store.Load(ctx, task.ItemID(w.id, ended[i]))
		if err != nil && !errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrUnreadable) {
			return err
		}

		mu.Lock()
		defer mu.Unlock()
		if err == nil && !r.Terminal() { // the write of its end has no answer yet
			rest = append(rest, ended[i])
			return nil
		}
		items++
		spent = spent.Add(r.Spent)
		return nil
	})
	if err != nil {
		return false, "", err
	}

	slices.Sort(rest)
	w.pending = rest
	w.known = batch.Known{Items: w.known.Items + items, Pending: len(rest), Spent: w.known.Spent.Add(spent)}
	used, say = w.budget.Used(w.known.Spent)
	return used, say, nil
}

// openLines returns the lines of items that have not ended.
func (w *work) openLines(ctx context.Context) (map[int]bool, error) {
	open := map[int]bool{}
	if len(w.pending) == 0 {
		return open, nil
	}
	for after := w.pending[0] - 1; ; {
		lines, err := w.cfg.Store.OpenLines(ctx, w.id, after, batch.MaxOpen)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			open[line] = true
			after = line
		}
		if len(lines) < batch.MaxOpen {
			return open, nil
		}
	}
}

// beginReckoning finds the items whose cost the state does not have.
func (w *work) beginReckoning(ctx context.Context) error {
	if w.budget == nil {
		return nil
	}
	if err := w.understand(ctx); err != nil {
		return err
	}
	first := w.st.Segs*batch.PerSegment + 1
	skip, err := w.skips(ctx, first, w.st.Fed)
	if err != nil {
		return err
	}
	w.pending = nil
	for line := first; line <= w.st.Fed; line++ {
		if !skip[line] {
			w.pending = append(w.pending, line)
		}
	}
	w.known = batch.Known{Items: w.st.Counts.Items, Pending: len(w.pending), Spent: w.st.Counts.Spent}
	return nil
}
