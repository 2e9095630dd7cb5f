package batches

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"errand/shared/batch"
	"errand/shared/task"
)

// An outcome is the line of an answer or of an error.
type outcome struct {
	text     []byte // with its end
	answered bool
	spent    task.Spent
}

// outcomes makes the outcomes of the next n lines of in.
func (w *work) outcomes(ctx context.Context, in *lineReader, n int, old map[string][]byte) ([]outcome, error) {
	var lines []batch.RawLine
	for len(lines) < n {
		some, err := in.read(n-len(lines), someBytes)
		if err != nil {
			return nil, err
		}
		lines = append(lines, some...)
	}

	all := make([]outcome, n)
	g, ctx := errgroup.WithContext(ctx)
	for i, l := range lines {
		g.Go(func() (err error) {
			all[i], err = w.outcome(ctx, l, old)
			return err
		})
	}
	return all, g.Wait()
}

// outcome is what became of a line. All lines but those that are read here have the same outcome
// each time: it is in the manifest, in the bad lines, or in a record that has ended.
func (w *work) outcome(ctx context.Context, l batch.RawLine, old map[string][]byte) (outcome, error) {
	item, bad := w.cfg.Form.Parse(w.st.Dialect, l.N, l.Text)
	id := item.ID
	if bad != nil {
		id = bad.ID
	}

	if b, is := w.bad[l.N]; is {
		return outcome{text: errorLine(w.st.Dialect, b.ID, b.Code, b.Reason)}, nil
	}
	if text, is := old[id]; is {
		return outcome{text: text, answered: true}, nil
	}
	if l.N > w.st.Fed {
		return outcome{text: errorLine(w.st.Dialect, id, w.closing.code, w.closing.unfed)}, nil
	}

	r, err := w.cfg.Store.Load(ctx, task.ItemID(w.id, l.N))
	switch {
	case errors.Is(err, task.ErrDeleted):
		return outcome{text: errorLine(w.st.Dialect, id, "deleted", "The task was deleted by its owner."), spent: r.Spent}, nil
	case errors.Is(err, task.ErrNotFound), errors.Is(err, task.ErrUnreadable):
		return outcome{text: errorLine(w.st.Dialect, id, "lost", "The record of the task cannot be read.")}, nil
	case err != nil:
		return outcome{}, err
	}
	text, answered := resultLine(w.st.Dialect, id, r)
	return outcome{text: text, answered: answered, spent: r.Spent}, nil
}
