package batches

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"errand/shared/batch"
	"errand/shared/files"
)

// errOld says that the batch whose failed lines are to run again has no answers to copy.
var errOld = errors.New("batches: the batch before is gone")

// keepCopies copies the answers of the batch whose failed lines this one runs again, segment by
// segment, and returns their number. From then on the batch before may go.
func (w *work) keepCopies(ctx context.Context, d batch.Dialect) (n int, err error) {
	info, in, err := w.cfg.Files.Get(ctx, batch.ResultsFile(w.spec.Retry))
	if errors.Is(err, files.ErrNotFound) {
		return 0, errors.Join(errOld, err)
	}
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if info.Owner != w.r.Owner {
		return 0, errOld
	}

	var to *sink
	defer func() { err = errors.Join(err, to.end(err)) }()
	old := &copies{in: in, buf: bufio.NewReader(in), dialect: d, line: -1}

	for segment := -1; ; {
		switch err := old.next(); {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return 0, err
		}
		if of := segmentOf(old.line); of != segment {
			if err := to.end(nil); err != nil {
				return 0, err
			}
			segment, to = of, w.sink(ctx, batch.CopiesSegment(w.id, of))
		}
		if err := to.write(old.text); err != nil {
			return 0, err
		}
		n++
	}
}

// segmentOf is the segment of a line.
func segmentOf(line int) int { return (line - 1) / batch.PerSegment }

// copies reads answers of an earlier batch, in the order of their lines. A nil copies has none.
type copies struct {
	in      io.ReadCloser
	buf     *bufio.Reader
	dialect batch.Dialect
	line    int    // of the answer that was read last; 0: none was read yet
	text    []byte // with its end
}

// copiesOf opens the copies of a segment.
func (w *work) copiesOf(ctx context.Context, n int) (*copies, error) {
	if w.spec.Retry == "" {
		return nil, nil
	}
	_, in, err := w.cfg.Files.Get(ctx, batch.CopiesSegment(w.id, n))
	if errors.Is(err, files.ErrNotFound) { // no line of the segment had an answer
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &copies{in: in, buf: bufio.NewReader(in), dialect: w.st.Dialect}, nil
}

// next reads the next answer, or io.EOF.
func (c *copies) next() (err error) {
	c.text, err = c.buf.ReadBytes('\n')
	if err != nil {
		return err
	}
	if c.line, err = batch.LineOfResult(c.dialect, c.text); err != nil {
		return fmt.Errorf("reading the answers of the batch before: %w", err)
	}
	return nil
}

// take returns the answer of a line, if there is one. Lines are taken in their order.
func (c *copies) take(line int) (text []byte, is bool, err error) {
	for c != nil && c.line < line {
		switch err := c.next(); {
		case errors.Is(err, io.EOF):
			c.line = batch.MaxLines + 1
		case err != nil:
			return nil, false, err
		}
	}
	if c == nil || c.line != line {
		return nil, false, nil
	}
	return c.text, true, nil
}

func (c *copies) close() {
	if c != nil {
		_ = c.in.Close()
	}
}

// copied returns the lines of a segment that have an answer already.
func (w *work) copied(ctx context.Context, n int) (map[int]bool, error) {
	if known, ok := w.answered[n]; ok {
		return known, nil
	}
	old, err := w.copiesOf(ctx, n)
	if err != nil {
		return nil, err
	}
	defer old.close()

	lines := map[int]bool{}
	for old != nil {
		err := old.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		lines[old.line] = true
	}
	if len(w.answered) > 2 { // the feeder goes from one segment to the next
		clear(w.answered)
	}
	w.answered[n] = lines
	return lines, nil
}

// skips returns the lines between two that never become items: they cannot run, or have an
// answer already.
func (w *work) skips(ctx context.Context, first, last int) (map[int]bool, error) {
	skip := map[int]bool{}
	for line := first; line <= last; line++ {
		if _, bad := w.bad[line]; bad {
			skip[line] = true
		}
	}
	if w.spec.Retry == "" || last < first {
		return skip, nil
	}

	for n := segmentOf(first); n <= segmentOf(last); n++ {
		lines, err := w.copied(ctx, n)
		if err != nil {
			return nil, err
		}
		for line := range lines {
			skip[line] = true
		}
	}
	return skip, nil
}
