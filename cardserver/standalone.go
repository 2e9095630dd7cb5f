package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/functions/notify"
	"errand/functions/sweep"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/setup"
	"errand/worker/agent"
	"errand/worker/batches"
	"errand/worker/executor"
	"errand/worker/turn"
)

// A standalone is the worker and the functions in the process of the front door. With a
// local queue no other process could deliver its jobs.
type standalone struct {
	local   *setup.Local
	desk    *desk.Desk
	worker  *turn.Worker
	batches *batches.Handler
	sweep   *sweep.Sweep
	log     *slog.Logger
	stop    context.CancelFunc
}

const (
	sweepEvery = time.Minute // the time between two requests for a repair (R10)

	// A batch counts its items this often: a count in SQLite costs little.
	lookEvery = 100 * time.Millisecond

	// Deliveries in flight when the process is told to stop may go on for so long. Parking
	// takes milliseconds. A slow webhook is sent again after the next start.
	lastDeliveries = 5 * time.Second
)

// runStandalone serves clients and does all the work behind them.
func runStandalone(ctx context.Context, env setup.Env, log *slog.Logger, out io.Writer) (err error) {
	parts, err := setup.OpenStandalone(ctx, env, agent.Definition, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()
	own := executor.Own{Tools: agent.Tools, Executor: agent.Executor}
	exec, err := executor.Assemble(executor.Config{Agent: parts.Agent, Model: parts.Model, Usage: parts.Usage, Log: log}, parts.Kit, own)
	if err != nil {
		return err
	}

	s, err := listen(&parts.ClientSide, env, log)
	if err != nil {
		return err
	}
	defer s.listener.Close()
	alone := newStandalone(s, exec, parts.Model.Name())
	clients, err := s.handler(alone.desk, parts.Model.Name())
	if err != nil {
		return err
	}

	if parts.StandIn {
		fmt.Fprintln(out, "No model is configured: a stand-in answers, and says so. Set GEMINI_API_KEY to have Gemini answer.")
	} else {
		fmt.Fprintf(out, "The model %s answers.\n", parts.Model.Name())
	}

	s.announce(out)
	go parts.CheckModel(ctx)
	go parts.CheckSecrets(ctx)
	go parts.CheckKeys(ctx)
	alone.start(ctx)

	return serve.Run(ctx, s.listener, clients, serve.Options{Log: log, Certificates: s.certs, Caller: env.Caller(), Proxies: env.Hops(), Drain: alone.drain, Short: parts.Store.Room})
}

// newStandalone makes the services behind the site. They share its desk, whose queue is the
// local one. model is the name of the model that answers.
func newStandalone(s *site, exec a2asrv.AgentExecutor, model string) *standalone {
	a, inner := &standalone{log: s.log}, http.NewServeMux()
	refill := func(ctx context.Context, lane string) { a.sweep.Refill(ctx, lane) }
	most := func(owner string) int64 { return s.parts.Access.Limits(owner).Turns }
	a.local = setup.Connect(serve.Identified(inner), refill, s.env.LocalTurns(), most, s.log)
	a.desk = s.desk(a.local.Queue)

	store := s.parts.Store
	reads := turn.Conversation{Tokens: s.parts.Agent.Conversation.Tokens, Tasks: s.parts.Agent.Conversation.Tasks}
	turns := turn.Config{Desk: a.desk, Store: store, KV: store.KV(), Files: s.uploads, Objects: s.parts.Objects, Bus: a.local.Bus, Executor: exec, Log: s.log, Conversation: &reads, WakeURL: s.wakeURL, Credentials: s.credentials}
	if s.env.Embedded() {
		turns.Pace = turn.PaceOwn
	}
	a.worker = turn.New(turns) // of items of batches too: they share the process (R12)
	whole := batches.New(batches.Config{
		Desk: a.desk, Store: store, KV: store.KV(), Files: s.parts.Files, Manifests: batches.Sources{Uploads: s.uploads, Objects: s.parts.Objects}, Uploads: s.uploads, Objects: s.parts.Objects,
		Form: s.form(model), Model: model, Look: lookEvery,
		Wait: s.parts.Usage.Wait, Room: store.Room, Items: exec, URL: func(path string) string { return s.address() + path }, Log: s.log,
	})
	turns.Executor = whole
	a.batches = whole.Handler(turn.New(turns))
	a.sweep = sweep.New(sweep.Config{Desk: a.desk, Store: store, KV: store.KV(), Files: s.uploads, Batches: s.parts.Files, Catalogue: s.agents, Queue: a.local.Queue, Log: s.log})
	hooks := notify.New(notify.Config{
		Desk: a.desk, Store: store, Client: s.parts.Egress, Keys: s.parts.Keys, Issuer: s.address,
		IDTokens: s.parts.Access.IDTokens, Log: s.log,
	})

	inner.Handle("POST "+queue.PathTurn, a.worker)
	inner.Handle("POST "+queue.PathBulk, a.worker)
	inner.Handle("POST "+queue.PathBatch, a.batches)
	inner.HandleFunc("POST "+queue.PathDeliver, hooks.ServeDelivery)
	inner.HandleFunc("POST "+bus.PathEvents, hooks.ServeEvent)
	inner.Handle("POST "+queue.PathSweep, a.sweep)
	return a
}

// start enqueues all debts of the records, because queue and bus have started empty, and
// then repairs the queues every minute.
func (s *standalone) start(ctx context.Context) {
	ctx, s.stop = context.WithCancel(ctx)
	go func() {
		for _, lane := range queue.Lanes() {
			s.sweep.Refill(ctx, lane.Name)
		}
		s.sweep.Run(ctx, sweepEvery)
	}()
}

// drain parks running turns and ends the deliveries.
func (s *standalone) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastDeliveries)
	defer cancel()
	s.stop()
	s.worker.Drain()
	s.batches.Drain()
	if err := s.local.Close(ctx); err != nil {
		s.log.WarnContext(ctx, "deliveries did not end in time; they are repeated after the next start", "err", err)
	}
}
