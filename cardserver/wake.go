package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"errand/shared/keys"
)

// wakeKeys makes the keys of the URLs by which waiting calls are woken. A message is accepted
// without one if the ring cannot be read.
type wakeKeys struct {
	ring func(context.Context) (keys.Ring, error)
	log  *slog.Logger
	next atomic.Pointer[time.Time] // the ring is not read before; nil: it could be read
}

const (
	ringFor   = 500 * time.Millisecond // for reading the ring
	ringAgain = time.Minute            // after it could not be read
)

// key makes the key of one life of a task.
func (w *wakeKeys) key(ctx context.Context, life string) string {
	now := time.Now()
	if next := w.next.Load(); next != nil && now.Before(*next) {
		return ""
	}

	ctx, cancel := context.WithTimeout(ctx, ringFor)
	defer cancel()
	ring, err := w.ring(ctx)
	if err != nil {
		next := now.Add(ringAgain)
		w.next.Store(&next)
		w.log.WarnContext(ctx, "messages are accepted, but their tools get no URL to be woken by, and those that wait go on at their own time", "err", err)
		return ""
	}
	w.next.Store(nil)
	return ring.WakeKey(now, life)
}
