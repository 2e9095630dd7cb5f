// Package gate stands between turns and their model (R17). While the model cannot be asked it
// is closed, and turns wait in their records instead of asking in vain. A small request of its
// own, the probe, finds out when the model is back, and turns come back a few at a time.
//
// There is one gate for a model and a process. It is a model.Model that counts the requests of
// another one, and a run.Admitter. It changes no record and knows no store or queue: state
// makes its decisions, and worker/turn acts on its pauses.
package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"errand/shared/model"
	"errand/worker/run"
)

// fullFor is how long a later request of a turn waits at a full gate, before its turn pauses:
// most replies take less.
const fullFor = 5 * time.Second

// A Gate is a model whose requests are counted. Its errors are *model.Error, if they end the
// turn or count as an attempt of its message, and *run.Pause, if the turn must wait.
type Gate struct {
	model model.Model
	log   *slog.Logger

	mu      sync.Mutex
	state   state
	changed chan struct{} // closed when a place may have become free
	flight  *flight       // the probe under way; nil: none
	held    time.Time     // when a turn was last told to wait
	armed   bool          // a timer will send the next probe
}

var (
	_ model.Model  = (*Gate)(nil)
	_ run.Admitter = (*Gate)(nil)
)

// New returns an open gate in front of m.
func New(m model.Model, log *slog.Logger) *Gate {
	return &Gate{model: m, log: log, changed: make(chan struct{})}
}

// Name implements model.Model.
func (g *Gate) Name() string { return g.model.Name() }

// Check implements model.Model. It asks the model itself.
func (g *Gate) Check(ctx context.Context) error { return g.model.Check(ctx) }

// Count implements model.Model. A closed gate lets no count through either.
func (g *Gate) Count(ctx context.Context, req model.Request) (tokens int64, err error) {
	g.mu.Lock()
	why := g.state.closed
	g.mu.Unlock()
	if why != "" {
		return 0, &model.Error{Cause: why, Message: errClosed.Error(), Err: errClosed}
	}
	return g.model.Count(ctx, req)
}

// Admit implements run.Admitter. When the next probe is due, Admit sends it: a process may
// have the processor during requests only.
// https://cloud.google.com/run/docs/configuring/billing-settings
func (g *Gate) Admit(ctx context.Context, task string) (leave func(), pause *run.Pause) {
	if pause = g.place(task); pause != nil && pause.Hold == run.Away && g.due() {
		g.probe(ctx, time.Now())
		pause = g.place(task)
	}
	return func() { g.leave(task) }, pause
}

func (g *Gate) place(task string) *run.Pause {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ok, _ := g.state.take(time.Now(), task); ok {
		return nil
	}
	return g.hold()
}

func (g *Gate) leave(task string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state.leave(task)
	g.tell()
}

// hold is the pause of a turn that found no place. The caller holds mu.
func (g *Gate) hold() *run.Pause {
	g.held = time.Now()
	g.arm()
	if g.state.closed == "" {
		return &run.Pause{Hold: run.Full, Say: sayFull, Err: errFull}
	}
	return &run.Pause{Hold: run.Away, Say: say(g.state.closed), Err: errClosed}
}

// tell wakes the requests that wait for a place. The caller holds mu.
func (g *Gate) tell() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Generate implements model.Model. A stream that ends without a reason has broken off.
func (g *Gate) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		q, err := g.enter(ctx)
		if err != nil {
			yield(model.Chunk{}, err)
			return
		}

		ended := false
		defer func() { // the caller has enough
			if !ended {
				g.replied(ctx, q)
			}
		}()

		for c, err := range g.model.Generate(ctx, req) {
			if err != nil {
				ended = true
				yield(model.Chunk{}, g.failed(ctx, q, err))
				return
			}
			if !yield(c, nil) || c.Finish != model.FinishNone {
				return
			}
		}

		ended = true
		cut := &model.Error{Cause: model.Cut, Message: "the answer ended without a reason"}
		yield(model.Chunk{}, g.failed(ctx, q, cut))
	}
}

// enter waits a little for a place at a full gate.
func (g *Gate) enter(ctx context.Context) (request, error) {
	this, _ := run.From(ctx)
	turn := this.Task
	if turn == "" {
		turn = rand.Text() // in another server, every request is a turn
	}

	var patience <-chan time.Time
	for {
		g.mu.Lock()
		q, ok, until := g.state.start(time.Now(), turn)
		if ok {
			g.mu.Unlock()
			return q, nil
		}
		pause, changed := g.hold(), g.changed
		g.mu.Unlock()
		if pause.Hold == run.Away {
			return request{}, pause
		}

		if patience == nil {
			patience = time.After(fullFor)
		}
		var space <-chan time.Time
		if wait := time.Until(until); wait > 0 {
			space = time.After(wait)
		}

		select {
		case <-space:
		case <-changed:
		case <-patience:
			return request{}, pause
		case <-ctx.Done():
			return request{}, ctx.Err()
		}
	}
}

// replied ends a request whose caller is content. A turn that was stopped says nothing about
// the service.
func (g *Gate) replied(ctx context.Context, q request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.tell()
	if ctx.Err() != nil {
		g.state.abandon()
		return
	}
	g.state.succeed(time.Now(), q)
}

// failed ends a request with an error, and decides how its turn goes on.
func (g *Gate) failed(ctx context.Context, q request, err error) error {
	e, ok := errors.AsType[*model.Error](err)
	if !ok || ctx.Err() != nil || e.Kind() == model.OfMessage {
		g.replied(ctx, q)
		return err
	}

	g.mu.Lock()
	failed := time.Now()
	v, what := g.state.fail(failed, q, e)
	g.report(ctx, what, e)
	g.tell()
	g.mu.Unlock()

	if v == guilty || v == unsure && g.probe(ctx, failed) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &run.Pause{For: e.RetryAfter, Hold: run.Away, Say: say(e.Why()), Err: err}
}

// report logs a change of the gate, once for all turns. The caller holds mu.
func (g *Gate) report(ctx context.Context, what change, e *model.Error) {
	if what == closes {
		g.held = time.Now() // the turn that has failed waits
		g.arm()
	}

	log := g.log.With("model", g.model.Name())
	switch why := g.state.closed; {
	case what == opens:
		log.InfoContext(ctx, "the model answers again")
	case what == nothing:
	case why.Kind() == model.OfOperator:
		log.ErrorContext(ctx, "the model refuses this installation; turns wait until its operator mends the access",
			"reason", why, "err", e, "alert", true)
	case why == model.DayQuota:
		log.ErrorContext(ctx, "the model's quota of the day is used up; turns wait until it has one again",
			"reason", why, "err", e, "alert", true)
	default:
		log.WarnContext(ctx, "the model cannot be asked now; turns wait", "reason", why, "err", e)
	}
}
