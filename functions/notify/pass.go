package notify

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"errand/shared/task"
)

// A pass serves all hooks of one task side by side, each in rounds of about a
// second. Outcomes are committed together, when no round is running any more or
// once a second, so that a slow receiver holds up nobody's cursor. A hook's next
// round begins with what was committed.
type pass struct {
	*Notifier
	until   time.Time
	done    chan round
	running int
	held    map[int64]time.Time // by generation: not served again; see round.again
}

// A round is what one hook was sent between two commits.
type round struct {
	task.Delivery
	hold  bool      // do not serve the hook again in this pass
	again time.Time // with hold: when to ask for it again; zero: somebody else does, or Due
}

func (p *pass) run(ctx context.Context, r task.Record) {
	p.done = make(chan round)
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		p.start(ctx, r)
		if p.running == 0 {
			break
		}
		r = p.settle(ctx, r, p.collect(tick.C))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeFor)
	defer cancel()
	if err := p.Desk.Enqueue(ctx, p.left(r), task.Deliveries); err != nil {
		p.Log.Error("adding a delivery job", "task", r.ID(), "err", err)
	}
}

// left is the record with only those webhooks that a job must come back for.
func (p *pass) left(r task.Record) task.Record {
	hooks := make([]task.Hook, 0, len(r.Hooks))
	for _, h := range r.Hooks {
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
	r.Hooks = hooks
	return r
}

// start begins a round for every hook that is behind and may be tried now. One
// that another pass of this process is serving is left to it.
func (p *pass) start(ctx context.Context, r task.Record) {
	now := p.Desk.Now()
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
		go func() { p.done <- p.guarded(ctx, r.ID(), h, owedSince(r, h)) }()
	}
}

// guarded keeps a panic over one hook from ending the process with all the
// others. The hook is left to Due.
func (p *pass) guarded(ctx context.Context, id string, h task.Hook, since time.Time) (out round) {
	defer func() {
		if v := recover(); v != nil {
			p.Log.Error("recovered from a panic", "task", id, "hook", h.ID, "err", fmt.Sprint(v), "stack", string(debug.Stack()))
			out = round{Delivery: task.Delivery{Hook: h}, hold: true}
		}
	}()
	return p.serve(ctx, id, h, since)
}

// collect waits for rounds to end: for all of them, or for some and the tick.
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

// settle commits what came of the rounds and lets their hooks go. The commit is
// not given up when the pass is told to stop: the receivers have answered.
func (p *pass) settle(ctx context.Context, r task.Record, got []round) task.Record {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeFor)
	defer cancel()
	var outcomes []task.Delivery

	for _, g := range got {
		if g.Sent > 0 || g.Fail || g.Pinged || !g.Wait.IsZero() {
			outcomes = append(outcomes, g.Delivery)
		}
	}

	id, failed := r.ID(), false
	if len(outcomes) > 0 {
		next, err := task.UpdateFrom(ctx, p.Store, r, func(r task.Record) (task.Record, bool, error) {
			return r.Delivered(p.Desk.Moment(), outcomes)
		})

		if failed = err != nil; failed {
			p.Log.Error("committing deliveries", "task", id, "err", err)
		} else {
			r = next
		}
	}

	stale := false
	for _, g := range got {
		if g.hold || failed {
			p.held[g.Hook.Gen] = g.again
		}

		// A pass that was turned away because of this round may have come for a
		// change that this one has not seen.
		if p.flights.end(flight{id, g.Hook.ID}) {
			stale = true
		}
	}

	if stale {
		if next, err := p.Store.Load(ctx, id); err == nil {
			r = next
		}
	}

	return r
}
