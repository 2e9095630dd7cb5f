package wire

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/auth"
	"errand/shared/memory"
	"errand/shared/share"
)

const (
	maxValues    = 10_000   // JSON values of one request; 1 MiB of text could hold 500,000
	requestShare = 2 * 8    // a request is copied up to 8 times on its way into the store, and half of the process is for requests
	answerShare  = 8        // of the process, for the answers that clients have not taken yet
	smallAnswer  = 16 << 10 // bytes; the number of connections bounds the smaller ones
)

// Memory bounds the memory of the requests of a process and of their answers.
//
// Every request takes the bytes of its body before it reads the first one, and
// memory.ValueCost for each JSON value before it decodes the first one. A request that finds
// too little left is refused and does not wait, because its body would wait with it. Every
// answer and event that is not small takes its bytes until the client has read it. A compressed
// one takes those that it had before: they wait for a compressor.
type Memory struct{ Requests, Answers *memory.Pool }

// NewMemory returns the Memory of one process.
func NewMemory() *Memory {
	return &Memory{Requests: memory.Share(requestShare), Answers: memory.Share(answerShare)}
}

// take takes n bytes, or refuses the request.
func take(c *memory.Charge, n int64) error {
	return crowded(c.Take(n), "too many requests of yours are in progress", "too many requests are in progress: there is no memory for another one of this size")
}

// crowded is the refusal for the memory that a request finds taken, by its own caller or by
// all.
func crowded(err error, own, all string) error {
	switch {
	case errors.Is(err, share.ErrOwn):
		return auth.Limited("memory", time.Second, own+": your share of the memory is taken; wait for some of them, or send less at once")
	case err != nil:
		return Later(time.Second, err, all+", try again")
	}
	return nil
}

// holding calls write while the bytes of an answer are charged.
func (m *Memory) holding(owner string, answer []byte, write func()) error {
	if cap(answer) > smallAnswer {
		c := m.Answers.Charge(owner)
		if err := c.Take(int64(cap(answer))); err != nil {
			return crowded(err, "too many answers to you are on their way", "too many answers are on their way: there is no memory for another one of this size; ask for less")
		}
		defer c.Settle()
	}
	write()
	return nil
}

type chargeKey struct{}

// Settled gives the memory of a request back before its answer. A handler calls it when it
// goes on without the content of the request, for example to wait.
func Settled(ctx context.Context) {
	if c, ok := ctx.Value(chargeKey{}).(*memory.Charge); ok {
		c.Settle()
	}
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
