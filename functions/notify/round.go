package notify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"errand/shared/keys"
	"errand/shared/task"
	"errand/shared/webhook"
)

// Limits of one attempt.
const (
	attemptFor  = 15 * time.Second // the whole exchange
	maxResponse = 64 << 10         // bytes of the response's body that are read
)

// A round is a series of attempts at one webhook between two commits.
type round struct {
	task.Delivery                 // the outcome, for the commit
	after         task.Webhook    // the webhook as the commit will leave it
	since         time.Time       // when the schedule of its next notification began
	origin        origin          // of the receiver
	contact       webhook.Contact // the host's state in the last attempt
	taken         bool            // the receiver has answered 2xx in it
	more          bool            // another attempt may follow at once
	hold          bool            // the webhook is not served again in this pass
	again         time.Time       // with hold: when a job must come back; zero: another pass or Due brings the webhook
}

// held returns the round as its webhook's last one in this pass.
func (b round) held(again time.Time) round {
	b.hold, b.again = true, again
	return b
}

// with returns the round after one more attempt.
func (b round) with(v webhook.Verdict) round {
	b.contact, b.more = v.Contact, v.More
	if !v.Counts() {
		return b.held(v.Again)
	}
	b.Delivery, b.after = b.Then(v.Delivery), v.After
	if b.after.Since.After(b.since) { // delivered: the next notification has a schedule of its own
		b.since = b.after.Since
	}
	return b
}

// serve sends a webhook its ping, if one was requested, and the notifications behind its cursor, one
// after the other, until all are delivered, one fails, or the round is over.
//
// Each attempt takes a slot at the host first, without waiting, then reads the record, and
// then sends. An attempt that begins after the answer to a delete or a replacement reads a
// record without the webhook, and sends nothing. A request that was sent before may still
// arrive.
func (p *pass) serve(ctx context.Context, r task.Record, h task.Webhook) round {
	b := round{Delivery: task.Delivery{Webhook: h}, after: h, since: r.OwedSince(h), origin: origin{r.Owner, webhook.Host(h.URL)}}
	for end := p.now().Add(commitEvery); ; {
		now := p.now()
		urgent := b.pinging() || p.cfg.Schedule.Over(b.since, now)
		leave, again, err := p.enter(b.origin, now, urgent)
		if err != nil {
			return p.putOff(b, err, again, now)
		}
		b = p.within(leave, func() round { return p.attempt(ctx, r.ID(), b) })
		if now := p.now(); !b.more || !now.Before(end) || !now.Before(p.until) {
			return b
		}
	}
}

// pinging reports whether the next attempt is a ping. Its owner waits for the result.
func (b round) pinging() bool { return !b.after.Ping.IsZero() }

// enter takes the turn of the origin, and slots of its owner and at its host, which leave
// gives back. It does not wait: with errNew, errMany, errBusy or errSilent it returns when to
// come again.
func (n *Notifier) enter(o origin, now time.Time, urgent bool) (leave func(round, time.Time), again time.Time, err error) {
	begun, again, err := n.origins.enter(o, now)
	if err != nil {
		return nil, again, err
	}

	slot, again, err := n.hosts.enter(o, now, urgent)
	if err != nil {
		begun(false, false, now)
		return nil, again, err
	}

	return func(b round, end time.Time) {
		slot(b.contact, end)
		begun(b.taken, b.contact != webhook.NotAsked, end)
	}, time.Time{}, nil
}

// within gives the slot back after the attempt, also if the attempt panics.
func (p *pass) within(leave func(round, time.Time), attempt func() round) (b round) {
	defer func() { leave(b, p.now()) }()
	return attempt()
}

// putOff ends a round without an attempt, because the origin is new, its host is silent or
// busy, or its owner has too many attempts. If the webhook must wait for longer than jobs look
// ahead, its next time is committed, so that nothing brings the webhook in between.
func (p *pass) putOff(b round, why error, again, now time.Time) round {
	switch {
	case b.pinging():
	case errors.Is(why, errSilent):
		again = p.cfg.Schedule.Later(b.since, now, again)
		b.Wait = again
	case errors.Is(why, errNew):
		since := b.since
		if first := p.origins.since(b.origin, now); first.After(since) {
			since = first
		}
		again = p.cfg.Schedule.Later(since, now, again)
	}
	if !b.pinging() && again.After(now.Add(p.hosts.near)) {
		b.Wait = again
	}
	return b.held(again)
}

// attempt sends the webhook's ping or its next notification, if the record still asks for that.
func (p *pass) attempt(ctx context.Context, id string, b round) round {
	b.contact, b.taken, b.more = webhook.NotAsked, false, false
	r, err := p.cfg.Store.Load(ctx, id)
	switch {
	case err != nil && ctx.Err() != nil:
		return b.held(p.now())
	case err != nil:
		if !errors.Is(err, task.ErrNotFound) {
			p.cfg.Log.ErrorContext(ctx, "delivering", "task", id, "err", err)
		}
		return b.held(time.Time{})
	case !current(r, b.Webhook):
		return b.held(time.Time{})
	case !b.pinging() && !r.Ready(b.after, p.now()):
		return b
	}

	began := p.now()
	a := p.post(ctx, r, b.after)
	v := webhook.Judge(r, b.after, a, p.cfg.Schedule, p.now())
	p.log(ctx, id, b, a, v, began)
	b.taken = a.Status/100 == 2
	return b.with(v)
}

// log writes a line about the attempt that follows b.
func (p *pass) log(ctx context.Context, id string, b round, a webhook.Answer, v webhook.Verdict, began time.Time) {
	log, message := p.cfg.Log, string(v.Result)
	if !v.Counts() {
		if v.Result == webhook.Unsigned {
			log.ErrorContext(ctx, message, "task", id, "hook", b.after.ID, "err", a.Cause, "alert", true)
		}
		return
	}

	try := v.Tries[0]
	line := []any{"task", id, "hook", b.after.ID, "host", b.origin.host, "note", try.Notification, "attempt", b.after.Attempt + 1,
		"status", a.Status, "took", try.At.Sub(began).Round(time.Millisecond)}

	switch v.Result {
	case webhook.Delivered:
		log.InfoContext(ctx, message, line...)
	case webhook.Pinged:
		log.InfoContext(ctx, message, append(line, "class", a.Class, "err", a.Cause)...)
	default:
		log.WarnContext(ctx, message, append(line, "class", a.Class, "next", v.Wait, "err", a.Cause)...)
	}
}

// current reports whether the record still has the webhook with which the round began. A
// deleted webhook ends the round. A replaced one has a hint of its own. A webhook that another
// process has moved or pinged belongs to that process for the rest of this pass. A ping
// that was requested since is left to the next round.
func current(r task.Record, base task.Webhook) bool {
	h, ok := r.Webhook(base.ID)
	return ok && h.Gen == base.Gen && h.State == base.State && h.Cursor == base.Cursor && h.Attempt == base.Attempt &&
		(base.Ping.IsZero() || h.Ping.Equal(base.Ping))
}

// post makes one attempt at the webhook.
func (p *pass) post(ctx context.Context, r task.Record, h task.Webhook) webhook.Answer {
	bounded, cancel := context.WithTimeout(ctx, attemptFor)
	defer cancel()
	a := p.exchange(bounded, r, h)
	a.Stopped = ctx.Err() != nil
	return a
}

// exchange sends one request and reads its answer.
func (p *pass) exchange(ctx context.Context, r task.Record, h task.Webhook) webhook.Answer {
	ring, err := p.cfg.Keys.Ring(ctx)
	if err != nil {
		return webhook.Answer{Class: webhook.ClassKeys, Cause: err.Error()}
	}

	req, err := p.request(ctx, ring, r, h)
	if err != nil {
		return webhook.Answer{Class: webhook.ClassRequest, Cause: cause(err)}
	}

	resp, err := p.cfg.Client.Do(req)
	if err != nil {
		return webhook.Answer{Class: classOf(err), Cause: cause(err)}
	}
	defer resp.Body.Close()

	// The status alone is the answer. The body is read so that the connection can be kept.
	_, _ = io.CopyN(io.Discard, resp.Body, maxResponse)
	return webhook.Answer{Status: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After")}
}

// request makes the HTTP request of one attempt, with an ID token if the webhook wants one.
func (p *pass) request(ctx context.Context, ring keys.Ring, r task.Record, h task.Webhook) (*http.Request, error) {
	q, err := webhook.Prepare(ring, p.cfg.Issuer(), p.now(), r, h)
	if err != nil {
		return nil, err
	}

	if q.Audience != "" {
		if !p.cfg.IDTokens(r.Owner, q.Audience) {
			return nil, errNotGiven
		}
		token, err := p.cfg.IDToken(ctx, q.Audience)
		if err != nil {
			return nil, err
		}
		q.Authorize(token)
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, q.URL, bytes.NewReader(q.Body))
	if err != nil {
		return nil, err
	}
	req.Header = q.Header
	return req, nil
}
