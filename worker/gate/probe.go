package gate

import (
	"context"
	"errors"
	"time"

	"errand/shared/model"
)

const (
	probeFor = 30 * time.Second // for a reply of one token; longer is silence
	idleFor  = 15 * time.Minute // since a turn was held; the longest hold is shorter
)

// ping is the smallest request.
var ping = model.Request{
	History:   []model.Content{{Role: model.RoleUser, Parts: []model.Part{{Text: "ping"}}}},
	MaxTokens: 1,
}

// A flight is one probe, which several turns may wait for.
type flight struct {
	began  time.Time
	done   chan struct{}
	passed bool // read after done
}

// probe asks the model something small, and reports whether the request got through. There is
// one probe at a time: the caller shares one that another has begun at the given time or later.
func (g *Gate) probe(ctx context.Context, after time.Time) bool {
	for {
		g.mu.Lock()
		f := g.flight
		if f == nil {
			f = &flight{began: time.Now(), done: make(chan struct{})}
			g.flight = f
			g.mu.Unlock()
			g.fly(context.WithoutCancel(ctx), f) // others may wait for it
			return f.passed
		}

		g.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return false
		}

		if !f.began.Before(after) {
			return f.passed
		}
	}
}

// fly makes the request of a probe.
func (g *Gate) fly(ctx context.Context, f *flight) {
	e := g.ping(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	f.passed = e == nil
	g.flight = nil
	g.report(ctx, g.state.probed(time.Now(), f.began, e), e)
	g.tell()
	g.arm()
	close(f.done)
}

// ping returns why the service did not reply. A service that finds fault with the request has
// replied.
func (g *Gate) ping(ctx context.Context) *model.Error {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()

	for c, err := range g.model.Generate(ctx, ping) {
		switch e, ok := errors.AsType[*model.Error](err); {
		case ok && e.Kind() == model.OfMessage, err == nil && c.Finish != model.FinishNone:
			return nil
		case ok:
			return e
		case err != nil:
			return &model.Error{Cause: model.Silent, Message: err.Error(), Err: err}
		}
	}

	return &model.Error{Cause: model.Cut, Message: "the answer ended without a reason"}
}

// due reports whether the next probe is due and not under way.
func (g *Gate) due() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flight == nil && g.state.due(time.Now())
}

// arm sets a timer for the next probe. The caller holds mu.
func (g *Gate) arm() {
	if !g.armed && g.flight == nil && g.state.closed != "" {
		g.armed = true
		time.AfterFunc(time.Until(g.state.next), g.tick)
	}
}

// tick sends a probe on the timer, as long as turns wait. A gate that no turn asks costs
// nothing: the next turn that is held sets the timer again.
func (g *Gate) tick() {
	g.mu.Lock()
	g.armed = false
	idle := time.Since(g.held) > idleFor
	g.mu.Unlock()
	switch {
	case idle:
	case g.due():
		g.probe(context.Background(), time.Now())
	default: // a probe in between has set another time
		g.mu.Lock()
		defer g.mu.Unlock()
		g.arm()
	}
}
