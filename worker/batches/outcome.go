package batches

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"errand/shared/batch"
	"errand/shared/task"
)

// errOpen says that an item has ended by a look, and has not by its record: the write of its end
// has no answer yet. The next look is another one.
var errOpen = errors.New("batches: the end of an item is being written")

// An outcome is the line of an answer or of an error.
type outcome struct {
	text   []byte // with its end
	failed bool
	item   bool       // the line became a task
	spent  task.Spent // of the task
}

// outcomes makes the outcomes of lines, in their order.
func (w *work) outcomes(ctx context.Context, lines []batch.RawLine, old *copies) ([]outcome, error) {
	all := make([]outcome, len(lines))
	g, ctx := errgroup.WithContext(ctx)
	for i, l := range lines {
		text, is, err := old.take(l.N)
		switch {
		case err != nil:
			return nil, err
		case is:
			all[i] = outcome{text: text}
			continue
		}
		g.Go(func() (err error) {
			all[i], err = w.outcome(ctx, l)
			return err
		})
	}
	return all, g.Wait()
}

// outcome is what became of a line. It is the same each time, since it follows from the bad
// lines and from records that have ended.
func (w *work) outcome(ctx context.Context, l batch.RawLine) (outcome, error) {
	if b, is := w.bad[l.N]; is {
		return w.fault(l.N, b.ID, b.Fault()), nil
	}
	id := w.idOf(l)
	if l.N > w.st.Fed {
		return w.fault(l.N, id, w.closing.fault), nil
	}

	r, err := w.cfg.Store.Load(ctx, task.ItemID(w.id, l.N))
	switch {
	case errors.Is(err, task.ErrDeleted):
		o := w.fault(l.N, id, batch.Deleted)
		o.item = true
		return o, nil
	case errors.Is(err, task.ErrNotFound), errors.Is(err, task.ErrUnreadable):
		o := w.fault(l.N, id, batch.Lost)
		o.item = true
		return o, nil
	case err != nil:
		return outcome{}, err
	}

	if !r.Terminal() {
		return outcome{}, errOpen
	}
	if id == "" {
		id, _, _ = batch.LineOf(r)
	}
	if w.closing.ended(r) {
		o := w.fault(l.N, id, w.closing.fault)
		o.item, o.spent = true, r.Spent
		return o, nil
	}
	o := outcome{item: true, spent: r.Spent}
	o.text, o.failed = batch.ResultLine(w.st.Dialect, id, r, w.cfg.Model)
	return o, nil
}

// idOf is the id of a line, as far as it can be read. It is empty if the manifest is gone.
func (w *work) idOf(l batch.RawLine) string {
	if w.blind {
		return ""
	}
	item, bad := w.cfg.Form.Parse(w.st.Dialect, l.N, l.Text)
	if bad != nil {
		return bad.ID
	}
	return item.ID
}

func (w *work) fault(line int, id string, f batch.Fault) outcome {
	return outcome{text: batch.ErrorLine(w.st.Dialect, w.id, line, id, f), failed: true}
}
