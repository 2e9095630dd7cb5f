package notify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"errand/shared/task"
	"errand/shared/webhook"
)

// Limits of one attempt.
const (
	attemptFor  = 15 * time.Second // the whole exchange
	maxResponse = 64 << 10         // of the answer is read
)

// serve sends a hook its ping, if one is asked for, and the notes behind its cursor, one
// after the other, until it is level, one fails, or the round is over.
//
// Each attempt is decided by reading the record: a slot at the host is taken
// first, without waiting, then the record is read, then it is sent. So an attempt
// that begins after a delete or replacement was answered has read a record without
// that hook, and is not made; one that was decided before may still arrive.
func (p *pass) serve(ctx context.Context, id string, base task.Hook, since time.Time) round {
	out := round{Delivery: task.Delivery{Hook: base}}
	host := webhook.Host(base.URL)
	h := base // as it will be when what was sent is committed
	for end := p.Desk.Now().Add(commitEvery); ; {
		now := p.Desk.Now()
		pinging := !h.Ping.IsZero() // somebody wants to know now whether the receiver answers
		leave, again, err := p.hosts.enter(host, now, pinging || p.Schedule.Over(since, now))
		if err != nil {
			out.hold, out.again = true, again
			if !pinging {
				p.later(&out, err, since, now)
			}
			return out
		}
		more := p.within(leave, func() (bool, error) { return p.attempt(ctx, id, &h, &out) })
		if h.Since.After(since) { // it was delivered, and the next one has its own time
			since = h.Since
		}
		if now := p.Desk.Now(); !more || !now.Before(end) || !now.Before(p.until) {
			return out
		}
	}
}

// within gives the slot back, whatever becomes of the attempt.
func (p *pass) within(leave func(error, time.Time), attempt func() (bool, error)) (more bool) {
	result := errForgotten
	defer func() { leave(result, p.Desk.Now()) }()
	more, result = attempt()
	return more
}

// later puts off a hook whose host is silent, or so busy that its turn is not soon: it is
// no attempt, and is written down so that nobody asks for the hook in between.
func (p *pass) later(out *round, why error, since, now time.Time) {
	if errors.Is(why, errSilent) {
		out.again = p.Schedule.Later(since, now, out.again)
	} else if !out.again.After(now.Add(p.hosts.near)) {
		return
	}
	out.Wait = out.again
}

// attempt sends the ping or the note after h's cursor, if that is still wanted, and
// answers whether the next one may follow, and what the host's breaker is to know.
func (p *pass) attempt(ctx context.Context, id string, h *task.Hook, out *round) (more bool, result error) {
	r, err := p.Store.Load(ctx, id)
	if err != nil {
		out.hold = true
		switch {
		case ctx.Err() != nil:
			out.again = p.Desk.Now()
		case !errors.Is(err, task.ErrNotFound):
			p.Log.Error("delivering", "task", id, "err", err)
		}

		return false, errForgotten
	}

	if out.hold = !current(r, out.Hook); out.hold {
		return false, errForgotten
	}

	ping := !h.Ping.IsZero()
	if !ping && !r.Ready(*h, p.Desk.Now()) {
		return false, errForgotten
	}

	began := p.Desk.Now()
	a, err := p.post(ctx, r, *h, ping)
	if ctx.Err() != nil && !a.OK() {
		out.hold, out.again = true, p.Desk.Now() // we hung up: no attempt
		return false, errForgotten
	}

	if err != nil { // nothing can be signed now: no attempt, and Due comes back
		out.hold = true
		p.Log.ErrorContext(ctx, "a webhook cannot be signed", "task", id, "hook", h.ID, "err", err, "alert", true)
		return false, errForgotten
	}

	switch {
	case a.Class == webhook.ClassRequest, a.Class == webhook.ClassRefused:
		result = errForgotten // neither alive nor dead: nothing was sent
	case !a.Alive():
		result = errNoAnswer
	}

	t := task.Try{At: p.Desk.Now().UTC(), Status: a.Status, Error: a.Class}
	if !ping {
		t.Note = h.Cursor + 1
	}

	out.Tries, h.Tries = append(out.Tries, t), append(h.Tries[:len(h.Tries):len(h.Tries)], t)
	line := []any{"task", id, "hook", h.ID, "host", webhook.Host(h.URL), "note", t.Note, "attempt", h.Attempt + 1,
		"status", a.Status, "took", t.At.Sub(began).Round(time.Millisecond)}

	switch {
	case ping:
		out.Pinged, h.Ping = true, time.Time{}
		p.Log.InfoContext(ctx, "a ping was sent", append(line, "class", a.Class, "err", a.Cause)...)
		return a.OK() && r.Ready(*h, t.At), result

	case a.OK():
		p.Log.InfoContext(ctx, "a webhook was delivered", line...)
		out.Sent++
		h.Cursor, h.Attempt, h.Since, h.Next = h.Cursor+1, 0, t.At, t.At
		return h.Cursor < len(r.Notes), result
	}

	out.Fail = true
	message := "a webhook was given up"
	if out.Gone = a.Gone(); !out.Gone {
		out.Wait = p.Schedule.Next(a, h.Attempt+1, owedSince(r, *h), p.Desk.Now())
	}
	if !out.Wait.IsZero() {
		message = "a webhook failed"
	}

	p.Log.WarnContext(ctx, message, append(line, "class", a.Class, "next", out.Wait, "err", a.Cause)...)
	return false, result
}

// owedSince is when the note after h's cursor was first owed.
func owedSince(r task.Record, h task.Hook) time.Time {
	if h.Cursor < len(r.Notes) && r.Notes[h.Cursor].At.After(h.Since) {
		return r.Notes[h.Cursor].At
	}
	return h.Since
}

// current says whether the hook is still what the round began with. If it was
// deleted, that is all; if it was replaced, there is a hint for the new one; if
// somebody else has moved it or sent its ping, it is theirs for the rest of this
// pass. A ping that was asked for since is of the next round.
func current(r task.Record, base task.Hook) bool {
	h, ok := r.Hook(base.ID)
	return ok && h.Gen == base.Gen && h.State == base.State && h.Cursor == base.Cursor && h.Attempt == base.Attempt &&
		(base.Ping.IsZero() || h.Ping.Equal(base.Ping))
}

// post makes one attempt. An error is a fault of ours that has nothing to do with the
// receiver.
func (p *pass) post(ctx context.Context, r task.Record, h task.Hook, ping bool) (webhook.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptFor)
	defer cancel()
	ring, err := p.Keys.Ring(ctx)
	if err != nil {
		return webhook.Answer{}, err
	}
	req, err := p.request(ctx, webhook.Sender{Keys: ring, Issuer: p.Issuer}, r, h, ping)
	if err != nil {
		return webhook.Answer{Class: webhook.ClassRequest, Cause: cause(err)}, nil
	}
	resp, err := p.Client.Do(req)
	if err != nil {
		return webhook.Answer{Class: classOf(err), Cause: cause(err)}, nil
	}
	defer resp.Body.Close()
	// The status is the answer. Whatever the body is, and however it ends, changes
	// nothing.
	_, _ = io.CopyN(io.Discard, resp.Body, maxResponse)
	return webhook.Answer{Status: resp.StatusCode, After: webhook.RetryAfter(resp.Header.Get("Retry-After"), p.Desk.Now())}, nil
}

func (p *pass) request(ctx context.Context, by webhook.Sender, r task.Record, h task.Hook, ping bool) (*http.Request, error) {
	message := webhook.Next
	if ping {
		message = webhook.Ping
	}
	m, err := message(r, h)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(m.Body))
	if err != nil {
		return nil, err
	}
	if webhook.WantsIDToken(h.Scheme) {
		if by.IDToken, err = p.idToken(ctx, h.URL); err != nil {
			return nil, err
		}
	}
	req.Header, err = by.Headers(p.Desk.Now(), r, h, m)
	return req, err
}

// idToken is for the receiver alone: whoever registers a webhook cannot have one made
// for somebody else.
func (p *pass) idToken(ctx context.Context, receiver string) (string, error) {
	if p.IDToken == nil {
		return "", errors.New(webhook.GoogleIDToken + " needs a service account, and there is none here")
	}
	audience, err := webhook.Origin(receiver)
	if err != nil {
		return "", err
	}
	return p.IDToken(ctx, audience)
}
