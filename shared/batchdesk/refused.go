package batchdesk

import (
	"bufio"
	"context"
	"errors"
	"io"

	"errand/shared/batch"
	"errand/shared/files"
	"errand/shared/task"
)

// A LineFault is what is wrong with a line of a manifest.
type LineFault struct {
	Line int
	batch.Fault
}

// Faults returns what the errors of a complete batch tell, of their first lines, at most of so
// many. It holds a line at a time.
func (c *Desk) Faults(ctx context.Context, b Batch, most int) (all []LineFault, err error) {
	_, content, err := c.cfg.Files.Get(ctx, batch.ErrorsFile(b.ID()))
	if errors.Is(err, files.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer content.Close()

	in := bufio.NewReader(content)
	for len(all) < most {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(text) == 0 {
			return all, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		f := LineFault{}
		if f.Line, f.Fault, err = batch.FaultOfResult(b.State.Dialect, text); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// An InUseError says that a batch reads the file, and is not complete.
type InUseError struct{ Batch string }

// Error implements error.
func (e *InUseError) Error() string {
	return "the batch " + e.Batch + " reads this file and has not ended: wait for it, or cancel it first"
}

// DeleteFile deletes a file of the owner. Errors: *InUseError, and those of [uploads.Store.Delete].
func (c *Desk) DeleteFile(ctx context.Context, owner, id string) error {
	b, used, err := c.inputOf(ctx, owner, id)
	switch {
	case err != nil:
		return err
	case used:
		return &InUseError{b.ID()}
	}
	return c.cfg.Uploads.Delete(ctx, owner, id)
}

// inputOf returns a batch of the owner that reads a file as its manifest and is not complete.
// found is false if there is none, as far as anyone knows: a submission of the same moment may
// not be seen.
func (c *Desk) inputOf(ctx context.Context, owner, file string) (b Batch, found bool, err error) {
	_, active, err := c.active(ctx, owner)
	if err != nil {
		return Batch{}, false, err
	}
	for _, e := range active.Batches {
		b, err := c.Find(ctx, owner, e.ID)
		switch {
		case errors.Is(err, task.ErrNotFound):
		case err != nil:
			return Batch{}, false, err
		case b.Spec.Input.File == file && !b.Complete():
			return b, true, nil
		}
	}
	return Batch{}, false, nil
}
