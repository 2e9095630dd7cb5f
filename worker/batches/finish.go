package batches

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/files"
)

// manyAgain is how often a run writes all segments again, because they do not have the lines
// that were counted.
const manyAgain = 2

// finish makes the files of all answers and errors, and ends the batch (R19e). A nil event says
// that there is more to do.
func (w *work) finish(ctx context.Context) (a2a.Event, error) {
	if err := w.files(ctx); err != nil || !w.st.Whole {
		return nil, err
	}
	names := []string{batch.ResultsFile(w.id), batch.ErrorsFile(w.id)}
	if w.closing != nil {
		return w.end(a2a.TaskStateFailed, w.closing.says+" "+w.summary(), names...), nil
	}
	return w.end(a2a.TaskStateCompleted, w.summary(), names...), nil
}

// files makes both files, unless they are there.
func (w *work) files(ctx context.Context) error {
	if w.st.Whole {
		return nil
	}
	answers, err := w.join(ctx, batch.ResultsFile(w.id), batch.ResultsSegment)
	if err != nil {
		return w.recollect(err)
	}
	failures, err := w.join(ctx, batch.ErrorsFile(w.id), batch.ErrorsSegment)
	if err != nil {
		return w.recollect(err)
	}

	// A run that had lost the batch may have written a segment later than this one did, while
	// an item between was deleted.
	if answers != w.st.Counts.Completed || failures != w.st.Counts.Failed {
		return w.recollect(fmt.Errorf("the batch %s has %d answers and %d errors in its segments, not %+v: %w", w.id, answers, failures, w.st.Counts, files.ErrNotFound))
	}
	w.st.Closed, w.st.Whole = true, true
	return w.save(ctx)
}

// recollect has the segments written again if one is missing or has other lines.
func (w *work) recollect(err error) error {
	if !errors.Is(err, files.ErrNotFound) || w.again == manyAgain {
		return err
	}
	w.again++
	w.st.Segs, w.st.Counts = 0, batch.Counts{}
	return nil
}

// join makes a file of its segments, and returns the number of its lines.
func (w *work) join(ctx context.Context, name string, segment func(id string, n int) string) (lines int, err error) {
	all := &joined{open: func(n int) (io.ReadCloser, error) {
		if n == w.st.Segs {
			return nil, io.EOF
		}
		_, in, err := w.cfg.Files.Get(ctx, segment(w.id, n))
		return in, err
	}}
	defer all.close()
	_, err = w.cfg.Files.Put(ctx, files.Upload{Name: name, Owner: w.r.Owner, MediaType: linesType}, all)
	return all.lines, err
}

// joined reads one segment after the other, and counts the lines.
type joined struct {
	open  func(n int) (io.ReadCloser, error) // io.EOF: there are no more
	in    io.ReadCloser
	next  int
	lines int
}

// Read implements io.Reader.
func (j *joined) Read(p []byte) (int, error) {
	for {
		if j.in == nil {
			in, err := j.open(j.next)
			if err != nil {
				return 0, err
			}
			j.in = in
			j.next++
		}

		n, err := j.in.Read(p)
		for _, b := range p[:n] {
			if b == '\n' {
				j.lines++
			}
		}
		if errors.Is(err, io.EOF) {
			j.close()
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (j *joined) close() {
	if j.in != nil {
		_ = j.in.Close()
		j.in = nil
	}
}

// end says that the files are there, and returns the last event of a batch.
func (w *work) end(state a2a.TaskState, text string, names ...string) a2a.Event {
	for _, name := range names {
		kind := name[len(batch.Folder(w.id))+1:]
		part := a2a.NewFileURLPart(a2a.URL(w.cfg.URL("/"+name)), linesType)
		part.Filename = kind + ".jsonl"
		ev := a2a.NewArtifactUpdateEvent(w.ec, a2a.ArtifactID(kind), part)
		ev.Artifact.Name, ev.LastChunk, ev.Append = kind, true, false
		w.say(ev)
	}
	ev := w.status(state, text)
	ev.Metadata = w.metadata()
	return ev
}

// A failure is an error that does not pass. Its text is for the client.
type failure struct{ why string }

// Error implements error.
func (f *failure) Error() string { return f.why }

// reason returns why a batch has failed for good.
func reason(err error) (why string, failed bool) {
	f, failed := errors.AsType[*failure](err)
	switch {
	case failed:
		return f.why, true
	case errors.Is(err, ErrGone):
		return "The manifest is gone, or is not the one that was submitted. Submit it again.", true
	case errors.Is(err, errOld):
		return "The batch whose failed lines were to run again is gone. Submit the manifest as a new batch.", true
	}
	return expired.says, false
}
