package wire

import (
	"context"
	"errors"
	"math"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/semaphore"
)

const (
	maxValues   = 10_000                      // JSON values of one request; 1 MiB of text could hold 500,000
	valueCost   = 400                         // bytes that a JSON value takes in the SDK's types at most: {"":0} is a map of about 300
	memoryShare = 2 * 8                       // a charge is copied up to 8 times on its way into the store, and half of the process is for requests
	memoryUnset = 64 << 20                    // bytes where the process has no memory limit
	memoryLeast = 1<<20 + maxValues*valueCost // bytes; one request of the default limits always fits
)

// A Memory bounds the memory of the requests in flight. Every request takes the bytes of its
// body before it reads the first one, and valueCost for each JSON value before it decodes
// the first one. A request that finds too little left is refused and does not wait, because
// its body would wait with it.
type Memory struct{ left *semaphore.Weighted }

// NewMemory returns a Memory for one process: size bytes, or with 0 a sixteenth of the
// memory limit of the Go runtime (GOMEMLIMIT).
func NewMemory(size int64) *Memory {
	if size == 0 {
		size = memoryOf(debug.SetMemoryLimit(-1))
	}
	return &Memory{semaphore.NewWeighted(size)}
}

// memoryOf returns the size that goes with a memory limit of the Go runtime.
func memoryOf(limit int64) int64 {
	if limit == math.MaxInt64 { // there is none
		return memoryUnset
	}
	return max(limit/memoryShare, memoryLeast)
}

// A charge is what one request has taken from a Memory.
type charge struct {
	memory *Memory
	held   atomic.Int64
}

// take takes n bytes, or refuses the request.
func (c *charge) take(n int64) error {
	if !c.memory.left.TryAcquire(n) {
		return &unavailable{after: time.Second, cause: errFull, message: "too many requests are in progress: there is no memory for another one of this size, try again"}
	}
	c.held.Add(n)
	return nil
}

var errFull = errors.New("the requests in progress hold the memory that all requests may use")

// give gives n of the taken bytes back.
func (c *charge) give(n int64) {
	c.held.Add(-n)
	c.memory.left.Release(n)
}

// settle gives everything back. It may be called more than once.
func (c *charge) settle() {
	if n := c.held.Swap(0); n > 0 {
		c.memory.left.Release(n)
	}
}

type chargeKey struct{}

// Settled gives the memory of a request back before its answer. A handler calls it when it
// goes on without the content of the request, for example to wait.
func Settled(ctx context.Context) {
	if c, ok := ctx.Value(chargeKey{}).(*charge); ok {
		c.settle()
	}
}

// countValues counts the values of a JSON text without decoding any. In a text that is not
// JSON it counts at least the values before the fault.
func countValues(text []byte) int {
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

// tooMany is the error about a request with more than maxValues values, whose text is of the
// given name. It names the first value beyond them.
func tooMany(name string, text []byte) error {
	c := newDenseCursor(text)
	c.skip()
	if c.end(); c.err != nil {
		return notJSON(c.err)
	}

	c = newDenseCursor(text)
	c.name = name
	for n := 0; n <= maxValues; {
		kind := c.token().Kind()
		if c.err != nil { // the end: the other values are beside the text
			return a2a.NewError(a2a.ErrInvalidRequest, "a request may hold "+strconv.Itoa(maxValues)+" JSON values")
		}

		in, length := c.d.StackIndex(c.d.StackDepth())
		isName := in == jsontext.KindBeginObject && kind == jsontext.KindString && length%2 == 1
		if !isName && kind != jsontext.KindEndObject && kind != jsontext.KindEndArray {
			n++
		}
	}

	return Invalid(c.path(""), "is one JSON value too many: a request may hold "+strconv.Itoa(maxValues))
}
