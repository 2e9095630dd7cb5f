package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"errand/shared/bus"
	"errand/shared/task"
)

// Limits of one attempt.
const (
	attemptFor  = 15 * time.Second // the whole exchange
	maxResponse = 64 << 10         // read so that the connection can be used again
)

// serve sends a hook the notes behind its cursor, one after the other, until it
// is level, one fails, or the round is over.
//
// Each attempt is decided by reading the record: a slot at the host is taken
// first, without waiting, then the record is read, then it is sent. So an attempt
// that begins after a delete or replacement was answered has read a record without
// that hook, and is not made; one that was decided before may still arrive.
func (p *pass) serve(ctx context.Context, id string, base task.Hook) round {
	out := round{Delivery: task.Delivery{Hook: base}}
	host := hostOf(base.URL)
	h := base // as it will be when what was sent is committed
	for end := p.Now().Add(commitEvery); ; {
		more := p.admitted(host, &out, func() bool { return p.attempt(ctx, id, &h, &out) })
		if now := p.Now(); !more || !now.Before(end) || !now.Before(p.until) {
			return out
		}
	}
}

// admitted makes an attempt if its host has a slot free.
func (p *pass) admitted(host string, out *round, attempt func() bool) (more bool) {
	began := p.Now()
	again, ok := p.hosts.enter(host, began)
	if !ok {
		out.hold, out.again = true, again
		return false
	}
	defer func() { p.hosts.leave(host, began, p.Now()) }()
	return attempt()
}

// attempt sends the note after h's cursor, if that is still wanted, and answers
// whether the next one may follow.
func (p *pass) attempt(ctx context.Context, id string, h *task.Hook, out *round) (more bool) {
	r, err := p.Store.Load(ctx, id)
	if err != nil {
		out.hold = true
		switch {
		case ctx.Err() != nil:
			out.again = p.Now()
		case !errors.Is(err, task.ErrNotFound):
			p.Log.Error("delivering", "task", id, "err", err)
		}
		return false
	}
	if out.hold = !current(r, out.Hook); out.hold || h.Cursor >= len(r.Notes) {
		return false
	}
	a := p.post(ctx, r, *h)
	if ctx.Err() != nil && !a.ok() {
		out.hold, out.again = true, p.Now() // we hung up: no attempt
		return false
	}
	t := task.Try{At: p.Now().UTC(), Note: h.Cursor + 1, Status: a.status, Error: a.class}
	out.Tries, h.Tries = append(out.Tries, t), append(h.Tries[:len(h.Tries):len(h.Tries)], t)
	if a.ok() {
		out.Sent++
		h.Cursor, h.Attempt = h.Cursor+1, 0
		return h.Cursor < len(r.Notes)
	}
	out.Fail = true
	out.Gone = a.status == http.StatusGone
	if !out.Gone {
		out.Wait = a.next(p.Schedule, h.Attempt+1, p.Now())
	}
	message := "a webhook failed"
	if out.Wait.IsZero() {
		message = "a webhook was given up"
	}
	p.Log.Warn(message, "task", id, "hook", h.ID, "host", hostOf(h.URL), "note", t.Note,
		"attempt", h.Attempt+1, "status", a.status, "class", a.class, "next", out.Wait, "err", a.cause)
	return false
}

// current says whether the hook is still what the round began with. If it was
// deleted, that is all; if it was replaced, there is a hint for the new one; if
// somebody else has moved it, it is theirs for the rest of this pass.
func current(r task.Record, base task.Hook) bool {
	h, ok := r.Hook(base.ID)
	return ok && h.Gen == base.Gen && h.State == task.HookActive && h.Cursor == base.Cursor && h.Attempt == base.Attempt
}

// post makes one attempt at the note after h's cursor.
func (p *pass) post(ctx context.Context, r task.Record, h task.Hook) answer {
	ctx, cancel := context.WithTimeout(ctx, attemptFor)
	defer cancel()
	req, err := p.request(ctx, r, h)
	if err != nil {
		return answer{class: "request", cause: cause(err)}
	}
	resp, err := p.Client.Do(req)
	if err != nil {
		return answer{class: classOf(err), cause: cause(err)}
	}
	defer resp.Body.Close()
	// The status is the answer. Whatever the body is, and however it ends, changes
	// nothing.
	_, _ = io.CopyN(io.Discard, resp.Body, maxResponse)
	return answer{status: resp.StatusCode, after: retryAfter(resp.Header.Get("Retry-After"), p.Now())}
}

func (p *pass) request(ctx context.Context, r task.Record, h task.Hook) (*http.Request, error) {
	body, mediaType, err := body(r, h)
	if err != nil {
		return nil, fmt.Errorf("encoding note %d: %w", h.Cursor+1, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	set := req.Header.Set
	set("Content-Type", mediaType)
	set("User-Agent", "errand")
	// https://www.standardwebhooks.com: the id is the note's, on every attempt; the
	// timestamp is the attempt's.
	set("Webhook-Id", bus.Event{Task: r.ID(), Note: h.Cursor + 1}.ID())
	set("Webhook-Timestamp", strconv.FormatInt(p.Now().Unix(), 10))
	if h.Scheme != "" {
		set("Authorization", h.Scheme+" "+h.Credentials)
	}
	if h.Token != "" {
		// The specification's examples and the SDKs name it differently.
		set("A2A-Notification-Token", h.Token)
		set("X-A2A-Notification-Token", h.Token)
	}
	return req, nil
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// cause is what an operator may read of an error: not the URL, which can hold
// secrets, but what a client keeps from whoever chose that URL.
func cause(err error) string {
	if c, ok := errors.AsType[interface {
		error
		Cause() string
	}](err); ok {
		return c.Cause()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	return err.Error()
}
