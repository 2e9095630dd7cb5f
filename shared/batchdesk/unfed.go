package batchdesk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/files"
	"errand/shared/task"
)

// Manifests opens manifests. It is safe for concurrent use.
type Manifests interface {
	// Open opens the manifest of an owner for reading, from a byte on. The caller closes it.
	Open(ctx context.Context, owner string, in batch.Input, offset int64) (io.ReadCloser, error)
}

// Errors about lines that have not been fed.
var (
	// ErrScanning says that nobody knows yet which lines a batch has. The caller asks again.
	ErrScanning = errors.New("batchdesk: the manifest of the batch is still being read")

	// ErrClosed says that the batch has ended before the line began: it never will.
	ErrClosed = errors.New("batchdesk: the batch ended before this line began")
)

// An Unfed is a line of a batch whose item has no record yet (R19g). It is a task all the
// same.
type Unfed struct {
	Batch Batch
	Line  int
}

// ID returns the id of the line's task.
func (u Unfed) ID() string { return task.ItemID(u.Batch.ID(), u.Line) }

// Unfed finds the line that the id of an item names, if there is no record of that id. It
// checks the id, the owner of the batch, and that the line can become an item. Errors:
// task.ErrNotFound, ErrScanning, and those of the stores.
func (c *Desk) Unfed(ctx context.Context, owner, id string) (Unfed, error) {
	of, line, ok := task.ItemOf(id)
	if !ok {
		return Unfed{}, task.ErrNotFound
	}
	b, err := c.Find(ctx, owner, of)
	if errors.Is(err, task.ErrDeleted) {
		err = task.ErrNotFound
	}
	switch {
	case err != nil:
		return Unfed{}, err
	case b.State.Lines == 0 && !b.Record.Terminal():
		return Unfed{}, ErrScanning
	case line > b.State.Lines, line <= b.State.Fed:
		return Unfed{}, task.ErrNotFound
	}

	runs, err := c.runs(ctx, b, line)
	if err == nil && !runs {
		err = task.ErrNotFound
	}
	return Unfed{b, line}, err
}

// runs reports whether a line is one of those that become items: it can run, and the batch whose
// failed lines run again has no answer to it.
func (c *Desk) runs(ctx context.Context, b Batch, line int) (bool, error) {
	bad, err := false, error(nil)
	if b.State.Bad > 0 {
		bad, err = c.among(ctx, batch.BadFile(b.ID()), line, func(text []byte) (int, error) {
			var bad batch.Bad
			err := json.Unmarshal(text, &bad)
			return bad.Line, err
		})
	}
	if bad || err != nil || b.Spec.Retry == "" {
		return !bad, err
	}

	answered, err := c.among(ctx, batch.CopiesSegment(b.ID(), (line-1)/batch.PerSegment), line, func(text []byte) (int, error) {
		return batch.LineOfResult(b.State.Dialect, text)
	})
	return !answered, err
}

// among reports whether a file of a batch has something about a line. Each of its lines is about
// one, in their order. A file that is not there has nothing.
func (c *Desk) among(ctx context.Context, name string, line int, of func(text []byte) (int, error)) (bool, error) {
	_, content, err := c.cfg.Files.Get(ctx, name)
	if errors.Is(err, files.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer content.Close()

	for buf := bufio.NewReader(content); ; {
		text, err := buf.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		n := 0
		if err == nil {
			n, err = of(text)
		}
		switch {
		case err != nil:
			return false, fmt.Errorf("reading %s: %w", name, err)
		case n >= line:
			return n == line, nil
		}
	}
}

// why is what a task says that never began.
const why = "The batch ended before this line began."

// Record returns what the task of the line is now: submitted, or canceled when the batch has
// ended. It is not stored anywhere.
func (u Unfed) Record() task.Record {
	id := a2a.TaskID(u.ID())
	at := u.Batch.Spec.At
	status := a2a.TaskStatus{State: a2a.TaskStateSubmitted, Timestamp: &at}
	if u.Batch.Record.Terminal() {
		end := u.Batch.Record.Stamp()
		say := a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(why))
		say.ID, say.TaskID, say.ContextID = string(id)+"-ended", id, u.Batch.ID()
		status = a2a.TaskStatus{State: a2a.TaskStateCanceled, Timestamp: &end, Message: say}
	}
	return task.Record{Owner: u.Batch.Record.Owner, Lane: task.Bulk, Task: &a2a.Task{ID: id, ContextID: u.Batch.ID(), Status: status}}
}

// Withhold makes the record of a line that its owner does not want: it has ended, and the
// feeder finds it. Errors: ErrClosed, and those of the desk. After any other error the caller
// asks again.
func (c *Desk) Withhold(ctx context.Context, u Unfed) error {
	if u.Batch.Record.Terminal() {
		return ErrClosed
	}
	return c.cfg.Desk.Withhold(ctx, u.Batch.Record, u.Line, a2a.TaskStateCanceled, "The task was canceled by its client.")
}

// WithholdItem is [Desk.Withhold] for the id of an item, with the errors of [Desk.Unfed]. A
// line that never will begin has nothing to make: task.ErrNotFound.
func (c *Desk) WithholdItem(ctx context.Context, owner, id string) error {
	u, err := c.Unfed(ctx, owner, id)
	if err == nil {
		err = c.Withhold(ctx, u)
	}
	if errors.Is(err, ErrClosed) {
		err = task.ErrNotFound
	}
	return err
}

// Begin makes the record of a line before its turn: the feeder finds it. Errors: ErrClosed,
// and those of the desk and of the manifest.
func (c *Desk) Begin(ctx context.Context, u Unfed) error {
	if u.Batch.Record.Terminal() {
		return ErrClosed
	}
	l, err := c.line(ctx, u)
	if err != nil {
		return fmt.Errorf("reading line %d of batch %s: %w", u.Line, u.Batch.ID(), err)
	}
	if err := (Feeder{c.cfg.Desk, c.cfg.Uploads, c.cfg.Objects, c.cfg.Form}).Feed(ctx, u.Batch.Record, u.Batch.State.Dialect, l); err != nil {
		return err
	}

	// A batch that has ended meanwhile ended the items that it found before this one was made.
	now, err := c.Find(ctx, u.Batch.Record.Owner, u.Batch.ID())
	switch {
	case err == nil && !now.Record.Terminal():
		return nil
	case err == nil, errors.Is(err, task.ErrNotFound):
		err = ErrClosed
	}
	return errors.Join(err, c.cfg.Desk.Withhold(ctx, u.Batch.Record, u.Line, a2a.TaskStateCanceled, why))
}

// line reads a line of a manifest.
func (c *Desk) line(ctx context.Context, u Unfed) (none batch.RawLine, err error) {
	offset, first, err := c.indexed(ctx, u.Batch.ID(), u.Line)
	if err != nil {
		return none, err
	}
	in, err := c.cfg.Manifests.Open(ctx, u.Batch.Record.Owner, u.Batch.Spec.Input, offset)
	if err != nil {
		return none, err
	}
	defer in.Close()

	for l, err := range batch.Lines(in, offset, first) {
		if err != nil {
			return none, err
		}
		if l.N == u.Line {
			l.Text = bytes.Clone(l.Text)
			return l, nil
		}
	}
	return none, errors.New("the manifest ends before it")
}

// indexed returns from where a line can be read.
func (c *Desk) indexed(ctx context.Context, id string, line int) (offset int64, first int, err error) {
	_, content, err := c.cfg.Files.Get(ctx, batch.IndexFile(id))
	if errors.Is(err, files.ErrNotFound) {
		return 0, 1, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer content.Close()
	var x batch.Index
	if err := json.NewDecoder(content).Decode(&x); err != nil {
		return 0, 0, err
	}
	offset, first = x.At(line)
	return offset, first, nil
}
