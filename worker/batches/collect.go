package batches

import (
	"context"
	"errors"
	"fmt"

	"errand/shared/batch"
	"errand/shared/task"
)

const (
	atOnce = 20 // records that are held at once while a segment is written

	linesType = "application/jsonl" // media type of all files of a batch
)

// look counts the items that have not ended (R19c). Its time does not depend on how many have.
func (w *work) look(ctx context.Context) (task.Open, error) {
	open, err := w.cfg.Store.Open(ctx, w.id, w.st.Fed)
	if err != nil {
		return open, err
	}
	w.st, w.ended = w.st.Looked(open, w.now())
	return open, nil
}

// collect writes the segments below the given one (R19d). A straggler holds up the files, and
// nothing else.
func (w *work) collect(ctx context.Context, to int) error {
	for w.st.Segs < to {
		counts, err := w.segment(ctx, w.st.Segs)
		if errors.Is(err, ErrGone) && w.closing != nil && !w.blind {
			w.blind = true
			continue
		}
		if errors.Is(err, errOpen) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("writing the segment %d of the batch %s: %w", w.st.Segs, w.id, err)
		}

		w.st = w.st.Collected(counts)
		if err := w.advance(ctx); err != nil {
			return err
		}
		if w.due() {
			if err := w.save(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// segment writes the answers and the errors of a segment, and returns its counts. It holds a few
// records at a time. The bytes depend on the manifest and the records alone, so writing it again
// changes nothing.
func (w *work) segment(ctx context.Context, n int) (counts batch.Counts, err error) {
	in, err := w.linesOf(ctx, n)
	if err != nil {
		return counts, err
	}
	defer in.close()
	old, err := w.copiesOf(ctx, n)
	if err != nil {
		return counts, err
	}
	defer old.close()

	answers, failures := w.sink(ctx, batch.ResultsSegment(w.id, n)), w.sink(ctx, batch.ErrorsSegment(w.id, n))
	defer func() {
		aerr, ferr := answers.end(err), failures.end(err)
		if err == nil {
			err = errors.Join(aerr, ferr)
		}
	}()

	for line, last := w.st.SegmentLines(n); line <= last; {
		lines, err := in.read(min(atOnce, last-line+1), someBytes)
		if err != nil {
			return counts, err
		}
		line += len(lines)
		outcomes, err := w.outcomes(ctx, lines, old)
		if err != nil {
			return counts, err
		}

		for _, o := range outcomes {
			to := answers
			if o.failed {
				to = failures
				counts.Failed++
			} else {
				counts.Completed++
			}
			if o.item {
				counts.Items++
				counts.Spent = counts.Spent.Add(o.spent)
			}
			if err := to.write(o.text); err != nil {
				return counts, err
			}
		}
	}
	return counts, nil
}

// linesOf opens the manifest at a segment. If the manifest is gone and the batch has ended, its
// lines are numbers without a text.
func (w *work) linesOf(ctx context.Context, n int) (*lineReader, error) {
	if !w.blind {
		err := w.understand(ctx)
		if err == nil {
			offset, line := w.index.At(n*batch.PerSegment + 1)
			return w.readFrom(ctx, line, offset)
		}
		if !errors.Is(err, ErrGone) || w.closing == nil {
			return nil, err
		}
	}
	return numbers(n*batch.PerSegment + 1), nil
}
