package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"errand/shared/share"
)

var (
	errClosed = errors.New("closed")
	errFull   = errors.New("full")
)

// abandonAfter is how long Close waits for handlers that ignore the end of
// their context. A container gets 10 s from SIGTERM to SIGKILL.
const abandonAfter = 5 * time.Second

// A lane is a queue with limits of its own. It delivers parcels to a handler, those of each
// owner in the order in which they became ready and owners in turn, and retries each one
// until the answer is 2xx. Slots and places are shared among owners (R18). It has one
// goroutine for every running delivery, and a timer while a parcel waits for its time. An
// idle lane has neither.
type lane[M parcel] struct {
	name    string
	nonce   string // distinguishes the names of this process from those of the process before
	handler http.Handler
	limits  Limits
	refill  func(context.Context) // nil: dropped parcels stay dropped
	log     *slog.Logger

	ctx    context.Context // of every delivery
	cancel context.CancelFunc
	work   sync.WaitGroup // deliveries and the refill

	slots *share.Pool // of the deliveries that run

	mu        sync.Mutex
	backlog   backlog[M]
	running   int
	named     uint64
	timer     *time.Timer
	armed     time.Time // the time that the timer is set to; zero: not set
	dropped   bool      // the lane was full and dropped parcels since the last refill
	refilling bool
	closed    bool
}

func newLane[M parcel](name string, h http.Handler, limits Limits, log *slog.Logger) *lane[M] {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &lane[M]{
		name:    name,
		nonce:   rand.Text()[:10],
		handler: h,
		limits:  limits,
		log:     log.With("lane", name),
		ctx:     ctx,
		cancel:  cancel,
		slots:   share.NewPool(2 * int64(limits.Slots)),
		backlog: newBacklog[M](limits),
	}
}

// add enqueues every item that no waiting one covers. If there is no room for all of them,
// it enqueues none and returns errFull. All items belong to one owner.
func (l *lane[M]) add(items ...*item[M]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}

	now := time.Now()
	items = slices.DeleteFunc(items, func(it *item[M]) bool {
		if it.key != (key{}) && it.try.at.After(now) {
			it.key.at = it.try.at.UnixNano()
		}
		return l.backlog.covers(it)
	})

	err := l.backlog.reserve(items)
	if err != nil {
		if !l.dropped {
			l.log.Warn("lane full: dropping new deliveries", "waiting", l.backlog.size, "err", err)
		}
		l.dropped, items = true, nil
	}

	for _, it := range items {
		l.named++
		it.try.name = l.nonce + "-" + strconv.FormatUint(l.named, 10)
		if it.try.at.IsZero() {
			it.try.at = now
		}
		l.backlog.put(it, now)
	}

	l.dispatch()
	l.arm()
	return err
}

// dispatch starts waiting deliveries until no owner may have another slot.
func (l *lane[M]) dispatch() {
	for it := l.pop(); it != nil; it = l.pop() {
		l.work.Go(func() { l.run(it) })
	}
}

// pop takes the next delivery and a slot for it, or returns nil.
func (l *lane[M]) pop() *item[M] {
	it := l.backlog.pop(func(owner string) error { return l.slots.TakeWithin(owner, 1, l.limits.Most(owner)) })
	if it != nil {
		l.running++
	}
	return it
}

// run delivers an item, and then others until none may have a slot.
func (l *lane[M]) run(it *item[M]) {
	for it != nil {
		status := l.deliver(it)
		it = l.next(it, status)
	}
}

// next enqueues the retry of a failed delivery and frees its slot. It returns the next
// delivery, or nil. The slot may be one that other owners waited for.
func (l *lane[M]) next(done *item[M], status int) *item[M] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if status/100 == 2 || l.closed || !l.retry(done, status) {
		l.backlog.leave(done)
	}

	l.running--
	l.slots.Release(done.msg.owner(), 1)
	it := l.pop()
	l.dispatch()
	l.arm()
	l.drained()
	return it
}

// retry puts a failed delivery back, and reports whether it did. If the same job was added
// while this one ran, the waiting job gets this one's name and count, so that a record has
// one job in the lane.
func (l *lane[M]) retry(it *item[M], status int) bool {
	it.try.failed++
	if status < http.StatusInternalServerError {
		it.try.answered++
	}
	if it.try.failed >= l.limits.Attempts {
		l.log.Error("giving up on a delivery", "task", it.msg.subject(), "attempt", it.try.failed, "status", status)
		return false
	}

	now := time.Now()
	it.try.at = now.Add(l.limits.backoff(it.try.failed))
	if newer := l.backlog.find(it.key); newer != nil {
		at := newer.try.at
		newer.try = it.try
		newer.try.at = at
		return false
	}
	l.backlog.put(it, now)
	return true
}

// arm sets the timer to the first time in the agenda.
func (l *lane[M]) arm() {
	if len(l.backlog.agenda) == 0 {
		if !l.armed.IsZero() {
			l.timer.Stop()
			l.armed = time.Time{}
		}
		return
	}
	at := l.backlog.agenda[0].try.at
	if at.Equal(l.armed) {
		return
	}
	l.armed = at
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(at), l.tick)
		return
	}
	l.timer.Reset(time.Until(at))
}

// tick is called by the timer.
func (l *lane[M]) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = time.Time{}
	l.backlog.promote(time.Now())
	l.dispatch()
	l.arm()
	l.drained()
}

// drained starts a refill if the lane dropped parcels and holds less than half of its
// capacity again (R11).
func (l *lane[M]) drained() {
	if !l.dropped || l.refilling || l.closed || l.backlog.size*2 >= l.limits.Capacity {
		return
	}
	l.dropped = false
	if l.refill == nil {
		return
	}
	l.refilling = true
	l.work.Go(func() {
		l.guard("", func() { l.refill(l.ctx) })
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refilling = false
		l.drained() // the lane may have overflowed and drained meanwhile
	})
}

// stop ends dispatching and forgets the waiting parcels, which the records still owe.
func (l *lane[M]) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.backlog = newBacklog[M](l.limits)
	l.arm()
}

// wait returns when no delivery runs any more. When ctx is done, wait cancels the contexts of
// the deliveries that still run.
func (l *lane[M]) wait(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		l.work.Wait()
		close(ended)
	}()
	defer l.cancel()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	l.cancel()
	abandon := time.NewTimer(abandonAfter)
	defer abandon.Stop()
	select {
	case <-ended:
		return nil
	case <-abandon.C:
		l.mu.Lock()
		defer l.mu.Unlock()
		return fmt.Errorf("closing lane %s: %d deliveries ignore the end of their context", l.name, l.running)
	}
}
