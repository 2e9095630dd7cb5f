// Package share divides among owners what a process has once for all of them: slots, bytes,
// places in a line (design R18).
//
// Of every shared thing an owner may hold at most as much as is free, and an owner that holds
// nothing gets all that fits. So one owner alone gets half, K owners get 1/(K+1) each, and as
// much is always free for the next one: nothing has to be taken back from work that cannot be
// interrupted. A size is therefore twice what one owner shall have.
//
// It counts exactly, within one process. It never waits, keeps nothing on disk, and does not
// know who an owner is.
package share

import (
	"errors"
	"math"
	"sync"
)

// Reasons for which a Pool gives nothing.
var (
	// ErrOwn: the owner holds its share. More is there when the owner has released some of
	// it, or when others have.
	ErrOwn = errors.New("the owner holds its share")

	// ErrFull: all owners together hold so much that what is wanted does not fit.
	ErrFull = errors.New("all owners together hold too much")
)

// A Pool is one thing that owners share. It is safe for concurrent use.
//
// The owner "" is nobody in particular: the program itself, or many callers behind one name.
// It has no share, and gets all that fits.
type Pool struct {
	size int64

	mu   sync.Mutex
	held int64            // by all owners
	by   map[string]int64 // by each owner that holds something
}

// NewPool returns a Pool of the given size, in units of its user.
func NewPool(size int64) *Pool { return &Pool{size: size, by: map[string]int64{}} }

// Take takes n for an owner, or returns ErrOwn or ErrFull and takes nothing. The caller gives
// it back with [Pool.Release].
func (p *Pool) Take(owner string, n int64) error { return p.TakeWithin(owner, n, math.MaxInt64) }

// TakeWithin is Take for an owner that may hold most at most, even if more is free.
func (p *Pool) TakeWithin(owner string, n, most int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.by[owner]
	switch free := p.size - p.held - n; {
	case free < 0:
		return ErrFull
	case own > 0 && own+n > free, own+n > most:
		return ErrOwn
	}
	p.held += n
	if owner != "" {
		p.by[owner] = own + n
	}
	return nil
}

// Release gives back n of what the owner has taken.
func (p *Pool) Release(owner string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held -= n
	if p.by[owner] -= n; p.by[owner] <= 0 {
		delete(p.by, owner)
	}
}

// Held returns what the owner holds; 0 for nobody in particular.
func (p *Pool) Held(owner string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.by[owner]
}
