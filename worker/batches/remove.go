package batches

import (
	"context"
	"errors"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/steps"
	"errand/shared/task"
)

// remove deletes what a deleted batch leaves behind: its items, last line first, its files, and
// at last the state, by which a settlement that is broken off goes on.
func (h *Handler) remove(ctx context.Context, r task.Record) error {
	w := &work{cfg: h.cfg, id: r.ID(), r: r}
	if err := w.takeOver(ctx, above(r)); err != nil {
		return err
	}
	if !w.st.Closed {
		w.st.Fed, w.st.Closed = min(w.st.Fed+batch.MaxOpen, w.st.Lines), true
		if err := w.save(ctx); err != nil {
			return err
		}
	}

	for w.st.Fed > 0 {
		from := max(0, w.st.Fed-someLines)
		err := w.each(ctx, w.st.Fed-from, func(ctx context.Context, i int) error { return w.removeItem(ctx, from+i+1) })
		if err != nil {
			w.saveLate(ctx)
			return err
		}
		w.st.Fed = from
		if w.due() {
			if err := w.save(ctx); err != nil {
				return err
			}
		}
	}

	if err := w.cfg.Files.DeleteAll(ctx, batch.Folder(w.id)); err != nil {
		return err
	}
	err := w.cfg.KV.Delete(ctx, batch.StateKey(w.id), w.entry.Version)
	if errors.Is(err, kv.ErrConflict) {
		return task.ErrFenced
	}
	return err
}

// removeItem deletes an item and its steps. An item that was not made is made as one that has
// ended, so that no run which has lost the batch makes it.
func (w *work) removeItem(ctx context.Context, line int) error {
	id := task.ItemID(w.id, line)
	_, err := w.cfg.Desk.ChangeByID(ctx, id, func(r task.Record, now task.Moment) (task.Record, bool, error) { return r.Delete(now) })
	switch {
	case errors.Is(err, task.ErrDeleted):
	case errors.Is(err, task.ErrNotFound):
		return w.cfg.Desk.Withhold(ctx, w.r, line, a2a.TaskStateCanceled, "The batch was deleted.")
	case err != nil:
		return err
	}
	return steps.Delete(ctx, w.cfg.KV, id, nil)
}
