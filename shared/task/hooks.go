package task

import (
	"errors"
	"fmt"
	"time"
)

// behind reports whether an active hook has undelivered notes.
func (r Record) behind(h Hook) bool { return h.State == HookActive && h.Cursor < len(r.Notes) }

// Behind lists the hooks with a note or a ping to send at the given time (R9).
func (r Record) Behind(now time.Time) []Hook {
	var out []Hook
	for _, h := range r.Hooks {
		if !h.Ping.IsZero() || r.Ready(h, now) {
			out = append(out, h)
		}
	}
	return out
}

// Ready reports whether the note after the hook's cursor may be sent at the given time.
func (r Record) Ready(h Hook, now time.Time) bool { return r.behind(h) && !h.Next.After(now) }

// OwedSince is the time at which the schedule of the note after the hook's cursor began:
// the time of the note, or the time at which the note before it was delivered.
func (r Record) OwedSince(h Hook) time.Time {
	if h.Cursor < len(r.Notes) && r.Notes[h.Cursor].At.After(h.Since) {
		return r.Notes[h.Cursor].At
	}
	return h.Since
}

// SetHook creates a webhook, or replaces the webhook with the same id (R9). Setting an
// active hook to its present target changes nothing. The error is ErrHooks if there are
// too many hooks, or if they are too large.
func (r Record) SetHook(m Moment, h Hook) (next Record, changed bool, err error) {
	if old, ok := r.Hook(h.ID); ok && old.State == HookActive && old.sameTarget(h) {
		return r, false, nil
	}
	n := r.change()
	if err = n.putHook(m, h); err == nil {
		n, err = n.asked(r, m).sealed(m, LimitResult)
	}
	if errors.Is(err, ErrTooLarge) {
		err = fmt.Errorf("%w: %v", ErrHooks, err)
	}
	if err != nil {
		return r, false, err
	}
	return n, true, nil
}

// asked records that a job is enqueued, if r owes more than before did.
func (r Record) asked(before Record, m Moment) Record {
	if len(NewDebts(before, r, m)) > 0 {
		r.Asked = m.Now
	}
	return r
}

func (h Hook) sameTarget(o Hook) bool {
	return h.URL == o.URL && h.Scheme == o.Scheme && h.Sealed == o.Sealed && h.Dialect == o.Dialect
}

// putHook adds or replaces a hook. If the task has ended or waits for its client, the
// hook starts one note back and that note is sent as the whole task, so a late hook
// still receives the result. A hook that only changes its credentials keeps its backlog.
func (r *Record) putHook(m Moment, h Hook) error {
	h = h.fresh(r, m)
	h.Tries, h.Gone, h.Ping, h.Cursor, h.Snapshot = nil, false, time.Time{}, len(r.Notes), 0
	if r.Terminal() || r.Interrupted() {
		h.Cursor, h.Snapshot = max(0, len(r.Notes)-1), len(r.Notes)
	}

	hooks := append([]Hook(nil), r.Hooks...)
	i := 0
	for i < len(hooks) && hooks[i].ID != h.ID {
		i++
	}

	if i == len(hooks) {
		if i >= m.Rules.Hooks {
			return ErrHooks
		}
		hooks = append(hooks, Hook{})
	} else if old := hooks[i]; old.URL == h.URL && old.State == HookActive {
		h.Cursor = min(h.Cursor, old.Cursor)
	}

	hooks[i] = h
	text, err := marshal(hooks)
	if err != nil {
		return fmt.Errorf("encoding hook: %w", err)
	}
	if len(text) > limitHooks {
		return fmt.Errorf("hooks of task %s: %w: %d bytes, at most %d", r.Task.ID, ErrTooLarge, len(text), limitHooks)
	}

	r.Hooks = hooks
	return nil
}

// fresh returns h as a new generation whose next note has not been tried. Outcomes of
// attempts under way belong to the old generation and are discarded.
func (h Hook) fresh(r *Record, m Moment) Hook {
	r.Gens++
	h.Gen = r.Gens
	return h.untried(m.Now)
}

// untried returns h with a next note that is due now and has not been tried.
func (h Hook) untried(now time.Time) Hook {
	h.State, h.Attempt, h.Since, h.Next = HookActive, 0, now, now
	return h
}

// Redrive sends a hook its notes again, beginning with the note numbered from, or with
// the note after its cursor if from is 0. A dead hook becomes active. The receiver
// recognizes repeated notes by their ids. Redrive applies only to the generation gen.
func (r Record) Redrive(m Moment, id string, gen int64, from int) (next Record, changed bool, err error) {
	n := r.change()
	n.Hooks = append([]Hook(nil), r.Hooks...)
	for i, h := range n.Hooks {
		if h.ID != id || h.Gen != gen || from < 0 || from > len(r.Notes) {
			continue
		}
		if h.Gone = false; from > 0 {
			h.Cursor = from - 1
		}
		n.Hooks[i], changed = h.fresh(&n, m), true
	}
	if !changed { // the hook was deleted, replaced or re-driven meanwhile
		return r, false, nil
	}
	if n, err = n.asked(r, m).sealed(m, LimitStore); err != nil {
		return r, false, err
	}
	return n, true, nil
}

// AskPing requests a ping of a hook, active or dead. A ping is one attempt, and its
// outcome is kept with the others. A second request before the ping changes nothing.
func (r Record) AskPing(m Moment, id string) (next Record, changed bool, err error) {
	n := r.change()
	n.Hooks = append([]Hook(nil), r.Hooks...)
	for i, h := range n.Hooks {
		if h.ID == id && h.Ping.IsZero() {
			n.Hooks[i].Ping, n.Asked, changed = m.Now, m.Now, true
		}
	}
	if !changed {
		return r, false, nil
	}
	next, err = n.sealed(m, LimitStore)
	return next, err == nil, err
}

// DropHook deletes a webhook. No attempt begins after the commit.
func (r Record) DropHook(m Moment, id string) (next Record, changed bool, err error) {
	if _, ok := r.Hook(id); !ok {
		return r, false, nil
	}
	n := r.change()
	n.Hooks = make([]Hook, 0, len(r.Hooks)-1)
	for _, h := range r.Hooks {
		if h.ID != id {
			n.Hooks = append(n.Hooks, h)
		}
	}
	next, err = n.sealed(m, LimitStore)
	return next, err == nil, err
}

// A Delivery is the outcome of one attempt, or of several attempts in a row, at one hook.
// It counts only while the hook has the generation, cursor and attempt of Hook.
type Delivery struct {
	Hook   Hook      // the hook before the first attempt
	Pinged bool      // its ping was sent, with or without success
	Sent   int       // notes answered 2xx
	Fail   bool      // the attempt after them failed
	Wait   time.Time // with Fail: the next attempt, zero if the hook is dead; without: the hook is put off until then, zero if not
	Gone   bool      // dead because the receiver said so
	Tries  []Try     // the attempts
}

// Then is the outcome of d followed by e. Only the last attempt may have failed.
func (d Delivery) Then(e Delivery) Delivery {
	d.Pinged = d.Pinged || e.Pinged
	d.Sent += e.Sent
	d.Fail, d.Wait, d.Gone = e.Fail, e.Wait, e.Gone
	d.Tries = append(d.Tries[:len(d.Tries):len(d.Tries)], e.Tries...)
	return d
}

// Delivered applies the outcomes of a pass over the record's hooks (R9).
func (r Record) Delivered(m Moment, outcomes []Delivery) (next Record, changed bool, err error) {
	n := r.change()
	n.Hooks = append([]Hook(nil), r.Hooks...)
	for _, d := range outcomes {
		for i, h := range n.Hooks {
			if h.ID == d.Hook.ID && h.Gen == d.Hook.Gen && h.Cursor == d.Hook.Cursor && h.Attempt == d.Hook.Attempt && !d.none(h) {
				n.Hooks[i], changed = h.After(m.Now, d), true
			}
		}
	}
	if !changed {
		return r, false, nil
	}
	if next, err = n.sealed(m, LimitStore); errors.Is(err, ErrTooLarge) {
		// Without room for the cursor the same note would be sent for ever.
		for i := range n.Hooks {
			n.Hooks[i].Tries = nil
		}
		next, err = n.sealed(m, LimitStore)
	}
	return next, err == nil, err
}

// none reports whether d changes nothing about h, or has been applied before. A ping
// alone moves neither cursor nor attempt, so the time of its request identifies it.
func (d Delivery) none(h Hook) bool {
	if d.Pinged && !h.Ping.Equal(d.Hook.Ping) {
		return d.Sent == 0 && !d.Fail
	}
	return !d.Pinged && d.Sent == 0 && !d.Fail && (d.Wait.IsZero() || d.Wait.Equal(h.Next))
}

// After is the transition of a hook by an outcome at the given time. Delivered applies
// it to the stored hook, and a courier to the hook that it has in hand between commits.
func (h Hook) After(now time.Time, d Delivery) Hook {
	h.Tries = append(h.Tries[:len(h.Tries):len(h.Tries)], d.Tries...)
	if over := len(h.Tries) - limitTries; over > 0 {
		h.Tries = h.Tries[over:]
	}

	if d.Pinged && h.Ping.Equal(d.Hook.Ping) {
		h.Ping = time.Time{}
	}

	if d.Sent > 0 {
		h.Cursor += d.Sent
		h = h.untried(now)
	}

	switch {
	case d.Fail && d.Wait.IsZero():
		h.Attempt++
		h.State, h.Gone, h.Next = HookDead, d.Gone, now

	case d.Fail:
		h.Attempt++
		h.Next = d.Wait

	case !d.Wait.IsZero(): // put off without an attempt
		h.Next = d.Wait
	}

	return h
}

// reviveHooks activates the hooks whose schedule was used up, because a new note has
// come. A hook whose receiver answered 410 stays dead.
func (r *Record) reviveHooks(now time.Time) {
	var hooks []Hook
	for i, h := range r.Hooks {
		if h.State == HookDead && !h.Gone {
			if hooks == nil {
				hooks = append([]Hook(nil), r.Hooks...)
			}
			hooks[i] = h.untried(now)
		}
	}
	if hooks != nil {
		r.Hooks = hooks
	}
}
