package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"errand/shared/keys"
)

// wakeKeys makes the keys of the URLs by which waiting calls are woken. A message is accepted
// without one if the ring cannot be read.
type wakeKeys struct {
	ring func(context.Context) (keys.Ring, error)
	log  *slog.Logger

	mu   sync.Mutex
	read keys.Ring
	ok   bool      // read is a ring
	next time.Time // the ring is not read again before
}

const (
	ringFor   = 500 * time.Millisecond // for reading the ring
	ringFresh = 10 * time.Second       // how long a ring is used: every key is announced a while before its use
	ringAgain = time.Minute            // after it could not be read
)

// key makes the key of one life of a task.
func (w *wakeKeys) key(ctx context.Context, life string) string {
	now := time.Now()
	ring, ok := w.current(ctx, now)
	if !ok {
		return ""
	}
	return ring.WakeKey(now, life)
}

// current returns the ring, and false if it cannot be read. While one caller reads it, the
// others wait for that.
func (w *wakeKeys) current(ctx context.Context, now time.Time) (keys.Ring, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Before(w.next) {
		return w.read, w.ok
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ringFor)
	defer cancel()
	ring, err := w.ring(ctx)
	w.read, w.ok, w.next = ring, err == nil, now.Add(ringFresh)
	if err != nil {
		w.next = now.Add(ringAgain)
		w.log.WarnContext(ctx, "messages are accepted, but their tools get no URL to be woken by, and those that wait go on at their own time", "err", err)
	}
	return w.read, w.ok
}
