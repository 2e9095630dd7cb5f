package catalogue

import (
	"context"
	"errors"
	"sync"
	"time"

	"errand/shared/kv"
)

const (
	refreshFor = 20 * time.Second // the time of one Refresh
	owners     = 16               // whose cards it reads at once, each one's after another
)

// Refresh looks for the cards whose turn it is, and notes what has become of them. It returns how many
// it has looked at. Those that it does not reach in its time are first the next time. The agents of each
// owner are looked at one after another, so those of one owner that do not answer delay only that
// owner's. Additional refreshes are harmless.
func (c *Catalogue) Refresh(ctx context.Context) (int, error) {
	if !c.cfg.Policy.Catalogue().On {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, refreshFor)
	defer cancel()
	byOwner, now, err := c.dueByOwner(ctx)
	if err != nil || len(byOwner) == 0 {
		return 0, err
	}

	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		done []string
		errs []error
	)

	free := make(chan struct{}, owners)

	for _, of := range byOwner {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			for _, i := range of {
				ok, err := c.refresh(ctx, i, now)
				mu.Lock()
				if ok {
					done = append(done, i.ID)
				}
				errs = append(errs, err)
				mu.Unlock()

				if ctx.Err() != nil {
					return
				}
			}
		})
	}
	wait.Wait()

	if len(done) > 0 { // also if the time is over: others must see it
		errs = append(errs, c.announce(context.WithoutCancel(ctx), done...))
	}
	return len(done), errors.Join(errs...)
}

// dueByOwner returns the entries whose turn it is, those of the owner who has waited longest first.
func (c *Catalogue) dueByOwner(ctx context.Context) (all [][]*item, now time.Time, err error) {
	list, _, err := c.now(ctx, true)
	now = c.cfg.Now()
	if err != nil {
		return nil, now, err
	}
	of := map[string]int{}
	for _, i := range byAge(list) {
		if !i.due(now) {
			break
		}
		at, ok := of[i.Owner]
		if !ok {
			at = len(all)
			of[i.Owner], all = at, append(all, nil)
		}
		all[at] = append(all[at], i)
	}
	return all, now, nil
}

// refresh looks for the card of one entry. ok reports that the entry was written.
func (c *Catalogue) refresh(ctx context.Context, i *item, now time.Time) (ok bool, err error) {
	doc, tag, err := c.read(ctx, i.Entry)
	if ctx.Err() != nil {
		return false, nil // the time of the refresh is over: that says nothing about the agent
	}
	next := checked(c.cfg.Policy.Catalogue(), i.Entry, now, doc, tag, err)

	c.writing.Lock()
	defer c.writing.Unlock()
	err = c.put(ctx, next, i.version)
	if full := (*FullError)(nil); errors.As(err, &full) {
		next = checked(c.cfg.Policy.Catalogue(), i.Entry, now, nil, "", errFault)
		next.Why = "the card has grown: " + full.Limit + " is reached"
		err = c.put(ctx, next, i.version)
	}
	if errors.Is(err, kv.ErrConflict) {
		return false, nil // somebody else has just registered, withdrawn or refreshed it
	}
	return err == nil, err
}
