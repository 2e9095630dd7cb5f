package batchdesk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/task"
)

// list writes the place of a batch in the owner's list, before its record: a process that dies
// between the two leaves an entry that no list shows.
func (c *Desk) list(ctx context.Context, owner string, s batch.Spec, ends time.Time) error {
	_, err := c.cfg.KV.Put(ctx, kv.Entry{Key: s.Entry(owner).Key(owner), Owner: owner, Expires: ends})
	if errors.Is(err, kv.ErrConflict) { // an equal submission of the same millisecond
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing a batch: %w", err)
	}
	return nil
}

// unlist removes the entry of a submission that met the batch of an earlier one. If that
// fails, the entry is passed over until it expires.
func (c *Desk) unlist(ctx context.Context, owner string, s batch.Spec, found task.Record) {
	if earlier, err := batch.SpecOf(found); err != nil || earlier.At.Equal(s.At) {
		return
	}
	if err := c.cfg.KV.Delete(context.WithoutCancel(ctx), s.Entry(owner).Key(owner), 0); err != nil {
		c.cfg.Log.InfoContext(ctx, "the entry of a submission stays until it expires", "task", found.ID(), "err", err)
	}
}

// loads is how many batches of a page are read at once.
const loads = 8

// List returns one page of the owner's batches, newest first, without deleted ones. after is
// the more of the page before, or empty. more is empty if the list ends here. A page may be
// shorter than limit though there are more, but moves on.
//
// Its time depends on the number of batches in the page, and not on that of the owner's tasks:
// it reads the entries of the page, and a record and a state for each.
func (c *Desk) List(ctx context.Context, owner, after string, limit int) (page []Batch, more string, err error) {
	keys, err := c.entries(ctx, owner, after, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("listing batches: %w", err)
	}
	if len(keys) > limit {
		keys = keys[:limit]
		more = keys[limit-1]
	}

	found := make([]*Batch, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loads)
	for i, key := range keys {
		group.Go(func() (err error) {
			found[i], err = c.listed(ctx, owner, key)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, "", err
	}

	for _, b := range found {
		if b != nil {
			page = append(page, *b)
		}
	}
	return page, more, nil
}

// entries lists keys of an owner's list. There are no more if they are fewer than limit.
func (c *Desk) entries(ctx context.Context, owner, after string, limit int) (keys []string, err error) {
	for len(keys) < limit {
		list, err := c.cfg.KV.List(ctx, batch.ListFolder(owner), after, limit-len(keys))
		if err != nil || len(list) == 0 {
			return keys, err
		}
		for _, e := range list {
			keys = append(keys, e.Key)
		}
		after = keys[len(keys)-1]
	}
	return keys, nil
}

// listed reads the batch of an entry; nil if there is none.
func (c *Desk) listed(ctx context.Context, owner, key string) (*Batch, error) {
	e, ok := batch.EntryOf(owner, key)
	if !ok {
		return nil, nil
	}
	b, err := c.Find(ctx, owner, e.ID)
	switch {
	case errors.Is(err, task.ErrNotFound), errors.Is(err, task.ErrUnreadable), err == nil && !b.Spec.At.Equal(e.At):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &b, nil
}
