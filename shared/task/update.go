package task

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A Decision is one change of a record. changed is false if nothing must be written,
// because the record is already as it should be. When the write was refused or its answer
// was lost, the Decision is called again with a newer record, so it must be idempotent: it
// must recognise its own effect.
type Decision func(Record) (next Record, changed bool, err error)

const updateTries = 10

// Load reads a record that has work. If the store does not answer, the error is ErrAway. A
// caller that has gone meanwhile says nothing about the store.
func Load(ctx context.Context, store Store, id string) (Record, error) {
	r, err := store.Load(ctx, id)
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnreadable) || errors.Is(err, ErrNewer) || ctx.Err() != nil {
		return r, err
	}
	return r, fmt.Errorf("%w: %w", ErrAway, err)
}

// Update loads the record, decides and commits. After a refused or unknown write it reads
// and decides again, with jitter, up to ten times (R0). An error of the decision ends it at
// once.
func Update(ctx context.Context, store Store, id string, decide Decision) (Record, error) {
	r, err := Load(ctx, store, id)
	return update(ctx, store, id, r, err, decide)
}

// UpdateFrom is Update for a caller that has just read the record.
func UpdateFrom(ctx context.Context, store Store, r Record, decide Decision) (Record, error) {
	return update(ctx, store, r.ID(), r, nil, decide)
}

func update(ctx context.Context, store Store, id string, r Record, err error, decide Decision) (Record, error) {
	for try := 1; ; try++ {
		if err == nil {
			next, changed, derr := decide(r)
			if derr != nil || !changed {
				return next, derr
			}
			if next, err = store.Commit(ctx, next); err == nil {
				return next, nil
			}
			if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNewer) {
				return Record{}, err
			}
		}
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnreadable) || try == updateTries {
			return Record{}, fmt.Errorf("updating task %s: %w", id, err)
		}
		if err := pause(ctx, try); err != nil {
			return Record{}, err
		}
		r, err = Load(ctx, store, id)
	}
}

// pause waits a little longer each time: from 1 ms to about a second, half of it random.
func pause(ctx context.Context, try int) error {
	d := time.Millisecond << min(try, 10)
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
