package batches

import (
	"context"
	"errors"
	"fmt"

	"errand/shared/batch"
)

const (
	atOnce = 20 // records that are held at once while a segment is written

	linesType = "application/jsonl" // media type of all files of a batch
)

// look counts the items that have not ended (R19c). Its time does not depend on how many have.
func (w *work) look(ctx context.Context) error {
	open, err := w.cfg.Store.Open(ctx, w.id, w.st.Fed)
	if err != nil {
		return err
	}
	before := w.st
	w.open, w.st.Open, w.st.At = open, open.N, w.cfg.Desk.Now().UTC().Round(0)
	w.ended = max(0, w.st.Ended()-before.Ended())
	w.st.Rate = rate(before, w.st)
	return nil
}

// collect writes the segments that lie below the lowest open line (R19d). A straggler holds up
// the files, and nothing else.
func (w *work) collect(ctx context.Context) error {
	for w.st.Segs < segments(w.st.Lines) {
		last := lastOf(w.st.Segs, w.st.Lines)
		if w.st.Fed < last && !w.st.Closed || w.open.N > 0 && w.open.Lowest <= last {
			return nil
		}
		counts, err := w.segment(ctx, w.st.Segs, last)
		if errors.Is(err, ErrGone) && w.closing != nil && !w.blind {
			w.blind = true
			continue
		}
		if err != nil {
			return fmt.Errorf("writing the segment %d of the batch %s: %w", w.st.Segs, w.id, err)
		}

		w.st.Counts = sum(w.st.Counts, counts)
		w.st.Segs++
		if w.due() {
			if err := w.save(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func segments(lines int) int { return (lines + batch.PerSegment - 1) / batch.PerSegment }

// lastOf is the last line of a segment.
func lastOf(n, lines int) int { return min((n+1)*batch.PerSegment, lines) }

func sum(a, b batch.Counts) batch.Counts {
	return batch.Counts{Completed: a.Completed + b.Completed, Failed: a.Failed + b.Failed, Spent: a.Spent.Add(b.Spent)}
}

// segment writes the answers and the errors of a segment, and returns its counts. It holds a few
// records at a time. The bytes depend on the manifest and the records alone, so writing it again
// changes nothing.
func (w *work) segment(ctx context.Context, n, last int) (counts batch.Counts, err error) {
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

	for line := n*batch.PerSegment + 1; line <= last; {
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
			counts.Spent = counts.Spent.Add(o.spent)
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
		err := w.known(ctx)
		if err == nil {
			return w.readFrom(ctx, n*batch.PerSegment+1, w.index[n])
		}
		if !errors.Is(err, ErrGone) || w.closing == nil {
			return nil, err
		}
	}
	return numbers(n*batch.PerSegment + 1), nil
}
