// Package memory bounds the memory of work whose size others decide: of requests, answers,
// turns and deliveries. Each kind of work shares one Pool of a process, and a piece of work
// takes from it before it uses the memory. Owners share a Pool as package share has it.
//
// It allocates nothing and measures nothing. A charge is an estimate by the caller: the
// bytes of a text, and ValueCost for each JSON value that is decoded.
package memory

import (
	"context"
	"math"
	"runtime/debug"
	"sync/atomic"

	"errand/shared/share"
)

// ValueCost is the number of bytes that a decoded JSON value takes at most, beside its text.
// The most expensive one is {"":0}, a map of about 300 bytes.
const ValueCost = 400

const (
	unset = 1 << 30 // bytes to share where the process has no memory limit
	least = 5 << 20 // bytes of a pool; a request of the default limits always fits
)

// A Pool is the memory that all work of one kind in a process may use. It is safe for
// concurrent use.
type Pool struct {
	line *share.Line
	size int64
}

// Share returns a Pool of one nth of the memory limit of the Go runtime (GOMEMLIMIT), or of
// 1 GiB if there is none.
func Share(n int64) *Pool { return Sized(shareOf(debug.SetMemoryLimit(-1), n)) }

// Sized returns a Pool of a number of bytes.
func Sized(size int64) *Pool { return &Pool{line: share.NewLine(size), size: size} }

func shareOf(limit, n int64) int64 {
	if limit == math.MaxInt64 { // there is none
		limit = unset
	}
	return max(limit/n, least)
}

// Charge returns a charge of an owner on the pool that holds nothing yet. The owner "" is
// nobody in particular and has no share.
func (p *Pool) Charge(owner string) *Charge { return &Charge{pool: p, owner: owner} }

// A Charge is the memory that one piece of work has taken from a Pool. Settle ends it.
type Charge struct {
	pool  *Pool
	owner string
	held  atomic.Int64
}

// Take takes n bytes, or returns share.ErrOwn or share.ErrFull. It does not wait: work that
// holds memory already must not wait for more.
func (c *Charge) Take(n int64) error {
	if err := c.pool.line.Take(c.owner, n); err != nil {
		return err
	}
	c.held.Add(n)
	return nil
}

// Wait takes n bytes, but at most the whole pool, as soon as they are free. Owners are served
// in turn and an owner's charges in their order, so that a large one gets its turn. The
// caller holds nothing of the pool yet. The error is that of ctx.
func (c *Charge) Wait(ctx context.Context, n int64) error {
	n = min(n, c.pool.size)
	if err := c.pool.line.Enter(ctx, c.owner, n); err != nil {
		return err
	}
	c.held.Add(n)
	return nil
}

// Give gives n of the taken bytes back.
func (c *Charge) Give(n int64) {
	c.held.Add(-n)
	c.pool.line.Leave(c.owner, n)
}

// Settle gives everything back. It may be called more than once.
func (c *Charge) Settle() {
	if n := c.held.Swap(0); n > 0 {
		c.pool.line.Leave(c.owner, n)
	}
}

// Values counts the values of a JSON text without decoding any. In a text that is not JSON
// it counts at least the values before the fault.
func Values(text []byte) int {
	n, empty := 1, false // empty: a container was opened, and nothing in it was seen

	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ' ', '\t', '\r', '\n':
			continue
		case ',':
			n++
			continue
		case ']', '}':
			empty = false
			continue
		}

		if empty {
			n++
		}

		empty = text[i] == '[' || text[i] == '{'
		if text[i] == '"' {
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}

	return n
}
