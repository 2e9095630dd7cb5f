package batches

import (
	"bytes"
	"context"
	"io"
	"iter"

	"errand/shared/batch"
)

// A lineReader reads lines of a manifest one after the other.
type lineReader struct {
	in   io.ReadCloser
	next func() (batch.RawLine, error, bool)
	stop func()
}

// readFrom opens the manifest at the beginning of a line.
func (w *work) readFrom(ctx context.Context, line int, offset int64) (*lineReader, error) {
	in, err := w.cfg.Manifests.Open(ctx, w.r.Owner, w.spec.Input, offset)
	if err != nil {
		return nil, err
	}
	l := &lineReader{in: in}
	l.next, l.stop = iter.Pull2(batch.Lines(in, offset, line))
	return l, nil
}

// numbers yields lines without a text.
func numbers(from int) *lineReader {
	l := &lineReader{in: io.NopCloser(bytes.NewReader(nil))}
	l.next, l.stop = iter.Pull2(func(yield func(batch.RawLine, error) bool) {
		for n := from; yield(batch.RawLine{N: n}, nil); n++ {
		}
	})
	return l
}

// read returns the next n lines, or fewer that have as many bytes as may be held. ErrGone: the
// manifest had more lines when it was scanned.
func (l *lineReader) read(n, most int) (some []batch.RawLine, err error) {
	for size := 0; len(some) < n && size < most; {
		line, err, ok := l.next()
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, ErrGone
		}
		line.Text = bytes.Clone(line.Text)
		some = append(some, line)
		size += len(line.Text)
	}
	return some, nil
}

func (l *lineReader) close() {
	if l != nil {
		l.stop()
		_ = l.in.Close()
	}
}
