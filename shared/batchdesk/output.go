package batchdesk

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/files"
)

// An Output is what a batch has to say so far, line by line: its results, or its errors.
type Output struct {
	Complete bool   // the batch has ended, and this is all
	Lines    int    // of the manifest, to whose first ones this belongs
	Size     int64  // bytes; -1: not known
	SHA256   string // of all of it; empty: not known

	desk    *Desk
	id      string
	whole   string             // name of the file, once the batch has ended
	segment func(n int) string // name of a segment
	segs    int
}

// ErrDropped says that the owner of a batch has deleted its results, or its errors.
var ErrDropped = errors.New("batchdesk: this output of the batch is deleted")

// Results returns the answers of a batch, in the order of lines. Errors: ErrDropped, and those of
// the files.
func (c *Desk) Results(ctx context.Context, b Batch) (*Output, error) {
	return c.output(ctx, b, b.State.Counts.Completed, batch.ResultsFile(b.ID()), func(n int) string { return batch.ResultsSegment(b.ID(), n) })
}

// Errors returns the lines of a batch that cannot run or had no answer, in the order of lines. It
// fails as Results does.
func (c *Desk) Errors(ctx context.Context, b Batch) (*Output, error) {
	return c.output(ctx, b, b.Failed(), batch.ErrorsFile(b.ID()), func(n int) string { return batch.ErrorsSegment(b.ID(), n) })
}

// Failed is the number of lines in the errors, as far as they are known. The lines of a batch
// that was refused are not counted as run.
func (b Batch) Failed() int {
	if b.Record.State() == a2a.TaskStateRejected {
		return b.State.Bad
	}
	return b.State.Counts.Failed
}

// output returns an output that has so many lines.
func (c *Desk) output(ctx context.Context, b Batch, lines int, whole string, segment func(int) string) (*Output, error) {
	o := &Output{Complete: b.Complete(), Size: -1, desk: c, id: b.ID(), whole: whole, segment: segment, segs: b.State.Segs}
	if !o.Complete {
		o.Lines = o.segs * batch.PerSegment
		return o, nil
	}

	o.Lines = b.State.Lines
	info, err := c.cfg.Files.Stat(ctx, whole)
	switch {
	case errors.Is(err, files.ErrNotFound) && lines > 0:
		return nil, ErrDropped
	case errors.Is(err, files.ErrNotFound): // the batch ended before there was any
		o.Size = 0
		return o, nil
	case err != nil:
		return nil, err
	}
	o.Size, o.SHA256 = info.Size, info.SHA256
	return o, nil
}

// Delete deletes the output of a batch that is complete. The tasks of its lines keep their
// answers. Its results are not there to be copied by a retry any more. ErrRunning: the batch is
// not complete. Deleting it again is no error.
func (o *Output) Delete(ctx context.Context) error {
	if !o.Complete {
		return ErrRunning
	}
	return o.desk.cfg.Files.Delete(ctx, o.whole)
}

// Copy writes the output to w. It holds a few KiB of it. If the batch ends meanwhile, Copy
// writes what the output was to have, and perhaps more. After an error w has a part.
func (o *Output) Copy(ctx context.Context, w io.Writer) error {
	if o.Complete {
		if o.Size == 0 {
			return nil
		}
		return o.copyFile(ctx, w, o.whole, 0)
	}

	var written int64
	for n := range o.segs {
		_, content, err := o.desk.cfg.Files.Get(ctx, o.segment(n))
		if errors.Is(err, files.ErrNotFound) {
			return o.rest(ctx, w, written)
		}
		if err != nil {
			return err
		}
		more, err := copyAndClose(w, content)
		if err != nil {
			return err
		}
		written += more
	}
	return nil
}

// rest writes what is behind the first bytes of the file. The segments that it was made of are
// gone when the batch has ended.
func (o *Output) rest(ctx context.Context, w io.Writer, after int64) error {
	r, err := o.desk.cfg.Store.Load(ctx, o.id)
	switch {
	case err != nil:
		return err
	case !r.Terminal() || !r.Settled:
		return fmt.Errorf("a segment of batch %s is missing: %w", o.id, files.ErrNotFound)
	}
	return o.copyFile(ctx, w, o.whole, after)
}

func (o *Output) copyFile(ctx context.Context, w io.Writer, name string, from int64) error {
	_, content, err := o.desk.cfg.Files.GetRange(ctx, name, from, -1)
	if err != nil {
		return err
	}
	_, err = copyAndClose(w, content)
	return err
}

// copySize is how many bytes are on their way to a reader.
const copySize = 32 << 10

func copyAndClose(w io.Writer, content io.ReadCloser) (int64, error) {
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, content, make([]byte, copySize))
	return n, errors.Join(err, content.Close())
}
