package task

import (
	"errors"
	"fmt"
	"time"
)

// behind says that a hook has notes to deliver and is allowed to.
func (r Record) behind(h Hook) bool { return h.State == HookActive && h.Cursor < len(r.Notes) }

// Behind are the hooks that should be sent something at the given time (R9): their
// notes, or a ping.
func (r Record) Behind(now time.Time) []Hook {
	var out []Hook
	for _, h := range r.Hooks {
		if !h.Ping.IsZero() || r.Ready(h, now) {
			out = append(out, h)
		}
	}
	return out
}

// Ready says that a hook is to be sent the note after its cursor at the given time.
func (r Record) Ready(h Hook, now time.Time) bool { return r.behind(h) && !h.Next.After(now) }

// SetHook creates a webhook, or replaces the one of the same id (R9). Setting an active
// hook to what it is changes nothing. ErrHooks: there are too many, or they are too large.
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

// asked notes that a job is asked for, if r owes more than before did.
func (r Record) asked(before Record, m Moment) Record {
	if len(NewDebts(before, r, m)) > 0 {
		r.Asked = m.Now
	}
	return r
}

func (h Hook) sameTarget(o Hook) bool {
	return h.URL == o.URL && h.Scheme == o.Scheme && h.Sealed == o.Sealed && h.Dialect == o.Dialect
}

// putHook adds or replaces a hook. On a task that has ended or waits it starts one
// note back, which is told as the whole task: whoever registers late still hears
// the result. A receiver that only gets other credentials is still owed what it was.
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
	if len(text) > LimitHooks {
		return fmt.Errorf("hooks of task %s: %w: %d bytes, at most %d", r.Task.ID, ErrTooLarge, len(text), LimitHooks)
	}

	r.Hooks = hooks
	return nil
}

// fresh is h as another generation of itself, whose next note has not been tried: what
// comes of attempts that are under way does not count for it.
func (h Hook) fresh(r *Record, m Moment) Hook {
	r.Gens++
	h.Gen = r.Gens
	return h.untried(m.Now)
}

// untried is h with a next note that is owed from now on.
func (h Hook) untried(now time.Time) Hook {
	h.State, h.Attempt, h.Since, h.Next = HookActive, 0, now, now
	return h
}

// Redrive has a hook, of the generation that was read, sent its notes from the given one
// on again, whatever became of them; from the one after its cursor if from is 0. A dead
// hook comes back to life. The receiver knows notes that it has had by their ids.
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
	if !changed { // deleted, replaced, or done already
		return r, false, nil
	}
	if n, err = n.asked(r, m).sealed(m, LimitStore); err != nil {
		return r, false, err
	}
	return n, true, nil
}

// AskPing has a hook, dead or alive, sent a ping: one attempt, whose outcome is kept
// with the others. A ping that was asked for before is still to come.
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

// DropHook deletes a webhook. No attempt is decided after it is committed.
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

// A Delivery is what came of sending notes to one hook. It counts only under the
// generation, cursor and attempt that Hook had when it was decided.
type Delivery struct {
	Hook   Hook      // as it was read before sending
	Pinged bool      // its ping was sent, whatever came of it
	Sent   int       // notes answered 2xx
	Fail   bool      // the note after them was not
	Wait   time.Time // when to try it; zero with Fail: never, the hook is dead; without: nothing has changed
	Gone   bool      // dead because the receiver said so
	Tries  []Try     // the attempts made
}

// Delivered commits the outcomes of a pass over the record's hooks (R9).
func (r Record) Delivered(m Moment, outcomes []Delivery) (next Record, changed bool, err error) {
	n := r.change()
	n.Hooks = append([]Hook(nil), r.Hooks...)
	for _, d := range outcomes {
		for i, h := range n.Hooks {
			if h.ID == d.Hook.ID && h.Gen == d.Hook.Gen && h.Cursor == d.Hook.Cursor && h.Attempt == d.Hook.Attempt && !d.none(h) {
				n.Hooks[i], changed = h.after(m, d), true
			}
		}
	}
	if !changed {
		return r, false, nil
	}
	if next, err = n.sealed(m, LimitStore); errors.Is(err, ErrTooLarge) {
		// A cursor that cannot be stored would have the same note sent for ever.
		for i := range n.Hooks {
			n.Hooks[i].Tries = nil
		}
		next, err = n.sealed(m, LimitStore)
	}
	return next, err == nil, err
}

// none says that an outcome changes nothing of h, or has done so before. That of a ping
// alone moves neither cursor nor attempt.
func (d Delivery) none(h Hook) bool {
	if d.Pinged && !h.Ping.Equal(d.Hook.Ping) {
		return d.Sent == 0 && !d.Fail
	}
	return !d.Pinged && d.Sent == 0 && !d.Fail && (d.Wait.IsZero() || d.Wait.Equal(h.Next))
}

func (h Hook) after(m Moment, d Delivery) Hook {
	h.Tries = append(h.Tries[:len(h.Tries):len(h.Tries)], d.Tries...)
	if over := len(h.Tries) - limitTries; over > 0 {
		h.Tries = h.Tries[over:]
	}
	if d.Pinged && h.Ping.Equal(d.Hook.Ping) {
		h.Ping = time.Time{}
	}
	if d.Sent > 0 {
		h.Cursor += d.Sent
		h = h.untried(m.Now)
	}
	switch {
	case d.Fail && d.Wait.IsZero():
		h.Attempt++
		h.State, h.Gone, h.Next = HookDead, d.Gone, m.Now
	case d.Fail:
		h.Attempt++
		h.Next = d.Wait
	case !d.Wait.IsZero(): // no attempt was made
		h.Next = d.Wait
	}
	return h
}

// reviveHooks gives hooks that died of an unreachable receiver another chance: a
// new note has come. One that was told to stop stays dead.
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
