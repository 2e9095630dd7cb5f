package batchdesk

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/task"
)

// Errors of changes. The batch is as it was.
var (
	// ErrEnded says that the batch has ended.
	ErrEnded = errors.New("batchdesk: the batch has ended")

	// ErrRunning says that the batch has not ended, or that its files are not whole yet.
	ErrRunning = errors.New("batchdesk: the batch has not ended")

	// ErrStopping says that the batch was stopped, and that its files are not whole yet.
	ErrStopping = errors.New("batchdesk: the batch is being stopped")

	// ErrNothing says that the batch has no line that can be run again.
	ErrNothing = errors.New("batchdesk: no line of the batch failed")
)

// Pause has the batch feed no more items: its task waits for a message. A batch that waits
// already stays as it is. Errors: task.ErrNotFound, ErrEnded, and those of the stores.
func (c *Desk) Pause(ctx context.Context, owner, id string) (Batch, error) {
	b, err := c.Find(ctx, owner, id)
	if err != nil {
		return b, err
	}

	b.Record, err = c.cfg.Desk.Change(ctx, b.Record, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		return r.Suspend(now, a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart("The batch is paused. Items that run go on. Resume it, or send a message with {\"batch\": {}}.")))
	})
	if errors.Is(err, task.ErrTerminal) {
		err = ErrEnded
	}
	return b, err
}

// Resume has a batch go on that waits, and sets its budget if one is given. A batch that does
// not wait and has this budget stays as it is. Errors: *FieldError, those of Pause, and
// those of the desk.
func (c *Desk) Resume(ctx context.Context, owner, id string, budget *batch.Budget) (Batch, error) {
	if err := c.CheckBudget(budget); err != nil {
		return Batch{}, err
	}
	b, err := c.Find(ctx, owner, id)
	switch {
	case err != nil:
		return b, err
	case b.Record.Terminal():
		return b, ErrEnded
	}

	data, err := batch.Wish{Budget: budget}.Data()
	if err != nil {
		return b, err
	}
	text, err := json.Marshal(data)
	if err != nil {
		return b, err
	}
	if !b.Record.Interrupted() && (budget == nil || budget.Equal(batch.BudgetOf(b.Record))) {
		return b, nil
	}

	// Two equal requests about the batch as it is are one message.
	m := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewDataPart(data))
	m.TaskID, m.ID = b.Record.Task.ID, fmt.Sprintf("resume-%d-%x", len(b.Record.Requests), sha256.Sum256(text))
	b.Record, err = c.cfg.Desk.Accept(ctx, desk.Message{Owner: owner, Message: m})
	if errors.Is(err, task.ErrTerminal) {
		err = ErrEnded
	}
	return b, err
}

// Cancel ends a batch at its owner's request (R8). What it leaves behind is ended later. A
// batch that has ended stays as it is, which is no error.
func (c *Desk) Cancel(ctx context.Context, owner, id string) (Batch, error) {
	b, err := c.Find(ctx, owner, id)
	if err != nil {
		return b, err
	}
	b.Record, err = c.cfg.Desk.Change(ctx, b.Record, canceled)
	if errors.Is(err, task.ErrTerminal) {
		err = nil
	}
	return b, err
}

func canceled(r task.Record, now task.Moment) (task.Record, bool, error) {
	return r.Cancel(now, a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart("The batch was canceled by its client.")), nil)
}
