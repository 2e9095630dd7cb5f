package notify

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"errand/shared/task"
)

// A pass serves all webhooks of one task side by side, each in rounds of about a second.
// Outcomes are committed together, when all rounds have ended or once a second, so that a
// slow receiver delays no other cursor. A webhook's next round begins with the committed
// record.
type pass struct {
	*Notifier
	until   time.Time
	done    chan round
	running int
	held    map[int64]time.Time // by generation: not served again; see round.again
}

// run serves the webhooks until none is left to serve, and enqueues a job for the rest.
func (p *pass) run(ctx context.Context, r task.Record) {
	p.done = make(chan round)
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		p.start(ctx, r)
		if p.running == 0 {
			break
		}
		r = p.commit(ctx, r, p.collect(tick.C))
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeFor)
	defer cancel()
	if err := p.cfg.Desk.Enqueue(ctx, p.left(r), task.Deliveries); err != nil {
		p.cfg.Log.ErrorContext(ctx, "adding a delivery job", "task", r.ID(), "err", err)
	}
}

// left returns the record with only those webhooks that need another job.
func (p *pass) left(r task.Record) task.Record {
	hooks := make([]task.Webhook, 0, len(r.Webhooks))
	for _, h := range r.Webhooks {
		again, held := p.held[h.Gen]
		if held && again.IsZero() {
			continue
		}
		if again.After(h.Next) {
			h.Next = again
		}
		if held && !h.Ping.IsZero() {
			h.Ping = again
		}
		hooks = append(hooks, h)
	}
	r.Webhooks = hooks
	return r
}

// start begins a round for every webhook that has something to send now. It skips a webhook that
// another pass of this process is serving.
func (p *pass) start(ctx context.Context, r task.Record) {
	now := p.now()
	if !now.Before(p.until) || ctx.Err() != nil {
		return
	}
	for _, h := range r.Behind(now) {
		if _, ok := p.held[h.Gen]; ok {
			continue
		}
		if !p.flights.begin(flight{r.ID(), h.ID}) {
			p.held[h.Gen] = time.Time{}
			continue
		}
		p.running++
		go func() { p.done <- p.guarded(ctx, r, h) }()
	}
}

// guarded confines a panic to its webhook. Due brings that webhook back.
func (p *pass) guarded(ctx context.Context, r task.Record, h task.Webhook) (out round) {
	defer func() {
		if v := recover(); v != nil {
			p.cfg.Log.ErrorContext(ctx, "recovered from a panic", "task", r.ID(), "hook", h.ID, "err", fmt.Sprint(v), "stack", string(debug.Stack()))
			out = round{Delivery: task.Delivery{Webhook: h}}.held(time.Time{})
		}
	}()
	return p.serve(ctx, r, h)
}

// collect waits until all rounds have ended, or until the tick if one has ended by then.
func (p *pass) collect(tick <-chan time.Time) []round {
	var got []round
	late := false
	for p.running > 0 && !(late && len(got) > 0) {
		select {
		case out := <-p.done:
			got = append(got, out)
			p.running--
		case <-tick:
			late = true
		}
	}
	return got
}

// commit stores the outcomes of the rounds and releases their webhooks. It goes on when the
// pass is told to stop, because the receivers have answered.
func (p *pass) commit(ctx context.Context, r task.Record, got []round) task.Record {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeFor)
	defer cancel()
	var outcomes []task.Delivery
	for _, g := range got {
		outcomes = append(outcomes, g.Delivery)
	}

	next, err := task.UpdateFrom(ctx, p.cfg.Store, r, func(r task.Record) (task.Record, bool, error) {
		return r.Delivered(p.cfg.Desk.Moment(), outcomes)
	})

	if err == nil {
		r = next
	} else {
		p.cfg.Log.ErrorContext(ctx, "committing deliveries", "task", r.ID(), "err", err)
	}

	// A pass that was turned away meanwhile may have been sent by a change that no round
	// has read.
	if stale := p.release(r.ID(), got, err != nil); stale {
		if next, err := p.cfg.Store.Load(ctx, r.ID()); err == nil {
			r = next
		}
	}

	return r
}

// release lets other passes serve the webhooks, and reports whether one was turned away
// meanwhile. A webhook whose outcome could not be committed is not served again in this pass.
func (p *pass) release(id string, got []round, failed bool) (stale bool) {
	for _, g := range got {
		if g.hold || failed {
			p.held[g.Webhook.Gen] = g.again
		}
		if p.flights.end(flight{id, g.Webhook.ID}) {
			stale = true
		}
	}
	return stale
}
