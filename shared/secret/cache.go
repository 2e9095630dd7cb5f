package secret

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// A Cache is a Source in front of one that is slow and costs money. Its values were read at
// most Age ago; while From cannot be reached, at most Stale ago. A version that was
// disabled or destroyed is gone within Age.
type Cache struct {
	From  Source
	Age   time.Duration    // default 5 minutes
	Stale time.Duration    // default an hour
	Now   func() time.Time // default time.Now

	flight singleflight.Group
	mu     sync.Mutex
	kept   map[Ref]kept
}

type kept struct {
	value Value
	at    time.Time // when it was asked for
}

// maxKept bounds a cache whose names come from elsewhere; a program has a handful.
const maxKept = 1000

// readFor bounds one reading, which may serve several callers and ends with none of them.
const readFor = 10 * time.Second

// Get implements Source.
func (c *Cache) Get(ctx context.Context, ref Ref) (Value, error) {
	if err := ref.Check(); err != nil {
		return Value{}, err
	}
	if v, ok := c.get(ref, orElse(c.Age, 5*time.Minute)); ok {
		return v, nil
	}

	read := c.flight.DoChan(ref.Name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readFor)
		defer cancel()
		at := c.now()
		v, err := c.From.Get(ctx, ref)
		c.put(ref, kept{v, at}, err)
		return v, err
	})

	select {
	case <-ctx.Done():
		return Value{}, context.Cause(ctx)

	case r := <-read:
		if r.Err == nil {
			return r.Val.(Value), nil
		}
		if v, ok := c.get(ref, orElse(c.Stale, time.Hour)); ok {
			return v, nil
		}
		return Value{}, r.Err
	}
}

func (c *Cache) get(ref Ref, age time.Duration) (Value, bool) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[ref]
	return k.value, ok && now.Sub(k.at) < age
}

// put keeps a value. A failure leaves the old value, unless the source answers that there
// is no such secret.
func (c *Cache) put(ref Ref, k kept, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrTooLarge):
		delete(c.kept, ref)
	case err != nil:
	default:
		if c.kept == nil || len(c.kept) >= maxKept {
			c.kept = map[Ref]kept{}
		}
		c.kept[ref] = k
	}
}

func (c *Cache) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
