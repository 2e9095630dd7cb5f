package batchdesk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/task"
)

// enterTries bounds the writes of an entry that other submissions write at the same time.
const enterTries = 20

// enter notes that a batch of the owner is about to be made, unless as many others have not
// ended as may be.
//
// No owner passes the limit. One entry names the owner's batches that may not have ended, at
// most MaxActive of them, and is only ever replaced by its version. A record is made only within
// MakeWithin after its id was entered. An id is dropped only when its record has ended, which it
// does once, or when there is no record and it was entered longer ago than any submission takes.
// So a record that has not ended is named there.
func (c *Desk) enter(ctx context.Context, owner, id string) error {
	for range enterTries {
		entry, active, err := c.active(ctx, owner)
		if err != nil {
			return err
		}

		next, ok := active.Enter(id, c.cfg.Desk.Now())
		if !ok {
			if active, err = c.drop(ctx, owner, active); err != nil {
				return err
			}
			if next, ok = active.Enter(id, c.cfg.Desk.Now()); !ok {
				return ErrActive
			}
		}

		if entry.Value, err = json.Marshal(next); err != nil {
			return err
		}
		if _, err = c.cfg.KV.Put(ctx, entry); !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("entering batch %s: %w", id, kv.ErrConflict)
}

// active reads the entry of an owner, or makes a new one.
func (c *Desk) active(ctx context.Context, owner string) (kv.Entry, batch.Active, error) {
	e, err := c.cfg.KV.Get(ctx, batch.ActiveKey(owner))
	if errors.Is(err, kv.ErrNotFound) {
		e, err = kv.Entry{Key: batch.ActiveKey(owner), Owner: owner}, nil
	}

	var a batch.Active
	if err == nil && len(e.Value) > 0 {
		err = json.Unmarshal(e.Value, &a)
	}
	if err != nil {
		return e, a, fmt.Errorf("reading the batches that have not ended: %w", err)
	}

	e.Expires = c.cfg.Desk.Now().Add(batch.MaxDeadline + 24*time.Hour) // all of them have ended by then
	return e, a, nil
}

// drop removes the batches that have ended.
func (c *Desk) drop(ctx context.Context, owner string, a batch.Active) (batch.Active, error) {
	ended, missing := map[string]bool{}, map[string]bool{}
	for _, e := range a.Batches {
		r, err := task.Find(ctx, c.cfg.Store, owner, e.ID)
		switch {
		case errors.Is(err, task.ErrDeleted):
			ended[e.ID] = true
		case errors.Is(err, task.ErrNotFound):
			missing[e.ID] = true
		case err != nil:
			return a, err
		default:
			ended[e.ID] = r.Terminal()
		}
	}

	return a.Drop(c.cfg.Desk.Now(), func(id string) bool { return ended[id] }, func(id string) bool { return missing[id] }), nil
}
