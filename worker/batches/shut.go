package batches

import (
	"bytes"
	"context"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"golang.org/x/sync/errgroup"

	"errand/shared/batch"
	"errand/shared/task"
)

// A closing says why no further line of a batch begins.
type closing struct {
	code  string // of the errors of lines that have not begun
	unfed string // the reason that they give
	says  string // the status of the batch
}

var expired = &closing{
	code: "expired", unfed: "The line was not begun before the deadline of the batch.",
	says: "The deadline of the batch is over.",
}

// shut ends the open items of a batch, and sees to it that no other one begins. A run that has
// lost the batch may still be making items: at most MaxOpen behind the cursor that is stored. So
// their ids are taken.
func (w *work) shut(ctx context.Context) error {
	if !w.st.Closed {
		last := min(w.st.Fed+batch.MaxOpen, w.st.Lines)
		if err := w.withhold(ctx, w.st.Fed+1, last); err != nil {
			return err
		}
		w.st.Fed, w.st.Closed = last, true
		if err := w.save(ctx); err != nil {
			return err
		}
	}

	for {
		open, err := w.cfg.Store.OpenLines(ctx, w.id, 0, batch.MaxOpen)
		if err != nil || len(open) == 0 {
			return err
		}
		if err := w.each(ctx, len(open), func(ctx context.Context, i int) error { return w.drop(ctx, open[i]) }); err != nil {
			return err
		}
	}
}

// withhold takes the ids of lines whose items may not have been made.
func (w *work) withhold(ctx context.Context, from, to int) error {
	return w.each(ctx, max(0, to-from+1), func(ctx context.Context, i int) error {
		line := from + i
		if _, bad := w.bad[line]; bad || w.old.has(line) {
			return nil
		}
		return w.drop(ctx, line)
	})
}

// drop ends an item at the end of its batch.
func (w *work) drop(ctx context.Context, line int) error {
	return w.cfg.Desk.Withhold(ctx, w.r, line, a2a.TaskStateCanceled, w.closing.unfed)
}

// each calls f for the numbers below n, several at once.
func (w *work) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(side)
	for i := range n {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(ctx, i)
		})
	}
	return g.Wait()
}

// closingOf says why a batch has ended.
func closingOf(r task.Record) *closing {
	if r.State() == a2a.TaskStateCanceled {
		return &closing{code: "canceled", unfed: "The batch was canceled before the line began."}
	}
	return &closing{code: "failed", unfed: "The batch ended before the line began."}
}

// empty makes the files of a batch that has no lines.
func (w *work) empty(ctx context.Context) error {
	for _, name := range []string{batch.ResultsFile(w.id), batch.ErrorsFile(w.id)} {
		if err := w.putFile(ctx, name, linesType, bytes.NewReader(nil)); err != nil {
			return err
		}
	}
	w.st.Closed, w.st.Whole = true, true
	return w.save(ctx)
}

// tidy deletes the segments, which the files have.
func (w *work) tidy(ctx context.Context) error {
	for _, folder := range []string{batch.ResultsFile(w.id), batch.ErrorsFile(w.id)} {
		if err := w.cfg.Files.DeleteAll(ctx, folder); err != nil {
			return err
		}
	}
	return nil
}
