package task

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// An Acceptance is a first message with everything that was decided about it.
type Acceptance struct {
	ID       string       // the task's id
	Context  string       // the conversation's id
	Life     string       // drawn for this record, of the characters of a key in package kv
	WakeKey  string       // signs the URLs that wake calls of this life; empty: there are none
	Owner    string       // tenant/principal that may see the task
	Lane     string       // lane of the jobs for its turns
	Message  *a2a.Message // the message as it will stand in the history
	Request  Request      // id, fingerprint and the rest of the message's request
	Webhooks []Webhook    // inline webhooks, as [Record.SetWebhook] takes them
	Ends     time.Time    // when the record expires once it has ended; zero: after the retention
}

// Accept makes the record of a new task (R1).
func Accept(m Moment, a Acceptance) (Record, error) {
	at := m.Now.Truncate(time.Millisecond)
	r := Record{
		Schema: beforeSteps, Owner: a.Owner, Lane: a.Lane,
		Requests: []Request{a.Request.packed()},
		Turn:     1, Since: m.Now, Asked: m.Now, Life: a.Life, WakeKey: a.WakeKey, Ends: a.Ends,
		Task: &a2a.Task{
			ID: a2a.TaskID(a.ID), ContextID: a.Context,
			Status:  a2a.TaskStatus{State: a2a.TaskStateSubmitted, Timestamp: &at},
			History: []*a2a.Message{packMessage(a.Message)},
		},
	}
	for _, h := range a.Webhooks {
		h, err := r.WebhookAt(h)
		if err != nil {
			return Record{}, err
		}
		if err := r.putWebhook(m, h); err != nil {
			return Record{}, err
		}
	}
	return r.checked(m, LimitAccept)
}

// Accepted reports whether the message was accepted before. The error is ErrMismatch when
// its id was used for another content.
func (r Record) Accepted(id, print string) (known bool, err error) {
	for _, s := range r.Requests {
		if s.ID == id {
			if s.Fingerprint != print {
				return true, ErrMismatch
			}
			return true, nil
		}
	}
	return false, nil
}

// FollowUp accepts a further message to the task (R13), which seen recognises. changed is
// false when the message was accepted before.
func (r Record) FollowUp(m Moment, msg *a2a.Message, seen Request) (next Record, changed bool, err error) {
	if r.Deleted {
		return r, false, ErrDeleted
	}
	if known, err := r.Accepted(seen.ID, seen.Fingerprint); known {
		return r, false, err
	}
	if r.Terminal() {
		return r, false, ErrTerminal
	}

	n, msg := r.change(), packMessage(msg)
	n.Requests = append(n.Requests[:len(n.Requests):len(n.Requests)], seen.packed())

	switch {
	case r.Interrupted():
		if q := r.Task.Status.Message; q != nil {
			n.addHistory(q)
		}
		goesOn := n.answerCall(msg)
		n.addHistory(msg)
		n.beginTurn(m, goesOn)
		n.forget()
		n.Asked = m.Now
		n.setStatus(m, a2a.TaskStateSubmitted, nil, nil)
	case len(r.Inbox) >= m.Rules.Inbox:
		return r, false, ErrInbox
	default:
		n.Inbox = append(n.Inbox[:len(n.Inbox):len(n.Inbox)], msg)
		if !r.Wake.IsZero() && r.Paused.IsZero() {
			n.Wake, n.Asked = m.Now, m.Now
		}
	}

	n, err = n.checked(m, LimitAccept)
	if err != nil {
		return r, false, err
	}

	return n, true, nil
}

// beginTurn moves on to the next message. The step goes on only if the message answers a
// question about it.
func (r *Record) beginTurn(m Moment, goesOn bool) {
	r.Turn++
	r.Since, r.Made, r.Wake, r.Paused = m.Now, nil, time.Time{}, time.Time{}
	r.Broke, r.Turned = 0, Spent{}
	if !goesOn {
		r.Step, r.First = nil, r.Steps
	}
}

// answerCall makes the message the answer to the question about a call, if there is one. The
// messages that wait were accepted before the question, so they do not answer it, and the
// turn takes them as part of the conversation.
func (r *Record) answerCall(msg *a2a.Message) (goesOn bool) {
	if r.Step == nil || r.Step.Asked == nil {
		return false
	}
	r.own().Asked.Answer = msg.ID
	r.addHistory(r.Inbox...)
	r.Turn += len(r.Inbox)
	r.Inbox = nil
	return true
}

// Cancel ends the task at its client's request (R8). say becomes the status message; by its
// id a repeated decision recognises itself. ErrTerminal: the task had ended before.
func (r Record) Cancel(m Moment, say *a2a.Message, meta map[string]any) (next Record, changed bool, err error) {
	if r.Terminal() {
		own := r.Task.Status.Message
		if r.State() == a2a.TaskStateCanceled && own != nil && own.ID == say.ID {
			return r, false, nil
		}
		return r, false, ErrTerminal
	}
	n := r.change()
	n.end(m, a2a.TaskStateCanceled, say, meta)
	n.noteState(true)
	n.Asked = m.Now
	next, err = n.sealedEnd(m)
	return next, err == nil, err
}

// end does the part that all terminal states without an answer have in common: no worker
// runs the task any more, and the waiting messages become history.
func (r *Record) end(m Moment, state a2a.TaskState, msg *a2a.Message, meta map[string]any) {
	r.addHistory(r.Inbox...)
	r.Inbox, r.Lease, r.Wake, r.Paused, r.Told = nil, Lease{}, time.Time{}, time.Time{}, false
	r.setStatus(m, state, msg, r.withUsage(meta))
}

// sealedEnd ends a transition that only records how the task ended. The record always fits:
// if need be without the events that streams have not read yet (R14).
func (r Record) sealedEnd(m Moment) (Record, error) {
	if n, err := r.checked(m, LimitStore); err == nil {
		return n, nil
	}
	r.Log = r.Log[len(r.Log)-1:]
	return r.checked(m, LimitStore)
}

// Fingerprint tells whether two messages have the same content, independent of their ids.
// It covers the message as sent, without the task and context ids that the message was, or
// would have been, given anyway. The encoding is our own and versioned, so that
// fingerprints stay comparable as long as records live.
func Fingerprint(m *a2a.Message, taskID a2a.TaskID, contextID string) (string, error) {
	s := storeMessage(m)
	s.ID = ""
	if s.Task == taskID {
		s.Task = ""
	}
	if s.Context == contextID {
		s.Context = ""
	}
	text, err := marshal(s)
	if err != nil {
		return "", fmt.Errorf("fingerprinting a message: %w", err)
	}
	sum := sha256.Sum256(text)
	return "1:" + base64.RawURLEncoding.EncodeToString(sum[:18]), nil
}
