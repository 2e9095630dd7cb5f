package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"errand/functions/notify"
	"errand/functions/sweep"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/setup"
	"errand/worker/executor"
	"errand/worker/tools"
	"errand/worker/turn"
)

// A standalone is the worker and the functions in the process of the front door. With a
// local queue no other process could deliver its jobs.
type standalone struct {
	local  *setup.Local
	desk   *desk.Desk
	worker *turn.Worker
	hooks  *notify.Notifier
	sweep  *sweep.Sweep
	log    *slog.Logger
	url    string // the agent's address, known once it listens
	stop   context.CancelFunc
}

const (
	sweepEvery = time.Minute // the time between two requests for a repair (R10)

	// Deliveries in flight when the process is told to stop may go on for so long. Parking
	// takes milliseconds. A slow webhook is sent again after the next start.
	lastDeliveries = 3 * time.Second
)

// newStandalone makes the services and their common desk. The desk's queue is the local
// one, which runs so many turns at once; 0: the default.
func newStandalone(p *setup.Parts, turns int, at desk.Config) (*standalone, error) {
	log := at.Log
	s := &standalone{log: log}
	exec, err := executor.New(executor.Config{Agent: p.Agent, Model: p.Model, Tools: tools.All(), Log: log})
	if err != nil {
		return nil, err
	}
	inner := http.NewServeMux()
	s.local = setup.Connect(serve.Identified(inner), func(ctx context.Context, lane string) { s.sweep.Refill(ctx, lane) }, turns, log)
	at.Queue = s.local.Queue
	s.desk = desk.New(at)

	s.worker = turn.New(turn.Config{Desk: s.desk, Store: p.Store, Bus: s.local.Bus, Executor: exec, Log: log})
	s.hooks = notify.New(notify.Config{Desk: s.desk, Store: p.Store, Client: p.Egress, Keys: p.Keys, Issuer: func() string { return s.url }, Log: log})
	s.sweep = sweep.New(sweep.Config{Desk: s.desk, Store: p.Store, Queue: s.local.Queue, Log: log})
	inner.Handle("POST "+queue.PathTurn, s.worker)
	inner.HandleFunc("POST "+queue.PathDeliver, s.hooks.ServeDelivery)
	inner.HandleFunc("POST "+bus.PathEvents, s.hooks.ServeEvent)
	inner.Handle("POST "+queue.PathSweep, s.sweep)
	return s, nil
}

// start enqueues all debts of the records, because queue and bus have started empty, and
// then repairs the queues every minute. Webhooks are signed in the name of the agent at url.
func (s *standalone) start(ctx context.Context, url string) {
	s.url = url
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
	if err := s.local.Close(ctx); err != nil {
		s.log.WarnContext(ctx, "deliveries did not end in time; they are repeated after the next start", "err", err)
	}
}
