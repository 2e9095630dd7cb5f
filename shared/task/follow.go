package task

import (
	"context"
	"errors"
	"iter"
	"time"
)

// The backoff before Follow begins a broken watch again.
const (
	firstRetry = time.Second
	lastRetry  = 10 * time.Second
)

// Follow yields the versions of a record that are newer than r. Versions may be skipped,
// the newest never. Follow begins a broken watch again. It ends with ctx; if it ends before
// ctx, the record is gone.
func Follow(ctx context.Context, store Store, r Record) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		last := r.Version
		for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
			for now, err := range store.Watch(ctx, r.ID()) {
				switch {
				case errors.Is(err, ErrNotFound):
					return
				case err != nil:
					continue // the error is the last value
				}

				wait = firstRetry
				if now.Version <= last { // older than r, or repeated by a new watch
					continue
				}
				if last = now.Version; !yield(now) {
					return
				}
			}

			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	}
}
