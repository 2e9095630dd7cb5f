package batchdesk

import (
	"context"
	"errors"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/objects"
	"errand/shared/task"
	"errand/shared/uploads"
)

// A Feeder makes the tasks of lines: the run of a batch has it make them in their order, and a
// [Desk] one that a client names before its turn. All fields but Objects are required.
type Feeder struct {
	Desk    *desk.Desk
	Uploads *uploads.Store
	Objects objects.Guarded // judges the URLs of lines; zero: no line names an object
	Form    batch.Form
}

// Feed makes the task of a line, with the files that the line names kept for it. A line that
// cannot run has a task that has failed and says why. Errors: those of the desk and of the
// uploads, after which the caller feeds the line again.
func (f Feeder) Feed(ctx context.Context, of task.Record, d batch.Dialect, line batch.RawLine) error {
	it, bad := f.Form.Parse(d, line.N, line.Text)
	if bad != nil { // the agent has changed since the scan
		return f.Desk.Withhold(ctx, of, line.N, a2a.TaskStateFailed, bad.Reason)
	}

	err := f.Desk.Feed(ctx, desk.Item{
		Batch: of, Line: line.N, Message: it.For(of.ID()), Metadata: it.Metadata,
		Prepare: func(ctx context.Context, id string) error {
			return keepFiles(ctx, f.Uploads, f.Objects, of.Owner, id, it)
		},
	})
	fault, ok := errors.AsType[*FieldError](err)
	switch {
	case ok:
		return f.Desk.Withhold(ctx, of, line.N, a2a.TaskStateFailed, fault.Error())
	case errors.Is(err, task.ErrTooLarge):
		return f.Desk.Withhold(ctx, of, line.N, a2a.TaskStateFailed, "The line is too large for a task.")
	}
	return err
}

// KeepFiles keeps the files that a line names for the task that it becomes. The error is a
// *FieldError if one is not there, or the agent does not read it, or a URL of the line may not be
// passed on for the owner.
func (c *Desk) KeepFiles(ctx context.Context, owner, id string, it batch.Item) error {
	return keepFiles(ctx, c.cfg.Uploads, c.cfg.Objects, owner, id, it)
}

func keepFiles(ctx context.Context, store *uploads.Store, may objects.Guarded, owner, id string, it batch.Item) error {
	for _, l := range it.URLs {
		if err := may.Pass(owner, l.URL); err != nil {
			return &FieldError{l.Field, err.Error()}
		}
	}

	for _, n := range it.Files {
		f, err := store.Keep(ctx, owner, n.ID, id, time.Time{})
		switch {
		case errors.Is(err, uploads.ErrNotFound):
			return &FieldError{n.Field, "names no file of yours: upload it with POST /files"}
		case errors.Is(err, uploads.ErrAwaited):
			return &FieldError{n.Field, "names a file whose content was not sent"}
		case err != nil:
			return err
		case !n.Reads(f.MediaType):
			return &FieldError{n.Field, "names a file of a type that this agent does not read: it reads " + n.Types()}
		}
	}
	return nil
}
