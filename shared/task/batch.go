package task

import (
	"context"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// This file has what a record knows of batches (R19). A batch is a task in the lane [Batches],
// and each of its items is a task in the lane [Bulk]. Everything else about batches is in
// package batch.

// Items finds the items of batches that have not ended. It is safe for concurrent use.
type Items interface {
	// Open counts the items of a batch with lines up to upTo that have not ended, and finds the
	// first of them. An item whose creation or end was durable before the call is counted
	// right. It may know of a write whose caller has no answer yet, and that a Load does not
	// show. It reads no record, so an item that cannot be read counts as what it was. Its time
	// depends on how many items are open, and not on how many there were.
	Open(ctx context.Context, batch string, upTo int) (Open, error)

	// OpenLines lists the lines of items that have not ended, in ascending order, beginning
	// behind the line after, at most limit of them.
	OpenLines(ctx context.Context, batch string, after, limit int) ([]int, error)
}

// Open says how many items of a batch have not ended.
type Open struct {
	N      int // how many
	Lowest int // the lowest line of them; 0: there is none
}

// Item returns the batch and the line of the record, if it is the item of a batch.
func (r Record) Item() (batch string, line int, ok bool) { return ItemOf(r.ID()) }

// Suspend interrupts a task at its client's request: it waits for a message and does nothing
// until then. A run loses its turn. say becomes the status message; by its id a repeated
// decision recognises itself. ErrTerminal: the task has ended. A task that is interrupted
// already stays as it is.
func (r Record) Suspend(m Moment, say *a2a.Message) (next Record, changed bool, err error) {
	switch {
	case r.Deleted:
		return r, false, ErrDeleted
	case r.Terminal():
		return r, false, ErrTerminal
	case r.Interrupted():
		return r, false, nil
	}

	n := r.change()
	n.Epoch++
	n.Lease, n.Wake, n.Attempt, n.Asked = Lease{}, time.Time{}, 0, m.Now
	n.addHistory(r.Inbox...)
	n.Turn += len(r.Inbox)
	n.Inbox = nil
	n.setStatus(m, a2a.TaskStateInputRequired, say, nil)
	n.noteState(true)
	next, err = n.checked(m, LimitStore)
	return next, err == nil, err
}

// Settle notes that nothing is left to do behind the end of a batch.
func (r Record) Settle(m Moment) (next Record, changed bool, err error) {
	if r.Settled || !r.Terminal() {
		return r, false, nil
	}
	n := r.change()
	n.Settled = true
	next, err = n.checked(m, LimitStore)
	return next, err == nil, err
}

// Withheld makes the record of an item that never runs: it has ended when it is made, in the
// given state. Nobody has seen it before, so it has no notification, and owes nothing.
func Withheld(m Moment, a Acceptance, state a2a.TaskState, say *a2a.Message) (Record, error) {
	r := Record{
		Schema: beforeSteps, Owner: a.Owner, Lane: a.Lane,
		Requests: []Request{a.Request.packed()},
		Turn:     1, Since: m.Now, Asked: m.Now, Life: a.Life, Ends: a.Ends,
		Task: &a2a.Task{ID: a2a.TaskID(a.ID), ContextID: a.Context},
	}
	r.setStatus(m, state, say, nil)
	return r.checked(m, LimitStore)
}

// answerBy is when a task is ended whose client does not answer. A batch does not wait beyond
// its deadline, because its items end then.
func (r Record) answerBy(ru Rules) time.Time {
	by := r.Stamp().Add(ru.Answer)
	if deadline := r.Ends.Add(-ru.Retention); !r.Ends.IsZero() && deadline.Before(by) {
		return deadline
	}
	return by
}
