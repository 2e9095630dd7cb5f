package batchdesk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/task"
)

// A Batch is a batch as it is now: what was asked for, how far it is, and its task.
type Batch struct {
	Record task.Record
	Spec   batch.Spec
	State  batch.State // zero: nothing is known yet
}

// ID returns the id of the batch.
func (b Batch) ID() string { return b.Record.ID() }

// Complete reports whether the batch has ended and its files are whole.
func (b Batch) Complete() bool { return b.Record.Terminal() && (b.Record.Settled || b.State.Whole) }

// Checked reports whether it is known what the manifest has, or will not be known soon: the batch
// has ended, or waits for its client.
func (b Batch) Checked() bool {
	return b.Record.Terminal() || b.Record.Interrupted() || b.State.Lines > 0 && b.State.Error == ""
}

// Stopped reports whether the batch was canceled or has expired.
func (b Batch) Stopped() bool {
	switch b.Record.State() {
	case a2a.TaskStateCanceled:
		return true
	case a2a.TaskStateFailed:
		return batch.Unrun(b.Record, b.Spec) == batch.Expired
	}
	return false
}

// Message is what the batch says about its state; empty: nothing.
func (b Batch) Message() string {
	if m := b.Record.Task.Status.Message; m != nil {
		for _, p := range m.Parts {
			if t := p.Text(); t != "" {
				return t
			}
		}
	}
	return b.State.Error
}

// Find reads a batch of the owner, with two reads. Errors: task.ErrNotFound, also for the
// batch of another owner and for a task that is no batch, and those of the stores.
func (c *Desk) Find(ctx context.Context, owner, id string) (Batch, error) {
	if !task.IsBatch(id) {
		return Batch{}, task.ErrNotFound
	}
	r, err := task.Find(ctx, c.cfg.Store, owner, id)
	if err != nil {
		return Batch{}, err
	}
	return c.read(ctx, r)
}

// Await follows a batch until it is checked, or ctx ends, and returns it as far as it is known
// then. What cannot be read meanwhile is not known.
func (c *Desk) Await(ctx context.Context, b Batch) Batch {
	if b.Checked() {
		return b
	}
	for r := range task.Follow(ctx, c.cfg.Store, b.ID(), b.Record.Version) {
		now, err := c.read(ctx, r)
		if err != nil {
			continue
		}
		if b = now; b.Checked() {
			break
		}
	}
	return b
}

// read reads what belongs to the record of a batch.
func (c *Desk) read(ctx context.Context, r task.Record) (b Batch, err error) {
	b.Record = r
	if b.Spec, err = batch.SpecOf(r); err != nil {
		return b, err
	}

	e, err := c.cfg.KV.Get(ctx, batch.StateKey(r.ID()))
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return b, nil
	case err == nil:
		err = json.Unmarshal(e.Value, &b.State)
	}
	if err != nil {
		return b, fmt.Errorf("reading the state of batch %s: %w", r.ID(), err)
	}
	return b, nil
}
