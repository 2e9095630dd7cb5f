package share

import (
	"container/list"
	"context"
	"sync"
)

// A Line is a [Pool] with a place to wait. Each owner has a line, first come, first served,
// and the lines are served in turn. It is safe for concurrent use.
//
// A waiter that would fit but for the size of the Pool is not overtaken by smaller ones. One
// whose owner holds its share is.
type Line struct {
	pool *Pool

	mu    sync.Mutex
	lines map[string]*list.Element // of turns, by owner; no empty ones
	turns list.List                // of *waiters; the first one is served next
}

// waiters are those of one owner.
type waiters struct {
	owner string
	list.List
}

// A waiter waits for n.
type waiter struct {
	n       int64
	entered chan struct{} // closed when it has them
}

// NewLine returns a Line before a Pool of the given size. Nothing larger than the size may
// enter.
func NewLine(size int64) *Line { return &Line{pool: NewPool(size), lines: map[string]*list.Element{}} }

// Take takes n for an owner without waiting, before those who wait. It returns ErrOwn or
// ErrFull if it does not fit, and [Line.Leave] gives it back.
func (l *Line) Take(owner string, n int64) error { return l.pool.Take(owner, n) }

// Enter takes n for an owner, and waits for it until ctx ends. The error is that of ctx, and
// then nothing is taken. The caller gives n back with [Line.Leave].
func (l *Line) Enter(ctx context.Context, owner string, n int64) error {
	l.mu.Lock()
	if l.turns.Len() == 0 && l.pool.Take(owner, n) == nil {
		l.mu.Unlock()
		return nil
	}

	w := &waiter{n: n, entered: make(chan struct{})}
	e := l.lines[owner]
	if e == nil {
		e = l.turns.PushBack(&waiters{owner: owner})
		l.lines[owner] = e
	}
	own := e.Value.(*waiters)
	place := own.PushBack(w)
	l.serve()
	l.mu.Unlock()

	select {
	case <-w.entered:
		return nil
	case <-ctx.Done():
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.entered: // at the same moment
		l.pool.Release(owner, n)
	default:
		own.Remove(place)
		if own.Len() == 0 {
			l.turns.Remove(e)
			delete(l.lines, owner)
		}
	}
	l.serve()
	return ctx.Err()
}

// Leave gives back n of what the owner has taken.
func (l *Line) Leave(owner string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pool.Release(owner, n)
	l.serve()
}

// serve lets waiters in, one of each line in turn, until none may enter.
func (l *Line) serve() {
	for e := l.turns.Front(); e != nil; {
		own := e.Value.(*waiters)
		w := own.Front().Value.(*waiter)
		switch l.pool.Take(own.owner, w.n) {
		case ErrFull:
			return
		case ErrOwn:
			e = e.Next()
			continue
		}

		close(w.entered)
		own.Remove(own.Front())
		if own.Len() > 0 {
			l.turns.MoveToBack(e)
		} else {
			l.turns.Remove(e)
			delete(l.lines, own.owner)
		}
		e = l.turns.Front()
	}
}
