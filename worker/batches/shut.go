package batches

import (
	"bytes"
	"context"
	"errors"
	"path"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"golang.org/x/sync/errgroup"

	"errand/shared/batch"
	"errand/shared/task"
)

// A closing says why no further line of a batch begins.
type closing struct {
	fault batch.Fault // of the lines that have not ended
	says  string      // the status of the batch
}

var expired = &closing{batch.Expired, "The deadline of the batch is over."}

// ended reports whether the end of the batch ended an item, or kept it from beginning.
func (c *closing) ended(r task.Record) bool {
	if c == nil || r.State() != a2a.TaskStateCanceled {
		return false
	}
	m := r.Task.Status.Message
	return m != nil && len(m.Parts) == 1 && m.Parts[0].Text() == c.fault.Message
}

// shut ends the open items of a batch, and sees to it that no other one begins. A run that has
// lost the batch may still be making items: at most MaxOpen behind the cursor that is stored. So
// their ids are taken.
func (w *work) shut(ctx context.Context) error {
	if !w.st.Closed {
		if err := w.understand(ctx); err != nil && !errors.Is(err, ErrGone) {
			return err
		}
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
	skip, err := w.skips(ctx, from, to)
	if err != nil {
		return err
	}
	return w.each(ctx, max(0, to-from+1), func(ctx context.Context, i int) error {
		if skip[from+i] {
			return nil
		}
		return w.drop(ctx, from+i)
	})
}

// drop ends an item at the end of its batch.
func (w *work) drop(ctx context.Context, line int) error {
	return w.cfg.Desk.Withhold(ctx, w.r, line, a2a.TaskStateCanceled, w.closing.fault.Message)
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
	for _, name := range []string{batch.ResultsSegment(w.id, 0), batch.ErrorsSegment(w.id, 0), batch.CopiesSegment(w.id, 0)} {
		folder := path.Dir(name)
		if err := w.cfg.Files.DeleteAll(ctx, folder); err != nil {
			return err
		}
	}
	return nil
}
