package task

import (
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// ErrDeleted is the ErrNotFound of a task that its owner has deleted. A store returns it
// together with the record that is left.
var ErrDeleted = fmt.Errorf("%w: its owner has deleted the task", ErrNotFound)

// Delete removes the content of the task at its owner's request: history, artifacts,
// metadata, events, notifications and webhooks. A task that has not ended is canceled by it,
// and a run loses its turn. The ids and fingerprints of the messages stay until the retention
// ends, so that a message that is sent again makes no second task.
func (r Record) Delete(m Moment) (next Record, changed bool, err error) {
	if r.Deleted {
		return r, false, nil
	}
	ended := r.change()
	if !r.Terminal() {
		ended.setStatus(m, a2a.TaskStateCanceled, nil, nil)
	}

	n := Record{
		Schema: r.Schema, Owner: r.Owner, Lane: r.Lane, Turn: r.Turn, Since: r.Since, Asked: r.Asked,
		Gens: r.Gens, Seq: r.Seq + 1, Epoch: r.Epoch + 1, Expires: ended.Expires, Ends: r.Ends, Version: r.Version, Deleted: true,
		Task: &a2a.Task{
			ID: r.Task.ID, ContextID: r.Task.ContextID,
			Status: a2a.TaskStatus{State: ended.State(), Timestamp: ended.Task.Status.Timestamp},
		},
	}
	for _, q := range r.Requests {
		n.Requests = append(n.Requests, Request{ID: q.ID, Fingerprint: q.Fingerprint})
	}
	n, err = n.checked(m, LimitStore)
	return n, err == nil, err
}

// Left returns the error with which a store answers for a record that it holds: ErrNotFound
// after its retention, ErrDeleted after its deletion, or nil.
func (r Record) Left(now time.Time) error {
	switch {
	case r.Expired(now):
		return ErrNotFound
	case r.Deleted:
		return ErrDeleted
	}
	return nil
}
