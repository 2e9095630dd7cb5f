// Package limits refuses what a caller may not have more of: tasks that wait, stored bytes,
// streams, tokens of the model. The access file says how much each caller may have.
//
// The rate of requests is not here but where callers are identified (shared/auth), and turns
// are shared by the queue.
package limits

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"errand/shared/auth"
	"errand/shared/share"
	"errand/shared/task"
)

// Places is how many streams and waits one process has for all callers together. A caller
// may hold as many as are free (R18), and its own limit.
const Places = 4096

// Config is the configuration of Limits. Of and Holder have no default.
type Config struct {
	Of     func(owner string) auth.Limits
	Holder task.Holder

	// Files returns the bytes of an owner's files, which are stored bytes too. Default: there are
	// no files.
	Files func(ctx context.Context, owner string) (int64, error)

	// Tokens returns how long an owner has to wait whose tokens of today are used up; 0: they
	// are not. Default: no limit of tokens is kept.
	Tokens func(ctx context.Context, owner string) (time.Duration, error)

	Now func() time.Time // default: time.Now
	Log *slog.Logger     // default: discards
}

// Limits knows what callers have. It is safe for concurrent use.
type Limits struct {
	cfg    Config
	places *share.Pool

	mu    sync.Mutex
	looks map[string]*look // by owner
}

// New makes Limits.
func New(c Config) *Limits {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Limits{cfg: c, places: share.NewPool(Places), looks: map[string]*look{}}
}

// Enter takes a place for a stream or a wait, which leave gives back. The error is a refusal.
func (l *Limits) Enter(owner string) (leave func(), err error) {
	most := l.cfg.Of(owner).Streams
	switch err := l.places.TakeWithin(owner, 1, most); err {
	case nil:
		return func() { l.places.Release(owner, 1) }, nil
	case share.ErrFull:
		return nil, &auth.Refusal{
			Status: http.StatusServiceUnavailable, By: "limit streams", Reason: "no place for another stream", After: placeAfter,
			Message: fmt.Sprintf("all %d streams and waits of this server are taken; try again, or ask for the task from time to time", Places),
		}
	default:
		return nil, auth.Limited("streams", placeAfter,
			fmt.Sprintf("you have %d streams and waits here, and may have no more; end some, or ask for the task from time to time", l.places.Held(owner)))
	}
}

// placeAfter is when a client may ask for a place again.
const placeAfter = 2 * time.Second

// Admit returns a refusal if the owner may not add a message: too many of its tasks wait, its
// tasks take too many bytes, or the day's tokens are used up. It rarely asks the store for an
// owner that sends a few messages within a minute.
func (l *Limits) Admit(ctx context.Context, owner string) error {
	most := l.cfg.Of(owner)
	if err := l.tokens(ctx, owner, most.TokensPerDay); err != nil {
		return err
	}
	if most.Waiting == auth.None && most.Stored == auth.None {
		return nil
	}

	k := l.look(owner)
	k.mu.Lock()
	defer k.mu.Unlock()
	now := l.cfg.Now()
	if k.passes(now) {
		return nil
	}
	if !k.due(now, most.Waiting) {
		return k.verdict(most)
	}

	counted := most.Waiting
	if counted == auth.None {
		counted = 0 // the bytes are of interest only, and a count costs as much as it counts
	}
	held, err := l.cfg.Holder.Held(ctx, owner, int(counted))
	if err == nil && l.cfg.Files != nil && most.Stored != auth.None {
		var bytes int64
		bytes, err = l.cfg.Files(ctx, owner)
		held.Bytes = max(held.Bytes, 0) + bytes
	}
	if err != nil {
		l.cfg.Log.WarnContext(ctx, "the limits of a caller cannot be checked, and are not applied", "err", err)
		return nil
	}
	k.saw(now, held)
	return k.verdict(most)
}

// ForFiles returns how many bytes the files of an owner may take together: what its tasks leave
// of its limit of stored bytes. Where the store does not count the bytes of tasks, it is the
// whole limit.
func (l *Limits) ForFiles(ctx context.Context, owner string) (int64, error) {
	most := l.cfg.Of(owner).Stored
	if most == auth.None {
		return most, nil
	}
	held, err := l.cfg.Holder.Held(ctx, owner, 0)
	return max(0, most-max(held.Bytes, 0)), err
}

func (l *Limits) tokens(ctx context.Context, owner string, most int64) error {
	if most == auth.None || l.cfg.Tokens == nil {
		return nil
	}

	wait, err := l.cfg.Tokens(ctx, owner)
	if err != nil {
		l.cfg.Log.WarnContext(ctx, "the tokens of a caller cannot be counted, and their limit is not applied", "err", err)
	}
	if err != nil || wait <= 0 {
		return nil
	}
	return auth.Limited("tokensPerDay", wait,
		fmt.Sprintf("your tasks have used the %d tokens of this day, which ends at midnight UTC; send the message then", most))
}

// look finds what is known of an owner.
func (l *Limits) look(owner string) *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.looks[owner]
	if k == nil {
		if len(l.looks) >= manyOwners {
			l.looks = map[string]*look{} // each costs a look at the store at most
		}
		k = &look{}
		l.looks[owner] = k
	}
	return k
}

// manyOwners bounds the owners that are remembered.
const manyOwners = 10_000
