package keys

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Waker makes the keys of the URLs by which waiting calls are woken, for programs that accept
// messages. A message is accepted without one if the ring cannot be read. It is safe for
// concurrent use.
type Waker struct {
	ring func(context.Context) (Ring, error)
	log  *slog.Logger

	mu   sync.Mutex
	read Ring
	ok   bool      // read is a ring
	next time.Time // the ring is not read again before
}

const (
	ringFor   = 500 * time.Millisecond // for reading the ring
	ringFresh = 10 * time.Second       // how long a ring is used: every key is announced a while before its use
	ringAgain = time.Minute            // after it could not be read
)

// NewWaker makes a Waker, which reads the ring when it is asked for a key.
func NewWaker(ring func(context.Context) (Ring, error), log *slog.Logger) *Waker {
	return &Waker{ring: ring, log: log}
}

// Key makes the key of one life of a task, TASK/LIFE; empty if the ring cannot be read.
func (w *Waker) Key(ctx context.Context, life string) string {
	now := time.Now()
	ring, ok := w.current(ctx, now)
	if !ok {
		return ""
	}
	return ring.WakeKey(now, life)
}

// current returns the ring, and false if it cannot be read. While one caller reads it, the
// others wait for that.
func (w *Waker) current(ctx context.Context, now time.Time) (Ring, bool) {
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
