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

// Follow yields the versions of a record that are newer than the given one. Versions may be
// skipped, the newest never. Follow begins a broken watch again. It ends with ctx. If it ends
// before ctx, the record is gone. Between two versions it holds no record.
func Follow(ctx context.Context, store Store, id string, version int64) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		last := version
		for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
			for now, err := range store.Watch(ctx, id) {
				switch {
				case errors.Is(err, ErrNotFound):
					return
				case err != nil:
					continue // the error is the last value
				}

				wait = firstRetry
				if now.Version <= last { // older than the given one, or repeated by a new watch
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
