package batches

import (
	"bufio"
	"context"
	"io"

	"errand/shared/files"
)

// A sink is a file that is being written. It is there when its end has returned nil, whole, and
// otherwise not at all.
type sink struct {
	buf  *bufio.Writer
	pipe *io.PipeWriter
	done chan error
}

const sinkBuffer = 64 << 10

// sink begins a file of the batch.
func (w *work) sink(ctx context.Context, name string) *sink {
	out, pipe := io.Pipe()
	s := &sink{buf: bufio.NewWriterSize(pipe, sinkBuffer), pipe: pipe, done: make(chan error, 1)}
	go func() {
		_, err := w.cfg.Files.Put(ctx, files.Upload{Name: name, Owner: w.r.Owner, MediaType: linesType}, out)
		out.CloseWithError(err) // ends the writes to a file that cannot be put
		s.done <- err
	}()
	return s
}

func (s *sink) write(text []byte) error {
	_, err := s.buf.Write(text)
	return err
}

// end stores the file, or drops it if there is an error.
func (s *sink) end(err error) error {
	if s == nil {
		return nil
	}
	if err == nil {
		err = s.buf.Flush()
	}
	s.pipe.CloseWithError(err)
	return <-s.done
}
