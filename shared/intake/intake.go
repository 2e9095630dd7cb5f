// Package intake turns a message into a record and a job, once: whoever sends the
// same message again gets the same task.
//
// It is not an HTTP surface and does not check what a message says; whatever
// accepts messages (the A2A operations, pipelines) calls it.
package intake

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/queue"
	"errand/shared/task"
)

// ErrContext says that a message names a task and a context that is not the
// task's.
var ErrContext = errors.New("intake: the context is not the task's")

// An Intake accepts messages. All fields are required.
type Intake struct {
	Store task.Store
	Queue queue.Queue
	Rules task.Rules
	Now   func() time.Time
	Log   *slog.Logger

	// Reused says that clients give different messages the same id. Then no message
	// is known by its id: each one that is sent makes a task, or another turn, and one
	// that is sent again because its answer was lost is done twice.
	Reused bool
}

// A Message is what somebody sent.
type Message struct {
	Owner      string // who sent it and may see the task
	Message    *a2a.Message
	Extensions []string       // URIs of the protocol extensions activated for it
	Metadata   map[string]any // of the request, not of the message
	Hooks      []task.Hook    // inline webhooks
}

// seen is what the record keeps of m beside the message itself.
func (m Message) seen(key, print string) task.Seen {
	return task.Seen{ID: key, Print: print, Extensions: m.Extensions, Metadata: m.Metadata}
}

// Accept makes the task of a first message, or adds a further message to the task
// that it names, and returns the record as it is then stored (R1, R13). When it
// returns nil the message is durable; that the queue could not be reached does not
// matter then, the sweep adds the job.
//
// Errors: task.ErrMismatch, task.ErrNotFound (also for a task of another owner),
// ErrContext, task.ErrTerminal, task.ErrInbox, task.ErrHooks, task.ErrTooLarge; any
// other means that the store did not answer and the message may be sent again.
func (in *Intake) Accept(ctx context.Context, m Message) (task.Record, error) {
	key := m.Message.ID
	if in.Reused {
		key = rand.Text() // once per request, so that a lost answer of the store is still recognised
	}
	if m.Message.TaskID != "" {
		return in.add(ctx, string(m.Message.TaskID), key, m)
	}
	id, fresh := Derive(m.Owner, key)
	msg := *m.Message
	msg.TaskID = a2a.TaskID(id)
	if msg.ContextID == "" {
		msg.ContextID = fresh
	}
	print, err := task.Fingerprint(m.Message, msg.TaskID, msg.ContextID)
	if err != nil {
		return task.Record{}, err
	}
	r, err := task.Accept(in.Rules.At(in.Now()), task.Acceptance{
		ID: id, Context: msg.ContextID, Owner: m.Owner, Lane: task.Turns, Message: &msg, Hooks: m.Hooks,
		Seen: m.seen(key, print),
	})
	if err != nil {
		return task.Record{}, err
	}
	stored, err := in.Store.Create(ctx, r)
	switch {
	case err == nil:
		in.Ask(ctx, Job(stored.Lane, id, time.Time{}))
		return stored, nil
	case errors.Is(err, task.ErrTooLarge):
		return task.Record{}, err
	}
	// The id is taken, or the answer was lost and the record may be ours.
	again, lerr := in.add(ctx, id, key, m)
	if errors.Is(lerr, task.ErrNotFound) {
		return task.Record{}, fmt.Errorf("accepting task %s: %w", id, err)
	}
	return again, lerr
}

// add brings a message and its webhooks to a task that exists, in one write: what is
// refused has changed nothing. A message that the task has already is only answered.
func (in *Intake) add(ctx context.Context, id, key string, m Message) (task.Record, error) {
	r, err := in.Store.Load(ctx, id)
	if err != nil {
		return task.Record{}, err
	}
	if !r.Visible(m.Owner) {
		return task.Record{}, task.ErrNotFound
	}
	msg := *m.Message
	msg.TaskID, msg.ContextID = r.Task.ID, r.Task.ContextID
	print, err := task.Fingerprint(m.Message, msg.TaskID, msg.ContextID)
	if err != nil {
		return task.Record{}, err
	}
	if c := m.Message.ContextID; c != "" && c != msg.ContextID {
		if _, err := r.Accepted(key, print); err != nil {
			return task.Record{}, err
		}
		return task.Record{}, ErrContext
	}
	var turn, delivery bool
	r, err = task.UpdateFrom(ctx, in.Store, r, func(r task.Record) (task.Record, bool, error) {
		now := in.Rules.At(in.Now())
		next, changed, job, err := r.FollowUp(now, &msg, m.seen(key, print))
		turn, delivery = job, false
		for _, h := range m.Hooks {
			if err != nil {
				break
			}
			var hooked, behind bool
			next, hooked, behind, err = setHook(next, now, h)
			changed, delivery = changed || hooked, delivery || behind
		}
		return next, changed, err
	})
	if err != nil {
		return task.Record{}, err
	}
	if turn {
		in.Ask(ctx, Job(r.Lane, r.ID(), time.Time{}))
	}
	if delivery {
		in.Ask(ctx, Job(task.Deliveries, r.ID(), time.Time{}))
	}
	return r, nil
}

// SetHook creates or replaces a webhook of the record's task and has delivered
// what it is owed at once. ErrHooks: there are too many, or they are too large.
func (in *Intake) SetHook(ctx context.Context, r task.Record, h task.Hook) (task.Record, error) {
	var job bool
	r, err := task.UpdateFrom(ctx, in.Store, r, func(r task.Record) (next task.Record, changed bool, err error) {
		next, changed, job, err = setHook(r, in.Rules.At(in.Now()), h)
		return next, changed, err
	})
	if err == nil && job {
		in.Ask(ctx, Job(task.Deliveries, r.ID(), time.Time{}))
	}
	return r, err
}

// setHook is the transition, whose ErrTooLarge is about the webhooks and not about
// a message.
func setHook(r task.Record, now task.Moment, h task.Hook) (next task.Record, changed, job bool, err error) {
	next, changed, job, err = r.SetHook(now, h)
	if errors.Is(err, task.ErrTooLarge) {
		err = task.ErrHooks
	}
	return next, changed, job, err
}

// Ask adds a job for a debt that is in the record already. A failure is logged and
// nothing else: the sweep asks again.
func (in *Intake) Ask(ctx context.Context, job queue.Job) {
	if err := in.Queue.Add(context.WithoutCancel(ctx), job); err != nil {
		in.Log.WarnContext(ctx, "job not added; the sweep will", "task", job.Task, "lane", job.Queue, "err", err)
	}
}

// Job is the hint that a record may have work in one of the queues.
func Job(lane, id string, at time.Time) queue.Job {
	path := queue.PathTurn
	if lane == task.Deliveries {
		path = queue.PathDeliver
	}
	return queue.Job{Queue: lane, Path: path, Task: id, At: at}
}

// Derive gives the ids of the task, and of the context if it names none, that an
// owner's message makes. They do not depend on when and where it is accepted, so a
// repeated message finds its task.
func Derive(owner, messageID string) (id, contextID string) {
	text, err := json.Marshal([2]string{owner, messageID})
	if err != nil { // strings always encode
		panic(err)
	}
	sum := sha256.Sum256(text)
	all := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))
	return all[:26], all[26:52]
}
