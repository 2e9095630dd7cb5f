package task

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// behind reports whether an active webhook has undelivered notifications.
func (r Record) behind(h Webhook) bool {
	return h.State == WebhookActive && h.Cursor < len(r.Notifications)
}

// Behind lists the webhooks with a notification or a ping to send at the given time (R9).
func (r Record) Behind(now time.Time) []Webhook {
	var out []Webhook
	for _, h := range r.Webhooks {
		if !h.Ping.IsZero() || r.Ready(h, now) {
			out = append(out, h)
		}
	}
	return out
}

// Ready reports whether the notification after the webhook's cursor may be sent at the given time.
func (r Record) Ready(h Webhook, now time.Time) bool { return r.behind(h) && !h.Next.After(now) }

// OwedSince is the time at which the schedule of the notification after the webhook's cursor began:
// the time of the notification, or the time at which the notification before it was delivered.
func (r Record) OwedSince(h Webhook) time.Time {
	if h.Cursor < len(r.Notifications) && r.Notifications[h.Cursor].At.After(h.Since) {
		return r.Notifications[h.Cursor].At
	}
	return h.Since
}

// promptEvery is the least time between two requests for a ping or a re-drive of one webhook.
// Its owner may have named the URL of a stranger.
const promptEvery = 10 * time.Second

// Rest is how long after now no ping and no re-drive of the webhook may be requested.
func (h Webhook) Rest(now time.Time) time.Duration {
	if h.Prompted.IsZero() {
		return 0
	}
	return min(max(0, h.Prompted.Add(promptEvery).Sub(now)), promptEvery)
}

// WebhookID is the id of a webhook whose owner gave it none. It comes from the URL, so a
// repeated request makes no second webhook.
func WebhookID(url string) string {
	sum := sha256.Sum256([]byte(url))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// WebhookAt finds the webhook that a request for h is about: the one with its id or, if h has
// no id of its own, the one with its URL. The error is ErrWebhookURL if a webhook with
// another id has the URL already.
func (r Record) WebhookAt(h Webhook) (Webhook, error) {
	if old, ok := r.Webhook(h.ID); ok && old.URL == h.URL {
		return h, nil
	}
	for _, old := range r.Webhooks {
		if old.URL != h.URL {
			continue
		}
		if h.ID != WebhookID(h.URL) {
			return h, fmt.Errorf("%w: %s", ErrWebhookURL, old.ID)
		}
		h.ID = old.ID
	}
	return h, nil
}

// SetWebhook creates a webhook, or replaces the webhook with the same id (R9). Setting an
// active webhook to its present target changes nothing. A webhook with the id of [WebhookID]
// replaces the one that has its URL. The error is ErrWebhookURL if a webhook with another id
// has the URL, and ErrWebhooks if there are too many webhooks, or if they are too large.
func (r Record) SetWebhook(m Moment, h Webhook) (next Record, changed bool, err error) {
	if h, err = r.WebhookAt(h); err != nil {
		return r, false, err
	}
	if r.Deleted {
		return r, false, ErrDeleted
	}
	if old, ok := r.Webhook(h.ID); ok && old.State == WebhookActive && old.sameTarget(h) {
		return r, false, nil
	}
	n := r.change()
	if err = n.putWebhook(m, h); err == nil {
		n, err = n.asked(r, m).checked(m, LimitResult)
	}
	if errors.Is(err, ErrTooLarge) {
		err = fmt.Errorf("%w: %v", ErrWebhooks, err)
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

func (h Webhook) sameTarget(o Webhook) bool {
	return h.URL == o.URL && h.Scheme == o.Scheme && h.Sealed == o.Sealed && h.Dialect == o.Dialect
}

// putWebhook adds h, which [Record.WebhookAt] returned, or replaces the webhook with its id. If
// the task has ended or waits for its client, the webhook starts one notification back and that
// notification is sent as the whole task, so a late webhook still receives the result. A webhook
// that only changes its credentials keeps its backlog.
func (r *Record) putWebhook(m Moment, h Webhook) error {
	h = h.fresh(r, m)
	h.Tries, h.Gone, h.Ping, h.Cursor, h.Snapshot = nil, false, time.Time{}, len(r.Notifications), 0
	if r.Terminal() || r.Interrupted() {
		h.Cursor, h.Snapshot = max(0, len(r.Notifications)-1), len(r.Notifications)
	}

	hooks := append([]Webhook(nil), r.Webhooks...)
	i := 0
	for i < len(hooks) && hooks[i].ID != h.ID {
		i++
	}

	if i == len(hooks) {
		if i >= m.Rules.Webhooks {
			return ErrWebhooks
		}
		hooks = append(hooks, Webhook{})
	} else {
		old := hooks[i]
		h.Prompted = old.Prompted
		if old.URL == h.URL && old.State == WebhookActive {
			h.Cursor = min(h.Cursor, old.Cursor)
		}
	}

	hooks[i] = h
	text, err := marshal(hooks)
	if err != nil {
		return fmt.Errorf("encoding hook: %w", err)
	}
	if len(text) > limitWebhooks {
		return fmt.Errorf("hooks of task %s: %w: %d bytes, at most %d", r.Task.ID, ErrTooLarge, len(text), limitWebhooks)
	}

	r.Webhooks = hooks
	return nil
}

// fresh returns h as a new generation whose next notification has not been tried. Outcomes of
// attempts under way belong to the old generation and are discarded.
func (h Webhook) fresh(r *Record, m Moment) Webhook {
	r.Gens++
	h.Gen = r.Gens
	return h.untried(m.Now)
}

// untried returns h with a next notification that is due now and has not been tried.
func (h Webhook) untried(now time.Time) Webhook {
	h.State, h.Attempt, h.Since, h.Next = WebhookActive, 0, now, now
	return h
}

// Redrive sends a webhook its notifications again, beginning with the notification numbered from, or with
// the notification after its cursor if from is 0. A dead webhook becomes active. The receiver
// recognizes repeated notifications by their ids. Redrive applies only to the generation gen.
// The error is ErrSoon if a ping or a re-drive was requested a moment ago.
func (r Record) Redrive(m Moment, id string, gen int64, from int) (next Record, changed bool, err error) {
	n := r.change()
	n.Webhooks = append([]Webhook(nil), r.Webhooks...)
	for i, h := range n.Webhooks {
		if h.ID != id || h.Gen != gen || from < 0 || from > len(r.Notifications) {
			continue
		}
		if h.Rest(m.Now) > 0 {
			return r, false, ErrSoon
		}
		if h.Gone, h.Prompted = false, m.Now; from > 0 {
			h.Cursor = from - 1
		}
		n.Webhooks[i], changed = h.fresh(&n, m), true
	}
	if !changed { // the webhook was deleted, replaced or re-driven meanwhile
		return r, false, nil
	}
	if n, err = n.asked(r, m).checked(m, LimitStore); err != nil {
		return r, false, err
	}
	return n, true, nil
}

// AskPing requests a ping of a webhook, active or dead. A ping is one attempt, and its
// outcome is kept with the others. A second request before the ping changes nothing. The
// error is ErrSoon if a ping or a re-drive was requested a moment ago.
func (r Record) AskPing(m Moment, id string) (next Record, changed bool, err error) {
	n := r.change()
	n.Webhooks = append([]Webhook(nil), r.Webhooks...)
	for i, h := range n.Webhooks {
		if h.ID != id || !h.Ping.IsZero() {
			continue
		}
		if h.Rest(m.Now) > 0 {
			return r, false, ErrSoon
		}
		n.Webhooks[i].Ping, n.Webhooks[i].Prompted = m.Now, m.Now
		n.Asked, changed = m.Now, true
	}
	if !changed {
		return r, false, nil
	}
	next, err = n.checked(m, LimitStore)
	return next, err == nil, err
}

// DropWebhook deletes a webhook. No attempt begins after the commit.
func (r Record) DropWebhook(m Moment, id string) (next Record, changed bool, err error) {
	if _, ok := r.Webhook(id); !ok {
		return r, false, nil
	}
	n := r.change()
	n.Webhooks = make([]Webhook, 0, len(r.Webhooks)-1)
	for _, h := range r.Webhooks {
		if h.ID != id {
			n.Webhooks = append(n.Webhooks, h)
		}
	}
	next, err = n.checked(m, LimitStore)
	return next, err == nil, err
}

// A Delivery is the outcome of one attempt, or of several attempts in a row, at one webhook.
// It counts only while the webhook has the generation, cursor and attempt of Webhook.
type Delivery struct {
	Webhook Webhook   // the webhook before the first attempt
	Pinged  bool      // its ping was sent, with or without success
	Sent    int       // notifications answered 2xx
	Fail    bool      // the attempt after them failed
	Wait    time.Time // with Fail: the next attempt, zero if the webhook is dead; without: the webhook is put off until then, zero if not
	Gone    bool      // dead because the receiver said so
	Tries   []Try     // the attempts
}

// Then is the outcome of d followed by e. Only the last attempt may have failed.
func (d Delivery) Then(e Delivery) Delivery {
	d.Pinged = d.Pinged || e.Pinged
	d.Sent += e.Sent
	d.Fail, d.Wait, d.Gone = e.Fail, e.Wait, e.Gone
	d.Tries = append(d.Tries[:len(d.Tries):len(d.Tries)], e.Tries...)
	return d
}

// Delivered applies the outcomes of a pass over the record's webhooks (R9).
func (r Record) Delivered(m Moment, outcomes []Delivery) (next Record, changed bool, err error) {
	n := r.change()
	n.Webhooks = append([]Webhook(nil), r.Webhooks...)
	for _, d := range outcomes {
		for i, h := range n.Webhooks {
			if h.ID == d.Webhook.ID && h.Gen == d.Webhook.Gen && h.Cursor == d.Webhook.Cursor && h.Attempt == d.Webhook.Attempt && !d.none(h) {
				n.Webhooks[i], changed = h.After(m.Now, d), true
			}
		}
	}
	if !changed {
		return r, false, nil
	}
	if next, err = n.checked(m, LimitStore); errors.Is(err, ErrTooLarge) {
		// Without room for the cursor the same notification would be sent for ever.
		for i := range n.Webhooks {
			n.Webhooks[i].Tries = nil
		}
		next, err = n.checked(m, LimitStore)
	}
	return next, err == nil, err
}

// none reports whether d changes nothing about h, or has been applied before. A ping
// alone moves neither cursor nor attempt, so the time of its request identifies it.
func (d Delivery) none(h Webhook) bool {
	if d.Pinged && !h.Ping.Equal(d.Webhook.Ping) {
		return d.Sent == 0 && !d.Fail
	}
	return !d.Pinged && d.Sent == 0 && !d.Fail && (d.Wait.IsZero() || d.Wait.Equal(h.Next))
}

// After is the transition of a webhook by an outcome at the given time. Delivered applies
// it to the stored webhook, and a courier to the webhook that it has in hand between commits.
func (h Webhook) After(now time.Time, d Delivery) Webhook {
	h.Tries = append(h.Tries[:len(h.Tries):len(h.Tries)], d.Tries...)
	if over := len(h.Tries) - limitTries; over > 0 {
		h.Tries = h.Tries[over:]
	}

	if d.Pinged && h.Ping.Equal(d.Webhook.Ping) {
		h.Ping = time.Time{}
	}

	if d.Sent > 0 {
		h.Cursor += d.Sent
		h = h.untried(now)
	}

	switch {
	case d.Fail && d.Wait.IsZero():
		h.Attempt++
		h.State, h.Gone, h.Next = WebhookDead, d.Gone, now

	case d.Fail:
		h.Attempt++
		h.Next = d.Wait

	case !d.Wait.IsZero(): // put off without an attempt
		h.Next = d.Wait
	}

	return h
}

// reviveWebhooks activates the webhooks whose schedule was used up, because a new notification has
// come. A webhook whose receiver answered 410 stays dead.
func (r *Record) reviveWebhooks(now time.Time) {
	var hooks []Webhook
	for i, h := range r.Webhooks {
		if h.State == WebhookDead && !h.Gone {
			if hooks == nil {
				hooks = append([]Webhook(nil), r.Webhooks...)
			}
			hooks[i] = h.untried(now)
		}
	}
	if hooks != nil {
		r.Webhooks = hooks
	}
}
