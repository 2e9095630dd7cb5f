package batches

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"errand/shared/batch"
	"errand/shared/batchdesk"
)

// Limits of feeding.
const (
	side      = 16      // items made, ended or read at once
	someLines = 256     // lines that are read before their items are made
	someBytes = 4 << 20 // bytes of these lines
)

// feed makes the items of the next lines, as many as may be open (R19b). The cursor moves over
// lines whose records are durable. wait is how long no item may begin, because the owner's
// tokens of the day are used up.
func (w *work) feed(ctx context.Context) (wait time.Duration, err error) {
	room := w.st.Feed(w.ended, w.budget, w.known)
	if room == 0 {
		return 0, nil
	}

	wait, err = w.cfg.Wait(ctx, w.r.Owner)
	if err != nil {
		w.cfg.Log.WarnContext(ctx, "the tokens of the day are not known; the batch goes on", "batch", w.id, "err", err)
	}
	if wait > 0 {
		return wait, nil
	}
	if err := w.cfg.Room(ctx); err != nil {
		return 0, err
	}
	if err := w.understand(ctx); err != nil {
		return 0, err
	}

	for room > 0 && w.st.Fed < w.st.Lines {
		// No run makes items far behind the stored cursor. So a run that ends the batch knows
		// which lines may have begun.
		if w.st.Fed >= w.saved.Fed+batch.MaxOpen {
			if err := w.save(ctx); err != nil {
				return 0, err
			}
		}
		made, err := w.feedSome(ctx, min(room, someLines, w.saved.Fed+batch.MaxOpen-w.st.Fed))
		if err != nil {
			return 0, err
		}
		if err := w.advance(ctx); err != nil {
			return 0, err
		}
		room -= made
	}
	return 0, nil
}

// feedSome makes the items of at most so many lines, several at once, and returns how many
// were made. After an error the cursor
// is behind the lines before the first that failed.
func (w *work) feedSome(ctx context.Context, most int) (made int, err error) {
	some, err := w.nextLines(ctx, most)
	if err != nil {
		return 0, err
	}

	skip, err := w.skips(ctx, some[0].N, some[len(some)-1].N)
	if err != nil {
		return 0, err
	}

	errs := make([]error, len(some))
	var g errgroup.Group
	g.SetLimit(side)
	for i, l := range some {
		g.Go(func() error {
			if !skip[l.N] {
				errs[i] = w.feedLine(ctx, l)
			}
			return nil
		})
	}
	_ = g.Wait() // every line has its own error

	for i, l := range some {
		if errs[i] != nil {
			w.lines.close() // it is behind the cursor
			w.lines = nil
			return made, errs[i]
		}
		items := 0
		if !skip[l.N] {
			items = 1
			if w.budget != nil {
				w.pending = append(w.pending, l.N)
			}
		}
		made += items
		w.st = w.st.Made(items, l.N, l.Next, w.now())
	}
	return made, nil
}

// nextLines reads lines behind the cursor.
func (w *work) nextLines(ctx context.Context, most int) (some []batch.RawLine, err error) {
	if w.lines == nil {
		if w.lines, err = w.readFrom(ctx, w.st.Fed+1, w.st.Offset); err != nil {
			return nil, err
		}
	}
	some, err = w.lines.read(min(most, w.st.Lines-w.st.Fed), someBytes)
	if err != nil {
		w.lines.close()
		w.lines = nil
	}
	return some, err
}

// feedLine makes the item of a line.
func (w *work) feedLine(ctx context.Context, l batch.RawLine) error {
	return batchdesk.Feeder{Desk: w.cfg.Desk, Uploads: w.cfg.Uploads, Objects: w.cfg.Objects, Form: w.cfg.Form}.Feed(ctx, w.r, w.st.Dialect, l)
}
