package desk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// ErrContext says that a message names a task together with a context that is not the
// task's.
var ErrContext = errors.New("desk: the context is not the task's")

// ErrBatch says that a message is to begin a conversation in a batch. The items of a batch have
// none: its lines alone make tasks there.
var ErrBatch = errors.New("desk: the context is a batch, whose tasks are made by its lines")

// A Message is a message as its sender sent it.
type Message struct {
	Owner      string // sender, who may see the task
	Message    *a2a.Message
	Extensions []string       // URIs of the protocol extensions activated for it
	Metadata   map[string]any // metadata of the request, not of the message
	Webhooks   []task.Webhook // inline webhooks

	// Prepare is called with the id of the task before the message becomes a part of it, and
	// may be called again. An error refuses the message, unless the task has it already. nil:
	// there is nothing to prepare.
	Prepare func(ctx context.Context, id string) error
}

// seen is the part of m that the record keeps beside the message itself.
func (m Message) seen(key, print string) task.Request {
	return task.Request{ID: key, Fingerprint: print, Extensions: m.Extensions, Metadata: m.Metadata}
}

// Accept makes the task of a first message, or adds a further message to the task that it
// names, and returns the record as it is then stored (R1, R13). When it returns nil the
// message is durable. An unavailable queue is no error, because the sweep adds the job.
//
// Errors: task.ErrMismatch, task.ErrNotFound (also for a task of another owner),
// task.ErrDeleted (also for a message that made a task which its owner has deleted), ErrContext,
// ErrBatch, task.ErrTerminal, task.ErrInbox, task.ErrWebhooks, task.ErrTooLarge, task.ErrFull. Any other
// error means that the store did not answer and the message may be sent again.
func (d *Desk) Accept(ctx context.Context, m Message) (task.Record, error) {
	key := m.Message.ID
	if d.cfg.Reused {
		key = rand.Text() // one key per request, so that a lost answer of the store is still recognised
	}
	if m.Message.TaskID != "" {
		return d.add(ctx, string(m.Message.TaskID), key, m)
	}

	if task.IsBatch(m.Message.ContextID) {
		return task.Record{}, ErrBatch
	}

	id, fresh := task.Derive(m.Owner, key)

	msg := *m.Message
	msg.TaskID = a2a.TaskID(id)
	if msg.ContextID == "" {
		msg.ContextID = fresh
	}

	print, err := task.Fingerprint(m.Message, msg.TaskID, msg.ContextID)
	if err != nil {
		return task.Record{}, err
	}

	life := life()
	now := d.Moment()
	r, err := task.Accept(now, task.Acceptance{
		ID: id, Context: msg.ContextID, Life: life, WakeKey: d.wakeKey(ctx, id+"/"+life), Owner: m.Owner, Lane: task.Turns, Message: &msg, Webhooks: m.Webhooks,
		Request: m.seen(key, print),
	})
	if err != nil {
		return task.Record{}, err
	}

	full := d.prepare(ctx, id, m)
	if err = full; err == nil {
		r, err = d.cfg.Store.Create(ctx, r)
	}
	switch {
	case err == nil:
		d.follow(ctx, r, task.NewDebts(task.Record{}, r, now))
		return r, nil
	case errors.Is(err, task.ErrTooLarge):
		return task.Record{}, err
	}

	// The id is taken, or the answer was lost and the record may be the one just written. Or
	// there is no room or no preparation, and a message that was accepted before needs none.
	again, lerr := d.add(ctx, id, key, m)
	if missing(lerr) && (errors.Is(err, task.ErrExists) || full != nil) {
		again, lerr = d.add(ctx, task.Former(id), key, m) // an earlier version has accepted the message
	}
	if missing(lerr) {
		return task.Record{}, fmt.Errorf("accepting task %s: %w", id, err)
	}

	return again, lerr
}

// life draws what tells a task from an expired one with the same id.
func life() string { return strings.ToLower(rand.Text()[:lifeSize]) }

const lifeSize = 8 // characters, 40 bits

// wakeKey makes the key of the URLs that wake calls of a task.
func (d *Desk) wakeKey(ctx context.Context, life string) string {
	if d.cfg.WakeKey == nil {
		return ""
	}
	return d.cfg.WakeKey(ctx, life)
}

// room returns the reason why there is no room for another message of the owner, if there is
// none.
func (d *Desk) room(ctx context.Context, owner string) error {
	if d.cfg.Room == nil {
		return nil
	}
	return d.cfg.Room(ctx, owner)
}

// prepare returns the reason why a message cannot become a part of a task, if there is one.
func (d *Desk) prepare(ctx context.Context, id string, m Message) error {
	err := d.room(ctx, m.Owner)
	if err == nil && m.Prepare != nil {
		err = m.Prepare(ctx, id)
	}
	return err
}

// missing reports whether an error says that there is no record, not even a deleted one.
func missing(err error) bool {
	return errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrDeleted)
}

// add adds a message and its webhooks to an existing task in one write: if a part is
// refused, nothing has changed. For a message that the task already has, add only returns
// the record.
func (d *Desk) add(ctx context.Context, id, key string, m Message) (task.Record, error) {
	r, err := task.Find(ctx, d.cfg.Store, m.Owner, id)
	deleted := errors.Is(err, task.ErrDeleted)
	if err != nil && !deleted {
		return task.Record{}, err
	}

	msg := *m.Message
	msg.TaskID, msg.ContextID = r.Task.ID, r.Task.ContextID
	print, err := task.Fingerprint(m.Message, msg.TaskID, msg.ContextID)
	if err != nil {
		return task.Record{}, err
	}

	if deleted {
		if _, err := r.Accepted(key, print); err != nil {
			return task.Record{}, err
		}
		return task.Record{}, task.ErrDeleted
	}

	if c := m.Message.ContextID; c != "" && c != msg.ContextID {
		if _, err := r.Accepted(key, print); err != nil {
			return task.Record{}, err
		}
		return task.Record{}, ErrContext
	}

	r, err = d.Change(ctx, r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		next, changed, err := r.FollowUp(now, &msg, m.seen(key, print))
		for _, h := range m.Webhooks {
			if err != nil {
				break
			}
			var hooked bool
			next, hooked, err = next.SetWebhook(now, h)
			changed = changed || hooked
		}

		if err == nil && changed {
			err = d.prepare(ctx, id, m)
		}
		return next, changed, err
	})
	if err != nil {
		return task.Record{}, err
	}

	return r, nil
}
